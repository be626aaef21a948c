//! The one writer: it takes revisions and whole lists, keeps them on disk, and changes what readers see.
//!
//! A revision is verified whole, then logged, then stored entry by entry, then named. A whole list, growth and repair
//! make a new generation, which one store in `ctl` swaps in. A restart always makes a new one too, from the newest good
//! snapshot and the logs after it: whatever a killed writer left half done in the live folder is never trusted.

use std::fs::File;
use std::path::{Path, PathBuf};

use palang_core::decision::{ListView, Revision};
use palang_core::digest::Digest;
use palang_core::draft::Draft;
use palang_core::edit::{Editor, Need};
use palang_core::list::Sizes;
use palang_core::log::Record;
use palang_core::number::{Number, Subject};

use crate::ctl::Ctl;
use crate::current::{Change, Current};
use crate::fault::{WriteError, MOST_CHANGES};
use crate::file;
use crate::generation::{self, Generation};
use crate::hits::{Hit, Rings};
use crate::logfile::LogFile;
use crate::recover::{checkpoint, recover, Origin, Recovered};
use crate::snapshot;

pub struct Writer {
    live: PathBuf,
    state: PathBuf,
    ctl: Ctl,
    /// Locked: no two live folders may write one state.
    _state_lock: File,
    list: Current,
    log: LogFile,
    /// The serials of snapshots that may be relied on, newest first.
    kept: Vec<(u64, PathBuf)>,
    /// Generations that readers may still be opening, with the time at which that ends.
    retired: Vec<(u64, Option<u64>)>,
    rings: Rings,
    origin: Origin,
}

