//! A SIP message as it lies in its datagram: every field found once, nothing copied, linear time.
//!
//! [`read`] finds the start line, the header fields (compact names, any case, white space before the colon,
//! folded lines) and the body. What is wrong with a message is its [`Fault`]: the view stays usable, so that
//! a refusal can copy what RFC 3261 §8.2.6 asks for. Only what has no start line or no Via is [`Unreadable`].

use crate::uri::{self, Scheme};
use crate::via::{self, Via};

/// Bytes of start line and header fields that are read; more is refused (513).
pub const MAX_HEAD: usize = 16 * 1024;
/// Header lines that are read; more is refused (513).
pub const MAX_FIELDS: usize = 256;
/// Via values; a request can't have passed more hops than the largest useful Max-Forwards.
pub const MAX_VIAS: usize = 70;

/// The header fields that a stateless element and a caller filter look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Name {
    Via,
    From,
    To,
    CallId,
    CSeq,
    MaxForwards,
    ContentLength,
    ContentType,
    Route,
    RecordRoute,
    ProxyRequire,
    AssertedIdentity,
    RemotePartyId,
    Other,
}

const NAMES: usize = Name::Other as usize + 1;
const NONE: u16 = u16::MAX;

/// One header field: offsets into the datagram. `line..next` is the whole field with its line end(s).
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: Name,
    pub line: u16,
    pub value: u16,
    pub end: u16,
    pub next: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Invite,
    Ack,
    Cancel,
    Bye,
    Options,
    Message,
    Register,
    Subscribe,
    Publish,
    Refer,
    Notify,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    Request {
        method: Method,
        token: &'a [u8],
        uri: &'a [u8],
    },
    Response {
        code: u16,
    },
}

/// Why a message is not processed further. Each has one final response and one counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    StartLine,
    Version,
    RequestUri,
    Scheme,
    LineEnds,
    Field,
    Unterminated,
    TooLarge,
    TooManyVias,
    Via,
    Missing,
    Repeated,
    RepeatedFrom,
    Address,
    CSeq,
    MaxForwards,
    ContentLength,
    MethodCase,
    Identities,
}

impl Fault {
    /// Status code and reason phrase of the refusal.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Fault::StartLine => (400, "Malformed Start Line"),
            Fault::Version => (505, "Version Not Supported"),
            Fault::RequestUri => (400, "Malformed Request-URI"),
            Fault::Scheme => (416, "Unsupported URI Scheme"),
            Fault::LineEnds => (400, "Mixed Line Ends"),
            Fault::Field => (400, "Malformed Header Field"),
            Fault::Unterminated => (400, "Unterminated Header"),
            Fault::TooLarge => (513, "Message Too Large"),
            Fault::TooManyVias => (400, "Too Many Via Values"),
            Fault::Via => (400, "Malformed Via"),
            Fault::Missing => (400, "Missing Header Field"),
            Fault::Repeated => (400, "Repeated Header Field"),
            Fault::RepeatedFrom => (400, "Repeated From"),
            Fault::Address => (400, "Malformed From or To"),
            Fault::CSeq => (400, "Malformed CSeq"),
            Fault::MaxForwards => (400, "Malformed Max-Forwards"),
            Fault::ContentLength => (400, "Malformed Content-Length"),
            Fault::MethodCase => (400, "Malformed Method"),
            Fault::Identities => (400, "Too Many Identities"),
        }
    }
}

/// A datagram to which no answer is possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// Nothing but line ends: a keep-alive (RFC 3261 §7.5, RFC 5626 §4.4.1).
    KeepAlive,
    NotSip,
    NoVia,
}

/// From or To, as far as a stateless element needs it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Party<'a> {
    pub uri: &'a [u8],
    pub tag: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub raw: &'a [u8],
    pub start: Start<'a>,
    pub start_end: usize,
    pub fields: &'a [Field],
    pub body: &'a [u8],
    pub via: Via<'a>,
    pub from: Party<'a>,
    pub to: Party<'a>,
    pub call_id: &'a [u8],
    pub cseq: u32,
    pub cseq_method: &'a [u8],
    pub max_forwards: Option<u8>,
    /// "\r\n", or "\n" when the sender ends every line so.
    pub line_end: &'static [u8],
    pub fault: Option<Fault>,
    first: [u16; NAMES],
}

