//! The `sandglass` program. What it does is in `cli/`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A call allocates hundreds of pages on one thread, and others free them. The C library's allocator asks the kernel for each, which
/// stops all threads that touch new memory meanwhile, and keeps what is left between those in use.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Guests are compiled in a child process with limits of its own: this very program, told so by its first argument.
    if sandglass_runtime::compile_worker_main() {
        return ExitCode::SUCCESS;
    }
    sandglass::cli::run()
}
