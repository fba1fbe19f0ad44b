//! A bounded series over time that thins itself.
//!
//! Owns: points and their thinning. Must not know: what they measure.
