//! The controller's process: of a lab, or alone.
//!
//! In a lab it finds everything in the runtime directory. A lock lets one controller run at a time: one that the data
//! plane started waits for its turn, one that a user starts by hand is told that there is another.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use weft_controller::controller::{self, StartError};
use weft_controller::handle::Handle;
use weft_controller::model::Model;
use weft_controller::pipeline::fingerprint;
use weft_controller::southbound::{self, PipelineConfig};
use weft_controller::status::DataplaneAddress;
use weft_controller::store::{MemoryStore, SqliteStore, Store, StoreError};
use weft_northbound_api::{ServeConfig, ServeError, serve};
use weft_switch::fabric;
use weft_switch::program::Program;

use crate::plan::{Plan, PlanError};
use crate::process::outer_pid;
use crate::runtime_dir::{LabDir, RuntimeDirError, read_json, write_json};
use crate::supervisor::ControllerEvent;

/// Why a controller does not run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// Another controller of the lab runs.
    #[error("lab `{0}` has a controller that is running")]
    Running(String),
    /// The lab's files cannot be used.
    #[error(transparent)]
    RuntimeDir(#[from] RuntimeDirError),
    /// The topology is wrong.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The built-in pipeline is wrong.
    #[error("the built-in pipeline is not valid: {0}")]
    Pipeline(String),
    /// A store that does not exist.
    #[error("`{0}` is no store: sqlite:FILE and memory are")]
    StoreKind(String),
    /// The store cannot be opened.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// The data plane's address is none.
    #[error("`{0}` is no data plane: ADDRESS:PORT and unix:PATH are")]
    Dataplane(String),
    /// The controller cannot start.
    #[error("cannot start the controller")]
    Start(#[from] StartError),
    /// The API cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The system refused something.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> ControllerError {
    move |source| ControllerError::System { what, source }
}

/// A controller without a lab.
#[derive(Clone, Debug)]
pub struct Alone {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// `sqlite:FILE`, or `memory`.
    pub store: String,
    /// The token of the API.
    pub token: String,
    /// The data plane: `ADDRESS:PORT` or `unix:PATH`.
    pub dataplane: Option<String>,
    /// The topology file of the data plane.
    pub topology: Option<PathBuf>,
}

/// The content of `api.json`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct ApiAddress {
    listen: SocketAddr,
}

/// Everything that a controller is started with.
struct Parts {
    model: Model,
    store: Arc<dyn Store>,
    southbound: Channel,
    address: DataplaneAddress,
    serve: ServeConfig,
}

/// Runs a lab's controller until it is told to end, or until the lab ends.
///
/// # Errors
/// [`ControllerError`].
pub async fn run_in_lab(dir: &LabDir, supervised: bool) -> Result<(), ControllerError> {
    let _turn = take_turn(dir, supervised).await?;
    let plan: Plan = read_json(&dir.plan_file())?;
    let token = std::fs::read_to_string(dir.token_file()).map_err(system("read the token"))?;
    let tcp = listen_where_it_was(dir).await?;
    let api = format!("http://{}", tcp.local_addr().map_err(system("listen"))?);
    let socket = dir.api_socket();
    // What an earlier controller left: nobody else listens, because the turn is ours.
    let _ = std::fs::remove_file(&socket);
    let unix = UnixListener::bind(&socket).map_err(system("listen on the API's socket"))?;
    let parts = Parts {
        model: plan.model()?,
        store: Arc::new(SqliteStore::open(dir.store_file()).await?),
        southbound: southbound::unix(&dir.p4runtime_socket()),
        address: DataplaneAddress::Unix(dir.p4runtime_socket()),
        serve: ServeConfig {
            tcp,
            unix: Some(unix),
            token: token.trim().to_owned(),
        },
    };
    let end = CancellationToken::new();
    end_with_lab(dir);
    run(parts, end, |handle| report(handle, &api, supervised)).await
}

/// Runs a controller without a lab until it is told to end.
///
/// # Errors
/// [`ControllerError`].
pub async fn run_alone(alone: &Alone) -> Result<(), ControllerError> {
    let model = match &alone.topology {
        Some(file) => Plan::read(file, None)?.1,
        None => Model::default(),
    };
    let dataplane = alone.dataplane.as_deref().unwrap_or("unix:/nonexistent");
    let (southbound, address) = reach(dataplane)?;
    let tcp = TcpListener::bind(alone.listen)
        .await
        .map_err(system("listen"))?;
    let api = format!("http://{}", tcp.local_addr().map_err(system("listen"))?);
    let parts = Parts {
        model,
        store: open_store(&alone.store).await?,
        southbound,
        address,
        serve: ServeConfig {
            tcp,
            unix: None,
            token: alone.token.clone(),
        },
    };
    run(parts, CancellationToken::new(), |handle| {
        report(handle, &api, false)
    })
    .await
}

