//! Component extensions: started in the order in which they need each other.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use super::{ControlError, Host};
use crate::{
    name::{ProviderName, WorkloadName},
    provider::{
        WorkloadIdentity,
        set::{ComponentFile, ProviderSet},
    },
    workload::{
        Loaded,
        extension::{Extension, ExtensionError},
        spec::{Link, Spec},
    },
};

/// Why the component extensions do not start.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionsError {
    /// One cannot be made ready.
    #[error("failed to start the extension `{extension}`, the component {}: {source}", file.display())]
    Start {
        /// The extension.
        extension: ProviderName,
        /// Its file.
        file: PathBuf,
        /// Why.
        source: Box<ControlError>,
    },
    /// They need each other in a circle.
    #[error(
        "the extensions {} need each other in a circle, so that none can be started first; link one of their imports to another provider, with `[[extensions.NAME.links]]`",
        circle.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )]
    Circle {
        /// Each needs the next, and the last the first.
        circle: Vec<ProviderName>,
    },
}

/// A component extension that is compiled and not linked.
struct Waiting {
    file: ComponentFile,
    loaded: Loaded,
    /// The component extensions that serve its imports.
    needs: Vec<ProviderName>,
}

impl Host {
    /// Starts the component extensions. `specs` are what config says of each.
    pub(super) async fn start_extensions(
        &mut self,
        mut specs: BTreeMap<ProviderName, Spec>,
    ) -> Result<(), ControlError> {
        let files = self.providers.take_components();
        let names: Vec<_> = files.iter().map(|file| file.name.clone()).collect();
        let mut waiting = Vec::new();
        for mut file in files {
            let spec = specs.remove(&file.name);
            let spec = Spec {
                name: WorkloadName::of_extension(&file.name),
                component: file.file.clone(),
                ..spec.unwrap_or_else(|| Spec::plain(&file.file))
            };
            let bytes = std::mem::take(&mut file.bytes);
            let loaded = Loaded::of(&self.engines, spec, bytes).await;
            let loaded = loaded.map_err(|error| failed(&file, error.into()))?;
            let loaded = loaded.with_egress(self.egress.clone()).with_places(self.places.clone());
            let (providers, links) = self.others(&file.name);
            let plan = self.plan_among(&loaded, &[], &providers, &links);
            let plan = plan.map_err(|error| failed(&file, error))?;
            let needs = plan.joints().map(|(_, provider)| provider.clone());
            let needs = needs.filter(|needed| names.contains(needed)).collect();
            waiting.push(Waiting { file, loaded, needs });
        }
        for place in order(&waiting)? {
            let extension = waiting.iter().position(|waiting| waiting.file.name == place);
            let Some(extension) = extension.map(|at| waiting.swap_remove(at)) else { continue };
            self.start_extension(extension).await?;
        }
        Ok(())
    }

    async fn start_extension(&mut self, extension: Waiting) -> Result<(), ControlError> {
        let Waiting { mut file, loaded, .. } = extension;
        let name = file.name.clone();
        let (providers, links) = self.others(&name);
        let offers = std::mem::take(&mut file.library.offers);
        let started = async {
            let plan = self.plan_among(&loaded, &[], &providers, &links)?;
            let workload = loaded.spec().name.clone();
            let link =
                |error| ControlError::Link { workload: workload.clone(), errors: vec![error] };
            let identity = WorkloadIdentity { name: workload.clone() };
            let links = plan.bind(&identity).await.map_err(link)?;
            let mut linker = loaded.linker()?;
            links.define(&mut linker).map_err(link)?;
            Ok(Extension::start(&name, loaded, &linker, offers)?)
        };
        let started: Result<Extension, ControlError> = started.await;
        let started = started.map_err(|error| failed(&file, error))?;
        tracing::info!(extension = %name, file = %file.file.display(), "component extension started");
        self.providers.put(Arc::new(started));
        Ok(())
    }

    /// Who may serve an extension's imports, and the host's links for them: it cannot serve itself.
    fn others(&self, name: &ProviderName) -> (ProviderSet, Vec<Link>) {
        let links = self.links.iter().filter(|link| link.provider != *name);
        (self.providers.without(name), links.cloned().collect())
    }
}

fn failed(file: &ComponentFile, error: ControlError) -> ControlError {
    ControlError::Extensions(ExtensionsError::Start {
        extension: file.name.clone(),
        file: file.file.clone(),
        source: Box::new(error),
    })
}

impl From<ExtensionError> for ControlError {
    fn from(error: ExtensionError) -> Self {
        Self::Extension(error)
    }
}

/// The extensions, each behind those that it needs.
fn order(waiting: &[Waiting]) -> Result<Vec<ProviderName>, ControlError> {
    let needs: Vec<_> =
        waiting.iter().map(|waiting| (&waiting.file.name, waiting.needs.as_slice())).collect();
    sorted(&needs).map_err(|circle| ControlError::Extensions(ExtensionsError::Circle { circle }))
}

/// The names, each behind those that it needs; or a circle among them.
fn sorted(
    needs: &[(&ProviderName, &[ProviderName])],
) -> Result<Vec<ProviderName>, Vec<ProviderName>> {
    let mut sorted: Vec<ProviderName> = Vec::new();
    while sorted.len() < needs.len() {
        let is_next = |(name, needs): &&(&ProviderName, &[ProviderName])| {
            !sorted.contains(name) && needs.iter().all(|needed| sorted.contains(needed))
        };
        match needs.iter().find(is_next) {
            Some((name, _)) => sorted.push((*name).clone()),
            None => return Err(circle(needs, &sorted)),
        }
    }
    Ok(sorted)
}

/// A circle among those that are not sorted: each of them needs another of them.
fn circle(
    needs: &[(&ProviderName, &[ProviderName])],
    sorted: &[ProviderName],
) -> Vec<ProviderName> {
    let mut path: Vec<ProviderName> = Vec::new();
    let mut next = needs.iter().find(|(name, _)| !sorted.contains(name));
    while let Some((name, needed)) = next {
        if let Some(begins) = path.iter().position(|passed| passed == *name) {
            return path.split_off(begins);
        }
        path.push((*name).clone());
        let needed = needed.iter().find(|needed| !sorted.contains(needed));
        next = needed.and_then(|needed| needs.iter().find(|(name, _)| *name == needed));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProviderName {
        text.parse().unwrap()
    }

    fn sort(needs: &[(&str, &[&str])]) -> Result<String, String> {
        let owned: Vec<(ProviderName, Vec<ProviderName>)> = needs
            .iter()
            .map(|(of, needs)| (name(of), needs.iter().map(|needed| name(needed)).collect()))
            .collect();
        let needs: Vec<_> = owned.iter().map(|(of, needs)| (of, needs.as_slice())).collect();
        let join = |names: Vec<ProviderName>| {
            names.iter().map(ProviderName::as_str).collect::<Vec<_>>().join(" ")
        };
        sorted(&needs).map(join).map_err(join)
    }

    #[test]
    fn each_comes_behind_those_that_it_needs_and_a_circle_is_named() {
        assert_eq!(sort(&[]), Ok(String::new()));
        let needs: &[(&str, &[&str])] = &[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])];
        assert_eq!(sort(needs), Ok("c b a".to_owned()));
        let needs: &[(&str, &[&str])] = &[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])];
        assert_eq!(sort(needs), Err("b c".to_owned()));
    }
}
