//! The element: one datagram in, at most one out. A stateless proxy (RFC 3261 §16.11) that judges who calls.
//!
//! [`Element::receive`] is the whole of it. Calls and short messages from trunks are judged once; what belongs to
//! them (copies, CANCEL, ACK, dialogs, responses) follows without judging. Nothing leaves but between trunks and
//! next hops, and nobody else gets an answer.

mod answer;
mod counting;
mod ways;

use std::net::SocketAddr;

use crate::counter::{Counter, Marks};
use crate::course::{self, Course, Key, Memory};
use crate::decision::{Judgement, Kind, ListView, Match, Revision, TrunkScope, Verdict};
use crate::forward::{self, Edits};
use crate::identity::is_protected;
use crate::inquiry::{self, Finding, Ground};
use crate::message::{self, Fault, Field, Message, Method, Name, Start, Unreadable};
use crate::privacy;
use crate::refusal::Refusal;
use crate::reply;
use crate::setup::{Hop, Peer, Setup, Trunk, Way};
use crate::tls_name::TlsName;
use crate::traffic::{Records, What};
use crate::transport::{Flow, Transport};

use crate::uri;
use crate::via::{self, Via};

/// The largest datagram that UDP over IPv4 carries.
pub const MAX_DATAGRAM: usize = 65_507;

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send `Output::bytes` from that local address: where it is a stream's, over the connection `flow`, or without
    /// one over any to that IP address.
    Send {
        to: SocketAddr,
        local: usize,
        flow: Option<Flow>,
    },
    Drop(Counter),
}

/// One call or message that a rule stopped or labelled, or would have.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    pub kind: Kind,
    pub trunk: usize,
    pub matched: Match,
    /// Only counted: the rule or the trunk is in shadow.
    pub shadow: bool,
    pub revision: Revision,
    /// The same for every copy of one call.
    pub call: u64,
}

/// A datagram, or one message of a stream, as it arrived.
///
/// `local` is the index of the address it came to, `flow` the connection if there is one, `names` what its peer's
/// certificate shows, `now` a clock in milliseconds.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    pub bytes: &'a [u8],
    pub source: SocketAddr,
    pub local: usize,
    pub flow: Option<Flow>,
    pub names: &'a [TlsName],
    pub now: u64,
}

impl<'a> Arrival<'a> {
    pub fn way(&self) -> Way<'a> {
        match self.flow {
            None => Way::Datagram,
            Some(_) => Way::Connection(self.names),
        }
    }
}

/// Working space that lives from one datagram to the next, so that none allocates.
#[derive(Default)]
pub struct Work {
    fields: Vec<Field>,
    pub output: Output,
}

#[derive(Default)]
pub struct Output {
    pub bytes: Vec<u8>,
    pub marks: Marks,
    pub hits: [Option<Hit>; 2],
    /// They gather here from one datagram to the next, until somebody takes them.
    pub records: Records,
    edits: Edits,
}

pub struct Element {
    pub setup: Setup,
    locals: Vec<Names>,
}

/// A local address as it stands in Via, up to its parameters, and in Record-Route.
struct Names {
    via: Box<[u8]>,
    uri: Box<[u8]>,
}

impl Element {
    pub fn new(setup: Setup) -> Element {
        let locals = setup
            .locals
            .iter()
            .map(|local| {
                let (address, transport) = (local.address, local.transport);
                let via = format!("SIP/2.0/{} {address}", transport.in_via());
                let uri = match transport {
                    Transport::Udp => format!("sip:{address}"),
                    stream => format!("sip:{address};transport={}", stream.name()),
                };
                Names {
                    via: via.into_bytes().into(),
                    uri: uri.into_bytes().into(),
                }
            })
            .collect();
        Element { setup, locals }
    }

    /// Takes one datagram. `list` is None when no list was ever loaded: then everything passes.
    pub fn receive<L: ListView>(
        &self,
        arrival: Arrival<'_>,
        memory: &Memory,
        list: Option<&L>,
        work: &mut Work,
    ) -> Effect {
        work.output.marks.clear();
        work.output.hits = [None; 2];
        // An answer to a source that we don't know would serve scanners and reflections.
        match self.setup.peer(arrival.source, arrival.way()) {
            Peer::Unknown => work.output.drop(Counter::UnknownSource),
            peer => {
                let effect = self.receive_from(peer, arrival, memory, list, work);
                if let Peer::Trunk(i) = peer {
                    self.setup.trunks[i].manners.tally.add(&work.output.marks);
                }
                effect
            }
        }
    }

