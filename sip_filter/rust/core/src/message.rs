//! A SIP message as it lies in its datagram: every field found once, nothing copied, linear time.
//!
//! [`read`] finds the start line, the header fields (compact names, any case, white space before the colon,
//! folded lines) and the body. What is wrong with a message is its [`Fault`]: the view stays usable, so that
//! a refusal can copy what RFC 3261 §8.2.6 asks for. Only what has no start line or no Via is [`Unreadable`].

pub use crate::name::{read_name, Name};
use crate::scan::{self, LineFeeds};
pub use crate::scan::{decimal, find};
use crate::uri::{self, Scheme, Uri};
use crate::via::{self, Via};

/// Bytes of start line and header fields that are read; more is refused (513).
pub const MAX_HEAD: usize = 16 * 1024;
/// Header lines that are read; more is refused (513).
pub const MAX_FIELDS: usize = 256;
/// Via values; a request can't have passed more hops than the largest useful Max-Forwards.
pub const MAX_VIAS: usize = 70;

const NAMES: usize = Name::Other as usize + 1;

/// One header field: offsets into the datagram. `line..next` is the whole field with its line end(s).
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: Name,
    pub line: u16,
    pub value: u16,
    pub end: u16,
    pub next: u16,
}

impl Field {
    /// Its value in the datagram, with its folds.
    pub fn of<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        &raw[usize::from(self.value)..usize::from(self.end)]
    }
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
    /// The Request-URI taken apart; None where it can't be, or in a response.
    pub target: Option<Uri<'a>>,
    seen: [Seen; NAMES],
}

/// The fields of one name: the index of the first, and how many there are.
#[derive(Clone, Copy, Debug)]
struct Seen {
    first: u16,
    count: u16,
}

const UNSEEN: Seen = Seen { first: 0, count: 0 };

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
    let mut feeds = LineFeeds::of(raw);
    let line_length = feeds.next().unwrap_or(raw.len());
    let crlf = line_length > 0 && raw[line_length - 1] == b'\r';
    let start = read_start(&raw[..line_length - usize::from(crlf)], &mut faults)?;
    let start_end = (line_length + 1).min(raw.len());

    let mut lines = Lines {
        raw,
        at: start_end,
        feeds,
    };
    let mut seen = [UNSEEN; NAMES];
    fields.clear();
    lines.read_fields(crlf, fields, &mut seen, &mut faults);
    let rest = &raw[lines.at..];

    let fields: &'a [Field] = fields;
    let value = |name: Name| {
        let Seen { first, count } = seen[name as usize];
        (count > 0).then(|| fields[usize::from(first)].of(raw))
    };
    let via = value(Name::Via).and_then(via::read).ok_or(Unreadable::NoVia)?;
    if !via.sound {
        faults.note(Fault::Via);
    }

    if seen[Name::From as usize].count > 1 {
        faults.note(Fault::RepeatedFrom);
    }
    for name in [
        Name::To,
        Name::CallId,
        Name::CSeq,
        Name::MaxForwards,
        Name::ContentLength,
    ] {
        if seen[name as usize].count > 1 {
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
    let target = match start {
        Start::Request { uri, .. } => uri::read(uri),
        Start::Response { .. } => None,
    };
    let mut message = Message {
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
        target,
        seen,
    };
    message.check(&mut faults);
    message.fault = faults.0;
    Ok(message)
}

impl<'a> Message<'a> {
    /// Value of the first field of that name, with its folds.
    pub fn get(&self, name: Name) -> Option<&'a [u8]> {
        self.all(name).next().map(|field| field.of(self.raw))
    }

    pub fn value(&self, field: &Field) -> &'a [u8] {
        field.of(self.raw)
    }

    /// The fields of that name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &'a Field> {
        let Seen { first, count } = self.seen[name as usize];
        let fields = self.fields[usize::from(first)..].iter();
        fields
            .filter(move |field| field.name == name)
            .take(usize::from(count))
    }

    /// How many fields of that name there are.
    pub fn count(&self, name: Name) -> usize {
        usize::from(self.seen[name as usize].count)
    }

    /// The comma-separated values of all fields of that name, in order, empty ones left out.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> {
        let raw = self.raw;
        self.all(name)
            .flat_map(move |field| uri::Commas::new(field.of(raw)))
    }

    /// What can be wrong with it as a whole.
    fn check(&self, faults: &mut Faults) {
        // A response has our value on top of the request's. Each comma makes one more at most: few need reading.
        let most_vias = MAX_VIAS + usize::from(matches!(self.start, Start::Response { .. }));
        let vias = self
            .all(Name::Via)
            .map(|field| 1 + scan::count(field.of(self.raw), b','));
        if vias.sum::<usize>() > most_vias && self.values(Name::Via).nth(most_vias).is_some() {
            faults.note(Fault::TooManyVias);
        }
        let Start::Request { method, token, .. } = self.start else {
            return;
        };
        // Methods are case-sensitive (RFC 3261 §7.1), but a lenient switch would take "invite" for a call.
        let folded = |name: &str| token.eq_ignore_ascii_case(name.as_bytes());
        if method == Method::Other && ["INVITE", "MESSAGE", "ACK", "CANCEL"].into_iter().any(folded) {
            faults.note(Fault::MethodCase);
        }
        if faults.0.is_none() && self.cseq_method != token {
            faults.note(Fault::CSeq);
        }
        match &self.target {
            // Header fields may not stand in a Request-URI (RFC 3261 §19.1.1, table 1).
            Some(target) if target.headers.is_some() => faults.note(Fault::RequestUri),
            Some(target) if target.scheme == Scheme::Other => faults.note(Fault::Scheme),
            Some(_) => {}
            None => faults.note(Fault::RequestUri),
        }
        // Two body types would let the sender of a short message be read in two ways.
        if method == Method::Message && self.count(Name::ContentType) > 1 {
            faults.note(Fault::Repeated);
        }
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

/// The header lines of a message.
struct Lines<'a> {
    raw: &'a [u8],
    at: usize,
    feeds: LineFeeds<'a>,
}

