//! Who asks a workload for something, and until when it must be done.

use std::time::Duration;

use backplane_abi::CallContext;
use tokio::time::Instant;

use super::limits::{monotonic_after, until_monotonic};
use crate::trace::Trace;

/// Who asks for something: a client by a request, or a provider by a call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Caller {
    /// How long it may take, and when that is over; none where it has no deadline.
    pub(super) deadline: Option<(Duration, Instant)>,
    /// What the guest's own calls carry on.
    pub(super) context: CallContext,
}

impl Caller {
    /// A client.
    pub(super) fn client(limit: Option<Duration>, trace: Option<Trace>) -> Self {
        let mut caller = Self::within(limit, CallContext::default());
        if let Some(trace) = trace {
            caller.context.trace_id = trace.trace_id();
            caller.context.span_id = trace.span_id();
        }
        caller
    }

    /// A provider. Its own deadline holds where it comes first.
    pub(super) fn provider(limit: Option<Duration>, context: &CallContext) -> Self {
        let own = (context.deadline > 0).then(|| until_monotonic(context.deadline));
        let limit = limit.into_iter().chain(own).min();
        Self::within(limit, CallContext { form: 0, reserved: [0; 4], ..*context })
    }

    fn within(limit: Option<Duration>, context: CallContext) -> Self {
        let deadline = limit.map(|after| (after, Instant::now() + after));
        let context = CallContext { deadline: limit.map_or(0, monotonic_after), ..context };
        Self { deadline, context }
    }

    /// The time that it had, if that is over.
    pub(super) fn overdue(&self) -> Option<Duration> {
        self.deadline.filter(|(_, at)| *at <= Instant::now()).map(|(after, _)| after)
    }

    /// When its time is over.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.deadline.map(|(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_deadlines_the_earlier_holds_and_what_the_caller_carries_goes_on() {
        let second = Duration::from_secs(1);
        let context = CallContext {
            deadline: monotonic_after(second),
            depth: 3,
            trace_id: [7; 16],
            ..CallContext::default()
        };
        let caller = Caller::provider(Some(2 * second), &context);
        assert!(caller.deadline.unwrap().0 <= second);
        assert_eq!((caller.context.depth, caller.context.trace_id), (3, [7; 16]));
        let caller = Caller::provider(Some(second / 10), &context);
        assert_eq!(caller.deadline.unwrap().0, second / 10);
        let caller = Caller::provider(None, &CallContext::default());
        assert_eq!((caller.deadline, caller.context.deadline), (None, 0));
        let late = CallContext { deadline: 1, ..CallContext::default() };
        assert_eq!(Caller::provider(None, &late).overdue(), Some(Duration::ZERO));
    }
}
