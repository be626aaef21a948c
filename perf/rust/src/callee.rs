//! The switch behind a server under test: it rings and answers every call, and looks at how each was forwarded.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddrV4;

use memchr::memmem;

use crate::datagrams::Datagrams;
use crate::invite::call;

/// The switch, and what it saw.
pub struct Callee {
    datagrams: Datagrams,
    /// Branches of this run: each call is forwarded with one of its own (RFC 3261 section 16.11).
    branches: HashSet<Box<[u8]>>,
    replies: Vec<(Vec<u8>, SocketAddrV4)>,
    vias: usize,
    pub forwarded: u64,
    pub misforwarded: u64,
}

impl Callee {
    /// A switch at `address`; a request has `vias` Via header fields when it gets there.
    pub fn bind(address: SocketAddrV4, vias: usize) -> io::Result<Callee> {
        Ok(Callee {
            datagrams: Datagrams::bind(address)?,
            branches: HashSet::new(),
            replies: Vec::new(),
            vias,
            forwarded: 0,
            misforwarded: 0,
        })
    }

    /// Answers what has come; how many requests that were.
    pub fn turn(&mut self) -> io::Result<usize> {
        let mut replies = std::mem::take(&mut self.replies);
        let count = self
            .datagrams
            .receive(|request, from| replies.push((request.to_vec(), from)))?;
        for (request, _) in &replies {
            self.forwarded += 1;
            if !self.is_well_forwarded(request) {
                self.misforwarded += 1;
            }
        }
        for status in ["180 Ringing", "200 OK"] {
            for (request, from) in &replies {
                self.datagrams
                    .send(*from, None, |room| respond(request, status, room))?;
            }
        }
        self.datagrams.flush()?;
        replies.clear();
        self.replies = replies;
        Ok(count)
    }

    /// As a stateless proxy does it: a Via of its own with a branch that no other call has, one hop less to go.
    fn is_well_forwarded(&mut self, request: &[u8]) -> bool {
        let vias = memmem::find_iter(request, b"\r\nVia: SIP/2.0/").count();
        let hops: &[u8] = match self.vias {
            1 => b"\r\nMax-Forwards: 70\r\n",
            _ => b"\r\nMax-Forwards: 69\r\n",
        };
        request.starts_with(b"INVITE ")
            && vias == self.vias
            && memmem::find(request, hops).is_some()
            && memmem::find(request, b"\r\nP-Asserted-Identity: ").is_some()
            && call(request).is_some()
            && branch(request).is_some_and(|branch| self.branches.insert(branch.into()))
    }
}

fn branch(request: &[u8]) -> Option<&[u8]> {
    let at = memmem::find(request, b"branch=z9hG4bK")?;
    let rest = &request[at + b"branch=".len()..];
    rest.split(|byte| b";,\r ".contains(byte)).next()
}

/// Writes the response; its length.
fn respond(request: &[u8], status: &str, room: &mut [u8]) -> usize {
    let mut length = 0;
    let mut put = |bytes: &[u8]| {
        room[length..length + bytes.len()].copy_from_slice(bytes);
        length += bytes.len();
    };
    put(b"SIP/2.0 ");
    put(status.as_bytes());
    put(b"\r\n");
    let head = &request[..memmem::find(request, b"\r\n\r\n").unwrap_or(request.len())];
    for line in head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end) {
        let is_kept = [
            &b"Via:"[..],
            b"Record-Route:",
            b"From:",
            b"To:",
            b"Call-ID:",
            b"CSeq:",
        ]
        .iter()
        .any(|name| line.starts_with(name));
        if is_kept {
            put(line);
            put(if line.starts_with(b"To:") {
                b";tag=callee\r\n"
            } else {
                b"\r\n"
            });
        }
    }
    put(b"Content-Length: 0\r\n\r\n");
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARDED: &str = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKnew;x\r\n\
        Via: SIP/2.0/UDP 127.0.2.0:1;branch=z9hG4bK00000001000000ff;rport\r\nMax-Forwards: 69\r\n\
        To: <sip:a@b>\r\nCall-ID: 00000001000000ff@x\r\nP-Asserted-Identity: <sip:c@d>\r\n\r\nbody";

    fn callee() -> Callee {
        Callee::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap()
    }

    #[test]
    fn how_a_call_was_forwarded_is_looked_at() {
        let mut callee = callee();
        assert!(callee.is_well_forwarded(FORWARDED.as_bytes()));
        assert!(!callee.is_well_forwarded(FORWARDED.as_bytes()), "a branch twice");
        for (old, new) in [
            ("Max-Forwards: 69", "Max-Forwards: 70"),
            ("Via: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKnew;x\r\n", ""),
            ("P-Asserted-Identity: <sip:c@d>\r\n", ""),
            ("INVITE ", "ACK "),
        ] {
            let text = FORWARDED
                .replacen(old, new, 1)
                .replacen("bKnew", &format!("bK{}", new.len()), 1);
            assert!(!callee.is_well_forwarded(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_response_has_the_requests_vias() {
        let mut room = [0; 2048];
        let length = respond(FORWARDED.as_bytes(), "200 OK", &mut room);
        let text = std::str::from_utf8(&room[..length]).unwrap();
        assert!(
            text.starts_with("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKnew;x\r\nVia: ")
        );
        assert!(text.ends_with(
            "To: <sip:a@b>;tag=callee\r\nCall-ID: 00000001000000ff@x\r\nContent-Length: 0\r\n\r\n"
        ));
    }
}
