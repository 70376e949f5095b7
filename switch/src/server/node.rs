//! `weft.node.v1`: ports, links, counters, fingerprints, claims and recorded paths.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};
use weft_proto::node::v1 as node;
use weft_proto::node::v1::node_server::Node;
use weft_proto::vocab::{DeviceId, PortNo};

use super::{Target, capture};
use crate::counters::PortCounters;
use crate::device::Claim;
use crate::drops::DropNames;
use crate::host::{HostError, LinkState, Shared};
use crate::patch::{Connection, Link, Port, Topology};
use crate::port::{Device, PortKind};
use crate::ports::Medium;
use crate::recorder::{FlowKey, Path, PathFilter, Recorder};

#[tonic::async_trait]
impl Node for Target {
    async fn get_inventory(
        &self,
        _: Request<node::GetInventoryRequest>,
    ) -> Result<Response<node::Inventory>, Status> {
        Ok(Response::new(
            self.shared.inventory(&self.shared.topology()),
        ))
    }

    type WatchEventsStream = BoxStream<'static, Result<node::Event, Status>>;

    async fn watch_events(
        &self,
        _: Request<node::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let (snapshot, changes) = {
            // Changes are announced under this lock, so none is missed and none is told twice.
            let topology = self.shared.topology();
            (
                self.shared.inventory(&topology),
                self.shared.events.subscribe(),
            )
        };
        let first = node::Event {
            event: Some(node::event::Event::Snapshot(snapshot)),
        };
        let changes = BroadcastStream::new(changes).map(|change| {
            change.map_err(|_| Status::data_loss("the client reads too slowly; watch again"))
        });
        let events = futures_util::stream::iter([Ok(first)]).chain(changes);
        let events = events.take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(Box::pin(events)))
    }

    async fn get_port_counters(
        &self,
        request: Request<node::GetPortCountersRequest>,
    ) -> Result<Response<node::PortCounters>, Status> {
        let device = self.shared.device(DeviceId(request.get_ref().device_id))?;
        let names = device.drop_names();
        let topology = self.shared.topology();
        let switch = topology
            .switches()
            .get(&device.id)
            .ok_or_else(|| unknown_device(device.id))?;
        let mut ports: Vec<node::PortCounter> = switch
            .ports
            .values()
            .map(|port| counters(port.spec.number, &port.counters, &names))
            .collect();
        let cpu = counters(PortNo::CPU, &switch.cpu, &names);
        if !cpu.drops.is_empty() {
            ports.push(cpu);
        }
        Ok(Response::new(node::PortCounters { ports }))
    }

    async fn get_fingerprints(
        &self,
        request: Request<node::GetFingerprintsRequest>,
    ) -> Result<Response<node::Fingerprints>, Status> {
        let device = self.shared.device(DeviceId(request.get_ref().device_id))?;
        let state = device.loaded()?.state;
        let tables = state
            .program()
            .schema()
            .tables()
            .filter_map(|table| {
                let fingerprint = state.fingerprint(table.id)?;
                Some(node::Fingerprint {
                    table_id: table.id.0,
                    entries: fingerprint.entries,
                    sum: Bytes::copy_from_slice(&fingerprint.sum.to_be_bytes()),
                })
            })
            .collect();
        Ok(Response::new(node::Fingerprints { tables }))
    }

    async fn set_link(
        &self,
        request: Request<node::SetLinkRequest>,
    ) -> Result<Response<node::SetLinkResponse>, Status> {
        let request = request.into_inner();
        let state = match request.state() {
            node::port::State::Up => LinkState::Up,
            node::port::State::Down => LinkState::Down,
            node::port::State::Unspecified => {
                return Err(Status::invalid_argument("the state is missing"));
            }
        };
        let pending = self.shared.change_link(&request.link, state, |change| {
            self.shared.workers.apply(change)
        })?;
        if let Some(pending) = pending {
            pending.wait().await?;
        }
        Ok(Response::new(node::SetLinkResponse {}))
    }

    async fn claim(
        &self,
        request: Request<node::ClaimRequest>,
    ) -> Result<Response<node::ClaimResponse>, Status> {
        let node::ClaimRequest {
            device_id,
            cluster_id,
            epoch,
            revision,
        } = request.into_inner();
        if cluster_id.is_empty() {
            return Err(Status::invalid_argument("the cluster id is missing"));
        }
        let device = self.shared.device(DeviceId(device_id))?;
        let (accepted, remembered) = device.claim(Claim {
            cluster_id,
            epoch,
            revision,
        });
        Ok(Response::new(node::ClaimResponse {
            accepted,
            cluster_id: remembered.cluster_id,
            epoch: remembered.epoch,
            revision: remembered.revision,
        }))
    }

    async fn start_path_recorder(
        &self,
        request: Request<node::StartPathRecorderRequest>,
    ) -> Result<Response<node::StartPathRecorderResponse>, Status> {
        let request = request.into_inner();
        let filter = path_filter(&request.filter.unwrap_or_default())?;
        let recorder = Arc::new(Recorder::new(filter, request.limit));
        let (recorder_id, pending) = self.shared.add_recorder(recorder)?;
        pending.wait().await?;
        Ok(Response::new(node::StartPathRecorderResponse {
            recorder_id,
        }))
    }

    async fn take_recorded_paths(
        &self,
        request: Request<node::TakeRecordedPathsRequest>,
    ) -> Result<Response<node::RecordedPaths>, Status> {
        let node::TakeRecordedPathsRequest { recorder_id, stop } = request.into_inner();
        let recorder = match stop {
            true => {
                let (recorder, pending) = self.shared.remove_recorder(recorder_id)?;
                pending.wait().await?;
                recorder
            }
            false => self.shared.recorder(recorder_id)?,
        };
        let recorded = recorder.take();
        Ok(Response::new(node::RecordedPaths {
            paths: recorded.paths.into_iter().map(recorded_path).collect(),
            missed: recorded.missed,
        }))
    }

    async fn trace_packet(
        &self,
        request: Request<node::TracePacketRequest>,
    ) -> Result<Response<node::PacketTrace>, Status> {
        super::trace::trace(&self.shared, request.into_inner())
            .await
            .map(Response::new)
    }

    type CaptureStream = BoxStream<'static, Result<node::CapturedFrames, Status>>;

    async fn capture(
        &self,
        request: Request<node::CaptureRequest>,
    ) -> Result<Response<Self::CaptureStream>, Status> {
        let frames = capture::capture(&self.shared, request.into_inner()).await?;
        let frames = frames.take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(Box::pin(frames)))
    }
}

