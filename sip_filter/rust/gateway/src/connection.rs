//! One connection: bytes of its socket in and out, through TLS where the listener or the next hop speaks it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use palang_core::frame::Framer;
use palang_core::setup::Setup;
use palang_core::tls_name::TlsName;
use palang_core::transport::Flow;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use crate::tls;

/// Above so much unsent, nothing more is read from the peer: it must read its answers first.
pub const HIGH_WATER: usize = 256 << 10;
/// Above so much unsent, what others want to send to the peer is dropped.
pub const MOST_UNSENT: usize = 1 << 20;

pub struct Connection {
    pub socket: TcpStream,
    pub flow: Flow,
    pub source: SocketAddr,
    pub framer: Framer,
    /// What the peer's certificate shows; None until that is known.
    pub names: Option<Vec<TlsName>>,
    /// Bytes of a message that is not complete.
    pub input: Vec<u8>,
    pub opened: Instant,
    /// When the first byte of the message in `input` came.
    pub begun: Option<Instant>,
    /// When bytes last moved.
    pub active: Instant,
    /// Set when nothing more is taken: the rest is sent, then the connection ends.
    pub closing: Option<Instant>,
    /// Whether it stands in the queue of those to be served.
    pub queued: bool,
    /// Set on one that we open: whether the peer has taken it.
    pub outbound: Option<Opening>,
    tls: Option<Box<rustls::Connection>>,
    output: Vec<u8>,
    written: usize,
}

/// How far a connection that we open has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    Asked,
    Taken,
    /// The handshake is over too: messages go out.
    Ready,
}

/// Which side of TLS we are, and by what.
pub enum Side {
    Plain,
    Server(Arc<ServerConfig>),
    Client(Arc<ClientConfig>, ServerName<'static>),
}

impl Connection {
    pub fn new(
        socket: TcpStream,
        flow: Flow,
        source: SocketAddr,
        side: Side,
        now: Instant,
    ) -> io::Result<Connection> {
        let tls = match side {
            Side::Plain => Ok(None),
            Side::Server(config) => ServerConnection::new(config).map(|tls| Some(tls.into())),
            Side::Client(config, name) => ClientConnection::new(config, name).map(|tls| Some(tls.into())),
        };
        Ok(Connection {
            socket,
            flow,
            source,
            framer: Framer::default(),
            names: None,
            input: Vec::new(),
            opened: now,
            begun: None,
            active: now,
            closing: None,
            queued: false,
            outbound: None,
            tls: tls.map_err(io::Error::other)?.map(Box::new),
            output: Vec::new(),
            written: 0,
        })
    }

    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Looks at who the peer has shown to be, as far as these settings ask for it.
    pub fn read_names(&mut self, setup: &Setup) {
        let chain = self.tls.as_ref().and_then(|tls| tls.peer_certificates());
        let asked = setup.trunks.iter().flat_map(|trunk| &trunk.tls_names);
        let addresses = asked.filter_map(|name| match name {
            TlsName::Address(address) => Some(*address),
            TlsName::Domain(_) => None,
        });
        let shown = chain.and_then(<[_]>::first);
        self.names = Some(shown.map_or_else(Vec::new, |certificate| tls::names(certificate, addresses)));
    }

    pub fn unsent(&self) -> usize {
        self.output.len() - self.written
    }

    /// Sent with the next `flush`.
    pub fn push(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// What the peer sent, decrypted; 0 when it ended. InvalidData: what came is not the TLS that we speak.
    pub fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(room);
        };
        loop {
            match tls.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert that tells the peer why; whether it goes out makes no difference to us.
                let _ = tls.write_tls(&mut self.socket);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }

    /// Whether the peer has taken a connection that we open. Err: it has not, and won't.
    pub fn is_taken(&mut self) -> io::Result<bool> {
        if self.outbound == Some(Opening::Asked) {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            match self.socket.peer_addr() {
                Ok(_) => self.outbound = Some(Opening::Taken),
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self, now: Instant) -> io::Result<()> {
        let before = self.written;
        loop {
            match self.write_all() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                other => break other?,
            }
        }
        if self.written > before {
            self.active = now;
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.output.shrink_to(HIGH_WATER);
            self.written = 0;
            if self.closing.is_some() && !self.is_handshaking() {
                if let Some(tls) = &mut self.tls {
                    tls.send_close_notify();
                    let _ = tls.write_tls(&mut self.socket); // A peer that doesn't take it learns by the end itself.
                }
                // Only the sending side: closing with bytes unread would reset away what we just sent.
                let _ = self.socket.shutdown(Shutdown::Write);
            }
        } else if self.written > HIGH_WATER {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    fn write_all(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            while self.written < self.output.len() {
                self.written += self.socket.write(&self.output[self.written..])?;
            }
            return Ok(());
        };
        loop {
            if tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            } else if self.written < self.output.len() && !tls.is_handshaking() {
                self.written += tls.writer().write(&self.output[self.written..])?;
            } else {
                return Ok(());
            }
        }
    }

    /// Takes nothing more; what is unsent goes out, then the connection ends.
    pub fn close_soon(&mut self, now: Instant) {
        self.closing.get_or_insert(now);
        self.input = Vec::new();
    }
}
