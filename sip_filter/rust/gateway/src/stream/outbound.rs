//! Connections that we open: one to each next hop over TCP or TLS, when first needed, kept and reused (RFC 3261 §18.1.1).
//!
//! A request waits for a connection only while that is made. What a connection can't take goes to another next hop
//! when it is a new call, or is answered 500 as by the next hop itself, so that the answer finds its way by our Via.

use std::io;
use std::mem::take;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Interest, Token};
use palang_core::counter::Counter;
use palang_core::course::{read_branch, Course};
use palang_core::element::{Arrival, Effect};
use palang_core::list;
use palang_core::message::{self, Message, Method, Name, Start};
use palang_core::reply;
use palang_core::setup::Hop;
use palang_core::transport::{Flow, Transport};
use socket2::{Domain, Protocol, Socket, Type};

use super::{handle, tune, Letter, Streams};
use crate::connection::{Connection, Opening, Side, HIGH_WATER};

/// Requests that wait for one connection to be made.
const MOST_WAITING: usize = 1024;
/// The first pause before a connection is tried again; each failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A connection that ended sooner counts as a failure.
const STEADY: Duration = Duration::from_secs(5);

/// The way to one next hop.
#[derive(Default)]
pub(super) struct Onward {
    /// Its connection, while there is one.
    serial: Option<u64>,
    waiting: Vec<Letter>,
    failures: u32,
    /// When it may be opened again, and will be.
    retry_at: Option<Instant>,
}

impl Onward {
    fn pause(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            n => (FIRST_PAUSE * (1 << (n - 1).min(10))).min(LONGEST_PAUSE),
        }
    }
}

