//! Running a program so that nothing of it is left when it has ended, or when whoever started it lets go.
//!
//! ```text
//!   test runner ──(stdin: the leash)──▶ weft contained ──▶ program, first of its own PID namespace
//! ```
//!
//! The program is the first process of a PID namespace, so its end, by itself or not, ends everything that it started,
//! daemons included. This process stands between because a PID namespace can only be made from within the one around it.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::process::spawn_in_pid_namespace;

/// The word by which the command is started.
pub const COMMAND: &str = "contained";

/// The status of a program that cannot be started, as in a shell.
const NOT_STARTED: u8 = 127;

/// Runs a program until it ends, or until standard input does: then it is killed. Its exit status; 128 and the number
/// of the signal that ended it.
///
/// # Errors
/// When the program cannot be watched. One that cannot be started is told on standard error, with status 127.
pub fn run(program: &[OsString]) -> io::Result<u8> {
    let [name, arguments @ ..] = program else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null());
    let mut child = match spawn_in_pid_namespace(command) {
        Ok(child) => child,
        Err(error) => {
            tell(&format!("cannot run `{}`: {error}", name.to_string_lossy()));
            return Ok(NOT_STARTED);
        }
    };
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    // While this says `true` the id is the child's own.
    let is_alive = Arc::new(Mutex::new(true));
    let leashed = Arc::clone(&is_alive);
    // It may wait for ever, because the leash outlives the program; it ends with the process.
    std::thread::Builder::new().spawn(move || {
        let mut nothing = [0; 64];
        while io::stdin().read(&mut nothing).is_ok_and(|len| len > 0) {}
        let is_alive = leashed.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_alive {
            let _ = kill(pid, Signal::SIGKILL);
        }
    })?;
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    *is_alive.lock().unwrap_or_else(PoisonError::into_inner) = false;
    let status = child.wait()?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX))
}

/// Says something where the program would have.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
