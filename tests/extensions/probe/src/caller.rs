//! `probe:types/caller`: calls what a workload exports.

use std::time::Duration;

use backplane_sdk::{Caller, Context, Failure, Own, Workload, tracing};
use futures::future::join_all;

use crate::{
    Binding, Calls,
    bindings::probe::types::{
        callbacks::{self, Note},
        caller::Handler,
        concurrent_callbacks, resources,
    },
    resources::Thing,
};

/// What became of a call, in words that a test can read.
fn told<T>(called: Result<T, Failure>) -> Result<T, String> {
    called.map_err(|failure| format!("{failure:?}"))
}

async fn misbehave(cx: &impl Caller, how: &str) -> Result<String, String> {
    told(callbacks::misbehave(cx, how).await).and_then(|answer| answer)
}

impl Handler for Binding {
    async fn turn(&self, cx: &Context, text: &str) -> Result<Result<String, String>, Failure> {
        let note =
            Note { text: text.to_owned(), numbers: vec![1, 2, 3], nested: Some(Err(u64::MAX)) };
        Ok(told(callbacks::turn(cx, note).await).map(|note| format!("{note:?}")))
    }

    async fn wide(&self, cx: &Context) -> Result<Result<String, String>, Failure> {
        let wide = callbacks::wide(cx, 1, u64::MAX, "c", "d", "e", "f", "g", "h", "i", 0.5);
        Ok(told(wide.await))
    }

    async fn exchange(
        &self,
        cx: &Context,
        label: &str,
    ) -> Result<Result<(String, u32), String>, Failure> {
        let given: Own<resources::Thing> = cx.own(Thing::new(label.to_owned()));
        let back = told(callbacks::exchange(cx, given).await);
        Ok(back.map(|thing| (thing.label(), cx.live_resources() as u32)))
    }

    async fn misbehave(&self, cx: &Context, how: &str) -> Result<Result<String, String>, Failure> {
        Ok(misbehave(cx, how).await)
    }

    async fn nest(&self, cx: &Context, times: u32) -> Result<Result<u32, String>, Failure> {
        if times == 0 {
            return Ok(Ok(cx.depth()));
        }
        Ok(told(callbacks::nest(cx, times - 1).await).and_then(|answer| answer))
    }

    async fn many(
        &self,
        cx: &Context,
        calls: u32,
        how: &str,
    ) -> Result<Vec<Result<String, String>>, Failure> {
        let call = || {
            let (workload, how) = (cx.workload().clone(), how.to_owned());
            tokio::spawn(async move { misbehave(&workload, &how).await })
        };
        let calls: Vec<_> = (0..calls).map(|_| call()).collect();
        Ok(join_all(calls).await.into_iter().collect::<Result<_, _>>()?)
    }

    async fn give_up(
        &self,
        cx: &Context,
        how: &str,
        milliseconds: u32,
    ) -> Result<Result<String, String>, Failure> {
        let time = Duration::from_millis(milliseconds.into());
        match tokio::time::timeout(time, misbehave(cx, how)).await {
            Ok(answer) => Ok(answer),
            Err(_) => Ok(Err("given up".to_owned())),
        }
    }

    async fn absent(&self, cx: &Context) -> Result<Result<String, String>, Failure> {
        Ok(told(cx.invoke("probe:types/absent@1.0.0", "turn", &()).await))
    }

    async fn malformed(&self, cx: &Context) -> Result<Result<String, String>, Failure> {
        let bytes = (7_u8, 8_u8);
        Ok(told(cx.invoke("probe:types/callbacks@1.0.0", "turn", &bytes).await))
    }
}

/// Calls a workload that is about to be ready, and logs what it answers.
pub(crate) fn call_when_ready(workload: &Workload, calls: Calls) -> Result<(), Failure> {
    let awaits = concurrent_callbacks::is_exported_by(workload);
    if !awaits && !callbacks::is_exported_by(workload) {
        return Err(Failure::new("the link says `call`, and the workload exports nothing to call"));
    }
    let workload = workload.clone();
    tokio::spawn(async move {
        let one = async || match awaits {
            true => told(concurrent_callbacks::wait(&workload, calls.milliseconds).await)
                .map(|at_once| at_once.to_string()),
            false => misbehave(&workload, "answer").await,
        };
        let answers = join_all((0..calls.calls).map(|_| one())).await;
        let said: Vec<_> = answers.into_iter().map(|answer| format!("{answer:?}")).collect();
        tracing::info!("the workload answered {}", said.join(" "));
        if awaits {
            let first =
                told(concurrent_callbacks::answer_first(&workload, calls.milliseconds).await);
            tracing::info!("the workload answered first: {first:?}");
        }
    });
    Ok(())
}
