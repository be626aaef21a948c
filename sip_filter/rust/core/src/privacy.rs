//! Rarely needed header fields and bodies, found only when they are: Privacy, Feature-Caps, SIP-I.

use crate::message::{find, Message, Name};
use crate::uri;

/// Whether the caller asks that its asserted identity stay inside the trust domain (RFC 3323 §4.2, RFC 3325 §9.3).
pub fn asks_privacy(message: &Message<'_>) -> bool {
    others(message, b"Privacy").any(|value| {
        value
            .split(|b| matches!(b, b';' | b','))
            .any(|word| uri::trim(word).eq_ignore_ascii_case(b"id"))
    })
}

/// Whether a device on the call's way can show a 608 (RFC 8688 §3.2; `Feature-Caps: *;+sip.608`, RFC 6809).
pub fn understands_608(message: &Message<'_>) -> bool {
    others(message, b"Feature-Caps").any(|value| {
        uri::Commas::new(value).any(|caps| {
            let params = &caps[find(caps, b';').unwrap_or(caps.len())..];
            uri::param(params, b"+sip.608").is_some()
        })
    })
}

/// Whether an ISUP message rides along (SIP-I, ITU-T Q.1912.5): alone or as a part of several.
pub fn carries_isup(message: &Message<'_>) -> bool {
    let Some(kind) = message.get(Name::ContentType) else {
        return false;
    };
    let kind = uri::trim(kind);
    if starts(kind, b"multipart/") {
        return mentions_isup(message.body);
    }
    starts(kind, b"application/isup")
}

fn mentions_isup(body: &[u8]) -> bool {
    const TYPE: &[u8] = b"application/isup";
    const SLASH: usize = 11;
    let mut at = 0;
    while let Some(slash) = find(&body[at..], b'/') {
        let slash = at + slash;
        if slash >= SLASH && starts(&body[slash - SLASH..], TYPE) {
            return true;
        }
        at = slash + 1;
    }
    false
}

fn starts(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// The values of fields that the message view has no name for.
fn others<'a>(message: &Message<'a>, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let raw = message.raw;
    message.all(Name::Other).filter_map(move |field| {
        let line = &raw[usize::from(field.line)..usize::from(field.value)];
        let written = uri::trim(line.strip_suffix(b":").unwrap_or(line));
        written
            .eq_ignore_ascii_case(name)
            .then(|| &raw[usize::from(field.value)..usize::from(field.end)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    fn ask(head: &str, question: fn(&Message<'_>) -> bool) -> bool {
        let raw = format!("INVITE sip:1@x SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n{head}\r\n\r\nbody\r\n");
        let mut fields = Vec::new();
        question(&message::read(raw.as_bytes(), &mut fields).unwrap())
    }

    #[test]
    fn privacy_in_any_clothing() {
        for head in [
            "Privacy: id",
            "privacy : header; ID ;critical",
            "X: y\r\nPrivacy: user,\r\n id",
        ] {
            assert!(ask(head, asks_privacy), "{head}");
        }
        for head in ["Privacy: none", "Privacy: idx", "X-Privacy: id", "Subject: id"] {
            assert!(!ask(head, asks_privacy), "{head}");
        }
    }

    #[test]
    fn capability_608_in_any_clothing() {
        for head in [
            "Feature-Caps: *;+sip.608",
            "feature-caps : *;+a=\"1,2\", * ; +SIP.608",
        ] {
            assert!(ask(head, understands_608), "{head}");
        }
        for head in [
            "Feature-Caps: *;+sip.6080",
            "Feature-Caps: *;+a=\"+sip.608\"",
            "Contact: *;+sip.608",
        ] {
            assert!(!ask(head, understands_608), "{head}");
        }
    }

    #[test]
    fn isup_alone_or_as_a_part() {
        assert!(ask("c: APPLICATION/isup;version=itu-t92+", carries_isup));
        assert!(ask("Content-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\nContent-Type: application/sdp\r\n\r\n/\r\n\
                     --b\r\nContent-Type: Application/ISUP\r\n", carries_isup));
        for head in [
            "Content-Type: application/sdp",
            "Content-Type: multipart/mixed",
            "X: application/isup",
        ] {
            assert!(!ask(head, carries_isup), "{head}");
        }
    }
}
