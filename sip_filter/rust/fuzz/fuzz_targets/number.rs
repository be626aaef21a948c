//! `cargo +nightly fuzz run number`: any text as a number, in both plans.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../reading.rs"]
#[allow(dead_code)] // Each target checks one of its laws.
mod reading;

fuzz_target!(|bytes: &[u8]| reading::check_number(bytes));
