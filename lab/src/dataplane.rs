//! The data plane's process: the first of its PID namespace, holder of the hosts and switches.
//!
//! ```text
//!   stdin  ◀── start: the plan, one line of JSON; then `release`, or the end of whoever started the lab
//!   stdout ──▶ one line of JSON for each Event
//! ```
//!
//! Until it is released, the lab lives no longer than its starter: standard input is the leash. SIGTERM, SIGINT and
//! `POST /shutdown` on the control socket end it in order.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weft_controller::model::{Model, Peer, PortKind};
use weft_switch::host::{Config, Endpoint, HostError, LinkSpec, PortSpec, SwitchHost, SwitchSpec};
use weft_switch::ports::Medium;

use crate::control::Control;
use crate::host::ports::PortMaker;
use crate::host::{BuiltHost, HostBuildError, build_all};
use crate::info::LabInfo;
use crate::plan::{Plan, PlanError};
use crate::process::{Children, outer_pid};
use crate::programs::{ProgramError, Programs, Starter, tail};
use crate::responders::Responder;
use crate::runtime_dir::{LabDir, LabLock, RuntimeDirError, write_json, write_private};
use crate::served::Register;
use crate::supervisor::{ControllerState, supervise};

/// The word that lets the lab live on without its starter.
pub const RELEASE: &str = "release";

/// Threads that serve P4Runtime, the control socket and the responders; the switches have threads of their own.
const RUNTIME_THREADS: usize = 2;

/// What the data plane tells its starter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// Something that the user should know, and that stops nothing.
    Notice {
        /// What.
        message: String,
    },
    /// Hosts and switches exist; the controller may still be busy.
    Built {
        /// How long it took.
        elapsed_ms: u64,
    },
    /// The controller has brought every switch to its desired state, every link is up, every program is ready.
    Ready {
        /// `http://ADDRESS:PORT` of the API.
        api: String,
        /// How long it took from the data plane's start.
        elapsed_ms: u64,
    },
    /// The lab cannot be built and is gone.
    Failed {
        /// Why, complete.
        message: String,
    },
}

/// Why the data plane ends early.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// The starter said nothing that can be understood.
    #[error("the data plane is started by `weft up`, not by hand")]
    Start(#[source] io::Error),
    /// The plan is wrong.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The runtime directory cannot be used.
    #[error(transparent)]
    RuntimeDir(#[from] RuntimeDirError),
    /// The system refused something.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A host cannot be built.
    #[error(transparent)]
    Host(#[from] HostBuildError),
    /// The switches cannot start.
    #[error("cannot start the switches")]
    Switches(#[from] HostError),
    /// A program of a host does not start.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The controller does not come up.
    #[error("the controller does not come up ({ended}); its last words:\n{log}")]
    Controller {
        /// How it ended the last time.
        ended: String,
        /// The end of its log.
        log: String,
    },
    /// A thread that forwards packets has ended.
    #[error("a thread that forwards packets has ended, which is a defect; the data plane's log says how: {}", log.display())]
    LostWorker {
        /// Where the log is.
        log: PathBuf,
    },
    /// Its starter went away, or somebody asked it to end, before it was ready.
    #[error("the lab was taken down before it was ready")]
    Interrupted,
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> DataplaneError {
    move |source| DataplaneError::System { what, source }
}

/// Runs the data plane to its end.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) | Err(DataplaneError::Interrupted) => ExitCode::SUCCESS,
        Err(error) => {
            let message = chain(&error);
            tracing::debug!(error = %message, "the data plane ends");
            emit(&Event::Failed { message });
            ExitCode::from(70)
        }
    }
}

/// An error with all its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // A transparent error is its own cause.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// Tells the starter; when there is none any more, nobody needs to know.
fn emit(event: &Event) {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
}

#[expect(
    clippy::disallowed_methods,
    reason = "a driver: it measures how long building takes"
)]
fn run() -> Result<(), DataplaneError> {
    let started = Instant::now();
    let plan = read_plan().map_err(DataplaneError::Start)?;
    // Signals of the starter's terminal are not meant for the lab.
    nix::unistd::setsid()
        .map_err(io::Error::from)
        .map_err(system("begin a session"))?;
    raise_descriptor_limit();
    let model = plan.model()?;
    let mut lock = LabDir::new(&plan.name)?.acquire()?;
    let result = prepare(&lock, &plan).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("runtime")
            .enable_all()
            .build()
            .map_err(system("start threads"))?;
        runtime.block_on(live(&mut lock, &plan, &model, started))
    });
    // A lab that broke leaves its folder as one that was killed does, with the log in it.
    if !matches!(result, Err(DataplaneError::LostWorker { .. })) {
        lock.remove()?;
    }
    // Held until the process has ended, so that whoever waits for the lock finds nothing left.
    std::mem::forget(lock);
    result
}

