//! What the element writes down of one message, in a shape that costs it next to nothing.

/// Records that wait in one thread at most.
pub const MOST_RECORDS: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// An out-of-dialog INVITE was judged for the first time.
    Call,
    /// A MESSAGE was.
    Message,
    /// Another number that the one before it gave.
    Also,
    /// A provisional response above 100 came for an INVITE.
    Rang,
    /// A 2xx did.
    Answered,
    /// A CANCEL came for one.
    Cancelled,
}

/// One record. Only `now`, `transaction` and `what` mean something where nothing was judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Milliseconds of a clock that never goes back.
    pub now: u64,
    /// `clause::trunk_key` of the trunk's name.
    pub trunk: u64,
    pub transaction: u64,
    /// The number that it counts under: the one that a rule decided on, or else the first. 0: none could be read.
    pub caller: u64,
    /// A number, or something that stands for what was dialled; 0: nothing was.
    pub callee: u64,
    pub what: What,
    pub rejected: bool,
    pub shadowed: bool,
    /// The call goes on, so that it may ring.
    pub followed: bool,
    /// The trunk's identities are believed.
    pub trusted: bool,
}

/// The records of one thread until they are taken.
#[derive(Default)]
pub struct Records {
    items: Vec<Record>,
    lost: u64,
}

impl Records {
    pub fn push(&mut self, record: Record) {
        match self.items.len() < MOST_RECORDS {
            true => self.items.push(record),
            false => self.lost += 1,
        }
    }

    pub fn as_slice(&self) -> &[Record] {
        &self.items
    }

    /// Gives the records away for an empty room.
    pub fn swap(&mut self, room: Vec<Record>) -> Vec<Record> {
        std::mem::replace(&mut self.items, room)
    }

    /// How many found no room since it was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}
