//! Who is on either side of the element: trunks, next hops, and what is agreed with each.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::decision::TrunkMode;
use crate::health::{Checks, Health};
use crate::identity::Terms;
use crate::keys::Keys;
use crate::manners::{Manners, Role};
use crate::refusal::Redress;
use crate::tls_name::TlsName;
use crate::transport::{Local, Transport};

/// All that the element knows beforehand. Valid by construction of its parts; replaced whole.
pub struct Setup {
    /// Addresses that we receive on and send from; each is named in our Via, so none is a wildcard.
    pub locals: Vec<Local>,
    pub keys: Keys,
    pub trunks: Vec<Trunk>,
    pub hops: Vec<Hop>,
    /// Next hops taken out of use: no new calls, but those on course still reach them.
    pub retired: Vec<Hop>,
    /// Callees that always pass: emergency and service numbers, as dialled.
    pub protected: Vec<Box<[u8]>>,
    pub record_route: bool,
    pub label: Box<[u8]>,
    /// Forward everything unjudged.
    pub bypass: bool,
    /// Whether records for `traffic` are written.
    pub count_traffic: bool,
    /// Peers that ask shall go around us; what still comes is served.
    pub drain: bool,
    pub redress: Redress,
    pub checks: Checks,
}

/// An interconnect peer.
pub struct Trunk {
    pub name: Box<str>,
    /// `clause::trunk_key` of the name.
    pub key: u64,
    pub sources: Vec<Network>,
    /// Set where several peers share an address: datagrams are the trunk's only from this port. Connections come from
    /// any port.
    pub port: Option<u16>,
    /// Set where a certificate tells who it is: the trunk has the TLS connections that showed one of these, alone.
    pub tls_names: Vec<TlsName>,
    pub terms: Terms,
    pub mode: TrunkMode,
    pub response: Response,
    /// Whether short messages are judged too.
    pub messages: bool,
    pub manners: Manners,
}

/// The final response to what a rule refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response {
    Decline,
    /// 603+; see `refusal`.
    NetworkBlocked,
    /// 608 where the call's way can show it.
    Rejected,
    Forbidden,
}

/// A switch that calls go on to.
#[derive(Clone)]
pub struct Hop {
    pub name: Box<str>,
    /// How requests reach it: by datagrams, or over a connection that we open.
    pub transport: Transport,
    pub address: SocketAddr,
    /// Networks that it sends from, and that dialogs may lead to.
    pub networks: Vec<Network>,
    /// No new calls; those on course still reach it.
    pub drain: bool,
    pub health: Health,
}

/// Where a datagram comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    Trunk(usize),
    Hop,
    Unknown,
}

/// What a message came over, as far as it tells who sent it.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    Datagram,
    /// The names that the peer's certificate shows; none where it showed no certificate.
    Connection(&'a [TlsName]),
}

/// Addresses that share their first bits. IPv4-mapped IPv6 counts as IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// A single address.
    pub fn of(address: IpAddr) -> Network {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Network { address, bits }
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many first bits they share.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Reads `192.0.2.0/24`, `2001:db8::/32` or a single address.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Network { address, bits })
    }

    /// Whether both are the same addresses.
    pub fn is_same(&self, other: &Network) -> bool {
        self.bits == other.bits && self.contains(other.address)
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                (u32::from(own) ^ u32::from(ip))
                    .checked_shr(32 - u32::from(self.bits))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                (u128::from(own) ^ u128::from(ip))
                    .checked_shr(128 - u32::from(self.bits))
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

impl Hop {
    /// A short name that survives reconfiguration.
    pub fn id(&self) -> u16 {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip),
        };
        let mixed =
            (ip ^ ip >> 64) as u64 ^ u64::from(self.address.port()) << 32 ^ (self.transport as u64) << 48;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
    }

    /// Whether requests reach it over a connection at that address.
    pub fn is_behind(&self, address: SocketAddr) -> bool {
        self.transport.is_stream() && self.address == address
    }

    pub fn takes_calls(&self) -> bool {
        !self.drain && self.health.is_up()
    }

    /// How much a call is drawn to this hop. The strongest gets it, so that of the others' calls none moves when a
    /// hop comes or goes (rendezvous hashing).
    pub fn pull(&self, call: u64) -> u64 {
        let mixed = call ^ u64::from(self.id()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ mixed >> 32
    }

    fn covers(&self, address: SocketAddr) -> bool {
        self.address == address || self.networks.iter().any(|network| network.contains(address.ip()))
    }
}

/// Its address as settings write it.
impl fmt::Display for Hop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            Transport::Udp => self.address.fmt(out),
            transport => write!(out, "{}:{}", transport.name(), self.address),
        }
    }
}

impl Trunk {
    pub fn is_dip(&self) -> bool {
        matches!(self.manners.role, Role::Dip { .. })
    }

    pub fn covers(&self, address: SocketAddr) -> bool {
        self.port.is_none_or(|port| port == address.port()) && self.bits(address).is_some()
    }

