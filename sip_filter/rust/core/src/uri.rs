//! URIs and the header values that carry them: names in quotes, angle brackets, parameters, lists.
//!
//! Everything is a slice of what was received. Escapes are decoded once, by [`unescape`], and only where a
//! number is read. White space means LWS: a folded header's line ends count (RFC 3261 §25.1).

use crate::scan::{self, decimal, find, find_of, is_token};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    Urn,
    /// Addresses in message/cpim (RFC 3862).
    Im,
    Other,
}

/// A URI taken apart. For `tel` the user is the number, for `urn` it is everything after the scheme.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    pub scheme: Scheme,
    /// User, without its parameters and password.
    pub user: &'a [u8],
    /// Parameters of the user part (`;npdi;rn=…`), as received.
    pub user_params: &'a [u8],
    pub host: &'a [u8],
    pub port: Option<u16>,
    pub params: &'a [u8],
    pub headers: Option<&'a [u8]>,
}

/// A `name-addr` or `addr-spec` with the header parameters behind it.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    pub display: &'a [u8],
    pub uri: &'a [u8],
    pub params: &'a [u8],
}

/// Reads a URI. None: not a URI, or one whose parts can't be told apart with certainty.
pub fn read(text: &[u8]) -> Option<Uri<'_>> {
    let colon = find(text, b':')?;
    let (name, rest) = (&text[..colon], &text[colon + 1..]);
    let scheme = Scheme::named(name);
    let empty = &rest[..0];
    let uri = Uri {
        scheme,
        user: rest,
        user_params: empty,
        host: empty,
        port: None,
        params: empty,
        headers: None,
    };
    match scheme {
        Scheme::Sip | Scheme::Sips | Scheme::Im => read_sip(scheme, rest),
        Scheme::Tel => {
            let (user, user_params) = rest.split_at(find(rest, b';').unwrap_or(rest.len()));
            Some(Uri {
                user,
                user_params,
                ..uri
            })
        }
        Scheme::Urn => Some(uri),
        Scheme::Other => {
            let sound = name
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
            (sound && !name.is_empty()).then_some(uri)
        }
    }
}

impl Scheme {
    fn named(name: &[u8]) -> Scheme {
        // A letter in its small form; no other byte becomes one by this.
        let small = |byte: &u8| byte | 0x20;
        match name {
            [a, b, c] => match &[a, b, c].map(small) {
                b"sip" => Scheme::Sip,
                b"tel" => Scheme::Tel,
                b"urn" => Scheme::Urn,
                _ => Scheme::Other,
            },
            [a, b, c, d] if &[a, b, c, d].map(small) == b"sips" => Scheme::Sips,
            [a, b] if &[a, b].map(small) == b"im" => Scheme::Im,
            _ => Scheme::Other,
        }
    }
}

fn read_sip(scheme: Scheme, rest: &[u8]) -> Option<Uri<'_>> {
    // A user part may hold ";", "?" and "/" bare, but never "@" (RFC 3261 §25.1): the first one ends it.
    let (user_info, tail) = match find(rest, b'@') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (&rest[..0], rest),
    };
    let (user, user_params) = split_user(user_info);
    let (host, params, headers) = split(tail, b'?');
    let (host, port) = host_port(host)?;
    Some(Uri {
        scheme,
        user,
        user_params,
        host,
        port,
        params,
        headers,
    })
}

/// User and its parameters; what stands behind ":" is a password.
fn split_user(user_info: &[u8]) -> (&[u8], &[u8]) {
    let (user, params, _password) = split(user_info, b':');
    (user, params)
}

/// What stands before the parameters, the parameters, and what stands behind the first `end`.
fn split(text: &[u8], end: u8) -> (&[u8], &[u8], Option<&[u8]>) {
    let Some(stop) = find_of(text, b';', end) else {
        return (text, &text[text.len()..], None);
    };
    let (head, rest) = text.split_at(stop);
    match find(rest, end) {
        Some(end) => (head, &rest[..end], Some(&rest[end + 1..])),
        None => (head, rest, None),
    }
}

/// User and its parameters of a `sip`, `sips` or `im` URI with an "@": what stands behind that doesn't matter to them.
pub fn read_user_info(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = find(text, b':')?;
    let rest = &text[colon + 1..];
    let known = matches!(
        Scheme::named(&text[..colon]),
        Scheme::Sip | Scheme::Sips | Scheme::Im
    );
    let at = find(rest, b'@').filter(|_| known)?;
    Some(split_user(&rest[..at]))
}

