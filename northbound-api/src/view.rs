//! What answers look like. Names and numbers of the pipeline become texts here; nothing is decided.

mod diff;
mod entry;
mod flow;
mod pipeline;
mod resource;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use weft_controller::quantity::{BitsPerSec, TimeSpan};
use weft_controller::spec::ImpairSpec;
use weft_controller::status::{
    Condition as ConditionView, DataplaneAddress, EndpointView, HostView, InterfaceView, LinkView,
    OperState, PortCounters, PortView, SwitchView, TopologyView,
};

use crate::list::Item;

pub(crate) use diff::{DiffCounts, Repair, SwitchDiff};
pub(crate) use entry::EntryBody;
pub(crate) use flow::{
    Diff, Entry, FlowBody, FlowSetBody, Group, GroupBody, Meter, MeterBody, Names,
};
pub(crate) use pipeline::{DeclarePipeline, Pipeline};
pub(crate) use resource::{Change, Resource, ResourceStatus, document};

/// Nodes and links.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Topology {
    /// The topology's name.
    name: String,
    /// `auto`, or `none` where every hop is programmed by hand.
    fabric: &'static str,
    /// Nodes by name.
    nodes: Vec<Node>,
    /// Links by name.
    links: Vec<Link>,
    /// The revision that this shows.
    revision: String,
}

/// A node of the topology.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node {
    /// Its name.
    name: String,
    /// `switch`, `host` or `router`.
    kind: String,
    /// The user's own words.
    labels: BTreeMap<String, String>,
}

impl From<TopologyView> for Topology {
    fn from(view: TopologyView) -> Self {
        let nodes = view.nodes.into_iter().map(|node| Node {
            name: node.name,
            kind: node.kind,
            labels: node.labels,
        });
        Self {
            name: view.name,
            fabric: view.fabric,
            nodes: nodes.collect(),
            links: view.links.into_iter().map(Link::from).collect(),
            revision: view.revision.to_string(),
        }
    }
}

/// A link.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Link {
    /// Its name.
    name: String,
    /// Its two ends, each `node:interface`.
    endpoints: Vec<String>,
    /// What was reported: `up`, `down` or `unknown`.
    #[schema(value_type = String)]
    state: OperState,
    /// What was declared: `up` or `down`.
    #[schema(value_type = String)]
    desired_state: OperState,
    /// Its cost for paths.
    metric: u32,
    /// Risks that it shares with other links.
    srlgs: Vec<String>,
    /// Its capacity, where one is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    capacity: Option<BitsPerSec>,
    /// Its latency, where one is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    latency: Option<TimeSpan>,
    /// Declared impairments, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    impair: Option<ImpairSpec>,
    /// Facts that matter for it.
    status: LinkStatus,
}

/// What is known of a link.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LinkStatus {
    conditions: Vec<Condition>,
}

impl From<LinkView> for Link {
    fn from(view: LinkView) -> Self {
        Self {
            name: view.name,
            endpoints: view.endpoints.iter().map(endpoint).collect(),
            state: view.state,
            desired_state: view.desired_state,
            metric: view.metric,
            srlgs: view.srlgs,
            capacity: view.capacity,
            latency: view.latency,
            impair: (!view.impair.is_empty()).then_some(view.impair),
            status: LinkStatus {
                conditions: view.conditions.into_iter().map(Condition::from).collect(),
            },
        }
    }
}

impl Item for Link {
    fn key(&self) -> String {
        self.name.clone()
    }
}

/// A host.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Host {
    /// Its name.
    name: String,
    /// `host` or `router`.
    kind: String,
    /// All its addresses, with prefix lengths.
    addresses: Vec<String>,
    /// Where its first interface is attached.
    attachment: Option<Attachment>,
    /// Its interfaces.
    interfaces: Vec<Interface>,
    /// `declared` or `learnt`.
    source: &'static str,
}

/// A switch port.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attachment {
    /// The switch.
    switch: String,
    /// Its port.
    port: String,
}

/// A host's interface.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Interface {
    /// Its name in the host.
    name: String,
    /// Its MAC address.
    mac: String,
    /// Its addresses, with prefix lengths.
    addresses: Vec<String>,
    /// Where it is attached.
    attachment: Attachment,
    /// The network it is in.
    network: String,
}

impl From<HostView> for Host {
    fn from(view: HostView) -> Self {
        let addresses = view
            .interfaces
            .iter()
            .flat_map(|interface| &interface.addresses);
        let addresses = addresses.cloned().collect();
        let interfaces: Vec<_> = view.interfaces.into_iter().map(Interface::from).collect();
        Self {
            name: view.name,
            kind: view.kind,
            addresses,
            attachment: interfaces.first().map(|first| first.attachment.clone()),
            interfaces,
            source: if view.declared { "declared" } else { "learnt" },
        }
    }
}

