//! Lanes: who floods us fills a queue of their own.
//!
//! Each UDP address of a worker is a row of sockets in one SO_REUSEPORT group. A program made from the settings (classic
//! BPF; it needs no privilege) steers each datagram by its source: next hops to the first lane, strangers to the next,
//! trunks to the others. The kernel drops what a lane has no room for, and the worker gives each lane equal turns.
//! Without the program all still works, but the kernel spreads sources blindly.
//!
//! Each block of unsafe code says why it is sound.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use palang_core::setup::{Network, Setup};
use socket2::SockRef;

use crate::socket::{self, PATIENCE};

/// The lane of the next hops: what they send is about calls that are under way.
const OF_HOPS: usize = 0;
const OF_STRANGERS: usize = 1;
/// So many lanes an address has.
const FEWEST: usize = 4;
const MOST: usize = 32;
/// An address's sockets, over all workers: many workers have fewer lanes, lest the process run out of descriptors.
const MOST_SOCKETS: usize = 256;
/// Networks that the program compares one by one, within what the kernel takes; above, sources are spread by a hash.
const MOST_ROWS: usize = 200;

/// How many lanes an address has: one for each trunk as far as they go, and two.
pub fn wanted(trunks: usize, workers: usize) -> usize {
    (trunks + 2).min(MOST_SOCKETS / workers).clamp(FEWEST, MOST)
}

/// Binds the sockets of an address: for each worker its lanes. Fails when anyone else has the address.
pub fn bind(address: SocketAddr, workers: usize, lanes: usize) -> io::Result<Vec<Vec<UdpSocket>>> {
    // The first is bound alone, so that no stranger's group is joined, and then founds the group.
    let first = socket::bind(address, false)?;
    let address = first.local_addr()?;
    SockRef::from(&first).set_reuse_port(true)?;
    let mut first = Some(first);
    let row = (0..workers).map(|_| {
        let lane = |_| match first.take() {
            Some(first) => Ok(first),
            None => socket::bind(address, true),
        };
        (0..lanes).map(lane).collect()
    });
    row.collect()
}

/// Which lane a source's datagrams go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Row {
    network: Network,
    port: Option<u16>,
    lane: usize,
}

