//! What the data plane observes: ports, links and boot ids, as a snapshot and its changes.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;
use weft_proto::node::v1 as node;
use weft_proto::node::v1::node_client::NodeClient;
use weft_proto::vocab::{DeviceId, PortNo};

use crate::status::OperState;

const FIRST_DELAY: Duration = Duration::from_millis(2);
const LAST_DELAY: Duration = Duration::from_secs(1);

/// What was reported of ports and links.
#[derive(Clone, Debug, Default)]
pub(super) struct Inventory {
    pub(super) boot_ids: BTreeMap<DeviceId, String>,
    pub(super) ports: BTreeMap<(DeviceId, PortNo), node::Port>,
    pub(super) links: BTreeMap<String, OperState>,
}

/// News from the data plane.
#[derive(Debug)]
pub(super) enum Observed {
    /// Everything at once; first after each connect.
    Snapshot(Inventory),
    /// One port changed.
    Port(DeviceId, node::Port),
    /// One link changed.
    Link(String, OperState),
}

impl Inventory {
    pub(super) fn port_state(&self, device: DeviceId, port: PortNo) -> OperState {
        self.ports
            .get(&(device, port))
            .map_or(OperState::Unknown, |port| oper_state(port.state()))
    }
}

/// Follows the data plane until `cancel`; connects again when it is gone.
pub(super) async fn follow(
    channel: Channel,
    news: mpsc::Sender<Observed>,
    cancel: CancellationToken,
) {
    let mut client = NodeClient::new(channel);
    let mut delay = FIRST_DELAY;
    loop {
        let mut heard = false;
        let error = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            error = watch(&mut client, &news, &mut heard) => error,
        };
        if heard {
            tracing::warn!(error = error.message(), "lost the data plane");
            delay = FIRST_DELAY;
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
        delay = (delay * 2).min(LAST_DELAY);
    }
}

async fn watch(
    client: &mut NodeClient<Channel>,
    news: &mpsc::Sender<Observed>,
    heard: &mut bool,
) -> Status {
    let mut events = match client.watch_events(node::WatchEventsRequest {}).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return status,
    };
    loop {
        let event = match events.message().await {
            Ok(Some(event)) => event,
            Ok(None) => return Status::unavailable("stream ended"),
            Err(status) => return status,
        };
        *heard = true;
        let Some(observed) = event.event.and_then(decode) else {
            continue;
        };
        // The channel is full while the writer compiles; the data plane waits meanwhile, and drops nothing.
        if news.send(observed).await.is_err() {
            return Status::cancelled("the controller is ending");
        }
    }
}

fn decode(event: node::event::Event) -> Option<Observed> {
    use node::event::Event;
    match event {
        Event::Snapshot(snapshot) => {
            let mut inventory = Inventory::default();
            for switch in snapshot.switches {
                let device = DeviceId(switch.device_id);
                inventory.boot_ids.insert(device, switch.boot_id);
                for port in switch.ports {
                    inventory.ports.insert((device, PortNo(port.number)), port);
                }
            }
            for link in snapshot.links {
                let state = oper_state(link.state());
                inventory.links.insert(link.name, state);
            }
            Some(Observed::Snapshot(inventory))
        }
        Event::PortChanged(changed) => {
            Some(Observed::Port(DeviceId(changed.device_id), changed.port?))
        }
        Event::LinkChanged(changed) => {
            let link = changed.link?;
            let state = oper_state(link.state());
            Some(Observed::Link(link.name, state))
        }
    }
}

pub(super) fn oper_state(state: node::port::State) -> OperState {
    match state {
        node::port::State::Up => OperState::Up,
        node::port::State::Down => OperState::Down,
        node::port::State::Unspecified => OperState::Unknown,
    }
}

pub(super) fn port_kind(kind: node::port::Kind) -> &'static str {
    match kind {
        node::port::Kind::Tap => "tap",
        node::port::Kind::Tun => "tun",
        node::port::Kind::PacketSocket => "packetSocket",
        node::port::Kind::Memory => "memory",
        node::port::Kind::Pcap => "pcap",
        node::port::Kind::Patch => "patch",
        node::port::Kind::Unspecified => "",
    }
}
