//! Starting a lab, and taking one down.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::ApiClient;
use crate::control::ControlClient;
use crate::dataplane::{Event, RELEASE};
use crate::plan::Plan;
use crate::process::spawn_in_pid_namespace;
use crate::runtime_dir::{self, BASE_VARIABLE, LabDir, RuntimeDirError};

/// The longest that a lab may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long a lab may take to end in order, before it is made to.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How long its control socket may take to answer.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// Why a lab does not come up.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The runtime directory cannot be used.
    #[error(transparent)]
    RuntimeDir(#[from] RuntimeDirError),
    /// The data plane's process cannot be started.
    #[error("cannot start the data plane")]
    Spawn(#[source] io::Error),
    /// It was started and cannot build the lab.
    #[error("{0}")]
    Failed(String),
    /// It ended without a word.
    #[error("the data plane ended while it built the lab")]
    Ended,
    /// It takes too long.
    #[error("the lab was not ready within {READY_WITHIN:?}")]
    Timeout,
}

/// A lab that is ready. It ends when this value is dropped, unless it is released.
#[derive(Debug)]
pub struct Lab {
    dir: LabDir,
    child: Child,
    leash: Option<ChildStdin>,
    events: mpsc::Receiver<Event>,
    api: String,
    elapsed: Duration,
    is_released: bool,
}

/// Builds a lab; returns when it is ready. `tell` hears of the steps.
///
/// # Errors
/// [`UpError`]; nothing is left then.
pub fn up(plan: &Plan, mut tell: impl FnMut(&Event)) -> Result<Lab, UpError> {
    runtime_dir::make_base()?;
    let dir = LabDir::new(&plan.name)?;
    if dir.is_running()? {
        return Err(RuntimeDirError::Running(plan.name.clone()).into());
    }
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("dataplane")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some(base) = runtime_dir::to_be_told() {
        command.env(BASE_VARIABLE, base);
    }
    let mut child = spawn_in_pid_namespace(command).map_err(UpError::Spawn)?;
    let mut line = serde_json::to_vec(plan)
        .map_err(io::Error::other)
        .map_err(UpError::Spawn)?;
    line.push(b'\n');
    let mut leash = child.stdin.take();
    if let Some(leash) = &mut leash {
        // A data plane that has ended already says why on the other pipe.
        let _ = leash.write_all(&line).and_then(|()| leash.flush());
    }
    let mut lab = Lab {
        dir,
        events: listen(&mut child).map_err(UpError::Spawn)?,
        child,
        leash,
        api: String::new(),
        elapsed: Duration::ZERO,
        is_released: false,
    };
    loop {
        let event = lab
            .events
            .recv_timeout(READY_WITHIN)
            .map_err(|error| match error {
                mpsc::RecvTimeoutError::Timeout => UpError::Timeout,
                mpsc::RecvTimeoutError::Disconnected => UpError::Ended,
            })?;
        tell(&event);
        match event {
            Event::Notice { .. } | Event::Built { .. } => {}
            Event::Ready { api, elapsed_ms } => {
                lab.api = api;
                lab.elapsed = Duration::from_millis(elapsed_ms);
                return Ok(lab);
            }
            Event::Failed { message } => return Err(UpError::Failed(message)),
        }
    }
}

/// Reads what the data plane says on a thread that ends with the data plane.
fn listen(child: &mut Child) -> io::Result<mpsc::Receiver<Event>> {
    let (sender, events) = mpsc::sync_channel(8);
    let stdout = child.stdout.take();
    std::thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || {
            for line in stdout
                .into_iter()
                .flat_map(|out| BufReader::new(out).lines())
            {
                let Ok(line) = line else { return };
                match serde_json::from_str(&line) {
                    Ok(event) => {
                        if sender.send(event).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(line, %error, "the data plane said something else")
                    }
                }
            }
        })?;
    Ok(events)
}

impl Lab {
    /// Its runtime directory.
    pub fn dir(&self) -> &LabDir {
        &self.dir
    }

    /// Its API's address.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// How long its data plane took from its start until everything was ready.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// A client of its API.
    pub fn client(&self) -> ApiClient {
        ApiClient::unix(&self.dir.api_socket())
    }

    /// A client of its data plane's control socket.
    pub fn control(&self) -> ControlClient {
        ControlClient::new(&self.dir)
    }

    /// Lets it live on when the caller ends.
    pub fn release(mut self) {
        if let Some(leash) = &mut self.leash {
            let released = writeln!(leash, "{RELEASE}").and_then(|()| leash.flush());
            if let Err(error) = released {
                tracing::warn!(%error, "the lab has ended already");
            }
        }
        self.is_released = true;
    }

    /// Blocks until it ends, by whatever cause; whether it ended in order.
    pub fn wait(&mut self) -> bool {
        // The channel closes when the data plane has closed its output, which it does by ending.
        while let Ok(event) = self.events.recv() {
            if let Event::Failed { message } = event {
                tracing::error!("{message}");
            }
        }
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Asks it to end, without waiting; [`Self::wait`] returns soon after.
    pub fn interrupt(&mut self) {
        self.leash = None;
    }

    /// Takes it down.
    pub fn down(self) {
        drop(self);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.is_released {
            return;
        }
        self.interrupt();
        let end = loop {
            if let Err(end) = self.events.recv_timeout(END_WITHIN) {
                break end;
            }
        };
        if end == mpsc::RecvTimeoutError::Timeout {
            // It is this process's own child and has not been waited for: the id is its own.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        if let Err(error) = self.dir.remove_stale() {
            tracing::warn!(%error, "cannot remove what the lab left");
        }
    }
}

/// Takes a lab down that somebody else started, or cleans up after one that crashed. False when there was none.
///
/// # Errors
/// [`RuntimeDirError::Io`].
pub async fn down(dir: &LabDir) -> Result<bool, RuntimeDirError> {
    if !dir.is_running()? {
        let existed = dir.path().exists();
        if existed {
            dir.remove_stale()?;
        }
        return Ok(existed);
    }
    let asked = tokio::time::timeout(ASK_WITHIN, ControlClient::new(dir).shutdown()).await;
    if !matches!(asked, Ok(Ok(()))) {
        kill_holder(dir)?;
    }
    let waiting = dir.clone();
    let mut waiting = tokio::task::spawn_blocking(move || waiting.wait_and_remove());
    let ended = match tokio::time::timeout(END_WITHIN, &mut waiting).await {
        Ok(ended) => ended,
        Err(_) => {
            kill_holder(dir)?;
            waiting.await
        }
    };
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok(true)
}

/// Kills the data plane that holds the lock.
fn kill_holder(dir: &LabDir) -> Result<(), RuntimeDirError> {
    let Some(pid) = dir.holder()? else {
        return Ok(());
    };
    if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGKILL) {
        tracing::debug!(pid, %error, "the data plane ended by itself");
    }
    Ok(())
}
