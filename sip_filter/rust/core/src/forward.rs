//! What changes in a message that goes on: a few edits, everything between them byte for byte as it came.

use std::net::SocketAddr;

use crate::message::{find, Message, Name};
use crate::reply::{push, stale_params, write_decimal, write_source};
use crate::transport::Flow;
use crate::uri;
use crate::via;

/// Edits of one message: cut bytes and put a text in their place. Kept between messages, so nothing is allocated.
#[derive(Default)]
pub struct Edits {
    list: Vec<Edit>,
    text: Vec<u8>,
}

struct Edit {
    at: usize,
    cut: usize,
    text: (usize, usize),
}

impl Edits {
    pub fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
    }

    /// At `at`, takes `cut` bytes out and puts in what `write` appends.
    pub fn put(&mut self, at: usize, cut: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        self.list.push(Edit {
            at,
            cut,
            text: (start, self.text.len()),
        });
    }

    /// Writes `raw` with all edits made. Of edits at one place the earlier made comes first.
    pub fn apply(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        out.clear();
        self.list.sort_by_key(|edit| edit.at); // Stable, and in place for so few.
        let mut at = 0;
        for edit in &self.list {
            // Overlapping cuts (a whole header and a part of it) take the union.
            out.extend_from_slice(&raw[at.min(edit.at)..edit.at]);
            out.extend_from_slice(&self.text[edit.text.0..edit.text.1]);
            at = at.max(edit.at + edit.cut);
        }
        out.extend_from_slice(&raw[at.min(raw.len())..]);
    }
}

/// Puts our Via on top (RFC 3261 §16.6 step 8), and a Record-Route for each of our sides that is named.
///
/// `via` is its value as far as the branch, `seal` vouches for the way back, `flow` leads the response to the connection that the request came over.
pub fn add_via(
    edits: &mut Edits,
    message: &Message<'_>,
    via: &[u8],
    branch: &[u8],
    seal: &[u8],
    flow: Option<Flow>,
    record_routes: &[&[u8]],
) {
    edits.put(message.start_end, 0, |text| {
        push(text, &[b"Via: ", via, b";branch=", branch, b";seal=", seal]);
        if let Some(flow) = flow {
            push(text, &[b";flow=", &flow.text()]);
        }
        text.extend_from_slice(message.line_end);
        for uri in record_routes {
            push(text, &[b"Record-Route: <", uri, b";lr>", message.line_end]);
        }
        if message.max_forwards.is_none() {
            push(text, &[b"Max-Forwards: 70", message.line_end]); // RFC 3261 §16.6 step 3.
        }
    });
}

/// Notes the source in the client's Via (RFC 3261 §18.2.1, RFC 3581 §4).
pub fn note_source(edits: &mut Edits, message: &Message<'_>, source: SocketAddr) {
    for span in stale_params(&message.via) {
        edits.put(message.offset(span), span.len(), |_| {});
    }
    let end = message.offset(message.via.value) + message.via.value.len();
    edits.put(end, 0, |text| write_source(text, &message.via, source));
}

pub fn count_hop(edits: &mut Edits, message: &Message<'_>) {
    if let (Some(hops), Some(value)) = (message.max_forwards, message.get(Name::MaxForwards)) {
        let value = uri::trim(value);
        edits.put(message.offset(value), value.len(), |text| {
            write_decimal(text, u16::from(hops).saturating_sub(1))
        });
    }
}

/// Takes a header field of that name out, wherever it stands.
pub fn remove(edits: &mut Edits, message: &Message<'_>, name: Name) {
    for field in message.all(name) {
        let (line, next) = (usize::from(field.line), usize::from(field.next));
        edits.put(line, next - line, |_| {});
    }
}

/// Pops Route values from the top as long as they are `ours` (RFC 3261 §16.4), and returns the next one's URI.
pub fn pop_routes<'a>(
    edits: &mut Edits,
    message: &Message<'a>,
    ours: impl Fn(&[u8]) -> bool,
) -> Option<&'a [u8]> {
    for field in message.all(Name::Route) {
        let value = message.value(field);
        for route in uri::Commas::new(value) {
            let target = uri::name_addr(route).map_or(route, |address| address.uri);
            if !ours(target) {
                let (start, end) = (usize::from(field.value), message.offset(route));
                if !uri::trim(&message.raw[start..end]).is_empty() {
                    edits.put(start, end - start, |text| text.push(b' '));
                }
                return Some(target);
            }
        }
        let (line, next) = (usize::from(field.line), usize::from(field.next));
        edits.put(line, next - line, |_| {});
    }
    None
}

