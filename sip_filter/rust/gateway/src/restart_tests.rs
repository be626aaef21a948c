//! A worker's thread ends and another takes its place at the desk: calls under way stay on their course.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::*;

const CALLS: u32 = 6;
const PATIENCE: Duration = Duration::from_secs(10);

fn peer(host: &str) -> UdpSocket {
    let peer = UdpSocket::bind((host, 0)).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

fn receive(peer: &UdpSocket) -> String {
    let mut room = [0; 4096];
    let count = peer.recv(&mut room).unwrap();
    String::from_utf8_lossy(&room[..count]).into()
}

fn request(method: &str, call: u32, from: SocketAddr, more: &str) -> String {
    format!(
        "{method} sip:0812@b.example SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKc{call}\r\n\
         From: <sip:+62811000000@a.example>;tag=f{call}\r\nTo: <sip:0812@b.example>\r\nCall-ID: call-{call}\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn via(text: &str) -> &str {
    text.split("\r\n").find(|line| line.starts_with("Via: ")).unwrap()
}

fn settings(trunk: &str, switches: &[UdpSocket]) -> String {
    let hops = switches.iter().enumerate().map(|(i, switch)| {
        let address = switch.local_addr().unwrap();
        format!(r#"{{"name": "s{i}", "address": "{address}", "networks": []}}"#)
    });
    format!(
        r#"{{"listen": ["udp:127.0.0.1:0"], "workers": 1, "node": "n", "key": "{key}", "protected": [],
            "trunks": [{{"name": "t", "sources": ["{trunk}"], "plan": "international", "mode": "off"}}],
            "next_hops": [{hops}], "checks": {{"seconds": 0}}}}"#,
        key = "5a".repeat(32),
        hops = hops.collect::<Vec<_>>().join(",")
    )
}

/// The switch that has something to read.
fn reached(switches: &[UdpSocket]) -> usize {
    let began = Instant::now();
    loop {
        let waits = |switch: &UdpSocket| {
            switch.set_nonblocking(true).unwrap();
            let waits = switch.peek(&mut [0; 16]).is_ok();
            switch.set_nonblocking(false).unwrap();
            waits
        };
        if let Some(which) = switches.iter().position(waits) {
            return which;
        }
        assert!(began.elapsed() < PATIENCE, "no switch was reached");
    }
}

#[test]
fn calls_outlive_the_thread_that_forwarded_them() {
    let (trunk, switches) = (peer("127.0.0.12"), [peer("127.0.0.14"), peer("127.0.0.16")]);
    let from = trunk.local_addr().unwrap();
    let live = tempfile::tempdir().unwrap();
    let gateway = Gateway::new(live.path(), &settings("127.0.0.12", &switches)).unwrap();
    let address = gateway.start().unwrap()[0].address;
    let send = |text: String| assert!(trunk.send_to(text.as_bytes(), address).is_ok());
    let restarts = || {
        let counters = gateway.counters();
        counters
            .iter()
            .find(|counter| counter.0 == "worker_restarts")
            .unwrap()
            .1
    };
    for call in 0..CALLS {
        send(request("INVITE", call, from, ""));
        let which = reached(&switches);
        let invite = receive(&switches[which]);
        send(request("OPTIONS", 1000 + call, from, "X-Trouble: end\r\n"));
        let began = Instant::now();
        while restarts() == u64::from(call) {
            assert!(began.elapsed() < PATIENCE, "the thread was not replaced");
            std::thread::sleep(Duration::from_millis(5));
        }
        // By hash alone the call would now go to the other one.
        let hop = format!("s{which}");
        gateway.drain(Some(&hop), true).unwrap();
        for method in ["INVITE", "CANCEL", "ACK"] {
            send(request(method, call, from, ""));
            let text = receive(&switches[which]);
            assert!(text.starts_with(method), "{text}");
            assert_eq!(via(&text), via(&invite), "{method}");
        }
        gateway.drain(Some(&hop), false).unwrap();
    }
    assert!(gateway.stop(PATIENCE));
}
