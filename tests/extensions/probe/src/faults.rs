//! `probe:types/faults`: every way to misbehave.

use std::{sync::Arc, time::Duration};

use backplane_sdk::{Bytes, Context, Encoded, Failure, FailureKind, tracing, wire::Writer};

use crate::{
    Binding,
    bindings::probe::types::faults::{Call, Handler, Kind, Level},
};

/// Panics; the one place that may.
#[allow(clippy::panic, reason = "that is what is tested")]
pub(crate) fn blow_up<T>(message: String) -> T {
    panic!("{message}")
}

/// Panics when it is dropped.
struct PanicOnDrop;

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        blow_up("a cancelled call blew up".to_owned())
    }
}

async fn wait() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn written(cx: &Context, write: impl FnOnce(&mut Writer)) -> Result<Encoded, Failure> {
    let mut writer = Writer::new(cx.form());
    write(&mut writer);
    Ok(Encoded(writer.into_vec()))
}

impl Handler for Binding {
    async fn panic(&self, _: &Context, message: &str) -> Result<u32, Failure> {
        blow_up(message.to_owned())
    }

    async fn panic_later(&self, _: &Context, message: &str) -> Result<u32, Failure> {
        wait().await;
        blow_up(message.to_owned())
    }

    #[allow(clippy::panic, reason = "that is what is tested")]
    async fn panic_any(&self, _: &Context) -> Result<(), Failure> {
        std::panic::panic_any(7_u32)
    }

    async fn fail(&self, _: &Context, kind: Kind, message: &str) -> Result<u32, Failure> {
        let kind = match kind {
            Kind::Other => FailureKind::Other,
            Kind::Panicked => FailureKind::Panicked,
            Kind::Unimplemented => FailureKind::Unimplemented,
            Kind::BadArguments => FailureKind::BadArguments,
            Kind::Unavailable => FailureKind::Unavailable,
            Kind::Deadline => FailureKind::Deadline,
            Kind::Denied => FailureKind::Denied,
        };
        Err(Failure::of(kind, message))
    }

    async fn fail_later(&self, _: &Context, message: &str) -> Result<Result<u32, String>, Failure> {
        wait().await;
        Err(Failure::new(message))
    }

    async fn never(&self, _: &Context) -> Result<(), Failure> {
        let _waiting = Arc::clone(&self.waiting);
        std::future::pending().await
    }

    async fn waiting(&self, _: &Context) -> Result<u32, Failure> {
        Ok(Arc::strong_count(&self.waiting).saturating_sub(1) as u32)
    }

    async fn never_and_panic(&self, _: &Context) -> Result<(), Failure> {
        let _bomb = PanicOnDrop;
        std::future::pending().await
    }

    async fn sleep(&self, _: &Context, milliseconds: u32) -> Result<u32, Failure> {
        tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
        Ok(milliseconds)
    }

    #[allow(clippy::disallowed_methods, reason = "blocking is what is tested")]
    async fn block(&self, _: &Context, milliseconds: u32) -> Result<u32, Failure> {
        std::thread::sleep(Duration::from_millis(milliseconds.into()));
        Ok(milliseconds)
    }

    async fn spawned(&self, _: &Context, v: u32) -> Result<u32, Failure> {
        Ok(tokio::spawn(async move { v }).await?)
    }

    async fn malformed_string(&self, cx: &Context) -> Result<Encoded, Failure> {
        written(cx, |writer| writer.byte_list(&[0xff, 0xfe]))
    }

    async fn truncated(&self, cx: &Context) -> Result<Encoded, Failure> {
        written(cx, |writer| writer.u32(1))
    }

    async fn trailing(&self, cx: &Context) -> Result<Encoded, Failure> {
        written(cx, |writer| {
            writer.u32(1);
            writer.u8(2);
        })
    }

    async fn endless_list(&self, cx: &Context) -> Result<Encoded, Failure> {
        written(cx, |writer| writer.length(1_000_000_000))
    }

    async fn no_such_case(&self, cx: &Context) -> Result<Encoded, Failure> {
        written(cx, |writer| writer.discriminant(5))
    }

    async fn many_bytes(&self, _: &Context, count: u32) -> Result<Bytes, Failure> {
        Ok(vec![0; count as usize].into())
    }

    async fn log(&self, _: &Context, level: Level, message: &str) -> Result<(), Failure> {
        match level {
            Level::Error => tracing::error!(number = 1, text = "x", "{message}"),
            Level::Warn => tracing::warn!(number = 1, text = "x", "{message}"),
            Level::Info => tracing::info!(number = 1, text = "x", "{message}"),
            Level::Debug => tracing::debug!(number = 1, text = "x", "{message}"),
            Level::Trace => tracing::trace!(number = 1, text = "x", "{message}"),
        }
        Ok(())
    }

    async fn count(&self, _: &Context, name: &str, value: u64) -> Result<(), Failure> {
        self.workload.host().counter(name).add(value);
        Ok(())
    }

    async fn invoke(
        &self,
        cx: &Context,
        interface: &str,
        function: &str,
        value: &str,
    ) -> Result<String, Failure> {
        cx.invoke(interface, function, &(value,)).await
    }

    async fn context(&self, cx: &Context) -> Result<Call, Failure> {
        Ok(Call {
            workload: cx.workload().name().to_owned(),
            time_left: cx.time_left().map(|left| left.as_millis() as u64),
            trace_id: Bytes::copy_from_slice(&cx.trace_id()),
            depth: cx.depth(),
        })
    }

    async fn configured(&self, _: &Context) -> Result<(String, String), Failure> {
        Ok((self.greeting.clone(), self.config.label.clone()))
    }
}
