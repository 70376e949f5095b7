//! What the controller tells about its switches, links, hosts and flows.
//!
//! Nothing here is stored: each value is computed from what was declared and what the switches reported.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;
use weft_proto::vocab::{CounterValue, EntryKey, MulticastGroupId};

use crate::compile::MeterKey;
use crate::model::{Endpoint, Link};
use crate::quantity::{BitsPerSec, TimeSpan};
use crate::spec::ImpairSpec;
use crate::store::Revision;

/// How far a declared object has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// It is stored.
    Accepted,
    /// It is on its way to the switch.
    Programmed,
    /// The switch forwards by it.
    Realized,
    /// The switch refused it.
    Rejected,
}

/// A fact about an object that is not a phase.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its name, such as `SwitchConnected`.
    pub r#type: ConditionType,
    /// Whether it holds.
    pub status: bool,
    /// Why, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The conditions that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ConditionType {
    /// The controller has a session with the switch.
    SwitchConnected,
    /// Another client is the switch's primary; the controller writes nothing.
    ForeignPrimary,
    /// The switch runs the pipeline that the controller compiles for.
    PipelineReady,
    /// Deletes are held back, because nothing that was declared explains them.
    MassDeleteHeld,
    /// The switch was last written for another cluster, or at a later revision of this store.
    EpochBehind,
    /// The switch holds entries that this controller did not write; it leaves them alone.
    ForeignEntries,
    /// The switch refused some entries.
    EntriesRejected,
    /// The switch refused this object.
    Rejected,
    /// Delay, loss and rate of a link are declared; paths follow them, packets do not.
    ImpairmentNotApplied,
}

/// How far a resource has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceStatus {
    /// The phase.
    pub phase: Phase,
    /// The revision that the switch must reach.
    pub desired_revision: Revision,
    /// The revision that the switch has reached.
    pub observed_revision: Revision,
    /// Facts that the user should see.
    pub conditions: Vec<Condition>,
    /// What the user should know although it is no mistake.
    pub warnings: Vec<String>,
    /// Live counters, summed over the entries, where they were asked for and the switch answered.
    pub counters: Option<CounterValue>,
}

/// A switch.
#[derive(Clone, Debug, PartialEq)]
pub struct SwitchView {
    /// Its name.
    pub name: String,
    /// Its P4Runtime device id.
    pub device_id: u64,
    /// Labels from the topology.
    pub labels: BTreeMap<String, String>,
    /// Number of ports.
    pub ports: usize,
    /// What the controller knows of it now.
    pub status: SwitchStatus,
}

/// What the controller knows of a switch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SwitchStatus {
    /// The session is up, and this controller is primary.
    pub connected: bool,
    /// The switch answers, whoever is primary.
    pub reachable: bool,
    /// Random for each start of the switch; empty when unknown.
    pub boot_id: String,
    /// Name of the pipeline that runs.
    pub pipeline: String,
    /// Its cookie, once this controller has seen to it.
    pub running: Option<u64>,
    /// The cookie of the pipeline that the switch refused last, and its words.
    pub refused: Option<(u64, String)>,
    /// The revision that the switch shall reach.
    pub desired_revision: Revision,
    /// The revision that is being written.
    pub writing_revision: Revision,
    /// The switch has committed everything up to this revision.
    pub observed_revision: Revision,
    /// Counts the desired states of this process; changes of links make one too.
    pub desired_generation: u64,
    /// The generation that is being written.
    pub writing_generation: u64,
    /// The generation that the switch has committed.
    pub observed_generation: u64,
    /// It has been brought to a desired state at least once in this session.
    pub reconciled: bool,
    /// Entries that the controller wants there.
    pub desired_entries: usize,
    /// Entries that the switch holds, by table.
    pub entries: BTreeMap<String, TableUse>,
    /// Entries that others wrote.
    pub foreign_entries: usize,
    /// Entries that the switch refused, with the reason.
    pub rejected: BTreeMap<EntryKey, Rejection>,
    /// Multicast groups that it refused.
    pub rejected_groups: BTreeMap<MulticastGroupId, Rejection>,
    /// Meters that it refused.
    pub rejected_meters: BTreeMap<MeterKey, Rejection>,
    /// Facts about it.
    pub conditions: Vec<Condition>,
    /// Counts since the process started.
    pub totals: SwitchTotals,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableUse {
    /// Entries in it.
    pub used: u64,
    /// Entries that fit.
    pub size: u64,
}

/// Why a switch refused an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The canonical status code, such as `RESOURCE_EXHAUSTED`.
    pub code: &'static str,
    /// What the switch said.
    pub detail: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// What was done to a switch since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchTotals {
    /// Entries and groups written.
    pub writes: u64,
    /// Write requests sent.
    pub batches: u64,
    /// Updates that the switch refused.
    pub rejected: u64,
    /// Complete reads of its state.
    pub reads: u64,
    /// Passes that compared desired and observed state.
    pub reconciles: u64,
    /// Sessions.
    pub connects: u64,
}

