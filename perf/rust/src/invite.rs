//! The INVITE of a benchmark's call, and which call an answer belongs to.
//!
//! Each request is a copy of a template with three things written over: the call's mark (in branch, tag and Call-ID) and
//! eight digits of each caller. All requests from one peer are equally long, so that the load can send many at once;
//! their answers are not, since callers' numbers differ in length.

use std::net::SocketAddrV4;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::scenario::{Caller, Transport};

static BRANCH: LazyLock<Finder> = LazyLock::new(|| Finder::new("branch=z9hG4bK"));
static CALL_ID: LazyLock<Finder> = LazyLock::new(|| Finder::new("\r\nCall-ID: "));
/// What stands in a template where a call's mark comes, and where each caller's digits come.
const MARK: &str = "<--------mark-->";
const FROM: &str = "<-from->";
const ASSERTED: &str = "<-pai-->";

/// Bytes of both callers, at most.
const LONGEST: usize = 28;
const BODY: &str = "v=0\r\no=- 20518 0 IN IP4 127.0.2.0\r\ns=-\r\nc=IN IP4 127.0.2.0\r\nt=0 0\r\n\
    m=audio 54609 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";

/// The calls of one kind from one peer.
pub struct Template {
    bytes: Vec<u8>,
    marks: Vec<usize>,
    from: usize,
    asserted: usize,
}

impl Template {
    pub fn new(caller: Caller, peer: SocketAddrV4, transport: Transport) -> Template {
        let listed = |digits: &str| format!("+62811{digits}");
        let wide = |digits: &str| format!("+77{digits}0");
        let good = |digits: &str| format!("+6221{digits}");
        let (from, asserted) = match caller {
            Caller::Number => (listed(FROM), listed(ASSERTED)),
            Caller::Prefix => (wide(FROM), wide(ASSERTED)),
            Caller::Asserted => (good(FROM), listed(ASSERTED)),
            Caller::Good => (good(FROM), good(ASSERTED)),
        };
        let via = match transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        };
        let (host, length) = (peer.ip(), BODY.len());
        let rest = "-".repeat(LONGEST.saturating_sub(from.len() + asserted.len()));
        let text = format!(
            "INVITE sip:+622150001234@127.0.0.1 SIP/2.0\r\n\
             Via: SIP/2.0/{via} {peer};branch=z9hG4bK{MARK};rport\r\n\
             Max-Forwards: 70\r\n\
             From: \"Caller\" <sip:{from}@{host}>;tag={MARK}\r\n\
             To: <sip:+622150001234@127.0.0.1>\r\n\
             Call-ID: {MARK}@{host}\r\n\
             CSeq: 1 INVITE\r\n\
             Contact: <sip:{peer}>\r\n\
             P-Asserted-Identity: <sip:{asserted}@{host}>\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE\r\n\
             Supported: 100rel, timer\r\n\
             Session-Expires: 1800\r\n\
             Min-SE: 90\r\n\
             P-Charging-Vector: icid-value=\"1a2b3c4d5e6f7a8b9c0d\";orig-ioi=home.example\r\n\
             Accept: application/sdp\r\n\
             User-Agent: interconnect{rest}\r\n\
             Content-Type: application/sdp\r\n\
             Content-Length: {length}\r\n\r\n{BODY}"
        );
        let place = |what: &str| text.find(what).unwrap_or(0);
        Template {
            marks: text.match_indices(MARK).map(|(at, _)| at).collect(),
            from: place(FROM),
            asserted: place(ASSERTED),
            bytes: text.into_bytes(),
        }
    }

    /// Writes the call's request into `room`; its length.
    pub fn write(&self, mark: Mark, digits: u32, room: &mut [u8]) -> usize {
        room[..self.bytes.len()].copy_from_slice(&self.bytes);
        let mark = mark.text();
        for at in &self.marks {
            room[*at..*at + mark.len()].copy_from_slice(&mark);
        }
        for at in [self.from, self.asserted] {
            decimal(digits, &mut room[at..at + 8]);
        }
        self.bytes.len()
    }
}

