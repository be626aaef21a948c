//! The law of the fuzz target, on stable Rust: one damaged file costs no list.

use std::sync::OnceLock;

use proptest::prelude::*;

#[path = "../../fuzz/files.rs"]
mod files;

fn shelf() -> &'static files::Shelf {
    static SHELF: OnceLock<files::Shelf> = OnceLock::new();
    SHELF.get_or_init(files::Shelf::new)
}

#[test]
fn each_file_cut_and_extended() {
    for which in 0..8 {
        for cut in 0..64 {
            shelf().check(&[which, cut * 4]);
            shelf().check(&[which, cut * 4 + 1, cut, which]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_damage_of_one_file(plan in prop::collection::vec(any::<u8>(), 2..20)) {
        shelf().check(&plan);
    }
}
