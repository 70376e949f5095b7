//! Running a program inside a host.
//!
//! The program shares the caller's files, terminal and environment; its network is the host's, and it is a member of
//! the lab's PID namespace, so that it ends with the lab at the latest.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::process::{Child, Command, ExitStatus};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::info::LabInfo;
use crate::netns::Netns;
use crate::runtime_dir::{BASE_VARIABLE, LabDir, RuntimeDirError, read_json, to_be_told};

/// Signals that are passed on to the program. Those that a terminal sends reach it anyway.
const PASSED: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Why a program is not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is no such node.
    #[error("lab {lab} has no host `{name}`{}", suggestion.as_ref().map_or_else(String::new, |like| format!("; did you mean `{like}`?")))]
    NoHost {
        /// The lab.
        lab: String,
        /// The name that was given.
        name: String,
        /// A name like it.
        suggestion: Option<String>,
    },
    /// A node without a namespace.
    #[error("`{0}` is a switch; programs run in hosts")]
    IsSwitch(String),
    /// The lab is not built yet, or has ended.
    #[error("lab {0} is not running")]
    NotRunning(String),
    /// The lab's files cannot be read.
    #[error(transparent)]
    RuntimeDir(#[from] RuntimeDirError),
    /// The host's namespaces cannot be entered.
    #[error("cannot enter the host's namespaces")]
    Enter(#[source] io::Error),
    /// The program cannot be started.
    #[error("cannot run `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
}

/// The namespaces of a host.
#[derive(Debug)]
pub struct HostNamespaces {
    pids: File,
    network: Netns,
}

impl HostNamespaces {
    /// Opens the namespaces of a host of a running lab.
    ///
    /// # Errors
    /// [`ExecError`].
    pub fn open(dir: &LabDir, host: &str) -> Result<Self, ExecError> {
        let info: LabInfo = read_json(&dir.info_file())
            .map_err(|_| ExecError::NotRunning(dir.name().to_owned()))?;
        let Some(found) = info.hosts.get(host) else {
            if info.switches.contains_key(host) {
                return Err(ExecError::IsSwitch(host.to_owned()));
            }
            return Err(ExecError::NoHost {
                lab: dir.name().to_owned(),
                name: host.to_owned(),
                suggestion: similar(host, info.hosts.keys()),
            });
        };
        let opened = File::open(format!("/proc/{}/ns/pid", info.pid)).and_then(|pids| {
            let network = Netns::open(&found.netns)?;
            Ok(Self { pids, network })
        });
        // While the process that wrote the file lives, what was opened is its own, and a failure is not its end.
        if dir.is_running()? {
            opened.map_err(ExecError::Enter)
        } else {
            Err(ExecError::NotRunning(dir.name().to_owned()))
        }
    }

    /// Starts a command inside.
    ///
    /// # Errors
    /// [`ExecError::Enter`], [`ExecError::Start`].
    pub fn spawn(&self, mut command: Command) -> Result<Child, ExecError> {
        let started = self.network.run_program(|| {
            setns(&self.pids, CloneFlags::CLONE_NEWPID)
                .map_err(io::Error::from)
                .map_err(ExecError::Enter)?;
            command.spawn().map_err(|source| ExecError::Start {
                program: command.get_program().to_string_lossy().into_owned(),
                source,
            })
        });
        started.map_err(ExecError::Enter)?
    }
}

/// Runs a program in a host to its end, passing signals on.
///
/// # Errors
/// [`ExecError`] when it cannot be started.
pub async fn exec(dir: &LabDir, host: &str, program: &[OsString]) -> Result<ExitStatus, ExecError> {
    let namespaces = HostNamespaces::open(dir, host)?;
    let [name, arguments @ ..] = program else {
        return Err(ExecError::Start {
            program: String::new(),
            source: io::Error::from(io::ErrorKind::InvalidInput),
        });
    };
    let failed = |source| ExecError::Start {
        program: name.to_string_lossy().into_owned(),
        source,
    };
    // Before the program starts: a signal in between must reach it.
    let mut passed = signals(&PASSED).map_err(failed)?;
    let mut ended = signal(SignalKind::child()).map_err(failed)?;
    let mut command = Command::new(name);
    command.args(arguments);
    if let Some(base) = to_be_told() {
        command.env(BASE_VARIABLE, base);
    }
    let mut child = namespaces.spawn(command)?;
    loop {
        // The child's id is its own as long as it has not been waited for, which happens only here.
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        tokio::select! {
            biased;
            _ = ended.recv() => {}
            Some(signal) = passed.recv() => pass_on(signal, &child),
        }
    }
}

/// The signals that arrive at this process.
fn signals(kinds: &[Signal]) -> io::Result<mpsc::Receiver<Signal>> {
    // When it is full, more of the same tell nothing new.
    let (sender, receiver) = mpsc::channel(8);
    for &kind in kinds {
        let mut stream = signal(SignalKind::from_raw(kind as i32))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                let _ = sender.try_send(kind);
            }
        });
    }
    Ok(receiver)
}

fn pass_on(signal: Signal, child: &Child) {
    // What is typed at the terminal reaches every process in its foreground, the program among them.
    if matches!(signal, Signal::SIGINT | Signal::SIGQUIT) && is_in_foreground() {
        return;
    }
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn is_in_foreground() -> bool {
    File::open("/dev/tty").is_ok_and(|tty| tcgetpgrp(&tty).is_ok_and(|group| group == getpgrp()))
}

/// The name most like a given one, if any is like it at all.
pub(crate) fn similar<'a>(
    name: &str,
    names: impl IntoIterator<Item = &'a String>,
) -> Option<String> {
    names
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 3)
        .min()
        .map(|(_, known)| known.clone())
}
