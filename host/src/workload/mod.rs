//! Workloads: what they may do, how they are made ready, and the store that one call runs in.

pub mod spec;
