//! One writer and readers at the same time: a reader sees only old or new, and revisions never go back.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use palang_core::clause::trunk_key;
use palang_core::decision::{judge, Identity, Kind, ListView, Revision, TrunkMode, TrunkScope, Verdict};
use palang_core::digest::entry_digest;
use palang_core::draft::Draft;
use palang_core::number::{Number, Subject};
use palang_maps::{Reader, Writer};

const SUBJECT: &str = "+77012345678";
const STEADY: &str = "+77099999999";
const REJECT: &str = "order reject enforce both";

/// Applies revisions of which the `n`th names itself in the subject's policy, and adds or removes a number.
struct Feed {
    writer: Writer,
    lines: std::collections::BTreeMap<String, String>,
}

impl Feed {
    fn open(folder: &Path) -> Feed {
        let writer = Writer::open(&folder.join("live"), &folder.join("state")).unwrap();
        Feed {
            writer,
            lines: Default::default(),
        }
    }

    fn apply(&mut self, changes: &[(String, String)]) -> Revision {
        let mut digest = self.writer.digest();
        for (subject, stack) in changes {
            if let Some(former) = self.lines.remove(subject) {
                digest -= entry_digest(format!("{subject}\t{former}").as_bytes());
            }
            if !stack.is_empty() {
                digest += entry_digest(format!("{subject}\t{stack}").as_bytes());
                self.lines.insert(subject.clone(), stack.clone());
            }
        }
        let next = Revision {
            n: self.writer.revision().n + 1,
            ..self.writer.revision()
        };
        let lines = changes
            .iter()
            .map(|(subject, stack)| format!("{subject}\t{stack}"))
            .collect();
        self.writer.apply(next, lines, digest, 0).unwrap();
        next
    }

    fn step(&mut self) {
        let n = self.writer.revision().n + 1;
        let other = format!("+6281{:07}", n % 700);
        let stack = if n % 3 == 0 { "" } else { REJECT };
        self.apply(&[
            (SUBJECT.into(), format!("noc reject enforce both @r{}", n % 5000)),
            (STEADY.into(), REJECT.into()),
            (other, stack.into()),
        ]);
    }
}

#[test]
fn a_reader_sees_only_old_or_new_and_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut feed = Feed::open(folder.path());
    feed.step();
    let reader = Reader::open(&folder.path().join("live")).unwrap();
    let done = AtomicBool::new(false);
    let seen = AtomicU64::new(0);
    let policy_of = |text: &str| Subject::parse(text).unwrap();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut held = reader.hold();
            let mut last = Revision::default();
            let steady = Identity {
                number: Number::parse(b"77099999999").unwrap(),
                trusted: true,
            };
            let trunk = TrunkScope {
                key: trunk_key("any"),
                mode: TrunkMode::Enforce,
            };
            while !done.load(Ordering::Relaxed) {
                reader.catch_up(&mut held);
                let view = held.view();
                let before = view.revision();
                assert!(before >= last, "{before} after {last}");
                let policy = view
                    .find(policy_of(SUBJECT))
                    .expect("the subject is always there");
                let text = view.record(policy).unwrap().text().unwrap();
                let named: u64 = text.rsplit("@r").next().unwrap().parse().unwrap();
                let after = view.revision();
                // The entry is stored before its revision is named: it may be ahead by the one in the making.
                assert!(
                    (before.n..=after.n + 1).contains(&named),
                    "{before} {named} {after}"
                );
                let judgement = judge(&view, &[steady], &trunk, Kind::Call);
                assert_eq!(judgement.verdict, Verdict::Reject);
                assert!(judgement.revision >= after);
                let (revision, _) = view.published();
                assert!(revision >= after);
                last = revision;
                seen.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                reader.refresh().unwrap();
            }
        });
        let mut sizes = Vec::new();
        while feed.writer.revision().n < 1500 && !worker.is_finished() {
            feed.step();
            sizes.push(feed.writer.sizes().number_slots);
        }
        // Until the worker has looked at what grew.
        while seen.load(Ordering::Relaxed) < 1000 && !worker.is_finished() {
            feed.step();
        }
        done.store(true, Ordering::Relaxed);
        worker.join().unwrap();
        assert!(sizes.iter().max() > sizes.first(), "the table grew meanwhile");
    });
}

