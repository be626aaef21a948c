//! The Python face of `palang_core::traffic`: `Sketch`, and what `Gateway` tells of traffic. What it promises is in
//! `sip_filter/_core.pyi`.

use palang_core::traffic::{Column, Lost, Sketch as Registers, Sketches, Told, ToldRow};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Sketch>()
}

#[pyclass(module = "sip_filter._core", eq)]
#[derive(PartialEq, Eq)]
struct Sketch {
    inner: Registers,
}

#[pymethods]
impl Sketch {
    #[new]
    #[pyo3(signature = (text = None))]
    fn new(text: Option<&[u8]>) -> PyResult<Sketch> {
        let inner = match text {
            None => Registers::default(),
            Some(text) => Registers::parse(text).map_err(|error| PyValueError::new_err(error.to_string()))?,
        };
        Ok(Sketch { inner })
    }

    #[classattr]
    fn error() -> f64 {
        Registers::error()
    }

    fn add(&mut self, item: u64) {
        self.inner.add(item);
    }

    fn merge(&mut self, other: &Bound<'_, Sketch>) -> PyResult<()> {
        // With itself there is nothing to do, and nothing to borrow twice.
        if let Ok(other) = other.try_borrow() {
            self.inner.merge(&other.inner);
        }
        Ok(())
    }

    fn estimate(&self) -> f64 {
        self.inner.estimate()
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.to_bytes())
    }
}

/// The answer to `Gateway.traffic`.
pub fn told<'py>(py: Python<'py>, told: &Told) -> PyResult<Bound<'py, PyDict>> {
    let answer = PyDict::new(py);
    let columns = ["minute", "trunk", "key"];
    let columns: Vec<_> = columns
        .into_iter()
        .chain(Column::ALL.iter().map(|column| column.name()))
        .collect();
    let watching = PyDict::new(py);
    for (name, since) in &told.watching {
        watching.set_item(name, since)?;
    }
    answer.set_item("run", format!("{:016x}", told.run))?;
    answer.set_item("began_ms", told.began)?;
    answer.set_item("kept_from", told.kept_from)?;
    answer.set_item("closed_to", told.closed_to)?;
    answer.set_item("columns", columns)?;
    answer.set_item("rows", rows(py, &told.rows)?)?;
    answer.set_item("open", rows(py, &told.open)?)?;
    answer.set_item("next", told.next)?;
    answer.set_item("watching", watching)?;
    answer.set_item("lost", lost(py, told.lost)?)?;
    Ok(answer)
}

/// The answer to `Gateway.sketches`.
pub fn sketches<'py>(py: Python<'py>, found: &Sketches) -> PyResult<Bound<'py, PyDict>> {
    let answer = PyDict::new(py);
    let pairs: Vec<_> = found
        .pairs
        .iter()
        .map(|pair| {
            let text = |sketch: &Registers| PyBytes::new(py, &sketch.to_bytes());
            (&*pair.trunk, &pair.key, text(&pair.callers), text(&pair.callees))
        })
        .collect();
    answer.set_item("run", format!("{:016x}", found.run))?;
    answer.set_item("key", format!("{:08x}", found.fingerprint))?;
    answer.set_item("kept_from", found.kept_from)?;
    answer.set_item("open", found.open)?;
    answer.set_item("sketches", pairs)?;
    answer.set_item("next", found.next)?;
    answer.set_item("lost", lost(py, found.lost)?)?;
    Ok(answer)
}

fn rows<'py>(py: Python<'py>, rows: &[ToldRow]) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let tuples = rows.iter().map(|row| {
        let [calls, messages, rejected, shadowed, rang, answered, brief] = row.figures;
        let (minute, trunk, key) = (row.minute, &*row.trunk, &row.key);
        (
            minute, trunk, key, calls, messages, rejected, shadowed, rang, answered, brief,
        )
            .into_pyobject(py)
    });
    tuples.collect()
}

fn lost<'py>(py: Python<'py>, lost: Lost) -> PyResult<Bound<'py, PyDict>> {
    let Lost {
        records,
        rows,
        sketches,
        watches,
    } = lost;
    let answer = PyDict::new(py);
    for (what, count) in [
        ("records", records),
        ("rows", rows),
        ("sketches", sketches),
        ("watches", watches),
    ] {
        answer.set_item(what, count)?;
    }
    Ok(answer)
}
