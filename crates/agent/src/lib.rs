//! The code that runs inside the target