    /// The same for a datagram that is known to come on a trunk, whatever its source: synthetic calls.
    pub fn receive_on<L: ListView>(
        &self,
        trunk: usize,
        arrival: Arrival<'_>,
        memory: &Memory,
        list: Option<&L>,
        work: &mut Work,
    ) -> Effect {
        work.output.marks.clear();
        work.output.hits = [None; 2];
        self.receive_from(Peer::Trunk(trunk), arrival, memory, list, work)
    }

    fn receive_from<L: ListView>(
        &self,
        peer: Peer,
        arrival: Arrival<'_>,
        memory: &Memory,
        list: Option<&L>,
        work: &mut Work,
    ) -> Effect {
        let output = &mut work.output;
        let message = match message::read(arrival.bytes, &mut work.fields) {
            Ok(message) => message,
            Err(Unreadable::KeepAlive) => return output.drop(Counter::KeepAlive),
            Err(Unreadable::NotSip | Unreadable::NoVia) => return output.drop(Counter::NotSip),
        };
        let mut turn = Turn {
            element: self,
            message: &message,
            arrival,
            memory,
            output,
            key: self.setup.keys.newest(),
            transaction: 0,
        };
        match message.start {
            Start::Response { code } => turn.response(code, peer),
            Start::Request { method, uri, .. } => {
                turn.name();
                turn.request(method, uri, peer, list)
            }
        }
    }

    fn is_ours(&self, uri_text: &[u8]) -> bool {
        forward::literal(uri_text).is_some_and(|address| self.setup.is_local(address))
    }

    /// The trunk that an address belongs to, as far as requests may go there.
    fn trunk_at(&self, address: SocketAddr, transport: Transport) -> Option<&Trunk> {
        let trunk = &self.setup.trunks[self.setup.trunk_towards(address, transport)?];
        (!trunk.is_dip()).then_some(trunk)
    }

    /// The next hop of everything in one dialog (RFC 3261 §16.11: from the message's own fields). New calls go only
    /// to those that take them; what follows a call, and a call for help, goes somewhere in any case.
    fn choose_hop(&self, message: &Message<'_>, key: &Key) -> Option<&Hop> {
        let hops = &self.setup.hops;
        let call = key.choice(message);
        let takers = hops.iter().filter(|hop| hop.takes_calls());
        takers.max_by_key(|hop| hop.pull(call)).or_else(|| {
            let follows = !message.to.tag.is_empty() || matches!(message.cseq_method, b"CANCEL" | b"ACK");
            let anyhow = follows || is_protected(message, &self.setup.protected);
            hops.iter().filter(|_| anyhow).max_by_key(|hop| hop.pull(call))
        })
    }
}

/// One datagram's way through the element.
struct Turn<'a> {
    element: &'a Element,
    message: &'a Message<'a>,
    arrival: Arrival<'a>,
    memory: &'a Memory,
    output: &'a mut Output,
    /// The key by which the call has its names: the newest, unless it is remembered by another.
    key: &'a Key,
    transaction: u64,
}

/// What changes in a forwarded request besides Via and Max-Forwards.
#[derive(Clone, Copy, Default)]
struct Changes {
    record_route: bool,
    /// The trunk's asserted identities are nobody's word (RFC 3325 §5).
    remove_asserted: bool,
    label: bool,
    label_from: bool,
}

