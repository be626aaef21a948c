//! Who calls: the numbers that a request gives for its sender, and only those that a switch would show.
//!
//! For a call: every value of P-Asserted-Identity, From, and Remote-Party-ID by option. For a short message: the
//! senders that its body names ([`crate::originator`]), else the same. Never Contact,
//! Diversion, History-Info, the display name, a password, `rn` or the callee: those are decoys.

use crate::decision::{Identity, Kind};
use crate::message::{Fault, Message, Name};
use crate::number::Number;
use crate::originator;
use crate::plan::{self, Plan, Reading, Trace};
use crate::scan::find;
use crate::uri::{self, Scheme, Uri};

/// Values read per request. RFC 3325 §9.1 allows two; more than this is refused, since the rest would go unjudged.
pub const MOST: usize = 16;

/// How a trunk's identities are taken.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub plan: Plan,
    pub trusted: bool,
    pub rpid: bool,
}

/// The numbers found, each once.
#[derive(Clone, Copy, Debug)]
pub struct Callers {
    items: [Identity; MOST],
    length: usize,
    values: usize,
    /// Values meant as numbers that are none in the trunk's plan.
    pub unreadable: usize,
}

/// The callers of a request.
///
/// Err: more values than are read.
pub fn callers(
    message: &Message<'_>,
    kind: Kind,
    terms: &Terms,
    trace: &mut impl Trace,
) -> Result<Callers, Fault> {
    let mut callers = Callers::none();
    if kind == Kind::Message {
        let mut most = Ok(());
        originator::read(message, terms.plan, trace, |reading| {
            most = most.and(callers.count());
            if most.is_ok() {
                callers.take(reading, terms);
            }
        })?;
        most?;
        if callers.length > 0 {
            return Ok(callers);
        }
    }
    for value in message.values(Name::AssertedIdentity) {
        trace.step(|| format!("P-Asserted-Identity: {}", value.escape_ascii()));
        callers.read_value(value, terms, trace)?;
    }
    trace.step(|| format!("From: {}", message.from.uri.escape_ascii()));
    callers.read_uri(message.from.uri, terms, trace)?;
    if terms.rpid {
        for value in message.values(Name::RemotePartyId) {
            trace.step(|| format!("Remote-Party-ID: {}", value.escape_ascii()));
            let party = uri::name_addr(value)
                .and_then(|address| uri::param(address.params, b"party"))
                .flatten();
            if party.is_some_and(|party| party.eq_ignore_ascii_case(b"called")) {
                trace.step(|| "party=called: the callee, not the caller".to_owned());
                continue;
            }
            callers.read_value(value, terms, trace)?;
        }
    }
    Ok(callers)
}

/// Whether a request goes to a protected callee: an emergency service, or one of the short codes.
///
/// Only the Request-URI says so, and only without parameters that would route elsewhere (`rn`, RFC 4694).
pub fn is_protected(message: &Message<'_>, codes: &[Box<[u8]>]) -> bool {
    message
        .target
        .is_some_and(|target| is_protected_uri(&target, codes))
}

/// The same for a callee known otherwise: a URI, or digits as dialled.
pub fn is_protected_callee(target: &[u8], codes: &[Box<[u8]>]) -> bool {
    match uri::read(target) {
        Some(uri) => is_protected_uri(&uri, codes),
        None => is_code(target, codes),
    }
}

fn is_code(user: &[u8], codes: &[Box<[u8]>]) -> bool {
    let user = user.strip_prefix(b"+62").unwrap_or(user);
    codes.iter().any(|code| **code == *user)
}

fn is_protected_uri(target: &Uri<'_>, codes: &[Box<[u8]>]) -> bool {
    match target.scheme {
        Scheme::Urn => {
            // RFC 5031: urn:service:sos and its sub-services, in any case.
            let service = b"service:sos";
            target.user.len() >= service.len()
                && target.user[..service.len()].eq_ignore_ascii_case(service)
                && matches!(target.user.get(service.len()), None | Some(b'.'))
        }
        Scheme::Sip | Scheme::Sips | Scheme::Tel => {
            let mut space = [0; 64];
            let Some(user) = uri::unescape(target.user, &mut space) else {
                return false;
            };
            is_code(user, codes)
                && uri::Params::new(target.user_params)
                    .all(|param| param.name.eq_ignore_ascii_case(b"phone-context"))
        }
        Scheme::Im | Scheme::Other => false,
    }
}