impl From<InterfaceView> for Interface {
    fn from(view: InterfaceView) -> Self {
        Self {
            name: view.name,
            mac: view.mac,
            addresses: view.addresses,
            attachment: Attachment {
                switch: view.attachment.node,
                port: view.attachment.interface,
            },
            network: view.network,
        }
    }
}

impl Item for Host {
    fn key(&self) -> String {
        self.name.clone()
    }
}

/// A switch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Switch {
    /// Its name.
    name: String,
    /// The user's own words.
    labels: BTreeMap<String, String>,
    /// The controller has a session with it, and is primary.
    connected: bool,
    /// Random for each start of the switch; empty while it is not known.
    boot_id: String,
    /// Name of the pipeline that runs.
    pipeline: String,
    /// Where other P4Runtime clients reach it.
    p4runtime: P4Runtime,
    /// Number of its ports.
    ports: usize,
    /// How full its tables are.
    capacity: BTreeMap<String, Capacity>,
    /// The revision that it shall reach.
    desired_revision: String,
    /// The revision that it has reached.
    observed_revision: String,
    /// Facts about it.
    conditions: Vec<Condition>,
}

/// Where a switch is reached by P4Runtime.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct P4Runtime {
    /// `127.0.0.1:PORT`, or `unix:PATH`.
    address: String,
    /// P4Runtime's `device_id`.
    device_id: u64,
}

/// How full a table is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Capacity {
    /// Entries in it.
    used: u64,
    /// Entries that fit.
    max: u64,
}

/// A fact about an object.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    /// Its name, such as `SwitchConnected`.
    #[schema(value_type = String)]
    r#type: weft_controller::status::ConditionType,
    /// Whether it holds.
    status: bool,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

impl From<ConditionView> for Condition {
    fn from(view: ConditionView) -> Self {
        Self {
            r#type: view.r#type,
            status: view.status,
            detail: view.detail,
        }
    }
}

impl Switch {
    pub(crate) fn new(view: SwitchView, address: &DataplaneAddress) -> Self {
        let status = view.status;
        let capacity = status.entries.into_iter().map(|(table, entries)| {
            let capacity = Capacity {
                used: entries.used,
                max: entries.size,
            };
            (table, capacity)
        });
        Self {
            name: view.name,
            labels: view.labels,
            connected: status.connected,
            boot_id: status.boot_id,
            pipeline: status.pipeline,
            p4runtime: P4Runtime {
                address: address.to_string(),
                device_id: view.device_id,
            },
            ports: view.ports,
            capacity: capacity.collect(),
            desired_revision: status.desired_revision.to_string(),
            observed_revision: status.observed_revision.to_string(),
            conditions: status.conditions.into_iter().map(Condition::from).collect(),
        }
    }
}

impl Item for Switch {
    fn key(&self) -> String {
        self.name.clone()
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.labels)
    }
}

/// A port of a switch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Port {
    /// Its name.
    name: String,
    /// Its switch.
    switch: String,
    /// Its number.
    number: u32,
    /// What it is made of: `tap`, `tun`, `packetSocket`, `memory`, `pcap` or `patch`.
    kind: &'static str,
    /// `up`, `down` or `unknown`.
    #[schema(value_type = String)]
    state: OperState,
    /// The largest customer IP packet in bytes.
    mtu: u32,
    /// The link that ends here.
    link: Option<String>,
    /// What is at the link's other end: `node:interface`.
    peer: Option<String>,
    /// Null while the switch does not answer.
    counters: Option<Counters>,
}

/// Counters of a port: packets are wire segments, frames what crossed the device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counters {
    rx_packets: u64,
    rx_bytes: u64,
    rx_frames: u64,
    tx_packets: u64,
    tx_bytes: u64,
    tx_frames: u64,
    /// Dropped packets by reason.
    drops: BTreeMap<String, u64>,
}

impl From<PortView> for Port {
    fn from(view: PortView) -> Self {
        Self {
            name: view.name,
            switch: view.switch,
            number: view.number,
            kind: view.kind,
            state: view.state,
            mtu: view.mtu,
            link: view.link,
            peer: view.peer.as_ref().map(endpoint),
            counters: view.counters.map(Counters::from),
        }
    }
}

impl From<PortCounters> for Counters {
    fn from(counters: PortCounters) -> Self {
        Self {
            rx_packets: counters.rx_packets,
            rx_bytes: counters.rx_bytes,
            rx_frames: counters.rx_frames,
            tx_packets: counters.tx_packets,
            tx_bytes: counters.tx_bytes,
            tx_frames: counters.tx_frames,
            drops: counters.drops,
        }
    }
}

impl Item for Port {
    /// By number, as they are on the device.
    fn key(&self) -> String {
        format!("{:010}", self.number)
    }
}

fn endpoint(end: &EndpointView) -> String {
    format!("{}:{}", end.node, end.interface)
}
