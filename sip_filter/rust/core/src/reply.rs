//! Final responses of a stateless UAS (RFC 3261 §8.2.6, §8.2.7): copied fields, our tag, nothing about us.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::course::{LONGEST_TAG, SHORTEST_TAG, STEP};
use crate::message::{find, Message, Name};
use crate::uri;
use crate::via::{read_ip, Via};

/// Why a call or message was refused (RFC 3326; a response may carry Q.850 causes, RFC 6432).
pub const REASON: &[u8] = b"Reason: Q.850;cause=21;text=\"Call rejected\"";
/// The methods that the element lets through (RFC 3261 §20.5).
pub const ALLOW: &[u8] = b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, PRACK, UPDATE, INFO";

/// Bytes that a response may be longer than its request.
pub const GROWTH: usize = 400;

/// Writes the response to a request into `out`.
///
/// It is at most `GROWTH` bytes longer than the request: everything else is copied from it, so that a forged source
/// gains no amplification. `extra` are whole header lines without their end. `to_tag` is cut so that the response's
/// size is a multiple of `STEP`: responses of one size to one peer leave together (see the gateway's sender).
pub fn write(
    out: &mut Vec<u8>,
    message: &Message<'_>,
    source: SocketAddr,
    (status, phrase): (u16, &str),
    to_tag: &[u8; LONGEST_TAG],
    extra: &[&[u8]],
) {
    out.clear();
    let line_end = message.line_end;
    push(
        out,
        &[b"SIP/2.0 ", &digits(status), b" ", phrase.as_bytes(), line_end],
    );
    for (i, field) in message.all(Name::Via).enumerate() {
        let (line, next) = (usize::from(field.line), usize::from(field.next));
        if i > 0 {
            out.extend_from_slice(&message.raw[line..next]);
            continue;
        }
        // The first value gets what RFC 3261 §18.2.1 and RFC 3581 §4 ask for; the rest stays as it came.
        let mut at = line;
        for span in stale_params(&message.via) {
            let start = message.offset(span);
            out.extend_from_slice(&message.raw[at..start]);
            at = start + span.len();
        }
        let end = message.offset(message.via.value) + message.via.value.len();
        out.extend_from_slice(&message.raw[at.min(end)..end]);
        write_source(out, &message.via, source);
        out.extend_from_slice(&message.raw[end..next]);
    }
    let mut tag_end = None;
    for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
        let Some(field) = message.all(name).next() else {
            continue;
        };
        let (line, end, next) = (
            usize::from(field.line),
            usize::from(field.end),
            usize::from(field.next),
        );
        if name == Name::To && message.to.tag.is_empty() && status > 100 {
            push(out, &[&message.raw[line..end], b";tag=", &to_tag[..SHORTEST_TAG]]);
            tag_end = Some(out.len());
            out.extend_from_slice(line_end);
        } else if next - end == line_end.len() {
            out.extend_from_slice(&message.raw[line..next]); // With its own line end, which is the same.
        } else {
            push(out, &[&message.raw[line..end], line_end]);
        }
    }
    for line in extra {
        push(out, &[line, line_end]);
    }
    push(out, &[b"Content-Length: 0", line_end, line_end]);
    if let Some(at) = tag_end {
        lengthen(out, at, &to_tag[SHORTEST_TAG..], message.raw.len() + GROWTH);
    }
}

/// Puts as much of `more` at `at` as makes the size a multiple of `STEP`, if that is not over `most`.
fn lengthen(out: &mut Vec<u8>, at: usize, more: &[u8], most: usize) {
    let (size, rounded) = (out.len(), out.len().next_multiple_of(STEP));
    if rounded <= most {
        let end = at + rounded - size;
        out.resize(rounded, 0);
        out.copy_within(at..size, end);
        out[at..end].copy_from_slice(&more[..end - at]);
    }
}

/// Parameters of the topmost Via that only we may set: what a client wrote there would misdirect the response.
pub fn stale_params<'a>(via: &Via<'a>) -> impl Iterator<Item = &'a [u8]> {
    let params = &via.value[find(via.value, b';').unwrap_or(via.value.len())..];
    uri::Params::new(params)
        .filter(|param| {
            param.name.eq_ignore_ascii_case(b"received") || param.name.eq_ignore_ascii_case(b"rport")
        })
        .map(|param| param.span)
}

/// Writes `rport` and `received` as the source demands.
pub fn write_source(out: &mut Vec<u8>, via: &Via<'_>, source: SocketAddr) {
    if via.rport.is_some() {
        out.extend_from_slice(b";rport=");
        write_decimal(out, source.port());
    }
    if via.rport.is_some() || read_ip(via.host) != Some(source.ip()) {
        out.extend_from_slice(b";received=");
        match source.ip() {
            IpAddr::V4(ip) => {
                for (i, octet) in ip.octets().into_iter().enumerate() {
                    if i > 0 {
                        out.push(b'.');
                    }
                    write_decimal(out, u16::from(octet));
                }
            }
            // Writing into a Vec can't fail.
            IpAddr::V6(ip) => drop(write!(out, "{ip}")),
        }
    }
}

pub fn write_decimal(out: &mut Vec<u8>, port: u16) {
    let mut text = [0; 5];
    let mut at = text.len();
    let mut rest = port;
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

pub fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn digits(status: u16) -> [u8; 3] {
    [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    fn reply(raw: &str) -> String {
        let mut fields = Vec::new();
        let message = message::read(raw.as_bytes(), &mut fields).unwrap();
        let mut out = Vec::new();
        let source = "192.0.2.9:1234".parse().unwrap();
        write(
            &mut out,
            &message,
            source,
            (603, "Decline"),
            b"0123456789abcdef0123456789abcdef0123456789abcde",
            &[REASON],
        );
        assert!(out.len() <= raw.len() + GROWTH);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_are_copied_and_the_source_noted() {
        let reply = reply(
            "INVITE sip:1@x SIP/2.0\r\nv: SIP/2.0/UDP a.example ; received=9.9.9.9;branch=z9hG4bK1; rport , SIP/2.0/TCP b\r\n\
             Via: SIP/2.0/UDP c\r\nf:\r\n <sip:a@b>;tag=1\r\nt: <sip:1@x>\r\nCall-ID: 7\r\nX: y\r\nCSeq: 2 INVITE\r\n\r\n",
        );
        assert_eq!(
            reply,
            "SIP/2.0 603 Decline\r\nv: SIP/2.0/UDP a.example ;branch=z9hG4bK1;rport=1234;received=192.0.2.9 , \
             SIP/2.0/TCP b\r\nVia: SIP/2.0/UDP c\r\nf:\r\n <sip:a@b>;tag=1\r\nt: <sip:1@x>;tag=0123456789abcdef0123456\r\n\
             Call-ID: 7\r\nCSeq: 2 INVITE\r\nReason: Q.850;cause=21;text=\"Call rejected\"\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn what_is_missing_is_left_out() {
        let reply = reply("INVITE sip:1@x SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9\nTo: <sip:1@x>;tag=own\n\n");
        assert_eq!(
            reply,
            "SIP/2.0 603 Decline\nVia: SIP/2.0/UDP 192.0.2.9\nTo: <sip:1@x>;tag=own\n\
             Reason: Q.850;cause=21;text=\"Call rejected\"\nContent-Length: 0\n\n"
        );
    }
}
