//! The resources of the REST API, one a file, and what their handlers share.

pub mod types;
