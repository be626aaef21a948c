//! Datagrams out: gathered while a batch is handled, then handed to the kernel in as few sends as can be.
//!
//! Datagrams of one size to one peer leave in one send that the kernel cuts (UDP_SEGMENT, udp(7)): it walks its way
//! once for all of them. Nothing is padded for that. Where it can't be (a path with a smaller MTU, a device without
//! checksums) they leave one by one, and the refusal is remembered for a while.
//!
//! Each block of unsafe code says why it is sound.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use socket2::{SockAddr, SockAddrStorage};

use crate::socket::BATCH;

/// Datagrams that the kernel cuts from one send at most (UDP_MAX_SEGMENTS), and their bytes.
const MOST_SEGMENTS: usize = 64;
const MOST_BYTES: usize = 65_507;
/// How long a path that refused segments is spared them, and how many such paths are remembered.
const SPARED: Duration = Duration::from_secs(30);
const MOST_REFUSALS: usize = 64;
/// Groups that a datagram may still join are found by a hash of so many values.
const OPEN: usize = 128;

/// Datagrams to send. One that finds no group to join begins one; a group leaves whole.
pub struct Sender {
    bytes: Vec<u8>,
    parcels: Vec<Parcel>,
    groups: Vec<Group>,
    open: [u16; OPEN],
    refusals: Vec<Refusal>,
    /// What `send_run` hands over, kept for its memory only.
    room: Room,
}

struct Parcel {
    start: usize,
    end: usize,
    /// The one of its group before it; itself if it is the first.
    before: usize,
}

#[derive(Clone, Copy)]
struct Group {
    to: SocketAddr,
    local: usize,
    /// Bytes of each of its datagrams.
    size: usize,
    order: Order,
    last: usize,
    count: usize,
}

/// Whether a datagram may overtake earlier ones to its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// A message that was forwarded: others of its call may stand before it.
    Kept,
    /// An answer of ours: the only one to its request.
    Free,
}

/// A path that cuts no datagrams of this size and above.
struct Refusal {
    to: IpAddr,
    local: usize,
    size: usize,
    until: Instant,
}

#[derive(Default)]
struct Room {
    names: Vec<SockAddr>,
    pieces: Vec<libc::iovec>,
    controls: Vec<Control>,
    headers: Vec<libc::mmsghdr>,
}

/// The control message of a send that is to be cut: as CMSG_SPACE(2) lays it out.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    size: u16,
    _rest: [u8; 6],
}

/// What a flush came to, in datagrams; `refused` counts sends that the kernel would not cut.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sent {
    pub sent: u64,
    pub failed: u64,
    pub refused: u64,
}

impl Default for Sender {
    fn default() -> Sender {
        Sender {
            bytes: Vec::new(),
            parcels: Vec::new(),
            groups: Vec::new(),
            open: [0; OPEN],
            refusals: Vec::new(),
            room: Room::default(),
        }
    }
}

impl Sender {
    /// A datagram that leaves after all earlier ones to the same peer.
    pub fn add(&mut self, bytes: &[u8], to: SocketAddr, local: usize) {
        self.put(bytes, to, local, Order::Kept);
    }

