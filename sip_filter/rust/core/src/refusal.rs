//! The final responses that end a call or message here, and what they tell the caller's side.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use crate::counter::Counter;
use crate::message::{Message, Start};
use crate::privacy;
use crate::reply;
use crate::setup::Response;

/// One final response of ours. A copy of the request gets the same one, so the memory of courses keeps its mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    Decline,
    /// 603+ (ATIS-1000099): says who blocked, and where to complain.
    NetworkBlocked,
    /// 608 (RFC 8688): the same as a signed card.
    Rejected,
    Forbidden,
    /// Too much from one trunk. Never 503: a peer takes that for all of its traffic (RFC 3261 §21.5.4).
    Busy,
    Unavailable,
    /// A dip's word that the call may go on: the asker's next route, or the same target again.
    NotFound,
    Moved,
}

/// Mark, status and reason phrase. Two responses with one status have two marks.
const ROWS: [(Refusal, u16, u16, &str); 8] = [
    (Refusal::Decline, 603, 603, "Decline"),
    (Refusal::NetworkBlocked, 1603, 603, "Network Blocked"),
    (Refusal::Rejected, 608, 608, "Rejected"),
    (Refusal::Forbidden, 403, 403, "Forbidden"),
    (Refusal::Busy, 500, 500, "Server Internal Error"),
    (Refusal::Unavailable, 480, 480, "Temporarily Unavailable"),
    (Refusal::NotFound, 404, 404, "Not Found"),
    (Refusal::Moved, 302, 302, "Moved Temporarily"),
];

/// Seconds after which a shed caller may try again.
const RETRY_AFTER: &[u8] = b"Retry-After: 5";

impl Refusal {
    /// What a rule's refusal is on a trunk at `now`: its configured response, or 603 where that can't be given; and what
    /// is to be counted of that.
    pub fn of_rule(
        response: Response,
        message: &Message<'_>,
        redress: &Redress,
        now: u64,
    ) -> (Refusal, Option<Counter>) {
        match response {
            Response::Forbidden => (Refusal::Forbidden, None),
            Response::NetworkBlocked if redress.reason.is_some() => (Refusal::NetworkBlocked, None),
            // RFC 8688 §3.2: who can't show a 608 would need an announcement instead.
            Response::Rejected if redress.card.is_some() && privacy::understands_608(message) => {
                match redress.term.is_good(now) {
                    true => (Refusal::Rejected, None),
                    false => (Refusal::Decline, Some(Counter::CardStale)),
                }
            }
            _ => (Refusal::Decline, None),
        }
    }

    pub fn of_mark(mark: u16) -> Refusal {
        let row = ROWS.iter().find(|row| row.1 == mark);
        row.map_or(Refusal::Decline, |row| row.0)
    }

    pub fn mark(self) -> u16 {
        ROWS[self as usize].1
    }

    pub fn status(self) -> (u16, &'static str) {
        (ROWS[self as usize].2, ROWS[self as usize].3)
    }

    /// Calls `send` with the header lines of this response. `call` names the call, the same for all its copies.
    pub fn with_lines<T>(
        self,
        message: &Message<'_>,
        redress: &Redress,
        call: impl FnOnce() -> u64,
        send: impl FnOnce(&[&[u8]]) -> T,
    ) -> T {
        match self {
            Refusal::Decline | Refusal::Forbidden => send(&[reply::REASON]),
            Refusal::Busy | Refusal::Unavailable => send(&[RETRY_AFTER]),
            Refusal::NotFound => send(&[]),
            Refusal::NetworkBlocked => {
                let mut line = redress.reason.as_deref().unwrap_or_default().to_vec();
                line.extend_from_slice(format!("{:016x}\";location=RLN", call()).as_bytes());
                send(&[&line])
            }
            Refusal::Rejected => match redress.card.as_deref() {
                Some(card) => send(&[reply::REASON, card]),
                None => send(&[reply::REASON]),
            },
            Refusal::Moved => {
                let Start::Request { uri, .. } = message.start else {
                    return send(&[]);
                };
                send(&[&[b"Contact: <", uri, b">"].concat()])
            }
        }
    }
}

/// Where a blocked caller can complain, ready to be sent.
#[derive(Clone, Default)]
pub struct Redress {
    reason: Option<Box<[u8]>>,
    card: Option<Box<[u8]>>,
    pub term: CardTerm,
}

/// Until when the card of a 608 is good; before it is first signed it is not. Clones are the same card's: they outlive a
/// change of settings.
#[derive(Clone, Default)]
pub struct CardTerm(Arc<AtomicU64>);

impl CardTerm {
    /// `until` is a moment of the clock that `Arrival::now` has, in milliseconds.
    pub fn extend(&self, until: u64) {
        self.0.store(until, Relaxed);
    }

    pub fn is_good(&self, now: u64) -> bool {
        now < self.0.load(Relaxed)
    }
}

impl Redress {
    /// `contact` is "url", "tel" or "email" and its value; `id` stands before the hash of the call in a 603+;
    /// `card` is where the signed card of a 608 is fetched, and `term` says whether it is young enough.
    pub fn new(contact: Option<(&str, &str)>, id: &str, card: Option<&str>, term: CardTerm) -> Redress {
        let reason = contact.map(|(kind, value)| {
            format!("Reason: SIP;cause=603;text=\"v=analytics1;{kind}={value};id={id}")
                .into_bytes()
                .into()
        });
        let card = card.map(|url| format!("Call-Info: <{url}>;purpose=jwscard").into_bytes().into());
        Redress { reason, card, term }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_response_has_its_row_and_its_mark() {
        for (i, row) in ROWS.iter().enumerate() {
            assert_eq!(row.0 as usize, i);
            assert_eq!(Refusal::of_mark(row.0.mark()), row.0);
            assert_ne!(row.0.status().0, 503);
        }
    }
}
