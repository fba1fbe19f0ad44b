//! The world as it is: sampling the machine, attaching to processes

mod clock;
mod doctor;
mod fault;
mod host;
mod names;
mod native;
mod sys;
mod turns;

pub use clock::Clock;
pub use doctor::{Condition, ConditionState, Examination, examine_machine, examine_process};
pub use fault::{FAULT_POINTS, RUN_FAULT_POINTS};
pub use host::{
    BeatOptions, BeatSampler, Early, Filter, HostError, HostLosses, HostSampler, inspect_machine, inspect_process,
};
pub use names::{ModuleMap, NameOptions, Namer, SourceFiles, SourceText};
pub use native::{
    AttachError, AttachOptions, Carriers, Detached, Ending, Execution, Facts, Heap, LaunchError, ModeChoice, Modes,
    Program, Removed, Session, SessionError, TargetState, attach, find_remains, remove_remains,
};
pub use sys::process::shares_memory;
pub use sys::signals::{Received, Signals};