    pub fn put(&mut self, bytes: &[u8], to: SocketAddr, local: usize, order: Order) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let (size, last) = (bytes.len(), self.parcels.len());
        // Of those whose order is kept only the newest group to a peer is open: what joins it overtakes nothing.
        let slot = slot(to, local, if order == Order::Free { size } else { 0 });
        let found = usize::from(self.open[slot]);
        let group = self.groups[..].get_mut(found.wrapping_sub(1)).filter(|group| {
            (group.size, group.order, group.local, group.to) == (size, order, local, to)
                && group.count < MOST_SEGMENTS
                && (group.count + 1) * size <= MOST_BYTES
                && size > 0
                && !refuses(&self.refusals, to.ip(), local, size)
        });
        let before = match group {
            Some(group) => {
                group.count += 1;
                std::mem::replace(&mut group.last, last)
            }
            None => {
                self.groups.push(Group {
                    to,
                    local,
                    size,
                    order,
                    last,
                    count: 1,
                });
                // More groups than the table can name stay alone.
                self.open[slot] = u16::try_from(self.groups.len()).unwrap_or(0);
                last
            }
        };
        self.parcels.push(Parcel {
            start,
            end: self.bytes.len(),
            before,
        });
    }

    /// Sends everything, from the socket that each datagram names. What the kernel refuses is skipped and counted.
    pub fn flush(&mut self, sockets: &[UdpSocket]) -> Sent {
        let mut done = Sent::default();
        let mut at = 0;
        while at < self.groups.len() {
            let local = self.groups[at].local;
            let run = self.groups[at..]
                .iter()
                .take(BATCH)
                .take_while(|group| group.local == local)
                .count();
            match self.send_run(&sockets[local], at..at + run) {
                Ok(sends) => {
                    let sent = &self.groups[at..at + sends];
                    done.sent += sent.iter().map(|group| group.count as u64).sum::<u64>();
                    at += sends.max(1);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.groups[at].count > 1 && error.kind() != io::ErrorKind::WouldBlock => {
                    done.refused += 1;
                    self.note_refusal(at, &error);
                    self.split(at);
                }
                // One datagram's trouble (no route, too long, a full device) is not the others'.
                Err(_) => {
                    done.failed += self.groups[at].count as u64;
                    at += 1;
                }
            }
        }
        if !self.groups.is_empty() {
            self.open = [0; OPEN];
        }
        if !self.refusals.is_empty() {
            let now = Instant::now();
            self.refusals.retain(|refusal| now < refusal.until);
        }
        self.groups.clear();
        self.parcels.clear();
        self.bytes.clear();
        done
    }

    /// What a refusal says of the path: of this size and above (EINVAL, EMSGSIZE: the MTU), or at all (EIO: no
    /// checksums for parts). Other errors say nothing of it.
    fn note_refusal(&mut self, at: usize, error: &io::Error) {
        let Group { to, local, size, .. } = self.groups[at];
        let size = match error.raw_os_error() {
            Some(libc::EINVAL | libc::EMSGSIZE) => size,
            Some(libc::EIO) => 0,
            _ => return,
        };
        if self.refusals.len() == MOST_REFUSALS {
            self.refusals.remove(0);
        }
        self.refusals.push(Refusal {
            to: to.ip(),
            local,
            size,
            until: Instant::now() + SPARED,
        });
    }

    /// Makes each datagram of a group a group of its own.
    fn split(&mut self, at: usize) {
        let group = self.groups[at];
        let mut alone: Vec<Group> = chain(&self.parcels, group)
            .map(|last| Group {
                last,
                count: 1,
                ..group
            })
            .collect();
        alone.reverse();
        self.groups.splice(at..=at, alone);
    }

    /// Sends whole groups, all from one socket, as far as the kernel takes them; how many it took. It doesn't wait
    /// for a device that is slow.
    fn send_run(&mut self, socket: &UdpSocket, run: std::ops::Range<usize>) -> io::Result<usize> {
        let groups = &self.groups[run];
        let Room {
            names,
            pieces,
            controls,
            headers,
        } = &mut self.room;
        names.clear();
        pieces.clear();
        controls.clear();
        headers.clear();
        for group in groups {
            names.push(group.to.into());
            controls.push(Control::new(group.size));
            let start = pieces.len();
            pieces.extend(chain(&self.parcels, *group).map(|parcel| {
                let Parcel { start, end, .. } = self.parcels[parcel];
                let part = &self.bytes[start..end];
                libc::iovec {
                    iov_base: part.as_ptr().cast_mut().cast(),
                    iov_len: part.len(),
                }
            }));
            pieces[start..].reverse();
        }
        let (mut piece, mut i) = (pieces.as_mut_ptr(), 0);
        headers.resize_with(groups.len(), || {
            let group = &groups[i];
            // SAFETY: mmsghdr is a plain C structure for which all zeroes is a valid value.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            let message = &mut header.msg_hdr;
            let name: *const SockAddrStorage = names[i].as_ptr().cast();
            message.msg_name = name.cast_mut().cast();
            message.msg_namelen = names[i].len();
            message.msg_iov = piece;
            message.msg_iovlen = group.count as _;
            if group.count > 1 {
                message.msg_control = (&raw mut controls[i]).cast();
                message.msg_controllen = size_of::<Control>() as _;
            }
            piece = piece.wrapping_add(group.count);
            i += 1;
            header
        });
        // SAFETY: each header points to as many pieces as its group has datagrams, to a name and a control message; all
        // of them, and the bytes, stand in vectors that are not touched before the call is over. Sending only reads.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(sent as usize)
    }
}

