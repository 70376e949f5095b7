//! Programs that a file starts in its hosts (`run`).

use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use weft_controller::model::{Model, Run};

use crate::host::BuiltHost;
use crate::netns::Netns;
use crate::process::{Children, Supervised};
use crate::runtime_dir::LabDir;

/// How long a program may take until its port answers.
const READY_WITHIN: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(5);

/// Why a host's program does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be started.
    #[error("cannot start `{program}` in {host}")]
    Start {
        /// The host.
        host: String,
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// It ended before its port answered.
    #[error("`{program}` in {host} ended before TCP port {port} answered")]
    Ended {
        /// The host.
        host: String,
        /// The program.
        program: String,
        /// The port.
        port: u16,
    },
    /// Its port does not answer.
    #[error("`{program}` in {host} did not listen on TCP port {port} within {READY_WITHIN:?}")]
    NotReady {
        /// The host.
        host: String,
        /// The program.
        program: String,
        /// The port.
        port: u16,
    },
}

/// Starts all programs in file order and waits until each is ready.
///
/// # Errors
/// The first that fails.
pub async fn start_all(
    dir: &LabDir,
    folder: &Path,
    model: &Model,
    hosts: &[BuiltHost],
    children: &Children,
) -> Result<(), ProgramError> {
    for host in hosts {
        let runs = model
            .hosts
            .get(&host.name)
            .map_or(&[][..], |host| &host.run);
        for (number, run) in runs.iter().enumerate() {
            let Some(program) = run.cmd.first() else {
                continue;
            };
            let log = dir.log_file(&format!("{}-{number}", host.name));
            let started = tokio::task::block_in_place(|| start(run, folder, &log, host, children));
            let mut started = started.map_err(|source| ProgramError::Start {
                host: host.name.clone(),
                program: program.clone(),
                source,
            })?;
            if let Some(port) = run.ready_tcp {
                wait_until_ready(host, program, port, &mut started).await?;
            }
        }
    }
    Ok(())
}

fn start(
    run: &Run,
    folder: &Path,
    log: &Path,
    host: &BuiltHost,
    children: &Children,
) -> io::Result<Supervised> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let [program, arguments @ ..] = run.cmd.as_slice() else {
        return Err(io::Error::other("no program"));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(&run.env)
        .current_dir(
            run.cwd
                .as_ref()
                .map_or_else(|| folder.to_owned(), |cwd| folder.join(cwd)),
        )
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    host.netns.run_program(|| children.spawn(&mut command))?
}

#[expect(
    clippy::disallowed_methods,
    reason = "a driver: it waits for a program that cannot tell when it is ready"
)]
async fn wait_until_ready(
    host: &BuiltHost,
    program: &str,
    port: u16,
    started: &mut Supervised,
) -> Result<(), ProgramError> {
    let deadline = std::time::Instant::now() + READY_WITHIN;
    while !answers(&host.netns, port) {
        let (host, program) = (host.name.clone(), program.to_owned());
        if started.ended.try_recv().is_ok() {
            return Err(ProgramError::Ended {
                host,
                program,
                port,
            });
        }
        if std::time::Instant::now() > deadline {
            return Err(ProgramError::NotReady {
                host,
                program,
                port,
            });
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
