//! The `sandglass` program.

fn main() {}
