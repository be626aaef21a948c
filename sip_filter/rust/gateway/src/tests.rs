//! The gateway in trouble that no peer can make: a thread that hangs or ends between two messages, a socket that errs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;

/// Closed while a test holds them.
static GATE: Mutex<()> = Mutex::new(());
static STREAM_GATE: Mutex<()> = Mutex::new(());

/// What a thread meets before it handles a message that asks for trouble.
pub fn trouble(bytes: &[u8]) {
    let asks = |wanted: &[u8]| bytes.windows(wanted.len()).any(|part| part == wanted);
    if asks(b"X-Trouble: hang\r\n") {
        drop(GATE.lock());
    }
    if asks(b"X-Trouble: hang there\r\n") {
        drop(STREAM_GATE.lock());
    }
    assert!(!asks(b"X-Trouble: end"), "trouble");
}

/// What a busy machine may need for what takes a moment.
const LONGEST: Duration = Duration::from_secs(10);

/// A gateway on loopback, and its one peer.
struct Bench {
    gateway: Gateway,
    address: SocketAddr,
    streams: SocketAddr,
    peer: UdpSocket,
    _live: tempfile::TempDir,
}

impl Bench {
    fn new(host: &str) -> Bench {
        let live = tempfile::tempdir().unwrap();
        let settings = format!(
            r#"{{"listen": ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"], "workers": 1, "node": "gw1", "key": "{key}", "protected": [],
                "trunks": [{{"name": "t", "sources": ["{host}"], "plan": "international", "mode": "enforce"}}],
                "next_hops": [{{"name": "switch", "address": "127.0.0.1:9", "networks": ["127.0.0.1"]}}],
                "checks": {{"seconds": 0}}}}"#,
            key = "5a".repeat(32)
        );
        let gateway = Gateway::new(live.path(), &settings).unwrap();
        let bound = gateway.start().unwrap();
        let peer = UdpSocket::bind((host, 0)).unwrap();
        peer.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Bench {
            gateway,
            address: bound[0].address,
            streams: bound[1].address,
            peer,
            _live: live,
        }
    }

    fn message(&self, method: &str, call: &str, more: &str) -> String {
        let here = self.peer.local_addr().unwrap();
        format!(
            "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call}\r\n\
             From: <sip:+62811@a>;tag=1\r\nTo: <sip:{to}>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\
             Max-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n",
            to = self.address
        )
    }

    fn send(&self, method: &str, call: &str, more: &str) {
        let text = self.message(method, call, more);
        self.peer.send_to(text.as_bytes(), self.address).unwrap();
    }

    /// Sends an OPTIONS over a connection of its own.
    fn connect(&self, call: &str, more: &str) -> TcpStream {
        let mut connection = TcpStream::connect(self.streams).unwrap();
        connection.set_read_timeout(Some(LONGEST)).unwrap();
        let text = self.message("OPTIONS", call, more);
        connection.write_all(text.as_bytes()).unwrap();
        connection
    }

    /// Asks until an answer comes. None may come to the message that hung.
    fn answered(&self, call: &str) {
        let began = Instant::now();
        loop {
            self.send("OPTIONS", call, "");
            let mut room = [0; 2048];
            if let Ok(size) = self.peer.recv(&mut room) {
                let text = std::str::from_utf8(&room[..size]).unwrap();
                assert!(
                    text.starts_with("SIP/2.0 200 ") && !text.contains("Call-ID: hung"),
                    "{text}"
                );
                if text.contains(call) {
                    return;
                }
            }
            assert!(began.elapsed() < LONGEST, "no answer");
        }
    }

    fn counter(&self, name: &str) -> u64 {
        let counters = self.gateway.counters();
        counters.iter().find(|counter| counter.0 == name).unwrap().1
    }

    fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < LONGEST, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn posts(&self) -> usize {
        self.gateway.lock().books.all_posts().len()
    }

    fn desks(&self) -> Vec<Arc<Desk>> {
        let posts = self.gateway.lock().books.all_posts();
        let desks = posts.into_iter().filter_map(|post| match post {
            Post::Datagrams(desk) => Some(desk),
            Post::Streams(_) => None,
        });
        desks.collect()
    }
}

