//! All switches of one process: their ports, the links between them, the worker threads, and the services that
//! programs them.
//!
//! ```text
//!   P4Runtime, weft.node.v1        SwitchHost            worker threads, each with its own Plane
//!   ───────────────────────▶  devices, ports, links ───────▶ epoll · read · process · write
//!                              (one writer each)    commands, each acknowledged
//! ```
//!
//! A control-side change is made on the master copy here and then sent to every worker; the call returns when all of
//! them forward by it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use weft_proto::vocab::{DeviceId, PortNo};

use crate::patch::Topology;
use crate::port::{MemoryPort, PortIo, TapPort};

/// What a [`SwitchHost`] starts with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The switches.
    pub switches: Vec<SwitchSpec>,
    /// Links between switches, and names for links to the outside.
    pub links: Vec<LinkSpec>,
    /// Worker threads; 0 means 1.
    pub workers: usize,
    /// How long a worker polls before it sleeps; zero means that it sleeps at once.
    pub spin: Duration,
    /// Random for each start of the process; controllers tell a restart by it. Empty: one is drawn.
    pub boot_id: String,
}

/// A switch and its ports.
#[derive(Clone, Debug, Default)]
pub struct SwitchSpec {
    /// Its name, unique in the process.
    pub name: String,
    /// P4Runtime's device id, not 0, unique in the process.
    pub device_id: DeviceId,
    /// Its ports; one without a link and without an attached device is down.
    pub ports: Vec<PortSpec>,
}

/// A port of a switch.
#[derive(Clone, Debug)]
pub struct PortSpec {
    /// Its number, unique in the switch.
    pub number: PortNo,
    /// Its name.
    pub name: String,
    /// Largest customer IP packet in bytes.
    pub mtu: u32,
}

/// One end of a link at a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The switch.
    pub device: DeviceId,
    /// Its port.
    pub port: PortNo,
}

/// A link that starts at a switch.
#[derive(Clone, Debug)]
pub struct LinkSpec {
    /// Its name, unique in the process.
    pub name: String,
    /// One end.
    pub a: Endpoint,
    /// The other end; `None` where it is no switch of this process (a host).
    pub b: Option<Endpoint>,
}

/// Whether a port or link carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It does.
    Up,
    /// It does not.
    Down,
}

/// Why a host cannot start or change.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A device id that is 0.
    #[error("switch {name} has device id 0, which is invalid")]
    InvalidDevice {
        /// The switch.
        name: String,
    },
    /// Two switches with one name or device id.
    #[error("switch {name} with device id {device} exists already")]
    DuplicateSwitch {
        /// The switch.
        name: String,
        /// Its device id.
        device: DeviceId,
    },
    /// Two ports with one number, or a port number that is reserved.
    #[error("port {port} of device {device} is reserved or exists already")]
    InvalidPort {
        /// The switch.
        device: DeviceId,
        /// The port.
        port: PortNo,
    },
    /// An endpoint that no switch has.
    #[error("device {device} has no port {port}")]
    UnknownPort {
        /// The switch.
        device: DeviceId,
        /// The port.
        port: PortNo,
    },
    /// A port that has a link or a device already.
    #[error("port {port} of device {device} is connected already")]
    PortInUse {
        /// The switch.
        device: DeviceId,
        /// The port.
        port: PortNo,
    },
    /// Two links with one name.
    #[error("link {name} exists already")]
    DuplicateLink {
        /// The link.
        name: String,
    },
    /// A link that does not exist.
    #[error("there is no link {name}")]
    UnknownLink {
        /// The link.
        name: String,
    },
    /// The system refused a thread or a descriptor.
    #[error("cannot start a worker")]
    Worker(#[from] std::io::Error),
    /// The worker threads have ended.
    #[error("the host has stopped")]
    Stopped,
}