/// Reads one datagram.
///
/// `fields` is working space, cleared here; a caller that keeps it between datagrams never allocates.
pub fn read<'a>(datagram: &'a [u8], fields: &'a mut Vec<Field>) -> Result<Message<'a>, Unreadable> {
    let skipped = datagram.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let raw = &datagram[skipped..];
    if raw.is_empty() {
        return Err(Unreadable::KeepAlive);
    }
    let mut faults = Faults(None);
    let line_length = find(raw, b'\n').unwrap_or(raw.len());
    let crlf = line_length > 0 && raw[line_length - 1] == b'\r';
    let start = read_start(&raw[..line_length - usize::from(crlf)], &mut faults)?;
    let start_end = (line_length + 1).min(raw.len());

    let mut lines = Lines {
        raw,
        at: start_end,
        ends: 1,
        crlf,
    };
    let mut first = [NONE; NAMES];
    let mut counts = [0u16; NAMES];
    fields.clear();
    lines.read_fields(fields, &mut first, &mut counts, &mut faults);
    let rest = &raw[lines.at..];

    let via_field = first[Name::Via as usize];
    if via_field == NONE {
        return Err(Unreadable::NoVia);
    }
    let fields: &'a [Field] = fields;
    let value = |name: Name| match first[name as usize] {
        NONE => None,
        i => Some(&raw[usize::from(fields[usize::from(i)].value)..usize::from(fields[usize::from(i)].end)]),
    };
    let via = via::read(value(Name::Via).unwrap_or_default()).ok_or(Unreadable::NoVia)?;
    if !via.sound {
        faults.note(Fault::Via);
    }

    if counts[Name::From as usize] > 1 {
        faults.note(Fault::RepeatedFrom);
    }
    for name in [
        Name::To,
        Name::CallId,
        Name::CSeq,
        Name::MaxForwards,
        Name::ContentLength,
    ] {
        if counts[name as usize] > 1 {
            faults.note(Fault::Repeated);
        }
    }
    let mut party = |name: Name| match value(name).map(read_party) {
        Some(Some(party)) => party,
        Some(None) => {
            faults.note(Fault::Address);
            Party::default()
        }
        None => {
            faults.note(Fault::Missing);
            Party::default()
        }
    };
    let (from, to) = (party(Name::From), party(Name::To));
    let call_id = uri::trim(value(Name::CallId).unwrap_or_default());
    if call_id.is_empty() || value(Name::CSeq).is_none() {
        faults.note(Fault::Missing);
    }
    let (cseq, cseq_method) = value(Name::CSeq).and_then(read_cseq).unwrap_or_else(|| {
        faults.note(Fault::CSeq);
        (0, &[])
    });
    let max_forwards = value(Name::MaxForwards).and_then(|text| {
        // RFC 3261 §20.22: 0 to 255; leading zeros are digits too.
        let read = decimal(uri::trim(text)).and_then(|n| u8::try_from(n).ok());
        if read.is_none() {
            faults.note(Fault::MaxForwards);
        }
        read
    });
    let body = match value(Name::ContentLength) {
        None => rest,
        // RFC 3261 §18.3: octets beyond the declared length are discarded; a longer declaration is an error.
        Some(text) => match decimal(uri::trim(text)) {
            Some(length) if length as usize <= rest.len() => &rest[..length as usize],
            _ => {
                faults.note(Fault::ContentLength);
                rest
            }
        },
    };
    let message = Message {
        raw,
        start,
        start_end,
        fields,
        body,
        via,
        from,
        to,
        call_id,
        cseq,
        cseq_method,
        max_forwards,
        line_end: if crlf { b"\r\n" } else { b"\n" },
        fault: None,
        first,
    };
    // A response has our value on top of the request's. A value takes two bytes at least: most need no counting.
    let most_vias = MAX_VIAS + usize::from(matches!(start, Start::Response { .. }));
    let via_bytes: usize = message
        .all(Name::Via)
        .map(|field| message.value(field).len())
        .sum();
    if via_bytes > most_vias * 2 && message.values(Name::Via).nth(most_vias).is_some() {
        faults.note(Fault::TooManyVias);
    }
    if let Start::Request { method, token, uri } = start {
        check_request(&message, method, token, uri, &mut faults);
    }
    Ok(Message {
        fault: faults.0,
        ..message
    })
}

