//! What carries messages: the addresses that we listen on, each with its transport, and the connections to them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

const NAMES: [(&str, &str, Transport); 3] = [
    ("udp", "UDP", Transport::Udp),
    ("tcp", "TCP", Transport::Tcp),
    ("tls", "TLS", Transport::Tls),
];

impl Transport {
    /// By its name in settings and URIs, in any case.
    pub fn named(name: &[u8]) -> Option<Transport> {
        let row = NAMES
            .iter()
            .find(|row| name.eq_ignore_ascii_case(row.0.as_bytes()))?;
        Some(row.2)
    }

    /// As settings and URIs name it.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].0
    }

    /// As Via names it (RFC 3261 §20.42).
    pub fn in_via(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Whether messages come framed in a stream (RFC 3261 §18.3).
    pub fn is_stream(self) -> bool {
        self != Transport::Udp
    }
}

/// An address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Local {
    pub transport: Transport,
    pub address: SocketAddr,
}

/// Reads `tcp:192.0.2.1:5060`; a bare address is UDP.
impl FromStr for Local {
    type Err = ();

    fn from_str(text: &str) -> Result<Local, ()> {
        let named = text
            .split_once(':')
            .and_then(|(name, rest)| Some((Transport::named(name.as_bytes())?, rest)));
        let (transport, address) = named.unwrap_or((Transport::Udp, text));
        let address = address.parse().map_err(drop)?;
        Ok(Local { transport, address })
    }
}

impl fmt::Display for Local {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.transport.name(), self.address)
    }
}

/// One connection, by a name that this process gives only once: the local address it came to, and a serial.
///
/// It stands in our Via, so that a response finds its connection while the element keeps no state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow(u64);

const SERIAL_BITS: u32 = 48;

impl Flow {
    pub fn new(local: usize, serial: u64) -> Flow {
        Flow((local as u64) << SERIAL_BITS | (serial & ((1 << SERIAL_BITS) - 1)))
    }

    pub fn local(self) -> usize {
        (self.0 >> SERIAL_BITS) as usize
    }

    pub fn serial(self) -> u64 {
        self.0 & ((1 << SERIAL_BITS) - 1)
    }

    /// The value of our Via's `flow` parameter.
    pub fn text(self) -> [u8; 16] {
        std::array::from_fn(|i| b"0123456789abcdef"[(self.0 >> (60 - 4 * i) & 15) as usize])
    }

    pub fn read(text: &[u8]) -> Option<Flow> {
        let plain = text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(text).ok().filter(|_| plain)?;
        u64::from_str_radix(text, 16).ok().map(Flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_flows_round_trip() {
        for text in ["udp:192.0.2.1:5060", "tcp:[2001:db8::1]:5060", "tls:192.0.2.1:0"] {
            assert_eq!(text.parse::<Local>().unwrap().to_string(), text);
        }
        assert_eq!(
            "192.0.2.1:5060".parse::<Local>().unwrap().transport,
            Transport::Udp
        );
        assert!(["", "tcp:", "sctp:192.0.2.1:5060", "tcp:192.0.2.1"]
            .iter()
            .all(|text| text.parse::<Local>().is_err()));
        let flow = Flow::new(3, 0x0123_4567_89ab);
        assert_eq!((flow.local(), flow.serial()), (3, 0x0123_4567_89ab));
        assert_eq!(Flow::read(&flow.text()), Some(flow));
        assert!(Flow::read(b"+123456789abcdef").is_none() && Flow::read(b"12").is_none());
    }
}
