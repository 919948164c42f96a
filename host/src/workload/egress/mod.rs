//! What a workload reaches over the network: outbound requests, sockets and names, each checked against
//! its lists, bounded and counted. `docs/egress.md` is the page of it.
//!
//! A name is looked up once for each connection, here; the connection goes to an address of that answer
//! that the lists allow, and nothing is looked up behind the check. Nothing here knows who configures
//! the lists.

#![forbid(unsafe_code)]

mod address;
mod body;
mod connect;
mod denial;
mod destination;
mod names;
mod outbound;
mod pool;
mod resolve;
mod sockets;
mod target;
mod tls;

use std::{net::SocketAddr, path::Path, sync::Arc};

use http::Uri;
use wasmtime::component::Linker;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi_http::Error;

pub use address::Range;
pub use resolve::{Resolver, Resolving, SystemResolver};
pub use target::{
    Hosts, HttpTarget, ListenTarget, NamePattern, Ports, Scheme, SocketTarget, Target, TargetError,
    Transport, Web,
};
pub use tls::EgressError;

use self::{
    address::Kind,
    denial::{Attempt, Denials, shown},
    destination::{Destination, Host},
    outbound::Client,
    resolve::Lookups,
    target::AllowList,
    tls::{Authorities, Tls},
};
pub(super) use self::{names::LookedUp, outbound::Outbound};
use super::{State, spec::Network};
use crate::{engine::EngineKind, name::WorkloadName};

/// What the host lends all workloads for their traffic: the resolver of names, and whom to trust.
#[derive(Debug, Clone)]
pub struct Egress {
    resolver: Arc<dyn Resolver>,
    authorities: Arc<Authorities>,
}

impl Egress {
    /// Made once for a host. `authorities` is a file of certificate authorities besides the system's,
    /// in PEM; it is read here, the system's when they are first needed.
    ///
    /// # Errors
    ///
    /// [`EgressError`] when the file cannot be used.
    pub fn new(
        resolver: impl Resolver + 'static,
        authorities: Option<&Path>,
    ) -> Result<Self, EgressError> {
        let authorities = Arc::new(Authorities::new(authorities)?);
        Ok(Self { resolver: Arc::new(resolver), authorities })
    }
}

/// The system's resolver and its certificate authorities.
impl Default for Egress {
    fn default() -> Self {
        Self { resolver: Arc::new(SystemResolver), authorities: Arc::default() }
    }
}

/// What one workload may reach, in the form in which it is checked, and its connections.
#[derive(Debug)]
pub(super) struct Grants {
    http: AllowList<Web>,
    sockets: AllowList<Transport>,
    listen: AllowList<Transport>,
    names: Vec<Hosts>,
    denials: Denials,
    lookups: Lookups,
    client: Client,
}

impl Grants {
    pub(super) fn new(workload: &WorkloadName, network: &Network, egress: &Egress) -> Self {
        let tls = Tls::new(Arc::clone(&egress.authorities));
        Self {
            http: AllowList::new(network.http.iter().cloned()),
            sockets: AllowList::new(network.sockets.iter().cloned()),
            listen: AllowList::new(network.listen.iter().map(|target| target.0.clone())),
            names: network.name_lookup.iter().map(|pattern| pattern.0.clone()).collect(),
            denials: Denials::new(workload),
            lookups: Lookups::new(Arc::clone(&egress.resolver)),
            client: Client::new(workload, network.outbound.clone(), tls),
        }
    }

    /// Gives a guest's context its sockets. Called for each store; answers with what is to be noted of
    /// the names that the guest looks up.
    pub(super) fn configure(self: &Arc<Self>, wasi: &mut WasiCtxBuilder) -> Option<LookedUp> {
        sockets::configure(self, wasi)
    }

    /// Whether a request may go to the host that its URI names, before that is looked up.
    fn check_listed(&self, uri: &Uri) -> Result<Destination, Error> {
        let to = Destination::of(uri).map_err(|why| {
            let tried = uri.authority().map_or_else(String::new, |authority| {
                // What stands before the host may be a password.
                shown(authority.as_str().rsplit('@').next().unwrap_or_default())
            });
            self.denials.denied(
                Attempt::Http,
                format_args!("a request to `{tried}`"),
                format_args!("its host {why}"),
                None,
            );
            Error::HttpRequestUriInvalid
        })?;
        let is_listed = match &to.host {
            Host::Name(name) => self.http.has_name(to.scheme(), name, to.port),
            Host::Address(address) => self.http.has_address(to.scheme(), None, *address, to.port),
        };
        if is_listed {
            return Ok(to);
        }
        let entry = Some(to.to_string());
        self.denials.denied(
            Attempt::Http,
            format_args!("a request to `{to}`"),
            "no entry has it",
            entry,
        );
        Err(Error::HttpRequestDenied)
    }

    /// The addresses of a listed host that a connection may be made to.
    async fn addresses(&self, to: &Destination) -> Result<Vec<SocketAddr>, Error> {
        let name = match &to.host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, to.port)]),
            Host::Name(name) => name,
        };
        let found = self.lookups.resolve(name).await.map_err(|error| {
            tracing::debug!(target: "egress", "the look-up of `{name}` failed: {error}");
            Error::DnsError { rcode: Some("no address".to_owned()), info_code: None }
        })?;
        let allowed: Vec<_> = found
            .iter()
            .filter(|address| self.http.has_address(to.scheme(), Some(name), **address, to.port))
            .map(|address| SocketAddr::new(*address, to.port))
            .collect();
        if let (true, Some(first)) = (allowed.is_empty(), found.first()) {
            let entry = Destination { host: Host::Address(*first), ..to.clone() };
            let why = format_args!(
                "its name stands for {first}, which is {} and has no entry of its own",
                Kind::of(*first)
            );
            let tried = format_args!("a request to `{to}`");
            self.denials.denied(Attempt::Http, tried, why, Some(entry.to_string()));
            return Err(Error::DestinationIpProhibited);
        }
        Ok(allowed)
    }
}

/// Puts what is checked here in the place of WASI's own look-up of names and, for what a workload is
/// granted none of, of its sockets. Called once for each workload, behind `core::add_to_linker`.
pub(super) fn add_to_linker(
    linker: &mut Linker<State>,
    kind: EngineKind,
    network: &Network,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    names::add_to_linker(linker, kind)?;
    sockets::add_to_linker(linker, kind, network)?;
    linker.allow_shadowing(false);
    Ok(())
}
