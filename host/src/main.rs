//! The `backplane` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages. In a heap of small things that many threads share they are mostly
    // empty, and each is cleared when it is first touched: 20 MB, and milliseconds of every start. A kernel
    // that cannot be told goes on as it was.
    nix::sys::prctl::set_thp_disable(true).ok();
    backplane::cli::main()
}
