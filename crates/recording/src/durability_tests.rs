//! What survives kills, cuts, damage and full disks.
//!
//! Owns: the tests of the promises in `docs/recording-format.md`. Must not know: how the format keeps them.