impl<'a> Message<'a> {
    /// Value of the first field of that name, with its folds.
    pub fn get(&self, name: Name) -> Option<&'a [u8]> {
        match self.first[name as usize] {
            NONE => None,
            i => Some(self.value(&self.fields[usize::from(i)])),
        }
    }

    pub fn value(&self, field: &Field) -> &'a [u8] {
        &self.raw[usize::from(field.value)..usize::from(field.end)]
    }

    /// The fields of that name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &'a Field> {
        let from = usize::from(self.first[name as usize]).min(self.fields.len());
        self.fields[from..].iter().filter(move |field| field.name == name)
    }

    /// The comma-separated values of all fields of that name, in order, empty ones left out.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> {
        let raw = self.raw;
        self.all(name)
            .flat_map(move |field| uri::Commas::new(&raw[usize::from(field.value)..usize::from(field.end)]))
    }

    /// Where a part of this message begins.
    pub fn offset(&self, part: &[u8]) -> usize {
        part.as_ptr() as usize - self.raw.as_ptr() as usize
    }

    /// Where start line, fields and declared body end.
    pub fn end(&self) -> usize {
        self.offset(self.body) + self.body.len()
    }
}

/// The first fault is the one that is told.
struct Faults(Option<Fault>);

impl Faults {
    fn note(&mut self, fault: Fault) {
        self.0.get_or_insert(fault);
    }
}

struct Lines<'a> {
    raw: &'a [u8],
    at: usize,
    ends: usize,
    crlf: bool,
}

impl Lines<'_> {
    /// Leaves `at` at the first byte of the body.
    fn read_fields(
        &mut self,
        fields: &mut Vec<Field>,
        first: &mut [u16; NAMES],
        counts: &mut [u16; NAMES],
        faults: &mut Faults,
    ) {
        let limit = self.raw.len().min(MAX_HEAD);
        loop {
            let line = self.at;
            let Some(length) = find(&self.raw[line.min(limit)..limit], b'\n') else {
                faults.note(if self.raw.len() > MAX_HEAD {
                    Fault::TooLarge
                } else {
                    Fault::Unterminated
                });
                self.at = self.raw.len();
                break;
            };
            let next = line + length + 1;
            let ends_crlf = length > 0 && self.raw[next - 2] == b'\r';
            if ends_crlf != self.crlf {
                // A reader that ends lines elsewhere would see other header fields than we judged.
                faults.note(Fault::LineEnds);
            }
            self.ends += 1;
            self.at = next;
            let end = next - 1 - usize::from(ends_crlf);
            if end == line {
                break;
            }
            if matches!(self.raw[line], b' ' | b'\t') {
                // RFC 3261 §7.3.1: a line that begins with white space continues the field before it.
                match fields.last_mut() {
                    Some(field) if usize::from(field.next) == line => {
                        (field.end, field.next) = (end as u16, next as u16);
                    }
                    _ => faults.note(Fault::Field), // What stands before it is no field.
                }
                continue;
            }
            if fields.len() == MAX_FIELDS {
                faults.note(Fault::TooLarge);
                break;
            }
            match read_name(&self.raw[line..end]) {
                Some((name, value)) => {
                    let slot = &mut first[name as usize];
                    if *slot == NONE {
                        *slot = fields.len() as u16;
                    }
                    counts[name as usize] += 1;
                    let value = (line + value) as u16;
                    fields.push(Field {
                        name,
                        line: line as u16,
                        value,
                        end: end as u16,
                        next: next as u16,
                    });
                }
                None => faults.note(Fault::Field),
            }
        }
        // Carriage returns live only in line ends (RFC 3261 §25.1); elsewhere they hide fields from one of two readers.
        let returns = count(&self.raw[..self.at.min(limit)], b'\r');
        if returns != if self.crlf { self.ends } else { 0 } {
            faults.note(Fault::LineEnds);
        }
    }
}