    /// The length of its narrowest network that the address lies in.
    fn bits(&self, address: SocketAddr) -> Option<u8> {
        let networks = self.sources.iter();
        networks
            .filter(|network| network.contains(address.ip()))
            .map(|network| network.bits)
            .max()
    }

    /// How surely the trunk is the one that a message came from, comparable with others'; None: it is not.
    fn sender_rank(&self, source: SocketAddr, way: Way<'_>) -> Option<(bool, u8, bool)> {
        let bits = self.bits(source)?;
        match way {
            Way::Datagram if !self.tls_names.is_empty() => None,
            Way::Datagram => match self.port {
                None => Some((false, bits, false)),
                Some(port) => (port == source.port()).then_some((true, bits, false)),
            },
            Way::Connection(_) if self.tls_names.is_empty() => Some((false, bits, self.port.is_none())),
            Way::Connection(shown) => {
                let is_shown = self.tls_names.iter().any(|name| shown.contains(name));
                is_shown.then_some((true, bits, true))
            }
        }
    }

    /// The same for the trunk that a request goes to. Where a certificate alone would tell, the one that we trust less.
    fn target_rank(&self, address: SocketAddr, transport: Transport) -> Option<(bool, u8, bool)> {
        let bits = self.bits(address)?;
        let reaches = match transport {
            Transport::Tls => true,
            Transport::Tcp => self.tls_names.is_empty(),
            Transport::Udp => {
                self.tls_names.is_empty() && self.port.is_none_or(|port| port == address.port())
            }
        };
        let by_port = transport == Transport::Udp && self.port.is_some();
        reaches.then_some((by_port, bits, !self.terms.trusted))
    }
}

impl Setup {
    /// Who sent from `source`: a next hop by its exact address, then a trunk, then a next hop's network.
    ///
    /// Of several trunks a datagram is that one's with its port, then with the narrowest network; a connection that
    /// one's with a name that its peer has shown, then with the narrowest network, then one without a port. Trunks that
    /// are still alike are refused as settings, save that one peer shows two trunks' names: then the first is it.
    pub fn peer(&self, source: SocketAddr, way: Way<'_>) -> Peer {
        if self
            .hops
            .iter()
            .chain(&self.retired)
            .any(|hop| hop.address == source)
        {
            return Peer::Hop;
        }
        match self.best(|trunk| trunk.sender_rank(source, way)) {
            Some(i) => Peer::Trunk(i),
            None if self.is_hop(source) => Peer::Hop,
            None => Peer::Unknown,
        }
    }

    /// Whether a connection from there may turn out to be somebody's, once its certificate is known.
    pub fn may_connect(&self, source: SocketAddr) -> bool {
        self.is_hop(source) || self.trunks.iter().any(|trunk| trunk.bits(source).is_some())
    }

    /// The trunk that requests towards an address reach.
    pub fn trunk_towards(&self, address: SocketAddr, transport: Transport) -> Option<usize> {
        self.best(|trunk| trunk.target_rank(address, transport))
    }

    /// The trunk of the highest rank; of several the first.
    fn best<R: Ord>(&self, rank: impl Fn(&Trunk) -> Option<R>) -> Option<usize> {
        let ranked = self.trunks.iter().enumerate().rev();
        ranked
            .filter_map(|(i, trunk)| Some((rank(trunk)?, i)))
            .max_by(|one, other| one.0.cmp(&other.0))
            .map(|(_, i)| i)
    }

    pub fn is_hop(&self, address: SocketAddr) -> bool {
        self.hops
            .iter()
            .chain(&self.retired)
            .any(|hop| hop.covers(address))
    }

    pub fn is_local(&self, address: SocketAddr) -> bool {
        self.locals.iter().any(|local| local.address == address)
    }

    /// Whether what is at that index is an address that connections come to.
    pub fn is_stream(&self, local: usize) -> bool {
        self.locals
            .get(local)
            .is_some_and(|local| local.transport.is_stream())
    }

    /// Whether a peer that reaches one of these addresses can reach the other: same transport, same family.
    pub fn reaches_alike(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.locals[one], &self.locals[other]);
        one.transport == other.transport && one.address.is_ipv4() == other.address.is_ipv4()
    }

    /// The next hop that an address inside a dialog means: the one that has it, or one whose networks hold it.
    pub fn hop_at(&self, address: SocketAddr) -> Option<&Hop> {
        let known = || self.hops.iter().chain(&self.retired);
        known()
            .find(|hop| hop.address == address)
            .or_else(|| known().find(|hop| hop.covers(address)))
    }

    pub fn hop(&self, id: u16) -> Option<&Hop> {
        self.hops.iter().chain(&self.retired).find(|hop| hop.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_by_their_first_bits() {
        let contains =
            |network: &str, ip: &str| Network::parse(network).unwrap().contains(ip.parse().unwrap());
        assert!(contains("192.0.2.0/24", "192.0.2.255") && !contains("192.0.2.0/24", "192.0.3.0"));
        assert!(contains("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(contains("0.0.0.0/0", "8.8.8.8") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::") && !contains("2001:db8::1", "2001:db8::2"));
        assert!(["", "1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4/x"]
            .iter()
            .all(|text| Network::parse(text).is_none()));
    }
}
