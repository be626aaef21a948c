//! `cargo +nightly fuzz run frame`: any stream, in pieces whose size its first byte says.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../framing.rs"]
mod framing;

fuzz_target!(|bytes: &[u8]| {
    if let [size, stream @ ..] = bytes {
        framing::check(stream, usize::from(*size));
    }
});
