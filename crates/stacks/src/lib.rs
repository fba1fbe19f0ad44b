//! Unwind rules and names of code addresses, from the bytes of modules
