//! `cargo +nightly fuzz run element`: any bytes through the whole element, from every kind of source.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
mod laws;

fuzz_target!(|bytes: &[u8]| {
    static WORLD: OnceLock<laws::World> = OnceLock::new();
    WORLD.get_or_init(laws::World::new).check(bytes);
});
