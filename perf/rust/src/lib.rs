//! The load of the benchmarks: calls with an answer that is known beforehand, and what came instead.
//!
//! [`run`] drives one server through one [`Scenario`] and returns the [`Outcome`]. Time is spent here on checking every
//! answer, so the cost of this process is its own and stands apart in the outcome.

mod callee;
mod calls;
mod datagrams;
mod drive;
mod histogram;
mod invite;
mod line;
mod list;
mod scenario;

pub use datagrams::{echo, Datagrams};
pub use drive::run;
pub use list::NUMBERS;
pub use scenario::{Outcome, Scenario};
