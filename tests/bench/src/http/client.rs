//! The client: one thread, sockets of its own, two system calls a request.
//!
//! It has to cost less than any server that it asks, or it would be what is measured.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
};

use super::response::{Response, Scratch};
use crate::measure::Clock;

/// The longest that nothing may come from a server.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that are made before those have to have been accepted: fewer than any server's backlog.
const BATCH: usize = 64;
/// Events that are taken from the kernel at once.
const EVENTS: usize = 256;
/// An arrival that is nearer is waited for awake: a timer of the kernel is too late.
const AWAKE: Duration = Duration::from_millis(2);

/// Connections to a server, which all ask the same.
pub(super) struct Client {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    request: Vec<u8>,
    events: Vec<Event>,
    scratch: Scratch,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    response: Response,
    /// When the request that it is busy with was due.
    due: Instant,
}

/// What came of asking for a while, from the first request to the last response.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) completed: u32,
    pub(super) time: Duration,
    /// CPU time of the client.
    pub(super) cpu: Duration,
}

impl Client {
    /// Connects, and asks once on every connection.
    pub(super) fn connect(address: SocketAddr, path: &str, connections: usize) -> Result<Self> {
        let mut client = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(connections),
            request: request(address, path),
            events: Vec::with_capacity(EVENTS),
            scratch: Scratch::default(),
        };
        while client.connections.len() < connections {
            let first = client.connections.len();
            let last = connections.min(first + BATCH);
            for at in first..last {
                client.add(address, at)?;
            }
            for at in first..last {
                client.send(at, Instant::now())?;
            }
            let mut left = last - first;
            while left > 0 {
                client.wait(None, |_, _| {
                    left -= 1;
                    Ok(())
                })?;
            }
        }
        Ok(client)
    }

    fn add(&mut self, address: SocketAddr, at: usize) -> Result<()> {
        let stream = TcpStream::connect(address)
            .with_context(|| format!("cannot open connection {at} to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(at as u64), EventFlags::IN)?;
        let due = Instant::now();
        self.connections.push(Connection { stream, response: Response::default(), due });
        Ok(())
    }

    /// Asks on every connection again and again for so long, then waits for what is under way.
    pub(super) fn ask_for(&mut self, time: Duration) -> Result<Window> {
        let (begun, cpu) = (Instant::now(), Clock::Thread.now());
        let end = begun + time;
        for at in 0..self.connections.len() {
            self.send(at, begun)?;
        }
        let mut running = self.connections.len();
        let mut completed = 0;
        while running > 0 {
            self.wait(None, |client, at| {
                completed += 1;
                let now = Instant::now();
                if now < end {
                    return client.send(at, now);
                }
                running -= 1;
                Ok(())
            })?;
        }
        let cpu = Clock::Thread.now().saturating_sub(cpu);
        Ok(Window { completed, time: begun.elapsed(), cpu })
    }

    /// Sends requests when they are due, however the server gets on, and answers with how long after
    /// that each was complete. A request for which no connection is free waits for one, and its time
    /// runs.
    pub(super) fn ask_when_due(
        &mut self,
        arrivals: Arrivals,
        time: Duration,
    ) -> Result<Vec<Duration>> {
        let begun = Instant::now();
        let mut arrivals = arrivals.take_while(|after| *after < time).peekable();
        let mut due = VecDeque::new();
        // The one that has waited longest comes next, so that all are used.
        let mut free: VecDeque<_> = (0..self.connections.len()).collect();
        let mut times = Vec::new();
        loop {
            let now = begun.elapsed();
            while let Some(after) = arrivals.next_if(|after| *after <= now) {
                due.push_back(begun + after);
            }
            while let (Some(&at), Some(&when)) = (free.front(), due.front()) {
                self.send(at, when)?;
                free.pop_front();
                due.pop_front();
            }
            let next = arrivals.peek().map(|after| after.saturating_sub(begun.elapsed()));
            if next.is_none() && due.is_empty() && free.len() == self.connections.len() {
                return Ok(times);
            }
            let sleep = next.map(|next| next.checked_sub(AWAKE).unwrap_or_default());
            self.wait(sleep, |client, at| {
                if let Some(connection) = client.connections.get(at) {
                    times.push(connection.due.elapsed());
                }
                free.push_back(at);
                Ok(())
            })?;
        }
    }

    fn send(&mut self, at: usize, due: Instant) -> Result<()> {
        let Self { connections, request, .. } = self;
        let Some(connection) = connections.get_mut(at) else { return Ok(()) };
        connection.due = due;
        // The socket's buffer is empty, for the response to the last request is here.
        match connection.stream.write(request) {
            Ok(written) if written == request.len() => Ok(()),
            Ok(_) => bail!("a request was sent in part"),
            Err(error) if error.kind() == ErrorKind::Interrupted => self.send(at, due),
            Err(error) => Err(error).context("cannot send a request"),
        }
    }

    /// Waits until something comes or the time is over; calls back for each response that is complete.
    fn wait(
        &mut self,
        time: Option<Duration>,
        mut complete: impl FnMut(&mut Self, usize) -> Result<()>,
    ) -> Result<()> {
        let timeout = Timespec::try_from(time.unwrap_or(PATIENCE)).unwrap_or_default();
        let mut events = std::mem::take(&mut self.events);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => {
                self.events = events;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        ensure!(
            time.is_some() || !events.is_empty(),
            "the server has not answered for {} s",
            PATIENCE.as_secs()
        );
        for event in events.drain(..) {
            let at = event.data.u64() as usize;
            let Self { connections, scratch, .. } = self;
            let Some(connection) = connections.get_mut(at) else { continue };
            match connection.response.read(&connection.stream, scratch)? {
                Some(200) => complete(self, at)?,
                Some(status) => bail!("the server answered with status {status}"),
                None => {}
            }
        }
        self.events = events;
        Ok(())
    }
}

/// Asks once on a connection that blocks, and waits for the whole response; expects a 200.
pub(crate) fn ask(stream: &mut TcpStream, path: &str) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request(stream.peer_addr()?, path))?;
    let (mut response, mut scratch) = (Response::default(), Scratch::default());
    let end = Instant::now() + PATIENCE;
    loop {
        match response.read(&*stream, &mut scratch)? {
            Some(200) => return Ok(()),
            Some(status) => bail!("the server answered with status {status}"),
            None => ensure!(Instant::now() < end, "no response after {} s", PATIENCE.as_secs()),
        }
    }
}

fn request(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: */*\r\n\r\n").into_bytes()
}

/// When requests are due, after the start: at random, as from many clients that know nothing of one
/// another, and the same for every server.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    state: u64,
    after: f64,
    between: f64,
}

impl Arrivals {
    /// So many a second, on average.
    pub(super) fn at(rate: f64, seed: u64) -> Self {
        Self { state: seed, after: 0.0, between: 1.0 / rate }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>); its upper half is a number below one.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = f64::from(((mixed ^ (mixed >> 31)) >> 32) as u32) / f64::from(u32::MAX);
        // Exponential times between arrivals make them independent of one another.
        self.after -= self.between * (1.0 - number).max(1e-9).ln();
        Duration::try_from_secs_f64(self.after).ok()
    }
}
