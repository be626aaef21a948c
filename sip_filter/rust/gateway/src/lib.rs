//! Sockets and threads around the pure element. No Python here, and no call ever waits for it.
//!
//! [`Gateway`] binds, starts one worker per address and thread, and a housekeeper that remaps the list off the
//! call path and replaces workers that died or hang.

mod checks;
mod connection;
mod drain;
mod house;
mod lanes;
mod mail;
#[cfg(test)]
mod restart_tests;
mod said;
mod sender;
mod settings;
mod sights;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod tls_client;
mod traffic;
mod worker;

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use palang_core::counter::Counter;
use palang_core::decision::TrunkMode;
use palang_core::element::Element;
use palang_core::number::Number;
use palang_core::plan::Plan;
use palang_core::setup::Hop;
use palang_core::traffic::{Sketches, Told};
use palang_core::transport::Local;
use palang_maps::Reader;

use house::{Books, House, Post, Pulse};
use said::say;
pub use said::tell_panics_by_place;
use settings::Settings;
pub use settings::{own_plans, plan_named, Wrong};
pub use sights::{Fate, Sight};
use worker::{Counts, Desk, Shared};

/// Calls on course that are remembered: 8 MiB, enough for 2,000 calls a second over their 240 s.
const REMEMBERED: usize = 1 << 19;
/// Next hops taken out of use that are still known, newest last.
const MOST_RETIRED: usize = 16;

/// The gateway of one node.
pub struct Gateway {
    state: Mutex<State>,
}

struct State {
    shared: Arc<Shared>,
    settings: Settings,
    /// Those of UDP first.
    locals: Vec<Local>,
    retired: Vec<Hop>,
    /// The first of each UDP address, and how many workers and lanes these have.
    sockets: Arc<[UdpSocket]>,
    shape: (usize, usize),
    books: Arc<Books>,
    housekeeper: Option<JoinHandle<()>>,
}

/// Why something was not done.
#[derive(Debug)]
pub enum Error {
    Settings(Wrong),
    Io(io::Error),
    /// Not possible in this state: what and why.
    State(&'static str),
}

impl Gateway {
    /// Reads the settings and opens the list, if there is one. Binds nothing yet.
    pub fn new(live: &Path, settings: &str) -> Result<Gateway, Error> {
        let settings = Settings::parse(settings).map_err(Error::Settings)?;
        let reader = Reader::open(live).map_err(Error::Io)?;
        let element = Element::new(settings.setup(settings.listen.clone(), Vec::new()));
        let terms = settings.stream_terms().map_err(Error::Settings)?;
        let shared = Arc::new(Shared::new(live.to_owned(), reader, element, terms, REMEMBERED));
        let locals = settings.listen.clone();
        Ok(Gateway {
            state: Mutex::new(State {
                shared,
                settings,
                locals,
                retired: Vec::new(),
                sockets: Arc::new([]),
                shape: (0, 0),
                books: Arc::default(),
                housekeeper: None,
            }),
        })
    }