/// State of a port or a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OperState {
    /// Carries packets.
    Up,
    /// Carries none.
    Down,
    /// Not reported yet.
    #[default]
    Unknown,
}

/// A port of a switch.
#[derive(Clone, Debug, PartialEq)]
pub struct PortView {
    /// The switch.
    pub switch: String,
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// What it is made of: `tap`, `tun`, `packetSocket`, `memory`, `pcap`, `patch`; empty when unknown.
    pub kind: &'static str,
    /// Its state.
    pub state: OperState,
    /// The largest customer IP packet in bytes.
    pub mtu: u32,
    /// The link it ends.
    pub link: Option<String>,
    /// What is at the other end.
    pub peer: Option<EndpointView>,
    /// Live counters, where they were asked for and the switch answered.
    pub counters: Option<PortCounters>,
}

/// Counters of a port. Packets are wire segments, frames what crossed the device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortCounters {
    /// Received packets.
    pub rx_packets: u64,
    /// Received bytes.
    pub rx_bytes: u64,
    /// Received frames.
    pub rx_frames: u64,
    /// Sent packets.
    pub tx_packets: u64,
    /// Sent bytes.
    pub tx_bytes: u64,
    /// Sent frames.
    pub tx_frames: u64,
    /// Dropped packets by reason.
    pub drops: BTreeMap<String, u64>,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// The node.
    pub node: String,
    /// Its interface or port.
    pub interface: String,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// Its name.
    pub name: String,
    /// Its ends, in file order.
    pub endpoints: [EndpointView; 2],
    /// What was reported.
    pub state: OperState,
    /// What was declared.
    pub desired_state: OperState,
    /// Its cost.
    pub metric: u32,
    /// Risks that it shares with other links.
    pub srlgs: Vec<String>,
    /// Its capacity, where one is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<BitsPerSec>,
    /// Its latency, where one is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<TimeSpan>,
    /// Declared impairments of what the first end sends; of both directions, unless the file tells them apart.
    pub impair: ImpairSpec,
    /// Facts that matter for it.
    pub conditions: Vec<Condition>,
    /// The revision that declared something of it last; its ETag.
    pub revision: Revision,
}

impl LinkView {
    /// A link as it is declared; nothing has been reported of it.
    pub(crate) fn new(link: &Link) -> Self {
        let end = |end: &Endpoint| EndpointView {
            node: end.node.clone(),
            interface: end.interface.clone(),
        };
        let is_impaired = !link.impair_a.is_empty() || !link.impair_b.is_empty();
        let latency = link
            .latency
            .map(|latency| TimeSpan(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)));
        Self {
            name: link.name.clone(),
            endpoints: [end(&link.a), end(&link.b)],
            state: OperState::Unknown,
            desired_state: if link.up {
                OperState::Up
            } else {
                OperState::Down
            },
            metric: link.metric,
            srlgs: link.srlgs.clone(),
            capacity: link.capacity_bps.map(BitsPerSec),
            latency,
            impair: link.impair_a.clone(),
            conditions: if is_impaired {
                vec![Condition {
                    r#type: ConditionType::ImpairmentNotApplied,
                    status: true,
                    detail: "paths follow delay and rate, packets are not impaired yet".to_owned(),
                }]
            } else {
                Vec::new()
            },
            revision: Revision::default(),
        }
    }
}

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostView {
    /// Its name.
    pub name: String,
    /// Its kind: `host` or `router`.
    pub kind: String,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceView>,
    /// It was written in the file, not learnt.
    pub declared: bool,
}

/// A host's interface.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceView {
    /// Its name in the host.
    pub name: String,
    /// Its MAC address.
    pub mac: String,
    /// Its addresses with prefix lengths.
    pub addresses: Vec<String>,
    /// The switch port it is attached to.
    pub attachment: EndpointView,
    /// The network it is in.
    pub network: String,
}

/// A node of the topology.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// `switch`, `host` or `router`.
    pub kind: String,
    /// Labels from the topology.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Nodes and links.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopologyView {
    /// The topology's name.
    pub name: String,
    /// `auto` or `none`.
    pub fabric: &'static str,
    /// Nodes by name.
    pub nodes: Vec<NodeView>,
    /// Links by name.
    pub links: Vec<LinkView>,
    /// The revision that this shows.
    pub revision: Revision,
}

/// Where the data plane is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataplaneAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(std::path::PathBuf),
    /// The same process.
    InProcess,
}

impl std::fmt::Display for DataplaneAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::InProcess => f.write_str("in-process"),
        }
    }
}

/// Numbers for monitoring.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// By switch.
    pub switches: BTreeMap<String, SwitchStatus>,
    /// Flows that are stored.
    pub flows: usize,
    /// The store's revision.
    pub revision: Revision,
}
