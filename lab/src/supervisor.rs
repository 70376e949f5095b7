//! Keeps the controller running.
//!
//! The controller writes one line of JSON for each [`ControllerEvent`] to its standard output. When it ends, it is
//! started again: at once the first time, then after a back-off that doubles, and that is forgotten once it was ready.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::process::{Children, Ended, Supervised};
use crate::runtime_dir::LabDir;

const BACK_OFF_FIRST: Duration = Duration::from_millis(20);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// Starts that may fail before it was ready once; more mean that it never will be.
const FAILED_STARTS_MAX: u32 = 4;
/// How long the controller may take to end when asked to.
const GRACE: Duration = Duration::from_millis(500);

/// What a supervised controller says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum ControllerEvent {
    /// The API answers.
    Listening {
        /// The process, as `/proc` names it.
        pid: u32,
        /// `http://ADDRESS:PORT`.
        api: String,
    },
    /// Every switch has been brought to its desired state.
    Ready,
}

/// How the controller is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControllerState {
    /// The process, while there is one that answers.
    pub pid: Option<u32>,
    /// The API, once it was known; it is the same after a restart.
    pub api: Option<String>,
    /// It has said that it is ready.
    pub is_ready: bool,
    /// It was ready once.
    pub was_ready: bool,
    /// How often it was started again.
    pub restarts: u64,
    /// It ended too often without becoming ready; the last end.
    pub given_up: Option<String>,
}

/// Runs the controller until `stop` is cancelled, or until it has failed too often to hope.
pub async fn supervise(
    dir: LabDir,
    children: Children,
    state: watch::Sender<ControllerState>,
    stop: CancellationToken,
) {
    let mut back_off = Duration::ZERO;
    let mut failed_starts = 0;
    loop {
        let said = match start(&dir, &children) {
            Ok(mut controller) => {
                let said = attend(&mut controller, &state, &stop).await;
                if stop.is_cancelled() {
                    return;
                }
                said
            }
            Err(error) => format!("cannot be started: {error}"),
        };
        let was_ready = state.borrow().is_ready;
        state.send_modify(|state| {
            state.pid = None;
            state.is_ready = false;
            state.restarts += 1;
        });
        tracing::warn!(ended = %said, "the controller ended and is started again");
        if was_ready {
            back_off = Duration::ZERO;
            failed_starts = 0;
        } else {
            failed_starts += 1;
            if failed_starts == FAILED_STARTS_MAX && !state.borrow().was_ready {
                state.send_modify(|state| state.given_up = Some(said));
                return;
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(back_off) => {}
        }
        back_off = (back_off * 2).clamp(BACK_OFF_FIRST, BACK_OFF_MAX);
    }
}

fn start(dir: &LabDir, children: &Children) -> io::Result<Supervised> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.log_file("controller"))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["controller", "--supervised", "--lab", dir.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    children.spawn(&mut command)
}

/// Follows one controller to its end.
async fn attend(
    controller: &mut Supervised,
    state: &watch::Sender<ControllerState>,
    stop: &CancellationToken,
) -> String {
    let mut lines = match controller.stdout.take().map(lines_of) {
        Some(Ok(lines)) => Some(lines),
        Some(Err(error)) => {
            tracing::warn!(%error, "cannot read what the controller says");
            None
        }
        None => None,
    };
    loop {
        let line = async {
            match &mut lines {
                Some(lines) => lines.next_line().await.ok().flatten(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return end(controller).await,
            ended = &mut controller.ended => return describe(ended.ok()),
            line = line => match line {
                Some(line) => hear(&line, state),
                None => lines = None,
            },
        }
    }
}

type Lines = tokio::io::Lines<BufReader<pipe::Receiver>>;

fn lines_of(stdout: std::process::ChildStdout) -> io::Result<Lines> {
    let pipe = pipe::Receiver::from_owned_fd(stdout.into())?;
    Ok(BufReader::new(pipe).lines())
}

fn hear(line: &str, state: &watch::Sender<ControllerState>) {
    match serde_json::from_str(line) {
        Ok(ControllerEvent::Listening { pid, api }) => state.send_modify(|state| {
            state.pid = Some(pid);
            state.api = Some(api);
        }),
        Ok(ControllerEvent::Ready) => state.send_modify(|state| {
            state.is_ready = true;
            state.was_ready = true;
        }),
        Err(error) => tracing::debug!(line, %error, "the controller said something else"),
    }
}

/// Asks the controller to end, and makes it end when it does not.
async fn end(controller: &mut Supervised) -> String {
    controller.signal(Signal::SIGTERM);
    match tokio::time::timeout(GRACE, &mut controller.ended).await {
        Ok(ended) => describe(ended.ok()),
        Err(_) => {
            controller.signal(Signal::SIGKILL);
            "killed".to_owned()
        }
    }
}

fn describe(ended: Option<Ended>) -> String {
    ended.map_or_else(|| "unknown".to_owned(), |ended| ended.to_string())
}
