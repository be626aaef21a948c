//! The books: records folded into counts and sketches. Values and `now` in, answers out.

use std::collections::HashMap;
use std::sync::Arc;

use super::calls::{Begun, Calls, REMEMBERED};
use super::minutes::{Minutes, Row};
use super::record::{Record, What};
use super::sketch::{Sketch, SketchKey};
use super::watch::{Matches, Watch, WatchError, Watching};
use super::{code, parts, Code, Column, Figures, Mixed, KEYS};
use crate::decision::Kind;
use crate::number::Number;

/// Milliseconds for which a minute stays open after its end: what threads still hold comes within them.
const GRACE: u64 = 1_000;
/// Milliseconds after which what became of a call is counted: by then the call itself has come from its thread.
const PATIENCE: u64 = 300;
/// Things that became of calls and wait for that, at most.
const MOST_WAITING: usize = 1 << 17;
/// A clock that is put back by more milliseconds than these begins the counts anew.
const BACK: u64 = 120_000;
/// Trunks that ever were, at most.
const MOST_TRUNKS: usize = 4096;
/// Hours of sketches besides the running one.
const KEPT_HOURS: u64 = 2;
/// Bytes of all sketches together.
const SKETCH_BYTES: usize = 128 << 20;
/// What a pair of sketches takes besides its registers.
const PAIR_BYTES: usize = 160;
/// Rows in one answer, but for the rows of a single minute; bytes of sketches in one answer.
const MOST_TOLD: usize = 1 << 15;
const MOST_TOLD_BYTES: usize = 3 << 19;

const MINUTE: u64 = 60_000;
const MINUTES_AN_HOUR: u64 = 60;

/// What could not be counted since the process began.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Lost {
    /// Records that found no room on their way here, or are of a trunk that nobody knows.
    pub records: u64,
    /// Counts of a minute with too many rows.
    pub rows: u64,
    /// Numbers that no sketch had room for.
    pub sketches: u64,
    /// Counts for watches: one request is counted for so many, and calls under way are in so many sets of them.
    pub watches: u64,
}

/// What is told of the minutes.
#[derive(Debug)]
pub struct Told {
    pub run: u64,
    /// Unix milliseconds when the counts began.
    pub began: u64,
    pub kept_from: u64,
    pub closed_to: u64,
    pub rows: Vec<ToldRow>,
    /// Only when all closed minutes are told.
    pub open: Vec<ToldRow>,
    /// The last minute told, when there are more.
    pub next: Option<u64>,
    pub watching: Vec<(String, u64)>,
    pub lost: Lost,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldRow {
    pub minute: u64,
    pub trunk: Arc<str>,
    /// The first four digits, nothing, or the name of a watch.
    pub key: String,
    pub figures: Figures,
}

/// Some sketches of one hour.
#[derive(Debug)]
pub struct Sketches {
    pub run: u64,
    pub fingerprint: u32,
    pub kept_from: u64,
    pub open: bool,
    pub pairs: Vec<ToldPair>,
    /// Where to go on, when there are more.
    pub next: Option<u32>,
    pub lost: Lost,
}

/// Two of them, by what they are about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldPair {
    pub trunk: Arc<str>,
    pub key: String,
    pub callers: Sketch,
    pub callees: Sketch,
}

pub struct Books {
    key: SketchKey,
    run: u64,
    began: u64,
    wall: u64,
    trunks: Vec<Arc<str>>,
    trunk_numbers: HashMap<u64, u16, Mixed>,
    watching: Watching,
    matches: Matches,
    minutes: Minutes,
    /// In their order.
    hours: Vec<Hour>,
    /// The first hour whose sketches are whole, as far as we were there.
    hours_from: u64,
    sketch_bytes: usize,
    most_sketch_bytes: usize,
    calls: Calls,
    /// Calls that are being folded, and will be remembered in one go.
    begun: Vec<Begun>,
    waiting: Vec<Record>,
    lost: Lost,
}

#[derive(Default)]
struct Hour {
    hour: u64,
    index: HashMap<Code, u32, Mixed>,
    pairs: Vec<Pair>,
}

#[derive(Default)]
struct Pair {
    callers: Sketch,
    callees: Sketch,
}

