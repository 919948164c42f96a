//! Resource types of a binding: what tells each from every other, and what the two sides know it by.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use wasmtime::component::ResourceType;

use super::types::ResourceName;

/// An identity for resource types, unique in the process. A provider has one for each version of each
/// resource type that it makes, so that no other's handle is ever taken for one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceIdentity(u32);

impl ResourceIdentity {
    /// One that nobody has.
    pub fn unique() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn runtime_type(self) -> ResourceType {
        ResourceType::host_dynamic(self.0)
    }
}

/// A resource type of a binding.
#[derive(Debug, Clone)]
pub struct LinkedResource {
    /// The type, by the interface that defines it.
    pub name: ResourceName,
    /// Its number at the provider.
    pub number: u32,
    /// What tells it from every other type.
    pub identity: ResourceIdentity,
}

/// A resource type of a binding, as the runtime and as the provider know it.
#[derive(Debug, Clone)]
pub(super) struct ResourceEntry {
    pub(super) ty: ResourceType,
    pub(super) number: u32,
}

impl ResourceEntry {
    pub(super) fn all(resources: &[LinkedResource]) -> Arc<[Self]> {
        let entry = |r: &LinkedResource| Self { ty: r.identity.runtime_type(), number: r.number };
        resources.iter().map(entry).collect()
    }
}
