//! The housekeeper: off the call path it remaps the list, checks next hops, and sees that every desk is worked at.
//!
//! A thread that ended is started again at its desk. One that shows no sign of life is hung, and threads can't be
//! killed: its desk is closed, and a new thread takes over at a new desk with the same sockets. When the hung one
//! comes back it finds its desk closed and leaves; what it had in hand is too old to send.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use palang_core::counter::Counter;

use crate::checks::Checker;
use crate::said::say;
use crate::worker::{Counts, Desk, Shared};
use crate::{stream, worker};

/// How often the list's current generation is looked up. Workers see a new one by themselves; this maps it for them
/// beforehand, and finds the first list of a node that had none.
const LOOK: Duration = Duration::from_millis(20);
/// So many of those looks apart, the desks are looked at: 100 ms.
const ROUND: u32 = 5;
/// Rounds without a sign of life after which a thread is hung. It shows one each 50 ms, even when nothing comes.
/// Rounds are counted, not time: after a stop of the whole process nobody is late.
const HUNG_ROUNDS: u32 = 10;
/// Hung threads at a time. When so many hang, one more would not help.
const MOST_HUNG: usize = 16;

/// A thread's sign of life, and whether it may go on. Only that thread writes the beats.
#[derive(Default)]
pub struct Pulse {
    beats: AtomicU64,
    closed: AtomicBool,
}

impl Pulse {
    /// One sign of life. False when another thread has taken over.
    pub fn beat(&self) -> bool {
        self.beats
            .store(self.beats.load(Relaxed).wrapping_add(1), Relaxed);
        !self.is_closed()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }
}

/// What one thread works at.
#[derive(Clone)]
pub enum Post {
    Datagrams(Arc<Desk>),
    Streams(Arc<stream::Desk>),
}

impl Post {
    pub fn counts(&self) -> &Counts {
        match self {
            Post::Datagrams(desk) => &desk.counts,
            Post::Streams(desk) => &desk.counts,
        }
    }

    fn pulse(&self) -> &Pulse {
        match self {
            Post::Datagrams(desk) => &desk.pulse,
            Post::Streams(desk) => &desk.pulse,
        }
    }

    fn name(&self) -> &str {
        match self {
            Post::Datagrams(desk) => &desk.name,
            Post::Streams(desk) => &desk.name,
        }
    }

    /// A desk of its own at the same sockets.
    fn successor(&self, number: usize) -> Post {
        match self {
            Post::Datagrams(desk) => Post::Datagrams(Arc::new(desk.successor(number))),
            Post::Streams(desk) => Post::Streams(Arc::new(desk.successor(number))),
        }
    }

    fn start(&self, shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
        let (shared, post) = (Arc::clone(shared), self.clone());
        let thread = Builder::new().name(self.name().into());
        thread.spawn(move || match post {
            Post::Datagrams(desk) => worker::run(&shared, &desk),
            Post::Streams(desk) => stream::run(&shared, &desk),
        })
    }
}

/// What is counted beside the desks, and by all of them.
#[derive(Default)]
pub struct Books {
    pub counts: Counts,
    posts: Mutex<Vec<Post>>,
}

impl Books {
    #[cfg(test)]
    pub fn all_posts(&self) -> Vec<Post> {
        self.posts().clone()
    }

    /// A counter's total. A desk that is dissolved leaves its counts to us.
    pub fn total(&self, counter: Counter) -> u64 {
        let posts = self.posts();
        let of_posts: u64 = posts.iter().map(|post| post.counts().get(counter)).sum();
        of_posts + self.counts.get(counter)
    }

    fn posts(&self) -> MutexGuard<'_, Vec<Post>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dissolve(&self, post: &Post) {
        let mut posts = self.posts();
        posts.retain(|other| !std::ptr::eq(other.counts(), post.counts()));
        for counter in Counter::ALL {
            self.counts.add(*counter, post.counts().get(*counter));
        }
    }
}

