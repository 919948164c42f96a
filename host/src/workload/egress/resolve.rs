//! The look-up of host names: one way for outbound requests and for guests, bounded for each workload.

use std::{fmt, io, net::IpAddr, pin::Pin, sync::Arc};

use tokio::sync::Semaphore;

/// Look-ups of one workload at once. Each may hold a thread for as long as the system's resolver takes.
const AT_ONCE: usize = 32;

/// What a look-up comes to.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Knows the addresses of host names.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of a name, in the order in which they are to be tried. Called for each new
    /// connection and each look-up of a guest; nothing is kept.
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a>;
}

/// The system's resolver: `/etc/hosts`, DNS, and whatever else `getaddrinfo` asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip().to_canonical()).collect())
        })
    }
}

/// A workload's way to the resolver.
#[derive(Debug, Clone)]
pub(super) struct Lookups {
    resolver: Arc<dyn Resolver>,
    permits: Arc<Semaphore>,
}

impl Lookups {
    pub(super) fn new(resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The addresses of a name, each once; none is an error. Waits where too many look-ups run. One
    /// that nobody waits for any more counts until the resolver is done with it.
    pub(super) async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?;
        let (resolver, name) = (Arc::clone(&self.resolver), name.to_owned());
        let lookup = tokio::spawn(async move {
            let found = resolver.resolve(&name).await;
            drop(permit);
            found
        });
        let mut addresses = Vec::new();
        for address in lookup.await.map_err(io::Error::other)?? {
            let address = address.to_canonical();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }
}
