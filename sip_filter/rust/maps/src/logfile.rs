//! `log.<epoch>.<n>`: the file of revisions since the snapshot of that revision.
//!
//! Its header carries the serial of the snapshot it follows. A record that could not be written whole is written over
//! by the next; after a failed fsync nobody knows what the disk has, and the log takes nothing more.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use palang_core::decision::Revision;
use palang_core::log::{encode, Record, Records};

use crate::file::{files, free_name, Unfinished};

pub struct LogFile {
    file: File,
    length: u64,
    broken: bool,
    pub path: PathBuf,
    /// Of the snapshot that it follows.
    pub serial: u64,
}

impl LogFile {
    /// A new log, durable with its name.
    pub fn create(state: &Path, serial: u64, revision: Revision) -> io::Result<LogFile> {
        let path = free_name(state, "log", revision);
        let mut unfinished = Unfinished::create(&path)?;
        unfinished.file.write_all_at(&header(serial), 0)?;
        unfinished.settle_durably()?;
        let file = unfinished.file.try_clone()?;
        Ok(LogFile {
            file,
            length: HEADER as u64,
            broken: false,
            path,
            serial,
        })
    }

    /// The logs of a folder that can be read, in the order in which they were written.
    pub fn all(state: &Path) -> io::Result<Vec<LogFile>> {
        let mut logs = Vec::new();
        for (_, path) in files(state, "log")? {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let mut head = [0; HEADER];
            if file.read_exact_at(&mut head, 0).is_ok() {
                let serial = u64::from_le_bytes(head[8..16].try_into().unwrap_or_default());
                if head == header(serial) {
                    logs.push(LogFile {
                        file,
                        length: HEADER as u64,
                        broken: false,
                        path,
                        serial,
                    });
                }
            }
        }
        logs.sort_by_key(|log| log.serial);
        Ok(logs)
    }

    /// Gives each record to `take` until one is bad or `take` says that it does not follow. From there on the log is
    /// cut off; says whether there was nothing to cut. An error of `take` leaves everything.
    pub fn replay(&mut self, mut take: impl FnMut(Record) -> io::Result<bool>) -> io::Result<bool> {
        let bytes = std::fs::read(&self.path)?;
        let bytes = bytes.get(HEADER..).unwrap_or_default();
        let mut records = Records::of(bytes);
        let mut good = 0;
        while let Some(record) = records.next() {
            if !take(record)? {
                break;
            }
            good = records.read();
        }
        self.length = (HEADER + good) as u64;
        let whole = good == bytes.len();
        if !whole {
            self.file.set_len(self.length)?;
            self.file.sync_all()?;
        }
        Ok(whole)
    }

    /// Writes a record after the last, durably if `sync`. On an error the log is as before.
    pub fn append(&mut self, record: &Record, sync: bool) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(format!(
                "{}: an earlier fsync failed; checkpoint first",
                self.path.display()
            )));
        }
        let bytes = encode(record);
        let outcome = self.file.write_all_at(&bytes, self.length).and_then(|()| {
            let synced = if sync { self.file.sync_data() } else { Ok(()) };
            self.broken = synced.is_err();
            synced
        });
        match outcome {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }

    /// Whether it can take more.
    pub fn is_sound(&self) -> bool {
        !self.broken
    }

    /// The bytes of its records.
    pub fn bytes(&self) -> u64 {
        self.length - HEADER as u64
    }
}

const MAGIC: &[u8; 8] = b"PALANGJ1";
const HEADER: usize = 24;

fn header(serial: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&serial.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    bytes
}
