//! Rings of hits: `hits.<pid>.<k>`, a file of fixed slots from one thread of a gateway to the writer.
//!
//! A ring is lossy and counts what it lost: a thread that answers calls never waits for whoever counts them. The
//! producer holds the file's lock as long as it lives; the consumer learns by it that a ring is orphaned, in whatever
//! namespace the producer ran, and removes it once it is drained.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use palang_core::clause::{Action, Authority};
use palang_core::decision::{Kind, Revision};
use palang_core::number::{Number, Prefix, Subject};

use crate::file::{files, lock, Mapped, Unfinished};

/// What a rule did to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Reject,
    Label,
    /// It would have, were it (or the trunk) enforcing.
    Shadow,
}

/// One request that a rule stopped, marked, or would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    pub at_ms: u64,
    pub subject: Subject,
    pub authority: Authority,
    pub action: Action,
    pub effect: Effect,
    pub kind: Kind,
    /// `clause::trunk_key` of the trunk's name.
    pub trunk_key: u64,
    pub revision: Revision,
    /// The same for every retransmission of one call.
    pub call_key: u64,
}

/// The producer's end.
pub struct HitRing {
    ring: Mapped,
    _locked: Unfinished,
}

impl HitRing {
    /// Makes this process's ring `k`, or the next free one after it, with `SLOTS` slots.
    pub fn create(live: &Path, k: usize) -> io::Result<HitRing> {
        let pid = std::process::id();
        let free = (k..)
            .map(|k| live.join(format!("hits.{pid}.{k}")))
            .find(|path| !path.exists());
        let path = free.unwrap_or_else(|| live.join(format!("hits.{pid}.{k}")));
        let mut file = Unfinished::reserve(&path, (HEADER + SLOTS * SLOT) * 8)?;
        lock(&file.file)?;
        let ring = Mapped::shared(&file.file)?;
        ring.words()[MAGIC].store(MAGIC_WORD, Ordering::Release);
        file.settle()?;
        Ok(HitRing { ring, _locked: file })
    }

    /// Leaves a hit for the writer; false when the ring is full and the hit is lost, and counted as such.
    pub fn push(&mut self, hit: &Hit) -> bool {
        let words = self.ring.words();
        let head = words[HEAD].load(Ordering::Relaxed);
        if head.wrapping_sub(words[TAIL].load(Ordering::Acquire)) >= SLOTS as u64 {
            words[LOST].fetch_add(1, Ordering::Relaxed);
            return false;
        }
        for (word, value) in slot(words, head).iter().zip(pack(hit)) {
            word.store(value, Ordering::Relaxed);
        }
        words[HEAD].store(head.wrapping_add(1), Ordering::Release);
        true
    }
}

/// The consumer's end of every ring in a live folder.
pub struct Rings {
    live: PathBuf,
    open: HashMap<PathBuf, (Mapped, File)>,
}

impl Rings {
    pub fn of(live: &Path) -> Rings {
        Rings {
            live: live.to_owned(),
            open: HashMap::new(),
        }
    }

    /// Everything pushed since the last time, and how many hits were lost since then.
    pub fn drain(&mut self) -> io::Result<(Vec<Hit>, u64)> {
        let mut paths: Vec<PathBuf> = files(&self.live, "hits")?
            .into_iter()
            .map(|(_, path)| path)
            .collect();
        paths.sort();
        self.open.retain(|path, _| paths.contains(path));
        let (mut hits, mut lost) = (Vec::new(), 0);
        for path in paths {
            if !self.open.contains_key(&path) {
                match open(&path) {
                    Some(ring) => self.open.insert(path.clone(), ring),
                    None => continue,
                };
            }
            let Some((ring, file)) = self.open.get(&path) else {
                continue;
            };
            // Before draining: what an orphan left is all there will ever be.
            let orphaned = lock(file).is_ok();
            lost += drain(ring.words(), &mut hits);
            if orphaned {
                crate::file::remove(&path)?;
                self.open.remove(&path);
            }
        }
        Ok((hits, lost))
    }
}

impl Effect {
    pub const ALL: [Effect; 3] = [Effect::Reject, Effect::Label, Effect::Shadow];

    /// What a clause did, or in shadow would have done.
    pub fn of(action: Action, shadow: bool) -> Effect {
        match (shadow, action) {
            (true, _) => Effect::Shadow,
            (false, Action::Label) => Effect::Label,
            (false, _) => Effect::Reject,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Effect::Reject => "reject",
            Effect::Label => "label",
            Effect::Shadow => "shadow",
        }
    }
}

/// Hits that a ring holds.
const SLOTS: usize = 8192;
/// Words of a slot: one cache line.
const SLOT: usize = 8;
const HEADER: usize = 512;
const MAGIC_WORD: u64 = u64::from_le_bytes(*b"PALANGH1");
const MAGIC: usize = 0;
// Producer's and consumer's words lie on lines of their own.
const HEAD: usize = 8;
const LOST: usize = 9;
const TAIL: usize = 16;
const LOST_TOLD: usize = 17;

const PREFIX_BIT: u64 = 1 << 63;

