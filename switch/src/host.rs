//! All switches of one process: their ports, the links between them, the worker threads, and the services that
//! program them.
//!
//! ```text
//!   P4Runtime, weft.node.v1        SwitchHost            worker threads, each with its own Plane
//!   ───────────────────────▶  devices, ports, links ───────▶ epoll · read · process · write
//!                              (one writer each)    commands, each acknowledged
//! ```
//!
//! A control-side change is made on the master copy here and then sent to every worker; the call returns when all of
//! them forward by it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::broadcast;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::server::Connected;
use weft_proto::node::v1 as node;
use weft_proto::vocab::{DeviceId, PortNo};

use crate::capture::Capture;
use crate::counters::PortCounters;
use crate::datapath::Nanos;
use crate::device::{Device, Devices, Sink};
use crate::patch::Topology;
use crate::port::pcap::{PcapError, Record, Replay};
use crate::port::{Device as KernelDevice, MemoryPort, PcapPort, PortKind};
use crate::ports::Medium;
use crate::recorder::Recorder;
use crate::server::{self, Programs, announce_link, announce_port};
use crate::worker::{Change, PacketInSink, Pending, Stopped, Threads, Workers, nanos_since};

/// Events that wait for a slow watcher; one that is further behind must watch again.
const EVENT_QUEUE: usize = 4096;
/// Most recorders at once: a trace has a bit for each.
const MAX_RECORDERS: usize = 64;
/// Most captures at once: each costs every frame a comparison.
const MAX_CAPTURES: usize = 64;

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
    /// What its packets begin with. Links between switches are layer 2.
    pub medium: Medium,
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
    /// A device, or a link to another switch, that carries something else than the port.
    #[error("port {port} of device {device} has another layer than what it is connected to")]
    WrongMedium {
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
    /// A port with files cannot begin.
    #[error(transparent)]
    Pcap(#[from] PcapError),
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
    /// Joined when the host is dropped.
    threads: Threads,
}

/// What the host and its services share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) boot_id: String,
    pub(crate) devices: Devices,
    pub(crate) workers: Workers,
    pub(crate) events: broadcast::Sender<node::Event>,
    /// Changes are sent to the workers and announced under this lock, so everybody sees one order.
    topology: Mutex<Topology>,
    recorders: Mutex<BTreeMap<u64, Arc<Recorder>>>,
    captures: Mutex<BTreeMap<u64, Arc<Capture>>>,
    pub(crate) programs: Programs,
    last_id: AtomicU64,
    start: Instant,
}

