//! A panic's message may quote a subscriber's number: its place is told, and nothing else.

use std::env;
use std::process::Command;

use palang_gateway::tell_panics_by_place;
use serde_json::Value;

const ASKED: &str = "PALANG_TEST_PANIC";

#[test]
fn a_panic_is_told_by_its_place() {
    if env::var_os(ASKED).is_some() {
        tell_panics_by_place();
        panic!("not a number: +6281234567890");
    }
    let program = env::current_exe().expect("this test is a program");
    let ended = Command::new(program)
        .args(["--exact", "a_panic_is_told_by_its_place", "--nocapture"])
        .env(ASKED, "1")
        .output()
        .expect("it runs again");
    assert!(!ended.status.success());
    let (out, err) = (
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
    assert!(!out.contains("628123") && !err.contains("628123"), "{out}{err}");
    let told: Value = serde_json::from_str(&err).expect("one line of JSON");
    assert_eq!(told["event"], "core.panicked");
    assert!(
        told["place"]
            .as_str()
            .is_some_and(|place| place.contains("panics.rs:")),
        "{told}"
    );
}
