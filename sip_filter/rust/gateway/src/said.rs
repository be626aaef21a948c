//! What the Rust core says by itself: one event is one line of JSON on stderr, as `agent/logs.py` writes them.

use std::fmt::Display;
use std::io::{stderr, Write};
use std::panic;
use std::sync::Once;
use std::time::SystemTime;

use serde_json::{json, Map, Value};

/// Says that something failed: an event's name, and what more is known of it. No number of a subscriber belongs there.
pub fn say(event: &str, more: &[(&str, &dyn Display)]) {
    // A line that can't be written is lost: nothing here may stop for it.
    let _ = stderr().write_all(line(event, more, SystemTime::now()).as_bytes());
}

/// Has each panic told by its place alone: its message may quote the bytes that it choked on.
pub fn tell_panics_by_place() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|panic| {
            let place = panic.location().map_or_else(String::new, ToString::to_string);
            say("core.panicked", &[("place", &place)]);
        }));
    });
}

fn line(event: &str, more: &[(&str, &dyn Display)], at: SystemTime) -> String {
    let mut told: Map<String, Value> = more
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value.to_string())))
        .collect();
    told.insert("event".into(), json!(event));
    told.insert("level".into(), json!("error"));
    told.insert(
        "timestamp".into(),
        json!(humantime::format_rfc3339_micros(at).to_string()),
    );
    format!("{}\n", Value::Object(told))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    #[test]
    fn an_event_is_one_line_with_its_names_in_order() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_404_360_000_042);
        assert_eq!(
            super::line("node.no_connections", &[("error", &"too many\n\"files\"")], at),
            "{\"error\":\"too many\\n\\\"files\\\"\",\"event\":\"node.no_connections\",\"level\":\"error\",\
             \"timestamp\":\"2026-11-23T03:26:00.000042Z\"}\n"
        );
    }
}
