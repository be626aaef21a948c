//! The laws of reading: the view is what a slow reader finds, who calls does not hang on a message's clothes, and a
//! number is made of the digits that are there. Shared by the fuzz targets and the tests on stable Rust.

use palang_core::decision::Kind;
use palang_core::identity::{callers, Terms};
use palang_core::message::{self, Fault, Message, Name};
use palang_core::plan::{Plan, Reading};

const TERMS: Terms = Terms {
    plan: Plan::International,
    trusted: true,
    rpid: true,
};

/// The view of a message without fault against a reader that copies, joins and splits.
pub fn check_view(bytes: &[u8]) {
    let mut fields = Vec::new();
    let Ok(message) = message::read(bytes, &mut fields) else {
        return;
    };
    let mut at = message.start_end;
    for field in message.fields {
        let [line, value, end, next] = [field.line, field.value, field.end, field.next].map(usize::from);
        assert!(at <= line && line < value && value <= end && end < next && next <= message.raw.len());
        at = next;
    }
    assert!(message.end() <= message.raw.len());
    if message.fault.is_some() {
        return;
    }
    let seen: Vec<_> = message
        .fields
        .iter()
        .map(|field| {
            let name = &message.raw[usize::from(field.line)..usize::from(field.value) - 1];
            (plain(&text(name)), plain(&text(message.value(field))))
        })
        .collect();
    assert_eq!(seen, slow_fields(message.raw));
}

/// Names and values as a person would find them: lines are split, folds joined, colons cut at.
fn slow_fields(raw: &[u8]) -> Vec<(String, String)> {
    let text = text(raw).replace("\r\n", "\n");
    let head = text.split("\n\n").next().unwrap_or_default();
    let head = head.replace("\n ", "  ").replace("\n\t", "  ");
    let lines = head.lines().skip(1).filter(|line| !line.is_empty());
    let pairs = lines.filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (plain(name), plain(value))).collect()
}

/// White space does not tell two values apart here.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_whitespace()).collect()
}

/// Each byte as a character of its own.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// The same callers in other clothes, and among decoys.
pub fn check_identity(bytes: &[u8]) {
    let mut fields = Vec::new();
    let Ok(message) = message::read(bytes, &mut fields) else {
        return;
    };
    if message.fault.is_some() {
        return;
    }
    let other = dressed(&message);
    let mut other_fields = Vec::new();
    let dressed = message::read(&other, &mut other_fields).expect("the same message");
    if dressed.fault == Some(Fault::TooLarge) {
        return;
    }
    assert_eq!(dressed.fault, None, "{}", other.escape_ascii());
    for kind in [Kind::Call, Kind::Message] {
        let found = |message: &Message<'_>| {
            let found = callers(message, kind, &TERMS, &mut ())?;
            let numbers = found.as_slice().iter().map(|caller| caller.number.to_string());
            Ok::<_, Fault>(numbers.collect::<Vec<_>>())
        };
        let numbers = found(&message);
        assert_eq!(found(&dressed), numbers, "{}", other.escape_ascii());
    }
}

/// Compact or shouted names, folds and tabs at the colon, and fields that name somebody else.
fn dressed(message: &Message<'_>) -> Vec<u8> {
    let mut out = message.raw[..message.start_end].to_vec();
    let end = message.line_end;
    for field in message.fields {
        let (line, value) = (usize::from(field.line), usize::from(field.value));
        let name = message.raw[line..value - 1].trim_ascii();
        match field.name {
            Name::From => out.push(b'F'),
            Name::To => out.push(b't'),
            _ => out.extend(name.iter().map(u8::to_ascii_uppercase)),
        }
        out.extend_from_slice(b"\t :");
        // A first line of nothing is a fold like any other.
        out.extend_from_slice(end);
        out.push(b' ');
        out.extend_from_slice(message.value(field));
        out.extend_from_slice(end);
        for decoy in ["X-P-Asserted-Identity", "Contact", "Diversion", "Froms"] {
            out.extend_from_slice(decoy.as_bytes());
            out.extend_from_slice(b": <sip:+99901234567@decoy.example>");
            out.extend_from_slice(end);
        }
    }
    out.extend_from_slice(end);
    out.extend_from_slice(message.body);
    out
}

/// What any text comes to in each plan.
pub fn check_number(text: &[u8]) {
    for plan in [Plan::International, Plan::IdNational] {
        let read = |text: &[u8]| plan.read(text, None, &mut ());
        let Reading::Number(number) = read(text) else {
            continue;
        };
        let canonical = number.to_string();
        let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
        let own = canonical.trim_start_matches('+');
        let national = own.strip_prefix("62").unwrap_or(own);
        assert!(
            digits.ends_with(own.as_bytes()) || digits.ends_with(national.as_bytes()),
            "{canonical} from {}",
            text.escape_ascii()
        );
        assert_eq!(read(canonical.as_bytes()), Reading::Number(number));
        // Separators say nothing, wherever they stand.
        let spread: Vec<u8> = text
            .iter()
            .flat_map(|b| [*b, b"-.() "[usize::from(*b) % 5]])
            .collect();
        assert_eq!(
            read(&spread),
            Reading::Number(number),
            "{}",
            spread.escape_ascii()
        );
        if let Some(form) = plan.national_form(number) {
            assert_eq!(read(form.as_bytes()), Reading::Number(number));
        }
    }
}
