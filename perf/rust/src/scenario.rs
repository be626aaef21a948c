//! What to send to whom and what should come back, and what did: JSON on both sides.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use crate::list::NUMBERS;

/// One run against one server.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub server: SocketAddrV4,
    #[serde(default)]
    pub transport: Transport,
    /// The first peer's address; the others follow it.
    #[serde(default = "first_peer")]
    pub source: Ipv4Addr,
    /// Peers that calls come from in turn, 1 to 256. More than one only over UDP.
    #[serde(default = "one")]
    pub peers: u16,
    /// Where the switch that answers good calls is played.
    pub callee: Option<SocketAddrV4>,
    /// Numbers on the servers' list (see `list`).
    pub numbers: u32,
    /// Who calls, in turn, and the final status that each should get; 0 is the request itself, echoed.
    pub callers: Vec<(Caller, u16)>,
    /// How long calls are begun.
    pub seconds: f64,
    /// Begin no more than this many calls.
    pub most: Option<u64>,
    /// Calls that are open at once, at most.
    pub window: usize,
    /// Calls begun a second, whether answers come or not; without it a call begins whenever the window has room.
    pub rate: Option<f64>,
}

impl Scenario {
    /// Err says which value is out of which limit.
    pub fn parse(text: &str) -> Result<Scenario, String> {
        let scenario: Scenario = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let (peers, numbers) = (scenario.peers, scenario.numbers);
        let is_udp = scenario.transport == Transport::Udp;
        match () {
            _ if !(1..=256).contains(&peers) => Err(format!("peers: {peers} is not from 1 to 256")),
            _ if peers > 1 && !is_udp => Err(format!("peers: {peers}, but a connection comes from one")),
            _ if !(1..=NUMBERS).contains(&numbers) => {
                Err(format!("numbers: {numbers} is not from 1 to {NUMBERS}"))
            }
            _ if scenario.callers.is_empty() => Err("callers: [] names nobody who calls".into()),
            _ if scenario.window == 0 => Err("window: 0 lets no call begin".into()),
            _ => Ok(scenario),
        }
    }
}

#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    #[default]
    Udp,
    Tcp,
}

/// Who a call names as its caller.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    /// A number on the list, in From and P-Asserted-Identity.
    Number,
    /// A number under a prefix on the list, in both.
    Prefix,
    /// A good number in From, one on the list in P-Asserted-Identity.
    Asserted,
    /// A good number in both.
    Good,
}

fn first_peer() -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 2, 0)
}

fn one() -> u16 {
    1
}

/// What came of a run.
#[derive(Serialize, Default, Debug)]
pub struct Outcome {
    pub calls: u64,
    /// Calls that got the final status that they should.
    pub right: u64,
    /// Calls that got another one.
    pub wrong: u64,
    /// Calls without a final response.
    pub lost: u64,
    /// Answers that belong to no open call: repeated, late, or of another's making.
    pub stray: u64,
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Requests that reached the callee, and those among them that were not as a stateless proxy forwards them.
    pub forwarded: u64,
    pub misforwarded: u64,
    pub seconds: f64,
    /// CPU that this process used meanwhile.
    pub own_cpu_seconds: f64,
    /// Mean length of a request and of an answer.
    pub request_bytes: u64,
    pub answer_bytes: u64,
    /// Microseconds from when the call was due until its final response was read.
    pub latency_us: BTreeMap<&'static str, f64>,
}
