//! Many datagrams to a system call: recvmmsg and sendmmsg, with a source address for each.
//!
//! The only unsafe code here. One socket stands for all peers: bound to every address, it names the one that a
//! datagram leaves from (IP_PKTINFO). Equally long ones from one peer leave in one piece that the kernel cuts
//! (UDP_SEGMENT), so that the load keeps ahead of a server; what arrives is datagrams all the same.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams to a system call.
pub const BATCH: usize = 64;
/// Longest datagram: a request with room to spare.
const ROOM: usize = 2048;
/// Most bytes in one piece.
const PIECE: usize = 60_000;

/// A UDP socket with its buffers, allocated once.
pub struct Datagrams {
    socket: UdpSocket,
    incoming: Batch,
    outgoing: Outbox,
}

impl Datagrams {
    /// Binds; reading never waits.
    pub fn bind(address: SocketAddrV4) -> io::Result<Datagrams> {
        Ok(Datagrams {
            socket: socket(address)?,
            incoming: Batch::new(),
            outgoing: Outbox::new(),
        })
    }

    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Hands what has come to `each`, with its source; how many.
    pub fn receive(&mut self, mut each: impl FnMut(&[u8], SocketAddrV4)) -> io::Result<usize> {
        let count = match self.incoming.receive(&self.socket, libc::MSG_DONTWAIT) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            other => other?,
        };
        for i in 0..count {
            let length = self.incoming.headers[i].msg_len as usize;
            each(&self.incoming.buffers[i][..length], self.incoming.name(i));
        }
        Ok(count)
    }

    /// Queues a datagram that `write` puts in place, returning its length. At `BATCH`, all are sent.
    pub fn send(
        &mut self,
        to: SocketAddrV4,
        from: Option<Ipv4Addr>,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> io::Result<()> {
        let place = self.outgoing.parcels.len();
        let length = write(&mut self.outgoing.buffers[place]).min(ROOM);
        self.outgoing.parcels.push(Parcel { to, from, length });
        match place + 1 == BATCH {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Sends what is queued.
    pub fn flush(&mut self) -> io::Result<()> {
        self.outgoing.send(&self.socket)
    }
}

/// The floor: sends the first `length` bytes of each datagram back, nothing read or checked, until it fails.
pub fn echo(address: SocketAddrV4, length: usize, ready: impl FnOnce(u16)) -> io::Result<()> {
    let socket = socket(address)?;
    ready(socket.local_addr()?.port());
    let mut batch = Batch::new();
    loop {
        let count = batch.receive(&socket, libc::MSG_WAITFORONE)?;
        batch.pieces[..count]
            .iter_mut()
            .for_each(|piece| piece.iov_len = length.min(ROOM));
        batch.send(&socket, count)?;
        batch.pieces[..count]
            .iter_mut()
            .for_each(|piece| piece.iov_len = ROOM);
    }
}

fn socket(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // As the gateway asks for; the kernel grants what its limits allow.
    socket.set_recv_buffer_size(4 << 20)?;
    socket.set_send_buffer_size(4 << 20)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

struct Batch {
    buffers: Box<[[u8; ROOM]]>,
    names: Box<[libc::sockaddr_in]>,
    pieces: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

impl Batch {
    fn new() -> Batch {
        // SAFETY: sockaddr_in, iovec and mmsghdr are plain C structures for which all zeroes is a valid value.
        let (name, piece, header) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let mut batch = Batch {
            buffers: vec![[0; ROOM]; BATCH].into(),
            names: vec![name; BATCH].into(),
            pieces: vec![piece; BATCH].into(),
            headers: vec![header; BATCH].into(),
        };
        for i in 0..BATCH {
            batch.pieces[i] = libc::iovec {
                iov_base: batch.buffers[i].as_mut_ptr().cast(),
                iov_len: ROOM,
            };
            let header = &mut batch.headers[i].msg_hdr;
            header.msg_name = (&raw mut batch.names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = &raw mut batch.pieces[i];
            header.msg_iovlen = 1;
        }
        batch
    }

    fn receive(&mut self, socket: &UdpSocket, flags: libc::c_int) -> io::Result<usize> {
        loop {
            // SAFETY: `new` made all BATCH headers point to a live name and piece in the boxes beside them, and each
            // piece to a live buffer of ROOM bytes; lengths written since never exceed ROOM. The borrow of self keeps all of them in place during the call.
            let count = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    BATCH as libc::c_uint,
                    flags,
                    null_mut(),
                )
            };
            if count >= 0 {
                return Ok(count as usize);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Sends the first `count` back to where they came from, as long as their pieces say.
    fn send(&mut self, socket: &UdpSocket, count: usize) -> io::Result<()> {
        // SAFETY: as for `receive`; the names are those that it wrote.
        unsafe { send_all(socket, &mut self.headers[..count]) }
    }

    fn name(&self, i: usize) -> SocketAddrV4 {
        let name = &self.names[i];
        SocketAddrV4::new(
            u32::from_be(name.sin_addr.s_addr).into(),
            u16::from_be(name.sin_port),
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Parcel {
    to: SocketAddrV4,
    from: Option<Ipv4Addr>,
    length: usize,
}

// SAFETY: CMSG_SPACE only computes.
const SOURCE_SPACE: usize = unsafe { libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) } as usize;
// SAFETY: as above.
const SEGMENT_SPACE: usize = unsafe { libc::CMSG_SPACE(size_of::<u16>() as u32) } as usize;
/// Room for both control messages, in words so that it is aligned.
type Control = [u64; (SOURCE_SPACE + SEGMENT_SPACE) / 8];

/// Datagrams to send.
struct Outbox {
    buffers: Box<[[u8; ROOM]]>,
    parcels: Vec<Parcel>,
    names: Box<[libc::sockaddr_in]>,
    controls: Box<[Control]>,
    pieces: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

impl Outbox {
    fn new() -> Outbox {
        // SAFETY: all three are plain C structures for which all zeroes is a valid value.
        let (name, piece, header) = unsafe { (zeroed(), zeroed(), zeroed()) };
        Outbox {
            buffers: vec![[0; ROOM]; BATCH].into(),
            parcels: Vec::with_capacity(BATCH),
            names: vec![name; BATCH].into(),
            controls: vec![Control::default(); BATCH].into(),
            pieces: vec![piece; BATCH].into(),
            headers: vec![header; BATCH].into(),
        }
    }

    fn send(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let mut parcels = std::mem::take(&mut self.parcels);
        let (mut at, mut count) = (0, 0);
        while at < parcels.len() {
            let first = parcels[at];
            let alike = parcels[at..]
                .iter()
                .take_while(|parcel| **parcel == first)
                .count();
            let run = alike.min(PIECE / first.length.max(1)).max(1);
            self.address(count, at, run, first);
            at += run;
            count += 1;
        }
        parcels.clear();
        self.parcels = parcels;
        // SAFETY: `address` set the first `count` headers: each points to a live name, control and pieces in the boxes
        // beside them, and each piece to a live buffer of at least its length.
        unsafe { send_all(socket, &mut self.headers[..count]) }
    }

    /// Header `i` sends the `run` buffers from `at` on.
    fn address(&mut self, i: usize, at: usize, run: usize, parcel: Parcel) {
        for (piece, buffer) in self.pieces[at..at + run].iter_mut().zip(&mut self.buffers[at..]) {
            piece.iov_base = buffer.as_mut_ptr().cast();
            piece.iov_len = parcel.length;
        }
        let name = &mut self.names[i];
        name.sin_family = libc::AF_INET as libc::sa_family_t;
        name.sin_port = parcel.to.port().to_be();
        name.sin_addr.s_addr = u32::from(*parcel.to.ip()).to_be();
        let control: *mut u8 = self.controls[i].as_mut_ptr().cast();
        let mut used = 0;
        if let Some(from) = parcel.from {
            let source = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from(from).to_be(),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            // SAFETY: the control is live, aligned for cmsghdr and has room for this and the next message.
            unsafe { note(control, libc::IPPROTO_IP, libc::IP_PKTINFO, source) };
            used = SOURCE_SPACE;
        }
        if run > 1 {
            // SAFETY: as above; SOURCE_SPACE keeps the alignment.
            unsafe {
                note(
                    control.add(used),
                    libc::SOL_UDP,
                    libc::UDP_SEGMENT,
                    parcel.length as u16,
                )
            };
            used += SEGMENT_SPACE;
        }
        let header = &mut self.headers[i].msg_hdr;
        header.msg_name = (&raw mut *name).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        header.msg_iov = &raw mut self.pieces[at];
        header.msg_iovlen = run as _;
        header.msg_control = control.cast();
        header.msg_controllen = used as _;
    }
}

/// Writes a control message.
///
/// # Safety
/// `place` is aligned for cmsghdr and has CMSG_SPACE(size of `value`) bytes.
unsafe fn note<T>(place: *mut u8, level: libc::c_int, kind: libc::c_int, value: T) {
    let control: *mut libc::cmsghdr = place.cast();
    (*control).cmsg_level = level;
    (*control).cmsg_type = kind;
    (*control).cmsg_len = libc::CMSG_LEN(size_of::<T>() as u32) as _;
    libc::CMSG_DATA(control).cast::<T>().write_unaligned(value);
}

/// # Safety
/// Each header points to names, controls, pieces and buffers that are live and as long as it says.
unsafe fn send_all(socket: &UdpSocket, headers: &mut [libc::mmsghdr]) -> io::Result<()> {
    let mut at = 0;
    while at < headers.len() {
        let rest = &mut headers[at..];
        let sent = libc::sendmmsg(
            socket.as_raw_fd(),
            rest.as_mut_ptr(),
            rest.len() as libc::c_uint,
            0,
        );
        if sent >= 0 {
            at += sent as usize;
            continue;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_leave_from_the_address_told() {
        let mut one = Datagrams::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let mut other = Datagrams::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let there = SocketAddrV4::new(Ipv4Addr::LOCALHOST, other.port().unwrap());
        // Some are alike, and leave in one piece.
        let sent: Vec<_> = (0..BATCH as u8 + 3)
            .map(|turn| (turn, 1 + usize::from(turn % 5 == 0), turn / 10))
            .collect();
        for (turn, length, host) in &sent {
            let write = |room: &mut [u8]| {
                room[0] = *turn;
                *length
            };
            one.send(there, Some(Ipv4Addr::new(127, 0, 2, *host)), write)
                .unwrap();
        }
        one.flush().unwrap();
        let mut came = Vec::new();
        let mut each =
            |bytes: &[u8], from: SocketAddrV4| came.push((bytes[0], bytes.len(), from.ip().octets()[3]));
        while other.receive(&mut each).unwrap() > 0 {}
        assert_eq!(came, sent);
    }
}
