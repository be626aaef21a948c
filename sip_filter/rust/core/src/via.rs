//! Via: the way that a request came, and that its responses go back.
//!
//! A response goes to where the request's packets came from, at the port that Via asks for, and nowhere that only
//! the message names: a forged Via would make us a relay to third parties.

use std::net::{IpAddr, SocketAddr};

use crate::scan::{decimal, find, token_length};
use crate::transport::Flow;
use crate::uri;

/// One Via value.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// The whole value, from the protocol to the last parameter.
    pub value: &'a [u8],
    pub host: &'a [u8],
    pub port: Option<u16>,
    pub branch: &'a [u8],
    pub received: Option<&'a [u8]>,
    pub rport: Option<Option<u16>>,
    /// False when parameters are broken: good enough to answer 400 by, not to forward.
    pub sound: bool,
}

/// The first Via value of a header field's value, or of what is left of it.
pub fn read(value: &[u8]) -> Option<Via<'_>> {
    let value = uri::Commas::new(value).next()?;
    let (rest, spoken) = match value.strip_prefix(USUAL) {
        Some(rest) => (rest, true),
        None => read_protocol(value)?,
    };
    let rest = uri::trim_start(rest);
    let semicolon = find(rest, b';').unwrap_or(rest.len());
    let (host, port) = uri::host_port(uri::trim(&rest[..semicolon]))?;
    let mut via = Via {
        value,
        host,
        port,
        branch: &[],
        received: None,
        rport: None,
        sound: spoken,
    };
    for param in uri::Params::new(&rest[semicolon..]) {
        if !param.is_sound() {
            via.sound = false;
        } else if param.name.eq_ignore_ascii_case(b"branch") {
            via.branch = param.value.unwrap_or_default();
        } else if param.name.eq_ignore_ascii_case(b"received") {
            via.received = param.value;
        } else if param.name.eq_ignore_ascii_case(b"rport") {
            via.rport = Some(param.value.and_then(decimal).and_then(|n| u16::try_from(n).ok()));
        }
    }
    Some(via)
}

/// How nearly every Via begins: it needs no reading token by token.
const USUAL: &[u8] = b"SIP/2.0/UDP ";

/// What follows the protocol and the white space that is due behind it, and whether we speak that version.
///
/// sent-protocol: three tokens with white space allowed around the slashes (RFC 3261 §25.1).
fn read_protocol(value: &[u8]) -> Option<(&[u8], bool)> {
    let mut rest = value;
    let mut protocol: [&[u8]; 3] = [&[]; 3];
    for (i, part) in protocol.iter_mut().enumerate() {
        rest = uri::trim_start(rest);
        (*part, rest) = rest.split_at(token_length(rest));
        if i < 2 {
            rest = uri::trim_start(rest).strip_prefix(b"/")?;
        }
    }
    if !protocol[0].eq_ignore_ascii_case(b"SIP") || protocol[2].is_empty() {
        return None;
    }
    if !matches!(rest.first(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        return None;
    }
    // Of another version we can still say that we don't speak it (505).
    Some((rest, protocol[1] == b"2.0"))
}

/// Where the response to a request goes: its source, at the port that Via asks for (RFC 3261 §18.2.2, RFC 3581 §4).
///
/// Never to an address that only the message names: `maddr` and a foreign `received` are not followed.
pub fn back_to(via: &Via<'_>, source: SocketAddr) -> SocketAddr {
    let port = if via.rport.is_some() {
        source.port()
    } else {
        via.port.unwrap_or(5060)
    };
    SocketAddr::new(source.ip(), port)
}

/// Where a Via value that we wrote into sends a response on; the transaction's hash vouches for it.
pub fn onward(via: &Via<'_>) -> Option<SocketAddr> {
    let ip = read_ip(via.received.unwrap_or(via.host))?;
    let port = via.rport.flatten().or(via.port).unwrap_or(5060);
    Some(SocketAddr::new(ip, port))
}

/// What stands for the client of a request that came over a connection: its address, and the port it listens on.
///
/// The connection's own port would tell a CANCEL that comes over another one from its INVITE.
pub fn behind_connection(via: &Via<'_>, ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, via.port.unwrap_or(5060))
}

/// The connection that a Via of ours names.
pub fn flow(via: &Via<'_>) -> Option<Flow> {
    let params = &via.value[find(via.value, b';')?..];
    Flow::read(uri::param(params, b"flow")??)
}

/// What vouches for the way of a response, in a Via of ours.
pub fn seal<'a>(via: &Via<'a>) -> Option<&'a [u8]> {
    let params = &via.value[find(via.value, b';')?..];
    uri::param(params, b"seal")?
}

/// An address literal, with or without the brackets of an IPv6 reference (RFC 5118 §4.5).
pub fn read_ip(text: &[u8]) -> Option<IpAddr> {
    let inner = match text {
        [b'[', inner @ .., b']'] => inner,
        _ => text,
    };
    // Host names are the common case and never begin like an address.
    if !matches!(
        inner.first(),
        Some(b'0'..=b'9' | b':' | b'a'..=b'f' | b'A'..=b'F')
    ) || inner.len() > 45
    {
        return None;
    }
    std::str::from_utf8(inner)
        .ok()?
        .parse::<IpAddr>()
        .ok()
        .map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_any_clothing() {
        let via =
            read(b"SIP  /   2.0\r\n /UDP\r\n    192.0.2.2 : 99;branch = a ;rport;x=\"1,2;3\", SIP/2.0/TCP b")
                .unwrap();
        assert_eq!(
            (via.host, via.port, via.branch, via.rport),
            (&b"192.0.2.2"[..], Some(99), &b"a"[..], Some(None))
        );
        assert!(via.sound && via.value.ends_with(b"2;3\""));
        for broken in [
            &b"SIP/2.0/UDP a;;b"[..],
            b"SIP/2.0/UDP a;\"b=1",
            b"SIP/2.0/UDP a;b=\"1",
            b"SIP/7.0/UDP a",
        ] {
            assert!(!read(broken).unwrap().sound, "{}", broken.escape_ascii());
        }
        for none in [
            &b""[..],
            b"SIP/2.0",
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDPa",
            b"HTTP/2.0/UDP a",
            b"SIP/2.0/UDP [::1",
        ] {
            assert!(read(none).is_none(), "{}", none.escape_ascii());
        }
    }

    #[test]
    fn responses_go_to_the_source() {
        let back =
            |value: &[u8]| back_to(&read(value).unwrap(), "192.0.2.9:1234".parse().unwrap()).to_string();
        assert_eq!(
            back(b"SIP/2.0/UDP 8.8.8.8;received=9.9.9.9;maddr=7.7.7.7"),
            "192.0.2.9:5060"
        );
        assert_eq!(back(b"SIP/2.0/UDP 8.8.8.8:99"), "192.0.2.9:99");
        assert_eq!(back(b"SIP/2.0/UDP 8.8.8.8:99;rport=5"), "192.0.2.9:1234");
    }

    #[test]
    fn addresses() {
        assert_eq!(read_ip(b"[2001:db8::1]"), "2001:db8::1".parse().ok());
        assert_eq!(read_ip(b"2001:db8::1"), "2001:db8::1".parse().ok());
        assert_eq!(read_ip(b"[::ffff:192.0.2.1]"), "192.0.2.1".parse().ok());
        assert_eq!(read_ip(b"example.com"), None);
        assert_eq!(read_ip(b"1.2.3"), None);
    }
}
