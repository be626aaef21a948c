//! Counts by minute: the running one, and the closed ones for as long as they are kept.

use std::collections::{HashMap, VecDeque};

use super::{Code, Column, Figures, Mixed};

/// Closed minutes that are kept, unless that would be too many rows.
pub const KEPT_MINUTES: u64 = 95;
/// Rows of one minute; what would be one more is lost.
pub const MOST_ROWS_A_MINUTE: usize = 1 << 15;
/// Rows of all closed minutes, 32 bytes each; beyond that the oldest minutes go.
const MOST_ROWS: usize = 2_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    pub code: Code,
    pub figures: Figures,
}

/// A minute that may still be counted in.
#[derive(Default)]
pub struct Minute {
    pub minute: u64,
    index: HashMap<Code, u32, Mixed>,
    rows: Vec<Row>,
}

impl Minute {
    /// False when there is no room for that row.
    pub fn add(&mut self, code: Code, columns: &[Column]) -> bool {
        let at = match self.index.get(&code) {
            Some(at) => *at as usize,
            None if self.rows.len() >= MOST_ROWS_A_MINUTE => return false,
            None => {
                self.index.insert(code, self.rows.len() as u32);
                self.rows.push(Row {
                    code,
                    figures: Figures::default(),
                });
                self.rows.len() - 1
            }
        };
        for column in columns {
            let figure = &mut self.rows[at].figures[*column as usize];
            *figure = figure.saturating_add(1);
        }
        true
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

pub struct Minutes {
    closed: VecDeque<(u64, Box<[Row]>)>,
    open: Vec<Minute>,
    rows: usize,
    /// The first minute that is told whole, as far as we were there.
    kept_from: u64,
    /// The last minute that is closed; none before it is open.
    closed_to: u64,
}

impl Minutes {
    /// Nothing was counted before `minute`.
    pub fn since(minute: u64) -> Minutes {
        Minutes {
            closed: VecDeque::new(),
            open: Vec::new(),
            rows: 0,
            kept_from: minute,
            closed_to: minute.saturating_sub(1),
        }
    }

    /// The minute to count in, where that one is closed the first that is open.
    pub fn at(&mut self, minute: u64) -> &mut Minute {
        let minute = minute.max(self.closed_to + 1);
        let at = match self.open.iter().rposition(|open| open.minute <= minute) {
            Some(at) if self.open[at].minute == minute => at,
            before => {
                let at = before.map_or(0, |at| at + 1);
                let open = Minute {
                    minute,
                    ..Minute::default()
                };
                self.open.insert(at, open);
                at
            }
        };
        &mut self.open[at]
    }

    /// Closes all minutes up to that one.
    pub fn close(&mut self, minute: u64) {
        while self.open.first().is_some_and(|open| open.minute <= minute) {
            let open = self.open.remove(0);
            self.rows += open.rows.len();
            self.closed.push_back((open.minute, open.rows.into()));
        }
        self.closed_to = self.closed_to.max(minute);
        self.kept_from = self
            .kept_from
            .max((self.closed_to + 1).saturating_sub(KEPT_MINUTES));
        while let Some((oldest, rows)) = self.closed.front() {
            if *oldest >= self.kept_from && self.rows <= MOST_ROWS {
                break;
            }
            self.kept_from = self.kept_from.max(oldest + 1);
            self.rows -= rows.len();
            self.closed.pop_front();
        }
    }

    pub fn kept_from(&self) -> u64 {
        self.kept_from
    }

    pub fn closed_to(&self) -> u64 {
        self.closed_to
    }

    /// The closed minutes after that one, in order.
    pub fn after(&self, minute: u64) -> impl Iterator<Item = &(u64, Box<[Row]>)> {
        self.closed.iter().filter(move |(closed, _)| *closed > minute)
    }

    /// The minutes that are not closed, in order.
    pub fn open(&self) -> &[Minute] {
        &self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_minute_stays_as_it_is() {
        let mut minutes = Minutes::since(100);
        assert!(minutes.at(100).add(1, &[Column::Calls]) && minutes.at(101).add(1, &[Column::Calls]));
        minutes.close(100);
        // What comes late counts in the first minute that is open.
        assert!(minutes.at(100).add(2, &[Column::Rang]));
        assert_eq!(minutes.open()[0].minute, 101);
        minutes.close(102);
        let told: Vec<_> = minutes
            .after(0)
            .map(|(minute, rows)| (*minute, rows.len()))
            .collect();
        assert_eq!(told, [(100, 1), (101, 2)]);
        assert_eq!((minutes.closed_to(), minutes.kept_from()), (102, 100));
        assert_eq!(minutes.after(100).count(), 1);
    }

    #[test]
    fn old_minutes_go_and_that_is_told() {
        let mut minutes = Minutes::since(1_000);
        for minute in 1_000..1_200 {
            minutes.at(minute).add(7, &[Column::Calls]);
            minutes.close(minute);
        }
        assert_eq!(minutes.kept_from(), 1_200 - KEPT_MINUTES);
        assert_eq!(minutes.after(0).next().unwrap().0, minutes.kept_from());
        assert_eq!(minutes.after(0).count() as u64, KEPT_MINUTES);
    }

    #[test]
    fn too_many_rows_cost_the_oldest_minutes() {
        let mut minutes = Minutes::since(0);
        let whole = (MOST_ROWS / MOST_ROWS_A_MINUTE) as u64;
        for minute in 0..=whole {
            let open = minutes.at(minute + 1);
            assert!((0..MOST_ROWS_A_MINUTE as u32).all(|code| open.add(code, &[Column::Calls])));
            assert!(!open.add(u32::MAX, &[Column::Calls]) && open.add(0, &[Column::Calls]));
            minutes.close(minute + 1);
        }
        assert_eq!(minutes.after(0).count() as u64, whole);
        assert_eq!(minutes.kept_from(), 2);
    }
}
