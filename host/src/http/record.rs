//! One line in the log for each request, when its response is gone.

use std::{sync::Arc, time::Instant};

use http::{Method, StatusCode};

use crate::workload::Workload;

/// What is known of a request so far. Logged when dropped, however the request ended.
pub(super) struct Record {
    method: Method,
    path: String,
    id: String,
    workload: Option<Arc<Workload>>,
    /// None until there is a response: the client left before.
    status: Option<StatusCode>,
    bytes: usize,
    is_cut_off: bool,
    begun: Instant,
}

impl Record {
    /// A request that has just arrived. The query is left out: it may hold what is secret.
    pub(super) fn new(method: Method, path: &str, id: String) -> Self {
        Self {
            method,
            path: path.to_owned(),
            id,
            workload: None,
            status: None,
            bytes: 0,
            is_cut_off: false,
            begun: Instant::now(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn routed_to(&mut self, workload: &Arc<Workload>) {
        self.workload = Some(Arc::clone(workload));
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn cut_off(&mut self) {
        self.is_cut_off = true;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Self { method, path, id, bytes, .. } = self;
        let time = self.begun.elapsed();
        if let Some(workload) = &self.workload {
            workload.took(time);
        }
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let workload = self.workload.as_ref().map_or("-", |workload| workload.name().as_str());
        let status = self.status.map_or(0, |status| status.as_u16());
        let ended = match (self.status, self.is_cut_off) {
            (None, _) => "client gone",
            (Some(_), true) => "cut off",
            (Some(_), false) => "done",
        };
        tracing::info!(target: "access", %method, path, status, workload, bytes, micros, id, "{ended}");
    }
}