#[test]
fn a_hung_worker_is_replaced_and_leaves_when_it_comes_back() {
    let bench = Bench::new("127.0.0.2");
    bench.answered("before");
    let closed = GATE.lock();
    bench.send("OPTIONS", "hung", "X-Trouble: hang\r\n");
    bench.answered("meanwhile");
    bench.wait_for("it is seen to hang", || bench.counter("workers_hung") == 1);
    assert_eq!(bench.counter("worker_restarts"), 0);
    let received = bench.counter("received");
    assert_eq!(bench.posts(), 3);
    drop(closed);
    bench.wait_for("the hung one left", || bench.posts() == 2);
    assert!(bench.counter("received") >= received, "its counts are kept");
    bench.answered("after"); // And nothing came of the old message.
    assert_eq!(bench.counter("workers_hung"), 1);
    assert!(bench.gateway.stop(LONGEST));
}

#[test]
fn connections_are_taken_by_another_thread_when_theirs_hangs() {
    let bench = Bench::new("127.0.0.1");
    let mut room = [0; 2048];
    assert!(bench.connect("before", "").read(&mut room).unwrap() > 0);
    let closed = STREAM_GATE.lock();
    let mut hung = bench.connect("hung", "X-Trouble: hang there\r\n");
    bench.answered("meanwhile");
    bench.wait_for("it is seen to hang", || bench.counter("workers_hung") == 1);
    assert!(bench.connect("meanwhile", "").read(&mut room).unwrap() > 0);
    drop(closed);
    bench.wait_for("the hung one left", || bench.posts() == 2);
    // It may still be answered over its own connection, and then that ends.
    let mut rest = Vec::new();
    let read = hung.read_to_end(&mut rest);
    assert!(read.is_ok_and(|size| size < room.len()));
    assert!(bench.gateway.stop(LONGEST));
}

#[test]
fn a_worker_whose_thread_ended_is_started_again() {
    let bench = Bench::new("127.0.0.3");
    bench.send("OPTIONS", "end", "X-Trouble: end\r\n");
    bench.answered("after");
    bench.wait_for("it is counted", || bench.counter("worker_restarts") == 1);
    assert_eq!(bench.counter("workers_hung"), 0);
    assert!(bench.gateway.stop(LONGEST));
}

#[test]
fn a_switch_that_is_down_is_an_error_and_not_the_end() {
    let bench = Bench::new("127.0.0.4");
    for lane in &*bench.desks()[0].lanes {
        let on: libc::c_int = 1;
        // SAFETY: the option's value is an int of the size stated. With it an ICMP error is told on the socket.
        let set = unsafe {
            libc::setsockopt(
                lane.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_RECVERR,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as _,
            )
        };
        assert_eq!(set, 0);
    }
    bench.send("INVITE", "down", "");
    bench.wait_for("the error is counted", || bench.counter("receive_errors") > 0);
    bench.answered("after");
    assert!(bench.gateway.stop(LONGEST));
}

#[test]
fn a_socket_that_errs_costs_little_and_is_used_again_when_it_can_be() {
    let bench = Bench::new("127.0.0.5");
    bench.answered("before");
    let socket = bench.desks()[0].lanes.last().unwrap().as_raw_fd(); // The lane of the first trunk.
    let null = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: all three are open descriptors of this process, and `socket` stays one throughout; only what it names
    // changes, from a socket to a file and back.
    let kept = unsafe { libc::dup(socket) };
    // SAFETY: as above.
    let taken = unsafe { libc::dup2(null.as_raw_fd(), socket) };
    assert!(kept >= 0 && taken == socket);
    bench.send("OPTIONS", "lost", "");
    bench.wait_for("errors are counted", || bench.counter("receive_errors") > 2);
    let (began, errors) = (Instant::now(), bench.counter("receive_errors"));
    std::thread::sleep(Duration::from_millis(200));
    let more = bench.counter("receive_errors") - errors;
    let took = began.elapsed();
    assert!(
        more <= took.as_millis() as u64 / 10 + 1,
        "{more} errors in {took:?}"
    );
    // SAFETY: as above.
    assert_eq!(unsafe { libc::dup2(kept, socket) }, socket);
    bench.wait_for("it is read again", || {
        let mut room = [0; 2048];
        bench.send("OPTIONS", "again", "");
        bench.peer.recv(&mut room).is_ok()
    });
    assert!(bench.gateway.stop(LONGEST));
    // SAFETY: a descriptor that only we know.
    unsafe { libc::close(kept) };
}
