//! The world as it is: sampling the machine, attaching to processes

mod doctor;
mod native;
mod sys;

pub use doctor::{Condition, ConditionState, Examination, examine_machine, examine_process};
pub use native::{AttachError, AttachOptions, Detached, Facts, Session, SessionError, TargetState, attach};
