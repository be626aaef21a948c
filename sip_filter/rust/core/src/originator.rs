//! Who sends a short message, by its body: the TP originator of `application/vnd.3gpp.sms`, the From of `message/cpim`,
//! and both inside `multipart/*` (RFC 2046 §5.1, RFC 5621).
//!
//! What the recipient's switch would unpack is unpacked here: parts in parts up to [`MOST_DEPTH`], base64 and
//! quoted-printable. What is beyond the limits is refused, since its sender would go unjudged.

use std::borrow::Cow;

use crate::identity::read_uri;
use crate::message::{find, Fault, Message, Name};
use crate::plan::{Plan, Reading, Trace};
use crate::uri;

/// Multiparts inside each other.
pub const MOST_DEPTH: usize = 4;
/// Parts of one body, over all depths.
pub const MOST_PARTS: usize = 32;

/// Gives every sender that the body names to `found`.
///
/// Err: more parts, or deeper, than are read.
pub fn read(
    message: &Message<'_>,
    plan: Plan,
    trace: &mut impl Trace,
    found: impl FnMut(Reading),
) -> Result<(), Fault> {
    let Some(content) = message.get(Name::ContentType) else {
        return Ok(());
    };
    let mut bodies = Bodies {
        plan,
        trace,
        found,
        parts: 0,
    };
    bodies.read(content, message.body, 0)
}

struct Bodies<'t, T, F> {
    plan: Plan,
    trace: &'t mut T,
    found: F,
    parts: usize,
}

impl<T: Trace, F: FnMut(Reading)> Bodies<'_, T, F> {
    fn read(&mut self, content: &[u8], body: &[u8], depth: usize) -> Result<(), Fault> {
        let end = find(content, b';').unwrap_or(content.len());
        let (media, params) = (uri::trim(&content[..end]), &content[end..]);
        if media.eq_ignore_ascii_case(b"application/vnd.3gpp.sms") {
            let reading = read_tp_originator(body, self.plan, self.trace);
            self.trace.step(|| format!("TP-Originating-Address: {reading:?}"));
            (self.found)(reading.unwrap_or(Reading::Name));
        } else if media.eq_ignore_ascii_case(b"message/cpim") {
            let from = field(body, b"From");
            self.trace.step(|| {
                let shown = from.as_deref().unwrap_or_default().escape_ascii();
                format!("message/cpim From: {shown}")
            });
            let reading = match from.as_deref().map(uri::name_addr) {
                None => Reading::Name,
                Some(None) => Reading::Unreadable,
                Some(Some(address)) => read_uri(address.uri, self.plan, self.trace),
            };
            (self.found)(reading);
        } else if is_multipart(media) {
            return self.read_parts(params, body, depth);
        }
        Ok(())
    }

    fn read_parts(&mut self, params: &[u8], body: &[u8], depth: usize) -> Result<(), Fault> {
        let Some(boundary) = uri::param(params, b"boundary").flatten() else {
            self.trace
                .step(|| "a multipart without boundary: nobody can take it apart".to_owned());
            return Ok(());
        };
        let boundary = unquote(boundary);
        if depth == MOST_DEPTH {
            return Err(Fault::Identities);
        }
        for part in Parts::new(body, &boundary) {
            self.parts += 1;
            if self.parts > MOST_PARTS {
                return Err(Fault::Identities);
            }
            let Some(content) = field(part, b"Content-Type").or_else(|| field(part, b"c")) else {
                continue; // Text, by RFC 2046 §5.1.
            };
            self.trace
                .step(|| format!("a part of type {}", content.escape_ascii()));
            let inner = decode(field(part, b"Content-Transfer-Encoding"), behind_fields(part));
            self.read(&content, &inner, depth + 1)?;
        }
        Ok(())
    }
}

fn is_multipart(media: &[u8]) -> bool {
    let start = b"multipart/";
    media.len() > start.len() && media[..start.len()].eq_ignore_ascii_case(start)
}

/// The parts between the delimiter lines, without the line end that belongs to the next delimiter.
struct Parts<'a> {
    rest: &'a [u8],
    boundary: &'a [u8],
}

impl<'a> Parts<'a> {
    fn new(body: &'a [u8], boundary: &'a [u8]) -> Parts<'a> {
        let mut parts = Parts { rest: body, boundary };
        parts.next(); // What stands before the first delimiter is for people without MIME.
        parts
    }

    /// Whether this line is a delimiter, and whether it is the last.
    fn is_delimiter(&self, line: &[u8]) -> Option<bool> {
        let rest = line.strip_prefix(b"--")?.strip_prefix(self.boundary)?;
        match uri::trim(rest) {
            b"" => Some(false),
            b"--" => Some(true),
            _ => None,
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let mut at = 0;
        while at < self.rest.len() {
            let next = find(&self.rest[at..], b'\n').map_or(self.rest.len(), |end| at + end + 1);
            if let Some(is_last) = self.is_delimiter(&self.rest[at..next]) {
                let part = &self.rest[..at];
                self.rest = if is_last { &[] } else { &self.rest[next..] };
                let part = part.strip_suffix(b"\n").unwrap_or(part);
                return Some(part.strip_suffix(b"\r").unwrap_or(part));
            }
            at = next;
        }
        // A multipart whose end was cut off: the last part is what is there.
        Some(std::mem::take(&mut self.rest))
    }
}

