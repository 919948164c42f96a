//! The calls answered by native extensions, loaded and linked as the host does.

use std::path::Path;

use backplane::{
    boundary::imports::imports,
    name::ProviderName,
    provider::{
        WorkloadIdentity,
        resolve::resolve,
        set::{Enabled, ProviderSet, Settings},
    },
    workload::core::is_core,
};
use serde_json::{Value, json};
use wasmtime::{
    Engine, Result, bail,
    component::{Component, Linker},
};

use super::guest::{Data, core_linker};

/// The loaded extensions.
pub(super) struct Natives(ProviderSet);

impl Natives {
    pub(super) fn load(plugins: &Path, data: &Path) -> Result<Self> {
        let enabled = |name: &str, config: Value| -> Result<Enabled> {
            let name: ProviderName = name.parse()?;
            Ok(Enabled { name, file: None, digest: None, config, sandbox_key: None })
        };
        let settings = Settings {
            plugins: plugins.to_owned(),
            data: data.to_owned(),
            enable: vec![
                enabled("probe", Value::Null)?,
                enabled("keyvalue", json!({ "backend": "memory" }))?,
            ],
        };
        Ok(Self(ProviderSet::start(&settings)?))
    }

    /// A linker in which the extensions answer what the component imports.
    pub(super) async fn linker(
        &self,
        engine: &Engine,
        component: &Component,
    ) -> Result<Linker<Data>> {
        let mut linker = core_linker(engine)?;
        let plan = resolve(imports(engine, component, is_core)?, &[], &self.0, &[], &[]);
        let plan = match plan {
            Ok(plan) => plan,
            Err(errors) => {
                let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
                bail!("cannot link the guest: {}", errors.join("; "));
            }
        };
        let workload = WorkloadIdentity { name: "bench".parse()? };
        plan.bind(&workload).await?.define(&mut linker)?;
        Ok(linker)
    }

    pub(super) async fn shutdown(self) {
        self.0.shutdown().await;
    }
}
