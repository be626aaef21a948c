//! Starting again: the newest good snapshot, and the logs after it.
//!
//! A bad snapshot is put aside and the one before it taken; the logs since that one lead on to the same list. Records
//! are replayed as revisions are applied, gap and digest checked, to the first that does not follow.

use std::io;
use std::path::{Path, PathBuf};

use palang_core::decision::ListView;
use palang_core::digest::Digest;
use palang_core::edit::Editor;
use palang_core::list::{Layout, ListError};
use palang_core::timed::Timed;

use crate::current::Current;
use crate::fault::WriteError;
use crate::file;
use crate::generation::Generation;
use crate::logfile::LogFile;
use crate::snapshot;

/// What the writer started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Empty,
    Snapshot,
}

pub struct Recovered {
    pub list: Current,
    pub log: LogFile,
    /// Snapshots that may be relied on, newest first.
    pub kept: Vec<(u64, PathBuf)>,
    pub origin: Origin,
    /// Whether the log can go on; otherwise a new snapshot is due.
    pub clean: bool,
}

/// The newest good snapshot and the logs after it.
pub fn recover(live: &Path, state: &Path, number: u64) -> Result<Recovered, WriteError> {
    let mut clean = true;
    let mut base = None;
    let mut kept = Vec::new();
    let mut newest = 0;
    for (path, head) in snapshot::all(state)? {
        newest = newest.max(head.map_or(0, |head| head.serial));
        match head {
            Some(head) if base.is_some() => kept.push((head.serial, path)),
            Some(head) => match restore(&path, &head, live, number) {
                Ok(list) => {
                    kept.push((head.serial, path));
                    base = Some((head.serial, list));
                }
                Err(WriteError::Io(error)) if error.raw_os_error().is_some() => return Err(error.into()),
                Err(_) => {
                    snapshot::set_aside(&path)?;
                    clean = false;
                }
            },
            None => {
                snapshot::set_aside(&path)?;
                clean = false;
            }
        }
    }
    let logs = LogFile::all(state)?;
    let newest = logs.iter().map(|log| log.serial).fold(newest, u64::max);
    let Some((serial, mut list)) = base else {
        let list = empty(live, number)?;
        let (log, first) = checkpoint(state, &list, newest + 1)?;
        return Ok(Recovered {
            list,
            log,
            kept: vec![first],
            origin: Origin::Empty,
            clean: true,
        });
    };
    let mut last = None;
    let mut unbroken = true;
    for mut log in logs.into_iter().filter(|log| log.serial >= serial) {
        if unbroken {
            // A cut tail in the last log is what a kill leaves; anything before it wants a new snapshot.
            clean &= last.is_none();
            unbroken = log.replay(|record| match list.replay(live, record) {
                Ok(()) => Ok(true),
                Err(WriteError::Io(error)) => Err(error),
                Err(_) => Ok(false),
            })?;
        } else {
            clean = false;
        }
        last = Some(log);
    }
    let log = match last {
        Some(log) => log,
        None => {
            clean = false;
            LogFile::create(state, newest, list.generation.view().revision())?
        }
    };
    Ok(Recovered {
        list,
        log,
        kept,
        origin: Origin::Snapshot,
        clean,
    })
}

fn restore(path: &Path, head: &snapshot::Head, live: &Path, number: u64) -> Result<Current, WriteError> {
    let (generation, lines) = snapshot::restore(path, head, live, number)?;
    let editor = Editor::resume(&generation.view())?;
    if generation.view().published() != (head.revision, head.digest) {
        return Err(ListError::Image("its revision is not the snapshot's".into()).into());
    }
    let timed = Timed::from_lines(&lines);
    let timed = timed.ok_or_else(|| ListError::Image("its timed stacks are damaged".into()))?;
    Ok(Current {
        generation,
        editor,
        timed,
        digest: head.digest,
    })
}

fn empty(live: &Path, number: u64) -> Result<Current, WriteError> {
    let generation = Generation::create(live, number, Layout::for_counts(0, 0, 0), 1)?;
    Ok(Current {
        generation,
        editor: Editor::default(),
        timed: Timed::default(),
        digest: Digest::default(),
    })
}

/// A snapshot of a list and an empty log after it, both durable.
pub fn checkpoint(state: &Path, list: &Current, serial: u64) -> io::Result<(LogFile, (u64, PathBuf))> {
    let revision = list.generation.view().revision();
    let (image, timed) = (list.generation.bytes(), list.timed.to_lines());
    let path = snapshot::write(state, serial, (revision, list.digest), image, &timed)?;
    match LogFile::create(state, serial, revision) {
        Ok(log) => Ok((log, (serial, path))),
        Err(error) => {
            // Else a restart would take it for newer than the log that goes on.
            let _ = file::remove(&path);
            Err(error)
        }
    }
}
