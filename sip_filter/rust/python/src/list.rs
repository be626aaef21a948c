//! The list's Python face: `Writer`, `List`, digests. What it promises is said in `sip_filter/_core.pyi`.
//!
//! Whatever touches a disk or a whole list runs with the interpreter released.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use palang_core::clause::trunk_key as key_of_trunk;
use palang_core::decision::{self, Identity, Kind, ListView, Match, Revision, TrunkMode, TrunkScope};
use palang_core::digest::{entry_digest as digest_of_line, Digest};
use palang_core::draft::Draft;
use palang_core::entry::Entry;
use palang_core::list::Memory;
use palang_core::number::{Number, Subject};
use palang_maps::{Hit, Origin, Reader, WriteError, Writer as MapsWriter};
use pyo3::exceptions::{PyBlockingIOError, PyException, PyFileNotFoundError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{create_exception, IntoPyObjectExt};

create_exception!(
    sip_filter._core,
    GapError,
    PyException,
    "A revision that is not the next one."
);
create_exception!(
    sip_filter._core,
    DigestError,
    PyException,
    "A list or change whose digest is not as published."
);

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("GapError", module.py().get_type::<GapError>())?;
    module.add("DigestError", module.py().get_type::<DigestError>())?;
    module.add_class::<Writer>()?;
    module.add_class::<List>()?;
    module.add_class::<Judgement>()?;
    module.add_function(wrap_pyfunction!(judge, module)?)?;
    module.add_function(wrap_pyfunction!(entry_digest, module)?)?;
    module.add_function(wrap_pyfunction!(list_digest, module)?)?;
    module.add_function(wrap_pyfunction!(trunk_key, module)?)?;
    module.add_function(wrap_pyfunction!(bench_lookup, module)?)
}

#[pyclass(frozen, module = "sip_filter._core")]
struct Writer {
    inner: Mutex<Option<MapsWriter>>,
}

/// A hit as Python sees it: see `Hit` in the manual.
type HitTuple = (
    u64,
    String,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u64,
    (u32, u64),
    u64,
);

#[pymethods]
impl Writer {
    #[new]
    fn new(py: Python<'_>, live: PathBuf, state: PathBuf) -> PyResult<Writer> {
        let opened = py.detach(|| MapsWriter::open(&live, &state));
        match opened {
            Ok(writer) => Ok(Writer {
                inner: Mutex::new(Some(writer)),
            }),
            Err(WriteError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let folders = (live.display(), state.display());
                Err(PyBlockingIOError::new_err(format!(
                    "another writer holds {} or {}",
                    folders.0, folders.1
                )))
            }
            Err(error) => Err(raise(py, error)),
        }
    }

    #[getter]
    fn revision(&self, py: Python<'_>) -> PyResult<(u32, u64)> {
        self.ask(py, |writer| pair(writer.revision()))
    }

    #[getter]
    fn digest(&self, py: Python<'_>) -> PyResult<String> {
        self.ask(py, |writer| writer.digest().to_string())
    }

    #[getter]
    fn origin(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.ask(py, |writer| match writer.origin() {
            Origin::Empty => "empty",
            Origin::Snapshot => "snapshot",
        })
    }

    fn apply(
        &self,
        py: Python<'_>,
        epoch: u32,
        n: u64,
        changes: Vec<String>,
        digest: &str,
        now: u64,
    ) -> PyResult<()> {
        let digest = read_digest(digest)?;
        self.act(py, |writer| {
            writer.apply(Revision { epoch, n }, changes, digest, now)
        })
    }

    fn load(
        &self,
        py: Python<'_>,
        epoch: u32,
        n: u64,
        entries: &Bound<'_, PyAny>,
        digest: &str,
        now: u64,
    ) -> PyResult<()> {
        let digest = read_digest(digest)?;
        let draft = read_draft(entries, now)?;
        self.act(py, |writer| writer.load(Revision { epoch, n }, draft, digest))
    }

    fn expire(&self, py: Python<'_>, now: u64) -> PyResult<usize> {
        self.act(py, |writer| writer.expire(now))
    }

    fn next_expiry(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.ask(py, |writer| writer.next_expiry())
    }

