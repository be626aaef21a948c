//! How calls reach the server: datagrams from many peers, or one connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use memchr::memmem;
use socket2::{Domain, Protocol, Socket, Type};

use crate::calls::Calls;
use crate::datagrams::Datagrams;
use crate::scenario::{Scenario, Transport};

/// One of both. Nothing here ever waits.
pub enum Line {
    Datagrams(Box<Datagrams>, SocketAddrV4),
    Connection(Connection),
}

impl Line {
    pub fn open(scenario: &Scenario) -> io::Result<Line> {
        if scenario.transport == Transport::Tcp {
            return Ok(Line::Connection(Connection::open(scenario)?));
        }
        let own = match scenario.peers {
            1 => scenario.source,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let datagrams = Datagrams::bind(SocketAddrV4::new(own, 0))?;
        Ok(Line::Datagrams(datagrams.into(), scenario.server))
    }

    /// The port that calls come from.
    pub fn port(&self) -> io::Result<u16> {
        match self {
            Line::Datagrams(datagrams, _) => datagrams.port(),
            Line::Connection(connection) => Ok(connection.stream.local_addr()?.port()),
        }
    }

    /// Begins a call.
    pub fn send(&mut self, calls: &mut Calls, due: u64) -> io::Result<()> {
        match self {
            Line::Datagrams(datagrams, server) => {
                let from = Some(*calls.peer().ip());
                datagrams.send(*server, from, |room| calls.begin(due, room))
            }
            Line::Connection(connection) => {
                let mut room = [0; 2048];
                let length = calls.begin(due, &mut room);
                connection.outgoing.extend_from_slice(&room[..length]);
                Ok(())
            }
        }
    }

    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Line::Datagrams(datagrams, _) => datagrams.flush(),
            Line::Connection(connection) => connection.flush(),
        }
    }

    /// Takes what answers have come; how many.
    pub fn receive(&mut self, calls: &mut Calls) -> io::Result<usize> {
        let now = calls.now();
        match self {
            Line::Datagrams(datagrams, _) => datagrams.receive(|answer, _| calls.take(answer, now)),
            Line::Connection(connection) => connection.receive(|answer| calls.take(answer, now)),
        }
    }
}

/// A TCP connection that carries one message after another.
pub struct Connection {
    stream: TcpStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl Connection {
    fn open(scenario: &Scenario) -> io::Result<Connection> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddrV4::new(scenario.source, 0).into())?;
        socket.connect(&scenario.server.into())?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            outgoing: Vec::new(),
            incoming: Vec::new(),
        })
    }

    /// Writes as much as the connection takes.
    fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<usize> {
        self.flush()?;
        let mut room = [0; 1 << 16];
        match self.stream.read(&mut room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.incoming.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        }
        let (mut at, mut count) = (0, 0);
        while let Some(length) = framed(&self.incoming[at..]) {
            each(&self.incoming[at..at + length]);
            at += length;
            count += 1;
        }
        self.incoming.drain(..at);
        Ok(count)
    }
}

/// The length of the first message, when all of it is there. Answers have no body.
fn framed(bytes: &[u8]) -> Option<usize> {
    Some(memmem::find(bytes, b"\r\n\r\n")? + 4)
}
