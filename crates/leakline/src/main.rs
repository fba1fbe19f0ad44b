//! The command: arguments in, exit code out.
//!
//! Owns: the dispatch, and the only place where the process ends and errors are printed.
//! Must not know: how a command does its work.

mod failure;
mod flags;
mod limits;
mod values;

fn main() {
    let _ = flags::parse(std::env::args_os());
}
