//! The layout of the memory shared between the agent in the target and leakline