impl Writer {
    /// Opens both folders, makes them (0750) if need be, and brings the list that they hold into a new generation.
    /// `WouldBlock` while another writer lives.
    pub fn open(live: &Path, state: &Path) -> Result<Writer, WriteError> {
        file::make_folder(live)?;
        file::make_folder(state)?;
        let state_lock = File::open(state)?;
        file::lock(&state_lock)?;
        let ctl = Ctl::take(live)?;
        file::sweep(live, &["list"])?;
        file::sweep(state, &["snapshot", "log"])?;
        let found = generation::numbers(live)?;
        let used = found.iter().copied().chain([ctl.generation()]);
        // A number that counting never reaches is damage.
        let number = used.filter(|&used| used < 1 << 62).max().unwrap_or(0) + 1;
        let Recovered {
            list,
            log,
            kept,
            origin,
            clean,
        } = recover(live, state, number)?;
        let retired = found.into_iter().map(|old| (old, None)).collect();
        let rings = Rings::of(live);
        let (live, state) = (live.to_owned(), state.to_owned());
        let mut writer = Writer {
            live,
            state,
            ctl,
            _state_lock: state_lock,
            list,
            log,
            kept,
            retired,
            rings,
            origin,
        };
        if !clean {
            writer.write_checkpoint()?;
        }
        writer.list.generation.settle()?;
        writer.ctl.set_generation(writer.list.generation.number());
        Ok(writer)
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    pub fn revision(&self) -> Revision {
        self.list.generation.view().revision()
    }

    /// The digest of what was published, ended clauses included.
    pub fn digest(&self) -> Digest {
        self.list.digest
    }

    /// Takes the next revision. A gap or another digest is an error before anything is stored.
    pub fn apply(
        &mut self,
        revision: Revision,
        changes: Vec<String>,
        digest: Digest,
        now: u64,
    ) -> Result<(), WriteError> {
        self.list.check_next(revision)?;
        if changes.len() > MOST_CHANGES {
            return Err(WriteError::TooMany(changes.len()));
        }
        let staged = self.list.stage(&changes, now)?;
        if staged.digest != digest {
            return Err(WriteError::Digest {
                expected: digest,
                computed: staged.digest,
            });
        }
        self.make_room(&staged.entries)?;
        self.log.append(
            &Record::Changes {
                revision,
                digest,
                now,
                changes,
            },
            true,
        )?;
        Ok(self.list.store(staged, revision.n, now)?)
    }

    /// Takes a whole list as a new generation. On any error the former list stays.
    pub fn load(&mut self, revision: Revision, draft: Draft, digest: Digest) -> Result<(), WriteError> {
        if revision.epoch == 0 {
            return Err(WriteError::Epoch);
        }
        if draft.digest() != digest {
            return Err(WriteError::Digest {
                expected: digest,
                computed: draft.digest(),
            });
        }
        let number = self.list.generation.number() + 1;
        let generation = Generation::create(&self.live, number, draft.layout(), revision.epoch)?;
        let editor = draft.write(&generation.view())?;
        generation.view().publish(revision.n, digest);
        let mut list = Current {
            generation,
            editor,
            timed: draft.into_timed(),
            digest,
        };
        list.generation.settle()?;
        // On disk before it is in force: a restart may not fall behind what readers have seen.
        let (log, newest) = checkpoint(&self.state, &list, self.log.serial + 1)
            .inspect_err(|_| drop(generation::unlink(&self.live, number)))?;
        self.swap(list);
        self.keep(log, newest);
        Ok(())
    }

    /// Takes out the clauses that have ended by `now`; how many. Revision and digest are of what was published, so
    /// they stay. It needs no disk: what can't be logged is found ended again after a restart.
    pub fn expire(&mut self, now: u64) -> Result<usize, WriteError> {
        let (subjects, count) = self.list.timed.ended(now);
        if subjects.is_empty() {
            return Ok(0);
        }
        let entries = self.list.at(&subjects, now);
        self.make_room(&entries)?;
        let _ = self.log.append(&Record::Expiry { now }, false);
        self.list.expire(&entries, now)?;
        Ok(count)
    }

    /// When the next clause ends, in Unix seconds.
    pub fn next_expiry(&self) -> Option<u64> {
        self.list.timed.next_end()
    }

    /// Writes a new snapshot and begins a new log, unless nothing was logged since the last.
    pub fn checkpoint(&mut self) -> Result<(), WriteError> {
        let there = |path: &Path| path.exists();
        let kept = self.kept.first().is_some_and(|(_, path)| there(path));
        if self.log.bytes() == 0 && self.log.is_sound() && there(&self.log.path) && kept {
            return Ok(());
        }
        self.write_checkpoint()
    }

    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// A sign of life, and housekeeping: names of old generations go after a grace, lost files come back.
    pub fn heartbeat(&mut self, now_ms: u64) -> Result<(), WriteError> {
        if !self.ctl.is_named() {
            self.ctl = Ctl::take(&self.live)?;
            self.ctl.set_generation(self.list.generation.number());
        }
        if !generation::path(&self.live, self.list.generation.number()).exists() {
            self.rewrite(&Need::default())?;
        }
        self.ctl.set_heartbeat(now_ms);
        for (_, until) in &mut self.retired {
            until.get_or_insert(now_ms.saturating_add(GRACE_MS));
        }
        let (gone, retired) = self
            .retired
            .drain(..)
            .partition(|(_, until)| until.is_some_and(|until| until <= now_ms));
        self.retired = retired;
        gone.iter()
            .try_for_each(|&(old, _)| generation::unlink(&self.live, old))
            .map_err(WriteError::from)
    }

    /// The stack of a subject as published; empty when it has none.
    pub fn entry(&self, subject: Subject) -> String {
        self.list.published(subject)
    }

    /// The entries that touch a number: the longest first, the number's own before a prefix of its length.
    pub fn touching(&self, number: Number) -> Vec<String> {
        let prefixes = (0..=number.length())
            .rev()
            .filter_map(|length| number.prefix(length))
            .map(Subject::Prefix);
        std::iter::once(Subject::Number(number))
            .chain(prefixes)
            .map(|subject| (subject, self.entry(subject)))
            .filter(|(_, stack)| !stack.is_empty())
            .map(|(subject, stack)| format!("{subject}\t{stack}"))
            .collect()
    }

    /// Every entry line as published, in the order of subjects.
    pub fn entries(&self) -> Vec<String> {
        let view = self.list.generation.view();
        let in_force = view
            .entries()
            .map(|(subject, _)| subject)
            .filter(|&own| self.list.timed.get(own).is_none());
        let timed = self.list.timed.stacks();
        let mut subjects: Vec<Subject> = in_force
            .chain(timed.into_iter().map(|(subject, _)| subject))
            .collect();
        subjects.sort_unstable();
        subjects
            .into_iter()
            .map(|subject| format!("{subject}\t{}", self.entry(subject)))
            .collect()
    }

    pub fn sizes(&self) -> Sizes {
        self.list.generation.view().sizes()
    }

    /// The current generation's number.
    pub fn generation(&self) -> u64 {
        self.list.generation.number()
    }

    /// The hits that every gateway of this folder left since the last time, and how many were lost.
    pub fn drain_hits(&mut self) -> Result<(Vec<Hit>, u64), WriteError> {
        Ok(self.rings.drain()?)
    }

    fn make_room(&mut self, entries: &[Change]) -> Result<(), WriteError> {
        let need = self.list.need(entries);
        if !Editor::fits(&self.list.generation.view(), &need) {
            self.rewrite(&need)?;
        }
        Ok(())
    }

    /// Growth, compaction, repair: the same list in a new generation.
    fn rewrite(&mut self, need: &Need) -> Result<(), WriteError> {
        let (mut generation, editor) = self.list.rewritten(&self.live, need)?;
        generation.settle()?;
        let timed = std::mem::take(&mut self.list.timed);
        let digest = self.list.digest;
        self.swap(Current {
            generation,
            editor,
            timed,
            digest,
        });
        Ok(())
    }

    // A reader that finds its generation's name gone looks at `ctl` again, so one former generation is enough grace
    // even for a writer that never calls `heartbeat`.
    fn swap(&mut self, list: Current) {
        self.ctl.set_generation(list.generation.number());
        for (old, _) in self.retired.drain(..) {
            let _ = generation::unlink(&self.live, old);
        }
        self.retired.push((self.list.generation.number(), None));
        self.list = list;
    }

    fn write_checkpoint(&mut self) -> Result<(), WriteError> {
        let (log, newest) = checkpoint(&self.state, &self.list, self.log.serial + 1)?;
        self.keep(log, newest);
        Ok(())
    }

    /// Goes on with a new snapshot and log; of the older ones, what two snapshots need stays. What can't be removed
    /// now is tried again the next time.
    fn keep(&mut self, log: LogFile, newest: (u64, PathBuf)) {
        self.log = log;
        self.kept.insert(0, newest);
        self.kept.truncate(2);
        let oldest = self.kept.last().map_or(0, |&(serial, _)| serial);
        let snapshots = snapshot::all(&self.state)
            .unwrap_or_default()
            .into_iter()
            .map(|(path, _)| path);
        let unkept = snapshots.filter(|path| self.kept.iter().all(|(_, kept)| kept != path));
        let logs = LogFile::all(&self.state).unwrap_or_default().into_iter();
        let older = logs.filter(|log| log.serial < oldest).map(|log| log.path);
        for path in unkept.chain(older) {
            let _ = file::remove(&path);
        }
    }
}

/// How long a former generation keeps its name.
const GRACE_MS: u64 = 5_000;
