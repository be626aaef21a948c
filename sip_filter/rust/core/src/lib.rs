//! The pure heart of Palang: bytes, values and `now` in; values out. No sockets, no files, no clock.
//!
//! Two rooms share this crate. The *list* says which subjects are ruled and how; the *element* reads SIP
//! messages, asks the list, and says what a stateless SIP element must send.
#![forbid(unsafe_code)]

// The list.
pub mod clause;
pub mod decision;
pub mod digest;
pub mod draft;
pub mod edit;
pub mod entry;
pub mod list;
pub mod log;
pub mod number;
pub mod policy;
pub mod table;
pub mod timed;

// The element.
pub mod counter;
pub mod countries;
pub mod course;
pub mod element;
pub mod forward;
pub mod frame;
pub mod health;
pub mod identity;
pub mod inquiry;
pub mod keys;
pub mod manners;
pub mod message;
pub mod name;
pub mod originator;
pub mod own_plan;
pub mod plan;
pub mod privacy;
pub mod refusal;
pub mod reply;
pub mod scan;
pub mod setup;
pub mod tls_name;
pub mod traffic;
pub mod transport;
pub mod uri;
pub mod via;
