//! `snapshot.<epoch>.<n>`: a generation's image, its timed stacks and checksums, never changed once named.
//! Another list of the same revision gets another name, `snapshot.<epoch>.<n>-<k>`.
//!
//! Starting from one is a copy and a checksum, not a rebuilding: the tables come as they are. Snapshots are ordered by
//! a serial that every new one raises, since a restored list may well have a lower revision than what it replaces.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use palang_core::decision::Revision;
use palang_core::digest::Digest;

use crate::file::{files, free_name, Unfinished};
use crate::generation::{self, Generation};

/// What a snapshot's first page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub serial: u64,
    pub revision: Revision,
    pub digest: Digest,
    image_bytes: u64,
    timed_bytes: u64,
    image_crc: u32,
    timed_crc: u32,
}

/// Writes a snapshot, durable with its name.
pub fn write(
    state: &Path,
    serial: u64,
    (revision, digest): (Revision, Digest),
    image: &[u8],
    timed: &str,
) -> io::Result<PathBuf> {
    let path = free_name(state, "snapshot", revision);
    let mut unfinished = Unfinished::create(&path)?;
    let mut file = &unfinished.file;
    // The page is written last: until then nobody takes the file for a snapshot.
    file.write_all(&[0; PAGE])?;
    let mut crc = crc32fast::Hasher::new();
    for chunk in image.chunks(CHUNK) {
        crc.update(chunk);
        file.write_all(chunk)?;
    }
    file.write_all(timed.as_bytes())?;
    let head = Head {
        serial,
        revision,
        digest,
        image_bytes: image.len() as u64,
        timed_bytes: timed.len() as u64,
        image_crc: crc.finalize(),
        timed_crc: crc32fast::hash(timed.as_bytes()),
    };
    file.write_all_at(&head.page(), 0)?;
    unfinished.settle_durably()?;
    Ok(path)
}

/// The snapshots of a folder, newest first; `None` for one whose first page is bad.
pub fn all(state: &Path) -> io::Result<Vec<(PathBuf, Option<Head>)>> {
    let mut found = Vec::new();
    for (rest, path) in files(state, "snapshot")? {
        if rest.ends_with(BAD) {
            continue;
        }
        let head = Head::read(&File::open(&path)?);
        found.push((path, head));
    }
    found.sort_by_key(|(_, head)| std::cmp::Reverse(head.map_or(u64::MAX, |head| head.serial)));
    Ok(found)
}

/// Copies a snapshot's image into a new, unnamed generation and checks every byte; the timed stacks come as lines.
pub fn restore(path: &Path, head: &Head, live: &Path, number: u64) -> io::Result<(Generation, String)> {
    let mut file = File::open(path)?;
    let bad = |what: &dyn fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
    };
    file.read_exact(&mut [0; PAGE]).map_err(|error| bad(&error))?;
    let copy = Unfinished::create(&generation::path(live, number))?;
    let mut buffer = vec![0; CHUNK];
    let mut crc = crc32fast::Hasher::new();
    let mut left = head.image_bytes;
    while left > 0 {
        let chunk = &mut buffer[..CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
        file.read_exact(chunk).map_err(|error| bad(&error))?;
        crc.update(chunk);
        (&copy.file).write_all(chunk)?;
        left -= chunk.len() as u64;
    }
    let mut timed = Vec::new();
    file.take(head.timed_bytes + 1)
        .read_to_end(&mut timed)
        .map_err(|error| bad(&error))?;
    let good = crc.finalize() == head.image_crc
        && timed.len() as u64 == head.timed_bytes
        && crc32fast::hash(&timed) == head.timed_crc;
    let timed = String::from_utf8(timed)
        .ok()
        .filter(|_| good)
        .ok_or_else(|| bad(&"the checksum differs"))?;
    let generation = Generation::adopt(copy, number).map_err(|error| bad(&error))?;
    Ok((generation, timed))
}

/// Puts a bad snapshot aside, for whoever wants to know why.
pub fn set_aside(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(BAD);
    std::fs::rename(path, name)
}

impl Head {
    fn page(&self) -> [u8; HEAD] {
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend(MAGIC);
        bytes.extend(self.serial.to_le_bytes());
        bytes.extend(self.revision.epoch.to_le_bytes());
        bytes.extend(self.revision.n.to_le_bytes());
        bytes.extend(self.digest.0.to_le_bytes());
        bytes.extend(self.image_bytes.to_le_bytes());
        bytes.extend(self.timed_bytes.to_le_bytes());
        bytes.extend(self.image_crc.to_le_bytes());
        bytes.extend(self.timed_crc.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let mut page = [0; HEAD];
        page.copy_from_slice(&bytes);
        page
    }

    fn read(file: &File) -> Option<Head> {
        let mut page = [0; HEAD];
        file.read_exact_at(&mut page, 0).ok()?;
        let long = |at: usize| Some(u64::from_le_bytes(page.get(at..at + 8)?.try_into().ok()?));
        let short = |at: usize| Some(u32::from_le_bytes(page.get(at..at + 4)?.try_into().ok()?));
        let head = Head {
            serial: long(8)?,
            revision: Revision {
                epoch: short(16)?,
                n: long(20)?,
            },
            digest: Digest(u128::from(long(36)?) << 64 | u128::from(long(28)?)),
            image_bytes: long(44)?,
            timed_bytes: long(52)?,
            image_crc: short(60)?,
            timed_crc: short(64)?,
        };
        (head.page() == page).then_some(head)
    }
}

const MAGIC: &[u8; 8] = b"PALANGS1";
const PAGE: usize = 4096;
const HEAD: usize = 72;
const CHUNK: usize = 1 << 18;
const BAD: &str = ".bad";
