//! Programs that a file starts in its hosts (`run`).
//!
//! They are children of the data plane, so they end with the lab. What they say is kept in the lab's directory; its end is
//! told when one of them does not come up. One that fails later is told by the lab's status, and by the test runner.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weft_controller::load;
use weft_controller::model::{Model, Ready, Run};
use weft_controller::problem::{Code, FieldError, pointer_to};

use crate::host::BuiltHost;
use crate::netns::Netns;
use crate::plan::Plan;
use crate::process::{Children, Ended, Supervised};
use crate::runtime_dir::LabDir;

const RETRY: Duration = Duration::from_millis(5);

/// Lines of a program's output that are told when it fails.
const LINES: usize = 12;

/// Why a host's program does not run: what it did, where that stands in the file, and its last words.
#[derive(Debug, thiserror::Error)]
#[error("{place}{}", words(last_words))]
pub struct ProgramError {
    /// The complaint with its place and an excerpt of the file.
    place: String,
    /// The end of what the program said.
    last_words: String,
}

fn words(last: &str) -> String {
    if last.is_empty() {
        String::new()
    } else {
        format!("\nits last words:\n{last}")
    }
}

/// What goes wrong with a program at its start.
#[derive(Debug)]
enum Trouble {
    NoFolder(PathBuf),
    Start(io::Error),
    Ended(Ready, Ended),
    Taken(Ready),
    NotReady(Ready),
}

/// A program of a running lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStatus {
    /// The host that it runs in.
    pub host: String,
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// The file that has its output.
    pub log: PathBuf,
    /// How it ended, in words; left out while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// It ended by itself, with a status other than 0.
    #[serde(default)]
    pub failed: bool,
}

/// The programs of a lab. A clone is the same register.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    all: Arc<Mutex<Vec<ProgramStatus>>>,
}

impl Programs {
    /// All of them, in the order of their start.
    pub fn all(&self) -> Vec<ProgramStatus> {
        self.lock().clone()
    }

    fn add(&self, status: ProgramStatus) -> usize {
        let mut all = self.lock();
        all.push(status);
        all.len() - 1
    }