/// What tells a call from all others: the run, and the call's place in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub run: u32,
    pub serial: u32,
}

impl Mark {
    fn text(self) -> [u8; 16] {
        let value = u64::from(self.run) << 32 | u64::from(self.serial);
        std::array::from_fn(|i| b"0123456789abcdef"[(value >> (60 - 4 * i)) as usize & 15])
    }

    fn read(text: &[u8]) -> Option<Mark> {
        let value = text.iter().try_fold(0, |value, digit| {
            Some(value << 4 | u64::from(char::from(*digit).to_digit(16)?))
        })?;
        Some(Mark {
            run: (value >> 32) as u32,
            serial: value as u32,
        })
    }
}

/// The mark after the first `lead`.
fn mark_after(message: &[u8], lead: &Finder) -> Option<Mark> {
    let at = lead.find(message)? + lead.needle().len();
    Mark::read(message.get(at..at + 16)?)
}

/// The status of an answer, 0 when it is a request come back, and the mark that its top Via and its Call-ID agree on.
pub fn answer(message: &[u8]) -> Option<(u16, Mark)> {
    let status = match message.strip_prefix(b"SIP/2.0 ") {
        Some(rest) => std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()?,
        None => 0,
    };
    let mark = mark_after(message, &BRANCH)?;
    (mark_after(message, &CALL_ID)? == mark).then_some((status, mark))
}

/// The mark of a request's Call-ID.
pub fn call(message: &[u8]) -> Option<Mark> {
    mark_after(message, &CALL_ID)
}

fn decimal(mut value: u32, room: &mut [u8]) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Mark = Mark {
        run: 0x00c0_ffee,
        serial: 7,
    };

    fn request(caller: Caller) -> Vec<u8> {
        let peer = "127.0.2.9:5070".parse().unwrap();
        let mut room = [0; 2048];
        let length = Template::new(caller, peer, Transport::Udp).write(MINE, 1_234, &mut room);
        room[..length].to_vec()
    }

    #[test]
    fn a_request_names_its_callers() {
        let length = request(Caller::Good).len();
        for (caller, from, asserted) in [
            (Caller::Number, "+6281100001234@", "+6281100001234@"),
            (Caller::Prefix, "+77000012340@", "+77000012340@"),
            (Caller::Asserted, "+622100001234@", "+6281100001234@"),
            (Caller::Good, "+622100001234@", "+622100001234@"),
        ] {
            let text = String::from_utf8(request(caller)).unwrap();
            assert!(text.contains(&format!("From: \"Caller\" <sip:{from}")), "{text}");
            assert!(
                text.contains(&format!("P-Asserted-Identity: <sip:{asserted}")),
                "{text}"
            );
            assert!(!text.contains("<-"), "{text}");
            assert_eq!(text.len(), length);
            let body = text.split_once("\r\n\r\n").unwrap().1;
            assert!(text.contains(&format!("Content-Length: {}\r\n", body.len())));
        }
    }

    #[test]
    fn an_answer_is_known_by_branch_and_call_id() {
        let request = request(Caller::Number);
        assert_eq!(answer(&request), Some((0, MINE)));
        let text = String::from_utf8(request).unwrap();
        let refused = text.replacen(
            "INVITE sip:+622150001234@127.0.0.1 SIP/2.0",
            "SIP/2.0 603 Decline",
            1,
        );
        assert_eq!(answer(refused.as_bytes()), Some((603, MINE)));
        let other = refused.replacen("branch=z9hG4bK00c0ffee", "branch=z9hG4bK00c0ffef", 1);
        assert_eq!(answer(other.as_bytes()), None);
        assert_eq!(answer(&refused.as_bytes()[..100]), None);
    }
}
