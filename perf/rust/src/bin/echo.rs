//! `echo ADDRESS BYTES`: sends the first BYTES of every datagram back, 64 to a system call. What no server can undercut.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let parsed = match &arguments[..] {
        [address, length] => address.parse().ok().zip(length.parse().ok()),
        _ => None,
    };
    let Some((address, length)) = parsed else {
        eprintln!("usage: echo ADDRESS BYTES");
        return ExitCode::FAILURE;
    };
    match palang_perf::echo(address, length, |port| println!("{port}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