fn open(path: &Path) -> Option<(Mapped, File)> {
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let ring = Mapped::shared(&file).ok()?;
    let ours = ring.words().len() == HEADER + SLOTS * SLOT
        && ring.words()[MAGIC].load(Ordering::Acquire) == MAGIC_WORD;
    ours.then_some((ring, file))
}

fn drain(words: &[AtomicU64], hits: &mut Vec<Hit>) -> u64 {
    let head = words[HEAD].load(Ordering::Acquire);
    let mut tail = words[TAIL].load(Ordering::Relaxed);
    let mut lost = 0;
    if head.wrapping_sub(tail) > SLOTS as u64 {
        // Only damage does this; take what can still be there.
        lost += 1;
        tail = head.wrapping_sub(SLOTS as u64);
    }
    while tail != head {
        let values: Vec<u64> = slot(words, tail)
            .iter()
            .map(|word| word.load(Ordering::Relaxed))
            .collect();
        match unpack(&values) {
            Some(hit) => hits.push(hit),
            None => lost += 1,
        }
        tail = tail.wrapping_add(1);
    }
    words[TAIL].store(tail, Ordering::Release);
    let counted = words[LOST].load(Ordering::Relaxed);
    lost + counted.wrapping_sub(words[LOST_TOLD].swap(counted, Ordering::Relaxed))
}

fn slot(words: &[AtomicU64], place: u64) -> &[AtomicU64] {
    let at = HEADER + (place % SLOTS as u64) as usize * SLOT;
    &words[at..at + SLOT]
}

fn pack(hit: &Hit) -> [u64; SLOT] {
    let subject = hit.subject.value() | if hit.subject.is_number() { 0 } else { PREFIX_BIT };
    let words = [
        hit.authority as u64,
        hit.action as u64,
        hit.effect as u64,
        hit.kind as u64,
    ];
    let packed = words
        .iter()
        .enumerate()
        .fold(0, |packed, (place, word)| packed | word << (8 * place));
    let what = packed | u64::from(hit.revision.epoch) << 32;
    [
        hit.at_ms,
        subject,
        what,
        hit.trunk_key,
        hit.revision.n,
        hit.call_key,
        0,
        0,
    ]
}

fn unpack(words: &[u64]) -> Option<Hit> {
    let &[at_ms, subject, what, trunk_key, n, call_key, ..] = words else {
        return None;
    };
    let part = |place: u32| (what >> (8 * place) & 0xff) as usize;
    let value = subject & !PREFIX_BIT;
    let subject = match subject & PREFIX_BIT {
        0 => Subject::Number(Number::from_value(value)?),
        _ => Subject::Prefix(Prefix::from_value(value)?),
    };
    Some(Hit {
        at_ms,
        subject,
        authority: *Authority::ALL.get(part(0))?,
        action: *Action::ALL.get(part(1))?,
        effect: *Effect::ALL.get(part(2))?,
        kind: *[Kind::Call, Kind::Message].get(part(3))?,
        trunk_key,
        revision: Revision {
            epoch: (what >> 32) as u32,
            n,
        },
        call_key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(call_key: u64) -> Hit {
        Hit {
            at_ms: 1_700_000_000_000,
            subject: Subject::parse(if call_key % 2 == 0 { "+77*" } else { "+77012345678" }).unwrap(),
            authority: Authority::Noc,
            action: Action::Label,
            effect: Effect::Shadow,
            kind: Kind::Message,
            trunk_key: u64::MAX,
            revision: Revision {
                epoch: u32::MAX,
                n: 1 << 60,
            },
            call_key,
        }
    }

    #[test]
    fn hits_arrive_in_order_and_losses_are_counted() {
        let live = tempfile::tempdir().unwrap();
        let mut rings = Rings::of(live.path());
        assert_eq!(rings.drain().unwrap(), (vec![], 0));
        let mut ring = HitRing::create(live.path(), 0).unwrap();
        for round in 0..3 {
            let pushed: Vec<Hit> = (0..SLOTS as u64 - round).map(hit).collect();
            assert!(pushed.iter().all(|hit| ring.push(hit)));
            assert_eq!(rings.drain().unwrap(), (pushed, 0));
        }
        assert_eq!(
            (0..SLOTS as u64 + 5).filter(|&key| ring.push(&hit(key))).count(),
            SLOTS
        );
        let (hits, lost) = rings.drain().unwrap();
        assert_eq!((hits.len(), lost), (SLOTS, 5));
        assert_eq!(rings.drain().unwrap(), (vec![], 0));
    }

    #[test]
    fn an_orphan_is_drained_and_removed_and_a_living_ring_stays() {
        let live = tempfile::tempdir().unwrap();
        let mut rings = Rings::of(live.path());
        let _living = HitRing::create(live.path(), 0).unwrap();
        let mut orphan = HitRing::create(live.path(), 0).unwrap();
        orphan.push(&hit(7));
        drop(orphan);
        std::fs::write(live.path().join("hits.1.1"), b"not a ring").unwrap();
        assert_eq!(rings.drain().unwrap(), (vec![hit(7)], 0));
        let mut left: Vec<String> = files(live.path(), "hits")
            .unwrap()
            .into_iter()
            .map(|(rest, _)| rest)
            .collect();
        left.sort();
        assert_eq!(left, ["1.1".to_owned(), format!("{}.0", std::process::id())]);
    }
}
