//! Files that were damaged while nobody ran: whatever byte is wrong and wherever a file is cut, a start gives a list
//! that was once in force, whole, and goes on from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use palang_core::clause::trunk_key;
use palang_core::decision::{judge, Identity, Kind, ListView, Revision, TrunkMode, TrunkScope, Verdict};
use palang_core::digest::{entry_digest, Digest};
use palang_core::draft::Draft;
use palang_core::number::Number;
use palang_maps::{Origin, Reader, Writer};
use proptest::prelude::*;

type Lines = BTreeMap<String, String>;

/// A node's folders as a closed writer left them, and every list that was ever in force.
struct Node {
    folder: tempfile::TempDir,
    history: BTreeMap<u64, Lines>,
}

impl Node {
    /// Two snapshots, a log after each, stacks with times, prefixes, deletions.
    fn new() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = open(folder.path());
        let mut history = BTreeMap::from([(0, Lines::new())]);
        let mut lines: Lines = (0..300).map(|index| entry(index, "order")).collect();
        lines.insert("+77*".into(), "noc reject enforce both".into());
        load(&mut writer, 1, &lines);
        history.insert(1, lines.clone());
        for n in 2..14 {
            let changes: Lines = (0..5)
                .map(|index| entry(n * 31 % 300 + index * 7, if n % 3 == 0 { "" } else { "noc" }))
                .chain([(format!("+62{n}*"), "noc label shadow call".into())])
                .collect();
            apply(&mut writer, n, &mut lines, &changes);
            history.insert(n, lines.clone());
            if n == 5 || n == 9 {
                writer.checkpoint().unwrap();
            }
        }
        Node { folder, history }
    }
}

fn entry(index: u64, authority: &str) -> (String, String) {
    let stack = match (authority, index % 3) {
        ("", _) => String::new(),
        (authority, 0) => format!("{authority} reject enforce both until={}", 5_000 + index),
        (authority, _) => format!("{authority} reject enforce both"),
    };
    (format!("+6281230{index:05}"), stack)
}

fn open(folder: &Path) -> Writer {
    Writer::open(&folder.join("live"), &folder.join("state")).unwrap()
}

fn load(writer: &mut Writer, n: u64, lines: &Lines) {
    let texts = texts(lines);
    let mut draft = Draft::new(NOW);
    draft.add(texts.iter().map(String::as_str)).unwrap();
    let digest = draft.digest();
    writer.load(Revision { epoch: 1, n }, draft, digest).unwrap();
}

fn apply(writer: &mut Writer, n: u64, lines: &mut Lines, changes: &Lines) {
    for (subject, stack) in changes {
        match stack.is_empty() {
            true => lines.remove(subject),
            false => lines.insert(subject.clone(), stack.clone()),
        };
    }
    let digest = digest(lines);
    let revision = Revision { epoch: 1, n };
    let changes = changes
        .iter()
        .map(|(subject, stack)| format!("{subject}\t{stack}"));
    writer.apply(revision, changes.collect(), digest, NOW).unwrap();
}

fn texts(lines: &Lines) -> Vec<String> {
    lines
        .iter()
        .map(|(subject, stack)| format!("{subject}\t{stack}"))
        .collect()
}

fn digest(lines: &Lines) -> Digest {
    let mut digest = Digest::default();
    texts(lines)
        .iter()
        .for_each(|line| digest += entry_digest(line.as_bytes()));
    digest
}

/// What may have happened to a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Place, u8),
    Cut(Place),
    Zeroes(Place),
    More(Vec<u8>),
    Gone,
}

impl Damage {
    fn any() -> impl Strategy<Value = Damage> {
        prop_oneof![
            4 => (Place::any(), 1..=255u8).prop_map(|(place, bits)| Damage::Flip(place, bits)),
            3 => Place::any().prop_map(Damage::Cut),
            1 => Place::any().prop_map(Damage::Zeroes),
            1 => proptest::collection::vec(any::<u8>(), 1..50).prop_map(Damage::More),
            1 => Just(Damage::Gone),
        ]
    }

    fn strike(&self, path: &Path) {
        let mut bytes = std::fs::read(path).unwrap();
        match self {
            Damage::Flip(place, bits) => {
                if let Some(byte) = place.of(&bytes).and_then(|at| bytes.get_mut(at)) {
                    *byte ^= bits;
                }
            }
            Damage::Cut(place) => bytes.truncate(place.of(&bytes).unwrap_or(0)),
            Damage::Zeroes(place) => {
                let at = place.of(&bytes).unwrap_or(0);
                bytes.iter_mut().skip(at).take(4096).for_each(|byte| *byte = 0);
            }
            Damage::More(more) => bytes.extend(more),
            Damage::Gone => return std::fs::remove_file(path).unwrap(),
        }
        std::fs::write(path, bytes).unwrap();
    }
}

/// A byte of a file. Most bytes of an image are zero and told apart by nothing, so the others are hit as often.
#[derive(Clone, Debug)]
enum Place {
    Head(prop::sample::Index),
    Written(prop::sample::Index),
    Anywhere(prop::sample::Index),
}

