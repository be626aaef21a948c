//! What computing costs on the packet's path, sockets left out: bytes in, verdict out.
//!
//! Method: `--numbers` numbers and 100 prefixes lie in mapped files, as a node has them. Distinct INVITEs of 900 bytes
//! in four clothings are copied into a receiver's buffers, untimed, as the kernel would; each gets a caller that was
//! not asked about lately (five of eight are in the list). Then one thread, pinned to `--core`, answers them. Each
//! answer is timed by itself for the percentiles, and batches of 64 as a whole for the mean, which the clock does not
//! weigh on. `receive` is the whole element with the response or the forwarded request written; `decide` is read,
//! identity and decision alone. `counted` is `receive` with a record written for the counts of traffic, and `fold` what it
//! takes to count a call's record later, off the packet's path, with 100 watches of prefixes. While `--changes` changes
//! are applied by a writer pinned to `--writer-core`, the same runs again.
//!
//! Expected: the verdict that the list calls for, for every message; else the program fails. Prints JSON; times are in
//! nanoseconds. Instructions are counted from outside: `valgrind --tool=callgrind decide --numbers 10000 --changes 0
//! --rounds 1`, then what `receive` and `decide` include, divided by `answers_of_each`.

mod desk;
mod invites;
mod list;
mod times;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use palang_maps::{Reader, Writer};
use serde_json::{json, Value};

use desk::{Desk, Round};
use invites::LENGTH;
use list::{load, look_up, Changes, PREFIXES};
use times::{clock, percentile, rounded, Times};

fn main() {
    let options = Options::read();
    let folder = std::env::temp_dir().join(format!("palang-decide-{}", std::process::id()));
    let memory = Path::new("/dev/shm");
    let live = match memory.is_dir() {
        true => memory.join(format!("palang-decide-{}", std::process::id())),
        false => folder.join("live"),
    };
    let figures = measure(&options, &live, &folder.join("state"));
    for path in [&live, &folder] {
        // What is left of a run that failed is the system's to sweep.
        let _ = std::fs::remove_dir_all(path);
    }
    println!("{:#}", figures);
}

fn measure(options: &Options, live: &Path, state: &Path) -> Value {
    let mut writer = Writer::open(live, state).expect("two folders of our own");
    load(&mut writer, options.numbers);
    let changes = Changes::prepare(&writer, options.numbers, options.changes);
    let reader = Reader::open(live).expect("the list that was loaded");
    let generation = reader.current();
    pin(options.core);
    let mut desk = Desk::new(options.numbers);
    desk.run(&generation, 1, &|| false); // Warm.

    let quiet = desk.run(&generation, options.rounds, &|| false);
    let applied = AtomicBool::new(false);
    let (busy, seconds) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            pin(options.writer_core);
            let seconds = changes.apply(&mut writer);
            applied.store(true, Ordering::Release);
            seconds
        });
        let busy = desk.run(&generation, usize::MAX, &|| applied.load(Ordering::Acquire));
        (busy, writing.join().expect("the writer lives"))
    });
    assert_eq!(
        generation.number(),
        writer.generation(),
        "the list that was changed is not the one asked"
    );
    let ratio = |of: fn(&Round) -> &Times| of(&busy).at(99.0) / of(&quiet).at(99.0);
    json!({
        "numbers": options.numbers,
        "prefixes": PREFIXES,
        "message_bytes": LENGTH,
        "answers_of_each": desk.calls / 3,
        "clock": clock(),
        "receive": quiet.receive.figures(),
        "decide": quiet.decide.figures(),
        "counted": quiet.counted.figures(),
        "fold": { "median": percentile(&quiet.fold, 50.0), "best": percentile(&quiet.fold, 0.0) },
        "while_changes_are_applied": {
            "changes": changes.count(),
            "changes_per_s": (changes.count() as f64 / seconds).round(),
            "receive": busy.receive.figures(),
            "decide": busy.decide.figures(),
            "p99_ratio_receive": rounded(ratio(|round| &round.receive)),
            "p99_ratio_decide": rounded(ratio(|round| &round.decide)),
        },
        "look_up": look_up(&generation.view(), options.numbers),
    })
}

struct Options {
    numbers: usize,
    changes: usize,
    rounds: usize,
    core: usize,
    writer_core: usize,
}

impl Options {
    fn read() -> Options {
        let mut options = Options {
            numbers: 10_000_000,
            changes: 1_000_000,
            rounds: 20,
            core: 1,
            writer_core: 0,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let field = match word.as_str() {
                "--numbers" => &mut options.numbers,
                "--changes" => &mut options.changes,
                "--rounds" => &mut options.rounds,
                "--core" => &mut options.core,
                "--writer-core" => &mut options.writer_core,
                _ => panic!("{word}: not one of --numbers, --changes, --rounds, --core, --writer-core"),
            };
            let value = words.next().and_then(|value| value.parse().ok());
            *field = value.unwrap_or_else(|| panic!("{word} needs a number"));
        }
        options
    }
}

fn pin(core: usize) {
    // SAFETY: all zeroes is a valid, empty set; the call only reads it.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    assert_eq!(failed, 0, "this machine has no core {core}");
}