    fn checkpoint(&self, py: Python<'_>) -> PyResult<()> {
        self.act(py, |writer| writer.checkpoint())
    }

    fn log_bytes(&self, py: Python<'_>) -> PyResult<u64> {
        self.ask(py, |writer| writer.log_bytes())
    }

    fn heartbeat(&self, py: Python<'_>, now_ms: u64) -> PyResult<()> {
        self.act(py, |writer| writer.heartbeat(now_ms))
    }

    fn entry(&self, py: Python<'_>, subject: &str) -> PyResult<String> {
        let subject = Subject::parse(subject).map_err(refuse)?;
        self.ask(py, |writer| writer.entry(subject))
    }

    fn touching(&self, py: Python<'_>, number: &str) -> PyResult<Vec<String>> {
        let number = read_number(number)?;
        self.ask(py, |writer| writer.touching(number))
    }

    fn entries(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.ask(py, |writer| writer.entries())
    }

    fn sizes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (sizes, generation) = self.ask(py, |writer| (writer.sizes(), writer.generation()))?;
        let named = [
            ("numbers", sizes.numbers),
            ("prefixes", sizes.prefixes),
            ("policies", sizes.policies),
            ("capacity", sizes.number_slots),
            ("used", sizes.number_used),
            ("longest_probe", sizes.longest_probe),
            ("generation", generation),
            ("bytes", sizes.bytes),
        ];
        let dict = PyDict::new(py);
        named
            .into_iter()
            .try_for_each(|(name, value)| dict.set_item(name, value))?;
        Ok(dict)
    }

    fn drain_hits(&self, py: Python<'_>) -> PyResult<(Vec<HitTuple>, u64)> {
        let (hits, lost) = self.act(py, |writer| writer.drain_hits())?;
        Ok((hits.iter().map(hit_tuple).collect(), lost))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(self.inner.lock().unwrap_or_else(PoisonError::into_inner).take()));
    }
}

impl Writer {
    fn act<T: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut MapsWriter) -> Result<T, WriteError> + Send,
    ) -> PyResult<T> {
        let outcome = py.detach(|| {
            let mut held = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            held.as_mut().map(act)
        });
        outcome.ok_or_else(closed)?.map_err(|error| raise(py, error))
    }

    fn ask<T: Send>(&self, py: Python<'_>, ask: impl FnOnce(&MapsWriter) -> T + Send) -> PyResult<T> {
        self.act(py, |writer| Ok(ask(writer)))
    }
}

#[pyclass(frozen, module = "sip_filter._core")]
struct List {
    reader: Reader,
}

#[pymethods]
impl List {
    #[new]
    fn new(live: PathBuf) -> PyResult<List> {
        let reader = Reader::open(&live)?;
        if reader.current().number() == 0 {
            return Err(PyFileNotFoundError::new_err(format!(
                "no list was ever loaded in {}",
                live.display()
            )));
        }
        Ok(List { reader })
    }

    #[getter]
    fn revision(&self) -> (u32, u64) {
        self.refresh();
        pair(self.reader.current().view().revision())
    }

    #[getter]
    fn digest(&self) -> String {
        self.refresh();
        self.reader.current().view().published().1.to_string()
    }

    #[pyo3(signature = (identities, trunk, kind="call", trunk_mode="enforce"))]
    fn judge(
        &self,
        identities: Vec<(PyBackedText, bool)>,
        trunk: &str,
        kind: &str,
        trunk_mode: &str,
    ) -> PyResult<Judgement> {
        let (identities, scope, kind) = read_request(&identities, trunk, kind, trunk_mode)?;
        self.refresh();
        let judged = decision::judge(&self.reader.current().view(), &identities, &scope, kind);
        Ok(Judgement::of(judged))
    }
}

impl List {
    // When it fails, the list that we have stays: the last good one.
    fn refresh(&self) {
        let _ = self.reader.refresh();
    }
}

type PyBackedText = pyo3::pybacked::PyBackedStr;

#[pyclass(frozen, get_all, module = "sip_filter._core")]
struct Judgement {
    verdict: &'static str,
    subject: Option<String>,
    authority: Option<&'static str>,
    action: Option<&'static str>,
    identity: Option<usize>,
    shadow: Option<String>,
    shadow_authority: Option<&'static str>,
    shadow_action: Option<&'static str>,
    shadow_identity: Option<usize>,
    revision: (u32, u64),
}

