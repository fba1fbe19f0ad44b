//! The world as it is: sampling the machine, attaching to processes

mod native;

pub use native::{AttachError, AttachOptions, Detached, Facts, Session, SessionError, TargetState, attach};