/// The lines before the empty one.
fn field_lines(part: &[u8]) -> impl Iterator<Item = &[u8]> {
    part.split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !uri::trim(line).is_empty())
}

/// The first field of that name in a part or a CPIM message (RFC 3862 §3), its folds as spaces.
fn field<'a>(part: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let mut lines = field_lines(part).peekable();
    while let Some(line) = lines.next() {
        let Some(colon) = find(line, b':') else { continue };
        if !uri::trim(&line[..colon]).eq_ignore_ascii_case(name) {
            continue;
        }
        let mut value = Cow::Borrowed(&line[colon + 1..]);
        while let Some(more) = lines.next_if(|line| line.first().is_some_and(|b| matches!(b, b' ' | b'\t'))) {
            value.to_mut().extend_from_slice(more);
        }
        return Some(value);
    }
    None
}

fn behind_fields(part: &[u8]) -> &[u8] {
    let mut at = 0;
    while at < part.len() {
        let next = find(&part[at..], b'\n').map_or(part.len(), |end| at + end + 1);
        if uri::trim(&part[at..next]).is_empty() {
            return &part[next..];
        }
        at = next;
    }
    &[]
}

/// A parameter's value without its quotes.
fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|inner| inner.strip_suffix(b"\""));
    let Some(inner) = inner else {
        return Cow::Borrowed(value);
    };
    if find(inner, b'\\').is_none() {
        return Cow::Borrowed(inner);
    }
    let mut escaped = false;
    let plain = inner.iter().filter(|b| {
        escaped = **b == b'\\' && !escaped;
        !escaped
    });
    Cow::Owned(plain.copied().collect())
}

/// Undoes the transfer encoding (RFC 2045 §6); one that is unknown leaves the bytes as they are.
fn decode<'a>(encoding: Option<Cow<'_, [u8]>>, body: &'a [u8]) -> Cow<'a, [u8]> {
    let encoding = encoding.unwrap_or_default();
    let encoding = uri::trim(&encoding);
    match () {
        () if encoding.eq_ignore_ascii_case(b"base64") => Cow::Owned(from_base64(body)),
        () if encoding.eq_ignore_ascii_case(b"quoted-printable") => Cow::Owned(from_quoted(body)),
        () => Cow::Borrowed(body),
    }
}

/// Other bytes than those of the alphabet are skipped (RFC 2045 §6.8).
fn from_base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