impl Judgement {
    fn of(judgement: decision::Judgement) -> Judgement {
        let subject = |found: Option<(usize, Match)>| found.map(|(_, found)| found.subject.to_string());
        let authority = |found: Option<(usize, Match)>| found.map(|(_, found)| found.authority.word());
        let action = |found: Option<(usize, Match)>| found.map(|(_, found)| found.action.word());
        let (decided, shadow) = (judgement.decided, judgement.shadow);
        Judgement {
            verdict: judgement.verdict.word(),
            subject: subject(decided),
            authority: authority(decided),
            action: action(decided),
            identity: decided.map(|(identity, _)| identity),
            shadow: subject(shadow),
            shadow_authority: authority(shadow),
            shadow_action: action(shadow),
            shadow_identity: shadow.map(|(identity, _)| identity),
            revision: pair(judgement.revision),
        }
    }
}

#[pyfunction]
#[pyo3(signature = (lines, identities, trunk, kind="call", trunk_mode="enforce", now=0))]
fn judge(
    lines: Vec<PyBackedText>,
    identities: Vec<(PyBackedText, bool)>,
    trunk: &str,
    kind: &str,
    trunk_mode: &str,
    now: u64,
) -> PyResult<Judgement> {
    let (identities, scope, kind) = read_request(&identities, trunk, kind, trunk_mode)?;
    let list =
        Memory::from_lines(Revision::default(), lines.iter().map(|line| &**line), now).map_err(refuse)?;
    Ok(Judgement::of(decision::judge(&list, &identities, &scope, kind)))
}

#[pyfunction]
fn entry_digest<'py>(py: Python<'py>, line: &str) -> PyResult<Bound<'py, PyAny>> {
    check_line(line)?;
    digest_of_line(line.as_bytes()).into_bound_py_any(py)
}

#[pyfunction]
fn list_digest(lines: &Bound<'_, PyAny>) -> PyResult<String> {
    let mut digest = Digest::default();
    for line in lines.try_iter()? {
        let line = line?;
        let line = line.downcast::<PyString>()?.to_cow()?;
        check_line(&line)?;
        digest += digest_of_line(line.as_bytes());
    }
    Ok(digest.to_string())
}

#[pyfunction]
fn trunk_key(name: &str) -> u64 {
    key_of_trunk(name)
}

/// Nanoseconds per look-up, one at a time and in batches of 64, over `count` numbers of a list in random order.
#[pyfunction]
fn bench_lookup(py: Python<'_>, live: PathBuf, count: usize) -> PyResult<(f64, f64)> {
    let reader = Reader::open(&live)?;
    let generation = reader.current();
    Ok(py.detach(|| {
        let view = generation.view();
        let mut numbers: Vec<Number> = view
            .entries()
            .filter_map(|(subject, _)| match subject {
                Subject::Number(number) => Some(number),
                Subject::Prefix(_) => None,
            })
            .collect();
        // Fisher-Yates with a linear congruence: the order must not be the table's.
        let mut state = 1u64;
        for place in (1..numbers.len()).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            numbers.swap(place, ((state >> 33) % (place as u64 + 1)) as usize);
        }
        numbers.truncate(count);
        let each = |started: Instant| started.elapsed().as_nanos() as f64 / numbers.len().max(1) as f64;
        let started = Instant::now();
        let mut found = 0;
        let mut waited = 0;
        for place in 0..numbers.len() {
            // A policy has 14 bits, so this adds nothing; but that must be known before the next can begin.
            let policy = view.number(numbers[place + (waited >> 14)]);
            waited = std::hint::black_box(usize::from(policy.unwrap_or(0)));
            found += usize::from(policy.is_some());
        }
        let single = each(started);
        let mut policies = [0; 64];
        let started = Instant::now();
        let batched: usize = numbers
            .chunks(64)
            .map(|batch| {
                view.numbers(batch, &mut policies);
                policies[..batch.len()]
                    .iter()
                    .filter(|&&policy| policy > 0)
                    .count()
            })
            .sum();
        let batch = each(started);
        assert_eq!(
            (found, batched),
            (numbers.len(), numbers.len()),
            "every number of the list is found"
        );
        (single, batch)
    }))
}

