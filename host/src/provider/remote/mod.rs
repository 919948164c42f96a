//! Servers: providers outside the process, which speak wRPC over TCP or a Unix socket.
//!
//! Config says where a server is and, by WIT, what it serves; the host never starts it. A call has a connection
//! of its own, as wRPC's framing has it: its header and parameters there, its results back, and the end. It is
//! sent once: whatever happens after the connection was made, it may have run, and is not tried again.

mod address;
mod error;
mod form;
mod frame;
mod interfaces;
mod reach;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use backplane_abi::{Buffer, CallContext, Exchange};
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    sync::Semaphore,
    time::{Instant, timeout_at},
};

pub use address::{Address, AddressError};
pub use interfaces::WitError;

use self::{address::Stream, error::CallError, frame::FrameError, reach::Reach};
use super::{BindError, Bound, Callbacks, Offer, Place, Provider, WorkloadIdentity};
use crate::{
    boundary::{
        call::{Answer, Callee, Failure},
        types::{FunctionType, Type},
    },
    clock::until_monotonic,
    name::{InterfaceName, ProviderName, WorkloadName},
};

/// What config says of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// The name it goes by.
    pub name: ProviderName,
    /// Where it is.
    pub address: Address,
    /// The WIT of what it serves: a file or a folder.
    pub wit: PathBuf,
    /// The interfaces of it that it serves; none for those of its world, or all.
    pub interfaces: Vec<InterfaceName>,
    /// How it is called.
    pub limits: ServerLimits,
}

/// How a server is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Time for a connection.
    pub connect_timeout: Duration,
    /// Time from a call's start to its answer.
    pub deadline: Duration,
    /// Calls that run at once; more wait.
    pub concurrency: usize,
    /// Calls that wait; more fail at once.
    pub queue: usize,
    /// An answer, in bytes.
    pub answer_size: usize,
    /// Whether a connection that ends without an answer is the success of a function without results.
    pub unconfirmed: bool,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
            concurrency: 256,
            queue: 1024,
            answer_size: 64 << 20,
            unconfirmed: false,
        }
    }
}

/// A server, ready to be called.
pub struct Server {
    offers: Vec<Offer>,
    peer: Arc<Peer>,
}

/// What the calls of a server share.
struct Peer {
    name: ProviderName,
    address: Address,
    limits: ServerLimits,
    functions: Vec<Arc<Called>>,
    /// Room for calls that run or wait.
    places: Arc<Semaphore>,
    /// Room for calls that run.
    running: Arc<Semaphore>,
    /// None where nothing is called, and once the host stops.
    reach: Mutex<Option<Reach>>,
}

/// A function of a server.
struct Called {
    /// The header of its calls.
    head: Vec<u8>,
    ty: FunctionType,
}

impl Server {
    /// A server to look at. It is not called.
    ///
    /// # Errors
    ///
    /// [`WitError`] when its WIT cannot be read or has what does not go over the network.
    pub fn declared(config: &ServerConfig) -> Result<Self, WitError> {
        let offers = interfaces::read(&config.wit, &config.interfaces)?;
        let mut functions = Vec::new();
        // In the order in which they are numbered.
        for offer in &offers {
            let interface = offer.interface.to_string();
            functions.extend(offer.functions.iter().map(|function| {
                let head = frame::head(&interface, &function.name);
                Arc::new(Called { head, ty: function.ty.clone() })
            }));
        }
        let limits = config.limits;
        let room = |calls: usize| Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS)));
        let peer = Peer {
            name: config.name.clone(),
            address: config.address.clone(),
            functions,
            places: room(limits.concurrency.saturating_add(limits.queue)),
            running: room(limits.concurrency),
            limits,
            reach: Mutex::new(None),
        };
        Ok(Self { offers, peer: Arc::new(peer) })
    }

    /// A server to call. Whether it is there is found out beside, and said in the log and in the host's health.
    /// Must be called inside a runtime.
    ///
    /// # Errors
    ///
    /// [`WitError`], as [`Server::declared`].
    pub fn start(config: &ServerConfig) -> Result<Self, WitError> {
        let server = Self::declared(config)?;
        let reach = Reach::watch(&config.name, &config.address, config.limits.connect_timeout);
        *server.peer.reach.lock().unwrap_or_else(PoisonError::into_inner) = Some(reach);
        Ok(server)
    }
}

impl Provider for Server {
    fn name(&self) -> &ProviderName {
        &self.peer.name
    }

    fn offers(&self) -> &[Offer] {
        &self.offers
    }

    fn place(&self) -> Place {
        Place::Network {
            transport: self.peer.address.transport(),
            address: self.peer.address.to_string(),
            deadline: self.peer.limits.deadline,
        }
    }

    fn bind(
        &self,
        workload: &WorkloadIdentity,
        config: &serde_json::Value,
        _: &Arc<Callbacks>,
    ) -> Bound {
        let is_empty =
            config.is_null() || config.as_object().is_some_and(serde_json::Map::is_empty);
        let bound: Result<Arc<dyn Callee>, BindError> = if is_empty {
            let workload = workload.name.clone();
            Ok(Arc::new(ServerBinding { peer: Arc::clone(&self.peer), workload }))
        } else {
            Err(BindError(
                "a server takes no settings of a link, for wRPC carries none; expected a link without `config`, and the settings where the server is started".to_owned(),
            ))
        };
        Box::pin(async { bound })
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.peer.running.close();
        self.peer.places.close();
        *self.peer.reach.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Box::pin(async {})
    }
}

/// A workload's binding: the server knows nothing of it.
struct ServerBinding {
    peer: Arc<Peer>,
    workload: WorkloadName,
}

