//! `cargo +nightly fuzz run list`: a node's files, one of them damaged in any way.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

#[path = "../files.rs"]
mod files;

fuzz_target!(|plan: &[u8]| {
    static SHELF: OnceLock<files::Shelf> = OnceLock::new();
    SHELF.get_or_init(files::Shelf::new).check(plan);
});
