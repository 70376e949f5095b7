//! Nodes: switches, hosts and routers. The same settings stand under defaults, kinds, groups and nodes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{OneOrMany, exactly_one_of};
use crate::quantity::TimeSpan;

/// Settings of a node. What is left out comes from group, kind and defaults, in this order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeSpec {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<NodeKind>,
    /// The group whose settings it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Free labels; those of group, kind and defaults are added.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Largest IP packet, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// Addresses of the first interface.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub ip: OneOrMany<Address>,
    /// Where the host sends what is not for its own subnet.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub gateway: OneOrMany<IpAddr>,
    /// The switch, or `switch:port`, of a host that no link names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach: Option<String>,
    /// The device that joins it to its switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortKindSpec>,
    /// Built-in responders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<ListenSpec>,
    /// Programs to start in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<RunSpec>,
    /// Settings of interfaces by name, for hosts with several.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub interfaces: IndexMap<String, InterfaceSpec>,
}

/// Settings of one interface of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InterfaceSpec {
    /// Its addresses.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub ip: OneOrMany<Address>,
    /// Where the host sends what is not for its own subnet.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub gateway: OneOrMany<IpAddr>,
    /// Largest IP packet, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NodeKind {
    /// A host.
    Host,
    /// A switch.
    Switch,
    /// A host that forwards.
    Router,
}

impl NodeKind {
    /// Its word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Switch => "switch",
            Self::Router => "router",
        }
    }
}

/// The device that joins a host to its switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PortKindSpec {
    /// A TAP device.
    Tap,
    /// A TUN device.
    Tun,
    /// A veth pair.
    Veth,
}

/// An MTU: the largest IP packet, in bytes, 68 (RFC 791) to 65521 (what a TAP device takes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Mtu(u32);

impl JsonSchema for Mtu {
    fn schema_name() -> Cow<'static, str> {
        "Mtu".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 68, "maximum": 65_521 })
    }
}

impl Mtu {
    /// Ethernet's.
    pub const DEFAULT: Self = Self(1500);

    /// The number of bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

impl TryFrom<u64> for Mtu {
    type Error = String;

    fn try_from(bytes: u64) -> Result<Self, String> {
        match u32::try_from(bytes) {
            Ok(size @ 68..=65_521) => Ok(Self(size)),
            _ => Err(format!("mtu {bytes} is out of range [68, 65521]")),
        }
    }
}

/// An address, with or without the prefix length of its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// `10.0.0.1/24`.
    Net(IpNet),
    /// `10.0.0.1`: the subnet that holds it gives the length.
    Bare(IpAddr),
}

impl Address {
    /// The address alone.
    pub fn addr(self) -> IpAddr {
        match self {
            Self::Net(net) => net.addr(),
            Self::Bare(addr) => addr,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = if text.contains('/') {
            text.parse().map(Self::Net).ok()
        } else {
            text.parse().map(Self::Bare).ok()
        };
        parsed.ok_or_else(|| format!("`{text}` is no address, for example `10.0.0.1/24`"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Bare(addr) => addr.fmt(f),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]+)(/[0-9]{1,3})?$";
        json_schema!({ "type": "string", "pattern": pattern, "examples": ["10.0.0.1/24", "2001:db8::1/64"] })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A built-in responder: exactly one of `tcp`, `udp`, `http` and `dns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("oneOf" = exactly_one_of(&["tcp", "udp", "http", "dns"])))]
pub struct ListenSpec {
    /// Answers TCP connections on this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<u16>,
    /// Answers datagrams on this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<u16>,
    /// Answers HTTP requests on this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<u16>,
    /// Answers DNS queries on this port, by UDP and TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<u16>,
    /// What `tcp` and `udp` answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// The status that `http` answers, 200 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body that `http` answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What `dns` knows: for each name its addresses, or the other name that it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<BTreeMap<String, OneOrMany<String>>>,
}

/// A program that runs in a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunSpec {
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// Its working directory; the file's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Added to its environment, in which `WEFT_LAB` and `WEFT_HOST` are names, and `WEFT_DIR` is a folder of its own that
    /// is gone with the lab.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What tells that it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<ReadySpec>,
}

/// What tells that a program is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadySpec {
    /// It accepts connections on this port.
    pub tcp: u16,
    /// The longest that this may take; 30 s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<TimeSpan>,
}
