//! The list as memory-mapped files: one writer, many readers, none of whom ever wait.
//!
//! The *live* folder (a tmpfs) holds `ctl`, which names the current generation, the generations `list.<g>`, and a ring
//! of hits for each thread of a gateway. The *state* folder (a disk) holds snapshots and logs of revisions, from which
//! a writer starts with everything else dead. Begin reading at `writer` and `reader`.

mod ctl;
mod current;
mod fault;
mod file;
mod generation;
mod hits;
mod logfile;
mod reader;
mod recover;
mod snapshot;
mod writer;

pub use fault::{WriteError, MOST_CHANGES};
pub use file::forks;
pub use generation::Generation;
pub use hits::{Effect, Hit, HitRing, Rings};
pub use reader::{Follower, Held, Reader};
pub use recover::Origin;
pub use writer::Writer;
