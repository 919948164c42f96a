//! What a watchdog needs to know of the calls into providers: which one each thread is inside
//! ([`calls`]), which providers have failed lately ([`failures`]), and which servers cannot be reached
//! ([`mod@unreachable`]).
//!
//! Kept apart, so that whoever makes a call can note it and knows nothing of who reads. Here a call is a
//! number and a provider a name.

#![forbid(unsafe_code)]

pub mod calls;
pub mod failures;
pub mod unreachable;
