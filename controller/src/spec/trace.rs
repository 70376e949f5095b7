//! Questions for what becomes of a packet, and their answers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::quantity::TimeSpan;

/// A packet to trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TraceRequest {
    /// How.
    #[serde(default)]
    pub mode: TraceMode,
    /// How long a packet is waited for, live; 5 s where it is left out, at most 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<TimeSpan>,
    /// The host that sends it.
    pub from: TraceEnd,
    /// Whom it is for, a host or an address; left out where `packet` has the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<TraceEnd>,
    /// What it is, apart from its ends; an echo request where nothing is said.
    #[serde(default)]
    pub packet: PacketSpec,
}

/// How a packet is traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TraceMode {
    /// By the switches' state as it is; nothing is sent.
    #[default]
    Static,
    /// The next real packet that is sent; headers that are not named may have any value.
    Live,
}

/// One end: a name or an address, or an object that names a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TraceEnd {
    /// A host's name, or an IP address.
    Name(String),
    /// A host's name.
    Host {
        /// The name.
        host: String,
    },
}

impl Default for TraceEnd {
    fn default() -> Self {
        Self::Name(String::new())
    }
}

impl TraceEnd {
    /// The name or the address.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Host { host: name } => name,
        }
    }
}

/// Header fields of a packet, by the names that flows match. What is left out follows from the ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PacketSpec {
    /// Another source MAC address than the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eth_src: Option<String>,
    /// Another destination MAC address than the next hop's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eth_dst: Option<String>,
    /// Source address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4_src: Option<Ipv4Addr>,
    /// Destination address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4_dst: Option<Ipv4Addr>,
    /// Source address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_src: Option<Ipv6Addr>,
    /// Destination address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_dst: Option<Ipv6Addr>,
    /// `tcp`, `udp`, `icmp` or a number; follows from the ports where they are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_proto: Option<Value>,
    /// 64 where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_ttl: Option<u8>,
    /// 0 where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_dscp: Option<u8>,
    /// Source port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_src: Option<u16>,
    /// Destination port; 80 where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_dst: Option<u16>,
    /// Source port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_src: Option<u16>,
    /// Destination port; 53 where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_dst: Option<u16>,
    /// Bytes of payload; 56 where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u16>,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceAnswer {
    /// The end.
    pub verdict: TraceVerdict,
    /// Where.
    pub at: TracePlace,
    /// Why, where it is not what was asked for: the reason that the switch counts drops by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who wanted it so, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<TraceCause>,
    /// The switches on the way.
    pub hops: Vec<TraceHop>,
    /// Other copies that the packet became, by their ends; not those whose way is told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub copies: BTreeMap<String, usize>,
    /// The packet went another way than its headers and the switches' state foretell; the tables of its hops are not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub diverged: bool,
    /// The packet became so many copies that not all of them were followed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// The end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TraceVerdict {
    /// It leaves the switches at a port.
    Delivered,
    /// It is dropped.
    Dropped,
    /// The controller gets it, and nobody else.
    ToController,
    /// No packet came, live.
    NotSeen,
}

/// Where a packet ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracePlace {
    /// The host that gets it, or that cannot send it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The last switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// Its port, where it leaves or would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The table whose entry decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

/// Who wanted something: the resource behind an entry, or behind a port's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceCause {
    /// What kind of resource it is.
    pub kind: CauseKind,
    /// Its name; of a raw entry `TABLE/NAME`, of a subnet its prefix.
    pub name: String,
    /// What it has to do with the packet, where the name does not say it: `route to host h8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whose it is, of what was declared over the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The topology file that declares it, as its user named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in that file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// Kinds of causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CauseKind {
    /// A flow of this switch.
    Flow,
    /// A group of this switch.
    Group,
    /// A raw entry that was declared.
    Entry,
    /// A host, a router or a switch.
    Node,
    /// A link.
    Link,
    /// A subnet.
    Subnet,
    /// A network.
    Network,
    /// The built-in fabric itself; the name is a table's.
    Fabric,
    /// Nothing matched in this table.
    NoMatch,
    /// An entry of this table that nobody declared: another P4Runtime client wrote it, or it is about to go.
    #[default]
    Foreign,
}

/// One switch on the way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceHop {
    /// The switch.
    pub switch: String,
    /// The port by which the packet enters.
    pub in_port: String,
    /// Headers that the switch finds, in the order of the bytes.
    pub headers: Vec<String>,
    /// What it looks up, in order.
    pub tables: Vec<TraceTable>,
    /// The port by which the packet leaves; left out where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_port: Option<String>,
}

/// A lookup, or statements outside of tables that changed the packet.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceTable {
    /// The table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The entry that matched; left out where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<TraceEntry>,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<TraceAction>,
    /// Among what that was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<TraceChoice>,
    /// Header fields that changed, each `{ "from": …, "to": … }`; one is left out where the header came or went.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rewrite: BTreeMap<String, TraceChange>,
    /// The packet is dropped by it, for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<String>,
}

/// An entry that matched.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceEntry {
    /// Its key: fields that count.
    pub r#match: BTreeMap<String, Value>,
    /// P4Runtime's priority, where the table has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Who wanted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<TraceCause>,
}

/// An action with its arguments in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceAction {
    /// The action.
    pub name: String,
    /// Its arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
}

/// Members of a group, or of an entry's action set, of which one is chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceChoice {
    /// The group of the table's action profile, where the entry refers to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// All members, in order.
    pub members: Vec<TraceMember>,
}

/// A member that may be chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceMember {
    /// The member of the table's action profile, where the entry has no set of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<u32>,
    /// Its weight.
    pub weight: u32,
    /// The port with which it is alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_port: Option<String>,
    /// What became of it.
    pub state: TraceMemberState,
}

/// Whether a member was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TraceMemberState {
    /// It was.
    Chosen,
    /// Another one was.
    #[default]
    Alive,
    /// It could not be: its port is down.
    Down,
}

/// A field's values.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceChange {
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}
