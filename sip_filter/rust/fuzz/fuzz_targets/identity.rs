//! `cargo +nightly fuzz run identity`: any message in other clothes and among decoys: the same callers.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../reading.rs"]
#[allow(dead_code)] // Each target checks one of its laws.
mod reading;

fuzz_target!(|bytes: &[u8]| reading::check_identity(bytes));