/// Lines taken from Python at a time, before they are read with the interpreter released.
const CHUNK: usize = 8192;

fn read_draft(entries: &Bound<'_, PyAny>, now: u64) -> PyResult<Draft> {
    let py = entries.py();
    let mut draft = Draft::new(now);
    let mut lines = entries.try_iter()?;
    let (mut text, mut ends) = (String::new(), Vec::with_capacity(CHUNK));
    loop {
        text.clear();
        ends.clear();
        for line in lines.by_ref().take(CHUNK) {
            text.push_str(&line?.downcast::<PyString>()?.to_cow()?);
            ends.push(text.len());
        }
        if ends.is_empty() {
            return Ok(draft);
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let lines = starts.zip(&ends).map(|(start, &end)| &text[start..end]);
        py.detach(|| draft.add(lines)).map_err(refuse)?;
    }
}

fn read_digest(text: &str) -> PyResult<Digest> {
    let wrong = || PyValueError::new_err(format!("digest {text:?} is not 32 lower-case hexadecimal digits"));
    Digest::parse(text).ok_or_else(wrong)
}

/// What a request is judged by, from the words that Python gives.
fn read_request(
    identities: &[(PyBackedText, bool)],
    trunk: &str,
    kind: &str,
    trunk_mode: &str,
) -> PyResult<(Vec<Identity>, TrunkScope, Kind)> {
    let wrong = |what: &str, word: &str, allowed: &str| {
        PyValueError::new_err(format!("{what} {word:?} must be {allowed}"))
    };
    let kind = Kind::from_word(kind).ok_or_else(|| wrong("kind", kind, "call or message"))?;
    let mode = TrunkMode::from_word(trunk_mode)
        .ok_or_else(|| wrong("trunk_mode", trunk_mode, "enforce, shadow or off"))?;
    let read = |(text, trusted): &(PyBackedText, bool)| {
        Ok(Identity {
            number: read_number(text)?,
            trusted: *trusted,
        })
    };
    let identities = identities.iter().map(read).collect::<PyResult<_>>()?;
    Ok((
        identities,
        TrunkScope {
            key: key_of_trunk(trunk),
            mode,
        },
        kind,
    ))
}

fn read_number(text: &str) -> PyResult<Number> {
    match Subject::parse(text).map_err(refuse)? {
        Subject::Number(number) => Ok(number),
        Subject::Prefix(prefix) => Err(PyValueError::new_err(format!(
            "{prefix} is a prefix, not a number"
        ))),
    }
}

fn check_line(line: &str) -> PyResult<()> {
    Entry::parse(line).map(drop).map_err(refuse)
}

fn pair(revision: Revision) -> (u32, u64) {
    (revision.epoch, revision.n)
}

fn hit_tuple(hit: &Hit) -> HitTuple {
    (
        hit.at_ms,
        hit.subject.to_string(),
        hit.authority.word(),
        hit.action.word(),
        hit.effect.word(),
        hit.kind.word(),
        hit.trunk_key,
        pair(hit.revision),
        hit.call_key,
    )
}

fn raise(py: Python<'_>, error: WriteError) -> PyErr {
    let message = error.to_string();
    match error {
        WriteError::Gap { expected, got } => {
            let raised = GapError::new_err(message);
            let _ = raised.value(py).setattr("expected", pair(expected));
            let _ = raised.value(py).setattr("got", pair(got));
            raised
        }
        WriteError::Digest { expected, computed } => {
            let raised = DigestError::new_err(message);
            let _ = raised.value(py).setattr("expected", expected.to_string());
            let _ = raised.value(py).setattr("computed", computed.to_string());
            raised
        }
        WriteError::Io(error) => error.into(),
        WriteError::TooMany(_) | WriteError::Epoch | WriteError::List(_) => PyValueError::new_err(message),
    }
}

fn refuse(error: impl std::error::Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn closed() -> PyErr {
    PyValueError::new_err("the writer is closed")
}
