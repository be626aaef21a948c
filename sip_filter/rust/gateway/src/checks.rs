//! OPTIONS to next hops, from the sockets and over the connections that calls use; their answers come to the workers.

use std::net::UdpSocket;
use std::time::{SystemTime, UNIX_EPOCH};

use palang_core::counter::Counter;
use palang_core::element::Element;
use palang_core::health::write_check;
use palang_core::setup::Hop;
use palang_core::transport::Local;

use crate::mail::{Letter, Mail};
use crate::worker::Counts;

/// Sends the checks when they are due. One thread has it.
pub struct Checker {
    /// Tells this process's checks from those of the one before it.
    run: u64,
    /// When the last were sent.
    last: Option<u64>,
    text: Vec<u8>,
}

impl Checker {
    pub fn new() -> Checker {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Checker {
            run: since.as_nanos() as u64,
            last: None,
            text: Vec::new(),
        }
    }

    /// Takes time, in the workers' milliseconds: checks every hop once per interval, retired ones not at all.
    pub fn handle_timeout(
        &mut self,
        now: u64,
        element: &Element,
        sockets: &[UdpSocket],
        mail: &Mail,
        counts: &Counts,
    ) {
        let setup = &element.setup;
        if setup.checks.every == 0 {
            if self.last.take().is_some() {
                setup.hops.iter().for_each(|hop| hop.health.clear());
            }
            return;
        }
        // The first after a whole interval: a hop that has just started too is given its time.
        let last = *self.last.get_or_insert(now);
        if now < last + setup.checks.every {
            return;
        }
        self.last = Some(now);
        for hop in &setup.hops {
            let Some(local) = local_towards(&setup.locals, hop) else {
                continue; // Calls can't reach it either, and say so.
            };
            let check = hop.health.handle_timeout(setup.checks.misses);
            counts.add(Counter::CheckMissed, u64::from(check.missed));
            let (keys, here) = (&setup.keys, setup.locals[local]);
            write_check(&mut self.text, keys, here, hop.address, self.run, check.cseq);
            // What can't be sent is missed by the next time.
            let sent = match sockets.get(local) {
                Some(socket) => socket.send_to(&self.text, hop.address).is_ok(),
                None => mail.post(Letter {
                    to: hop.address,
                    local,
                    flow: None,
                    bytes: self.text.clone(),
                    again: false,
                }),
            };
            counts.add(Counter::CheckSent, u64::from(sent));
        }
    }
}

/// The first of our addresses of the hop's transport and family. Those of UDP stand first, as the sockets do.
fn local_towards(locals: &[Local], hop: &Hop) -> Option<usize> {
    let fits =
        |local: &Local| local.transport == hop.transport && local.address.is_ipv4() == hop.address.is_ipv4();
    locals.iter().position(fits)
}
