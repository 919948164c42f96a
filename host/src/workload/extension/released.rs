//! Resources of a component extension that nobody holds any more, until its instance has dropped them.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError, Weak,
    atomic::{AtomicBool, Ordering},
};

use backplane_abi::{CallContext, Exchange};

use crate::{
    boundary::call::{Answer, Callee, Failure, FailureKind},
    name::ProviderName,
    workload::Workload,
};

/// Such resources, by their handles.
pub(in crate::workload) struct Released {
    extension: String,
    handles: Mutex<Vec<u64>>,
    /// Whether there are any: asked each time an instance looks for work.
    is_any: AtomicBool,
    /// The workload that the extension is.
    workload: OnceLock<Weak<Workload>>,
}

impl Released {
    pub(super) fn new(extension: &ProviderName) -> Arc<Self> {
        Arc::new(Self {
            extension: extension.to_string(),
            handles: Mutex::default(),
            is_any: AtomicBool::new(false),
            workload: OnceLock::new(),
        })
    }

    /// Says whose they are. Called once, before there are any.
    pub(super) fn of(&self, workload: &Arc<Workload>) {
        self.workload.get_or_init(|| Arc::downgrade(workload));
    }

    pub(in crate::workload) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    /// Those that the instance has to drop now.
    pub(in crate::workload) fn take(&self) -> Vec<u64> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_any.store(false, Ordering::Release);
        std::mem::take(&mut *handles)
    }
}

/// Those that hold its resources tell it when they do not any more.
impl Callee for Released {
    fn provider(&self) -> &str {
        &self.extension
    }

    fn call(&self, _: u32, _: &CallContext, _: &mut Exchange) -> Answer {
        let message = "resources are let go here, nothing is called".to_owned();
        Answer::failed(Failure { kind: FailureKind::Unimplemented, message })
    }

    fn drop_resource(&self, _: u32, handle: u64) {
        // With the extension, all that it made has ended.
        let Some(workload) = self.workload.get().and_then(Weak::upgrade) else { return };
        {
            let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
            handles.push(handle);
            self.is_any.store(true, Ordering::Release);
        }
        if !workload.instances.wake() {
            // There is no instance, and so none that has them.
            drop(self.take());
        }
    }
}
