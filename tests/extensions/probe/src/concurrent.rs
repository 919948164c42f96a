//! `probe:types/concurrent`: functions that a component awaits.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use backplane_sdk::{Context, Failure, Own};

use crate::{
    Binding,
    bindings::probe::types::{
        concurrent::{self, Handler},
        echo::Ten,
    },
    faults::blow_up,
};

/// A resource that counts in steps.
#[derive(Debug)]
pub struct Clock {
    step: u32,
    now: AtomicU32,
}

impl Handler for Binding {
    async fn clock_new(&self, cx: &Context, step: u32) -> Result<Own<concurrent::Clock>, Failure> {
        Ok(cx.own(Clock { step, now: AtomicU32::new(0) }))
    }

    async fn clock_tick(&self, _: &Context, this: &Clock) -> Result<u32, Failure> {
        tokio::task::yield_now().await;
        Ok(this.now.fetch_add(this.step, Ordering::SeqCst).wrapping_add(this.step))
    }

    async fn echo(&self, _: &Context, v: u32) -> Result<u32, Failure> {
        Ok(v)
    }

    async fn echo_string(&self, _: &Context, v: &str) -> Result<String, Failure> {
        tokio::task::yield_now().await;
        Ok(v.to_owned())
    }

    async fn echo_ten(&self, _: &Context, v: Ten) -> Result<Ten, Failure> {
        Ok(v)
    }

    async fn sleep(&self, _: &Context, milliseconds: u32) -> Result<u32, Failure> {
        tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
        Ok(milliseconds)
    }

    async fn panic(&self, _: &Context, message: &str) -> Result<u32, Failure> {
        tokio::task::yield_now().await;
        blow_up(message.to_owned())
    }
}
