//! UDP sockets, and datagrams in: one system call for many (recvmmsg).
//!
//! Each block of unsafe code says why it is sound; what crosses its border are slices and `SocketAddr`.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams per system call.
pub const BATCH: usize = 64;
/// Room for the largest datagram that UDP carries.
const ROOM: usize = 65_536;
/// How long a thread waits for something to come, so that a stop is noticed.
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

    /// Takes what is there, at most a batch; how many datagrams. `WouldBlock` if none.
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
                libc::MSG_DONTWAIT,
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