impl Lines<'_> {
    /// Leaves `at` at the first byte of the body.
    fn read_fields(
        &mut self,
        crlf: bool,
        fields: &mut Vec<Field>,
        seen: &mut [Seen; NAMES],
        faults: &mut Faults,
    ) {
        let mut returns = usize::from(crlf);
        loop {
            let line = self.at;
            let Some(feed) = self.feeds.next().filter(|feed| *feed < MAX_HEAD) else {
                faults.note(if self.raw.len() > MAX_HEAD {
                    Fault::TooLarge
                } else {
                    Fault::Unterminated
                });
                self.at = self.raw.len();
                break;
            };
            let next = feed + 1;
            let (text, ends_crlf) = match &self.raw[line..feed] {
                [text @ .., b'\r'] => (text, true),
                text => (text, false),
            };
            returns += usize::from(ends_crlf);
            if ends_crlf != crlf {
                // A reader that ends lines elsewhere would see other header fields than we judged.
                faults.note(Fault::LineEnds);
            }
            self.at = next;
            let Some(first) = text.first() else { break };
            let end = line + text.len();
            if matches!(first, b' ' | b'\t') {
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
            match read_name(text) {
                Some((name, value)) => {
                    let seen = &mut seen[name as usize];
                    if seen.count == 0 {
                        seen.first = fields.len() as u16;
                    }
                    seen.count += 1;
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
        if scan::count(&self.raw[..self.at], b'\r') != returns {
            faults.note(Fault::LineEnds);
        }
    }
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
    let space = find(line, b' ').ok_or(Unreadable::NotSip)?;
    let (token, rest) = (&line[..space], &line[space + 1..]);
    if token.is_empty() || !scan::all(token, scan::TOKEN) {
        return Err(Unreadable::NotSip);
    }
    let (uri, version) = match rest.iter().rposition(|b| *b == b' ') {
        Some(last) => (&rest[..last], &rest[last + 1..]),
        None => (rest, &rest[..0]),
    };
    // RFC 3261 §7.1: single spaces, nothing around them; repairing would forward what nobody signed for.
    let plain = !uri.is_empty() && scan::all(uri, scan::URI);
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
