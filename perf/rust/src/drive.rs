//! Drives a server: begins calls as the scenario paces them, and takes answers, in one thread.
//!
//! It looks for answers every few microseconds instead of being woken by them: a peer is another machine, so that waking
//! it is no part of what a server has to pay for.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::callee::Callee;
use crate::calls::Calls;
use crate::line::Line;
use crate::scenario::{Outcome, Scenario};

/// Between two looks when nothing came.
const PAUSE: Duration = Duration::from_micros(4);
/// Calls without an answer for this long are lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// Calls begun before the next look.
const BURST: u64 = 64;

/// Runs the scenario.
pub fn run(scenario: &Scenario) -> io::Result<Outcome> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut line = Line::open(scenario)?;
    let mut calls = Calls::new(scenario, clock.as_nanos() as u32, line.port()?);
    let callee = scenario.callee.map(|at| {
        let vias = if at == scenario.server { 1 } else { 2 };
        Callee::bind(at, vias)
    });
    let mut callee = callee.transpose()?;
    let own = own_cpu();
    let end = (scenario.seconds * 1e9) as u64;
    let most = scenario.most.unwrap_or(u64::MAX).min(u64::from(u32::MAX));
    let (began, mut answered) = (calls.now(), calls.now());
    loop {
        let came = line.receive(&mut calls)? + callee.as_mut().map_or(Ok(0), Callee::turn)?;
        let now = calls.now();
        let is_over = now - began >= end || calls.begun() >= most;
        if came > 0 || calls.open() == 0 {
            answered = now;
        } else if now - answered > PATIENCE.as_nanos() as u64 {
            calls.lose();
            answered = now;
        }
        if is_over && calls.open() == 0 {
            break;
        }
        let room = scenario.window.saturating_sub(calls.open()) as u64;
        let due = match scenario.rate {
            _ if is_over => 0,
            None => room,
            Some(rate) => {
                let by_now = ((now - began) as f64 / 1e9 * rate) as u64 + 1;
                by_now.saturating_sub(calls.begun()).min(room)
            }
        };
        let due = due.min(BURST).min(most - calls.begun());
        for _ in 0..due {
            let due = scenario
                .rate
                .map_or(now, |rate| began + (calls.begun() as f64 / rate * 1e9) as u64);
            line.send(&mut calls, due)?;
        }
        line.flush()?;
        if came == 0 && due == 0 {
            std::thread::sleep(PAUSE);
        }
    }
    let seconds = (calls.now() - began) as f64 / 1e9;
    let (forwarded, misforwarded) = callee.map_or((0, 0), |callee| (callee.forwarded, callee.misforwarded));
    Ok(Outcome {
        seconds,
        own_cpu_seconds: own_cpu() - own,
        forwarded,
        misforwarded,
        ..calls.finish()
    })
}

/// Seconds of CPU that this process has used.
fn own_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    nanoseconds.unwrap_or(0.0) / 1e9
}