/// User and its parameters of a URI, whatever its host is: none, or one that nobody could send to.
///
/// Who calls does not hang on that, and a switch shows the user part all the same. Where no host is left to stand
/// apart from it, digits and what begins with "+" are a number: no host name is (RFC 3261 §25.1, toplabel).
pub fn read_user(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = find(text, b':')?;
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let is = |name: &&str| scheme.eq_ignore_ascii_case(name.as_bytes());
    if !["sip", "sips", "im", "tel"].iter().any(is) {
        return None;
    }
    if let Some(at) = find(rest, b'@') {
        return Some(split_user(&rest[..at]));
    }
    let end = rest.iter().position(|b| matches!(b, b';' | b'?' | b':' | b'>'));
    let (host, params) = rest.split_at(end.unwrap_or(rest.len()));
    let is_number = host.first() == Some(&b'+') || host.iter().all(u8::is_ascii_digit);
    is_number.then_some((
        host,
        if params.starts_with(b";") {
            params
        } else {
            &params[..0]
        },
    ))
}

/// `host [":" port]`; an IPv6 reference keeps its brackets.
pub fn host_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let end = match text.first()? {
        b'[' => find(text, b']')? + 1,
        _ => find(text, b':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(end);
    let host = trim(host);
    let name = match host {
        [b'[', inner @ .., b']']
            if inner
                .iter()
                .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) =>
        {
            inner
        }
        [b'[', ..] => return None,
        _ if scan::all(host, scan::HOST) => host,
        _ => return None,
    };
    if name.is_empty() {
        return None;
    }
    match trim_start(rest) {
        [] => Some((host, None)),
        [b':', port @ ..] => {
            let port = decimal(trim(port))
                .and_then(|n| u16::try_from(n).ok())
                .filter(|n| *n > 0)?;
            Some((host, Some(port)))
        }
        _ => None,
    }
}

/// Reads a value that holds exactly one address.
///
/// None: unbalanced quotes or brackets, junk after the bracket, or a comma that would begin a second value.
pub fn name_addr(value: &[u8]) -> Option<Address<'_>> {
    let value = trim(value);
    let mut at = 0;
    let mut quoted = false;
    loop {
        at = scan::skip(value, at, scan::ADDRESS_END);
        match value.get(at) {
            None => break,
            Some(b'"') => {
                at = end_of_quotes(value, at)?;
                quoted = true;
            }
            Some(b'<') => {
                let close = at + find(&value[at..], b'>')?;
                let params = trim_start(&value[close + 1..]);
                if !(params.is_empty() || params[0] == b';') || outside_quotes(params, b',')?.is_some() {
                    return None;
                }
                return Some(Address {
                    display: trim(&value[..at]),
                    uri: trim(&value[at + 1..close]),
                    params,
                });
            }
            Some(b';') if !quoted => {
                // addr-spec without brackets: every parameter is the header's (RFC 3261 §20.10).
                let params = &value[at..];
                if outside_quotes(params, b',')?.is_some() || find(params, b'<').is_some() {
                    return None;
                }
                return Some(Address {
                    display: &value[..0],
                    uri: trim(&value[..at]),
                    params,
                });
            }
            Some(b';') => at += 1,
            Some(_) => return None, // A comma.
        }
    }
    (!quoted && !value.is_empty()).then_some(Address {
        display: &value[..0],
        uri: value,
        params: &value[..0],
    })
}

/// Position just behind the closing quote of the quoted string that opens at `open`.
fn end_of_quotes(text: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at = scan::skip(text, at, scan::QUOTES_END);
        match text.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2, // A backslash, and what it escapes.
        }
    }
}

/// Position of `byte` outside quoted strings. The outer None: quotes don't balance.
fn outside_quotes(text: &[u8], byte: u8) -> Option<Option<usize>> {
    let mut at = 0;
    while let Some(found) = find_of(&text[at..], byte, b'"') {
        at += found;
        if text[at] == byte {
            return Some(Some(at));
        }
        at = end_of_quotes(text, at)?;
    }
    Some(None)
}

