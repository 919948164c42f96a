//! Workloads: what they may do, how they are made ready, and the store that one call runs in.
//!
//! Nothing here knows how requests arrive, or which providers answer the imports that are not core.

mod admission;
mod caller;
mod calls;
mod command;
mod config_store;
pub mod core;
pub mod egress;
mod ended;
pub mod extension;
mod instances;
mod limits;
mod prepare;
mod request;
pub mod spec;
mod state;
mod stdio;

pub use admission::Places;
pub use calls::MAX_DEPTH;
pub use ended::{Busy, Ended};
pub use instances::{OneAtATime, ResponseBody, thread_idles};
pub use prepare::{Loaded, PrepareError, Trigger, Workload};
pub use state::State;
