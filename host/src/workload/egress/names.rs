//! The look-up of names by guests: `wasi:sockets/ip-name-lookup`, with the workload's list in front.

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    vec,
};

use futures::FutureExt as _;
use wasmtime::{
    StoreContextMut,
    component::{Accessor, Linker, Resource, ResourceType},
};
use wasmtime_wasi::{
    WasiView as _, p2,
    p2::bindings::sockets::network::{ErrorCode as P2Error, IpAddress as P2Address},
    p3::bindings::sockets::{ip_name_lookup::ErrorCode as P3Error, types::IpAddress as P3Address},
    runtime::AbortOnDropJoinHandle,
};

use super::{Attempt, Grants, Hosts, shown, sockets, target::host_name};
use crate::{engine::EngineKind, workload::State};

/// Names that are remembered for one store; the first ones go.
const NAMES: usize = 256;

/// Which addresses a guest was told that names stand for, so that sockets may be granted by name. One
/// store's own, as long as it lives.
#[derive(Debug, Clone, Default)]
pub(in crate::workload) struct LookedUp(Arc<Mutex<VecDeque<Answer>>>);

/// A name and what it stood for.
type Answer = (String, Vec<IpAddr>);

impl LookedUp {
    pub(super) fn note(&self, name: &str, addresses: &[IpAddr]) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() == NAMES {
            names.pop_front();
        }
        names.push_back((name.to_owned(), addresses.to_vec()));
    }

    /// Whether a name that stood for the address is as asked.
    pub(super) fn any_name_of(&self, address: IpAddr, is: impl Fn(&str) -> bool) -> bool {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().any(|(name, addresses)| addresses.contains(&address) && is(name))
    }
}

/// Why a guest gets no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Denied,
    Invalid,
    None,
}

impl From<Fault> for P2Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Denied => Self::AccessDenied,
            Fault::Invalid => Self::InvalidArgument,
            Fault::None => Self::NameUnresolvable,
        }
    }
}

impl From<Fault> for P3Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Denied => Self::AccessDenied,
            Fault::Invalid => Self::InvalidArgument,
            Fault::None => Self::NameUnresolvable,
        }
    }
}

/// What a guest asks for.
enum Asked {
    /// An address, which is its own answer.
    Address(IpAddr),
    /// A name that may be looked up.
    Name(String),
}

impl Grants {
    fn check_name(&self, text: &str) -> Result<Asked, Fault> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Asked::Address(address));
        }
        // `wasi:sockets` has names of other scripts turned into those of DNS.
        let name = idna::domain_to_ascii(text).map_err(|_| Fault::Invalid)?;
        let name = host_name(&name).map_err(|_| Fault::Invalid)?;
        let by_socket = |hosts: &Hosts| !matches!(hosts, Hosts::Any) && hosts.has_name(&name);
        if self.names.iter().any(|hosts| hosts.has_name(&name))
            || self.sockets.iter().any(|target| by_socket(target.hosts()))
        {
            return Ok(Asked::Name(name));
        }
        let tried = format!("the look-up of `{}`", shown(text));
        self.denials.denied(Attempt::Name, tried, "no entry has it", Some(name));
        Err(Fault::Denied)
    }

    async fn look_up(&self, asked: Asked, told: Option<LookedUp>) -> Result<Vec<IpAddr>, Fault> {
        let name = match asked {
            Asked::Address(address) => return Ok(vec![address.to_canonical()]),
            Asked::Name(name) => name,
        };
        let addresses = self.lookups.resolve(&name).await.map_err(|error: io::Error| {
            tracing::debug!(target: "egress", "the look-up of `{name}` failed: {error}");
            Fault::None
        })?;
        if let Some(told) = told {
            told.note(&name, &addresses);
        }
        Ok(addresses)
    }
}

/// A look-up of a guest of WASI 0.2: it waits for it, then takes the addresses one by one.
struct Stream(Stage);

enum Stage {
    Asking(AbortOnDropJoinHandle<Result<Vec<IpAddr>, Fault>>),
    Told(Result<vec::IntoIter<IpAddr>, Fault>),
}

impl Stage {
    fn told(result: Result<Vec<IpAddr>, Fault>) -> Self {
        Self::Told(result.map(Vec::into_iter))
    }
}

impl Stream {
    fn next(&mut self) -> Result<Option<P2Address>, P2Error> {
        if let Stage::Asking(task) = &mut self.0 {
            match task.now_or_never() {
                Some(result) => self.0 = Stage::told(result),
                None => return Err(P2Error::WouldBlock),
            }
        }
        match &mut self.0 {
            Stage::Told(Ok(addresses)) => Ok(addresses.next().map(Into::into)),
            Stage::Told(Err(fault)) => Err((*fault).into()),
            Stage::Asking(_) => Err(P2Error::WouldBlock),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl p2::Pollable for Stream {
    async fn ready(&mut self) {
        if let Stage::Asking(task) = &mut self.0 {
            self.0 = Stage::told(task.await);
        }
    }
}

/// Puts look-ups that are checked in the place of WASI's own.
pub(super) fn add_to_linker(linker: &mut Linker<State>, kind: EngineKind) -> wasmtime::Result<()> {
    let mut lookup = linker.instance(&format!("wasi:sockets/ip-name-lookup{}", sockets::P2))?;
    lookup.resource(
        "resolve-address-stream",
        ResourceType::host::<Stream>(),
        |mut store: StoreContextMut<'_, State>, rep| {
            store.data_mut().ctx().table.delete(Resource::<Stream>::new_own(rep))?;
            Ok(())
        },
    )?;
    lookup.func_wrap("resolve-addresses", p2_resolve)?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: StoreContextMut<'_, State>, (stream,): (Resource<Stream>,)| {
            Ok((store.data_mut().ctx().table.get_mut(&stream)?.next(),))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: StoreContextMut<'_, State>, (stream,): (Resource<Stream>,)| {
            Ok((p2::subscribe(store.data_mut().ctx().table, stream)?,))
        },
    )?;
    if kind == EngineKind::Concurrent {
        let mut lookup = linker.instance(&format!("wasi:sockets/ip-name-lookup{}", sockets::P3))?;
        lookup.func_wrap_concurrent("resolve-addresses", |accessor, (name,): (String,)| {
            Box::pin(async move { Ok((p3_resolve(accessor, &name).await,)) })
        })?;
    }
    Ok(())
}

type Resolved = Result<Resource<Stream>, P2Error>;

fn p2_resolve(
    mut store: StoreContextMut<'_, State>,
    (network, name): (Resource<p2::Network>, String),
) -> wasmtime::Result<(Resolved,)> {
    let state = store.data_mut();
    // The handle is the right to ask at all.
    state.ctx().table.get(&network)?;
    let (grants, told) = (Arc::clone(state.grants()), state.looked_up().cloned());
    let asked = match grants.check_name(&name) {
        Ok(asked) => asked,
        Err(fault) => return Ok((Err(fault.into()),)),
    };
    let task = wasmtime_wasi::runtime::spawn(async move { grants.look_up(asked, told).await });
    Ok((Ok(state.ctx().table.push(Stream(Stage::Asking(task)))?),))
}

async fn p3_resolve(accessor: &Accessor<State>, name: &str) -> Result<Vec<P3Address>, P3Error> {
    let (grants, told) = accessor.with(|mut store| {
        let state = store.get();
        (Arc::clone(state.grants()), state.looked_up().cloned())
    });
    let asked = grants.check_name(name)?;
    let addresses = grants.look_up(asked, told).await?;
    Ok(addresses.into_iter().map(Into::into).collect())
}