impl Callers {
    /// The callers whose numbers are given as the trunk writes them.
    ///
    /// Err: more values than are read.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a [u8]>, terms: &Terms) -> Result<Callers, Fault> {
        let mut callers = Callers::none();
        for text in texts {
            callers.count()?;
            callers.take(terms.plan.read(text, None, &mut ()), terms);
        }
        Ok(callers)
    }

    pub(crate) fn none() -> Callers {
        let nobody = Identity {
            number: Number::from_value(1_000_000).expect("seven digits"),
            trusted: false,
        };
        Callers {
            items: [nobody; MOST],
            length: 0,
            values: 0,
            unreadable: 0,
        }
    }

    pub fn as_slice(&self) -> &[Identity] {
        &self.items[..self.length]
    }

    /// One value of an identity header field.
    fn read_value(&mut self, value: &[u8], terms: &Terms, trace: &mut impl Trace) -> Result<(), Fault> {
        if let Some(address) = uri::name_addr(value) {
            return self.read_uri(address.uri, terms, trace);
        }
        // Quotes that never close: readers differ in where the address begins, so every bracket counts.
        trace.step(|| "quotes or brackets don't balance: every <…> is read".to_owned());
        let mut rest = value;
        let mut found = false;
        while let Some(open) = rest.iter().position(|b| *b == b'<') {
            rest = &rest[open + 1..];
            let close = rest
                .iter()
                .position(|b| matches!(b, b'<' | b'>'))
                .unwrap_or(rest.len());
            self.read_uri(uri::trim(&rest[..close]), terms, trace)?;
            found = true;
        }
        self.unreadable += usize::from(!found);
        Ok(())
    }

    fn read_uri(&mut self, text: &[u8], terms: &Terms, trace: &mut impl Trace) -> Result<(), Fault> {
        self.count()?;
        let reading = read_uri(text, terms.plan, trace);
        self.take(reading, terms);
        Ok(())
    }

    /// One value more.
    fn count(&mut self) -> Result<(), Fault> {
        self.values += 1;
        match self.values > MOST {
            true => Err(Fault::Identities),
            false => Ok(()),
        }
    }

    fn take(&mut self, reading: Reading, terms: &Terms) {
        match reading {
            Reading::Number(number) if self.as_slice().iter().all(|known| known.number != number) => {
                self.items[self.length] = Identity {
                    number,
                    trusted: terms.trusted,
                };
                self.length += 1;
            }
            Reading::Unreadable => self.unreadable += 1,
            Reading::Number(_) | Reading::Name => {}
        }
    }
}

/// The number in a URI.
pub fn read_uri(text: &[u8], plan: Plan, trace: &mut impl Trace) -> Reading {
    let (user, params) = match uri::read_user_info(text) {
        Some(parts) => parts,
        None => match read_other(text, trace) {
            Ok(parts) => parts,
            Err(reading) => return reading,
        },
    };
    if let Some(number) = plan::plain(user) {
        // As nearly all come: nothing to decode.
        trace.step(|| format!("user part \"{}\"", user.escape_ascii()));
        trace.step(|| format!("E.164 {number}"));
        return Reading::Number(number);
    }
    let mut space = [0; 64];
    let Some(plain) = uri::unescape(user, &mut space) else {
        // A bad escape in a name is no attempt at a number; one among digits is.
        trace.step(|| {
            format!(
                "\"{}\": a bad escape, or longer than any number",
                user.escape_ascii()
            )
        });
        let numeric = matches!(user.first(), Some(b'0'..=b'9' | b'+' | b'%'));
        return if numeric {
            Reading::Unreadable
        } else {
            Reading::Name
        };
    };
    trace.step(|| format!("user part \"{}\"", plain.escape_ascii()));
    let mut context_space = [0; 64];
    let context = uri::param(params, b"phone-context")
        .flatten()
        .and_then(|context| uri::unescape(context, &mut context_space));
    plan.read(plain, context, trace)
}

/// User and its parameters of a URI that is not as nearly all are.
///
/// Err: there is none, and what that means.
fn read_other<'a>(text: &'a [u8], trace: &mut impl Trace) -> Result<(&'a [u8], &'a [u8]), Reading> {
    match uri::read(text) {
        Some(uri) if matches!(uri.scheme, Scheme::Urn | Scheme::Other) => {
            trace.step(|| "a scheme that carries no number".to_owned());
            Err(Reading::Name)
        }
        // A tel URI has no host: where one stands all the same, it is read as the others are.
        Some(uri) if !uri.user.is_empty() && find(text, b'@').is_none() => Ok((uri.user, uri.user_params)),
        uri => uri::read_user(text).ok_or_else(|| match uri {
            Some(_) => Reading::Name,
            None => {
                trace.step(|| "not a URI whose parts can be told apart".to_owned());
                Reading::Unreadable
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_short_way_to_a_user_is_the_long_one(text in "(sip|SIPS|im|tel|x|):?[+0-9a@;:?%\\[ ]{0,12}@?[a;:?@]{0,4}") {
            if let Some(parts) = uri::read_user_info(text.as_bytes()) {
                prop_assert_eq!(read_other(text.as_bytes(), &mut ()), Ok(parts));
            }
        }
    }

    fn read(head: &str, body: &[u8], kind: Kind) -> Vec<String> {
        let method = if kind == Kind::Call { "INVITE" } else { "MESSAGE" };
        let mut raw = format!(
            "{method} sip:1@x SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nTo: <sip:1@x>\r\n\
             Call-ID: 1\r\nCSeq: 1 {method}\r\n{head}\r\n\r\n"
        )
        .into_bytes();
        raw.extend_from_slice(body);
        let mut fields = Vec::new();
        let message = message::read(&raw, &mut fields).unwrap();
        assert_eq!(message.fault, None, "{head}");
        let terms = Terms {
            plan: Plan::International,
            trusted: true,
            rpid: true,
        };
        let callers = callers(&message, kind, &terms, &mut ()).unwrap();
        callers
            .as_slice()
            .iter()
            .map(|identity| identity.number.to_string())
            .collect()
    }

    #[test]
    fn every_asserted_value_and_from_and_rpid() {
        let head = "From: <sip:+6281@x>;tag=1\r\nP-Asserted-Identity : \"a, <sip:+999@x>\" <sip:+77010000001@x>,\r\n \
                    <tel:+7-701-000-0002>\r\np-asserted-identity: sip:+77010000003@x\r\n\
                    Remote-Party-ID: <sip:+77010000004@x>;party=calling, <sip:+77010000005@x>;party=called";
        let numbers = ["+77010000001", "+77010000002", "+77010000003", "+77010000004"];
        assert_eq!(read(head, b"", Kind::Call), numbers);
    }
}