async fn run<R: Future<Output = ()>>(
    parts: Parts,
    end: CancellationToken,
    report: impl FnOnce(Handle) -> R,
) -> Result<(), ControllerError> {
    end_by_signal(end.clone())?;
    let config = controller::Config {
        model: Arc::new(parts.model),
        pipeline: pipeline()?,
        store: parts.store,
        southbound: parts.southbound,
        address: parts.address,
        cancel: end.clone(),
    };
    let (handle, ended) = controller::start(config).await?;
    let reporting = report(handle.clone());
    let serving = serve(handle, parts.serve, end.clone());
    let (served, ()) = tokio::join!(serving, async {
        tokio::select! {
            () = end.cancelled() => {}
            () = reporting => {}
        }
    });
    end.cancel();
    // A panic of the controller's task was logged where it happened.
    let _ = ended.await;
    Ok(served?)
}

/// The built-in pipeline as it is pushed to switches.
///
/// # Errors
/// [`ControllerError::Pipeline`].
pub fn pipeline() -> Result<PipelineConfig, ControllerError> {
    let wrong = |error: &dyn std::fmt::Display| ControllerError::Pipeline(error.to_string());
    let pipeline = fabric::pipeline();
    let device_config = serde_json::to_vec(&pipeline).map_err(|error| wrong(&error))?;
    let program = Program::new(pipeline).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        ControllerError::Pipeline(errors.join("; "))
    })?;
    Ok(PipelineConfig {
        p4info: program.p4info().clone(),
        cookie: fingerprint(&device_config),
        device_config: device_config.into(),
    })
}

/// The right to be the lab's controller, held until it is dropped.
async fn take_turn(dir: &LabDir, patient: bool) -> Result<File, ControllerError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.controller_lock_file())
        .map_err(system("open the controller's lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) if patient => {
            tracing::info!("another controller is running; waiting for its end");
            let waiting = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
            waiting
                .await
                .map_err(io::Error::other)
                .and_then(|locked| locked)
                .map_err(system("take the controller's lock"))
        }
        Err(TryLockError::WouldBlock) => Err(ControllerError::Running(dir.name().to_owned())),
        Err(TryLockError::Error(error)) => Err(system("take the controller's lock")(error)),
    }
}

/// Listens where the lab's API was before, so that clients find it again.
async fn listen_where_it_was(dir: &LabDir) -> Result<TcpListener, ControllerError> {
    let before: Option<ApiAddress> = read_json(&dir.api_file()).ok();
    if let Some(before) = before {
        match TcpListener::bind(before.listen).await {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                tracing::warn!(address = %before.listen, %error, "the API has to move");
            }
        }
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(system("listen"))?;
    let listen = listener.local_addr().map_err(system("listen"))?;
    write_json(&dir.api_file(), &ApiAddress { listen })?;
    Ok(listener)
}

fn end_by_signal(end: CancellationToken) -> Result<(), ControllerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(system("listen for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("listen for signals"))?;
    tokio::spawn(async move {
        tokio::select! {
            () = end.cancelled() => {}
            _ = terminate.recv() => end.cancel(),
            _ = interrupt.recv() => end.cancel(),
        }
    });
    Ok(())
}

/// Ends the process when the lab ends. In the lab's PID namespace the kernel does that too, but only after the data
/// plane's devices are gone; by then the next lab of this name may live at the same paths.
fn end_with_lab(dir: &LabDir) {
    let lock = dir.lock_file();
    // A thread, because waiting for the lock blocks; it ends with the process.
    std::thread::spawn(move || {
        if let Ok(file) = File::open(lock) {
            let _ = file.lock_shared();
        }
        tracing::warn!("the lab has ended");
        std::process::exit(0);
    });
}

/// Tells that the API answers, and when all is ready.
async fn report(handle: Handle, api: &str, supervised: bool) {
    let tell = |event: &ControllerEvent| {
        if !supervised {
            tracing::info!(?event, "controller");
            return;
        }
        let mut line = serde_json::to_vec(event).unwrap_or_default();
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        // A data plane that does not read is about to end this process anyway.
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
    };
    tell(&ControllerEvent::Listening {
        pid: outer_pid().unwrap_or_else(|_| std::process::id()),
        api: api.to_owned(),
    });
    let mut ready = handle.ready();
    if ready.wait_for(|ready| *ready).await.is_ok() {
        tell(&ControllerEvent::Ready);
    }
    std::future::pending().await
}

async fn open_store(store: &str) -> Result<Arc<dyn Store>, ControllerError> {
    match store.split_once(':') {
        Some(("sqlite", file)) => Ok(Arc::new(SqliteStore::open(file).await?)),
        None if store == "memory" => Ok(Arc::new(MemoryStore::new())),
        _ => Err(ControllerError::StoreKind(store.to_owned())),
    }
}

fn reach(dataplane: &str) -> Result<(Channel, DataplaneAddress), ControllerError> {
    let wrong = || ControllerError::Dataplane(dataplane.to_owned());
    if let Some(path) = dataplane.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        return Ok((southbound::unix(&path), DataplaneAddress::Unix(path)));
    }
    let address: SocketAddr = dataplane.parse().map_err(|_| wrong())?;
    let channel = southbound::tcp(address).map_err(|_| wrong())?;
    Ok((channel, DataplaneAddress::Tcp(address)))
}