pub struct House {
    shared: Arc<Shared>,
    books: Arc<Books>,
    staffed: Vec<Staffed>,
    hung: Vec<Staffed>,
    next_number: usize,
}

struct Staffed {
    post: Post,
    thread: JoinHandle<()>,
    /// The beats last seen, and for how many rounds.
    seen: u64,
    rounds: u32,
}

impl House {
    /// Starts a thread for each post.
    pub fn open(shared: &Arc<Shared>, books: &Arc<Books>, posts: Vec<Post>) -> io::Result<House> {
        let mut house = House {
            shared: Arc::clone(shared),
            books: Arc::clone(books),
            staffed: Vec::new(),
            hung: Vec::new(),
            next_number: posts.len(),
        };
        for post in posts {
            let thread = house.hire(&post)?;
            house.staffed.push(thread);
        }
        Ok(house)
    }

    /// Runs until the stop flag is up and the threads have ended, but for those that hang.
    pub fn keep(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut looks: u32 = 0;
        let mut checker = Checker::new();
        while !shared.stop.load(Relaxed) {
            std::thread::sleep(LOOK);
            match shared.reader.refresh() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // No list yet; counted per call.
                Err(_) => self.books.counts.add(Counter::ListError, 1),
            }
            shared.traffic.handle_timeout(|| shared.now());
            looks = looks.wrapping_add(1);
            if looks % ROUND != 0 {
                continue;
            }
            let datagrams = self.staffed.iter().find_map(|staffed| match &staffed.post {
                Post::Datagrams(desk) => Some(desk),
                Post::Streams(_) => None,
            });
            if let Some(desk) = datagrams {
                checker.handle_timeout(
                    shared.now(),
                    &shared.element(),
                    &desk.sockets,
                    &shared.mail,
                    &self.books.counts,
                );
            }
            self.walk();
        }
        for staffed in self.staffed {
            // A worker that ended by a panic has been counted; there is nothing left to do for it.
            let _ = staffed.thread.join();
        }
    }

    /// One round: every desk is looked at.
    fn walk(&mut self) {
        for i in 0..self.staffed.len() {
            if self.shared.stop.load(Relaxed) {
                return;
            }
            let staffed = &mut self.staffed[i];
            let beats = staffed.post.pulse().beats.load(Relaxed);
            staffed.rounds = if beats == staffed.seen {
                staffed.rounds + 1
            } else {
                0
            };
            staffed.seen = beats;
            if staffed.thread.is_finished() {
                if let Ok(thread) = staffed.post.start(&self.shared) {
                    staffed.thread = thread;
                    staffed.rounds = 0;
                    self.books.counts.add(Counter::WorkerRestart, 1);
                }
            } else if staffed.rounds >= HUNG_ROUNDS && self.hung.len() < MOST_HUNG {
                self.replace(i);
            }
        }
        let (back, hung) = self
            .hung
            .drain(..)
            .partition(|staffed| staffed.thread.is_finished());
        self.hung = hung;
        let back: Vec<Staffed> = back;
        for staffed in back {
            self.books.dissolve(&staffed.post);
        }
    }

    fn replace(&mut self, i: usize) {
        let old = &self.staffed[i].post;
        let (name, fresh) = (old.name().to_owned(), old.successor(self.next_number));
        let Ok(fresh) = self.hire(&fresh) else {
            return; // The next round tries again.
        };
        self.next_number += 1;
        let old = std::mem::replace(&mut self.staffed[i], fresh);
        old.post.pulse().closed.store(true, Relaxed);
        self.hung.push(old);
        self.books.counts.add(Counter::WorkerHung, 1);
        let effect = "a new thread has taken over";
        say("node.worker_hung", &[("worker", &name), ("effect", &effect)]);
    }

    fn hire(&self, post: &Post) -> io::Result<Staffed> {
        let thread = post.start(&self.shared)?;
        self.books.posts().push(post.clone());
        Ok(Staffed {
            post: post.clone(),
            thread,
            seen: 0,
            rounds: 0,
        })
    }
}
