//! A data plane in this process, with memory ports for hosts, and controllers for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use weft_controller::controller::{self, Config};
use weft_controller::handle::Handle;
use weft_controller::model::{Model, Peer};
use weft_controller::southbound::{self, PipelineConfig};
use weft_controller::status::DataplaneAddress;
use weft_controller::store::Store;
use weft_controller::{load, store};
use weft_proto::vocab::DeviceId;
use weft_switch::host::{
    Config as HostConfig, Endpoint, LinkSpec, PortSpec, SwitchHost, SwitchSpec,
};
use weft_switch::port::MemoryPort;
use weft_switch::ports::Medium;
use weft_switch::program::Program;

/// Patience with things that happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Switches of a topology, served on a Unix socket.
pub(crate) struct Lab {
    pub(crate) model: Arc<Model>,
    pub(crate) pipeline: PipelineConfig,
    data_plane: Option<DataPlane>,
    dir: TempDir,
}

/// Switches, and the thread that serves them.
struct DataPlane {
    _host: SwitchHost,
    /// Ports by the host that they lead to.
    ports: BTreeMap<String, MemoryPort>,
    kill: CancellationToken,
    thread: JoinHandle<()>,
}

/// A running controller.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    cancel: CancellationToken,
    done: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Ends it as a crash would, as far as switches can tell.
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.done.await.unwrap();
    }
}

impl Lab {
    /// Builds the switches of a topology file, with a memory port for each interface of a host.
    pub(crate) fn new(yaml: &str) -> Self {
        Self::of(
            load::model(yaml.as_bytes(), "test.yaml", None)
                .unwrap_or_else(|errors| panic!("{errors}")),
        )
    }

    pub(crate) fn of(model: Model) -> Self {
        let mut lab = Self {
            model: Arc::new(model),
            pipeline: pipeline(),
            data_plane: None,
            dir: tempfile::tempdir().unwrap(),
        };
        lab.boot();
        lab
    }

    /// Starts the switches, empty.
    fn boot(&mut self) {
        let path = self.dir.path().join("p4rt.sock");
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.data_plane = Some(DataPlane::start(&self.model, listener));
    }

    /// Ends the switches at once, and starts them with nothing in them.
    pub(crate) fn reboot(&mut self) {
        self.kill();
        std::fs::remove_file(self.dir.path().join("p4rt.sock")).unwrap();
        self.boot();
    }

    fn kill(&mut self) {
        if let Some(data_plane) = self.data_plane.take() {
            data_plane.kill.cancel();
            data_plane.thread.join().unwrap();
        }
    }

    /// A host's end of its link.
    pub(crate) fn port(&self, host: &str) -> &MemoryPort {
        &self.data_plane.as_ref().unwrap().ports[host]
    }

    /// A new connection to the switches.
    pub(crate) fn channel(&self) -> Channel {
        southbound::unix(&self.dir.path().join("p4rt.sock"))
    }

    /// Starts a controller over a store.
    pub(crate) async fn controller(&self, store: Arc<dyn Store>) -> Running {
        let cancel = CancellationToken::new();
        let config = Config {
            model: Arc::clone(&self.model),
            pipeline: self.pipeline.clone(),
            store,
            southbound: self.channel(),
            address: DataplaneAddress::InProcess,
            cancel: cancel.clone(),
        };
        let (handle, done) = controller::start(config).await.unwrap();
        Running {
            handle,
            cancel,
            done,
        }
    }

    /// Starts a controller and waits until it is ready.
    pub(crate) async fn ready_controller(&self, store: Arc<dyn Store>) -> Running {
        let running = self.controller(store).await;
        let mut ready = running.handle.ready();
        let waited = tokio::time::timeout(SOON, ready.wait_for(|ready| *ready)).await;
        if waited.is_err() {
            panic!("not ready: {:#?}", running.handle.switches());
        }
        running
    }

    pub(crate) fn device(&self, switch: &str) -> DeviceId {
        self.model.switches[switch].device_id
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.kill();
    }
}

impl DataPlane {
    fn start(model: &Model, listener: std::os::unix::net::UnixListener) -> Self {
        let at = |end: &weft_controller::model::Endpoint| {
            let device = model.switches.get(&end.node)?.device_id;
            Some(Endpoint {
                device,
                port: end.port?,
            })
        };
        let host = SwitchHost::start(HostConfig {
            switches: model
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
                            medium: Medium::L2,
                        })
                        .collect(),
                })
                .collect(),
            links: model
                .links
                .values()
                .filter_map(|link| {
                    let (a, b) = match (at(&link.a), at(&link.b)) {
                        (Some(a), b) => (a, b),
                        (None, Some(b)) => (b, None),
                        (None, None) => return None,
                    };
                    Some(LinkSpec {
                        name: link.name.clone(),
                        a,
                        b,
                    })
                })
                .collect(),
            ..HostConfig::default()
        })
        .unwrap();
        let mut ports = BTreeMap::new();
        for switch in model.switches.values() {
            for (number, port) in &switch.ports {
                if let Peer::Host { host: name, .. } = &port.peer {
                    let at = Endpoint {
                        device: switch.device_id,
                        port: *number,
                    };
                    ports.insert(name.clone(), host.attach_memory(at).unwrap());
                }
            }
        }
        let kill = CancellationToken::new();
        // A runtime of its own: when it goes, so do all connections, as those of a process that was killed.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let serve = {
            let _entered = runtime.enter();
            host.serve_unix(UnixListener::from_std(listener).unwrap(), kill.clone())
        };
        let killed = kill.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = killed.cancelled() => {}
                    served = serve => served.unwrap(),
                }
            });
        });
        Self {
            _host: host,
            ports,
            kill,
            thread,
        }
    }
}

/// A store in memory.
pub(crate) fn memory() -> Arc<dyn Store> {
    Arc::new(store::MemoryStore::new())
}

/// Updates written to all switches.
pub(crate) fn writes(handle: &Handle) -> u64 {
    handle
        .metrics()
        .switches
        .values()
        .map(|status| status.totals.writes)
        .sum()
}

/// Waits until `condition` holds.
pub(crate) async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what} did not happen"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn pipeline() -> PipelineConfig {
    let pipeline = weft_switch::fabric::pipeline();
    let device_config = serde_json::to_vec(&pipeline).unwrap().into();
    let program = Program::new(pipeline).unwrap();
    PipelineConfig {
        p4info: program.p4info().clone(),
        device_config,
        cookie: 7,
    }
}