impl Shared {
    /// Every switch, port and link.
    fn inventory(&self, topology: &Topology) -> node::Inventory {
        let switches = topology
            .switches()
            .iter()
            .map(|(id, switch)| node::Switch {
                name: switch.name.clone(),
                device_id: id.0,
                boot_id: self.switch_boot_id(*id),
                ports: switch
                    .ports
                    .values()
                    .map(|port| port_message(topology, port))
                    .collect(),
            })
            .collect();
        node::Inventory {
            boot_id: self.boot_id.clone(),
            switches,
            links: topology.links().values().map(link_message).collect(),
        }
    }
}

/// Announces a port's state; nobody may be listening.
pub(crate) fn announce_port(
    events: &broadcast::Sender<node::Event>,
    topology: &Topology,
    device: DeviceId,
    port: &Port,
) {
    let change = node::PortChanged {
        device_id: device.0,
        port: Some(port_message(topology, port)),
    };
    let event = Some(node::event::Event::PortChanged(change));
    let _nobody = events.send(node::Event { event });
}

/// Announces a link's state; nobody may be listening.
pub(crate) fn announce_link(events: &broadcast::Sender<node::Event>, link: &Link) {
    let change = node::LinkChanged {
        link: Some(link_message(link)),
    };
    let event = Some(node::event::Event::LinkChanged(change));
    let _nobody = events.send(node::Event { event });
}

fn state_message(state: LinkState) -> node::port::State {
    match state {
        LinkState::Up => node::port::State::Up,
        LinkState::Down => node::port::State::Down,
    }
}