impl Streams<'_> {
    /// Takes a request to a next hop over its connection; other letters come back.
    pub(super) fn take_onward(&mut self, letter: Letter, now: Instant) -> Option<Letter> {
        if letter.flow.is_some() || letter.bytes.starts_with(b"SIP/2.0 ") {
            return Some(letter);
        }
        let element = Arc::clone(&self.element);
        let setup = &element.setup;
        let mut hops = setup.hops.iter().chain(&setup.retired);
        let Some(mut hop) = hops.find(|hop| hop.is_behind(letter.to)) else {
            return Some(letter);
        };
        let mut tried = Vec::new();
        let mut offered = self.offer(letter, hop, now);
        while let Some(mut letter) = offered {
            if tried.is_empty() {
                self.count(Counter::HopUnreachable, 1);
            }
            tried.push(hop.address);
            let Some(other) = self.other_hop(&setup.hops, &letter, hop, &tried) else {
                self.refuse(&letter, hop);
                break;
            };
            (hop, letter.to) = (other, other.address);
            offered = self.offer(letter, hop, now);
        }
        None
    }

    /// Comes back when the connection can't take it.
    fn offer(&mut self, letter: Letter, hop: &Hop, now: Instant) -> Option<Letter> {
        let way = self.ways.entry(hop.address).or_default();
        let connection = way.serial.and_then(|serial| self.connections.get_mut(&serial));
        match connection {
            Some(connection) if connection.outbound == Some(Opening::Ready) => {
                if connection.unsent() > HIGH_WATER || connection.closing.is_some() {
                    return Some(letter);
                }
                connection.push(&letter.bytes);
                let serial = connection.flow.serial();
                if let Err(error) = connection.flush(now) {
                    if let Some(connection) = self.connections.remove(&serial) {
                        self.forget(&connection, &error, now);
                    }
                    return Some(letter);
                }
                self.count(Counter::Sent, 1);
                None
            }
            Some(_) if way.waiting.len() >= MOST_WAITING => Some(letter),
            None if way.retry_at.is_some_and(|at| now < at) => Some(letter),
            opening => {
                let is_open = opening.is_some();
                way.waiting.push(letter);
                if !is_open {
                    self.open(hop, now);
                }
                None
            }
        }
    }

    fn open(&mut self, hop: &Hop, now: Instant) {
        match self.connect(hop, now) {
            Ok(connection) => {
                let serial = connection.flow.serial();
                self.ways.entry(hop.address).or_default().serial = Some(serial);
                self.connections.insert(serial, Box::new(connection));
                self.queue(serial);
            }
            Err(error) => self.fail(hop.address, &error, now),
        }
    }

    /// Begins a connection from the address that our Via names, to the next hop.
    fn connect(&mut self, hop: &Hop, now: Instant) -> io::Result<Connection> {
        let locals = &self.element.setup.locals;
        let local = locals.iter().position(|local| {
            local.transport == hop.transport && local.address.is_ipv4() == hop.address.is_ipv4()
        });
        let local = local.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let socket = Socket::new(
            Domain::for_address(hop.address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(locals[local].address.ip(), 0).into())?;
        match socket.connect(&hop.address.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            other => other?,
        }
        let side = match hop.transport {
            Transport::Tls => {
                let client = self.terms.clients.get(&hop.address);
                let client = client.ok_or_else(|| io::Error::other("it is no longer configured"))?;
                Side::Client(Arc::clone(&client.config), client.name.clone())
            }
            _ => Side::Plain,
        };
        let mut socket = mio::net::TcpStream::from_std(socket.into());
        tune(&socket)?;
        self.serial += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(self.serial as usize);
        self.poll.registry().register(&mut socket, token, interest)?;
        let flow = Flow::new(local, self.serial);
        let mut connection = Connection::new(socket, flow, hop.address, side, now)?;
        connection.outbound = Some(Opening::Asked);
        Ok(connection)
    }

    /// A connection is made: what has waited goes out.
    pub(super) fn begin(&mut self, connection: &mut Connection) {
        connection.outbound = Some(Opening::Ready);
        let way = self.ways.entry(connection.source).or_default();
        way.retry_at = None;
        let waiting = take(&mut way.waiting);
        for letter in &waiting {
            connection.push(&letter.bytes);
        }
        self.count(Counter::Sent, waiting.len() as u64);
        self.note_reachable(connection.source, true);
    }

    /// A connection of ours was taken out of `connections`.
    pub(super) fn lose(&mut self, connection: &Connection, error: &io::Error, now: Instant) {
        let address = connection.source;
        let Some(way) = self.ways.get_mut(&address) else {
            return;
        };
        if way.serial.take() != Some(connection.flow.serial()) {
            return;
        }
        if connection.outbound != Some(Opening::Ready) {
            return self.fail(address, error, now);
        }
        // It is had again at once, so that it is known whether the next hop still lives; but not one that was idle.
        let is_idle = now.duration_since(connection.active) >= self.terms.limits.idle;
        way.failures = match now.duration_since(connection.opened) < STEADY {
            true => way.failures + 1,
            false => 0,
        };
        way.retry_at = (!is_idle).then(|| now + way.pause());
    }

    /// A connection could not be had: nothing waits for it any more.
    fn fail(&mut self, address: SocketAddr, error: &io::Error, now: Instant) {
        let way = self.ways.entry(address).or_default();
        way.serial = None;
        way.failures = way.failures.saturating_add(1);
        let pause = way.pause();
        way.retry_at = Some(now + pause);
        let waiting = take(&mut way.waiting);
        self.note_reachable(address, false);
        self.tell("node.next_hop_unreached", &address, error, pause, now);
        for letter in waiting {
            self.take_onward(letter, now);
        }
    }

    /// Opens again what was lost or could not be had, when its pause is over.
    pub(super) fn reopen(&mut self, now: Instant) {
        let due = |way: &Onward| way.serial.is_none() && way.retry_at.is_some_and(|at| at <= now);
        let due: Vec<_> = self
            .ways
            .iter()
            .filter(|(_, way)| due(way))
            .map(|(to, _)| *to)
            .collect();
        let element = Arc::clone(&self.element);
        for address in due {
            match element.setup.hops.iter().find(|hop| hop.is_behind(address)) {
                Some(hop) => self.open(hop, now),
                None => drop(self.ways.remove(&address)),
            }
        }
    }

    fn note_reachable(&self, address: SocketAddr, reachable: bool) {
        let hops = &self.element.setup.hops;
        if let Some(hop) = hops.iter().find(|hop| hop.is_behind(address)) {
            hop.health.set_reachable(reachable);
        }
    }

    /// Another next hop for a call that has reached none; the call's course changes with it. Only one whose way our Via
    /// already tells.
    fn other_hop<'h>(
        &self,
        hops: &'h [Hop],
        letter: &Letter,
        hop: &Hop,
        tried: &[SocketAddr],
    ) -> Option<&'h Hop> {
        let mut fields = Vec::new();
        let message = message::read(&letter.bytes, &mut fields).ok()?;
        if letter.again || is_ours(&message) || !is_new(&message) {
            return None;
        }
        let call = self.element.setup.keys.newest().choice(&message);
        let others = hops.iter().filter(|other| {
            let alike = other.transport == hop.transport && other.address.is_ipv4() == hop.address.is_ipv4();
            alike && other.takes_calls() && !tried.contains(&other.address)
        });
        let other = others.max_by_key(|other| other.pull(call))?;
        let (transaction, _) = read_branch(message.via.branch)?;
        let (memory, now) = (&self.shared.memory, self.shared.now());
        if let Some(Course::Forwarded { labelled, .. }) = memory.recall(transaction, now) {
            let hop = other.id();
            memory.note(transaction, Course::Forwarded { hop, labelled }, now);
        }
        Some(other)
    }

    /// Answers a request as its next hop would that can't be reached: 500, since 503 would stop all of a trunk's traffic.
    fn refuse(&mut self, letter: &Letter, hop: &Hop) {
        let mut fields = Vec::new();
        let Ok(message) = message::read(&letter.bytes, &mut fields) else {
            return;
        };
        // A check of ours is missed by not being answered; an ACK never is.
        let unanswered = is_ours(&message) || is_ack(&message);
        let (Some((transaction, _)), false) = (read_branch(message.via.branch), unanswered) else {
            return self.count(Counter::ConnectionGone, 1);
        };
        let tag = self.element.setup.keys.newest().to_tag(transaction);
        let mut text = Vec::new();
        let status = (500, "Next Hop Unreachable");
        reply::write(&mut text, &message, hop.address, status, &tag, &[]);
        let arrival = Arrival {
            bytes: &text,
            source: hop.address,
            local: letter.local,
            flow: None,
            names: &[],
            now: self.shared.now(),
        };
        let (work, counts) = (&mut self.work, &self.desk.counts);
        let no_list: Option<&list::Memory> = None; // Responses are never judged.
        let hits = &mut self.hits;
        if let Some(Effect::Send { to, local, flow }) =
            handle(self.shared, &self.element, no_list, arrival, work, hits, counts)
        {
            self.send(to, local, flow);
        }
    }
}

/// Whether it began here: a check.
fn is_ours(message: &Message<'_>) -> bool {
    message.values(Name::Via).nth(1).is_none()
}

fn is_ack(message: &Message<'_>) -> bool {
    matches!(
        message.start,
        Start::Request {
            method: Method::Ack,
            ..
        }
    )
}

/// Whether a request belongs to nothing that a next hop knows already.
fn is_new(message: &Message<'_>) -> bool {
    let follows = matches!(
        message.start,
        Start::Request {
            method: Method::Ack | Method::Cancel,
            ..
        }
    );
    !follows && message.to.tag.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let pause = |failures| {
            Onward {
                failures,
                ..Onward::default()
            }
            .pause()
        };
        assert_eq!(pause(0), Duration::ZERO);
        assert_eq!(pause(1), FIRST_PAUSE);
        assert_eq!(pause(3), FIRST_PAUSE * 4);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
