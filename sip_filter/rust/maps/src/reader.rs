//! The readers' side: the current generation, remapped off the call path.
//!
//! A housekeeping thread calls `refresh`; a worker holds its own `Arc<Generation>` and calls `catch_up` between
//! batches, which costs one load while nothing changed and never waits.

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
    current: Mutex<Arc<Generation>>,
    /// Counts the changes of `current`, so that workers need not lock to learn that there was none.
    turns: AtomicU64,
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
            current: Mutex::new(Arc::new(Generation::none())),
            turns: AtomicU64::new(0),
        };
        match reader.refresh() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(reader),
        }
    }

    /// Maps the generation that `ctl` names, if it is another than ours, and says whether it did. On an error the
    /// former one stays: `NotFound` when there is no list.
    pub fn refresh(&self) -> io::Result<bool> {
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if !door.ctl.as_ref().is_some_and(Ctl::is_named) {
            // Another page may count generations anew.
            *door = Door {
                ctl: Some(Ctl::open(&self.live)?),
                passed: false,
            };
        }
        let Some(page) = &door.ctl else { return Ok(false) };
        let mut tries = 0;
        let generation = loop {
            let number = page.generation();
            if door.passed && number == self.current().number() {
                return Ok(false);
            }
            if number == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "no list was ever loaded here",
                ));
            }
            match Generation::open(&self.live, number) {
                // It was swapped and unlinked between our two looks.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
                Ok(generation) => break generation,
            }
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(generation);
        self.turns.fetch_add(1, Ordering::Release);
        door.passed = true;
        Ok(true)
    }

    /// The generation that the last `refresh` found.
    pub fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A worker's copy, to be kept up by `catch_up`.
    pub fn hold(&self) -> Held {
        let turns = self.turns.load(Ordering::Acquire);
        Held {
            generation: self.current(),
            turns,
        }
    }

    /// Takes the current generation over, if it changed and nobody is at it this instant.
    pub fn catch_up(&self, held: &mut Held) {
        let turns = self.turns.load(Ordering::Acquire);
        if turns != held.turns {
            if let Ok(current) = self.current.try_lock() {
                *held = Held {
                    generation: Arc::clone(&current),
                    turns,
                };
            }
        }
    }

    /// Whether the page names another generation than that one, as far as a load tells.
    fn is_past(&self, number: u64) -> bool {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        door.ctl.as_ref().is_some_and(|page| page.generation() != number)
    }

    /// The writer's last sign of life in Unix milliseconds; `None` when there is no `ctl`.
    pub fn heartbeat(&self) -> Option<u64> {
        self.door
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ctl
            .as_ref()
            .map(Ctl::heartbeat)
    }
}

/// A reader without a housekeeper: it looks before each decision, which costs one load while nothing changed.
pub struct Follower {
    reader: Reader,
    held: Held,
    looked: Instant,
    failed: bool,
}

impl Follower {
    /// Opens the live folder as `Reader::open` does.
    pub fn open(live: &Path) -> io::Result<Follower> {
        let reader = Reader::open(live)?;
        let held = reader.hold();
        Ok(Follower {
            failed: held.number() == 0,
            reader,
            held,
            looked: Instant::now(),
        })
    }

    /// The newest generation, or the last good one when that can't be had.
    ///
    /// A page that lost its name, which only system calls tell, and a list that could not be opened are looked at
    /// again after `AGAIN`.
    pub fn latest(&mut self) -> &Generation {
        let swapped = !self.failed && self.reader.is_past(self.held.number());
        if swapped || self.looked.elapsed() >= AGAIN {
            self.looked = Instant::now();
            self.failed = self.reader.refresh().is_err();
            self.reader.catch_up(&mut self.held);
        }
        &self.held
    }
}

/// Where generations are asked for.
struct Door {
    ctl: Option<Ctl>,
    /// Whether a generation came through this page yet.
    passed: bool,
}

/// A generation held by one thread.
pub struct Held {
    generation: Arc<Generation>,
    turns: u64,
}

impl std::ops::Deref for Held {
    type Target = Generation;

    fn deref(&self) -> &Generation {
        &self.generation
    }
}

const TRIES: u32 = 100;
const AGAIN: Duration = Duration::from_millis(10);