/// The values of a comma-separated header field; empty ones are left out.
///
/// Commas inside quotes and angle brackets don't separate. When quotes or brackets never close, what is left
/// is one value: nobody can say where it ends.
pub struct Commas<'a>(&'a [u8]);

impl<'a> Commas<'a> {
    pub fn new(value: &'a [u8]) -> Commas<'a> {
        Commas(value)
    }
}

impl<'a> Iterator for Commas<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.0.is_empty() {
            let end = comma(self.0).unwrap_or(self.0.len());
            let value = trim(&self.0[..end]);
            self.0 = &self.0[(end + 1).min(self.0.len())..];
            if !value.is_empty() {
                return Some(value);
            }
        }
        None
    }
}

fn comma(text: &[u8]) -> Option<usize> {
    find(text, b',')?; // Most values hold none.
    let mut at = 0;
    loop {
        at = scan::skip(text, at, scan::ADDRESS_END);
        match text.get(at)? {
            b',' => return Some(at),
            b'"' => at = end_of_quotes(text, at)?,
            b'<' => at += find(&text[at..], b'>')? + 1,
            _ => at += 1, // A semicolon.
        }
    }
}

/// One `;name[=value]`. `span` runs from its semicolon to the next.
#[derive(Clone, Copy, Debug)]
pub struct Param<'a> {
    pub name: &'a [u8],
    pub value: Option<&'a [u8]>,
    pub span: &'a [u8],
    /// Whether all quotes close; if not, `span` runs to the end of the text.
    closed: bool,
}

impl Param<'_> {
    /// Whether the name is a token and all quotes close.
    pub fn is_sound(&self) -> bool {
        self.closed && !self.name.is_empty() && scan::all(self.name, scan::TOKEN)
    }
}

/// The parameters of a text that begins with `;`.
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    pub fn new(text: &'a [u8]) -> Params<'a> {
        Params(trim_start(text))
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        let [b';', rest @ ..] = self.0 else { return None };
        let stop = find_of(rest, b';', b'"').map(|at| (at, rest[at] == b'"'));
        let quoted = matches!(stop, Some((_, true)));
        let semicolon = match stop {
            Some((_, true)) => outside_quotes(rest, b';'),
            Some((at, false)) => Some(Some(at)),
            None => Some(None),
        };
        let closed = semicolon.is_some();
        let span;
        (span, self.0) = self.0.split_at(1 + semicolon.flatten().unwrap_or(rest.len()));
        let equals = match quoted {
            true => outside_quotes(span, b'=').flatten(),
            false => find(span, b'='),
        };
        let (name, value) = match equals {
            Some(equals) => (&span[1..equals], Some(trim(&span[equals + 1..]))),
            None => (&span[1..], None),
        };
        Some(Param {
            name: trim(name),
            value,
            span,
            closed,
        })
    }
}

/// The first parameter of that name: Some(None) when it has no value.
pub fn param<'a>(params: &'a [u8], name: &[u8]) -> Option<Option<&'a [u8]>> {
    Params::new(params)
        .find(|p| p.name.eq_ignore_ascii_case(name))
        .map(|p| p.value)
}

/// Decodes percent-escapes once. None: a bad escape, or more than fits (no number is that long).
pub fn unescape<'a>(text: &'a [u8], space: &'a mut [u8; 64]) -> Option<&'a [u8]> {
    if find(text, b'%').is_none() {
        return (text.len() <= space.len()).then_some(text);
    }
    let mut length = 0;
    let mut at = 0;
    while at < text.len() {
        let byte = match text[at] {
            b'%' => {
                let digit = |i: usize| text.get(i).and_then(|b| char::from(*b).to_digit(16));
                let byte = digit(at + 1)? * 16 + digit(at + 2)?;
                at += 2;
                byte as u8
            }
            byte => byte,
        };
        *space.get_mut(length)? = byte;
        length += 1;
        at += 1;
    }
    Some(&space[..length])
}

#[inline]
fn is_space(byte: &u8) -> bool {
    *byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[inline]
pub fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text {
        if !is_space(first) {
            break;
        }
        text = rest;
    }
    text
}

#[inline]
pub fn trim(text: &[u8]) -> &[u8] {
    match text {
        // Most parts have no space around them.
        [first, .., last] if *first > b' ' && *last > b' ' => text,
        _ => trim_both(text),
    }
}

