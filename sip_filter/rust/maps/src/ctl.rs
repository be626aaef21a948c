//! `ctl`: one page that names the current generation and carries the writer's heartbeat; its lock names the one writer.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::file::{lock, Mapped};

/// The page; the writer's holds the lock as long as it lives.
pub struct Ctl {
    page: Mapped,
    file: File,
    path: PathBuf,
}

impl Ctl {
    /// The writer's: fails with `WouldBlock` while another writer lives. A damaged page is made anew in place.
    pub fn take(live: &Path) -> io::Result<Ctl> {
        let path = live.join("ctl");
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o640)
                .open(&path)?;
            lock(&file)?;
            // Whoever unlinked it between our open and our lock has left us the lock of a file that nobody finds.
            let Ok(named) = std::fs::metadata(&path) else {
                continue;
            };
            if named.ino() != file.metadata()?.ino() {
                continue;
            }
            if file.metadata()?.len() < PAGE {
                file.set_len(PAGE)?;
            }
            let ctl = Ctl {
                page: Mapped::shared(&file)?,
                file,
                path,
            };
            if ctl.word(MAGIC) != MAGIC_WORD {
                ctl.store(GENERATION, 0);
                ctl.store(HEARTBEAT, 0);
                ctl.store(MAGIC, MAGIC_WORD);
            }
            return Ok(ctl);
        }
    }

    /// A reader's.
    pub fn open(live: &Path) -> io::Result<Ctl> {
        let path = live.join("ctl");
        let file = File::open(&path)?;
        if file.metadata()?.len() < PAGE {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} is not made yet", path.display()),
            ));
        }
        let ctl = Ctl {
            page: Mapped::reading(&file)?,
            file,
            path,
        };
        if ctl.word(MAGIC) != MAGIC_WORD {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} is not ours", ctl.path.display()),
            ));
        }
        Ok(ctl)
    }

    /// Whether the folder still has this file under its name.
    pub fn is_named(&self) -> bool {
        match (std::fs::metadata(&self.path), self.file.metadata()) {
            (Ok(named), Ok(own)) => (named.dev(), named.ino()) == (own.dev(), own.ino()),
            _ => false,
        }
    }

    /// The current generation; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.word(GENERATION)
    }

    /// The swap: one store.
    pub fn set_generation(&self, generation: u64) {
        self.store(GENERATION, generation);
    }

    /// When the writer last gave a sign, in Unix milliseconds; 0 when it never did.
    pub fn heartbeat(&self) -> u64 {
        self.word(HEARTBEAT)
    }

    pub fn set_heartbeat(&self, now_ms: u64) {
        self.store(HEARTBEAT, now_ms);
    }

    fn word(&self, place: usize) -> u64 {
        self.page.words()[place].load(Ordering::Acquire)
    }

    fn store(&self, place: usize, value: u64) {
        self.page.words()[place].store(value, Ordering::Release);
    }
}

const PAGE: u64 = 4096;
const MAGIC_WORD: u64 = u64::from_le_bytes(*b"PALANGC1");
const MAGIC: usize = 0;
const GENERATION: usize = 1;
const HEARTBEAT: usize = 2;