fn port_message(topology: &Topology, port: &Port) -> node::Port {
    let kind = match &port.connection {
        Connection::None => node::port::Kind::Unspecified,
        Connection::Patch(_) => node::port::Kind::Patch,
        Connection::Io(io) => match io.kind() {
            PortKind::Device(Device::Packet(_)) => node::port::Kind::PacketSocket,
            PortKind::Device(device) => match device.medium() {
                Medium::L2 => node::port::Kind::Tap,
                Medium::L3 => node::port::Kind::Tun,
            },
            PortKind::Memory(_) => node::port::Kind::Memory,
            PortKind::Pcap(_) => node::port::Kind::Pcap,
        },
    };
    let medium = match port.spec.medium {
        Medium::L2 => node::port::Medium::L2,
        Medium::L3 => node::port::Medium::L3,
    };
    node::Port {
        number: port.spec.number.0,
        name: port.spec.name.clone(),
        kind: kind.into(),
        state: state_message(topology.port_state(port)).into(),
        mtu: port.spec.mtu,
        medium: medium.into(),
    }
}

fn link_message(link: &Link) -> node::Link {
    let endpoint = |at: crate::host::Endpoint| node::Endpoint {
        device_id: at.device.0,
        port: at.port.0,
    };
    node::Link {
        name: link.spec.name.clone(),
        a: Some(endpoint(link.spec.a)),
        b: link.spec.b.map(endpoint),
        state: state_message(link.state).into(),
    }
}

fn counters(number: PortNo, counters: &PortCounters, names: &DropNames) -> node::PortCounter {
    let (rx, tx) = (counters.rx(), counters.tx());
    let drops: HashMap<String, u64> = counters
        .drops()
        .map(|(slot, count)| (names.name(slot).to_owned(), count))
        .collect();
    node::PortCounter {
        port: number.0,
        rx_packets: rx.packets,
        rx_bytes: rx.bytes,
        rx_frames: rx.frames,
        tx_packets: tx.packets,
        tx_bytes: tx.bytes,
        tx_frames: tx.frames,
        drops,
    }
}

fn path_filter(filter: &node::PathFilter) -> Result<PathFilter, Status> {
    let number = |value: u32, what: &str| match value {
        0 => Ok(None),
        value => u16::try_from(value)
            .map(Some)
            .map_err(|_| Status::invalid_argument(format!("{what} is at most 65535"))),
    };
    let ip_proto = match filter.ip_proto {
        0 => None,
        proto => Some(
            u8::try_from(proto).map_err(|_| Status::invalid_argument("ip_proto is at most 255"))?,
        ),
    };
    Ok(PathFilter {
        source: address(&filter.source)?,
        destination: address(&filter.destination)?,
        ip_proto,
        source_port: number(filter.source_port, "source_port")?,
        destination_port: number(filter.destination_port, "destination_port")?,
    })
}

pub(super) fn address(bytes: &[u8]) -> Result<Option<IpAddr>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Some(v4.into()));
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(v6) => Ok(Some(v6.into())),
        Err(_) => Err(Status::invalid_argument("an address has 4 or 16 bytes")),
    }
}

fn recorded_path((path, packets): (Path, u64)) -> node::RecordedPath {
    let Path {
        flow,
        hops,
        drop_reason,
    } = path;
    let FlowKey {
        source,
        destination,
        ip_proto,
        source_port,
        destination_port,
    } = flow;
    let octets = |address: Option<IpAddr>| match address {
        Some(IpAddr::V4(v4)) => Bytes::copy_from_slice(&v4.octets()),
        Some(IpAddr::V6(v6)) => Bytes::copy_from_slice(&v6.octets()),
        None => Bytes::new(),
    };
    node::RecordedPath {
        source: octets(source),
        destination: octets(destination),
        ip_proto: ip_proto.unwrap_or_default().into(),
        source_port: source_port.unwrap_or_default().into(),
        destination_port: destination_port.unwrap_or_default().into(),
        hops: hops
            .into_iter()
            .map(|hop| node::PathHop {
                device_id: hop.device.0,
                in_port: hop.in_port.0,
                out_port: hop.out_port.0,
            })
            .collect(),
        drop_reason: drop_reason.unwrap_or_default(),
        packets,
    }
}

fn unknown_device(device: DeviceId) -> Status {
    Status::not_found(format!("there is no device {device}"))
}

impl Shared {
    /// A switch by its device id.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub(crate) fn device(&self, id: DeviceId) -> Result<&Arc<crate::device::Device>, Status> {
        self.devices.get(&id).ok_or_else(|| unknown_device(id))
    }
}

impl From<HostError> for Status {
    fn from(error: HostError) -> Self {
        match error {
            HostError::UnknownLink { .. } | HostError::UnknownPort { .. } => {
                Self::not_found(error.to_string())
            }
            HostError::Stopped => Self::unavailable(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}
