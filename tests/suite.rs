//! Real processes: targets that state their own truth, and the `leakline` program run on them from outside.
//!
//! Owns: the list of cases. Must not know: any crate of ours; only what a user sees is compared.
//!
//! A case that cannot run on this machine writes `NOT RUN: name: reason`, which `cargo xtask ci` repeats at its end.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the suite starts programs, and a broken assumption of its helpers fails the test that made it"
)]

#[path = "suite/command.rs"]
mod command;
#[path = "suite/process.rs"]
mod process;
#[path = "suite/shell.rs"]
mod shell;
#[path = "suite/targets.rs"]
mod targets;

#[path = "suite/contract.rs"]
mod contract;
#[path = "suite/coroutines.rs"]
mod coroutines;
#[path = "suite/damaged.rs"]
mod damaged;
#[path = "suite/debuggers.rs"]
mod debuggers;
#[path = "suite/excerpts.rs"]
mod excerpts;
#[path = "suite/fates.rs"]
mod fates;
#[path = "suite/faults.rs"]
mod faults;
#[path = "suite/followed.rs"]
mod followed;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/hunting.rs"]
mod hunting;
#[path = "suite/inspect.rs"]
mod inspect;
#[path = "suite/memory.rs"]
mod memory;
#[path = "suite/modes.rs"]
mod modes;
#[path = "suite/refusals.rs"]
mod refusals;
#[path = "suite/remains.rs"]
mod remains;
#[path = "suite/stopped.rs"]
mod stopped;
#[path = "suite/terminal.rs"]
mod terminal;
#[path = "suite/truth.rs"]
mod truth;

#[path = "reach/mod.rs"]
mod reach;

#[path = "recorder/mod.rs"]
mod recorder;

#[path = "run/mod.rs"]
mod run;
