//! The number of files that the process may have open, sockets among them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::http::Settings;

/// What a host needs besides its clients' connections, roughly: libraries, listeners, and the files and
/// connections of guests and extensions.
const OWN: u64 = 256;

/// Raises the limit to the highest that this process may have: what a shell sets is low for the sake of
/// programs that use `select`, which this one does not. Warns where that is too low for the connections
/// that may be open.
pub(super) fn raise_limit(settings: &Settings) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    let needed = OWN.saturating_add(settings.connections as u64);
    if let Some(limit) = limit.filter(|limit| *limit < needed) {
        tracing::warn!(
            "this process may have {limit} files open; expected {needed}, for `http.connections` and \
             its own; raise the hard limit (`ulimit -Hn`, or `LimitNOFILE=` of its service) or lower \
             `http.connections`"
        );
    }
}
