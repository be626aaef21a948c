//! The readers' side: the current generation, remapped off the call path.
//!
//! A housekeeping thread calls `refresh`; a worker holds its own `Arc<Generation>` and calls `catch_up` between
//! batches. While nothing changed that costs two loads: of the count of changes here, and of the generation that `ctl`
//! names. A worker that sees another one before the housekeeper did maps it by itself, waits for nobody, and shares the
//! housekeeper's later: what was in force when a packet was sent is what it is judged by.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ctl::Ctl;
use crate::generation::Generation;

pub struct Reader {
    live: PathBuf,
    door: Mutex<Door>,
    current: Mutex<Place>,
    /// Counts the changes of `current`, so that workers need not lock to learn that there was none.
    turns: AtomicU64,
    /// What workers left behind: to unmap a large list takes long, so the housekeeper does it.
    left: Mutex<Vec<Arc<Generation>>>,
}

/// A generation, and the page that named it.
#[derive(Clone)]
struct Place {
    generation: Arc<Generation>,
    page: Option<Arc<Ctl>>,
}

impl Reader {
    /// Opens the live folder. Without a list there, generation 0 stands in until `refresh` finds one.
    pub fn open(live: &Path) -> io::Result<Reader> {
        let reader = Reader {
            live: live.to_owned(),
            door: Mutex::new(Door {
                ctl: None,
                passed: false,
            }),
            current: Mutex::new(Place {
                generation: Arc::new(Generation::none()),
                page: None,
            }),
            turns: AtomicU64::new(0),
            left: Mutex::new(Vec::new()),
        };
        match reader.refresh() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(reader),
        }
    }

    /// Maps the generation that `ctl` names, if it is another than ours, and says whether it did. On an error the
    /// former one stays: `NotFound` when there is no list.
    pub fn refresh(&self) -> io::Result<bool> {
        drop(std::mem::take(
            &mut *self.left.lock().unwrap_or_else(PoisonError::into_inner),
        ));
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if !door.ctl.as_ref().is_some_and(|page| page.is_named()) {
            // Another page may count generations anew.
            *door = Door {
                ctl: Some(Arc::new(Ctl::open(&self.live)?)),
                passed: false,
            };
        }
        let Some(page) = &door.ctl else { return Ok(false) };
        let number = page.generation();
        if door.passed && number == self.current().number() {
            return Ok(false);
        }
        if number == 0 {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.page.is_none() {
                // The first list will be seen by whoever looks at this page.
                current.page = Some(Arc::clone(page));
                self.turns.fetch_add(1, Ordering::Release);
            }
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no list was ever loaded here",
            ));
        }
        let place = Place {
            generation: Arc::new(self.map(page)?),
            page: Some(Arc::clone(page)),
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = place;
        self.turns.fetch_add(1, Ordering::Release);
        door.passed = true;
        Ok(true)
    }

    /// The generation that the last `refresh` found.
    pub fn current(&self) -> Arc<Generation> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.generation)
    }

    /// A worker's copy, to be kept up by `catch_up`.
    pub fn hold(&self) -> Held {
        let turns = self.turns.load(Ordering::Acquire);
        let place = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Held {
            place,
            turns,
            refused: 0,
        }
    }

    /// Takes over the generation that is in force now. One that can't be mapped is left to the housekeeper.
    pub fn catch_up(&self, held: &mut Held) {
        let turns = self.turns.load(Ordering::Acquire);
        if turns != held.turns {
            // Whoever is at it this instant will be done by the next batch.
            if let Ok(current) = self.current.try_lock() {
                self.leave(std::mem::replace(&mut held.place, current.clone()).generation);
                held.turns = turns;
            }
        }
        let Some(page) = &held.place.page else { return };
        let named = page.generation();
        if named == held.number() || named == held.refused || named == 0 {
            return;
        }
        match self.map(page) {
            Ok(fresh) => self.leave(std::mem::replace(&mut held.place.generation, Arc::new(fresh))),
            Err(_) => held.refused = named,
        }
    }

    fn map(&self, page: &Ctl) -> io::Result<Generation> {
        let mut tries = 0;
        loop {
            match Generation::open(&self.live, page.generation()) {
                // It was swapped and unlinked between our two looks.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    fn leave(&self, generation: Arc<Generation>) {
        if let Ok(mut left) = self.left.try_lock() {
            left.push(generation);
        }
    }

    /// The writer's last sign of life in Unix milliseconds; `None` when there is no `ctl`.
    pub fn heartbeat(&self) -> Option<u64> {
        self.door
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ctl
            .as_ref()
            .map(|page| page.heartbeat())
    }
}

/// A reader without a housekeeper: it looks before each decision, which costs two loads while nothing changed.
pub struct Follower {
    reader: Reader,
    held: Held,
    looked: Instant,
}

impl Follower {
    /// Opens the live folder as `Reader::open` does.
    pub fn open(live: &Path) -> io::Result<Follower> {
        let reader = Reader::open(live)?;
        let held = reader.hold();
        Ok(Follower {
            reader,
            held,
            looked: Instant::now(),
        })
    }

    /// The newest generation, or the last good one when that can't be had.
    ///
    /// A page that lost its name, which only system calls tell, a folder that had none, and a list that could not be
    /// opened are looked at again after `AGAIN`.
    pub fn latest(&mut self) -> &Generation {
        if self.looked.elapsed() >= AGAIN {
            self.looked = Instant::now();
            let _ = self.reader.refresh();
        }
        self.reader.catch_up(&mut self.held);
        &self.held
    }
}

/// Where generations are asked for.
struct Door {
    ctl: Option<Arc<Ctl>>,
    /// Whether a generation came through this page yet.
    passed: bool,
}

/// A generation held by one thread.
pub struct Held {
    place: Place,
    turns: u64,
    /// One that could not be mapped; 0 when there is none.
    refused: u64,
}

impl std::ops::Deref for Held {
    type Target = Generation;

    fn deref(&self) -> &Generation {
        &self.place.generation
    }
}

const TRIES: u32 = 100;
const AGAIN: Duration = Duration::from_millis(10);
