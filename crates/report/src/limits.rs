//! The bounds of what is said.
//!
//! Owns: each bound, once. Must not know: who keeps to it.

/// From this confidence on, growth of private memory is called a leak; below it, it is only worth a look. A run of
/// `hunt` over 300 processes makes 300 judgements: at a lower bound chance alone would find a leak now and then.
pub(crate) const CONFIDENT: f64 = 0.95;

const _: () = assert!(CONFIDENT > 0.5 && CONFIDENT < 1.0, "nothing is certain");
