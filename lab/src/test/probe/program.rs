//! A program that is run in a host to its end, with everything that it starts.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout_at};

use super::{Answer, End, Output, Seen, Try};
use crate::contained;
use crate::exec::{ExecError, HostNamespaces};
use crate::runtime_dir::LabDir;
use crate::test::cases::Program;

/// Most bytes of each output that are kept; the rest is read and thrown away.
const OUTPUT_MAX: usize = 4 << 20;

/// How long a program that was stopped may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Runs a program in a host of a running lab. `folder` is that of the lab's file.
///
/// # Errors
/// When the host cannot be entered. A program that does not exist ends with status 127, as in a shell.
pub async fn run(
    dir: &LabDir,
    folder: &Path,
    host: &str,
    program: &Program,
) -> Result<Seen, ExecError> {
    let start = Instant::now();
    let folder = folder.join(program.cwd.as_deref().unwrap_or(""));
    if !folder.is_dir() {
        let why = format!("there is no folder {}", folder.display());
        let tries = vec![Try::new(End::Broken(why), Duration::ZERO)];
        return Ok(Seen { tries });
    }
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(contained::COMMAND)
        .arg("--")
        .args(&program.cmd)
        .envs(&program.env)
        .current_dir(folder)
        // What is typed at the terminal is for the test runner, which stops the program itself.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child =
        tokio::task::block_in_place(|| HostNamespaces::open(dir, host)?.spawn(command))?;
    let failed = |source| ExecError::Start {
        program: program.cmd.first().cloned().unwrap_or_default(),
        source,
    };
    let leash = child.stdin.take();
    let outputs = (child.stdout.take(), child.stderr.take());
    let stdout = Collected::new(outputs.0.map(OwnedFd::from)).map_err(failed)?;
    let stderr = Collected::new(outputs.1.map(OwnedFd::from)).map_err(failed)?;
    let (mut stdout, mut stderr) = (stdout, stderr);
    let ended = wait(child);
    tokio::pin!(ended);
    let deadline = start + program.timeout;
    let in_time = timeout_at(deadline, async {
        let (ended, (), ()) = tokio::join!(&mut ended, stdout.read(), stderr.read());
        ended
    })
    .await;
    let (end, status) = match in_time {
        Ok(status) => (End::Answered, status.map_err(failed)?),
        Err(_) => {
            drop(leash);
            let gone = timeout_at(Instant::now() + GONE_WITHIN, &mut ended).await;
            let status = gone.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            (End::Killed, status.map_err(failed)?)
        }
    };
    let output = Output {
        status,
        stdout: stdout.into_text(),
        stderr: stderr.into_text(),
    };
    let seen = Try {
        answer: Some(Answer::Output(output)),
        ..Try::new(end, Instant::now() - start)
    };
    Ok(Seen { tries: vec![seen] })
}

/// The exit status of a child; waiting blocks a thread.
async fn wait(mut child: Child) -> io::Result<u8> {
    let waited = tokio::task::spawn_blocking(move || child.wait()).await;
    let status = waited.map_err(io::Error::other)??;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX))
}

/// One output, read as it comes.
struct Collected {
    pipe: Option<pipe::Receiver>,
    bytes: Vec<u8>,
}

impl Collected {
    fn new(pipe: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            pipe: pipe.map(pipe::Receiver::from_owned_fd).transpose()?,
            bytes: Vec::new(),
        })
    }

    /// Reads to the end.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else {
            return;
        };
        let mut buffer = vec![0; 16 << 10];
        while let Ok(len @ 1..) = pipe.read(&mut buffer).await {
            let room = OUTPUT_MAX - self.bytes.len();
            self.bytes.extend_from_slice(&buffer[..len.min(room)]);
        }
    }

    fn into_text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
