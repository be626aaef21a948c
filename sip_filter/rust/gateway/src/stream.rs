//! The thread of all connections (TCP, TLS): accept, frame, ask the element, answer. It waits for none of them.
//!
//! What other threads want to send over a connection reaches it as [`Letter`]s by [`Mail`].

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::mem::take;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use palang_core::counter::Counter;
use palang_core::decision::ListView;
use palang_core::element::{Arrival, Effect, Element, Work};
use palang_core::frame::{Framer, Step};
use palang_core::setup::{Peer, Way};
use palang_core::transport::Flow;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::connection::{Connection, Opening, Side, HIGH_WATER, MOST_UNSENT};
use crate::house::Pulse;
use crate::mail::Letter;
use crate::said::say;
use crate::sender::Sender;
use crate::socket::PATIENCE;
use crate::tls_client::Client;
use crate::worker::{handle, Counts, Hits, Shared};

mod outbound;

use outbound::Onward;

/// Bytes read from one connection before the next has its turn.
const ROOM: usize = 64 << 10;
/// Connections taken from one listener before those that are open have their turn.
const MOST_ACCEPTS: usize = 64;
/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(100);
/// How long a listener rests when the system can't give it a connection.
const REST: Duration = Duration::from_millis(100);
/// How long a connection that we end may take to read its last answer.
const FAREWELL: Duration = Duration::from_secs(2);
const WAKER: Token = Token(usize::MAX);
/// Connections' tokens are their serials, above those of the listeners.
const FIRST_SERIAL: u64 = 1 << 10;

/// How long and how many: the settings of `gateway.streams`.
#[derive(Clone, Copy)]
pub struct Limits {
    pub idle: Duration,
    pub message: Duration,
    pub handshake: Duration,
    pub per_source: usize,
    pub total: usize,
}

/// What connections are under; replaced whole when the settings change.
#[derive(Clone)]
pub struct Terms {
    pub limits: Limits,
    pub tls: Option<Arc<ServerConfig>>,
    /// Of each next hop over TLS, by its address.
    pub clients: HashMap<SocketAddr, Client>,
}

/// A place to work at: outlives the thread that works there, so that a new one can take over.
pub struct Desk {
    pub name: String,
    /// Listening sockets, each with the index of its local address.
    pub listeners: Arc<[(usize, TcpListener)]>,
    /// For what goes on by UDP.
    pub sockets: Arc<[UdpSocket]>,
    pub counts: Counts,
    pub pulse: Pulse,
    pub number: usize,
}

impl Desk {
    /// A desk of its own at the same sockets, for a thread that takes over. Connections stay with the former one.
    pub fn successor(&self, number: usize) -> Desk {
        Desk {
            name: self.name.clone(),
            listeners: Arc::clone(&self.listeners),
            sockets: Arc::clone(&self.sockets),
            counts: Counts::default(),
            pulse: Pulse::default(),
            number,
        }
    }
}

pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a process that ended must not keep the next one from the address.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Runs until the stop flag is up, or another has taken over.
pub fn run(shared: &Shared, desk: &Desk) {
    let Ok(mut streams) = Streams::new(shared, desk) else {
        desk.counts.add(Counter::AcceptError, 1);
        std::thread::sleep(REST); // The housekeeper starts us again.
        return;
    };
    let mut events = Events::with_capacity(1024);
    let mut held = shared.reader.hold();
    while !shared.stop.load(Ordering::Relaxed) && desk.pulse.beat() {
        if let Err(error) = streams.poll.poll(&mut events, Some(streams.patience())) {
            if error.kind() != ErrorKind::Interrupted {
                desk.counts.add(Counter::ReceiveError, 1);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        shared.reader.catch_up(&mut held);
        let list = (held.number() != 0).then(|| held.view());
        streams.turn(&events, list.as_ref());
        streams.hand_in(false);
    }
    streams.hand_in(true);
}

struct Streams<'a> {
    shared: &'a Shared,
    desk: &'a Desk,
    poll: Poll,
    listeners: Vec<Listener>,
    connections: HashMap<u64, Box<Connection>>,
    sources: HashMap<IpAddr, usize>,
    /// The connections to next hops, by their addresses.
    ways: HashMap<SocketAddr, Onward>,
    /// Connections that may have bytes for us.
    ready: Vec<u64>,
    letters: Vec<Letter>,
    serial: u64,
    element: Arc<Element>,
    terms: Terms,
    turns: u64,
    room: Vec<u8>,
    work: Work,
    sender: Sender,
    hits: Hits<'a>,
    swept: Instant,
    said: Option<Instant>,
}

struct Listener {
    local: usize,
    socket: mio::net::TcpListener,
    /// Whether connections may wait there.
    pending: bool,
    rests_until: Option<Instant>,
}

impl<'a> Streams<'a> {
    fn new(shared: &'a Shared, desk: &'a Desk) -> io::Result<Streams<'a>> {
        let poll = Poll::new()?;
        let mut listeners = Vec::new();
        for (i, (local, socket)) in desk.listeners.iter().enumerate() {
            let mut socket = mio::net::TcpListener::from_std(socket.try_clone()?);
            poll.registry()
                .register(&mut socket, Token(i), Interest::READABLE)?;
            listeners.push(Listener {
                local: *local,
                socket,
                pending: true,
                rests_until: None,
            });
        }
        let waker = Waker::new(poll.registry(), WAKER)?;
        shared.mail.wake(waker);
        // Names of connections that a former process gave must not be given again soon.
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let serial = FIRST_SERIAL + (since_epoch.unwrap_or_default().as_micros() as u64 & 0xffff_ffff);
        let (turns, element) = shared.latest();
        Ok(Streams {
            shared,
            desk,
            poll,
            listeners,
            connections: HashMap::new(),
            sources: HashMap::new(),
            ways: HashMap::new(),
            ready: Vec::new(),
            letters: Vec::new(),
            serial,
            element,
            terms: shared.terms(),
            turns,
            room: vec![0; ROOM],
            work: Work::default(),
            sender: Sender::default(),
            hits: Hits::new(shared, desk.number),
            swept: Instant::now(),
            said: None,
        })
    }

    fn patience(&self) -> Duration {
        let can_accept = |listener: &Listener| listener.pending && listener.rests_until.is_none();
        match self.ready.is_empty() && !self.listeners.iter().any(can_accept) {
            true => PATIENCE,
            false => Duration::ZERO,
        }
    }

    /// Hands in what was written down for the counts of traffic.
    fn hand_in(&mut self, leaves: bool) {
        let records = &mut self.work.output.records;
        self.shared.traffic.hand_in(records, self.shared.now(), leaves);
    }

    /// One round: everything that is ready has one turn.
    fn turn<L: ListView>(&mut self, events: &Events, list: Option<&L>) {
        let now = Instant::now();
        if self.shared.turns() != self.turns {
            (self.turns, self.element) = self.shared.latest();
            self.terms = self.shared.terms();
            for connection in self.connections.values_mut().filter(|c| c.names.is_some()) {
                connection.read_names(&self.element.setup);
            }
        }
        for event in events {
            match event.token() {
                WAKER => {}
                Token(i) if i < self.listeners.len() => self.listeners[i].pending = true,
                Token(serial) => self.queue(serial as u64),
            }
        }
        for i in 0..self.listeners.len() {
            self.accept(i, now);
        }
        self.letters = self.shared.mail.take();
        self.deliver(now);
        for serial in take(&mut self.ready) {
            let Some(mut connection) = self.connections.remove(&serial) else {
                continue;
            };
            connection.queued = false;
            if !self.desk.pulse.beat() {
                return; // A round may be long, so each turn in it is a sign of life.
            }
            match self.serve(&mut connection, now, list) {
                Ok(more) => {
                    self.connections.insert(serial, connection);
                    if more {
                        self.queue(serial);
                    }
                }
                Err(error) => self.forget(&connection, &error, now),
            }
        }
        if self.desk.pulse.is_closed() {
            return; // What it had in hand is too old to send on.
        }
        self.deliver(now);
        let sent = self.sender.flush(&self.desk.sockets);
        self.count(Counter::Sent, sent.sent);
        self.count(Counter::SendError, sent.failed);
        self.count(Counter::SegmentRefused, sent.refused);
        if now.duration_since(self.swept) >= SWEEP {
            self.swept = now;
            self.sweep(now);
        }
    }

    fn queue(&mut self, serial: u64) {
        if let Some(connection) = self.connections.get_mut(&serial) {
            if !connection.queued {
                connection.queued = true;
                self.ready.push(serial);
            }
        }
    }

    fn accept(&mut self, i: usize, now: Instant) {
        let listener = &mut self.listeners[i];
        listener.rests_until = listener.rests_until.filter(|until| now < *until);
        if !listener.pending || listener.rests_until.is_some() {
            return;
        }
        for _ in 0..MOST_ACCEPTS {
            let listener = &mut self.listeners[i];
            match listener.socket.accept() {
                Ok((socket, source)) => {
                    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
                    let local = listener.local;
                    self.welcome(socket, source, local, now);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return listener.pending = false,
                    // The peer went away while it waited (accept(2)).
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        listener.rests_until = Some(now + REST);
                        let local = listener.local;
                        self.count(Counter::AcceptError, 1);
                        let name = self.element.setup.locals[local];
                        self.tell("node.no_connections", &name, &error, REST, now);
                        return;
                    }
                },
            }
        }
    }

    /// At most once a second: a system without file descriptors must not fill a disk as well.
    fn tell(&mut self, event: &str, address: &dyn Display, error: &io::Error, pause: Duration, now: Instant) {
        if self
            .said
            .is_none_or(|at| now.duration_since(at) >= Duration::from_secs(1))
        {
            self.said = Some(now);
            let effect = format!("it tries again in {pause:?}");
            say(
                event,
                &[("address", address), ("error", error), ("effect", &effect)],
            );
        }
    }

    fn welcome(&mut self, mut socket: mio::net::TcpStream, source: SocketAddr, local: usize, now: Instant) {
        if !self.element.setup.may_connect(source) {
            return self.count(Counter::UnknownSource, 1);
        }
        let Limits {
            per_source, total, ..
        } = self.terms.limits;
        let here = self.sources.get(&source.ip()).copied().unwrap_or(0);
        if here >= per_source || self.connections.len() >= total {
            return self.count(Counter::ConnectionOver, 1);
        }
        let is_tls = self.element.setup.locals[local].transport == palang_core::transport::Transport::Tls;
        let tls = is_tls.then(|| self.terms.tls.clone()).flatten();
        if is_tls && tls.is_none() {
            return self.count(Counter::TlsFailure, 1);
        }
        self.serial += 1;
        let serial = self.serial;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(serial as usize);
        let made = tune(&socket)
            .and_then(|()| self.poll.registry().register(&mut socket, token, interest))
            .and_then(|()| {
                let side = tls.map_or(Side::Plain, Side::Server);
                Connection::new(socket, Flow::new(local, serial), source, side, now)
            });
        let Ok(connection) = made else {
            return self.count(Counter::AcceptError, 1);
        };
        self.count(Counter::Connection, 1);
        *self.sources.entry(source.ip()).or_default() += 1;
        self.connections.insert(serial, Box::new(connection));
        self.queue(serial);
    }

    /// One turn of a connection; whether it may have more for us. An error ends it.
    fn serve<L: ListView>(
        &mut self,
        connection: &mut Connection,
        now: Instant,
        list: Option<&L>,
    ) -> io::Result<bool> {
        if !connection.is_taken()? {
            return Ok(false);
        }
        connection.flush(now)?;
        if connection.unsent() > HIGH_WATER {
            return Ok(false); // Writable again is an event too.
        }
        let mut room = take(&mut self.room);
        let read = connection.read(&mut room);
        if connection.names.is_none() && !connection.is_handshaking() {
            connection.read_names(&self.element.setup);
            self.admit(connection, now);
        }
        let more = match read {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                connection.active = now;
                if connection.closing.is_none() {
                    self.take_bytes(connection, &room[..count], now, list);
                }
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        };
        self.room = room;
        if connection.outbound == Some(Opening::Taken) && !connection.is_handshaking() {
            self.begin(connection);
        }
        connection.flush(now)?;
        more
    }

    /// A peer that has shown to be nobody we know is not listened to.
    fn admit(&mut self, connection: &mut Connection, now: Instant) {
        let shown = Way::Connection(connection.names.as_deref().unwrap_or_default());
        if self.element.setup.peer(connection.source, shown) == Peer::Unknown {
            self.count(Counter::UnknownSource, 1);
            connection.close_soon(now);
        }
    }

    fn take_bytes<L: ListView>(
        &mut self,
        connection: &mut Connection,
        came: &[u8],
        now: Instant,
        list: Option<&L>,
    ) {
        let mut kept = take(&mut connection.input);
        let bytes = match kept.is_empty() {
            true => came,
            false => {
                kept.extend_from_slice(came);
                &kept[..]
            }
        };
        let mut at = 0;
        while connection.closing.is_none() {
            match connection.framer.step(&bytes[at..]) {
                Step::Wait => break,
                Step::Skip(count) => at += count,
                Step::Ping(count) => {
                    at += count;
                    connection.push(b"\r\n");
                    self.count(Counter::KeepAlive, 1);
                }
                Step::Message(count) => {
                    self.take_message(connection, &bytes[at..at + count], now, list);
                    at += count;
                    connection.begun = None;
                }
                Step::Broken(count) => {
                    self.count(Counter::Unframeable, 1);
                    self.take_message(connection, &bytes[at..at + count], now, list);
                    connection.close_soon(now);
                }
            }
        }
        if connection.closing.is_some() {
            return;
        }
        let rest = &bytes[at..];
        if Framer::has_begun(rest) {
            connection.begun.get_or_insert(now);
        }
        connection.input = match (rest.is_empty(), kept.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => rest.to_vec(),
            (false, false) => {
                kept.drain(..at);
                kept
            }
        };
    }

    fn take_message<L: ListView>(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
        now: Instant,
        list: Option<&L>,
    ) {
        self.count(Counter::Received, 1);
        let arrival = Arrival {
            bytes,
            source: connection.source,
            local: connection.flow.local(),
            flow: Some(connection.flow),
            names: connection.names.as_deref().unwrap_or_default(),
            now: self.shared.now(),
        };
        let (work, counts) = (&mut self.work, &self.desk.counts);
        let handled = handle(
            self.shared,
            &self.element,
            list,
            arrival,
            work,
            &mut self.hits,
            counts,
        );
        match handled {
            Some(Effect::Send { flow, .. }) if flow == Some(connection.flow) => {
                connection.push(&self.work.output.bytes);
                self.count(Counter::Sent, 1);
            }
            Some(Effect::Send { to, local, flow }) => self.send(to, local, flow),
            // Not SIP at all, or of a peer that was taken out of the settings.
            Some(Effect::Drop(Counter::NotSip | Counter::UnknownSource)) => connection.close_soon(now),
            Some(Effect::Drop(_)) | None => {}
        }
    }

    /// What was written goes by datagram, or waits for its connection's turn.
    fn send(&mut self, to: SocketAddr, local: usize, flow: Option<Flow>) {
        let output = &self.work.output;
        match local < self.desk.sockets.len() {
            true => self.sender.add(&output.bytes, to, local),
            false => self.letters.push(Letter::of(output, to, local, flow)),
        }
    }

    fn deliver(&mut self, now: Instant) {
        // What can't be delivered is answered, which may be a letter too.
        for _ in 0..2 {
            self.deliver_once(now);
        }
    }

    fn deliver_once(&mut self, now: Instant) {
        for letter in take(&mut self.letters) {
            let Some(letter) = self.take_onward(letter, now) else {
                continue;
            };
            let fits = |connection: &Connection| {
                connection.source.ip() == letter.to.ip() && connection.closing.is_none()
            };
            // Where the connection has gone, another to the same peer does (RFC 3261 §18.2.2 would open one).
            let named = letter
                .flow
                .map(Flow::serial)
                .filter(|serial| self.connections.get(serial).is_some_and(|c| fits(c)));
            let other = || {
                let open = self.connections.values();
                open.filter(|c| c.flow.local() == letter.local && fits(c))
                    .map(|c| c.flow.serial())
                    .max()
            };
            let found = named.or_else(other);
            match found.and_then(|serial| self.connections.get_mut(&serial)) {
                Some(connection) if connection.unsent() < MOST_UNSENT => {
                    connection.push(&letter.bytes);
                    let result = connection.flush(now);
                    self.count(Counter::Sent, 1);
                    if let (Err(error), Some(serial)) = (result, found) {
                        if let Some(connection) = self.connections.remove(&serial) {
                            self.forget(&connection, &error, now);
                        }
                    }
                }
                _ => self.count(Counter::ConnectionGone, 1),
            }
        }
    }

    fn sweep(&mut self, now: Instant) {
        let limits = self.terms.limits;
        let over = |since: Instant, limit: Duration| now.duration_since(since) >= limit;
        let late = self.connections.iter().filter_map(|(serial, connection)| {
            let counter = if connection.outbound.is_some_and(|how| how != Opening::Ready) {
                return over(connection.opened, limits.handshake).then_some((*serial, None));
            } else if connection.is_handshaking() {
                over(connection.opened, limits.handshake).then_some(Counter::TlsFailure)
            } else if let Some(closing) = connection.closing {
                return over(closing, FAREWELL).then_some((*serial, None));
            } else {
                let slow = connection.begun.is_some_and(|begun| over(begun, limits.message))
                    || connection.outbound.is_some()
                        && connection.unsent() > 0
                        && over(connection.active, limits.message);
                (slow || over(connection.active, limits.idle)).then_some(Counter::ConnectionLate)
            };
            counter.map(|counter| (*serial, Some(counter)))
        });
        for (serial, counter) in late.collect::<Vec<_>>() {
            if let Some(connection) = self.connections.remove(&serial) {
                self.forget(&connection, &ErrorKind::TimedOut.into(), now);
            }
            if let Some(counter) = counter {
                self.count(counter, 1);
            }
        }
        self.reopen(now);
    }

    /// A connection that was taken out of `connections` ends here.
    fn forget(&mut self, connection: &Connection, error: &io::Error, now: Instant) {
        if error.kind() == ErrorKind::InvalidData {
            self.count(Counter::TlsFailure, 1);
        }
        if connection.outbound.is_some() {
            return self.lose(connection, error, now);
        }
        let source = connection.source.ip();
        if let Some(here) = self.sources.get_mut(&source) {
            *here -= 1;
            if *here == 0 {
                self.sources.remove(&source);
            }
        }
    }

    fn count(&self, counter: Counter, count: u64) {
        self.desk.counts.add(counter, count);
    }
}

/// Answers leave at once, and a peer that vanished without a word is noticed.
fn tune(socket: &mio::net::TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))
}