impl Books {
    /// Opens them at `wall` (Unix milliseconds); `run` tells them from those before.
    pub fn open(key: SketchKey, run: u64, wall: u64) -> Books {
        Books {
            key,
            run,
            began: wall,
            wall,
            trunks: Vec::new(),
            trunk_numbers: HashMap::default(),
            watching: Watching::default(),
            matches: Matches::default(),
            minutes: Minutes::since(wall / MINUTE),
            hours: Vec::new(),
            hours_from: wall / MINUTE / MINUTES_AN_HOUR,
            sketch_bytes: 0,
            most_sketch_bytes: SKETCH_BYTES,
            calls: Calls::new(REMEMBERED),
            begun: Vec::new(),
            waiting: Vec::new(),
            lost: Lost::default(),
        }
    }

    /// Begins anew under another name: trunks and watches stay, counts don't.
    pub fn renew(&mut self, wall: u64) {
        let run = self.run.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        let old = std::mem::replace(self, Books::open(self.key, run, wall));
        (self.trunks, self.trunk_numbers) = (old.trunks, old.trunk_numbers);
        (self.watching, self.lost) = (old.watching, old.lost);
    }

    /// The trunks that records may name: `clause::trunk_key` and name.
    pub fn know<'a>(&mut self, trunks: impl IntoIterator<Item = (u64, &'a str)>) {
        for (key, name) in trunks {
            if self.trunks.len() < MOST_TRUNKS && !self.trunk_numbers.contains_key(&key) {
                self.trunk_numbers.insert(key, self.trunks.len() as u16);
                self.trunks.push(name.into());
            }
        }
    }

    /// Another key makes other sketches: nothing of before can stand beside them.
    pub fn set_key(&mut self, key: SketchKey, wall: u64) {
        if self.key != key {
            self.key = key;
            self.renew(wall);
        }
    }

    /// Watches these from now on.
    pub fn watch(&mut self, watches: Vec<Watch>, wall: u64) -> Result<(), WatchError> {
        self.watching.set(watches, wall)?;
        if self.watching.is_crowded() {
            self.watching.forget_sets();
            self.calls.forget_sets();
        }
        Ok(())
    }

    pub fn lose(&mut self, records: u64) {
        self.lost.records += records;
    }

    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// Counts what one thread wrote down. `now` is the records' clock, `wall` the same moment in Unix milliseconds.
    pub fn fold(&mut self, records: &[Record], now: u64, wall: u64) {
        if wall + BACK < self.wall {
            self.renew(wall);
        }
        self.wall = self.wall.max(wall);
        let mut rest = records;
        while let [record, more @ ..] = rest {
            rest = more;
            match record.what {
                What::Call | What::Message => {
                    let is_its =
                        |also: &&Record| also.what == What::Also && also.transaction == record.transaction;
                    let count = more.iter().take_while(is_its).count();
                    let at = wall.saturating_sub(now.saturating_sub(record.now));
                    self.request(record, &more[..count], at);
                    rest = &more[count..];
                }
                What::Also => {}
                What::Rang | What::Answered | What::Cancelled if self.waiting.len() < MOST_WAITING => {
                    self.waiting.push(*record);
                }
                What::Rang | What::Answered | What::Cancelled => self.lost.records += 1,
            }
        }
        self.calls.begin(&self.begun);
        self.begun.clear();
    }

    /// Counts what was waiting, and closes what has ended.
    pub fn settle(&mut self, now: u64, wall: u64) {
        self.fold(&[], now, wall);
        let is_due = |record: &Record| record.now + PATIENCE <= now;
        let mut due: Vec<Record> = self
            .waiting
            .iter()
            .filter(|record| is_due(record))
            .copied()
            .collect();
        if !due.is_empty() {
            self.waiting.retain(|record| !is_due(record));
            due.sort_by_key(|record| (record.now, record.what as u8));
            for record in due {
                let Some((code, set, column)) = self.calls.tell(record.transaction, record.what, record.now)
                else {
                    continue;
                };
                let at = wall.saturating_sub(now.saturating_sub(record.now));
                let minute = self.minutes.at(at / MINUTE);
                self.lost.rows += u64::from(!minute.add(code, &[column]));
                let (trunk, _) = parts(code);
                for handle in self.watching.set_of(set) {
                    let kept = minute.add(super::code(trunk, *handle), &[column]);
                    self.lost.rows += u64::from(!kept);
                }
            }
        }
        let ended = (wall.saturating_sub(GRACE) / MINUTE).saturating_sub(1);
        if ended > self.minutes.closed_to() {
            self.minutes.close(ended);
            let from = ((ended + 1) / MINUTES_AN_HOUR).saturating_sub(KEPT_HOURS);
            while self.hours.first().is_some_and(|oldest| oldest.hour < from) {
                self.sketch_bytes -= self.hours.remove(0).size();
            }
            self.hours_from = self.hours_from.max(from);
        }
    }

    /// The closed minutes after that one, and what is open.
    pub fn tell(&self, after: u64) -> Told {
        let (mut rows, mut next) = (Vec::new(), None);
        let mut told = after;
        for (minute, of_minute) in self.minutes.after(after) {
            if !rows.is_empty() && rows.len() + of_minute.len() > MOST_TOLD {
                next = Some(told);
                break;
            }
            rows.extend(self.named(*minute, of_minute));
            told = *minute;
        }
        let open = self.minutes.open();
        let count: usize = open.iter().map(|minute| minute.rows().len()).sum();
        if next.is_none() && !rows.is_empty() && rows.len() + count > MOST_TOLD {
            next = Some(told);
        }
        let open = open.iter().filter(|_| next.is_none());
        Told {
            run: self.run,
            began: self.began,
            kept_from: self.minutes.kept_from(),
            closed_to: self.minutes.closed_to(),
            rows,
            open: open
                .flat_map(|minute| self.named(minute.minute, minute.rows()))
                .collect(),
            next,
            watching: self
                .watching
                .told()
                .map(|(name, since)| (name.to_owned(), since))
                .collect(),
            lost: self.lost,
        }
    }

    /// The sketches of an hour (since 1970), from `after` on.
    pub fn sketches(&self, hour: u64, after: Option<u32>) -> Sketches {
        let mut pairs = Vec::new();
        let mut next = None;
        if let Some(found) = self.hours.iter().find(|found| found.hour == hour) {
            let mut order: Vec<(Code, u32)> = found.index.iter().map(|(code, at)| (*code, *at)).collect();
            order.retain(|(code, _)| after.is_none_or(|after| *code > after));
            order.sort_unstable();
            let mut bytes = 0;
            let mut told = None;
            for (code, at) in order {
                let Some((trunk, key)) = self.names(code) else {
                    continue;
                };
                if bytes >= MOST_TOLD_BYTES {
                    next = told;
                    break;
                }
                let pair = &found.pairs[at as usize];
                let (callers, callees) = (pair.callers.clone(), pair.callees.clone());
                bytes += callers.size() + callees.size() + PAIR_BYTES;
                pairs.push(ToldPair {
                    trunk,
                    key,
                    callers,
                    callees,
                });
                told = Some(code);
            }
        }
        Sketches {
            run: self.run,
            fingerprint: self.key.fingerprint(),
            kept_from: self.hours_from,
            open: hour >= (self.minutes.closed_to() + 1) / MINUTES_AN_HOUR,
            pairs,
            next,
            lost: self.lost,
        }
    }

    fn request(&mut self, record: &Record, also: &[Record], at: u64) {
        let Some(trunk) = self.trunk_numbers.get(&record.trunk).copied() else {
            self.lost.records += 1;
            return;
        };
        let kind = match record.what {
            What::Message => Kind::Message,
            _ => Kind::Call,
        };
        let mut columns = [Column::Calls; 3];
        let mut count = 1;
        if kind == Kind::Message {
            columns[0] = Column::Messages;
        }
        for (happened, column) in [
            (record.rejected, Column::Rejected),
            (record.shadowed, Column::Shadowed),
        ] {
            if happened {
                columns[count] = column;
                count += 1;
            }
        }
        let columns = &columns[..count];
        let code = code(trunk, key_of(record.caller));
        let minute = self.minutes.at(at / MINUTE);
        let hour = minute.minute / MINUTES_AN_HOUR;
        self.lost.rows += u64::from(!minute.add(code, columns));
        let caller = (record.caller != 0).then(|| self.key.hash(record.caller));
        let callee = (record.callee != 0).then(|| self.key.hash(record.callee));
        self.sketch(hour, code, caller, callee);

        let mut set = 0;
        if !self.watching.is_empty() {
            let mut matches = std::mem::take(&mut self.matches);
            let mut callers = [0; crate::identity::MOST];
            callers[0] = record.caller;
            let count = callers.len().min(also.len() + 1);
            for (place, also) in callers[1..].iter_mut().zip(also) {
                *place = also.caller;
            }
            let trusted = record.trusted;
            self.watching
                .find(&callers[..count], record.trunk, trusted, kind, &mut matches);
            for (handle, number) in &matches.items {
                let code = super::code(trunk, *handle);
                let kept = self.minutes.at(at / MINUTE).add(code, columns);
                self.lost.rows += u64::from(!kept);
                self.sketch(hour, code, Some(self.key.hash(*number)), callee);
            }
            self.lost.watches += std::mem::take(&mut matches.lost);
            if record.followed {
                set = self.watching.set_number(&matches).unwrap_or_else(|| {
                    self.lost.watches += 1;
                    0
                });
            }
            self.matches = matches;
        }
        if record.followed {
            self.begun.push(Begun {
                transaction: record.transaction,
                code,
                set,
                now: record.now,
            });
        }
    }

    fn sketch(&mut self, hour: u64, code: Code, caller: Option<u64>, callee: Option<u64>) {
        let full = self.sketch_bytes >= self.most_sketch_bytes && !self.make_room(hour);
        let mut bytes = self.sketch_bytes;
        let found = self.hour(hour);
        let at = match found.index.get(&code) {
            Some(at) => *at as usize,
            None if full => {
                self.lost.sketches += u64::from(caller.is_some()) + u64::from(callee.is_some());
                return;
            }
            None => {
                found.index.insert(code, found.pairs.len() as u32);
                found.pairs.push(Pair::default());
                bytes += PAIR_BYTES;
                found.pairs.len() - 1
            }
        };
        let pair = &mut found.pairs[at];
        let mut lost = 0;
        for (sketch, hash) in [(&mut pair.callers, caller), (&mut pair.callees, callee)] {
            let Some(hash) = hash else { continue };
            if full {
                lost += u64::from(!sketch.add_in_place(hash));
                continue;
            }
            let before = sketch.size();
            sketch.add(hash);
            bytes += sketch.size() - before;
        }
        self.lost.sketches += lost;
        self.sketch_bytes = bytes;
    }

    /// Gives up the oldest hour, if it is before that one.
    fn make_room(&mut self, hour: u64) -> bool {
        let is_old = self.hours.first().is_some_and(|oldest| oldest.hour < hour);
        if is_old {
            let oldest = self.hours.remove(0);
            self.hours_from = self.hours_from.max(oldest.hour + 1);
            self.sketch_bytes -= oldest.size();
        }
        is_old
    }

    /// Where an hour's sketches are.
    fn hour(&mut self, hour: u64) -> &mut Hour {
        let at = match self.hours.iter().rposition(|found| found.hour <= hour) {
            Some(at) if self.hours[at].hour == hour => at,
            before => {
                let at = before.map_or(0, |at| at + 1);
                let fresh = Hour {
                    hour,
                    ..Hour::default()
                };
                self.hours.insert(at, fresh);
                at
            }
        };
        &mut self.hours[at]
    }

    fn named<'a>(&'a self, minute: u64, rows: &'a [Row]) -> impl Iterator<Item = ToldRow> + 'a {
        rows.iter().filter_map(move |row| {
            let (trunk, key) = self.names(row.code)?;
            Some(ToldRow {
                minute,
                trunk,
                key,
                figures: row.figures,
            })
        })
    }

    /// Trunk and key of a row or sketch; `None`: of a watch that is no longer watched.
    fn names(&self, code: Code) -> Option<(Arc<str>, String)> {
        let (trunk, what) = parts(code);
        let key = match what {
            0 => String::new(),
            digits if digits < KEYS => digits.to_string(),
            handle => self.watching.name(handle)?.to_owned(),
        };
        Some((Arc::clone(self.trunks.get(usize::from(trunk))?), key))
    }
}

impl Hour {
    fn size(&self) -> usize {
        let of_pair = |pair: &Pair| PAIR_BYTES + pair.callers.size() + pair.callees.size();
        self.pairs.iter().map(of_pair).sum()
    }
}

/// A caller's first four digits.
fn key_of(caller: u64) -> u16 {
    let prefix = Number::from_value(caller).and_then(|number| number.prefix(4));
    prefix.map_or(0, |prefix| prefix.value() as u16)
}

#[cfg(test)]
#[path = "books_tests.rs"]
mod tests;
