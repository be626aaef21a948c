//! What the element answers itself: refusals, a dip's word, OPTIONS.

use super::{Counter, Course, Effect, Fault, Hop, Kind, ListView, Method, Name, Peer, Refusal, Trunk, Turn};
use crate::identity::is_protected;
use crate::manners::Role;
use crate::{forward, health, privacy, reply, uri};

impl Turn<'_> {
    /// Ends a new call or message with a final response, which its copies will get too.
    pub(super) fn end(&mut self, refusal: Refusal, counter: Counter) -> Effect {
        let status = refusal.mark();
        self.memory
            .note(self.transaction, Course::Refused { status }, self.arrival.now);
        self.output.marks.add(counter);
        self.refuse(status)
    }

    /// The response behind a mark.
    pub(super) fn refuse(&mut self, mark: u16) -> Effect {
        let refusal = Refusal::of_mark(mark);
        let (status, phrase) = refusal.status();
        let setup = &self.element.setup;
        let (message, key) = (self.message, self.key);
        let call = || key.call(message);
        refusal.with_lines(message, &setup.redress, call, |lines| {
            self.send_reply(status, phrase, lines)
        })
    }

    /// A request on a dip trunk: judged and answered, never forwarded. We are its target: Max-Forwards is not ours
    /// to check (RFC 3261 §8.2).
    pub(super) fn dip<L: ListView>(
        &mut self,
        trunk: usize,
        method: Method,
        in_dialog: bool,
        list: Option<&L>,
    ) -> Effect {
        match method {
            _ if in_dialog => self.answer(Counter::NotAllowed, 481, "Call/Transaction Does Not Exist", &[]),
            Method::Invite => self.judge(trunk, Kind::Call, list),
            Method::Message if self.trunk(trunk).messages => self.judge(trunk, Kind::Message, list),
            Method::Message => self.go_on(trunk, Counter::DipPassed),
            _ => self.answer(Counter::NotAllowed, 405, "Method Not Allowed", &[DIP_ALLOW]),
        }
    }

    /// A dip's word that a call may go on.
    pub(super) fn go_on(&mut self, trunk: usize, counter: Counter) -> Effect {
        match self.trunk(trunk).manners.role {
            Role::Dip { pass } => self.end(pass, counter),
            Role::Interconnect => self.end(Refusal::NotFound, counter),
        }
    }

    /// Whether a new call or message is within what its trunk may send. A protected callee is never too much.
    pub(super) fn admits(&mut self, index: usize) -> bool {
        let element = self.element;
        let trunk = &element.setup.trunks[index];
        let Some(per_s) = trunk.manners.max_per_s else {
            return true;
        };
        trunk.manners.bucket.take(per_s, self.arrival.now)
            || is_protected(self.message, &element.setup.protected)
    }

    /// What is too much: refused, or on a dip trunk passed, since the asker can carry it.
    pub(super) fn shed(&mut self, trunk: usize) -> Effect {
        match self.trunk(trunk).is_dip() {
            true => self.go_on(trunk, Counter::Shed),
            false => self.end(self.trunk(trunk).manners.shed, Counter::Shed),
        }
    }

    /// The answer to a check of ours, from the hop that was checked.
    pub(super) fn check_answer(&mut self, code: u16, transaction: u64) -> Effect {
        let setup = &self.element.setup;
        let message = self.message;
        let source = self.arrival.source;
        let (cseq, call_id, tag) = (message.cseq, message.call_id, message.from.tag);
        let mut keys = setup.keys.ages().iter();
        let sent = keys.any(|key| health::transaction(key, source, cseq, call_id, tag) == transaction);
        let mut hops = setup.hops.iter().chain(&setup.retired);
        let hop = hops.find(|hop| sent && hop.address == source);
        let Some(hop) = hop else {
            return self.output.drop(Counter::ResponseDropped);
        };
        hop.health.receive_answer(message.cseq, code);
        self.output.drop(Counter::CheckAnswered)
    }

    /// Whether an asserted identity must stay from a trunk (RFC 3325 §5, §9.3).
    pub(super) fn hides_from(&mut self, trunk: &Trunk) -> bool {
        let hides = !trunk.terms.trusted
            && self.message.get(Name::AssertedIdentity).is_some()
            && privacy::asks_privacy(self.message);
        if hides {
            self.output.marks.add(Counter::Private);
        }
        hides
    }

    /// Whether an OPTIONS asks about us: our address, or a peer's name for us (no user part, and no trunk's address).
    pub(super) fn is_to_us(&self, target: &[u8], peer: Peer) -> bool {
        if self.element.is_ours(target) {
            return true;
        }
        let nobody = uri::read(target).is_some_and(|uri| uri.user.is_empty());
        let foreign = || {
            forward::literal(target).is_some_and(|address| {
                self.element
                    .setup
                    .trunks
                    .iter()
                    .any(|trunk| trunk.covers(address))
            })
        };
        nobody && (peer != Peer::Hop || !foreign())
    }

    /// 503 tells a peer to spare us for a while, which is right when nobody is there to take its calls, or we drain.
    pub(super) fn options(&mut self, peer: Peer) -> Effect {
        let only_asks = matches!(peer, Peer::Trunk(i) if self.trunk(i).is_dip());
        let setup = &self.element.setup;
        if setup.drain || !only_asks && !setup.hops.iter().any(Hop::takes_calls) {
            return self.answer(Counter::Options, 503, "Service Unavailable", &[]);
        }
        self.answer(Counter::Options, 200, "OK", &[reply::ALLOW])
    }

    pub(super) fn refuse_malformed(&mut self, method: Method, fault: Fault) -> Effect {
        if method == Method::Ack {
            return self.output.drop(Counter::AckDropped);
        }
        if fault == Fault::RepeatedFrom {
            self.output.marks.add(Counter::RepeatedFrom);
        }
        let (status, phrase) = fault.status();
        self.answer(Counter::Malformed, status, phrase, &[])
    }

    /// RFC 3261 §16.3 step 5: 420 names what we don't know.
    pub(super) fn refuse_extension(&mut self) -> Effect {
        let mut unsupported = b"Unsupported: ".to_vec();
        for (i, value) in self.message.values(Name::ProxyRequire).enumerate() {
            unsupported.extend_from_slice(if i > 0 { b", " } else { b"" });
            unsupported.extend_from_slice(value);
        }
        self.answer(Counter::BadExtension, 420, "Bad Extension", &[&unsupported])
    }
}

/// What a dip answers (RFC 3261 §20.5).
const DIP_ALLOW: &[u8] = b"Allow: INVITE, ACK, CANCEL, OPTIONS, MESSAGE";