    /// Binds and starts the threads; returns the addresses bound, port 0 replaced.
    pub fn start(&self) -> Result<Vec<Local>, Error> {
        let mut state = self.lock();
        if state.housekeeper.is_some() {
            return Err(Error::State("the gateway runs already"));
        }
        if state.shared.stop.load(Ordering::Relaxed) {
            return Err(Error::State("the gateway was stopped; make a new one"));
        }
        let sets = bind_all(&state.settings).map_err(Error::Io)?;
        let sockets = Arc::clone(&sets[0].sockets);
        let datagrams = sockets.len();
        let listeners = listen_all(&state.settings, datagrams).map_err(Error::Io)?;
        let locals = bound(&state.settings, &sockets, &listeners).map_err(Error::Io)?;
        state.locals = locals.clone();
        let element = Element::new(state.settings.setup(locals.clone(), state.retired.clone()));
        state.shared.replace(element);
        state.shape = (sets.len(), sets[0].lanes[0].len());
        state.sockets = Arc::clone(&sockets);
        state.steer();
        let desks = sets
            .into_iter()
            .flat_map(|set| {
                let sockets = set.sockets;
                let lanes = set.lanes.into_iter().enumerate();
                lanes.map(move |(local, lanes)| (local, lanes, Arc::clone(&sockets)))
            })
            .enumerate()
            .map(|(number, (local, lanes, sockets))| Desk {
                name: format!("palang-sip-{number}"),
                local,
                lanes: lanes.into(),
                sockets,
                counts: Counts::default(),
                pulse: Pulse::default(),
                number,
            });
        let mut posts: Vec<Post> = desks.map(Arc::new).map(Post::Datagrams).collect();
        if !listeners.is_empty() {
            posts.push(Post::Streams(Arc::new(stream::Desk {
                name: "palang-streams".into(),
                listeners: listeners.into(),
                sockets,
                counts: Counts::default(),
                pulse: Pulse::default(),
                number: posts.len(),
            })));
        }
        let house = match House::open(&state.shared, &state.books, posts) {
            Ok(house) => house,
            Err(error) => {
                state.shared.stop.store(true, Ordering::Relaxed);
                return Err(Error::Io(error));
            }
        };
        let thread = std::thread::Builder::new()
            .name("palang-house".into())
            .spawn(move || house.keep())
            .map_err(Error::Io)?;
        state.housekeeper = Some(thread);
        // As the settings list them.
        let (mut udp, mut streams) = (locals[..datagrams].iter(), locals[datagrams..].iter());
        let listed = state
            .settings
            .listen
            .iter()
            .filter_map(|local| match local.transport.is_stream() {
                false => udp.next(),
                true => streams.next(),
            });
        Ok(listed.copied().collect())
    }

    /// Takes new settings over between two messages. Bad ones change nothing.
    pub fn configure(&self, settings: &str) -> Result<(), Error> {
        let mut next = Settings::parse(settings).map_err(Error::Settings)?;
        let mut state = self.lock();
        let fixed = [
            ("listen", next.listen != state.settings.listen),
            ("workers", next.workers != state.settings.workers),
        ];
        if let Some((key, _)) = fixed.iter().find(|(_, changed)| *changed) {
            return Err(Error::Settings(format!(
                "{key}: can't change while the gateway runs; start it anew"
            )));
        }
        next.adopt(&state.settings, &state.retired);
        // The files of certificates are read again each time, whether or not their names changed.
        let terms = next.stream_terms().map_err(Error::Settings)?;
        let gone = state
            .settings
            .hops
            .iter()
            .filter(|hop| next.hops.iter().all(|kept| kept.id() != hop.id()));
        let mut retired: Vec<Hop> = state.retired.iter().chain(gone).cloned().collect();
        retired.retain(|hop| next.hops.iter().all(|used| used.id() != hop.id()));
        let surplus = retired.len().saturating_sub(MOST_RETIRED);
        retired.drain(..surplus);
        state.shared.set_terms(terms);
        let setup = next.setup(state.locals.clone(), retired.clone());
        state.shared.traffic.know(&setup);
        state.shared.replace(Element::new(setup));
        state.steer();
        (state.settings, state.retired) = (next, retired);
        Ok(())
    }

    /// All counters, over all threads, since the gateway was made.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let state = self.lock();
        let total = |counter: Counter| match counter {
            Counter::TrafficLost => state.shared.traffic.lost(),
            counter => state.books.total(counter),
        };
        Counter::ALL
            .iter()
            .map(|counter| (counter.name(), total(*counter)))
            .collect()
    }