/// Header name and the offset of its value. None: no colon, or a name that is no token.
pub(crate) fn read_name(line: &[u8]) -> Option<(Name, usize)> {
    let length = line.iter().position(|b| !is_token(*b))?;
    let name = &line[..length];
    // HCOLON allows white space before the colon (RFC 3261 §25.1).
    let gap = line[length..].iter().position(|b| !matches!(b, b' ' | b'\t'))?;
    let colon = length + gap;
    if name.is_empty() || line[colon] != b':' {
        return None;
    }
    let is = |full: &str| name.eq_ignore_ascii_case(full.as_bytes());
    let known = match name.len() {
        1 => match name[0] | 0x20 {
            b'v' => Name::Via,
            b'f' => Name::From,
            b't' => Name::To,
            b'i' => Name::CallId,
            b'l' => Name::ContentLength,
            b'c' => Name::ContentType,
            _ => Name::Other,
        },
        2 if is("To") => Name::To,
        3 if is("Via") => Name::Via,
        4 if is("From") => Name::From,
        4 if is("CSeq") => Name::CSeq,
        5 if is("Route") => Name::Route,
        7 if is("Call-ID") => Name::CallId,
        12 if is("Max-Forwards") => Name::MaxForwards,
        12 if is("Content-Type") => Name::ContentType,
        12 if is("Record-Route") => Name::RecordRoute,
        13 if is("Proxy-Require") => Name::ProxyRequire,
        14 if is("Content-Length") => Name::ContentLength,
        15 if is("Remote-Party-ID") => Name::RemotePartyId,
        19 if is("P-Asserted-Identity") => Name::AssertedIdentity,
        _ => Name::Other,
    };
    Some((known, colon + 1))
}

fn read_start<'a>(line: &'a [u8], faults: &mut Faults) -> Result<Start<'a>, Unreadable> {
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        return match &line[4..] {
            // The space after the code is due even without a reason (RFC 3261 §25.1), yet often left out.
            [b'2', b'.', b'0', b' ', a, b, c] | [b'2', b'.', b'0', b' ', a, b, c, b' ', ..] => {
                match decimal(&[*a, *b, *c]) {
                    Some(code @ 100..=699) => Ok(Start::Response { code: code as u16 }),
                    _ => Err(Unreadable::NotSip),
                }
            }
            _ => Err(Unreadable::NotSip),
        };
    }
    let space = line.iter().position(|b| *b == b' ').ok_or(Unreadable::NotSip)?;
    let (token, rest) = (&line[..space], &line[space + 1..]);
    if token.is_empty() || !token.iter().all(|b| is_token(*b)) {
        return Err(Unreadable::NotSip);
    }
    let (uri, version) = match rest.iter().rposition(|b| *b == b' ') {
        Some(last) => (&rest[..last], &rest[last + 1..]),
        None => (rest, &rest[..0]),
    };
    // RFC 3261 §7.1: single spaces, nothing around them; repairing would forward what nobody signed for.
    let plain = !uri.is_empty() && uri.iter().all(|b| BYTES[*b as usize] & URI != 0);
    match version.split_at_checked(4) {
        Some((name, number)) if plain && name.eq_ignore_ascii_case(b"SIP/") => {
            if number != b"2.0" {
                faults.note(Fault::Version);
            }
        }
        _ => faults.note(Fault::StartLine),
    }
    Ok(Start::Request {
        method: read_method(token),
        token,
        uri,
    })
}

fn read_method(token: &[u8]) -> Method {
    match token {
        b"INVITE" => Method::Invite,
        b"ACK" => Method::Ack,
        b"CANCEL" => Method::Cancel,
        b"BYE" => Method::Bye,
        b"OPTIONS" => Method::Options,
        b"MESSAGE" => Method::Message,
        b"REGISTER" => Method::Register,
        b"SUBSCRIBE" => Method::Subscribe,
        b"PUBLISH" => Method::Publish,
        b"REFER" => Method::Refer,
        b"NOTIFY" => Method::Notify,
        _ => Method::Other,
    }
}

