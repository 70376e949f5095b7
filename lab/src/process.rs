//! Processes: starting the first one of a PID namespace, and being that one.
//!
//! The first process of a PID namespace inherits every orphan in it and has to collect them; when it ends, the kernel
//! kills all others. Children are told apart from orphans under one lock, so that nobody else's wait is disturbed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::sync::oneshot;

/// Starts a command as the first process of a new PID namespace.
///
/// # Errors
/// The kernel's, for example when privileges are missing.
pub fn spawn_in_pid_namespace(mut command: Command) -> io::Result<Child> {
    // The namespace belongs to the thread's future children; the thread ends right after.
    let spawner = std::thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || {
            unshare(CloneFlags::CLONE_NEWPID)?;
            command.spawn()
        })?;
    spawner
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// This process's id as everybody outside sees it: `/proc` was mounted by the outermost PID namespace.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn outer_pid() -> io::Result<u32> {
    let link = fs::read_link("/proc/self")?;
    link.to_str()
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/self names no process"))
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The children of the first process of a PID namespace, and the orphans that it inherits.
#[derive(Clone, Debug, Default)]
pub struct Children {
    waiting: Arc<Mutex<BTreeMap<i32, oneshot::Sender<Ended>>>>,
}

/// A child of this process. Its end is collected by [`Children::reap`].
#[derive(Debug)]
pub struct Supervised {
    /// Its id in this process's PID namespace.
    pub pid: Pid,
    /// Resolves when it has ended.
    pub ended: oneshot::Receiver<Ended>,
    /// Its output, where the command asked for a pipe.
    pub stdout: Option<std::process::ChildStdout>,
}

impl Supervised {
    /// Sends it a signal; nothing where it has been collected already.
    pub fn signal(&mut self, signal: Signal) {
        // The id is this child's own until its end has been collected.
        if self.ended.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            let _ = kill(self.pid, signal);
        }
    }
}

impl Children {
    /// Starts a child.
    ///
    /// # Errors
    /// As [`Command::spawn`].
    pub fn spawn(&self, command: &mut Command) -> io::Result<Supervised> {
        let mut waiting = self.lock();
        // Under the lock, so that a failed start is collected by the call itself and not by `reap`.
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let (sender, ended) = oneshot::channel();
        waiting.insert(pid, sender);
        Ok(Supervised {
            pid: Pid::from_raw(pid),
            ended,
            stdout: child.stdout.take(),
        })
    }

    /// Collects every process that has ended; to be called after each `SIGCHLD`.
    pub fn reap(&self) {
        let mut waiting = self.lock();
        loop {
            let (pid, ended) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Ended::Exited(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Ended::Signaled(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot collect ended processes");
                    return;
                }
            };
            if let Some(sender) = waiting.remove(&pid.as_raw()) {
                // Nobody waits for it any more when this fails.
                let _ = sender.send(ended);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, oneshot::Sender<Ended>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn the_first_process_of_a_namespace_has_number_one() {
        if !crate::netns::allowed("the_first_process_of_a_namespace_has_number_one") {
            return;
        }
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$"]).stdout(Stdio::piped());
        let output = spawn_in_pid_namespace(command)
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(output.stdout, b"1\n");
    }

    #[test]
    fn outside_this_process_has_its_own_number() {
        assert_eq!(outer_pid().unwrap(), std::process::id());
    }
}