/// Steers what comes to an address, until it is steered anew. `socket` is any of its sockets.
pub fn steer(socket: &UdpSocket, (workers, lanes): (usize, usize), setup: &Setup) -> io::Result<()> {
    let ipv4 = socket.local_addr()?.is_ipv4();
    let program = program(&rows(setup, lanes), (workers, lanes), ipv4);
    let program = libc::sock_fprog {
        len: program.len() as libc::c_ushort,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the value is a program of the length stated, which lives until the call is over; the kernel checks and
    // copies it.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// In the order of `Setup::peer`: the first that fits decides. The first trunk has the last lane: when it is answered, what
/// others sent before has been handled, which tests count on.
fn rows(setup: &Setup, lanes: usize) -> Vec<Row> {
    let hops = || setup.hops.iter().chain(&setup.retired);
    let exact = hops().map(|hop| Row {
        network: Network::of(hop.address.ip()),
        port: Some(hop.address.port()),
        lane: OF_HOPS,
    });
    let mut theirs: Vec<Row> = setup
        .trunks
        .iter()
        .enumerate()
        .flat_map(|(i, trunk)| {
            trunk.sources.iter().map(move |network| Row {
                network: *network,
                port: trunk.port,
                lane: lanes - 1 - i % (lanes - 2),
            })
        })
        .collect();
    theirs.sort_by_key(|row| std::cmp::Reverse((row.port.is_some(), row.network.bits())));
    let networks = hops().flat_map(|hop| &hop.networks).map(|network| Row {
        network: *network,
        port: None,
        lane: OF_HOPS,
    });
    exact.chain(theirs).chain(networks).collect()
}

/// Memory of the program.
const PORT: u32 = 0;
const SOURCE: u32 = 1;
const WORKER: u32 = 2;
/// Where the network header begins (linux/filter.h); the program's own offset 0 is behind the UDP header.
const NET: u32 = libc::SKF_NET_OFF as u32;
/// A multiplier that spreads sources.
const SPREAD: u32 = 0x9e37_79b1;

/// The program returns a socket's place in the group: its worker's first, and its lane.
fn program(rows: &[Row], (workers, lanes): (usize, usize), ipv4: bool) -> Vec<libc::sock_filter> {
    use libc::{
        BPF_A, BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_LD, BPF_LDX, BPF_MEM, BPF_MSH, BPF_RET, BPF_ST, BPF_W,
    };
    use libc::{
        BPF_ADD, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_K, BPF_MISC, BPF_MOD, BPF_MUL, BPF_RSH, BPF_TAX,
        BPF_X, BPF_XOR,
    };
    let step = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let load = |from: u32| step(BPF_LD | BPF_W | BPF_ABS, NET.wrapping_add(from));
    let alu = |what: u32, k: usize| step(BPF_ALU | what | BPF_K, k as u32);
    let recall = |cell: u32| step(BPF_LD | BPF_MEM, cell);
    let mut made = match ipv4 {
        // The IPv4 header's length varies; its source is at 12.
        true => vec![
            step(BPF_LDX | BPF_B | BPF_MSH, NET),
            step(BPF_LD | BPF_H | BPF_IND, NET),
            step(BPF_ST, PORT),
            load(12),
        ],
        // IPv6: source at 8. Behind extension headers the port is misread; it only chooses among workers, or trunks
        // that share an address.
        false => vec![
            step(BPF_LD | BPF_H | BPF_ABS, NET.wrapping_add(40)),
            step(BPF_ST, PORT),
            load(8),
            step(BPF_MISC | BPF_TAX, 0),
            load(12),
            step(BPF_ALU | BPF_XOR | BPF_X, 0),
            step(BPF_MISC | BPF_TAX, 0),
            load(16),
            step(BPF_ALU | BPF_XOR | BPF_X, 0),
            step(BPF_MISC | BPF_TAX, 0),
            load(20),
            step(BPF_ALU | BPF_XOR | BPF_X, 0),
        ],
    };
    made.extend([
        step(BPF_ST, SOURCE),
        step(BPF_MISC | BPF_TAX, 0),
        recall(PORT),
        step(BPF_ALU | BPF_XOR | BPF_X, 0),
        alu(BPF_MUL, SPREAD as usize),
        alu(BPF_RSH, 16),
        alu(BPF_MOD, workers),
        alu(BPF_MUL, lanes),
        step(BPF_ST, WORKER),
    ]);
    let end = |lane: usize| [recall(WORKER), alu(BPF_ADD, lane), step(BPF_RET | BPF_A, 0)];
    if rows.len() > MOST_ROWS {
        made.extend([
            recall(SOURCE),
            alu(BPF_MUL, SPREAD as usize),
            alu(BPF_RSH, 16),
            alu(BPF_MOD, lanes),
            step(BPF_MISC | BPF_TAX, 0),
            recall(WORKER),
            step(BPF_ALU | BPF_ADD | BPF_X, 0),
            step(BPF_RET | BPF_A, 0),
        ]);
        return made;
    }
    for row in rows {
        let mut tests = Vec::new();
        if let Some(port) = row.port {
            tests.push((recall(PORT), u32::MAX, u32::from(port)));
        }
        match row.network.address() {
            IpAddr::V4(ip) if ipv4 => {
                let mask = first_bits(row.network.bits());
                tests.push((recall(SOURCE), mask, u32::from(ip) & mask));
            }
            IpAddr::V6(ip) if !ipv4 => {
                for (i, word) in (0..4).zip(words(u128::from(ip))) {
                    let mask = first_bits(row.network.bits().saturating_sub(32 * i));
                    tests.push((load(8 + 4 * u32::from(i)), mask, word & mask));
                }
            }
            _ => continue,
        }
        let end = end(row.lane);
        let mut left = 3 * tests.len() + end.len();
        for (from, mask, wanted) in tests {
            left -= 3;
            let mut compare = step(BPF_JMP | BPF_JEQ | BPF_K, wanted);
            compare.jf = left as u8; // On to the next row.
            made.extend([from, step(BPF_ALU | BPF_AND | BPF_K, mask), compare]);
        }
        made.extend(end);
    }
    made.extend(end(OF_STRANGERS));
    made
}

fn first_bits(count: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(count.min(32))).unwrap_or(0)
}

fn words(ip: u128) -> [u32; 4] {
    [96, 64, 32, 0].map(|shift| (ip >> shift) as u32)
}

/// Waits for several sockets, and remembers which may have something to read.
pub struct Watch {
    poll: Poll,
    events: Events,
    ready: Vec<bool>,
}

impl Watch {
    pub fn new(sockets: &[UdpSocket]) -> io::Result<Watch> {
        let poll = Poll::new()?;
        for (i, socket) in sockets.iter().enumerate() {
            let mut source = SourceFd(&socket.as_raw_fd());
            poll.registry()
                .register(&mut source, Token(i), Interest::READABLE)?;
        }
        Ok(Watch {
            poll,
            events: Events::with_capacity(sockets.len()),
            ready: vec![true; sockets.len()],
        })
    }

    /// Waits until a socket may be read, at most `PATIENCE`.
    pub fn wait(&mut self) -> io::Result<()> {
        let patience = match self.ready.contains(&true) {
            true => Duration::ZERO,
            false => PATIENCE,
        };
        self.poll.poll(&mut self.events, Some(patience))?;
        for event in &self.events {
            self.ready[event.token().0] = true;
        }
        Ok(())
    }

    pub fn is_ready(&self, i: usize) -> bool {
        self.ready[i]
    }

    /// Nothing is left to read there.
    pub fn rest(&mut self, i: usize) {
        self.ready[i] = false;
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Instant;

    use super::*;
    use crate::settings::Settings;

    fn setup(hop: &str, trunks: &[(&str, Option<u16>)]) -> Setup {
        let rows = trunks.iter().enumerate().map(|(i, (networks, port))| {
            let networks: Vec<String> = networks.split(' ').map(|text| format!("{text:?}")).collect();
            let port = port.map_or(String::new(), |port| format!(r#""port": {port},"#));
            let networks = networks.join(",");
            format!(r#"{{"name": "t{i}", "sources": [{networks}], {port} "plan": "international", "mode": "off"}}"#)
        });
        let text = format!(
            r#"{{"listen": ["udp:127.0.0.1:0"], "workers": 1, "node": "n", "key": "{key}", "protected": [],
                "trunks": [{rows}],
                "next_hops": [{{"name": "h", "address": "{hop}", "networks": ["127.0.0.48/28"]}}]}}"#,
            key = "5a".repeat(32),
            rows = rows.collect::<Vec<_>>().join(",")
        );
        let settings = Settings::parse(&text).unwrap();
        settings.setup(settings.listen.clone(), Vec::new())
    }

    /// Sends from a source and returns the worker and the lane where it came.
    fn lane_of(sockets: &[Vec<UdpSocket>], from: &UdpSocket) -> (usize, usize) {
        from.send_to(b"x", sockets[0][0].local_addr().unwrap()).unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            for (worker, lanes) in sockets.iter().enumerate() {
                for (lane, socket) in lanes.iter().enumerate() {
                    socket.set_nonblocking(true).unwrap();
                    if socket.recv(&mut [0; 8]).is_ok() {
                        return (worker, lane);
                    }
                }
            }
        }
        panic!("nothing came");
    }

    #[test]
    fn sources_have_the_lane_of_what_the_element_takes_them_for() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 1, 6).unwrap();
        let [hop, other] = [0; 2].map(|_| UdpSocket::bind("127.0.0.20:0").unwrap());
        let one = UdpSocket::bind("127.0.0.21:0").unwrap();
        let (hop_address, port) = (hop.local_addr().unwrap(), one.local_addr().unwrap().port());
        let trunks = [
            ("127.0.0.16/28 127.0.0.64/26", None),
            ("127.0.0.22", None),
            ("127.0.0.21", Some(port)),
            ("127.0.0.23", None),
            ("127.0.0.24", None),
        ];
        steer(&sockets[0][0], (1, 6), &setup(&hop_address.to_string(), &trunks)).unwrap();
        let bound = |host: &str| UdpSocket::bind((host, 0)).unwrap();
        for (socket, lane) in [
            (hop, 0),
            (other, 5),
            (one, 3),
            (bound("127.0.0.21"), 5),
            (bound("127.0.0.22"), 4),
            (bound("127.0.0.23"), 2),
            (bound("127.0.0.24"), 5), // The fifth trunk shares the first one's.
            (bound("127.0.0.64"), 5),
            (bound("127.0.0.127"), 5),
            (bound("127.0.0.128"), 1),
            (bound("127.0.0.50"), 0),
            (bound("127.0.0.1"), 1),
        ] {
            assert_eq!(lane_of(&sockets, &socket), (0, lane), "{:?}", socket.local_addr());
        }
        steer(
            &sockets[0][0],
            (1, 6),
            &setup("127.0.0.9:9", &[("0.0.0.0/0", None)]),
        )
        .unwrap();
        assert_eq!(lane_of(&sockets, &bound("127.0.0.128")), (0, 5));
    }

    #[test]
    fn sources_of_ipv6_too() {
        let sockets = bind("[::1]:0".parse().unwrap(), 1, 5).unwrap();
        let source = UdpSocket::bind("[::1]:0").unwrap();
        for (networks, lane) in [
            ("::1", 4),
            ("::/126", 4),
            ("::/64", 4),
            ("::/0", 4),
            ("::2", OF_STRANGERS),
            ("2001:db8::1", OF_STRANGERS),
            ("0:0:0:1::1", OF_STRANGERS),
            ("127.0.0.0/8", OF_STRANGERS),
        ] {
            steer(&sockets[0][0], (1, 5), &setup("[::1]:9", &[(networks, None)])).unwrap();
            assert_eq!(lane_of(&sockets, &source), (0, lane), "{networks}");
        }
    }

    #[test]
    fn workers_share_a_lane_by_source_and_each_source_stays_with_one() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3, 4).unwrap();
        steer(
            &sockets[0][0],
            (3, 4),
            &setup("127.0.0.9:9", &[("127.0.0.30", None)]),
        )
        .unwrap();
        let mut seen = [0; 3];
        for _ in 0..60 {
            let source = UdpSocket::bind("127.0.0.30:0").unwrap();
            let (worker, lane) = lane_of(&sockets, &source);
            assert_eq!((lane_of(&sockets, &source), lane), ((worker, 3), 3));
            seen[worker] += 1;
        }
        assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
    }

    #[test]
    fn a_flood_fills_its_own_queue() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 1, 4).unwrap();
        let trunks = [("127.0.0.31", None), ("127.0.0.32", None)];
        steer(&sockets[0][0], (1, 4), &setup("127.0.0.9:9", &trunks)).unwrap();
        let to = sockets[0][0].local_addr().unwrap();
        let flooder = UdpSocket::bind("127.0.0.31:0").unwrap();
        (0..20_000).for_each(|_| drop(flooder.send_to(&[b'x'; 900], to)));
        let other = UdpSocket::bind("127.0.0.32:0").unwrap();
        other.send_to(b"y", to).unwrap();
        sockets[0][2].set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(sockets[0][2].recv(&mut [0; 8]).unwrap(), 1);
        sockets[0][3].set_nonblocking(true).unwrap();
        let kept = (0..)
            .take_while(|_| sockets[0][3].recv(&mut [0; 8]).is_ok())
            .count();
        assert!(kept < 20_000, "it was a flood: {kept}");
    }

    #[test]
    fn programs_of_any_size_are_taken() {
        let sockets = bind("[::1]:0".parse().unwrap(), 2, 32).unwrap();
        let source = UdpSocket::bind("[::1]:0").unwrap();
        for count in [MOST_ROWS - 2, 2000] {
            let networks: Vec<String> = (1..=count).map(|i| format!("2001:db8::{i:x}")).collect();
            steer(
                &sockets[0][0],
                (2, 32),
                &setup("[::1]:9", &[(networks.join(" ").as_str(), Some(5060))]),
            )
            .unwrap();
            assert_eq!(lane_of(&sockets, &source), lane_of(&sockets, &source));
        }
    }

    #[test]
    fn there_are_as_many_lanes_as_trunks_within_limits() {
        assert_eq!((wanted(0, 1), wanted(5, 2), wanted(100, 1)), (4, 7, 32));
        assert_eq!((wanted(100, 16), wanted(100, 64)), (16, 4));
    }

    #[test]
    fn an_address_is_ours_alone() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 1, 4).unwrap();
        let again = bind(sockets[0][0].local_addr().unwrap(), 1, 4);
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
