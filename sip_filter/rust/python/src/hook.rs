//! `Hook`: the gateway's decision inside another program. What it promises is said in `sip_filter/_core.pyi`.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use palang_core::clause::trunk_key;
use palang_core::counter::Counter;
use palang_core::course::Key;
use palang_core::decision::{Judgement, Kind, ListView, Revision, TrunkMode, TrunkScope, Verdict};
use palang_core::identity::{is_protected_callee, Callers, Terms};
use palang_core::inquiry::{self, Finding, Ground};
use palang_core::message::{self, Fault, Field, Method, Start};
use palang_core::number::Number;
use palang_maps::{Effect, Follower, Hit, HitRing};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyString, PyTuple};

use crate::sip::plan_named;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Hook>()?;
    module.add_class::<Decision>()
}

#[pyclass(frozen, subclass, module = "sip_filter._core")]
struct Hook {
    terms: Terms,
    scope: TrunkScope,
    protected: Vec<Box<[u8]>>,
    key: Key,
    /// `DECLINE` for Python, made once.
    decline: Py<PyTuple>,
    state: Mutex<State>,
}

const DECLINE: (u16, &str) = (603, "Decline");

/// What changes from call to call.
struct State {
    list: Follower,
    fields: Vec<Field>,
    hits: Hits,
}

/// What was decided. It is put into words only for who asks: a switch asks for the status and no more.
#[pyclass(frozen, module = "sip_filter._core")]
struct Decision {
    why: &'static str,
    fault: Option<Fault>,
    judgement: Option<Judgement>,
    number: Option<Number>,
}

#[pymethods]
impl Hook {
    #[new]
    #[pyo3(signature = (live, trunk, plan, trusted, mode, protected, rpid = false, key = None))]
    #[allow(clippy::too_many_arguments)] // They are the keywords of a Python call.
    fn new(
        py: Python<'_>,
        live: PathBuf,
        trunk: &str,
        plan: &str,
        trusted: bool,
        mode: &str,
        protected: Vec<String>,
        rpid: bool,
        key: Option<[u8; 32]>,
    ) -> PyResult<Hook> {
        let wrong = |what: String| PyValueError::new_err(what);
        let terms = Terms {
            plan: plan_named(plan, "[]")?,
            trusted,
            rpid,
        };
        let mode = TrunkMode::from_word(mode)
            .ok_or_else(|| wrong(format!("mode {mode:?} must be enforce, shadow or off")))?;
        let is_code =
            |code: &&String| (2..=15).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
        if let Some(code) = protected.iter().find(|code| !is_code(code)) {
            return Err(wrong(format!("protected code {code:?} must be 2 to 15 digits")));
        }
        let list = Follower::open(&live)?;
        Ok(Hook {
            terms,
            scope: TrunkScope {
                key: trunk_key(trunk),
                mode,
            },
            protected: protected
                .into_iter()
                .map(|code| code.into_bytes().into())
                .collect(),
            key: Key::new(&key.unwrap_or_default()),
            decline: DECLINE.into_pyobject(py)?.unbind(),
            state: Mutex::new(State {
                list,
                fields: Vec::new(),
                hits: Hits::of(&live),
            }),
        })
    }

    fn judge_message(&self, raw: &[u8]) -> Decision {
        self.judged(raw)
    }

    #[pyo3(signature = (raw, /))]
    fn refusal<'py>(&self, raw: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = raw.py();
        let decision = match raw.downcast::<PyString>() {
            // The switch's own copy is read: an ASCII text is its UTF-8.
            Ok(text) => self.judged(text.to_str()?.as_bytes()),
            Err(_) => self.judged(raw.extract::<&[u8]>()?),
        };
        let Some((code, phrase)) = decision.status() else {
            return Ok(None);
        };
        if (code, phrase) == DECLINE {
            return Ok(Some(self.decline.bind(py).clone()));
        }
        (code, phrase).into_pyobject(py).map(Some)
    }

    #[pyo3(signature = (numbers, callee = None, kind = "call"))]
    fn judge(&self, numbers: Vec<PyBackedStr>, callee: Option<&str>, kind: &str) -> PyResult<Decision> {
        let kind = Kind::from_word(kind)
            .ok_or_else(|| PyValueError::new_err(format!("kind {kind:?} must be call or message")))?;
        Ok(self.decide(|State { list, hits, .. }| {
            let callers = Callers::of(numbers.iter().map(|text| text.as_bytes()), &self.terms)?;
            if callee.is_some_and(|callee| is_protected_callee(callee.as_bytes(), &self.protected)) {
                return Ok(Decision::of(&Finding::unjudged(Counter::Protected, callers)));
            }
            let generation = list.latest();
            let list = (generation.number() != 0).then(|| generation.view());
            let finding = inquiry::ask_of(callers, kind, self.scope, list.as_ref());
            let unnamed = hits.count;
            hits.note(&finding, kind, self.scope.key, || unnamed_call(unnamed));
            Ok(Decision::of(&finding))
        }))
    }

    #[getter]
    fn revision(&self) -> (u32, u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        pair(state.list.latest().view().revision())
    }

    #[getter]
    fn lost_hits(&self) -> u64 {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .hits
            .lost
    }
}

