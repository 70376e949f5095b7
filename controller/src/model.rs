//! A lab with nothing left to choose: every node, port, address and link by name and number.
//!
//! The model is what [`expand`](crate::expand) makes of a document: ranges and groups are gone, every host is attached, every
//! interface has its name, MAC and addresses. The compile, the lab and the API read it; nobody changes it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use weft_proto::vocab::{DeviceId, MacAddr, PortNo};

use crate::origin::Origins;
use crate::spec::{ImpairSpec, TestSpec};

/// The lab, complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The lab's name.
    pub name: String,
    /// Seeds everything random.
    pub seed: u64,
    /// Whether the built-in fabric forwards, or only what users write.
    pub fabric: FabricMode,
    /// Data threads, 1 and up.
    pub workers: u16,
    /// How long a data thread polls before it sleeps.
    pub spin: Duration,
    /// Whether frames may leave to hosts with unfinished checksums and whole super-packets.
    pub offloads: bool,
    /// Switches by name.
    pub switches: BTreeMap<String, Switch>,
    /// Hosts and routers by name.
    pub hosts: BTreeMap<String, Host>,
    /// Links by name, those to hosts included.
    pub links: BTreeMap<String, Link>,
    /// Networks by name; [`Model::DEFAULT_NETWORK`] holds every host that names no subnet.
    pub networks: BTreeMap<String, Network>,
    /// What the file expects of the lab, in file order.
    pub tests: Vec<TestSpec>,
    /// Claims that are reported as skipped, as text.
    pub verify: Vec<String>,
    /// Declared and accepted, but not yet built: what to tell the user, in file order.
    pub warnings: Vec<String>,
    /// Where the parts stand in the file.
    pub origins: Origins,
}

impl Model {
    /// The network of hosts that name no subnet.
    pub const DEFAULT_NETWORK: &'static str = "default";

    /// The switch with this device id.
    pub fn switch_by_device(&self, device: DeviceId) -> Option<&Switch> {
        self.switches
            .values()
            .find(|switch| switch.device_id == device)
    }

    /// A link by its name or by either endpoint, written `node:interface`.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.get(name).or_else(|| {
            let (node, interface) = name.split_once(':')?;
            self.links
                .values()
                .find(|link| link.end(node, interface).is_some())
        })
    }
}

/// Who decides how packets are forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FabricMode {
    /// The controller, from the topology.
    #[default]
    Auto,
    /// Nobody: every hop is programmed by hand.
    None,
}

/// A switch with its ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch {
    /// Its name.
    pub name: String,
    /// Its P4Runtime device id: 1 and up, in file order.
    pub device_id: DeviceId,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Its ports by number.
    pub ports: BTreeMap<PortNo, Port>,
}

impl Switch {
    /// A port's number by its name.
    pub fn port_by_name(&self, name: &str) -> Option<PortNo> {
        self.ports
            .iter()
            .find(|(_, port)| port.name == name)
            .map(|(number, _)| *number)
    }
}

/// A port and what is at its other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, unique on the switch, at most 15 bytes.
    pub name: String,
    /// The other end.
    pub peer: Peer,
    /// The link that leads there.
    pub link: String,
    /// Largest customer IP packet, in bytes.
    pub mtu: u32,
}

/// The other end of a port's link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A port of a switch.
    Switch {
        /// The switch's name.
        switch: String,
        /// Its port.
        port: PortNo,
    },
    /// An interface of a host.
    Host {
        /// The host's name.
        host: String,
        /// The interface's name, as the host sees it.
        interface: String,
    },
}

/// A host or a router.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Host, or router.
    pub kind: HostKind,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Its interfaces, in file order; at least one.
    pub interfaces: Vec<Interface>,
    /// Built-in responders.
    pub listen: Vec<Listen>,
    /// Programs to start in it.
    pub run: Vec<Run>,
}

impl Host {
    /// The first declared address, by which others reach this host.
    pub fn address(&self) -> Option<IpAddr> {
        self.interfaces
            .iter()
            .find_map(|interface| interface.addresses.first())
            .map(IpNet::addr)
    }
}

/// What a node that is no switch does with packets for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostKind {
    /// Drops them.
    #[default]
    Host,
    /// Forwards them.
    Router,
}

