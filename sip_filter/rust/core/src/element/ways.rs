//! The ways on: where a request goes and by which of our addresses, and how its response finds back.

use std::cell::Cell;
use std::net::SocketAddr;

use super::{Changes, Effect, Output, Turn, MAX_DATAGRAM};
use crate::counter::Counter;
use crate::course::{self, Key};
use crate::forward;
use crate::message::{Name, Start};
use crate::setup::Peer;
use crate::traffic::What;
use crate::transport::{Flow, Transport};
use crate::uri;
use crate::via;

impl Turn<'_> {
    /// Where the responses to a request go back to, as far as its copies, its CANCEL and its ACK have that in common.
    fn back(&self) -> SocketAddr {
        let (via, source) = (&self.message.via, self.arrival.source);
        match self.arrival.flow {
            None => via::back_to(via, source),
            Some(_) => via::behind_connection(via, source.ip()),
        }
    }

    /// Names the call that a request belongs to: as it is remembered, where keys have changed under way.
    pub(super) fn name(&mut self) {
        let (message, back, keys) = (self.message, self.back(), self.element.setup.keys.ages());
        self.transaction = self.key.transaction(message, back, message.via.branch);
        for key in &keys[1..] {
            if self.memory.recall(self.transaction, self.arrival.now).is_some() {
                return;
            }
            let earlier = key.transaction(message, back, message.via.branch);
            if self.memory.recall(earlier, self.arrival.now).is_some() {
                (self.key, self.transaction) = (key, earlier);
            }
        }
    }

    /// Whether an ACK is that of a final response of ours, by whatever key it was made.
    pub(super) fn is_of_our_refusal(&self) -> bool {
        let (message, back) = (self.message, self.back());
        let mut keys = self.element.setup.keys.ages().iter();
        keys.any(|key| key.is_to_tag(message.to.tag, key.transaction(message, back, message.via.branch)))
    }

    fn seal(&self) -> [u8; 16] {
        let (message, key) = (self.message, self.element.setup.keys.newest());
        let (branch, call_id, tag) = (message.via.branch, message.call_id, message.from.tag);
        key.seal(self.back(), message.cseq, branch, call_id, tag)
    }

    /// The address that the topmost foreign Route names, or the Request-URI; and the transport: the one named beside
    /// it, or else that of the side of ours that the Route before it names (RFC 5658).
    pub(super) fn named_target(&mut self) -> Option<(SocketAddr, Transport)> {
        let Start::Request { uri, .. } = self.message.start else {
            return None;
        };
        self.output.edits.clear();
        let element = self.element;
        let side = Cell::new(Transport::Udp);
        let route = forward::pop_routes(&mut self.output.edits, self.message, |uri| {
            let ours = element.is_ours(uri);
            if ours {
                side.set(named_transport(uri).unwrap_or(Transport::Udp));
            }
            ours
        });
        let target = route.unwrap_or(uri);
        let transport = named_transport(target).unwrap_or(side.get());
        forward::literal(target).map(|address| (address, transport))
    }

    pub(super) fn forward(&mut self, to: SocketAddr, transport: Transport, changes: Changes) -> Effect {
        let element = self.element;
        let Some(local) = self.local_towards(to, transport) else {
            return self.answer(Counter::NoRoute, 500, "No Route", &[]);
        };
        let message = self.message;
        let seal = self.seal();
        let Output { edits, bytes, .. } = &mut *self.output;
        edits.clear();
        let branch = course::branch(self.transaction, self.key.route_mark(message));
        let (names, came) = (&element.locals[local], &element.locals[self.arrival.local]);
        // Either side finds the other by the address, family and transport that it can use (RFC 5658 §3.2).
        let routes: &[&[u8]] = match changes.record_route {
            false => &[],
            true if element.setup.reaches_alike(local, self.arrival.local) => &[&names.uri],
            true => &[&names.uri, &came.uri],
        };
        // What comes by datagram and goes on by stream must find back to the address that it came to.
        let crosses = element.setup.is_stream(local) && !element.setup.is_stream(self.arrival.local);
        let came_by = crosses.then(|| Flow::new(self.arrival.local, 0));
        let flow = self.arrival.flow.or(came_by);
        forward::add_via(edits, message, &names.via, &branch, &seal, flow, routes);
        forward::note_source(edits, message, self.arrival.source);
        forward::count_hop(edits, message);
        if message.get(Name::Route).is_some() {
            forward::pop_routes(edits, message, |uri| element.is_ours(uri));
        }
        if changes.remove_asserted {
            forward::remove(edits, message, Name::AssertedIdentity);
        }
        let mut labelled = false;
        for (wanted, name) in [
            (changes.label && !changes.remove_asserted, Name::AssertedIdentity),
            (changes.label_from, Name::From),
        ] {
            labelled |= wanted && forward::label(edits, message, name, &element.setup.label);
        }
        edits.apply(&message.raw[..message.end()], bytes);
        if bytes.len() > MAX_DATAGRAM {
            return self.answer(Counter::TooLarge, 513, "Message Too Large", &[]);
        }
        if changes.label {
            self.output.marks.add(if labelled {
                Counter::Labelled
            } else {
                Counter::LabelNowhere
            });
        }
        self.output.marks.add(Counter::Forwarded);
        let flow = None;
        Effect::Send { to, local, flow }
    }

    /// The address to send from: the one that was sent to, or the first of that transport and the target's family.
    fn local_towards(&self, to: SocketAddr, transport: Transport) -> Option<usize> {
        let locals = &self.element.setup.locals;
        let fits =
            |i: &usize| locals[*i].transport == transport && locals[*i].address.is_ipv4() == to.is_ipv4();
        Some(self.arrival.local)
            .filter(fits)
            .or_else(|| (0..locals.len()).find(fits))
    }

    /// Whether datagrams to that address can leave from that one of ours.
    fn is_datagram(&self, local: usize, to: SocketAddr) -> bool {
        let known = self.element.setup.locals.get(local);
        known
            .is_some_and(|local| local.transport == Transport::Udp && local.address.is_ipv4() == to.is_ipv4())
    }

    /// Over a stream a message must tell its length (RFC 3261 §18.3).
    pub(super) fn is_unframed(&self) -> bool {
        self.arrival.flow.is_some() && self.message.get(Name::ContentLength).is_none()
    }

    /// RFC 3261 §16.7, without state: our Via comes off, and the hash in its branch vouches for the one below.
    pub(super) fn response(&mut self, code: u16, peer: Peer) -> Effect {
        let message = self.message;
        let drop = Counter::ResponseDropped;
        let (true, Some((transaction, _))) = (
            message.fault.is_none() && !self.is_unframed(),
            course::read_branch(message.via.branch),
        ) else {
            return self.output.drop(drop);
        };
        let ours = self.is_our_via(&message.via);
        let second = message.values(Name::Via).nth(1);
        if ours && second.is_none() && message.cseq_method == b"OPTIONS" {
            return self.check_answer(code, transaction);
        }
        let next = second.and_then(via::read);
        let (true, Some(second), Some(next)) = (ours, second, next) else {
            return self.output.drop(drop);
        };
        let Some(onward) = via::onward(&next) else {
            return self.output.drop(drop);
        };
        let named = via::flow(&message.via);
        let flow = named.filter(|flow| flow.serial() != 0);
        let to = match flow {
            None => onward,
            Some(_) => via::behind_connection(&next, onward.ip()),
        };
        let keys = &self.element.setup.keys;
        let is_named = |key: &Key| key.transaction(message, to, next.branch) == transaction;
        let seal = via::seal(&message.via).unwrap_or_default();
        if !keys.ages().iter().any(is_named) || !keys.is_sealed(message, to, next.branch, seal) {
            return self.output.drop(drop);
        }
        let local = match flow {
            None => named
                .map(Flow::local)
                .filter(|local| self.is_datagram(*local, to))
                .or_else(|| self.local_towards(to, Transport::Udp)),
            Some(flow) => Some(flow.local()).filter(|local| self.element.setup.is_stream(*local)),
        };
        let Some(local) = local else {
            return self.output.drop(drop);
        };
        // RFC 3325 holds for responses too.
        let hide = match peer {
            Peer::Trunk(i) => !self.trunk(i).terms.trusted,
            _ => self
                .element
                .trunk_at(to, self.element.setup.locals[local].transport)
                .is_some_and(|trunk| self.hides_from(trunk)),
        };
        let edits = &mut self.output.edits;
        edits.clear();
        forward::pop_via(edits, message, second);
        if hide {
            forward::remove(edits, message, Name::AssertedIdentity);
        }
        if code == 503 && peer == Peer::Hop {
            self.output.marks.add(Counter::HopBusy);
            // RFC 3261 §16.7 step 6: 503 would stop all of the trunk's traffic, not this hop's.
            let end = message.start_end - message.line_end.len();
            edits.put(0, end, |text| {
                text.extend_from_slice(b"SIP/2.0 500 Server Internal Error")
            });
        }
        edits.apply(&message.raw[..message.end()], &mut self.output.bytes);
        if message.cseq_method == b"INVITE" {
            if code >= 200 {
                self.memory.finish(transaction, self.arrival.now);
            }
            match code {
                101..=199 if peer == Peer::Hop => self.record_event(What::Rang, transaction),
                200..=299 if peer == Peer::Hop => self.record_event(What::Answered, transaction),
                _ => {}
            }
        }
        self.output.marks.add(Counter::Response);
        Effect::Send { to, local, flow }
    }
}

/// The transport that a URI asks for.
fn named_transport(uri_text: &[u8]) -> Option<Transport> {
    let uri = uri::read(uri_text)?;
    Transport::named(uri::param(uri.params, b"transport")??)
}