/// Writes `label` in front of the display name of every address in the fields of that name. False: there is none.
pub fn label(edits: &mut Edits, message: &Message<'_>, name: Name, label: &[u8]) -> bool {
    let mut found = false;
    for value in message.values(name) {
        let Some(address) = uri::name_addr(value) else {
            continue;
        };
        let start = message.offset(value);
        match value.first() {
            Some(b'"') => edits.put(start + 1, 0, |text| push(text, &[label, b" "])),
            _ if find(value, b'<').is_none() => {
                // Without brackets parameters are the field's, not the URI's (RFC 3261 §20).
                let end = find(value, b';').filter(|_| name == Name::From);
                let value = &value[..end.unwrap_or(value.len())];
                edits.put(start, value.len(), |text| {
                    push(text, &[b"\"", label, b"\" <", value, b">"])
                });
            }
            _ if address.display.is_empty() => {
                edits.put(start, 0, |text| push(text, &[b"\"", label, b"\" "]))
            }
            _ => edits.put(start, address.display.len(), |text| {
                // A display name without quotes can hold neither quotes nor backslashes (RFC 3261 §25.1).
                let plain = uri::is_plain_name(address.display);
                push(
                    text,
                    &[
                        b"\"",
                        label,
                        b" ",
                        if plain { address.display } else { b"" },
                        b"\"",
                    ],
                );
            }),
        }
        found = true;
    }
    found
}

/// Takes our Via off a response (RFC 3261 §16.7 step 3). `second` is the value below it.
pub fn pop_via(edits: &mut Edits, message: &Message<'_>, second: &[u8]) {
    let Some(field) = message.all(Name::Via).next() else {
        return;
    };
    let (line, value, end) = (
        usize::from(field.line),
        usize::from(field.value),
        usize::from(field.end),
    );
    let second = message.offset(second);
    if second < end {
        edits.put(value, second - value, |text| text.push(b' ')); // Both stand in one field.
    } else {
        edits.put(line, usize::from(field.next) - line, |_| {});
    }
}

/// The address that a URI names literally, with its port.
pub fn literal(uri_text: &[u8]) -> Option<SocketAddr> {
    let uri = uri::read(uri_text)?;
    let ip = via::read_ip(uri.host)?;
    Some(SocketAddr::new(ip, uri.port.unwrap_or(5060)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    fn edited(head: &str, change: impl FnOnce(&mut Edits, &Message<'_>)) -> String {
        let raw = format!("INVITE sip:1@x SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n{head}\r\n\r\n");
        let mut fields = Vec::new();
        let message = message::read(raw.as_bytes(), &mut fields).unwrap();
        let mut edits = Edits::default();
        change(&mut edits, &message);
        let mut out = Vec::new();
        edits.apply(message.raw, &mut out);
        let start = "INVITE sip:1@x SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n".len();
        String::from_utf8(out[start..out.len() - 4].to_vec()).unwrap()
    }

    #[test]
    fn routes_of_ours_are_popped() {
        let pop = |head: &str| {
            let mut next = None;
            let text = edited(head, |edits, message| {
                next = pop_routes(edits, message, |uri| uri.starts_with(b"sip:us")).map(<[u8]>::to_vec);
            });
            (text, next.map(|uri| String::from_utf8(uri).unwrap()))
        };
        let next = Some("sip:them;lr".to_owned());
        assert_eq!(
            pop("Route: <sip:us;lr>, <sip:them;lr>, <sip:us>"),
            ("Route: <sip:them;lr>, <sip:us>".into(), next)
        );
        let next = Some("sip:them".to_owned());
        assert_eq!(
            pop("Route: <sip:us;lr>\r\nRoute: <sip:them>\r\nA: b"),
            ("Route: <sip:them>\r\nA: b".into(), next)
        );
        assert_eq!(pop("A: b\r\nRoute: <sip:us;lr>, <sip:us>"), ("A: b".into(), None));
        assert_eq!(pop("A: b"), ("A: b".into(), None));
    }

    #[test]
    fn labels_stand_in_the_display_name() {
        for (before, after) in [
            ("<sip:+7@x>", "\"[!]\" <sip:+7@x>"),
            ("\"Bob\" <sip:+7@x>", "\"[!] Bob\" <sip:+7@x>"),
            ("Bob B <sip:+7@x>", "\"[!] Bob B\" <sip:+7@x>"),
            ("tel:+7", "\"[!]\" <tel:+7>"),
            ("<sip:+7@x>, <tel:+7>", "\"[!]\" <sip:+7@x>, \"[!]\" <tel:+7>"),
        ] {
            let text = edited(&format!("P-Asserted-Identity: {before}"), |edits, message| {
                assert!(label(edits, message, Name::AssertedIdentity, b"[!]"));
            });
            assert_eq!(text, format!("P-Asserted-Identity: {after}"));
        }
        for (before, after) in [
            ("sip:+7@x;tag=1", "\"[!]\" <sip:+7@x>;tag=1"),
            ("Bob <sip:+7@x>;tag=1", "\"[!] Bob\" <sip:+7@x>;tag=1"),
        ] {
            let text = edited(&format!("f: {before}"), |edits, message| {
                assert!(label(edits, message, Name::From, b"[!]"));
            });
            assert_eq!(text, format!("f: {after}"));
        }
    }
}