impl Hook {
    fn judged(&self, raw: &[u8]) -> Decision {
        self.decide(|state| {
            let State { list, fields, hits } = state;
            let Ok(message) = message::read(raw, fields) else {
                return Ok(Decision::not_judged("not_sip"));
            };
            let kind = match message.start {
                Start::Request { method, .. } => match method {
                    Method::Invite => Some(Kind::Call),
                    Method::Message => Some(Kind::Message),
                    _ => None,
                },
                Start::Response { .. } => None,
            };
            let Some(kind) = kind else {
                return Ok(Decision::not_judged("not_a_call"));
            };
            if let Some(fault) = message.fault {
                return Err(fault);
            }
            if !message.to.tag.is_empty() {
                return Ok(Decision::not_judged(Counter::InDialog.name()));
            }
            let ground = Ground {
                terms: &self.terms,
                scope: self.scope,
                protected: &self.protected,
            };
            let generation = list.latest();
            let list = (generation.number() != 0).then(|| generation.view());
            let finding = inquiry::ask(&message, kind, &ground, list.as_ref())?;
            hits.note(&finding, kind, self.scope.key, || self.key.call(&message));
            Ok(Decision::of(&finding))
        })
    }

    fn decide(&self, judge: impl FnOnce(&mut State) -> Result<Decision, Fault>) -> Decision {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A fault of ours must stop no call.
        match catch_unwind(AssertUnwindSafe(|| judge(&mut state))) {
            Ok(Ok(decision)) => decision,
            Ok(Err(fault)) => Decision {
                fault: Some(fault),
                ..Decision::not_judged(Counter::Malformed.name())
            },
            Err(_) => Decision::not_judged(Counter::JudgeError.name()),
        }
    }
}

impl Decision {
    fn not_judged(why: &'static str) -> Decision {
        Decision {
            why,
            fault: None,
            judgement: None,
            number: None,
        }
    }

    fn of(finding: &Finding) -> Decision {
        let decided = finding.judgement.and_then(|judgement| judgement.decided);
        let who = decided.and_then(|(index, _)| finding.callers.as_slice().get(index));
        Decision {
            why: finding.outcome.name(),
            fault: None,
            judgement: finding.judgement,
            number: who.map(|who| who.number),
        }
    }

    fn judged(&self) -> Verdict {
        self.judgement
            .map_or(Verdict::Pass, |judgement| judgement.verdict)
    }
}

#[pymethods]
impl Decision {
    #[getter]
    fn verdict(&self) -> &'static str {
        match self.fault {
            Some(_) => "malformed",
            None => self.judged().word(),
        }
    }

    #[getter]
    fn status(&self) -> Option<(u16, &'static str)> {
        match self.fault {
            Some(fault) => Some(fault.status()),
            None => (self.judged() == Verdict::Reject).then_some(DECLINE),
        }
    }

    #[getter]
    fn why(&self) -> &'static str {
        self.why
    }

    #[getter]
    fn subject(&self) -> Option<String> {
        let (_, found) = self.judgement?.decided?;
        Some(found.subject.to_string())
    }

    #[getter]
    fn number(&self) -> Option<String> {
        self.number.map(|number| number.to_string())
    }

    #[getter]
    fn shadow(&self) -> Option<String> {
        let (_, found) = self.judgement?.shadow?;
        Some(found.subject.to_string())
    }

    #[getter]
    fn revision(&self) -> (u32, u64) {
        pair(
            self.judgement
                .map_or(Revision::default(), |judgement| judgement.revision),
        )
    }
}

/// This process's ring. It is made when first needed, in whatever process that is: a switch forks its workers.
struct Hits {
    live: PathBuf,
    /// With the count of forks at which it was made.
    ring: Option<(u64, HitRing)>,
    tried: Option<Instant>,
    /// Hits so far.
    count: u64,
    lost: u64,
}

impl Hits {
    fn of(live: &Path) -> Hits {
        Hits {
            live: live.to_owned(),
            ring: None,
            tried: None,
            count: 0,
            lost: 0,
        }
    }

    fn note(&mut self, finding: &Finding, kind: Kind, trunk_key: u64, call: impl FnOnce() -> u64) {
        let Some(judgement) = finding.judgement else {
            return;
        };
        let found = judgement.hits();
        if found == [None; 2] {
            return;
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let call_key = call();
        for (matched, shadow) in found.into_iter().flatten() {
            let hit = Hit {
                at_ms: at.as_millis() as u64,
                subject: matched.subject,
                authority: matched.authority,
                action: matched.action,
                effect: Effect::of(matched.action, shadow),
                kind,
                trunk_key,
                revision: judgement.revision,
                call_key,
            };
            self.count += 1;
            let left = self.ring().is_some_and(|ring| ring.push(&hit));
            self.lost += u64::from(!left);
        }
    }

    fn ring(&mut self) -> Option<&mut HitRing> {
        let forks = palang_maps::forks();
        if self.ring.as_ref().is_some_and(|(owner, _)| *owner != forks) {
            // A ring has one producer: the parent's stays the parent's.
            (self.ring, self.tried) = (None, None);
        }
        if self.ring.is_none() && self.tried.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
            self.tried = Some(Instant::now());
            self.ring = HitRing::create(&self.live, 0).ok().map(|ring| (forks, ring));
        }
        self.ring.as_mut().map(|(_, ring)| ring)
    }
}

/// A key of its own for a call whose name nobody told.
fn unnamed_call(count: u64) -> u64 {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mixed = (at.as_nanos() as u64) ^ u64::from(std::process::id()) << 40 ^ count;
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn pair(revision: Revision) -> (u32, u64) {
    (revision.epoch, revision.n)
}