impl Control {
    fn new(size: usize) -> Control {
        // SAFETY: cmsghdr is a plain C structure for which all zeroes is a valid value.
        let mut header: libc::cmsghdr = unsafe { zeroed() };
        header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<u16>()) as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        Control {
            header,
            size: size as u16, // What is over MOST_BYTES / 2 has no group.
            _rest: [0; 6],
        }
    }
}

/// The datagrams of a group, last to first.
fn chain(parcels: &[Parcel], group: Group) -> impl Iterator<Item = usize> + '_ {
    let newest_first = std::iter::successors(Some(group.last), |at| Some(parcels[*at].before));
    newest_first.take(group.count)
}

fn refuses(refusals: &[Refusal], to: IpAddr, local: usize, size: usize) -> bool {
    refusals
        .iter()
        .any(|refusal| refusal.to == to && refusal.local == local && size >= refusal.size)
}

fn slot(to: SocketAddr, local: usize, size: usize) -> usize {
    let host = match to.ip() {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip) as u64,
    };
    let mixed = host ^ u64::from(to.port()) << 32 ^ (size as u64) << 48 ^ (local as u64) << 56;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57) as usize % OPEN
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::socket::{bind, Receiver, PATIENCE};

    /// What a socket has got, in the order of arrival.
    fn received(socket: &UdpSocket) -> Vec<Vec<u8>> {
        let mut receiver = Receiver::new();
        let mut got = Vec::new();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        while socket.peek_from(&mut [0]).is_ok() {
            let count = receiver.receive(socket).unwrap();
            got.extend((0..count).map(|i| receiver.datagram(i).unwrap().0.to_vec()));
        }
        got
    }

    fn sizes(socket: &UdpSocket) -> Vec<usize> {
        received(socket).iter().map(Vec::len).collect()
    }

    fn sent(sent: usize, failed: u64) -> Sent {
        Sent {
            sent: sent as u64,
            failed,
            refused: 0,
        }
    }

    #[test]
    fn errors_skip_one() {
        let sockets = [bind("127.0.0.1:0".parse().unwrap(), false).unwrap()];
        let here = sockets[0].local_addr().unwrap();
        let mut sender = Sender::default();
        for i in 0..BATCH + 3 {
            sender.add(&vec![b'x'; i], here, 0);
        }
        sender.add(&vec![b'y'; 70_000], here, 0); // Longer than UDP carries.
        sender.add(b"last", here, 0);
        assert_eq!(sender.flush(&sockets), sent(BATCH + 4, 1));
        assert_eq!(sizes(&sockets[0]), (0..BATCH + 3).chain([4]).collect::<Vec<_>>());
    }

    /// Two sockets of which datagrams of these sizes have slots of their own: ports come by chance, and slots with them.
    fn apart(sizes: [usize; 2]) -> [UdpSocket; 2] {
        for _ in 0..100 {
            let peers = [0; 2].map(|_| bind("127.0.0.1:0".parse().unwrap(), false).unwrap());
            let slots = peers
                .iter()
                .flat_map(|peer| sizes.map(|size| slot(peer.local_addr().unwrap(), 0, size)));
            if slots.collect::<HashSet<_>>().len() == 4 {
                return peers;
            }
        }
        panic!("no two ports are apart");
    }

    #[test]
    fn equal_ones_leave_together_and_arrive_as_they_are() {
        let sockets = [bind("127.0.0.1:0".parse().unwrap(), false).unwrap()];
        let peers = apart([500, 600]);
        let mut sender = Sender::default();
        for i in 0..200u8 {
            let to = peers[usize::from(i % 2)].local_addr().unwrap();
            let size = if i % 3 == 0 { 500 } else { 600 };
            sender.put(&vec![i; size], to, 0, Order::Free);
        }
        // 34 of 500 and 66 of 600 bytes to one peer, 33 and 67 to the other; at most 64 in a group.
        assert_eq!(sender.groups.len(), 6);
        assert_eq!(sender.flush(&sockets), sent(200, 0));
        for (peer, first) in peers.iter().zip(0..) {
            let mut got = Vec::new();
            for bytes in received(peer) {
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
                assert_eq!(bytes.len(), if bytes[0] % 3 == 0 { 500 } else { 600 });
                got.push(bytes[0]);
            }
            got.sort_unstable();
            assert_eq!(got, (first..200).step_by(2).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn large_ones_fill_no_more_than_a_datagram() {
        let sockets = [bind("127.0.0.1:0".parse().unwrap(), false).unwrap()];
        let here = sockets[0].local_addr().unwrap();
        let mut sender = Sender::default();
        for size in [MOST_BYTES, MOST_BYTES, 30_000, 30_000, 30_000] {
            sender.put(&vec![b'x'; size], here, 0, Order::Free);
        }
        assert_eq!(sender.groups.len(), 4);
        assert_eq!(sender.flush(&sockets), sent(5, 0));
        assert_eq!(
            sizes(&sockets[0]),
            [MOST_BYTES, MOST_BYTES, 30_000, 30_000, 30_000]
        );
    }

    #[test]
    fn what_was_forwarded_keeps_its_order() {
        let sockets = apart([0, 300]); // Of those that are kept in order and of the others.
        let [here, other] = [0, 1].map(|i| sockets[i].local_addr().unwrap());
        let mut sender = Sender::default();
        let wanted = [300, 300, 200, 300, 300, 300, 200];
        for size in wanted {
            sender.add(&vec![b'x'; size], here, 0);
            sender.put(&[b'y'; 300], other, 0, Order::Free);
        }
        assert_eq!(sender.groups.len(), 4 + 1);
        assert_eq!(sender.flush(&sockets).sent, 14);
        assert_eq!(sizes(&sockets[0]), wanted);
    }

    #[test]
    fn a_refusal_is_remembered_for_its_size_and_path() {
        let (near, far) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.2:1".parse().unwrap());
        let mut sender = Sender::default();
        let groups = |sender: &mut Sender, to: SocketAddr, size: usize| {
            sender.groups.clear();
            sender.open = [0; OPEN];
            (0..4).for_each(|_| sender.put(&vec![b'x'; size], to, 0, Order::Free));
            sender.groups.len()
        };
        assert_eq!(groups(&mut sender, near, 900), 1);
        sender.note_refusal(0, &io::Error::from_raw_os_error(libc::EPERM)); // Says nothing of the path.
        assert_eq!(groups(&mut sender, near, 900), 1);
        sender.note_refusal(0, &io::Error::from_raw_os_error(libc::EMSGSIZE));
        assert_eq!(
            (groups(&mut sender, near, 900), groups(&mut sender, near, 901)),
            (4, 4)
        );
        assert_eq!(
            (groups(&mut sender, near, 899), groups(&mut sender, far, 900)),
            (1, 1)
        );
        sender.note_refusal(0, &io::Error::from_raw_os_error(libc::EIO));
        assert_eq!(groups(&mut sender, far, 10), 4);
        sender.refusals.iter_mut().for_each(|r| r.until = Instant::now());
        sender.flush(&[bind("127.0.0.3:0".parse().unwrap(), false).unwrap()]);
        assert_eq!(groups(&mut sender, near, 900), 1);
    }
}