    /// The counters that are kept for each trunk.
    pub fn trunk_counters(&self) -> Vec<(String, Vec<(&'static str, u64)>)> {
        let element = self.lock().shared.element();
        let trunks = element.setup.trunks.iter();
        trunks
            .map(|trunk| (trunk.name.to_string(), trunk.manners.tally.counts().collect()))
            .collect()
    }

    /// What became of each new call and message since it was last asked, and how many more there were than could wait.
    /// The first asking begins the watch.
    pub fn watched(&self) -> (Vec<Sight>, u64) {
        let shared = Arc::clone(&self.lock().shared);
        shared.sights.take()
    }

    /// What was counted in the closed minutes after that one (since 1970), and what is watched from now on: a JSON list.
    pub fn traffic(&self, after: u64, watches: Option<&str>) -> Result<Told, Error> {
        let shared = Arc::clone(&self.lock().shared);
        let told = shared.traffic.tell(after, watches, || shared.now());
        told.map_err(Error::Settings)
    }

    /// The sketches of an hour (since 1970) from `after` on.
    pub fn sketches(&self, hour: u64, after: Option<u32>) -> Sketches {
        let shared = Arc::clone(&self.lock().shared);
        shared.traffic.sketches(hour, after, || shared.now())
    }

    /// The next hops in use, and what is known of them.
    pub fn next_hops(&self) -> Vec<Hop> {
        self.lock().shared.element().setup.hops.clone()
    }

    /// Takes the node, or a next hop of it, out of service or back; no file of the settings is read for it.
    pub fn drain(&self, hop: Option<&str>, out: bool) -> Result<(), Error> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Settings { drain, hops, .. } = &mut state.settings;
        drain.set(hop, out, hops).map_err(Error::Settings)?;
        let setup = state.settings.setup(state.locals.clone(), state.retired.clone());
        state.shared.replace(Element::new(setup));
        Ok(())
    }

    /// Whether the node is out of service.
    pub fn is_drained(&self) -> bool {
        self.lock().settings.drain.node
    }

    /// The card of a 608 has been signed: it may be pointed to for so long from now.
    pub fn card_signed(&self, good_for: Duration) {
        let shared = Arc::clone(&self.lock().shared);
        let until = shared.now().saturating_add(good_for.as_millis() as u64);
        shared.element().setup.redress.term.extend(until);
    }

    /// What a call from each number would get on a trunk: its final status, or 0 when no rule refuses it.
    ///
    /// A real INVITE in the trunk's dial plan goes through the workers' own pipeline and list; it is not sent,
    /// remembered or counted.
    pub fn synthetic(&self, trunk: &str, numbers: &[String]) -> Result<Vec<u16>, Error> {
        let shared = Arc::clone(&self.lock().shared);
        // The newest list, not the one of two milliseconds ago: the answers stand beside its revision.
        shared.reader.refresh().map_err(Error::Io)?;
        let element = shared.element();
        let trunks = &element.setup.trunks;
        let Some(index) = trunks.iter().position(|known| &*known.name == trunk) else {
            let names: Vec<_> = trunks.iter().map(|trunk| &*trunk.name).collect();
            return Err(Error::Settings(format!(
                "trunk {trunk:?} is not configured (known: {})",
                names.join(", ")
            )));
        };
        let plan = trunks[index].terms.plan;
        let statuses = numbers.iter().map(|text| {
            let digits = text.strip_prefix('+').unwrap_or(text);
            let number =
                Number::parse(digits.as_bytes()).map_err(|error| Error::Settings(error.to_string()))?;
            Ok(worker::rehearse(
                &shared,
                index,
                synthetic_invite(number, plan).as_bytes(),
            ))
        });
        statuses.collect()
    }

    /// The name, mode and networks' trust of each trunk as it is configured now.
    pub fn trunks(&self) -> Vec<(String, TrunkMode)> {
        let element = self.lock().shared.element();
        element
            .setup
            .trunks
            .iter()
            .map(|trunk| (trunk.name.to_string(), trunk.mode))
            .collect()
    }

