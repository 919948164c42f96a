//! Why a workload cannot be linked: each with the line of configuration that would settle it.

use std::collections::BTreeSet;

use super::BindError;
use crate::{
    boundary::types::Mismatch,
    name::{InterfaceName, ProviderName},
};

/// Why an import cannot be linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody provides it.
    #[error("nothing provides `{import}`, which the component imports{remedy}")]
    NoProvider {
        /// The import.
        import: String,
        /// What would mend it.
        remedy: String,
        /// The extension that would provide it, if it were enabled.
        enable: Option<String>,
    },
    /// Several provide it, and config does not say which is meant.
    #[error(
        "{} all provide `{import}`; say which one is meant: add `[[links]]` with `{key}` and `provider = \"{first}\"`",
        list(candidates)
    )]
    Ambiguous {
        /// The import.
        import: String,
        /// The key of a link that chooses it, with its value.
        key: String,
        /// Who provides it.
        candidates: Vec<ProviderName>,
        /// The first of them, for the example.
        first: ProviderName,
    },
    /// A link names a provider that the host does not have.
    #[error("a link gives `{import}` to the provider `{provider}`, which this host does not have; it has {}. Enable it with `enable = [{}]`", list(known), enabled(known, provider.as_str()))]
    UnknownProvider {
        /// The import.
        import: String,
        /// The name in the link.
        provider: ProviderName,
        /// The host's providers.
        known: Vec<ProviderName>,
    },
    /// A link of the workload's own is for nothing.
    #[error(
        "the workload's link with `{target}` to the provider `{provider}` is for nothing that its component imports or exports; there are {}",
        list(known)
    )]
    Unused {
        /// What it is for.
        target: String,
        /// The provider in it.
        provider: ProviderName,
        /// What there is to link.
        known: Vec<String>,
    },
    /// A link gives an export to a provider that does not call it.
    #[error(
        "a link gives `{export}`, which the component exports, to the provider `{provider}`, which does not call it; link it to {}",
        list(candidates)
    )]
    NotCalled {
        /// The interface.
        export: InterfaceName,
        /// The provider in the link.
        provider: ProviderName,
        /// Who calls it.
        candidates: Vec<ProviderName>,
    },
    /// A link names a provider that does not have the interface.
    #[error(
        "a link gives `{import}` to the provider `{provider}`, which provides {}; link it to another provider",
        list(offers)
    )]
    NotOffered {
        /// The import.
        import: String,
        /// The provider.
        provider: ProviderName,
        /// What it provides.
        offers: Vec<InterfaceName>,
    },
    /// The provider has the interface without a function that the component uses.
    #[error(
        "`{import}#{function}` is used by the component, but provider `{provider}` has no such function; use a version of the provider that has it"
    )]
    NoFunction {
        /// The import.
        import: String,
        /// The function.
        function: String,
        /// The provider.
        provider: ProviderName,
    },
    /// The provider has the interface without a resource type that the component uses.
    #[error(
        "the resource `{resource}` of `{import}` is used by the component, but provider `{provider}` does not make it; use a version of the provider that does"
    )]
    NoResource {
        /// The import.
        import: String,
        /// The resource type.
        resource: String,
        /// The provider.
        provider: ProviderName,
    },
    /// A function's types differ.
    #[error("`{import}#{function}` differs in {}: the component uses `{}`, provider `{provider}` has `{}`; build the component against the provider's WIT, or use a version of the provider that has the component's", mismatch.part, mismatch.used, mismatch.offered)]
    Mismatch {
        /// The import.
        import: String,
        /// The function.
        function: String,
        /// The provider.
        provider: ProviderName,
        /// The difference.
        mismatch: Box<Mismatch>,
    },
    /// The provider calls a function of the component's with other types.
    #[error("`{export}#{function}` differs in {}: provider `{provider}` calls it with `{}`, the component exports it with `{}`; build the component against the provider's WIT, or use a version of the provider that has the component's", mismatch.part, mismatch.used, mismatch.offered)]
    ExportMismatch {
        /// The interface that the component exports.
        export: InterfaceName,
        /// The function.
        function: String,
        /// The provider.
        provider: ProviderName,
        /// The difference.
        mismatch: Box<Mismatch>,
    },
    /// The provider calls a function that the component's interface does not have.
    #[error(
        "the component exports `{export}` without `{function}`, which provider `{provider}` calls; build the component against the provider's WIT"
    )]
    NoExportedFunction {
        /// The interface that the component exports.
        export: InterfaceName,
        /// The function.
        function: String,
        /// The provider.
        provider: ProviderName,
    },
    /// The provider calls a function whose types do not cross.
    #[error("`{export}#{function}` cannot be called by provider `{provider}`: {reason}")]
    Uncallable {
        /// The interface that the component exports.
        export: InterfaceName,
        /// The function.
        function: String,
        /// The provider.
        provider: ProviderName,
        /// Why.
        reason: String,
    },
    /// Several providers call what the component exports, and config does not say which is meant.
    #[error(
        "{} could call `{export}`, which the component exports, in more than one way; say which is meant: add `[[links]]` with `target = \"{export}\"` and `provider = \"{first}\"`",
        list(candidates)
    )]
    AmbiguousCaller {
        /// The interface.
        export: InterfaceName,
        /// Who calls it.
        candidates: Vec<ProviderName>,
        /// The first of them, for the example.
        first: ProviderName,
    },
    /// Interfaces that share a resource type are linked to different providers.
    #[error(
        "`{import}` uses the resource `{resource}` of `{owner}`, but the one is linked to `{here}` and the other to {there}; a resource cannot pass between them. Link both to the same provider with the same config"
    )]
    SplitGroup {
        /// The import that uses the resource.
        import: String,
        /// The resource.
        resource: String,
        /// The import that defines it.
        owner: String,
        /// Who serves the user.
        here: ProviderName,
        /// Who serves the owner, and whether it is the config alone that differs.
        there: String,
    },
    /// The provider refused the workload.
    #[error("provider `{provider}` refused the workload: {reason}")]
    Refused {
        /// The provider.
        provider: ProviderName,
        /// Its reason.
        reason: BindError,
    },
    /// The runtime's linker refused a definition.
    #[error("`{import}` cannot be linked: {reason}")]
    Define {
        /// The import.
        import: String,
        /// The linker's words.
        reason: String,
    },
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    match items {
        [] => "none".to_owned(),
        items => items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", "),
    }
}

/// What is to stand in `enable` for one more than there are.
pub(super) fn enabled(known: &[ProviderName], more: &str) -> String {
    let names: BTreeSet<_> = known.iter().map(ProviderName::as_str).chain([more]).collect();
    names.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}
