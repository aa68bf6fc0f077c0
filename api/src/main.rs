//! The `sandglass` program. What it does is in `cli/`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Guests are compiled in a child process with limits of its own: this very program, told so by its first argument.
    if sandglass_runtime::compile_worker_main() {
        return ExitCode::SUCCESS;
    }
    sandglass::cli::run()
}
