//! `weft exec`: a program inside a host.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitCode;

use weft_lab::exec::{ExecError, exec};

use crate::args::{Exec, Global};
use crate::failure::{Failure, NO_INPUT, SOFTWARE, UNAVAILABLE, USAGE};
use crate::target;

/// As shells say it: the program exists and cannot be run.
const CANNOT_RUN: u8 = 126;
/// As shells say it: there is no such program.
const NOT_FOUND: u8 = 127;
/// Added to a signal's number by shells.
const SIGNALED: i32 = 128;

pub(crate) async fn run(global: &Global, args: &Exec) -> Result<ExitCode, Failure> {
    let dir = target::lab(global)?;
    let status = exec(&dir, &args.node, &args.command)
        .await
        .map_err(|error| {
            let code = match &error {
                ExecError::NoHost { .. } => NO_INPUT,
                ExecError::IsSwitch(_) => USAGE,
                ExecError::NotRunning(_) => UNAVAILABLE,
                ExecError::Start { source, .. } if source.kind() == ErrorKind::NotFound => {
                    NOT_FOUND
                }
                ExecError::Start { .. } => CANNOT_RUN,
                ExecError::RuntimeDir(_) | ExecError::Enter(_) => SOFTWARE,
            };
            Failure::new(code, error)
        })?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| SIGNALED + signal))
        .and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(SOFTWARE)))
}