/// Each host takes a few descriptors; the usual soft limit would end at a few hundred hosts.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

fn read_plan() -> io::Result<Plan> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}

fn prepare(lock: &LabLock, plan: &Plan) -> Result<(), DataplaneError> {
    let dir = lock.dir();
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.log_file("dataplane"))
        .map_err(system("open the log"))?;
    nix::unistd::dup2_stderr(&log)
        .map_err(io::Error::from)
        .map_err(system("write to the log"))?;
    write_json(&dir.plan_file(), plan)?;
    write_private(&dir.topology_file(), plan.text.as_bytes())?;
    write_private(&dir.token_file(), new_token()?.as_bytes())?;
    Ok(())
}

/// 256 random bits as hexadecimal digits.
fn new_token() -> Result<String, DataplaneError> {
    let mut random = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(system("draw random numbers"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Builds the lab, keeps it, and takes it down.
async fn live(
    lock: &mut LabLock,
    plan: &Plan,
    model: &Model,
    started: Instant,
) -> Result<(), DataplaneError> {
    let dir = &lock.dir().clone();
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let children = Children::default();
    tasks.spawn(watch_children(
        listen_for(SignalKind::child())?,
        children.clone(),
        stop.clone(),
    ));
    let shutdown = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signal, shutdown) = (listen_for(kind)?, shutdown.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = signal.recv() => shutdown.cancel(),
            }
        });
    }
    hold_leash(shutdown.clone())?;

    // Bound before the controller starts, so that its first connection waits instead of failing.
    let p4runtime = bind(dir.p4runtime_socket())?;
    let control = bind(dir.control_socket())?;
    let (state, controller) = watch::channel(ControllerState::default());
    let served = Register::default();
    let pid = outer_pid().map_err(system("find out its process id"))?;
    let programs = Programs::default();
    let answers = Control {
        pid,
        programs: programs.clone(),
        controller: controller.clone(),
        served: served.clone(),
        shutdown: shutdown.clone(),
    };
    tasks.spawn(answers.serve(control, tasks.clone(), stop.clone()));
    let supervisor = tokio::spawn(supervise(
        dir.clone(),
        children.clone(),
        state,
        shutdown.clone(),
    ));

    let built = tokio::task::block_in_place(|| build(model));
    let ended = match built {
        Ok(mut built) => {
            let info = LabInfo::new(model, &plan.file, pid, &built.hosts);
            for responder in built.responders.drain(..) {
                responder
                    .start(served.clone(), &tasks, stop.clone())
                    .map_err(system("start a responder"))?;
            }
            let serving = built.switches.serve_unix(p4runtime, stop.clone());
            tasks.spawn(async move {
                if let Err(error) = serving.await {
                    tracing::error!(error = %chain(&error), "P4Runtime is not served any more");
                }
            });
            lock.release_first()?;
            write_json(&dir.info_file(), &info)?;
            emit(&Event::Built {
                elapsed_ms: millis(started),
            });
            let lost = built.switches.lost_worker();
            tokio::pin!(lost);
            let lost_worker = || DataplaneError::LostWorker {
                log: dir.log_file("dataplane"),
            };
            let starter = Starter {
                dir,
                plan,
                children: &children,
                programs: &programs,
                tasks: &tasks,
                stop: &stop,
            };
            let mut ended = tokio::select! {
                biased;
                () = shutdown.cancelled() => Err(DataplaneError::Interrupted),
                () = &mut lost => Err(lost_worker()),
                ready = become_ready(&starter, model, &built.hosts, controller) => ready,
            };
            if let Ok(api) = &ended {
                emit(&Event::Ready {
                    api: api.clone(),
                    elapsed_ms: millis(started),
                });
                tracing::info!(elapsed_ms = millis(started), "the lab is ready");
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => {}
                    () = &mut lost => ended = Err(lost_worker()),
                }
            }
            // The controller first: it would only see its switches go.
            shutdown.cancel();
            let _ = supervisor.await;
            stop.cancel();
            tokio::task::block_in_place(|| built.take_down());
            ended.map(|_| ())
        }
        Err(error) => {
            shutdown.cancel();
            let _ = supervisor.await;
            stop.cancel();
            Err(error)
        }
    };
    tasks.close();
    tasks.wait().await;
    ended
}

fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn listen_for(kind: SignalKind) -> Result<Signal, DataplaneError> {
    signal(kind).map_err(system("listen for signals"))
}

fn bind(path: PathBuf) -> Result<UnixListener, DataplaneError> {
    UnixListener::bind(path).map_err(system("listen on a socket of the runtime directory"))
}