fn check_request(message: &Message<'_>, method: Method, token: &[u8], uri: &[u8], faults: &mut Faults) {
    // Methods are case-sensitive (RFC 3261 §7.1), but a lenient switch would take "invite" for a call.
    let folded = |name: &str| token.eq_ignore_ascii_case(name.as_bytes());
    if method == Method::Other && (folded("INVITE") || folded("MESSAGE") || folded("ACK") || folded("CANCEL"))
    {
        faults.note(Fault::MethodCase);
    }
    if faults.0.is_none() && message.cseq_method != token {
        faults.note(Fault::CSeq);
    }
    match uri::read(uri) {
        // Header fields may not stand in a Request-URI (RFC 3261 §19.1.1, table 1).
        Some(read) if read.headers.is_some() => faults.note(Fault::RequestUri),
        Some(read) if read.scheme == Scheme::Other => faults.note(Fault::Scheme),
        Some(_) => {}
        None => faults.note(Fault::RequestUri),
    }
    // Two body types would let the sender of a short message be read in two ways.
    if method == Method::Message && message.all(Name::ContentType).count() > 1 {
        faults.note(Fault::Repeated);
    }
}

/// From or To: None when its address can't be told from its display name, or when it holds several.
fn read_party(value: &[u8]) -> Option<Party<'_>> {
    let address = uri::name_addr(value)?;
    let tag = uri::param(address.params, b"tag").flatten().unwrap_or_default();
    Some(Party {
        uri: address.uri,
        tag,
    })
}

fn read_cseq(value: &[u8]) -> Option<(u32, &[u8])> {
    let value = uri::trim(value);
    let digits = value.iter().position(|b| !b.is_ascii_digit())?;
    let number = decimal(&value[..digits]).filter(|n| *n < 1 << 31)?; // RFC 3261 §8.1.1.5: less than 2^31.
    let method = uri::trim(&value[digits..]);
    (method.len() < value.len() - digits && !method.is_empty()).then_some((number as u32, method))
}

/// Decimal digits only, at most 32 bits. Leading zeros are digits too.
pub fn decimal(mut text: &[u8]) -> Option<u64> {
    while let [b'0', _, ..] = text {
        text = &text[1..];
    }
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    let mut number = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    (number <= u64::from(u32::MAX)).then_some(number)
}

pub fn is_token(byte: u8) -> bool {
    BYTES[byte as usize] & TOKEN != 0
}

/// Letters, digits, hyphens and dots; the underscore is not legal, and in use.
pub fn is_host(byte: u8) -> bool {
    BYTES[byte as usize] & HOST != 0
}

const TOKEN: u8 = 1;
const URI: u8 = 2;
const HOST: u8 = 4;

/// What each byte may be part of: a token, a Request-URI (no brackets, quotes or white space), a host name.
const BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
        {
            table[byte] |= TOKEN;
        }
        if !matches!(byte as u8, 0..=b' ' | b'<' | b'>' | b'"' | 0x7f) {
            table[byte] |= URI;
        }
        if matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_') {
            table[byte] |= HOST;
        }
        byte += 1;
    }
    table
};

/// How often `byte` occurs. In chunks whose sum fits a byte, which compilers turn into vector code.
fn count(text: &[u8], byte: u8) -> usize {
    let chunks = text
        .chunks(128)
        .map(|chunk| chunk.iter().fold(0u8, |sum, b| sum + u8::from(*b == byte)));
    chunks.map(usize::from).sum()
}

/// Position of the first `byte`, eight bytes at a time.
#[inline]
pub fn find(text: &[u8], byte: u8) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let pattern = LOW.wrapping_mul(u64::from(byte));
    let mut at = 0;
    while let Some([a, b, c, d, e, f, g, h]) = text.get(at..at + 8) {
        let word = u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) ^ pattern;
        let hit = word.wrapping_sub(LOW) & !word & HIGH;
        if hit != 0 {
            return Some(at + hit.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    while let Some(other) = text.get(at) {
        if *other == byte {
            return Some(at);
        }
        at += 1;
    }
    None
}