impl Callee for ServerBinding {
    fn provider(&self) -> &str {
        self.peer.name.as_str()
    }

    fn workload(&self) -> Option<&str> {
        Some(self.workload.as_str())
    }

    fn call(&self, function: u32, context: &CallContext, exchange: &mut Exchange) -> Answer {
        let called = usize::try_from(function).ok().and_then(|at| self.peer.functions.get(at));
        let Some(called) = called else {
            return Answer::failed(CallError::NoFunction(function).into());
        };
        let params: Vec<_> = called.ty.params.iter().map(|(_, ty)| ty).collect();
        let request = match form::to_wrpc(&exchange.arguments, &params) {
            Ok(params) => called.request(&params),
            Err(error) => Err(CallError::Arguments(error)),
        };
        let deadline = Deadline::of(self.peer.limits.deadline, context);
        let (peer, called) = (Arc::clone(&self.peer), Arc::clone(called));
        match request {
            Ok(request) => Answer::pending(async move {
                peer.call(&called, &request, deadline).await.map_err(|error| {
                    if error.is_away() {
                        peer.missed();
                    }
                    Failure::from(error)
                })
            }),
            Err(error) => Answer::failed(error.into()),
        }
    }

    fn drop_resource(&self, _: u32, _: u64) {
        // A server has none: what would have some is refused when its WIT is read.
    }
}

/// When a call must have its answer.
#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    after: Duration,
    whose: &'static str,
}

impl Deadline {
    /// The server's own, or that of the request if it comes first.
    fn of(own: Duration, context: &CallContext) -> Self {
        let request = (context.deadline > 0).then(|| until_monotonic(context.deadline));
        let (after, whose) = match request.filter(|left| *left < own) {
            Some(left) => (left, "of the request"),
            None => (own, "`deadline`"),
        };
        Self { at: Instant::now() + after, after, whose }
    }
}

impl Called {
    /// All that a call sends.
    fn request(&self, params: &[u8]) -> Result<Vec<u8>, CallError> {
        let length = u32::try_from(params.len())
            .map_err(|_| CallError::LongArguments { bytes: params.len() })?;
        let mut request = Vec::with_capacity(self.head.len() + 5 + params.len());
        request.extend_from_slice(&self.head);
        frame::leb(length.into(), &mut request);
        request.extend_from_slice(params);
        Ok(request)
    }
}

impl Peer {
    fn missed(&self) {
        if let Some(reach) = &*self.reach.lock().unwrap_or_else(PoisonError::into_inner) {
            reach.missed();
        }
    }

    /// Makes a call. Dropping the future ends it where it is, and closes its connection.
    async fn call(
        &self,
        called: &Called,
        request: &[u8],
        deadline: Deadline,
    ) -> Result<Buffer, CallError> {
        let _place = self.places.try_acquire().map_err(|error| match error {
            tokio::sync::TryAcquireError::Closed => CallError::Stopped,
            tokio::sync::TryAcquireError::NoPermits => {
                CallError::Queue { running: self.limits.concurrency, waiting: self.limits.queue }
            }
        })?;
        let turn = timeout_at(deadline.at, self.running.acquire()).await;
        let _turn = turn.map_err(|_| CallError::Waited)?.map_err(|_| CallError::Stopped)?;
        if deadline.at <= Instant::now() {
            return Err(CallError::Waited);
        }
        let stream = self.connect(deadline).await?;
        let answer = timeout_at(deadline.at, self.exchange(stream, request)).await;
        let answer = answer.map_err(|_| CallError::Deadline {
            address: self.address.clone(),
            after: deadline.after,
            whose: deadline.whose,
        })??;
        self.result(called, answer)
    }

    async fn connect(&self, deadline: Deadline) -> Result<Stream, CallError> {
        let limit = Instant::now() + self.limits.connect_timeout;
        let address = || self.address.clone();
        match timeout_at(limit.min(deadline.at), self.address.connect()).await {
            Ok(connected) => {
                connected.map_err(|source| CallError::Connect { address: address(), source })
            }
            Err(_) => Err(CallError::ConnectTimeout {
                address: address(),
                after: self.limits.connect_timeout.min(deadline.after),
            }),
        }
    }

    /// Sends a call and takes what comes back, until the server is done.
    async fn exchange(
        &self,
        mut stream: Stream,
        request: &[u8],
    ) -> Result<Option<Vec<u8>>, CallError> {
        let lost = |source: io::Error| CallError::Lost { address: self.address.clone(), source };
        stream.write_all(request).await.map_err(lost)?;
        // No parameters follow: a stock server waits for this where it has streams.
        stream.shutdown().await.map_err(lost)?;
        let read = frame::read(&mut BufReader::new(stream), self.limits.answer_size).await;
        read.map_err(|source| match source {
            FrameError::Io(source) => lost(source),
            source @ FrameError::TooLong(_) => {
                CallError::Oversized { address: self.address.clone(), source }
            }
            source => CallError::Frame { address: self.address.clone(), source },
        })
    }

    /// The results in an answer. None at all is never a success, unless config says that it is one.
    fn result(&self, called: &Called, answer: Option<Vec<u8>>) -> Result<Buffer, CallError> {
        let address = || self.address.clone();
        let types: Vec<&Type> = called.ty.result.iter().collect();
        let answer = match answer {
            Some(answer) => answer,
            None if !types.is_empty() => return Err(CallError::NoAnswer { address: address() }),
            None if self.limits.unconfirmed => Vec::new(),
            None => return Err(CallError::Unconfirmed { address: address() }),
        };
        form::to_local(&answer, &types)
            .map(Buffer::from)
            .map_err(|source| CallError::Answer { address: address(), source })
    }
}