impl Place {
    fn any() -> impl Strategy<Value = Place> {
        prop_oneof![
            any::<prop::sample::Index>().prop_map(Place::Head),
            any::<prop::sample::Index>().prop_map(Place::Written),
            any::<prop::sample::Index>().prop_map(Place::Anywhere),
        ]
    }

    fn of(&self, bytes: &[u8]) -> Option<usize> {
        let written = bytes.iter().enumerate().filter(|(_, &byte)| byte != 0);
        let (at, among): (_, Vec<usize>) = match self {
            Place::Head(at) => (at, (0..bytes.len().min(200)).collect()),
            Place::Written(at) => (at, written.map(|(at, _)| at).collect()),
            Place::Anywhere(at) => (at, (0..bytes.len()).collect()),
        };
        (!among.is_empty()).then(|| *at.get(&among))
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["live", "state"]
        .iter()
        .flat_map(|part| std::fs::read_dir(folder.join(part)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for path in files(from) {
        let target = to.path().join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&path, target).unwrap();
    }
    to
}

fn verdict(list: &impl ListView, number: &str) -> Verdict {
    let caller = Identity {
        number: Number::parse(number.trim_start_matches('+').as_bytes()).unwrap(),
        trusted: true,
    };
    let trunk = TrunkScope {
        key: trunk_key("any"),
        mode: TrunkMode::Enforce,
    };
    judge(list, &[caller], &trunk, Kind::Call).verdict
}

fn agrees(writer: &Writer, live: &Path, lines: &Lines) -> Result<(), TestCaseError> {
    prop_assert_eq!(writer.entries(), texts(lines));
    prop_assert_eq!(writer.digest(), digest(lines));
    let reader = Reader::open(live).unwrap().current();
    prop_assert_eq!(reader.view().published(), (writer.revision(), writer.digest()));
    for index in 0..300 {
        let number = entry(index, "").0;
        let expected = match lines.contains_key(&number) {
            true => Verdict::Reject,
            false => Verdict::Pass,
        };
        prop_assert_eq!(verdict(&reader.view(), &number), expected, "{}", number);
    }
    prop_assert_eq!(verdict(&reader.view(), "+79999999999"), Verdict::Pass);
    Ok(())
}

const NOW: u64 = 1_000;

#[test]
fn a_start_from_damaged_files_gives_a_list_that_was_in_force() {
    let node = Node::new();
    let count = files(node.folder.path()).len();
    let strikes = proptest::collection::vec((0..count, Damage::any()), 1..3);
    let config = ProptestConfig {
        cases: 200,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&strikes, |strikes| {
        let copy = copied(node.folder.path());
        let (folder, live) = (copy.path(), copy.path().join("live"));
        let struck = files(folder);
        for (file, damage) in &strikes {
            if struck[*file].exists() {
                damage.strike(&struck[*file]);
            }
        }
        // Whoever reads before the writer is back may be refused, and ends neither in a signal nor in a loop.
        if let Ok(reader) = Reader::open(&live) {
            let current = reader.current();
            let _ = (verdict(&current.view(), "+628123000001"), current.view().sizes());
        }
        let mut writer = open(folder);
        let n = writer.revision().n;
        let held = node.history.get(&n);
        let snapshots = |(file, _): &&(usize, Damage)| struck[*file].to_string_lossy().contains("snapshot");
        let spared = strikes.iter().filter(snapshots).count() < 2;
        prop_assert!(
            held.is_some_and(|_| writer.origin() == Origin::Snapshot || !spared),
            "{}",
            writer.revision()
        );
        let mut lines = held.unwrap().clone();
        agrees(&writer, &live, &lines)?;
        // It goes on from there, and what it then has outlives another start.
        let reader = Reader::open(&live).unwrap();
        let mut worker = reader.hold();
        apply(
            &mut writer,
            n + 1,
            &mut lines,
            &Lines::from([entry(1, "order"), entry(2, "")]),
        );
        drop(writer);
        let mut writer = open(folder);
        prop_assert_eq!(writer.revision(), Revision { epoch: 1, n: n + 1 });
        agrees(&writer, &live, &lines)?;
        reader.catch_up(&mut worker);
        prop_assert_eq!(worker.number(), writer.generation());
        writer.heartbeat(1).unwrap();
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_page_that_names_the_last_of_all_generations_is_begun_anew() {
    let node = Node::new();
    let (folder, live) = (node.folder.path(), node.folder.path().join("live"));
    let mut page = b"PALANGC1".to_vec();
    page.resize(4096, 0xff);
    std::fs::write(live.join("ctl"), page).unwrap();
    std::fs::write(live.join(format!("list.{}", u64::MAX)), b"no list").unwrap();
    for _ in 0..2 {
        let writer = open(folder);
        assert!((1..100).contains(&writer.generation()), "{}", writer.generation());
        agrees(&writer, &live, &node.history[&13]).unwrap();
    }
}
