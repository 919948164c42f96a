//! The extension's lifecycle.

use std::sync::Arc;

use backplane_sdk::{Extension, Failure, Host, Workload};
use tokio::task::spawn_blocking;

use crate::{Config, LinkConfig, Store, handlers::bindings, store::Binding};

/// The extension: a store that workloads are bound to.
pub struct KeyValue {
    store: Arc<Store>,
}

impl Extension for KeyValue {
    type Config = Config;
    type BindingConfig = LinkConfig;
    type Binding = Binding;

    async fn create(config: Config, _: Host) -> Result<Self, Failure> {
        let store = spawn_blocking(move || Store::open(&config)).await??;
        Ok(Self { store: Arc::new(store) })
    }

    async fn bind(&self, _: Workload, config: LinkConfig) -> Result<Binding, Failure> {
        Ok(self.store.bind(&config)?)
    }

    async fn shutdown(self) {
        if let Err(panic) = spawn_blocking(move || self.store.close()).await {
            tracing::error!("the store was not closed: {panic}");
        }
    }
}

backplane_sdk::export! {
    name: "keyvalue",
    extension: KeyValue,
    world: bindings::World,
}
