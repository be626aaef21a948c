//! `load SCENARIO`: runs one scenario (JSON, see `scenario.rs`) and prints its outcome (JSON).

use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Box<dyn std::error::Error>> {
    let text = std::env::args().nth(1).ok_or("usage: load SCENARIO")?;
    let outcome = palang_perf::run(&palang_perf::Scenario::parse(&text)?)?;
    Ok(serde_json::to_string(&outcome)?)
}