    /// Stops all threads; false when one did not end in time.
    pub fn stop(&self, timeout: Duration) -> bool {
        let mut state = self.lock();
        state.shared.stop.store(true, Ordering::Relaxed);
        let Some(housekeeper) = state.housekeeper.take() else {
            return true;
        };
        let deadline = Instant::now() + timeout;
        while !housekeeper.is_finished() {
            if Instant::now() >= deadline {
                state.housekeeper = Some(housekeeper);
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        housekeeper.join().is_ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.lock().shared.stop.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Settings(wrong) => out.write_str(wrong),
            Error::Io(error) => error.fmt(out),
            Error::State(what) => out.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

impl State {
    /// Tells each address the lanes of those who may send to it.
    fn steer(&self) {
        let element = self.shared.element();
        for socket in &*self.sockets {
            if let Err(error) = lanes::steer(socket, self.shape, &element.setup) {
                say("node.sources_share_a_queue", &[("error", &error)]);
            }
        }
    }
}

/// What one worker has: the lanes of each UDP address, and the first of each for sending.
struct Set {
    lanes: Vec<Vec<UdpSocket>>,
    sockets: Arc<[UdpSocket]>,
}

/// One set of sockets per worker.
fn bind_all(settings: &Settings) -> io::Result<Vec<Set>> {
    let (workers, lanes) = (
        settings.workers,
        lanes::wanted(settings.trunks(), settings.workers),
    );
    let mut lanes_of: Vec<Vec<Vec<UdpSocket>>> = (0..workers).map(|_| Vec::new()).collect();
    let datagrams = settings
        .listen
        .iter()
        .filter(|local| !local.transport.is_stream());
    for local in datagrams {
        let bound = lanes::bind(local.address, workers, lanes)
            .map_err(|error| io::Error::new(error.kind(), format!("{local}: {error}")))?;
        for (worker, row) in bound.into_iter().enumerate() {
            lanes_of[worker].push(row);
        }
    }
    let sets = lanes_of.into_iter().map(|lanes| {
        let sockets = lanes.iter().map(|row| row[0].try_clone());
        let sockets = sockets.collect::<io::Result<Vec<_>>>()?.into();
        Ok(Set { lanes, sockets })
    });
    sets.collect()
}

/// The listening sockets of streams; their local addresses are numbered on from `first`.
fn listen_all(settings: &Settings, first: usize) -> io::Result<Vec<(usize, TcpListener)>> {
    let streams = settings.listen.iter().filter(|local| local.transport.is_stream());
    let bound = streams.enumerate().map(|(i, local)| {
        let socket = stream::bind(local.address)
            .map_err(|error| io::Error::new(error.kind(), format!("{local}: {error}")))?;
        Ok((first + i, socket))
    });
    bound.collect()
}

/// The addresses bound, those of UDP first.
fn bound(
    settings: &Settings,
    sockets: &[UdpSocket],
    listeners: &[(usize, TcpListener)],
) -> io::Result<Vec<Local>> {
    let addresses = sockets
        .iter()
        .map(UdpSocket::local_addr)
        .chain(listeners.iter().map(|(_, socket)| socket.local_addr()));
    let (streams, datagrams): (Vec<&Local>, Vec<&Local>) = settings
        .listen
        .iter()
        .partition(|local| local.transport.is_stream());
    let named = datagrams.into_iter().chain(streams).zip(addresses);
    named
        .map(|(local, address)| {
            Ok(Local {
                transport: local.transport,
                address: address?,
            })
        })
        .collect()
}

/// An INVITE as that trunk would bring it: a national number in national form where the plan has one.
fn synthetic_invite(number: Number, plan: Plan) -> String {
    let user = plan
        .national_form(number)
        .unwrap_or_else(|| format!("+{}", number.digits()));
    format!(
        "INVITE sip:0@palang.invalid SIP/2.0\r\nVia: SIP/2.0/UDP 0.0.0.0;branch=z9hG4bKsynthetic\r\n\
         From: <sip:{user}@palang.invalid>;tag=s\r\nTo: <sip:0@palang.invalid>\r\nCall-ID: synthetic\r\n\
         CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}
