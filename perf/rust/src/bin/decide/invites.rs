//! INVITEs of 900 bytes in four clothings, whose callers are put in while nobody looks at the clock.

use palang_core::number::Number;

use crate::list::number;

const PEER: &str = "198.51.100.7:5060";
/// Bytes of each.
pub const LENGTH: usize = 900;

/// An INVITE whose caller is still open.
pub struct Invite {
    bytes: Vec<u8>,
    caller: Caller,
    /// Where the caller's digits stand.
    places: Vec<usize>,
}

/// Who calls: five of eight are in the list, four by their number and one by its prefix.
#[derive(Clone, Copy)]
enum Caller {
    Listed,
    Prefixed,
    Free,
}

impl Invite {
    pub fn new(i: usize) -> Invite {
        // What tells one call from another looks drawn by lot.
        let lot = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (caller, digits) = match lot >> 61 {
            0..4 => (Caller::Listed, "0000000000000"),
            4 => (Caller::Prefixed, "00000000000"),
            _ => (Caller::Free, "0000000000000"),
        };
        let text = head(lot, digits);
        let plus = format!("+{digits}");
        let places = text.match_indices(&plus).map(|(at, _)| at + 1).collect();
        Invite {
            bytes: with_body(text, i),
            caller,
            places,
        }
    }

    /// Writes this INVITE from the caller of that turn; whether the list refuses it.
    pub fn write(&self, buffer: &mut [u8; LENGTH], turn: usize, numbers: usize) -> bool {
        buffer.copy_from_slice(&self.bytes);
        let caller = match self.caller {
            Caller::Listed => number(turn * 2 % numbers),
            Caller::Prefixed => 77_112_000_000 + turn as u64 % 1_000_000,
            Caller::Free => number(numbers + turn),
        };
        let digits = Number::from_value(caller).expect("11 or 13 digits").digits();
        for &place in &self.places {
            buffer[place..place + digits.as_bytes().len()].copy_from_slice(digits.as_bytes());
        }
        !matches!(self.caller, Caller::Free)
    }
}

fn head(lot: u64, caller: &str) -> String {
    let (id, tag) = (lot ^ lot >> 29, (lot >> 13) as u32);
    let callee = 62_215_550_000 + (lot >> 40) % 10_000;
    match lot >> 33 & 3 {
        0 => format!(
            "INVITE sip:+{callee}@192.0.2.1:5060;user=phone SIP/2.0\r\n\
             Via: SIP/2.0/UDP {PEER};branch=z9hG4bK{id:x};rport\r\n\
             Max-Forwards: 70\r\n\
             From: \"Caller\" <sip:+{caller}@198.51.100.7;user=phone>;tag=as{tag:08x}\r\n\
             To: <sip:+{callee}@192.0.2.1;user=phone>\r\n\
             Contact: <sip:+{caller}@{PEER}>\r\n\
             Call-ID: {id:016x}5a9b44c7@198.51.100.7\r\n\
             CSeq: 102 INVITE\r\n\
             User-Agent: Carrier SBC 9\r\n\
             Date: Sun, 22 Nov 2026 16:00:00 GMT\r\n\
             Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE\r\n\
             Supported: replaces, timer\r\n\
             P-Asserted-Identity: <sip:+{caller}@198.51.100.7;user=phone>\r\n\
             Content-Type: application/sdp\r\n"
        ),
        1 => format!(
            "INVITE sip:+{callee}@192.0.2.1 SIP/2.0\r\n\
             v: SIP/2.0/UDP {PEER};branch=z9hG4bK-{id:x};rport\r\n\
             f: <sip:+{caller}@ims.example.net>;tag={tag:x}\r\n\
             t: <sip:+{callee}@ims.example.net>\r\n\
             i: {id:x}@ims.example.net\r\n\
             CSeq: 1 INVITE\r\n\
             m: <sip:+{caller}@{PEER};transport=udp>\r\n\
             Max-Forwards: 66\r\n\
             P-Asserted-Identity: <tel:+{caller}>\r\n\
             P-Charging-Vector: icid-value={id:016x};icid-generated-at=198.51.100.7;orig-ioi=example.net\r\n\
             k: 100rel, timer, histinfo\r\n\
             x: 1800;refresher=uac\r\n\
             c: application/sdp\r\n"
        ),
        2 => format!(
            "INVITE tel:+{callee} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {PEER};rport;branch=z9hG4bK{tag:x}.{id:x}\r\n\
             Via: SIP/2.0/UDP 10.20.30.40:5060;branch=z9hG4bK{id:016x}0;received=10.20.30.40\r\n\
             From: \"Doe, Jane\" <sip:+{caller};cpc=ordinary@198.51.100.7;user=phone>;tag={id:x}\r\n\
             To: \"{callee}\" <sip:+{callee}@192.0.2.1;user=phone>\r\n\
             Call-ID: isbc{id:x}{tag:x}\r\n\
             CSeq: 1 INVITE\r\n\
             Record-Route: <sip:10.20.30.40;lr;ftag={id:x}>\r\n\
             Contact: <sip:198.51.100.7:5060>;+sip.ice\r\n\
             P-Asserted-Identity: \"Doe, Jane\" <sip:+{caller}@198.51.100.7;user=phone>, <tel:+{caller}>\r\n\
             Privacy: none\r\n\
             Max-Forwards: 68\r\n\
             Allow: INVITE,ACK,CANCEL,BYE,PRACK,UPDATE\r\n\
             Session-Expires: 1800\r\n\
             Content-Type: application/sdp\r\n"
        ),
        _ => format!(
            "INVITE sip:+{callee}@192.0.2.1;transport=udp SIP/2.0\r\n\
             Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK{id:016x}\r\n\
             max-forwards: 69\r\n\
             from: sip:+{caller}@198.51.100.7;tag={tag:08x}-{id:x}\r\n\
             to: sip:+{callee}@192.0.2.1\r\n\
             call-id: {id:x}-{tag:x}-{id:016x}\r\n\
             cseq: 31 INVITE\r\n\
             contact: <sip:+{caller}@198.51.100.7>\r\n\
             user-agent: softswitch/4.2 (x86_64; linux)\r\n\
             accept: application/sdp, application/isup, multipart/mixed\r\n\
             supported: 100rel\r\n\
             min-se: 90\r\n\
             content-type: application/sdp\r\n"
        ),
    }
}

/// Adds a body such that the whole has `LENGTH` bytes.
fn with_body(mut head: String, i: usize) -> Vec<u8> {
    let mut body = format!(
        "v=0\r\no=- {i} 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio {} RTP/AVP 8\r\na=x:",
        10_000 + i % 20_000
    );
    let length = LENGTH - head.len() - "Content-Length: 999\r\n\r\n".len();
    assert!(
        (100..1000).contains(&length) && body.len() + 2 <= length,
        "{} bytes of head",
        head.len()
    );
    body.push_str(&"0123456789".repeat(60)[..length - body.len() - 2]);
    body.push_str("\r\n");
    head.push_str(&format!("Content-Length: {length}\r\n\r\n{body}"));
    head.into_bytes()
}