    fn end(&self, index: usize, ended: Ended) {
        if let Some(status) = self.lock().get_mut(index) {
            status.ended = Some(ended.to_string());
            status.failed = ended != Ended::Exited(0);
            if status.failed {
                tracing::warn!(host = status.host, cmd = ?status.cmd, %ended, "a program failed");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ProgramStatus>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What programs are started with.
#[derive(Debug)]
pub struct Starter<'a> {
    /// The lab's directory.
    pub dir: &'a LabDir,
    /// The lab's file.
    pub plan: &'a Plan,
    /// The processes of the lab.
    pub children: &'a Children,
    /// Where they are written down.
    pub programs: &'a Programs,
    /// Owns what watches them.
    pub tasks: &'a TaskTracker,
    /// Ends that.
    pub stop: &'a CancellationToken,
}

impl Starter<'_> {
    /// Starts all programs in file order, each when the one before is ready.
    ///
    /// # Errors
    /// The first that fails.
    pub async fn start_all(&self, model: &Model, hosts: &[BuiltHost]) -> Result<(), ProgramError> {
        for host in hosts {
            let runs = model.hosts.get(&host.name).map(|host| host.run.as_slice());
            for (number, run) in runs.unwrap_or_default().iter().enumerate() {
                let name = format!("{}-{number}", host.name);
                let log = self.dir.log_file(&name);
                let started = self
                    .start(run, &self.dir.path().join(name), &log, host)
                    .await;
                let mut started =
                    started.map_err(|trouble| self.error(host, run, &log, &trouble))?;
                let index = self.programs.add(ProgramStatus {
                    host: host.name.clone(),
                    cmd: run.cmd.clone(),
                    log,
                    ended: None,
                    failed: false,
                });
                let (programs, stop) = (self.programs.clone(), self.stop.clone());
                self.tasks.spawn(async move {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        Ok(ended) = &mut started.ended => programs.end(index, ended),
                    }
                });
            }
        }
        Ok(())
    }

    /// Starts a program and waits until it is ready, where it says what tells so.
    async fn start(
        &self,
        run: &Run,
        own: &Path,
        log: &Path,
        host: &BuiltHost,
    ) -> Result<Supervised, Trouble> {
        let folder = self.plan.folder.join(run.cwd.as_deref().unwrap_or(""));
        if !folder.is_dir() {
            return Err(Trouble::NoFolder(folder));
        }
        if let Some(ready) = run.ready.filter(|ready| answers(&host.netns, ready.tcp)) {
            // Whoever listens there already would be taken for the program.
            return Err(Trouble::Taken(ready));
        }
        let spawn = || -> io::Result<Supervised> {
            let log = OpenOptions::new().create(true).append(true).open(log)?;
            let [program, arguments @ ..] = run.cmd.as_slice() else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            fs::create_dir_all(own)?;
            let mut command = Command::new(program);
            command
                .args(arguments)
                .env("WEFT_LAB", self.dir.name())
                .env("WEFT_HOST", &host.name)
                .env("WEFT_DIR", own)
                .envs(&run.env)
                .current_dir(&folder)
                .stdin(Stdio::null())
                .stdout(Stdio::from(log.try_clone()?))
                .stderr(log);
            host.netns
                .run_program(|| self.children.spawn(&mut command))?
        };
        let mut started = tokio::task::block_in_place(spawn).map_err(Trouble::Start)?;
        if let Some(ready) = run.ready {
            wait_until_ready(&host.netns, ready, &mut started).await?;
        }
        Ok(started)
    }

    /// The trouble at its place in the file.
    fn error(&self, host: &BuiltHost, run: &Run, log: &Path, trouble: &Trouble) -> ProgramError {
        let program = run.cmd.first().map_or("", String::as_str);
        let host = &host.name;
        let (key, what) = match trouble {
            Trouble::NoFolder(folder) => {
                ("cwd", format!("there is no folder {}", folder.display()))
            }
            Trouble::Start(error) => (
                "cmd",
                format!("cannot start `{program}` in {host}: {error}"),
            ),
            Trouble::Ended(Ready { tcp, .. }, ended) => {
                let detail =
                    format!("`{program}` in {host} ended before TCP port {tcp} answered: {ended}");
                ("cmd", detail)
            }
            Trouble::Taken(Ready { tcp, .. }) => {
                let detail = format!("TCP port {tcp} of {host} is taken before `{program}` starts");
                ("ready", detail)
            }
            Trouble::NotReady(Ready { tcp, within }) => {
                let detail = format!(
                    "`{program}` in {host} did not listen on TCP port {tcp} within {within:?}"
                );
                ("ready", detail)
            }
        };
        let pointer = pointer_to(&run.declared_at, key);
        let detail = format!("{}: {what}", dotted(&pointer));
        let error = FieldError::new(pointer, Code::WrongFormat, detail);
        ProgramError {
            place: load::placed(&self.plan.text, &self.plan.file, error),
            last_words: tail(log, LINES),
        }
    }
}

/// A JSON pointer as people write it: `topology.nodes.web.run[0].cmd`.
fn dotted(pointer: &str) -> String {
    let mut text = String::new();
    for token in pointer.split('/').skip(1) {
        if token.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{token}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&token.replace("~1", "/").replace("~0", "~"));
        }
    }
    text
}

/// The last lines of a log; empty where there is none.
pub fn tail(log: &Path, lines: usize) -> String {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let all: Vec<&str> = log.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a driver: it waits for a program that cannot tell when it is ready"
)]
async fn wait_until_ready(
    netns: &Netns,
    ready: Ready,
    started: &mut Supervised,
) -> Result<(), Trouble> {
    let deadline = std::time::Instant::now() + ready.within;
    while !answers(netns, ready.tcp) {
        if let Ok(ended) = started.ended.try_recv() {
            return Err(Trouble::Ended(ready, ended));
        }
        if std::time::Instant::now() > deadline {
            return Err(Trouble::NotReady(ready));
        }
        tokio::time::sleep(RETRY).await;
    }
    Ok(())
}

fn answers(netns: &Netns, port: u16) -> bool {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    netns
        .run(|| TcpStream::connect_timeout(&local, Duration::from_secs(1)))
        .is_ok_and(|connected| connected.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_told_as_people_write_them() {
        assert_eq!(
            dotted("/topology/nodes/h[1-2]/run/0/cmd"),
            "topology.nodes.h[1-2].run[0].cmd"
        );
    }

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(tail(&log, 2), "");
        fs::write(&log, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail(&log, 2), "two\nthree");
    }
}