#[test]
fn a_reader_holds_no_list_until_there_is_one_and_keeps_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let reader = Reader::open(&live).unwrap();
    assert_eq!(
        (reader.current().number(), reader.current().view().revision()),
        (0, Revision::default())
    );
    assert_eq!(reader.refresh().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let mut feed = Feed::open(folder.path());
    feed.step();
    let mut held = reader.hold();
    assert!(reader.refresh().unwrap());
    assert!(!reader.refresh().unwrap());
    reader.catch_up(&mut held);
    assert_eq!(held.view().revision(), feed.writer.revision());
    feed.writer.heartbeat(77).unwrap();
    assert_eq!(reader.heartbeat(), Some(77));
    drop(feed);
    std::fs::remove_dir_all(&live).unwrap();
    assert!(reader.refresh().is_err());
    assert!(reader
        .current()
        .view()
        .find(Subject::parse(STEADY).unwrap())
        .is_some());
    // Another writer counts generations anew; the reader follows nevertheless.
    let mut feed = Feed::open(folder.path());
    assert!(reader.refresh().unwrap());
    feed.lines = [
        (STEADY, REJECT),
        (SUBJECT, "noc reject enforce both @r1"),
        ("+62810000001", REJECT),
    ]
    .map(|(subject, stack)| (subject.to_owned(), stack.to_owned()))
    .into();
    feed.step();
    assert_eq!(reader.current().view().revision(), Revision { epoch: 1, n: 2 });
}

#[test]
fn a_whole_list_is_seen_at_once_without_a_housekeeper() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let mut writer = Writer::open(&live, &folder.path().join("state")).unwrap();
    let reader = Reader::open(&live).unwrap();
    let mut held = reader.hold();
    for n in 1..200u64 {
        let line = format!("+7701234{n:03}\t{REJECT}");
        let mut draft = Draft::new(0);
        draft.add([line.as_str()].into_iter()).unwrap();
        let digest = draft.digest();
        writer.load(Revision { epoch: 1, n }, draft, digest).unwrap();
        reader.catch_up(&mut held);
        assert_eq!(held.view().revision().n, n);
        assert!(held.view().find(Subject::parse(&line[..11]).unwrap()).is_some());
        if n % 7 == 0 {
            reader.refresh().unwrap();
            assert_eq!(reader.current().view().revision().n, n);
        }
    }
}

#[test]
fn the_first_list_is_seen_at_once_where_a_writer_was_before() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    std::fs::create_dir(&live).unwrap();
    let mut page = b"PALANGC1".to_vec();
    page.resize(4096, 0);
    std::fs::write(live.join("ctl"), page).unwrap();
    let reader = Reader::open(&live).unwrap();
    let mut held = reader.hold();
    assert_eq!(held.number(), 0);
    let writer = Writer::open(&live, &folder.path().join("state")).unwrap();
    reader.catch_up(&mut held);
    assert_eq!(
        (held.number(), held.view().revision()),
        (writer.generation(), writer.revision())
    );
}

#[test]
fn a_damaged_generation_leaves_the_former_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let mut feed = Feed::open(folder.path());
    feed.step();
    let reader = Reader::open(&live).unwrap();
    let before = reader.current().number();
    let mut draft = Draft::new(0);
    draft.add(["+77*\tnoc reject enforce both"].into_iter()).unwrap();
    let digest = draft.digest();
    feed.writer
        .load(Revision { epoch: 1, n: 9 }, draft, digest)
        .unwrap();
    let path = live.join(format!("list.{}", feed.writer.generation()));
    let good = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    for bad in [&b"no list"[..], &good[..good.len() / 2], &[0; 8192]] {
        std::fs::write(&path, bad).unwrap();
        assert!(reader.refresh().is_err());
        assert_eq!(reader.current().number(), before);
    }
    std::fs::write(&path, &good).unwrap();
    assert!(reader.refresh().unwrap());
    assert!(reader
        .current()
        .view()
        .find(Subject::parse("+77*").unwrap())
        .is_some());
}