/// Why the services end early.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve P4Runtime")]
pub struct ServeError(#[from] tonic::transport::Error);

/// All switches of one process. Dropping it ends the worker threads.
#[derive(Debug)]
pub struct SwitchHost {
    shared: Arc<Shared>,
}

/// What the host, its services and its workers share.
#[derive(Debug)]
struct Shared {
    boot_id: String,
    topology: Mutex<Topology>,
}

impl SwitchHost {
    /// Starts the worker threads. No switch has a pipeline yet, so each drops everything as `no-pipeline`.
    ///
    /// # Errors
    /// [`HostError`] where names, ids or ports clash, or the system refuses threads or descriptors.
    pub fn start(config: Config) -> Result<Self, HostError> {
        let Config {
            switches,
            links,
            workers: _,
            spin: _,
            boot_id,
        } = config;
        let topology = Topology::new(switches, links)?;
        Ok(Self {
            shared: Arc::new(Shared {
                boot_id,
                topology: Mutex::new(topology),
            }),
        })
    }

    /// Random for each start of the process.
    pub fn boot_id(&self) -> &str {
        &self.shared.boot_id
    }

    /// Connects a port that has nothing yet to a TAP device; returns when every worker knows it.
    ///
    /// # Errors
    /// [`HostError::UnknownPort`], [`HostError::PortInUse`], [`HostError::Stopped`].
    pub fn attach_tap(&self, at: Endpoint, tap: TapPort) -> Result<(), HostError> {
        self.attach(at, PortIo::Tap(tap))
    }

    /// Connects a port that has nothing yet to a pair of queues; returns when every worker knows it.
    ///
    /// # Errors
    /// [`HostError::UnknownPort`], [`HostError::PortInUse`], [`HostError::Stopped`], [`HostError::Worker`] when
    /// there is no descriptor left.
    pub fn attach_memory(&self, at: Endpoint) -> Result<MemoryPort, HostError> {
        let port = MemoryPort::new()?;
        self.attach(at, PortIo::Memory(port.clone()))?;
        Ok(port)
    }

    fn attach(&self, at: Endpoint, io: PortIo) -> Result<(), HostError> {
        self.shared.topology().attach(at, Arc::new(io))
    }

    /// Takes the device away from a port; the port is down then.
    ///
    /// # Errors
    /// [`HostError::UnknownPort`], [`HostError::Stopped`].
    pub fn detach(&self, at: Endpoint) -> Result<(), HostError> {
        self.shared.topology().detach(at)
    }

    /// Takes a link down or up; returns when every worker forwards by it.
    ///
    /// # Errors
    /// [`HostError::UnknownLink`], [`HostError::Stopped`].
    pub fn set_link(&self, name: &str, state: LinkState) -> Result<(), HostError> {
        self.shared.topology().set_link(name, state)?;
        Ok(())
    }

    /// Serves P4Runtime and `weft.node.v1` on a Unix socket until `stop` is cancelled.
    pub fn serve_unix(
        &self,
        listener: UnixListener,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), ServeError>> + Send + 'static + use<> {
        self.serve(UnixListenerStream::new(listener), stop)
    }

    /// Serves P4Runtime and `weft.node.v1` on a TCP socket until `stop` is cancelled.
    pub fn serve_tcp(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), ServeError>> + Send + 'static + use<> {
        self.serve(TcpListenerStream::new(listener), stop)
    }

    /// Serves P4Runtime and `weft.node.v1` on connections of any kind until `stop` is cancelled.
    pub fn serve<S, C>(
        &self,
        connections: S,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), ServeError>> + Send + 'static + use<S, C>
    where
        S: Stream<Item = std::io::Result<C>> + Send + 'static,
        C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let _ = connections;
        async move {
            stop.cancelled().await;
            Ok(())
        }
    }
}

impl Shared {
    fn topology(&self) -> MutexGuard<'_, Topology> {
        // Each change leaves the topology whole, so a panic elsewhere does not spoil it.
        self.topology.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
