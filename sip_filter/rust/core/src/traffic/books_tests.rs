use super::*;
use crate::clause::{trunk_key, Kinds};
use crate::course::Key;
use crate::number::Subject;

const NOON: u64 = 1_800_000_000_000;
const TRUNKS: [&str; 2] = ["intl-a", "intl-b"];

fn sketch_key() -> SketchKey {
    SketchKey::of(&Key::new(&[7; 32]))
}

fn books() -> Books {
    let mut books = Books::open(sketch_key(), 1, NOON);
    books.know(TRUNKS.map(|name| (trunk_key(name), name)));
    books
}

/// A call that came `now` milliseconds after noon.
fn call(now: u64, caller: u64) -> Record {
    Record {
        now,
        trunk: trunk_key("intl-a"),
        transaction: (caller + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        caller,
        callee: 6_281_000_000_000 + caller % 1_000,
        what: What::Call,
        rejected: false,
        shadowed: false,
        followed: true,
        trusted: true,
    }
}

fn event(now: u64, of: &Record, what: What) -> Record {
    Record { now, what, ..*of }
}

/// Folds at the moment of the youngest, as it happens.
fn fold(books: &mut Books, records: &[Record]) {
    let now = records.iter().map(|record| record.now).max().unwrap_or(0);
    books.fold(records, now, NOON + now);
}

fn settle(books: &mut Books, now: u64) {
    books.settle(now, NOON + now);
}

type Line = (u64, String, String, Figures);

fn lines(rows: &[ToldRow]) -> Vec<Line> {
    let mut lines: Vec<Line> = rows
        .iter()
        .map(|row| {
            (
                row.minute - NOON / MINUTE,
                row.trunk.to_string(),
                row.key.clone(),
                row.figures,
            )
        })
        .collect();
    lines.sort();
    lines
}

fn line(minute: u64, trunk: &str, key: &str, figures: Figures) -> Line {
    (minute, trunk.to_owned(), key.to_owned(), figures)
}

fn watch(id: &str, subject: &str, except: &[&str]) -> Watch {
    Watch {
        id: id.into(),
        subject: Subject::parse(subject).unwrap(),
        except: except.iter().map(|text| Subject::parse(text).unwrap()).collect(),
        trunks: Vec::new(),
        kinds: Kinds::Both,
    }
}

#[test]
fn what_comes_is_counted_by_minute_trunk_and_four_digits() {
    let mut books = books();
    let rejected = Record {
        rejected: true,
        followed: false,
        ..call(2, 77_010_000_001)
    };
    let message = Record {
        what: What::Message,
        shadowed: true,
        trunk: trunk_key("intl-b"),
        ..call(3, 77_019_999_999)
    };
    let foreign = Record {
        trunk: trunk_key("nobody"),
        ..call(3, 77_010_000_003)
    };
    let later = call(61_000, 77_010_000_001);
    fold(
        &mut books,
        &[call(1, 77_010_000_000), rejected, message, call(4, 0), foreign],
    );
    fold(&mut books, &[later]);
    settle(&mut books, 60_900);
    assert_eq!(lines(&books.tell(0).rows), []);
    settle(&mut books, 61_001);
    let told = books.tell(0);
    let closed = [
        line(0, "intl-a", "", [1, 0, 0, 0, 0, 0, 0]),
        line(0, "intl-a", "7701", [2, 0, 1, 0, 0, 0, 0]),
        line(0, "intl-b", "7701", [0, 1, 0, 1, 0, 0, 0]),
    ];
    assert_eq!(lines(&told.rows), closed);
    assert_eq!(
        lines(&told.open),
        [line(1, "intl-a", "7701", [1, 0, 0, 0, 0, 0, 0])]
    );
    assert_eq!((told.kept_from, told.closed_to), (NOON / MINUTE, NOON / MINUTE));
    assert_eq!((told.next, told.lost.records, told.began), (None, 1, NOON));
    assert_eq!(books.tell(NOON / MINUTE).rows, []);
}

#[test]
fn what_becomes_of_a_call_counts_when_it_happens_and_in_any_order_of_threads() {
    let mut books = books();
    let (answered, brief, late, silent) = (
        call(59_000, 77_010_000_000),
        call(59_000, 77_020_000_000),
        call(59_000, 77_030_000_000),
        call(59_000, 77_040_000_000),
    );
    // One thread hands in what the switch said before another hands in the calls.
    let said = [
        event(60_400, &answered, What::Answered),
        event(59_200, &answered, What::Rang),
        event(59_300, &brief, What::Rang),
        event(59_300, &late, What::Rang),
        event(59_900, &silent, What::Cancelled),
        event(64_300, &brief, What::Cancelled),
        event(64_301, &late, What::Cancelled),
    ];
    fold(&mut books, &said[..5]);
    settle(&mut books, 59_450);
    fold(&mut books, &[answered, brief, late, silent]);
    settle(&mut books, 60_900);
    fold(&mut books, &said[5..]);
    settle(&mut books, 64_602);
    let told = books.tell(0);
    let minute = |key: &str, figures| line(0, "intl-a", key, figures);
    assert_eq!(
        lines(&told.rows),
        [
            minute("7701", [1, 0, 0, 0, 1, 0, 0]),
            minute("7702", [1, 0, 0, 0, 1, 0, 0]),
            minute("7703", [1, 0, 0, 0, 1, 0, 0]),
            minute("7704", [1, 0, 0, 0, 0, 0, 0]),
        ]
    );
    assert_eq!(
        lines(&told.open),
        [
            line(1, "intl-a", "7701", [0, 0, 0, 0, 0, 1, 0]),
            line(1, "intl-a", "7702", [0, 0, 0, 0, 0, 0, 1]),
        ]
    );
}

#[test]
fn a_watch_counts_what_its_rule_would_touch() {
    let mut books = books();
    let only = Watch {
        trunks: vec![trunk_key("intl-b")],
        kinds: Kinds::Message,
        ..watch("r3", "+77*", &[])
    };
    let watches = vec![
        watch("r1", "+77*", &["+7701*", "+77020000001"]),
        watch("r2", "+77020000001", &[]),
        only,
    ];
    books.watch(watches, NOON).unwrap();
    let excused = call(1, 77_010_000_000);
    let untrusted = Record {
        trusted: false,
        ..call(2, 77_010_000_001)
    };
    let text = Record {
        what: What::Message,
        trunk: trunk_key("intl-b"),
        followed: false,
        ..call(3, 77_030_000_000)
    };
    // It counts under its first number, and for a watch on the second.
    let two = call(4, 62_811_000_000);
    let second = Record {
        what: What::Also,
        caller: 77_040_000_000,
        ..two
    };
    let third = Record {
        caller: 77_050_000_000,
        ..second
    };
    fold(
        &mut books,
        &[
            excused,
            untrusted,
            text,
            two,
            second,
            third,
            call(5, 77_020_000_001),
        ],
    );
    fold(&mut books, &[event(10, &two, What::Rang)]);
    settle(&mut books, 400);
    let told = books.tell(0);
    let expected = [
        line(0, "intl-a", "6281", [1, 0, 0, 0, 1, 0, 0]),
        line(0, "intl-a", "7701", [2, 0, 0, 0, 0, 0, 0]),
        line(0, "intl-a", "7702", [1, 0, 0, 0, 0, 0, 0]),
        line(0, "intl-a", "r1", [2, 0, 0, 0, 1, 0, 0]),
        line(0, "intl-a", "r2", [1, 0, 0, 0, 0, 0, 0]),
        line(0, "intl-b", "7703", [0, 1, 0, 0, 0, 0, 0]),
        line(0, "intl-b", "r1", [0, 1, 0, 0, 0, 0, 0]),
        line(0, "intl-b", "r3", [0, 1, 0, 0, 0, 0, 0]),
    ];
    assert_eq!(lines(&told.open), expected);
    assert_eq!(
        told.watching,
        [("r1", NOON), ("r2", NOON), ("r3", NOON)].map(|(id, at)| (id.to_owned(), at))
    );

    // r1 stays; r2 becomes another rule and begins anew; r3 is gone, with what was counted for it.
    let again = vec![
        watch("r1", "+77*", &["+7701*", "+77020000001"]),
        watch("r2", "+6281*", &[]),
    ];
    books.watch(again, NOON + 9_000).unwrap();
    fold(&mut books, &[call(9_100, 62_811_000_000)]);
    let told = books.tell(0);
    let of_watches: Vec<_> = lines(&told.open)
        .into_iter()
        .filter(|line| line.2.starts_with('r'))
        .collect();
    let expected = [
        line(0, "intl-a", "r1", [2, 0, 0, 0, 1, 0, 0]),
        line(0, "intl-a", "r2", [1, 0, 0, 0, 0, 0, 0]),
        line(0, "intl-b", "r1", [0, 1, 0, 0, 0, 0, 0]),
    ];
    assert_eq!(of_watches, expected);
    assert_eq!(told.watching[1], ("r2".to_owned(), NOON + 9_000));
}

#[test]
fn bad_watches_change_nothing() {
    let mut books = books();
    books.watch(vec![watch("r1", "+77*", &[])], NOON).unwrap();
    let many = (0..4_097).map(|i| watch(&format!("r{i}"), "+77*", &[]));
    let exceptions: Vec<String> = (0..1_025).map(|i| format!("+7701{i:04}*")).collect();
    let exceptions: Vec<&str> = exceptions.iter().map(String::as_str).collect();
    for watches in [
        many.collect(),
        vec![watch("7701", "+77*", &[])],
        vec![watch("", "+77*", &[])],
        vec![watch("r 1", "+77*", &[])],
        vec![watch("r1", "+77*", &[]), watch("r1", "+78*", &[])],
        vec![watch("r1", "+77*", &exceptions)],
    ] {
        assert!(books.watch(watches, NOON + 1).is_err());
        assert_eq!(books.tell(0).watching, [("r1".to_owned(), NOON)]);
    }
}

#[test]
fn rooms_are_bounded_and_what_is_lost_is_told() {
    let mut books = books();
    books.most_sketch_bytes = 10_000;
    let calls: Vec<Record> = (0..200u64).map(|i| call(i, (1_000 + i) * 10_000_000)).collect();
    fold(&mut books, &calls);
    let lost = books.lost().sketches;
    assert!(
        lost > 0 && books.sketch_bytes < 10_000 + 200,
        "{}",
        books.sketch_bytes
    );
    let told = books.sketches(NOON / MINUTE / 60, None);
    let held: f64 = told
        .pairs
        .iter()
        .map(|pair| pair.callers.estimate().round())
        .sum();
    assert_eq!((held as u64 + lost / 2, told.lost.sketches), (200, lost));
    // Counts are another matter: all of them are there.
    assert_eq!(books.tell(0).open.len(), 200);
    // An hour later the old ones make room.
    let later = 3_600_000;
    books.fold(&[call(later, 77_010_000_000)], later, NOON + later);
    assert_eq!(books.lost().sketches, lost);
    let told = books.sketches(NOON / MINUTE / 60, None);
    assert!(told.pairs.is_empty() && told.kept_from == NOON / MINUTE / 60 + 1);

    // Calls for one request are counted for so many watches.
    let watches = (0..40).map(|i| watch(&format!("r{i}"), "+77*", &[]));
    books.watch(watches.collect(), NOON).unwrap();
    books.fold(&[call(later, 77_010_000_000)], later, NOON + later);
    assert_eq!(books.lost().watches, 8);
}

#[test]
fn answers_are_cut_between_minutes_and_between_sketches() {
    let mut books = books();
    for minute in 0..5 {
        let calls = (0..8_000).map(|i| call(minute * MINUTE, (1_000 + i) * 10_000_000));
        fold(&mut books, &calls.collect::<Vec<_>>());
        settle(&mut books, minute * MINUTE + GRACE);
    }
    let (mut after, mut rows, mut answers) = (0, Vec::new(), 0);
    loop {
        let told = books.tell(after);
        assert!(told.rows.len() + told.open.len() <= MOST_TOLD);
        rows.extend(told.rows);
        answers += 1;
        match told.next {
            Some(next) => after = next,
            None => {
                assert_eq!(told.open.len(), 8_000);
                break;
            }
        }
    }
    assert_eq!((rows.len(), answers), (32_000, 2));
    let hour = NOON / MINUTE / 60;
    let (mut after, mut keys, mut answers) = (None, Vec::new(), 0);
    loop {
        let told = books.sketches(hour, after);
        keys.extend(told.pairs.into_iter().map(|pair| pair.key));
        answers += 1;
        match told.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let expected: Vec<String> = (1_000..9_000).map(|key| key.to_string()).collect();
    assert_eq!(keys, expected);
    assert_eq!(answers, 2);
    assert!(books.sketches(u64::MAX, None).pairs.is_empty());
}

#[test]
fn sketches_live_two_hours_more() {
    let mut books = books();
    let hour = NOON / MINUTE / 60;
    let minutes = |hours: u64| hours * 3_600_000;
    for at in 0..4 {
        fold(&mut books, &[call(minutes(at), 77_010_000_000)]);
        settle(&mut books, minutes(at) + GRACE);
    }
    let told = books.sketches(hour, None);
    assert!(told.pairs.is_empty() && !told.open && told.kept_from == hour + 1);
    assert!((1..4).all(|at| books.sketches(hour + at, None).pairs.len() == 1));
    assert!(books.sketches(hour + 3, None).open && !books.sketches(hour + 2, None).open);
}

#[test]
fn a_clock_that_is_put_back_and_another_key_begin_anew() {
    let mut books = books();
    books.watch(vec![watch("r1", "+77*", &[])], NOON).unwrap();
    fold(&mut books, &[call(1, 77_010_000_000)]);
    books.settle(2, NOON - 60_000);
    assert_eq!(
        (books.tell(0).run, books.tell(0).open.len()),
        (1, 2),
        "a little is nothing"
    );
    books.settle(3, NOON - BACK - 1);
    let told = books.tell(0);
    assert!(told.run != 1 && told.open.is_empty() && told.watching.len() == 1);
    books.fold(&[call(4, 77_010_000_000)], 4, NOON - BACK);
    assert_eq!(books.tell(0).open.len(), 2);
    let run = books.tell(0).run;
    books.set_key(sketch_key(), NOON);
    assert_eq!(books.tell(0).run, run);
    books.set_key(SketchKey::of(&Key::new(&[8; 32])), NOON);
    assert!(books.tell(0).run != run && books.tell(0).open.is_empty());
}
