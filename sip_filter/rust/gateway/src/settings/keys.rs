//! The keys that all nodes share: one, or a list of up to three, the newest first.

use palang_core::keys::{Keys, MOST_KEYS};
use serde_json::Value;

use super::{string, Wrong};

pub fn read(value: Value, key: String) -> Result<Keys, Wrong> {
    let values = match value {
        Value::Array(values) => values,
        one => vec![one],
    };
    if values.is_empty() || values.len() > MOST_KEYS {
        return Err(format!(
            "{key}: {} keys; 1 to {MOST_KEYS} are possible",
            values.len()
        ));
    }
    let mut found = Vec::new();
    for (i, value) in values.into_iter().enumerate() {
        let bytes = key_bytes(value, format!("{key}[{i}]"))?;
        if found.contains(&bytes) {
            return Err(format!("{key}[{i}]: the same key is there before"));
        }
        found.push(bytes);
    }
    Ok(Keys::of(&found))
}

fn key_bytes(value: Value, key: String) -> Result<[u8; 32], Wrong> {
    // The value is a secret: only its length is told.
    let text = string(value, &key)?;
    let wrong = || {
        format!(
            "{key}: {} characters, or not hex; it must be 64 hex digits",
            text.len()
        )
    };
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}