async fn watch_children(mut signal: Signal, children: Children, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = signal.recv() => children.reap(),
        }
    }
}

/// Ends the lab when standard input ends before it was released.
fn hold_leash(shutdown: CancellationToken) -> Result<(), DataplaneError> {
    // A thread, because reading standard input blocks; it ends with the process.
    std::thread::Builder::new()
        .name("leash".to_owned())
        .spawn(move || {
            let mut line = String::new();
            let said = io::stdin().lock().read_line(&mut line);
            if said.is_err() || line.trim_end() != RELEASE {
                shutdown.cancel();
            }
        })
        .map(|_| ())
        .map_err(system("start a thread"))
}

/// Waits for the controller and starts the hosts' programs; the API's address when all is ready.
async fn become_ready(
    starter: &Starter<'_>,
    model: &Model,
    hosts: &[BuiltHost],
    mut controller: watch::Receiver<ControllerState>,
) -> Result<String, DataplaneError> {
    let api = {
        let state = controller
            .wait_for(|state| state.is_ready || state.given_up.is_some())
            .await
            .map_err(|_| DataplaneError::Interrupted)?;
        if let Some(ended) = &state.given_up {
            return Err(DataplaneError::Controller {
                ended: ended.clone(),
                log: tail(&starter.dir.log_file("controller"), 8),
            });
        }
        state.api.clone().unwrap_or_default()
    };
    starter.start_all(model, hosts).await?;
    Ok(api)
}

/// Hosts and switches that run.
#[derive(Debug)]
struct Built {
    switches: SwitchHost,
    hosts: Vec<BuiltHost>,
    responders: Vec<Responder>,
}

impl Built {
    fn take_down(self) {
        self.switches.shutdown();
    }
}

fn build(model: &Model) -> Result<Built, DataplaneError> {
    let switches = SwitchHost::start(config(model))?;
    let ports = PortMaker::new(model.offloads);
    let mut interfaces = model.hosts.values().flat_map(|host| &host.interfaces);
    if interfaces.any(|interface| interface.port_kind == PortKind::Any)
        && let Some(message) = ports.notice()
    {
        emit(&Event::Notice { message });
    }
    let mut hosts = build_all(model.hosts.values(), &ports)?;
    let mut responders = Vec::new();
    let mut devices = Vec::with_capacity(hosts.len());
    for host in &mut hosts {
        devices.extend(host.devices.drain(..).map(|(attachment, device)| {
            let at = Endpoint {
                device: model.switches[&attachment.switch].device_id,
                port: attachment.port,
            };
            (at, device)
        }));
        responders.append(&mut host.responders);
    }
    switches.attach_devices(devices)?;
    Ok(Built {
        switches,
        hosts,
        responders,
    })
}

fn config(model: &Model) -> Config {
    let switches = model
        .switches
        .values()
        .map(|switch| SwitchSpec {
            name: switch.name.clone(),
            device_id: switch.device_id,
            ports: switch
                .ports
                .iter()
                .map(|(number, port)| PortSpec {
                    number: *number,
                    name: port.name.clone(),
                    mtu: port.mtu,
                    medium: medium(model, &port.peer),
                })
                .collect(),
        })
        .collect();
    Config {
        switches,
        links: links(model),
        workers: usize::from(model.workers),
        spin: model.spin,
        boot_id: String::new(),
    }
}

/// What packets at a port begin with.
fn medium(model: &Model, peer: &Peer) -> Medium {
    let Peer::Host { host, interface } = peer else {
        return Medium::L2;
    };
    let mut interfaces = model
        .hosts
        .get(host)
        .into_iter()
        .flat_map(|host| &host.interfaces);
    let found = interfaces.find(|known| known.name == *interface);
    match found.is_none_or(|interface| interface.port_kind.is_l2()) {
        true => Medium::L2,
        false => Medium::L3,
    }
}

/// Every link, seen from its ports: those between switches once, from the lower end.
fn links(model: &Model) -> Vec<LinkSpec> {
    let mut links = Vec::with_capacity(model.links.len());
    for switch in model.switches.values() {
        for (number, port) in &switch.ports {
            let a = Endpoint {
                device: switch.device_id,
                port: *number,
            };
            let b = match &port.peer {
                Peer::Host { .. } => None,
                Peer::Switch { switch, port } => Some(Endpoint {
                    device: model.switches[switch].device_id,
                    port: *port,
                }),
            };
            if b.is_none_or(|b| a <= b) {
                links.push(LinkSpec {
                    name: port.link.clone(),
                    a,
                    b,
                });
            }
        }
    }
    links
}