fn trim_both(text: &[u8]) -> &[u8] {
    let mut text = trim_start(text);
    while let [rest @ .., last] = text {
        if !is_space(last) {
            break;
        }
        text = rest;
    }
    text
}

/// Whether a display name is legal unquoted: tokens and white space.
pub fn is_plain_name(display: &[u8]) -> bool {
    display.iter().all(|b| is_token(*b) || is_space(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoys_stay_outside_the_uri() {
        for (value, uri) in [
            (&b"<sip:a@b>"[..], &b"sip:a@b"[..]),
            (b"\"<sip:decoy@x>\" <sip:a@b>;tag=1", b"sip:a@b"),
            (b"\"one, \\\" two\" <sip:a@b>", b"sip:a@b"),
            (b"\"ends in backslash \\\\\" <sip:a@b>", b"sip:a@b"),
            (b"token token <sip:a@b;x=<>", b"sip:a@b;x=<"),
            (b"sip:a@b;tag=1", b"sip:a@b"),
            (b"< sip:a@b >", b"sip:a@b"),
            (b"\r\n <sip:a@b>\r\n ; tag = 1", b"sip:a@b"),
        ] {
            assert_eq!(
                name_addr(value).map(|a| a.uri),
                Some(uri),
                "{}",
                value.escape_ascii()
            );
        }
    }

    #[test]
    fn two_readings_are_none() {
        for value in [
            &b"\"never closed <sip:a@b>"[..],
            b"\"dangling\\\" <sip:a@b>",
            b"<sip:a@b",
            b"<sip:a@b>, <sip:c@d>",
            b"sip:a@b, sip:c@d",
            b"Bell, Alexander <sip:a@b>",
            b"<sip:a@b> junk",
            b"\"only a name\"",
            b"",
        ] {
            assert!(name_addr(value).is_none(), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn parts_of_a_sip_uri() {
        let uri = read(b"SIP:+7701;npdi;rn=+1:pass@[2001:db8::1]:5070;lr?X=y").unwrap();
        assert_eq!((uri.user, uri.user_params), (&b"+7701"[..], &b";npdi;rn=+1"[..]));
        assert_eq!((uri.host, uri.port), (&b"[2001:db8::1]"[..], Some(5070)));
        assert_eq!((uri.params, uri.headers), (&b";lr"[..], Some(&b"X=y"[..])));
        assert!(read(b"sip:a@b@c").is_none());
        assert!(read(b"sip:2001:db8::10").is_none());
        assert!(read(b"sip:a@").is_none());
        assert_eq!(read(b"urn:service:sos.fire").unwrap().user, b"service:sos.fire");
    }

    #[test]
    fn the_user_part_does_not_hang_on_the_host() {
        for (text, user, params) in [
            (&b"sip:+7701;npdi:pw@a:"[..], &b"+7701"[..], &b";npdi"[..]),
            (b"SIPS:+7701@", b"+7701", b""),
            (b"sip:+7701@b@c", b"+7701", b""),
            (b"sip:+7701;user=phone", b"+7701", b";user=phone"),
            (b"sip:7701:5060", b"7701", b""),
            (b"tel:+7701@a", b"+7701", b""),
            (b"sip:+7701@a>", b"+7701", b""),
        ] {
            assert_eq!(read_user(text), Some((user, params)), "{}", text.escape_ascii());
        }
        for text in [&b"sip:192.0.2.1"[..], b"sip:a.example", b"h323:+7701@a", b"+7701"] {
            assert_eq!(read_user(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn escapes_decode_once() {
        let mut space = [0; 64];
        assert_eq!(unescape(b"%2B7%37", &mut space), Some(&b"+77"[..]));
        assert_eq!(unescape(b"%252B", &mut space), Some(&b"%2B"[..]));
        assert_eq!(unescape(b"%2", &mut space), None);
        assert_eq!(unescape(b"%zz", &mut space), None);
        assert_eq!(unescape(&[b'1'; 65], &mut space), None);
    }

    #[test]
    fn commas_separate_only_outside() {
        let values: Vec<_> = Commas::new(b" \"a,b\" <sip:1,2@x> , , tel:+3;x=\"4,5\"").collect();
        assert_eq!(values, [&b"\"a,b\" <sip:1,2@x>"[..], b"tel:+3;x=\"4,5\""]);
        assert_eq!(Commas::new(b"\"open, <sip:1@x>, <sip:2@x>").count(), 1);
    }
}