impl SwitchHost {
    /// Starts the worker threads. No switch has a pipeline yet, so each drops everything as `no-pipeline`.
    ///
    /// # Errors
    /// [`HostError`] where names, ids or ports clash, or the system refuses threads or descriptors.
    #[expect(
        clippy::disallowed_methods,
        reason = "the driver gives the cores their time"
    )]
    pub fn start(config: Config) -> Result<Self, HostError> {
        let Config {
            switches,
            links,
            workers,
            spin,
            boot_id,
        } = config;
        let boot_id = match boot_id.is_empty() {
            true => random_id(),
            false => boot_id,
        };
        let topology = Topology::new(switches, links)?;
        let devices: Devices = topology
            .switches()
            .keys()
            .map(|&id| (id, Arc::new(Device::new(id))))
            .collect();
        let start = Instant::now();
        let sink: Arc<dyn PacketInSink> = Arc::new(Sink(devices.clone()));
        let wiring = Arc::new(topology.wiring());
        let (workers, threads) = Workers::start(workers.max(1), spin, start, &wiring, &sink)?;
        let shared = Shared {
            boot_id,
            devices,
            workers,
            events: broadcast::Sender::new(EVENT_QUEUE),
            topology: Mutex::new(topology),
            recorders: Mutex::default(),
            captures: Mutex::default(),
            programs: Programs::default(),
            last_id: AtomicU64::new(0),
            start,
        };
        Ok(Self {
            shared: Arc::new(shared),
            threads,
        })
    }

    /// Random for each start of the process.
    pub fn boot_id(&self) -> &str {
        &self.shared.boot_id
    }

    /// Connects a port that has nothing yet to a device of the kernel; returns when every worker knows it.
    ///
    /// # Errors
    /// [`HostError::UnknownPort`], [`HostError::PortInUse`], [`HostError::WrongMedium`], [`HostError::Stopped`].
    pub fn attach_device(
        &self,
        at: Endpoint,
        device: impl Into<KernelDevice>,
    ) -> Result<(), HostError> {
        self.attach(at, PortKind::Device(device.into()))
    }

    /// Connects ports to devices, all at once; returns when every worker knows them.
    ///
    /// # Errors
    /// As [`Self::attach_device`]; ports before the failing one stay connected.
    pub fn attach_devices(
        &self,
        devices: impl IntoIterator<Item = (Endpoint, KernelDevice)>,
    ) -> Result<(), HostError> {
        let (attached, pending) = {
            let mut topology = self.shared.topology();
            let attached = devices.into_iter().try_for_each(|(at, device)| {
                topology.attach(at, PortKind::Device(device))?;
                if let Some(port) = topology.port(at) {
                    announce_port(&self.shared.events, &topology, at.device, port);
                }
                Ok(())
            });
            let wiring = Change::Wiring(Arc::new(topology.wiring()));
            (attached, self.shared.workers.apply_blocking(&wiring)?)
        };
        pending.wait()?;
        attached
    }

    /// Ready when a worker thread has ended that nobody told to, which is a defect. Its switches forward no more, or
    /// not all; the process should end.
    pub fn lost_worker(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.threads.lost().clone().cancelled_owned()
    }

    /// Ends the worker threads and removes the devices, on many threads at once: the kernel takes some 20 ms to remove
    /// a device, and not longer to remove many side by side.
    pub fn shutdown(self) {
        const CLOSERS: usize = 64;
        let Self { shared, threads } = self;
        drop(threads);
        let devices = Mutex::new(shared.topology().take_devices());
        let close = || {
            loop {
                // The lock is released before the device goes.
                let device = devices.lock().unwrap_or_else(PoisonError::into_inner).pop();
                if device.is_none() {
                    break;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..CLOSERS {
                // Where there are no more threads, this one does it alone.
                let _ = std::thread::Builder::new().spawn_scoped(scope, close);
            }
            close();
        });
    }

    /// Connects a port that has nothing yet to a pair of queues; returns when every worker knows it.
    ///
    /// # Errors
    /// [`HostError::UnknownPort`], [`HostError::PortInUse`], [`HostError::Stopped`], [`HostError::Worker`] when
    /// there is no descriptor left.
    pub fn attach_memory(&self, at: Endpoint) -> Result<MemoryPort, HostError> {
        let port = MemoryPort::new()?;
        self.attach(at, PortKind::Memory(port.clone()))?;
        Ok(port)
    }

    /// Connects a port that has nothing yet to files: the frames of a capture enter it, what leaves by it is recorded.
    /// Returns when every worker knows it; frames may have entered then.
    ///
    /// # Errors
    /// As [`Self::attach_device`]; [`HostError::Pcap`] when the record cannot be begun.
    pub fn attach_pcap(
        &self,
        at: Endpoint,
        replay: Option<Replay>,
        record: Option<Record>,
    ) -> Result<PcapPort, HostError> {
        let medium = self.shared.topology().port(at).map(|port| port.spec.medium);
        let port = PcapPort::start(medium.unwrap_or_default(), replay, record)?;
        self.attach(at, PortKind::Pcap(port.memory.clone()))?;
        Ok(port)
    }

    fn attach(&self, at: Endpoint, kind: PortKind) -> Result<(), HostError> {
        self.rewire(at, |topology| topology.attach(at, kind))
    }

    /// Takes the device away from a port; the port is down then.
    ///
    /// # Errors
    /// [`HostError::UnknownPort`], [`HostError::Stopped`].
    pub fn detach(&self, at: Endpoint) -> Result<(), HostError> {
        self.rewire(at, |topology| topology.detach(at))
    }

    fn rewire(
        &self,
        at: Endpoint,
        change: impl FnOnce(&mut Topology) -> Result<(), HostError>,
    ) -> Result<(), HostError> {
        let pending = {
            let mut topology = self.shared.topology();
            change(&mut topology)?;
            if let Some(port) = topology.port(at) {
                announce_port(&self.shared.events, &topology, at.device, port);
            }
            let wiring = Change::Wiring(Arc::new(topology.wiring()));
            self.shared.workers.apply_blocking(&wiring)?
        };
        Ok(pending.wait()?)
    }

    /// Takes a link down or up; returns when every worker forwards by it.
    ///
    /// # Errors
    /// [`HostError::UnknownLink`], [`HostError::Stopped`].
    pub fn set_link(&self, name: &str, state: LinkState) -> Result<(), HostError> {
        let workers = &self.shared.workers;
        let pending = self
            .shared
            .change_link(name, state, |change| workers.apply_blocking(change))?;
        if let Some(pending) = pending {
            pending.wait()?;
        }
        Ok(())
    }

    /// What passed through a port and was dropped there.
    pub fn counters(&self, at: Endpoint) -> Option<Arc<PortCounters>> {
        let topology = self.shared.topology();
        topology.port(at).map(|port| Arc::clone(&port.counters))
    }

    /// Serves P4Runtime and `weft.node.v1` on a Unix socket until `stop` is cancelled.
    pub fn serve_unix(
        &self,
        listener: UnixListener,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), ServeError>> + Send + 'static + use<> {
        let connections = UnixListenerStream::new(listener);
        let connections = connections.map(|connection| connection.map(server::Tolerant::new));
        self.serve(connections, stop)
    }

    /// Serves P4Runtime and `weft.node.v1` on a TCP socket until `stop` is cancelled.
    pub fn serve_tcp(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), ServeError>> + Send + 'static + use<> {
        self.serve(TcpListenerStream::new(listener), stop)
    }

    /// Serves P4Runtime and `weft.node.v1` on connections of any kind until `stop` is cancelled, or until there are no
    /// more connections to come: then those that are there are closed as well.
    pub fn serve<S, C>(
        &self,
        connections: S,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), ServeError>> + Send + 'static + use<S, C>
    where
        S: Stream<Item = std::io::Result<C>> + Send + 'static,
        C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        async move { Ok(server::serve(shared, connections, stop).await?) }
    }
}

