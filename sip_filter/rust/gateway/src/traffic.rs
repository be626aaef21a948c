//! Traffic's way from the threads that see it to the books: they write in trays of their own and never wait.
//!
//! A thread hands its tray in when it is full or old, if nobody else is just doing so; the housekeeper, or who asks,
//! folds what lies there. What finds no room is counted as lost.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use palang_core::clause::{trunk_key, Kinds};
use palang_core::number::Subject;
use palang_core::setup::Setup;
use palang_core::traffic::{Books, Record, Records, SketchKey, Sketches, Told, Watch};
use serde::Deserialize;

use crate::said::say;
use crate::settings::Wrong;

/// Records with which a tray is full, and milliseconds after which it is old.
const FULL: usize = 512;
const OLD: u64 = 50;
/// Trays that wait at most: six mebibytes, and a quarter of a second of the most that this machine could ever see.
const MOST_TRAYS: usize = 256;
/// Empty trays that are kept for the threads.
const MOST_SPARE: usize = 64;

pub struct Traffic {
    trays: Mutex<Trays>,
    lost: AtomicU64,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Trays {
    full: Vec<Vec<Record>>,
    spare: Vec<Vec<Record>>,
}

/// A watch as it is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    subject: String,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    trunks: Vec<String>,
    #[serde(default)]
    kinds: Option<String>,
}

impl Traffic {
    pub fn new(setup: &Setup) -> Traffic {
        let key = SketchKey::of(setup.keys.newest());
        let traffic = Traffic {
            trays: Mutex::default(),
            lost: AtomicU64::new(0),
            books: Mutex::new(Books::open(key, random(), wall())),
        };
        traffic.know(setup);
        traffic
    }

    /// Takes over what other settings change: trunks, and the key of sketches.
    pub fn know(&self, setup: &Setup) {
        let mut books = self.books();
        books.set_key(SketchKey::of(setup.keys.newest()), wall());
        books.know(setup.trunks.iter().map(|trunk| (trunk.key, &*trunk.name)));
    }

    /// Takes a thread's records when it is time, or, when it leaves, all of them.
    pub fn hand_in(&self, records: &mut Records, now: u64, leaves: bool) {
        let Some(first) = records.as_slice().first() else {
            return;
        };
        if !leaves && records.as_slice().len() < FULL && now < first.now + OLD {
            return;
        }
        match self.trays.try_lock() {
            Ok(mut trays) if trays.full.len() < MOST_TRAYS => {
                let room = trays.spare.pop().unwrap_or_default();
                trays.full.push(records.swap(room));
            }
            // Next time; what doesn't fit until then is lost.
            _ if !leaves => {}
            _ => self.lose(records.swap(Vec::new()).len() as u64),
        }
        self.lose(records.take_lost());
    }

    /// The housekeeper's round.
    pub fn handle_timeout(&self, now: impl Fn() -> u64) {
        let Ok(mut books) = self.books.try_lock() else {
            return; // Somebody asks, and folds before.
        };
        self.fold(&mut books, now);
    }

    /// The closed minutes after that one. `watches` is what is watched from now on, as JSON.
    pub fn tell(&self, after: u64, watches: Option<&str>, now: impl Fn() -> u64) -> Result<Told, Wrong> {
        let watches = watches.map(read_watches).transpose()?;
        let mut books = self.books();
        self.fold(&mut books, now);
        if let Some(watches) = watches {
            books.watch(watches, wall()).map_err(|wrong| wrong.to_string())?;
        }
        Ok(books.tell(after))
    }

    pub fn sketches(&self, hour: u64, after: Option<u32>, now: impl Fn() -> u64) -> Sketches {
        let mut books = self.books();
        self.fold(&mut books, now);
        books.sketches(hour, after)
    }

    /// What could not be counted, in all.
    pub fn lost(&self) -> u64 {
        let lost = self.books().lost();
        lost.records + lost.rows + lost.sketches + lost.watches
    }

    fn fold(&self, books: &mut Books, now: impl Fn() -> u64) {
        let folded = catch_unwind(AssertUnwindSafe(|| {
            let full = std::mem::take(&mut self.trays().full);
            let (now, wall) = (now(), wall()); // No record is younger.
            books.lose(self.lost.swap(0, Relaxed));
            for mut tray in full {
                books.fold(&tray, now, wall);
                tray.clear();
                let mut trays = self.trays();
                if trays.spare.len() < MOST_SPARE {
                    trays.spare.push(tray);
                }
            }
            books.settle(now, wall);
        }));
        if folded.is_err() {
            say("node.traffic_failed", &[("effect", &"counting begins anew")]);
            books.renew(wall());
        }
    }

    fn lose(&self, records: u64) {
        if records > 0 {
            self.lost.fetch_add(records, Relaxed);
        }
    }

    fn trays(&self) -> MutexGuard<'_, Trays> {
        self.trays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_watches(text: &str) -> Result<Vec<Watch>, Wrong> {
    let rows: Vec<Row> =
        serde_json::from_str(text).map_err(|error| format!("watches are not as they should be: {error}"))?;
    rows.into_iter().map(read_watch).collect()
}

fn read_watch(row: Row) -> Result<Watch, Wrong> {
    let Row {
        id,
        subject,
        except,
        trunks,
        kinds,
    } = row;
    let read = |text: &str| Subject::parse(text).map_err(|error| format!("watch {id:?}: {error}"));
    let word = kinds.as_deref().unwrap_or("both");
    let kinds = Kinds::from_word(word)
        .ok_or_else(|| format!("watch {id:?}: kinds {word:?} is none of call, message, both"))?;
    Ok(Watch {
        subject: read(&subject)?,
        except: except.iter().map(|text| read(text)).collect::<Result<_, _>>()?,
        trunks: trunks.iter().map(|name| trunk_key(name)).collect(),
        kinds,
        id: id.into(),
    })
}

/// Unix milliseconds.
fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// What no other process is likely to have.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u64(wall());
    hasher.write_u32(std::process::id());
    hasher.finish()
}