/// An interface of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, as the host sees it, at most 15 bytes.
    pub name: String,
    /// Its address, locally administered, derived from lab, node and interface. Where there is no Ethernet, the fabric
    /// alone knows it.
    pub mac: MacAddr,
    /// Its addresses with the prefix length of their subnet.
    pub addresses: Vec<IpNet>,
    /// Where packets to other subnets go: at most one for IPv4 and one for IPv6.
    pub gateways: Vec<IpAddr>,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// The device that joins it to its switch.
    pub port_kind: PortKind,
    /// The network that its switch port belongs to.
    pub network: String,
    /// Where it is attached.
    pub attachment: Attachment,
}

/// A switch's port where a host is attached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The switch's name.
    pub switch: String,
    /// Its port.
    pub port: PortNo,
}

/// The device that joins a host's interface to a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortKind {
    /// Whatever carries Ethernet frames here: a TAP device, else a veth pair.
    #[default]
    Any,
    /// A TAP device: Ethernet frames.
    Tap,
    /// A TUN device: IP packets.
    Tun,
    /// A veth pair with a packet socket.
    Veth,
}

impl PortKind {
    /// Whether its packets have an Ethernet header.
    pub fn is_l2(self) -> bool {
        self != Self::Tun
    }
}

/// A small built-in server in a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Answers each TCP connection with `reply`, then closes it.
    Tcp {
        /// The port.
        port: u16,
        /// What it sends.
        reply: String,
    },
    /// Answers each datagram with `reply`.
    Udp {
        /// The port.
        port: u16,
        /// What it sends.
        reply: String,
    },
    /// Answers each HTTP request.
    Http {
        /// The port.
        port: u16,
        /// The status code.
        status: u16,
        /// The body.
        body: String,
    },
    /// Answers DNS queries by UDP and TCP.
    Dns {
        /// The port.
        port: u16,
        /// What it knows, by names in lower case without the dot at the end.
        records: BTreeMap<String, Vec<DnsRecord>>,
    },
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsRecord {
    /// An address: an A or an AAAA record.
    Address(IpAddr),
    /// Another name: a CNAME record.
    Alias(String),
}

impl Listen {
    /// The port it listens on.
    pub fn port(&self) -> u16 {
        match self {
            Self::Tcp { port, .. }
            | Self::Udp { port, .. }
            | Self::Http { port, .. }
            | Self::Dns { port, .. } => *port,
        }
    }
}

/// A program started in a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Program and arguments; at least the program.
    pub cmd: Vec<String>,
    /// Its working directory.
    pub cwd: Option<String>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// What tells that it is ready.
    pub ready: Option<Ready>,
    /// Where it is declared: a JSON pointer into the file.
    pub declared_at: String,
}

/// A program is ready when something listens on a TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The port.
    pub tcp: u16,
    /// The longest that this may take.
    pub within: Duration,
}

/// A link between two switches, or between a switch and a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// One end, the first in the file.
    pub a: Endpoint,
    /// The other end.
    pub b: Endpoint,
    /// Cost of crossing it, 1 and up.
    pub metric: u32,
    /// Shared-risk link groups: links of one group fail together.
    pub srlgs: Vec<String>,
    /// Capacity in bits per second, where declared.
    pub capacity_bps: Option<u64>,
    /// Declared latency.
    pub latency: Option<Duration>,
    /// Declared state.
    pub up: bool,
    /// Declared impairments of what `a` sends.
    pub impair_a: ImpairSpec,
    /// Declared impairments of what `b` sends.
    pub impair_b: ImpairSpec,
}

impl Link {
    /// The end at this interface of this node.
    pub fn end(&self, node: &str, interface: &str) -> Option<&Endpoint> {
        [&self.a, &self.b]
            .into_iter()
            .find(|end| end.node == node && end.interface == interface)
    }

    /// The end that is not at this node; of a link from a node to itself, `b`.
    pub fn other(&self, node: &str) -> &Endpoint {
        if self.a.node == node {
            &self.b
        } else {
            &self.a
        }
    }
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The node's name.
    pub node: String,
    /// The interface's or port's name.
    pub interface: String,
    /// The port's number, where the node is a switch.
    pub port: Option<PortNo>,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.node, self.interface)
    }
}

/// A domain within which everybody reaches everybody, and nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its number, 1 and up.
    pub vni: u32,
    /// Its subnets, sorted by prefix; none overlaps another.
    pub subnets: Vec<Subnet>,
}

/// Hosts that reach each other by Ethernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The prefix, host bits zero.
    pub prefix: IpNet,
    /// Addresses for which the fabric answers and routes, sorted; empty where nobody needs one.
    pub gateways: Vec<IpAddr>,
}
