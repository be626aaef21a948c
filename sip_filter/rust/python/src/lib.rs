//! `sip_filter._core`: the typed face of the Rust core. Its manual is `sip_filter/_core.pyi`.

use pyo3::prelude::*;

mod hook;
mod list;
mod sip;
mod traffic;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    palang_gateway::tell_panics_by_place();
    list::register(module)?;
    sip::register(module)?;
    traffic::register(module)?;
    hook::register(module)
}
