//! The gateway's Python face: `Gateway`, `read_message`, `read_number`. What it promises is in `sip_filter/_core.pyi`.
//!
//! Python starts, configures and counts; no call ever waits for it.

use std::path::PathBuf;
use std::time::Duration;

use palang_core::counter::Counter;
use palang_core::decision::{Identity, Kind};
use palang_core::identity::{callers, is_protected, Terms};
use palang_core::message::{self, Method, Start, Unreadable};
use palang_core::plan::{Plan, Reading};
use palang_gateway::{own_plans, Error, Fate, Gateway as Threads};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::traffic;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Gateway>()?;
    module.add_function(wrap_pyfunction!(read_message, module)?)?;
    module.add_function(wrap_pyfunction!(read_number, module)?)?;
    module.add_function(wrap_pyfunction!(counter_meanings, module)?)
}

#[pyclass(frozen, module = "sip_filter._core")]
struct Gateway {
    inner: Threads,
}

#[pymethods]
impl Gateway {
    #[new]
    fn new(py: Python<'_>, live: PathBuf, settings: &str) -> PyResult<Gateway> {
        py.detach(|| Threads::new(&live, settings))
            .map(|inner| Gateway { inner })
            .map_err(raise)
    }

    fn start(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let bound = py.detach(|| self.inner.start()).map_err(raise)?;
        Ok(bound.iter().map(ToString::to_string).collect())
    }

    fn configure(&self, py: Python<'_>, settings: &str) -> PyResult<()> {
        py.detach(|| self.inner.configure(settings)).map_err(raise)
    }

    fn counters(&self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        let counters = PyDict::new(py);
        for (name, count) in py.detach(|| self.inner.counters()) {
            counters.set_item(name, count)?;
        }
        Ok(counters.unbind())
    }

    fn trunk_counters(&self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        let trunks = PyDict::new(py);
        for (name, counts) in py.detach(|| self.inner.trunk_counters()) {
            let counters = PyDict::new(py);
            for (counter, count) in counts {
                counters.set_item(counter, count)?;
            }
            trunks.set_item(name, counters)?;
        }
        Ok(trunks.unbind())
    }

    fn watched(&self, py: Python<'_>) -> PyResult<(Vec<Py<PyDict>>, u64)> {
        let (sights, more) = py.detach(|| self.inner.watched());
        let rows = sights.into_iter().map(|sight| {
            let row = PyDict::new(py);
            let callers: Vec<_> = sight.callers.iter().map(ToString::to_string).collect();
            let rule = sight
                .rule
                .map(|(action, subject)| (action.word(), subject.to_string()));
            let (answer, to) = match sight.fate {
                Fate::Answered(answer) => (Some(answer), None),
                Fate::SentTo(to) => (None, Some(to.to_string())),
                Fate::Dropped => (None, None),
            };
            row.set_item("at_ms", sight.at_ms)?;
            row.set_item("kind", sight.kind.word())?;
            row.set_item("trunk", sight.trunk_key)?;
            row.set_item("callers", callers)?;
            row.set_item("rule", rule)?;
            row.set_item("answer", answer)?;
            row.set_item("to", to)?;
            Ok(row.unbind())
        });
        Ok((rows.collect::<PyResult<_>>()?, more))
    }

    #[pyo3(signature = (after = 0, watches = None))]
    fn traffic<'py>(
        &self,
        py: Python<'py>,
        after: u64,
        watches: Option<&str>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let told = py.detach(|| self.inner.traffic(after, watches)).map_err(raise)?;
        traffic::told(py, &told)
    }

    #[pyo3(signature = (hour, after = None))]
    fn sketches<'py>(&self, py: Python<'py>, hour: u64, after: Option<u32>) -> PyResult<Bound<'py, PyDict>> {
        let found = py.detach(|| self.inner.sketches(hour, after));
        traffic::sketches(py, &found)
    }

    fn next_hops(&self, py: Python<'_>) -> PyResult<Vec<Py<PyDict>>> {
        let rows = py.detach(|| self.inner.next_hops()).into_iter().map(|hop| {
            let row = PyDict::new(py);
            row.set_item("name", &*hop.name)?;
            row.set_item("address", hop.to_string())?;
            row.set_item("healthy", hop.health.is_up())?;
            row.set_item("misses", hop.health.misses())?;
            row.set_item("drain", hop.drain)?;
            Ok(row.unbind())
        });
        rows.collect()
    }

    #[pyo3(signature = (hop = None))]
    fn drain(&self, py: Python<'_>, hop: Option<&str>) -> PyResult<()> {
        py.detach(|| self.inner.drain(hop, true)).map_err(raise)
    }

    #[pyo3(signature = (hop = None))]
    fn undrain(&self, py: Python<'_>, hop: Option<&str>) -> PyResult<()> {
        py.detach(|| self.inner.drain(hop, false)).map_err(raise)
    }

    #[getter]
    fn drained(&self) -> bool {
        self.inner.is_drained()
    }

    fn card_signed(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let good_for = Duration::try_from_secs_f64(seconds)
            .map_err(|_| PyValueError::new_err(format!("seconds {seconds} must be 0 or more")))?;
        py.detach(|| self.inner.card_signed(good_for));
        Ok(())
    }

    fn synthetic(&self, py: Python<'_>, trunk: &str, numbers: Vec<String>) -> PyResult<Vec<(String, u16)>> {
        let statuses = py
            .detach(|| self.inner.synthetic(trunk, &numbers))
            .map_err(raise)?;
        Ok(numbers.into_iter().zip(statuses).collect())
    }

    #[pyo3(signature = (timeout = 2.0))]
    fn stop(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let timeout = Duration::try_from_secs_f64(timeout)
            .map_err(|_| PyValueError::new_err(format!("timeout {timeout} must be seconds, 0 or more")))?;
        match py.detach(|| self.inner.stop(timeout)) {
            true => Ok(()),
            false => Err(PyRuntimeError::new_err(format!(
                "threads still run after {timeout:?}"
            ))),
        }
    }
}