impl Turn<'_> {
    fn request<L: ListView>(
        &mut self,
        method: Method,
        target: &[u8],
        peer: Peer,
        list: Option<&L>,
    ) -> Effect {
        if let Some(fault) = self.message.fault {
            return self.refuse_malformed(method, fault);
        }
        if self.is_unframed() {
            return self.refuse_malformed(method, Fault::ContentLength);
        }
        match method {
            Method::Ack => return self.ack(peer),
            Method::Cancel => return self.cancel(peer),
            _ => {}
        }
        let in_dialog = !self.message.to.tag.is_empty();
        if self.message.values(Name::ProxyRequire).next().is_some() {
            return self.refuse_extension();
        }
        if method == Method::Options && !in_dialog && self.is_to_us(target, peer) {
            return self.options(peer);
        }
        if let Peer::Trunk(i) = peer {
            if self.trunk(i).is_dip() {
                return self.dip(i, method, in_dialog, list);
            }
        }
        let listens = Method::Register as u8..=Method::Notify as u8;
        if !in_dialog && listens.contains(&(method as u8)) {
            return self.answer(Counter::NotAllowed, 405, "Method Not Allowed", &[reply::ALLOW]);
        }
        if self.message.max_forwards == Some(0) {
            return self.answer(Counter::TooManyHops, 483, "Too Many Hops", &[]);
        }
        if self.is_loop() {
            return self.answer(Counter::Loop, 482, "Loop Detected", &[]);
        }
        match (peer, method) {
            (Peer::Trunk(i), _) if in_dialog => {
                self.output.marks.add(Counter::InDialog);
                self.pass_to_dialog_hop(i)
            }
            (Peer::Trunk(i), Method::Invite) => self.judge(i, Kind::Call, list),
            (Peer::Trunk(i), Method::Message) if self.trunk(i).messages => self.judge(i, Kind::Message, list),
            (Peer::Trunk(i), _) => self.pass_to_chosen_hop(i, false),
            _ => {
                if in_dialog {
                    self.output.marks.add(Counter::InDialog);
                }
                let record_route = method == Method::Invite && !in_dialog && self.element.setup.record_route;
                self.pass_to_trunk(Changes {
                    record_route,
                    ..Changes::default()
                })
            }
        }
    }

    /// An out-of-dialog call or short message from a trunk.
    fn judge<L: ListView>(&mut self, trunk: usize, kind: Kind, list: Option<&L>) -> Effect {
        // A rule may have changed since the first copy: the call stays on its course (RFC 3261 §16.11).
        let course = self.memory.recall(self.transaction, self.arrival.now);
        match course {
            Some(Course::Refused { status }) => {
                self.output.marks.add(Counter::RefusedAgain);
                return self.refuse(status);
            }
            Some(Course::Forwarded { hop, labelled }) => {
                if let Some(hop) = self.element.setup.hop(hop) {
                    self.output.marks.add(Counter::ForwardedAgain);
                    return self.pass_to_hop(trunk, (hop.address, hop.transport), labelled);
                }
            }
            None => {}
        }
        if privacy::carries_isup(self.message) {
            self.output.marks.add(Counter::Isup);
        }
        if !self.admits(trunk) {
            return self.shed(trunk);
        }
        let verdict = match self.decide(trunk, kind, list, course.is_none()) {
            Ok(verdict) => verdict,
            Err(fault) => return self.refuse_malformed(Method::Invite, fault),
        };
        if verdict == Verdict::Reject {
            let response = self.trunk(trunk).response;
            let (redress, now) = (&self.element.setup.redress, self.arrival.now);
            let (refusal, counted) = Refusal::of_rule(response, self.message, redress, now);
            counted
                .into_iter()
                .for_each(|counter| self.output.marks.add(counter));
            return self.end(refusal, Counter::Rejected);
        }
        if self.trunk(trunk).is_dip() {
            return self.go_on(trunk, Counter::DipPassed);
        }
        let labelled = verdict == Verdict::Label;
        let Some(hop) = self.element.choose_hop(self.message, self.key) else {
            return self.refuse_unroutable();
        };
        let course = Course::Forwarded {
            hop: hop.id(),
            labelled,
        };
        self.memory.note(self.transaction, course, self.arrival.now);
        self.pass_to_hop(trunk, (hop.address, hop.transport), labelled)
    }

    /// The verdict. It counts where `is_first`: this is no copy whose course has come to its end.
    fn decide<L: ListView>(
        &mut self,
        index: usize,
        kind: Kind,
        list: Option<&L>,
        is_first: bool,
    ) -> Result<Verdict, Fault> {
        let setup = &self.element.setup;
        let trunk = &setup.trunks[index];
        if setup.bypass {
            self.output.marks.add(Counter::Bypassed);
            return Ok(Verdict::Pass);
        }
        let ground = Ground {
            terms: &trunk.terms,
            scope: TrunkScope {
                key: trunk.key,
                mode: trunk.mode,
            },
            protected: &setup.protected,
        };
        let finding = inquiry::ask(self.message, kind, &ground, list)?;
        for _ in 0..finding.callers.unreadable.min(4) {
            self.output.marks.add(Counter::Unreadable);
        }
        self.output.marks.add(finding.outcome);
        let mut verdict = Verdict::Pass;
        if let Some(judgement) = &finding.judgement {
            self.note_hits(index, kind, judgement);
            verdict = judgement.verdict;
        }
        if is_first && setup.count_traffic {
            self.record_request(index, kind, verdict, &finding);
        }
        Ok(verdict)
    }

    fn note_hits(&mut self, trunk: usize, kind: Kind, judgement: &Judgement) {
        let hits = judgement.hits();
        if hits == [None; 2] {
            return;
        }
        let call = self.key.call(self.message);
        self.output.hits = hits.map(|hit| {
            hit.map(|(matched, shadow)| Hit {
                kind,
                trunk,
                matched,
                shadow,
                revision: judgement.revision,
                call,
            })
        });
        if judgement.shadow.is_some() {
            self.output.marks.add(Counter::Shadowed);
        }
    }

    fn ack(&mut self, peer: Peer) -> Effect {
        if self.is_of_our_refusal() {
            return self.output.drop(Counter::AckAbsorbed);
        }
        if self.message.max_forwards == Some(0) || self.is_loop() {
            return self.output.drop(Counter::AckDropped); // An ACK is never answered (RFC 3261 §17).
        }
        let effect = match peer {
            Peer::Trunk(i) if self.trunk(i).is_dip() => Effect::Drop(Counter::AckDropped),
            Peer::Trunk(i) => self.on_course(i),
            _ => self.pass_to_trunk(Changes::default()),
        };
        // What would have been a refusal is silence.
        match effect {
            Effect::Send { .. } if self.output.bytes.starts_with(b"ACK ") => effect,
            _ => {
                self.output.marks.clear();
                self.output.drop(Counter::AckDropped)
            }
        }
    }

    fn cancel(&mut self, peer: Peer) -> Effect {
        if self.message.max_forwards == Some(0) {
            return self.answer(Counter::TooManyHops, 483, "Too Many Hops", &[]);
        }
        let is_dip = matches!(peer, Peer::Trunk(i) if self.trunk(i).is_dip());
        let course = self.memory.recall(self.transaction, self.arrival.now);
        if is_dip || matches!(course, Some(Course::Refused { .. })) {
            return self.output.drop(Counter::CancelAbsorbed);
        }
        self.output.marks.add(Counter::Cancelled);
        match peer {
            Peer::Trunk(i) => {
                self.record_event(What::Cancelled, self.transaction);
                self.on_course(i)
            }
            _ => self.pass_to_trunk(Changes::default()),
        }
    }

    /// The hop that the INVITE took, and where that is forgotten the one that it would take.
    fn on_course(&mut self, trunk: usize) -> Effect {
        if let Some(Course::Forwarded { hop, .. }) = self.memory.recall(self.transaction, self.arrival.now) {
            if let Some(hop) = self.element.setup.hop(hop) {
                return self.pass_to_hop(trunk, (hop.address, hop.transport), false);
            }
        }
        if self.message.to.tag.is_empty() {
            self.pass_to_chosen_hop(trunk, false)
        } else {
            self.pass_to_dialog_hop(trunk)
        }
    }

    fn pass_to_chosen_hop(&mut self, trunk: usize, labelled: bool) -> Effect {
        match self.element.choose_hop(self.message, self.key) {
            Some(hop) => self.pass_to_hop(trunk, (hop.address, hop.transport), labelled),
            None => self.refuse_unroutable(),
        }
    }

    fn refuse_unroutable(&mut self) -> Effect {
        // Not 503: a peer takes that as a reason to send us nothing at all for a while (RFC 3261 §21.5.4).
        self.answer(Counter::NoRoute, 500, "No Next Hop", &[])
    }

    fn pass_to_hop(&mut self, trunk: usize, to: (SocketAddr, Transport), label: bool) -> Effect {
        let Start::Request { method, .. } = self.message.start else {
            return Effect::Drop(Counter::NotSip);
        };
        let out_of_dialog = self.message.to.tag.is_empty();
        let changes = Changes {
            record_route: method == Method::Invite && out_of_dialog && self.element.setup.record_route,
            remove_asserted: !self.trunk(trunk).terms.trusted,
            label,
            label_from: label && self.trunk(trunk).manners.label_from,
        };
        self.forward(to.0, to.1, changes)
    }

    /// Inside a dialog: where Route or Request-URI name one of our next hops, else the dialog's chosen one.
    fn pass_to_dialog_hop(&mut self, trunk: usize) -> Effect {
        let named = self.named_target().and_then(|(address, transport)| {
            let hop = self.element.setup.hop_at(address)?;
            // Connections are opened to next hops only: what names another port of one goes over that.
            let over_hops = hop.address == address || transport.is_stream() && hop.transport.is_stream();
            Some(match over_hops {
                true => (hop.address, hop.transport),
                false => (address, Transport::Udp),
            })
        });
        match named {
            Some(to) => self.pass_to_hop(trunk, to, false),
            None => self.pass_to_chosen_hop(trunk, false),
        }
    }

    /// From a next hop: only to an address of a trunk, named by Route or Request-URI.
    fn pass_to_trunk(&mut self, mut changes: Changes) -> Effect {
        let Some((address, transport)) = self.named_target() else {
            return self.answer(Counter::NoRoute, 404, "Not Found", &[]);
        };
        let Some(trunk) = self.element.trunk_at(address, transport) else {
            return self.answer(Counter::NoRoute, 404, "Not Found", &[]);
        };
        changes.remove_asserted = self.hides_from(trunk);
        self.forward(address, transport, changes)
    }

    /// RFC 3261 §16.3 step 4: a Via of ours whose mark says that we sent this very request before.
    fn is_loop(&self) -> bool {
        let message = self.message;
        let value = message.get(Name::Via).map_or(0, |value| uri::trim(value).len());
        if message.count(Name::Via) == 1 && value == message.via.value.len() {
            return self.is_our_mark(&message.via); // The first hop of most calls.
        }
        let ours = message
            .values(Name::Via)
            .filter(|value| course::mentions_branch(value));
        ours.filter_map(via::read).any(|via| self.is_our_mark(&via))
    }

    fn is_our_mark(&self, via: &Via<'_>) -> bool {
        let keys = self.element.setup.keys.ages();
        let is_mark = |own| keys.iter().any(|key| key.route_mark(self.message) == own);
        course::read_branch(via.branch).is_some_and(|(_, own)| is_mark(own)) && self.is_our_via(via)
    }

    fn is_our_via(&self, via: &Via<'_>) -> bool {
        via::read_ip(via.host).is_some_and(|ip| {
            self.element
                .setup
                .is_local(SocketAddr::new(ip, via.port.unwrap_or(5060)))
        })
    }

    fn answer(&mut self, counter: Counter, status: u16, phrase: &str, extra: &[&[u8]]) -> Effect {
        self.output.marks.add(counter);
        self.send_reply(status, phrase, extra)
    }

    fn send_reply(&mut self, status: u16, phrase: &str, extra: &[&[u8]]) -> Effect {
        let tag = self.key.to_tag(self.transaction);
        let Arrival {
            source, local, flow, ..
        } = self.arrival;
        reply::write(
            &mut self.output.bytes,
            self.message,
            source,
            (status, phrase),
            &tag,
            extra,
        );
        Effect::Send {
            to: match flow {
                None => via::back_to(&self.message.via, source),
                Some(_) => source, // Over the connection that it came by (RFC 3261 §18.2.2).
            },
            local,
            flow,
        }
    }

    fn trunk(&self, index: usize) -> &Trunk {
        &self.element.setup.trunks[index]
    }
}

impl Output {
    fn drop(&mut self, counter: Counter) -> Effect {
        self.marks.add(counter);
        Effect::Drop(counter)
    }
}
