//! A fixture extension for the tests and benches of the host: every WIT type, and every way to fail.

#![forbid(unsafe_code)]

mod bench;
mod caller;
mod concurrent;
mod echo;
mod faults;
mod io;
mod resources;
mod streams;
mod values;

use std::{
    collections::HashMap,
    sync::{Arc, RwLock, atomic::AtomicU64},
};

use backplane_sdk::{Bytes, Extension, Failure, Host, Workload};

pub use bench::Cell;
pub use concurrent::Clock;
pub use resources::{Bomb, Thing};

/// What WIT says, in Rust.
pub mod bindings {
    backplane_sdk::generate!({
        path: [
            "../../../wit/bench-kv",
            "../../../wit/wasi-io-0.2.0",
            "../../../wit/bench-streams",
            "../../../wit/bench-files",
            "wit",
        ],
        world: "probe:extension/provider",
        bytes: "owned",
        resources: {
            "bench:kv/calls/cell": crate::Cell,
            "probe:types/resources/thing": crate::Thing,
            "probe:types/resources/bomb": crate::Bomb,
            "probe:types/concurrent/clock": crate::Clock,
        },
        encoded: [
            "probe:types/faults@1.0.0/malformed-string",
            "probe:types/faults@1.0.0/truncated",
            "probe:types/faults@1.0.0/trailing",
            "probe:types/faults@1.0.0/endless-list",
            "probe:types/faults@1.0.0/no-such-case",
            "probe:types/values@1.0.0/malformed",
            "probe:types/values@1.0.0/twice",
        ],
    });
}

/// How a step of the lifecycle ends.
#[backplane_sdk::config]
#[serde(rename_all = "kebab-case")]
#[derive(Clone, Copy, Debug, Default)]
pub enum Step {
    /// As it should.
    #[default]
    Work,
    /// With a failure.
    Fail,
    /// With a panic.
    Panic,
}

impl Step {
    fn run(self, name: &str) -> Result<(), Failure> {
        match self {
            Self::Work => Ok(()),
            Self::Fail => Err(Failure::new(format_args!("{name} fails, as configured"))),
            Self::Panic => faults::blow_up(format!("{name} panics, as configured")),
        }
    }
}

/// The extension's config.
#[backplane_sdk::config]
#[serde(default)]
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How `create` ends.
    pub create: Step,
    /// How `shutdown` ends.
    pub shutdown: Step,
    /// What `configured` answers first.
    pub greeting: String,
}

/// A link's config.
#[backplane_sdk::config]
#[serde(default)]
#[derive(Clone, Debug, Default)]
pub struct BindingConfig {
    /// How `bind` ends.
    pub bind: Step,
    /// How `unbind` ends.
    pub unbind: Step,
    /// Milliseconds that `bind` takes.
    pub bind_milliseconds: u64,
    /// What `configured` answers second.
    pub label: String,
    /// Calls the workload as soon as it is bound, with so many calls at once, each of so many milliseconds
    /// where the workload awaits them.
    pub call: Option<Calls>,
}

/// Calls that the extension makes of a workload by itself.
#[backplane_sdk::config]
#[serde(rename_all = "kebab-case")]
#[derive(Clone, Debug)]
pub struct Calls {
    /// At once.
    pub calls: u32,
    /// Each.
    pub milliseconds: u32,
}

/// An instance.
#[derive(Debug)]
pub struct Probe {
    config: Config,
}

/// A workload's binding.
#[derive(Debug)]
pub struct Binding {
    workload: Workload,
    greeting: String,
    config: BindingConfig,
    values: RwLock<HashMap<String, Bytes>>,
    waiting: Arc<()>,
    kept: streams::Kept,
    written: Arc<AtomicU64>,
    created: io::Created,
}

impl Extension for Probe {
    type Config = Config;
    type BindingConfig = BindingConfig;
    type Binding = Binding;

    async fn create(config: Config, _: Host) -> Result<Self, Failure> {
        config.create.run("create")?;
        backplane_sdk::tracing::info!(greeting = config.greeting, "the probe is ready");
        Ok(Self { config })
    }

    async fn bind(&self, workload: Workload, config: BindingConfig) -> Result<Binding, Failure> {
        if config.bind_milliseconds > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(config.bind_milliseconds)).await;
        }
        config.bind.run("bind")?;
        if let Some(calls) = config.call.clone() {
            caller::call_when_ready(&workload, calls)?;
        }
        Ok(Binding {
            workload,
            greeting: self.config.greeting.clone(),
            config,
            values: RwLock::new(bench::values()),
            waiting: Arc::new(()),
            kept: streams::Kept::default(),
            written: Arc::default(),
            created: io::Created::default(),
        })
    }

    async fn unbind(&self, binding: Binding) {
        if let Err(failure) = binding.config.unbind.run("unbind") {
            backplane_sdk::tracing::error!("{failure}");
        }
    }

    async fn shutdown(self) {
        if let Err(failure) = self.config.shutdown.run("shutdown") {
            backplane_sdk::tracing::error!("{failure}");
        }
    }
}

backplane_sdk::export! {
    name: "probe",
    extension: Probe,
    world: bindings::World,
    aliases: [("probe:alias/echo@1.0.0", "probe:types/echo@1.0.0")],
    allocator: mimalloc::MiMalloc,
}
