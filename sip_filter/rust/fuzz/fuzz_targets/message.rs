//! `cargo +nightly fuzz run message`: any bytes as a message, its view against a slow reader.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../reading.rs"]
#[allow(dead_code)] // Each target checks one of its laws.
mod reading;

fuzz_target!(|bytes: &[u8]| reading::check_view(bytes));
