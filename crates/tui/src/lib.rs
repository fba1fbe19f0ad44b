//! The terminal screens
