//! Datagrams in batches: one system call for many (recvmmsg, sendmmsg).
//!
//! The only unsafe code of the gateway. Each block says why it is sound; what crosses its border are slices and
//! `SocketAddr`.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// Datagrams per system call.
pub const BATCH: usize = 64;
/// Room for the largest datagram that UDP carries.
const ROOM: usize = 65_536;
/// How long a receive waits, so that a stop is noticed.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// Binds a socket. `shared` ones stand beside others on the address, and the kernel spreads sources over them; one
/// that is not fails when any other process has the address.
pub fn bind(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Bursts wait here while a worker is busy; the kernel grants what its limits allow.
    socket.set_recv_buffer_size(4 << 20)?;
    socket.set_send_buffer_size(4 << 20)?;
    socket.bind(&address.into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// Buffers for receiving, allocated once.
pub struct Receiver {
    buffers: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    pieces: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    filled: usize,
}

// SAFETY: the raw pointers in `pieces` and `headers` point into the boxes beside them, which move along.
unsafe impl Send for Receiver {}

impl Receiver {
    pub fn new() -> Receiver {
        // SAFETY: sockaddr_storage, iovec and mmsghdr are plain C structures for which all zeroes is a valid value.
        let (name, piece, header) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let mut receiver = Receiver {
            buffers: vec![0; BATCH * ROOM].into(),
            names: vec![name; BATCH].into(),
            pieces: vec![piece; BATCH].into(),
            headers: vec![header; BATCH].into(),
            filled: BATCH,
        };
        for i in 0..BATCH {
            let buffer = receiver.buffers[i * ROOM..(i + 1) * ROOM].as_mut_ptr();
            receiver.pieces[i] = libc::iovec {
                iov_base: buffer.cast(),
                iov_len: ROOM,
            };
            let header = &mut receiver.headers[i].msg_hdr;
            header.msg_name = (&raw mut receiver.names[i]).cast();
            header.msg_iov = &raw mut receiver.pieces[i];
            header.msg_iovlen = 1;
        }
        receiver
    }

    /// Waits for a datagram, at most `PATIENCE`, and takes what else is there. Returns how many.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        for header in &mut self.headers[..self.filled] {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
        self.filled = 0;
        // SAFETY: BATCH headers are there, and each points to a live buffer and name of the lengths it states: `new`
        // set them and nothing else writes them. The borrow of self keeps all of them in place during the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE,
                null_mut(),
            )
        };
        if count < 0 {
            self.filled = BATCH;
            return Err(io::Error::last_os_error());
        }
        self.filled = count as usize;
        Ok(self.filled)
    }

    /// Datagram `i` of the last receive, and its source.
    pub fn datagram(&self, i: usize) -> Option<(&[u8], SocketAddr)> {
        let header = self.headers[..self.filled].get(i)?;
        let length = (header.msg_len as usize).min(ROOM);
        let source = read_name(&self.names[i])?;
        Some((&self.buffers[i * ROOM..i * ROOM + length], source))
    }
}

/// IPv4 and IPv6 only, IPv4-mapped as IPv4.
fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: sockaddr_storage is at least as large and as aligned as sockaddr_in, and the family says it is one.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = u32::from_be(name.sin_addr.s_addr);
            Some(SocketAddr::from((ip.to_be_bytes(), u16::from_be(name.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = std::net::Ipv6Addr::from(name.sin6_addr.s6_addr).to_canonical();
            Some(SocketAddr::new(ip, u16::from_be(name.sin6_port)))
        }
        _ => None,
    }
}

/// Datagrams to send, gathered while a batch is handled.
#[derive(Default)]
pub struct Sender {
    bytes: Vec<u8>,
    parcels: Vec<Parcel>,
}

struct Parcel {
    start: usize,
    end: usize,
    to: SockAddr,
    local: usize,
}

/// What a flush came to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sent {
    pub sent: u64,
    pub failed: u64,
}

impl Sender {
    pub fn add(&mut self, bytes: &[u8], to: SocketAddr, local: usize) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.parcels.push(Parcel {
            start,
            end: self.bytes.len(),
            to: to.into(),
            local,
        });
    }

    /// Sends everything, from the socket that each parcel names. What the kernel refuses is skipped and counted.
    pub fn flush(&mut self, sockets: &[UdpSocket]) -> Sent {
        let mut done = Sent::default();
        let mut at = 0;
        while at < self.parcels.len() {
            let local = self.parcels[at].local;
            let run = self.parcels[at..]
                .iter()
                .take(BATCH)
                .take_while(|parcel| parcel.local == local)
                .count();
            match send_run(&sockets[local], &self.bytes, &self.parcels[at..at + run]) {
                Ok(count) => {
                    done.sent += count as u64;
                    at += count.max(1);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // One datagram's trouble (no route, too long, an ICMP error of an earlier one) is not the others'.
                Err(_) => {
                    done.failed += 1;
                    at += 1;
                }
            }
        }
        self.parcels.clear();
        self.bytes.clear();
        done
    }
}

fn send_run(socket: &UdpSocket, bytes: &[u8], parcels: &[Parcel]) -> io::Result<usize> {
    let count = parcels.len().min(BATCH);
    // SAFETY: all zeroes is a valid value of both.
    let (mut pieces, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (zeroed(), zeroed()) };
    for (i, parcel) in parcels[..count].iter().enumerate() {
        let part = &bytes[parcel.start..parcel.end];
        pieces[i] = libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        };
        let header = &mut headers[i].msg_hdr;
        let name: *const SockAddrStorage = parcel.to.as_ptr().cast();
        header.msg_name = name.cast_mut().cast();
        header.msg_namelen = parcel.to.len();
        header.msg_iov = &raw mut pieces[i];
        header.msg_iovlen = 1;
    }
    // SAFETY: the first `count` headers point to pieces, names and bytes that outlive the call; sending only reads them.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(sent as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_as_they_went_and_errors_skip_one() {
        let sockets = [bind("127.0.0.1:0".parse().unwrap(), false).unwrap()];
        let here = sockets[0].local_addr().unwrap();
        let mut sender = Sender::default();
        for i in 0..BATCH + 3 {
            sender.add(&vec![b'x'; i], here, 0);
        }
        sender.add(&vec![b'y'; 70_000], here, 0); // Longer than UDP carries.
        sender.add(b"last", here, 0);
        let sent = sender.flush(&sockets);
        assert_eq!(
            sent,
            Sent {
                sent: BATCH as u64 + 4,
                failed: 1
            }
        );
        let mut receiver = Receiver::new();
        let mut lengths = Vec::new();
        while let Ok(count) = receiver.receive(&sockets[0]) {
            for i in 0..count {
                let (bytes, source) = receiver.datagram(i).unwrap();
                assert_eq!(source, here);
                lengths.push(bytes.len());
            }
        }
        assert_eq!(lengths, (0..BATCH + 3).chain([4]).collect::<Vec<_>>());
    }
}