impl Shared {
    /// Ports and links.
    pub(crate) fn topology(&self) -> MutexGuard<'_, Topology> {
        // Each change leaves the topology whole, so a panic elsewhere does not spoil it.
        self.topology.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorders(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Recorder>>> {
        // A map is whole between any two operations on it.
        self.recorders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that the cores see.
    pub(crate) fn now(&self) -> Nanos {
        nanos_since(self.start)
    }

    /// A number that this process has not used yet, 1 and up.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Random for each start of a switch. Switches start with their process.
    pub(crate) fn switch_boot_id(&self, device: DeviceId) -> String {
        format!("{}-{device}", self.boot_id)
    }

    /// Takes a link down or up; `send` tells the workers. Nothing is sent when the link is in that state already.
    pub(crate) fn change_link<P>(
        &self,
        name: &str,
        state: LinkState,
        send: impl FnOnce(&Change) -> Result<P, Stopped>,
    ) -> Result<Option<P>, HostError> {
        let mut topology = self.topology();
        if !topology.set_link(name, state)? {
            return Ok(None);
        }
        if let Some(link) = topology.links().get(name) {
            announce_link(&self.events, link);
            for at in [Some(link.spec.a), link.spec.b].into_iter().flatten() {
                if let Some(port) = topology.port(at) {
                    announce_port(&self.events, &topology, at.device, port);
                }
            }
        }
        tracing::info!(link = name, ?state, "link changed");
        Ok(Some(send(&Change::Wiring(Arc::new(topology.wiring())))?))
    }

    /// Begins to record; returns the recorder's number.
    pub(crate) fn add_recorder(&self, recorder: Arc<Recorder>) -> Result<(u64, Pending), Status> {
        let mut recorders = self.recorders();
        if recorders.len() >= MAX_RECORDERS {
            return Err(Status::resource_exhausted("there are 64 recorders already"));
        }
        let id = self.next_id();
        recorders.insert(id, recorder);
        let all = recorders.values().cloned().collect();
        Ok((id, self.workers.apply(&Change::Recorders(all))?))
    }

    /// Ends a recorder.
    pub(crate) fn remove_recorder(&self, id: u64) -> Result<(Arc<Recorder>, Pending), Status> {
        let mut recorders = self.recorders();
        let recorder = recorders.remove(&id).ok_or_else(|| unknown_recorder(id))?;
        let all = recorders.values().cloned().collect();
        Ok((recorder, self.workers.apply(&Change::Recorders(all))?))
    }

    fn captures(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Capture>>> {
        // A map is whole between any two operations on it.
        self.captures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch a port; returns the capture's number.
    pub(crate) fn add_capture(&self, capture: Arc<Capture>) -> Result<(u64, Pending), Status> {
        let mut captures = self.captures();
        if captures.len() >= MAX_CAPTURES {
            return Err(Status::resource_exhausted("there are 64 captures already"));
        }
        let id = self.next_id();
        captures.insert(id, capture);
        let all = captures.values().cloned().collect();
        Ok((id, self.workers.apply(&Change::Captures(all))?))
    }

    /// Watches a port no longer.
    pub(crate) fn remove_capture(&self, id: u64) {
        let mut captures = self.captures();
        captures.remove(&id);
        let all = captures.values().cloned().collect();
        // Nobody waits for it; workers that have ended watch nothing.
        drop(self.workers.apply(&Change::Captures(all)));
    }

    /// A recorder by its number.
    pub(crate) fn recorder(&self, id: u64) -> Result<Arc<Recorder>, Status> {
        let recorders = self.recorders();
        recorders
            .get(&id)
            .cloned()
            .ok_or_else(|| unknown_recorder(id))
    }
}

impl From<Stopped> for HostError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

fn unknown_recorder(id: u64) -> Status {
    Status::not_found(format!("there is no recorder {id}"))
}

/// 128 bits from the keys that the standard library draws for its hash maps.
fn random_id() -> String {
    let draw = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", draw(), draw())
}