/// How a message is read, step by step.
#[pyfunction]
#[pyo3(signature = (raw, plan, trusted, rpid = false, protected = Vec::new(), plans = "[]"))]
fn read_message(
    py: Python<'_>,
    raw: &[u8],
    plan: &str,
    trusted: bool,
    rpid: bool,
    protected: Vec<String>,
    plans: &str,
) -> PyResult<Py<PyDict>> {
    let protected: Vec<Box<[u8]>> = protected
        .into_iter()
        .map(|code| code.into_bytes().into())
        .collect();
    let terms = Terms {
        plan: plan_named(plan, plans)?,
        trusted,
        rpid,
    };
    let mut steps: Vec<String> = Vec::new();
    let mut kind = None;
    let mut fault = None;
    let mut identities: Vec<Identity> = Vec::new();
    let mut unreadable = 0;
    let mut dropped = false;
    let mut to_protected = false;
    let mut fields = Vec::new();
    match message::read(raw, &mut fields) {
        Err(why) => {
            dropped = true;
            steps.push(
                match why {
                    Unreadable::KeepAlive => "only line ends: a keep-alive",
                    Unreadable::NotSip => "no start line of SIP/2.0",
                    Unreadable::NoVia => "no readable Via: no answer is possible",
                }
                .to_owned(),
            );
        }
        Ok(message) => {
            to_protected = is_protected(&message, &protected);
            kind = match message.start {
                Start::Request {
                    method: Method::Message,
                    ..
                } => Some(Kind::Message),
                Start::Request {
                    method: Method::Invite,
                    ..
                } => Some(Kind::Call),
                _ => None,
            };
            fault = message.fault;
            if kind.is_some() && fault.is_none() && !message.to.tag.is_empty() {
                steps.push("To has a tag: inside a dialog, where nothing is judged".to_owned());
                kind = None;
            }
            if let (Some(kind), None) = (kind, fault) {
                match callers(&message, kind, &terms, &mut steps) {
                    Ok(found) => {
                        identities.extend_from_slice(found.as_slice());
                        unreadable = found.unreadable;
                    }
                    Err(wrong) => fault = Some(wrong),
                }
            }
        }
    }
    let found: Vec<_> = identities
        .iter()
        .map(|identity| (identity.number.to_string(), identity.trusted))
        .collect();
    let dict = PyDict::new(py);
    dict.set_item("kind", kind.map(Kind::word))?;
    dict.set_item("dropped", dropped)?;
    dict.set_item("protected", to_protected)?;
    dict.set_item("fault", fault.map(message::Fault::status))?;
    dict.set_item("identities", found)?;
    dict.set_item("unreadable", unreadable)?;
    dict.set_item("steps", steps)?;
    Ok(dict.unbind())
}

/// How digits are read in a dial plan.
#[pyfunction]
#[pyo3(signature = (text, plan, plans = "[]"))]
fn read_number(py: Python<'_>, text: &str, plan: &str, plans: &str) -> PyResult<Py<PyDict>> {
    let mut steps: Vec<String> = Vec::new();
    let reading = plan_named(plan, plans)?.read(text.as_bytes(), None, &mut steps);
    let number = match reading {
        Reading::Number(number) => Some(number.to_string()),
        Reading::Name | Reading::Unreadable => None,
    };
    let dict = PyDict::new(py);
    dict.set_item("number", number)?;
    dict.set_item("steps", steps)?;
    Ok(dict.unbind())
}

/// What each counter counts.
#[pyfunction]
fn counter_meanings(py: Python<'_>) -> PyResult<Py<PyDict>> {
    let meanings = PyDict::new(py);
    for counter in Counter::ALL {
        meanings.set_item(counter.name(), counter.meaning())?;
    }
    Ok(meanings.unbind())
}

pub fn plan_named(name: &str, plans: &str) -> PyResult<Plan> {
    let own = own_plans(plans).map_err(PyValueError::new_err)?;
    palang_gateway::plan_named(name, &own).map_err(|wrong| PyValueError::new_err(format!("plan {wrong}")))
}

fn raise(error: Error) -> PyErr {
    match error {
        Error::Settings(wrong) => PyValueError::new_err(wrong),
        Error::Io(error) => match error.raw_os_error() {
            Some(code) => PyOSError::new_err((code, error.to_string())),
            None => PyOSError::new_err(error.to_string()),
        },
        Error::State(what) => PyRuntimeError::new_err(what),
    }
}