fn from_quoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let digit = |i: usize| text.get(i).and_then(|b| char::from(*b).to_digit(16));
        let rest = &text[at + 1..];
        if *byte != b'=' {
            out.push(*byte);
            at += 1;
        } else if let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) {
            out.push((high * 16 + low) as u8);
            at += 3;
        } else if let Some(end) = find(rest, b'\n').filter(|end| uri::trim(&rest[..*end]).is_empty()) {
            at += end + 2; // A soft line break.
        } else {
            out.push(b'=');
            at += 1;
        }
    }
    out
}
/// TP-OA of an SMS-DELIVER in an RP-DATA towards the phone (3GPP TS 24.011 §7.3.1, TS 23.040 §9.2.2.1).
fn read_tp_originator(body: &[u8], plan: Plan, trace: &mut impl Trace) -> Option<Reading> {
    let [kind, _reference, rest @ ..] = body else {
        return None;
    };
    if kind & 0x07 != 1 {
        return None; // Only the direction network to phone names its sender inside.
    }
    let (originator, rest) = rest.split_first()?;
    let rest = rest.get(usize::from(*originator)..)?;
    let (destination, rest) = rest.split_first()?;
    let rest = rest.get(usize::from(*destination)..)?;
    let [_length, first, digits, kind, address @ ..] = rest else {
        return None;
    };
    if first & 0x03 != 0 {
        return None; // Not SMS-DELIVER.
    }
    let digits = usize::from(*digits);
    let address = address.get(..digits.div_ceil(2))?;
    let mut text = [0u8; 24];
    let mut length = 0;
    match kind >> 4 & 0x07 {
        1 => {
            text[0] = b'+';
            length = 1;
        }
        5 => return Some(Reading::Name), // Alphanumeric: what the recipient sees is a name.
        _ => {}
    }
    for i in 0..digits {
        let nibble = if i % 2 == 0 {
            address[i / 2] & 0x0f
        } else {
            address[i / 2] >> 4
        };
        // Semi-octets above 9 are * # a b c (TS 23.040 §9.1.2.3): not a number.
        *text.get_mut(length)? = if nibble < 10 { b'0' + nibble } else { b'*' };
        length += 1;
    }
    Some(plan.read(&text[..length], None, trace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    const DELIVERED: [u8; 20] = [
        1, 7, 4, 0x91, 0x26, 0x18, 0x01, 0, 12, 0x04, 11, 0x91, 0x77, 0x10, 0x32, 0x54, 0x76, 0xf8, 0, 0,
    ];
    const CPIM: &[u8] = b"To: <im:a@b>\r\nFrom: \"x\"\r\n <im:+77012345679@b>\r\n\r\nFrom: <im:+1@b>";

    fn senders(content: &str, body: &[u8]) -> Result<Vec<String>, Fault> {
        let mut raw = format!(
            "MESSAGE sip:1@x SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nTo: <sip:1@x>\r\nFrom: <sip:2@x>;tag=1\r\n\
             Call-ID: 1\r\nCSeq: 1 MESSAGE\r\nContent-Type: {content}\r\n\r\n"
        )
        .into_bytes();
        raw.extend_from_slice(body);
        let mut fields = Vec::new();
        let message = message::read(&raw, &mut fields).unwrap();
        let mut found = Vec::new();
        read(&message, Plan::International, &mut (), |reading| {
            if let Reading::Number(number) = reading {
                found.push(number.to_string());
            }
        })?;
        Ok(found)
    }

    fn part(head: &str, body: &[u8]) -> Vec<u8> {
        [b"--b\r\n", head.as_bytes(), b"\r\n\r\n", body, b"\r\n"].concat()
    }

    #[test]
    fn bodies_that_name_their_sender() {
        let sms = "Application/vnd.3gpp.SMS ;x=y";
        assert_eq!(senders(sms, &DELIVERED).unwrap(), ["+77012345678"]);
        assert!(senders(sms, &DELIVERED[..12]).unwrap().is_empty());
        assert_eq!(senders("Message/CPIM;x=y", CPIM).unwrap(), ["+77012345679"]);
        let none = b"\r\nFrom: <im:+77012345678@b>\r\n";
        assert!(senders("message/cpim", none).unwrap().is_empty());
        assert!(senders("text/plain", CPIM).unwrap().is_empty());
    }

    #[test]
    fn parts_name_theirs() {
        let sms = "content-type : application/vnd.3gpp.sms\r\nContent-ID: 1";
        let body = [
            b"Content-Type: message/cpim\r\n\r\nFrom: <im:+1234567@b>\r\n".to_vec(),
            part("Content-Type: text/plain", b"--bb"),
            part(sms, &DELIVERED),
            part("Content-Type:\r\n message/cpim", CPIM),
            b"--b--\r\n".to_vec(),
            part(sms, &DELIVERED),
        ]
        .concat();
        let both = ["+77012345678", "+77012345679"];
        assert_eq!(senders("multipart/mixed;boundary=b", &body).unwrap(), both);
        assert_eq!(
            senders("Multipart/Related; x=y; Boundary=\"\\b\"", &body).unwrap(),
            both
        );
        assert!(senders("multipart/mixed", &body).unwrap().is_empty());
        assert!(senders("multipart/mixed;boundary=c", &body).unwrap().is_empty());
        let cut = part(sms, &DELIVERED);
        assert_eq!(senders("multipart/mixed;boundary=b", &cut).unwrap(), both[..1]);
    }

    #[test]
    fn encoded_parts_are_decoded() {
        let sms = "Content-Type: application/vnd.3gpp.sms\r\nContent-Transfer-Encoding:";
        let body = part(&format!("{sms} BASE64"), b"AQcEkSYYAQAMBAuR\r\ndxAyVHb4AAA=");
        assert_eq!(
            senders("multipart/mixed;boundary=b", &body).unwrap(),
            ["+77012345678"]
        );
        let body = part(
            "Content-Type: message/cpim\r\nContent-Transfer-Encoding: quoted-printable",
            b"From: <im:=2B7701=\r\n2345679@b>",
        );
        assert_eq!(
            senders("multipart/mixed;boundary=b", &body).unwrap(),
            ["+77012345679"]
        );
        assert_eq!(from_quoted(b"a=zz=\t\nb="), b"a=zzb=");
    }

    #[test]
    fn nesting_and_parts_have_limits() {
        let nested = |depth: usize| {
            let mut body = CPIM.to_vec();
            let mut content = "message/cpim".to_owned();
            for level in 0..depth {
                let head = format!("--{level}\r\nContent-Type: {content}\r\n\r\n");
                body = [head.as_bytes(), &body, format!("\r\n--{level}--\r\n").as_bytes()].concat();
                content = format!("multipart/mixed;boundary={level}");
            }
            senders(&content, &body)
        };
        assert_eq!(nested(MOST_DEPTH).unwrap(), ["+77012345679"]);
        assert_eq!(nested(MOST_DEPTH + 1), Err(Fault::Identities));
        let many = |count: usize| senders("multipart/mixed;boundary=b", &part("X: y", b"").repeat(count));
        assert!(many(MOST_PARTS).is_ok());
        assert_eq!(many(MOST_PARTS + 1), Err(Fault::Identities));
    }
}
