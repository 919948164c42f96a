//! A workload whose instances answer many requests, and what the tests of them share.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backplane::{
    boundary::{
        Binding,
        call::{Answer, Callee},
        imports::imports,
        link::{LinkedImport, LinkedResource, ResourceIdentity, define},
        types::ResourceName,
    },
    engine::Engines,
    workload::{PrepareError, Workload, core, spec::Spec},
};
use backplane_abi::{CallContext, Exchange};
use backplane_wire::{Form, from_slice};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::support::{Host, Options, engines, spec};

/// A provider of whatever is asked for, whose every function waits for as many milliseconds as its
/// argument says.
#[derive(Default)]
pub(crate) struct Waits {
    /// The arguments of all calls, and what travelled with each.
    pub(crate) seen: Mutex<Vec<(u32, CallContext)>>,
    /// Calls that have neither ended nor been cancelled.
    pub(crate) pending: Arc<AtomicUsize>,
}

struct Pending(Arc<AtomicUsize>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Callee for Waits {
    fn provider(&self) -> &str {
        "waits"
    }

    fn call(&self, _: u32, context: &CallContext, exchange: &mut Exchange) -> Answer {
        let arguments = std::mem::take(&mut exchange.arguments);
        // Other functions wait for long.
        let milliseconds = from_slice::<u32>(&arguments, Form::Local).unwrap_or(600_000);
        self.seen.lock().unwrap().push((milliseconds, *context));
        self.pending.fetch_add(1, Ordering::SeqCst);
        let pending = Pending(Arc::clone(&self.pending));
        Answer::pending(async move {
            let _pending = pending;
            tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
            Ok(arguments)
        })
    }

    fn drop_resource(&self, _: u32, _: u64) {}
}

impl Waits {
    /// Waits until as many calls wait.
    pub(crate) async fn wait(&self, calls: usize) {
        until(|| self.pending.load(Ordering::SeqCst) == calls).await;
    }
}

/// Waits until that holds.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let waits = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    crate::support::within(waits).await;
}

/// The guest `shared-p3`, whose instances take so many requests: in all, and at once.
pub(crate) fn shared(requests: usize, concurrent: usize) -> Spec {
    let mut spec = spec("shared-p3");
    spec.name = "shop".parse().unwrap();
    spec.instances.requests = NonZeroUsize::new(requests);
    spec.instances.concurrent = NonZeroUsize::new(concurrent);
    spec
}

/// A workload whose imports that are not core are linked to that provider.
pub(crate) async fn prepare(
    engines: &Engines,
    spec: Spec,
    provider: &Arc<Waits>,
) -> Result<Arc<Workload>, PrepareError> {
    let provider = Arc::clone(provider);
    let binding = Binding::new(provider);
    let engine = engines.make(backplane::engine::EngineKind::Concurrent).unwrap().clone();
    let workload = Workload::prepare(engines, spec, move |linker, component| {
        let imports = imports(&engine, component, core::is_core)?;
        let resources: Vec<_> = imports
            .iter()
            .flat_map(|import| {
                import.resources.iter().map(|name| LinkedResource {
                    name: ResourceName {
                        interface: Some(import.interface.clone()),
                        name: name.clone(),
                    },
                    number: 0,
                    identity: ResourceIdentity::unique(),
                })
            })
            .collect();
        for import in imports {
            let functions: Vec<_> =
                import.functions.into_iter().map(|(name, ty)| (name, ty, 0)).collect();
            let is_own = |resource: &&LinkedResource| {
                resource.name.interface.as_ref() == Some(&import.interface)
            };
            let defines: Vec<_> = resources.iter().filter(is_own).cloned().collect();
            let linked = LinkedImport {
                name: &import.name,
                functions: &functions,
                defines: &defines,
                resources: &resources,
                binding: &binding,
            };
            define(linker, &linked)?;
        }
        Ok(())
    });
    workload.await.map(Arc::new)
}

/// A server of that guest, what its provider saw, and what was counted.
pub(crate) struct Lab {
    pub(crate) host: Host,
    pub(crate) provider: Arc<Waits>,
    counted: PrometheusHandle,
    _guard: metrics::LocalRecorderGuard<'static>,
}

impl Lab {
    pub(crate) async fn start(spec: Spec) -> Self {
        Self::start_with(&engines(), spec, Duration::from_secs(10)).await
    }

    pub(crate) async fn start_with(engines: &Engines, spec: Spec, drain: Duration) -> Self {
        // The guard lends it for as long as the test's thread runs.
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let counted = recorder.handle();
        let guard = metrics::set_default_local_recorder(recorder);
        let provider = Arc::new(Waits::default());
        let workload = prepare(engines, spec, &provider).await.unwrap();
        let host = Host::serve(vec![workload], Options { drain, ..Options::default() }).await;
        Self { host, provider, counted, _guard: guard }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        crate::support::within(self.host.get(path)).await
    }

    /// A request that runs while the test goes on.
    pub(crate) fn begin(&self, path: &str) -> tokio::task::JoinHandle<(u16, String)> {
        let request = self.host.request("GET", path);
        tokio::spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap_or_default())
        })
    }

    /// A request that is begun, and with it the call of a provider that it waits for.
    pub(crate) async fn waiting(&self, calls: usize) -> tokio::task::JoinHandle<(u16, String)> {
        let request = self.begin("/call?ms=600000");
        self.provider.wait(calls).await;
        request
    }

    /// The value of a metric of the workload; 0 where it has none.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        let text = self.counted.render();
        let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0, |value| value.parse().unwrap())
    }

    pub(crate) fn instances(&self) -> u64 {
        self.metric("backplane_instances{", "shop")
    }

    pub(crate) fn started(&self) -> u64 {
        self.metric("backplane_instances_started_total{", "shop")
    }

    pub(crate) fn ended(&self, why: &str) -> u64 {
        self.metric("backplane_instances_ended_total{", &format!("why=\"{why}\""))
    }

    pub(crate) fn requests(&self, ended: &str) -> u64 {
        self.metric("backplane_requests_total{", &format!("ended=\"{ended}\""))
    }
}
