//! A lab in memory: a model, the switches that its compile programs, and the links between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use weft_controller::compile::{Change, Desired, Fabric, Plan, Subject, Update, diff};
use weft_controller::model::{
    Attachment, Endpoint, FabricMode, Host, HostKind, Interface, Link, Model, Network, Peer, Port,
    PortKind, Subnet, Switch,
};
use weft_proto::vocab::{CounterValue, DeviceId, MacAddr, PortNo};
use weft_switch::datapath::{Datapath, Emit, Nanos, Scratch};
use weft_switch::packet::Packet;
use weft_switch::ports::{PortInfo, PortSet};
use weft_switch::program::Program;
use weft_switch::state::State;

use crate::frames::{Ends, Ends6};

/// No test needs more switches on one packet's way, copies included.
const HOP_LIMIT: usize = 5_000;

// === the model ===

/// A model in the making.
#[derive(Debug, Default)]
pub struct Builder {
    model: Model,
}

impl Builder {
    pub fn switches(names: &[&str]) -> Self {
        let mut model = Model {
            name: "test".into(),
            workers: 1,
            ..Model::default()
        };
        for (name, id) in names.iter().zip(1..) {
            model.switches.insert(
                (*name).into(),
                Switch {
                    name: (*name).into(),
                    device_id: DeviceId(id),
                    labels: BTreeMap::new(),
                    ports: BTreeMap::new(),
                },
            );
        }
        Self { model }.network(Model::DEFAULT_NETWORK, 1)
    }

    pub fn network(mut self, name: &str, vni: u32) -> Self {
        let network = Network {
            vni,
            subnets: Vec::new(),
        };
        self.model.networks.insert(name.into(), network);
        self
    }

    /// A subnet of the default network, with the fabric as gateway.
    pub fn subnet(mut self, prefix: &str, gateway: &str) -> Self {
        let network = self.model.networks.get_mut(Model::DEFAULT_NETWORK).unwrap();
        network.subnets.push(Subnet {
            prefix: prefix.parse().unwrap(),
            gateways: vec![gateway.parse().unwrap()],
        });
        self
    }

    pub fn without_fabric(mut self) -> Self {
        self.model.fabric = FabricMode::None;
        self
    }

    pub fn link(mut self, a: &str, b: &str) -> Self {
        let name = format!("{a}--{b}");
        let (port_a, port_b) = (self.next_port(a), self.next_port(b));
        for (node, port, peer, peer_port) in [(a, port_a, b, port_b), (b, port_b, a, port_a)] {
            let peer = Peer::Switch {
                switch: peer.into(),
                port: peer_port,
            };
            self.port(node, port, peer, &name);
        }
        self.add_link(name, (a, Some(port_a)), (b, Some(port_b)));
        self
    }

    pub fn host(self, name: &str, switch: &str, address: &str) -> Self {
        self.host_in(Model::DEFAULT_NETWORK, name, switch, address)
    }

    pub fn host_in(mut self, network: &str, name: &str, switch: &str, address: &str) -> Self {
        let port = self.next_port(switch);
        let number = u32::try_from(self.model.hosts.len()).unwrap() + 1;
        let [a, b, c, d] = number.to_be_bytes();
        let link = format!("{name}--{switch}");
        let peer = Peer::Host {
            host: name.into(),
            interface: "eth0".into(),
        };
        self.port(switch, port, peer, &link);
        self.add_link(link, (name, None), (switch, Some(port)));
        let interface = Interface {
            name: "eth0".into(),
            mac: MacAddr([0x02, 0, a, b, c, d]),
            addresses: vec![address.parse().unwrap()],
            gateways: Vec::new(),
            mtu: 1500,
            port_kind: PortKind::Tap,
            network: network.into(),
            attachment: Attachment {
                switch: switch.into(),
                port,
            },
        };
        let host = Host {
            name: name.into(),
            kind: HostKind::Host,
            labels: BTreeMap::new(),
            interfaces: vec![interface],
            listen: Vec::new(),
            run: Vec::new(),
        };
        self.model.hosts.insert(name.into(), host);
        self
    }

    /// Gives a host another address.
    pub fn also(mut self, host: &str, address: &str) -> Self {
        let host = self.model.hosts.get_mut(host).unwrap();
        let address = address.parse().unwrap();
        host.interfaces[0].addresses.push(address);
        self
    }

    /// Gives every host an address of one IPv6 subnet, too.
    pub fn also_ipv6(self) -> Self {
        let hosts: Vec<String> = self.model.hosts.keys().cloned().collect();
        let numbered = hosts.iter().zip(1..);
        numbered.fold(self, |builder, (host, number)| {
            builder.also(host, &format!("2001:db8::{number:x}/64"))
        })
    }

    /// Limits what passes over a link.
    pub fn mtu(mut self, link: &str, mtu: u32) -> Self {
        let switches = self.model.switches.values_mut();
        let ports = switches.flat_map(|switch| switch.ports.values_mut());
        let ends = ports.filter(|port| port.link == link);
        assert!(ends.map(|port| port.mtu = mtu).count() > 0);
        self
    }

    /// Makes a host's interface a layer-3 one.
    pub fn tun(mut self, host: &str) -> Self {
        let host = self.model.hosts.get_mut(host).unwrap();
        host.interfaces[0].port_kind = PortKind::Tun;
        self
    }

    pub fn build(self) -> Model {
        self.model
    }

    pub fn lab(self) -> Lab {
        Lab::new(self.build())
    }

    fn next_port(&self, switch: &str) -> PortNo {
        let ports = &self.model.switches[switch].ports;
        PortNo(ports.keys().last().map_or(1, |last| last.0 + 1))
    }

    fn port(&mut self, switch: &str, number: PortNo, peer: Peer, link: &str) {
        let port = Port {
            name: format!("p{number}"),
            peer,
            link: link.into(),
            mtu: 1500,
        };
        let switch = self.model.switches.get_mut(switch).unwrap();
        assert!(switch.ports.insert(number, port).is_none());
    }

    fn add_link(&mut self, name: String, a: (&str, Option<PortNo>), b: (&str, Option<PortNo>)) {
        let end = |(node, port): (&str, Option<PortNo>)| Endpoint {
            node: node.into(),
            interface: port.map_or_else(|| "eth0".into(), |port| format!("p{port}")),
            port,
        };
        let link = Link {
            name: name.clone(),
            a: end(a),
            b: end(b),
            metric: 1,
            srlgs: Vec::new(),
            capacity_bps: None,
            latency: None,
            up: true,
            impair_a: Default::default(),
            impair_b: Default::default(),
        };
        assert!(self.model.links.insert(name, link).is_none());
    }
}

/// Each leaf linked to each spine, `hosts` hosts per leaf in one subnet.
pub fn leaf_spine(spines: usize, leaves: usize, hosts: usize) -> Builder {
    let spine_names: Vec<_> = (1..=spines).map(|n| format!("spine{n}")).collect();
    let leaf_names: Vec<_> = (1..=leaves).map(|n| format!("leaf{n}")).collect();
    let names: Vec<&str> = spine_names
        .iter()
        .chain(&leaf_names)
        .map(String::as_str)
        .collect();
    let mut builder = Builder::switches(&names);
    for leaf in &leaf_names {
        for spine in &spine_names {
            builder = builder.link(leaf, spine);
        }
    }
    for number in 1..=leaves * hosts {
        let leaf = &leaf_names[(number - 1) / hosts];
        let address = format!("10.0.{}.{}/16", number / 250, number % 250 + 1);
        builder = builder.host(&format!("h{number}"), leaf, &address);
    }
    builder
}

/// A ring of switches, one host at each.
pub fn ring(count: usize) -> Builder {
    let names: Vec<_> = (1..=count).map(|n| format!("s{n}")).collect();
    let mut builder = Builder::switches(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for (at, name) in names.iter().enumerate() {
        builder = builder.link(name, &names[(at + 1) % count]);
    }
    for (name, number) in names.iter().zip(1..) {
        builder = builder.host(&format!("h{number}"), name, &format!("10.0.0.{number}/24"));
    }
    builder
}

/// The same with IPv6 beside it, 2001:db8:1::/64 and 2001:db8:2::/64.
pub fn dual() -> Builder {
    let hosts = [("a", "1::1"), ("b", "1::2"), ("c", "2::1"), ("d", "2::2")];
    let builder = routed()
        .subnet("2001:db8:1::/64", "2001:db8:1::fe")
        .subnet("2001:db8:2::/64", "2001:db8:2::fe");
    hosts.iter().fold(builder, |builder, (host, end)| {
        builder.also(host, &format!("2001:db8:{end}/64"))
    })
}

/// Three switches in a row with hosts `a`, `b` in 10.0.1.0/24 and `c`, `d` in 10.0.2.0/24, `a` and `c` at the first.
pub fn routed() -> Builder {
    Builder::switches(&["s1", "s2", "s3"])
        .link("s1", "s2")
        .link("s2", "s3")
        .subnet("10.0.1.0/24", "10.0.1.254")
        .subnet("10.0.2.0/24", "10.0.2.254")
        .host("a", "s1", "10.0.1.1/24")
        .host("b", "s3", "10.0.1.2/24")
        .host("c", "s1", "10.0.2.1/24")
        .host("d", "s3", "10.0.2.2/24")
}

// === the lab ===

/// Ids and values of a packet-in.
pub type Metadata = Vec<(u32, u128)>;

/// What became of a frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames that reached hosts, in the order of their arrival.
    pub delivered: Vec<(String, Vec<u8>)>,
    /// Drops: switch and reason.
    pub drops: Vec<(String, String)>,
    /// Switches that the frame and its copies crossed, each as often as it processed one.
    pub hops: Vec<String>,
    /// Packets for the controller: switch, metadata, bytes.
    pub packet_ins: Vec<(String, Metadata, Vec<u8>)>,
}

impl Outcome {
    /// The hosts that got something, sorted, each as often as it did.
    pub fn hosts(&self) -> Vec<&str> {
        let mut hosts: Vec<_> = self
            .delivered
            .iter()
            .map(|(host, _)| host.as_str())
            .collect();
        hosts.sort_unstable();
        hosts
    }

    /// The reasons of drops, in order.
    pub fn reasons(&self) -> Vec<&str> {
        self.drops
            .iter()
            .map(|(_, reason)| reason.as_str())
            .collect()
    }

    /// The one frame that reached the one host.
    #[track_caller]
    pub fn only(&self, host: &str) -> &[u8] {
        assert_eq!(self.hosts(), [host], "drops: {:?}", self.drops);
        &self.delivered[0].1
    }
}

/// All switches of a model, programmed.
#[derive(Debug)]
pub struct Lab {
    pub model: Model,
    pub program: Arc<Program>,
    pub down: BTreeSet<String>,
    pub now: Nanos,
    datapaths: BTreeMap<String, Datapath>,
    desired: BTreeMap<String, Desired>,
    scratch: Scratch,
}

impl Lab {
    pub fn new(model: Model) -> Self {
        let program = Arc::new(Program::new(weft_switch::fabric::pipeline()).unwrap());
        let datapaths = model
            .switches
            .values()
            .map(|switch| {
                let is_l2 = |port: &Port| match &port.peer {
                    Peer::Switch { .. } => true,
                    Peer::Host { host, .. } => {
                        model.hosts[host].interfaces[0].port_kind != PortKind::Tun
                    }
                };
                let info = |port: &Port| PortInfo {
                    mtu: port.mtu,
                    up: true,
                    is_l2: is_l2(port),
                };
                let ports: PortSet = switch
                    .ports
                    .iter()
                    .map(|(number, port)| (*number, info(port)))
                    .collect();
                let datapath = Datapath {
                    device: switch.device_id,
                    state: State::new(Arc::clone(&program)),
                    ports,
                    salt: switch.device_id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                };
                (switch.name.clone(), datapath)
            })
            .collect();
        let mut lab = Self {
            model,
            program,
            down: BTreeSet::new(),
            now: Nanos(1),
            datapaths,
            desired: BTreeMap::new(),
            scratch: Scratch::default(),
        };
        lab.reconcile();
        lab
    }

    /// Compiles the model and writes the difference; returns the number of writes for each switch that had any.
    pub fn reconcile(&mut self) -> BTreeMap<String, usize> {
        let model = self.model.clone();
        let fabric = Fabric::new(&model, &self.down, self.program.schema()).unwrap();
        let mut writes = BTreeMap::new();
        for (name, desired) in fabric.switches() {
            let observed = self
                .desired
                .insert(name.into(), desired.clone())
                .unwrap_or_default();
            let plan = diff(&observed, &desired);
            if !plan.is_empty() {
                writes.insert(name.to_owned(), plan.count());
            }
            self.write(name, &plan);
        }
        writes
    }

    pub fn write(&mut self, switch: &str, plan: &Plan) {
        let state = &mut self.datapaths.get_mut(switch).unwrap().state;
        for Update { change, subject } in plan.updates() {
            match (subject, change) {
                (Subject::Entry(entry), Change::Insert) => state.insert(entry),
                (Subject::Entry(entry), Change::Modify) => state.modify(entry),
                (Subject::Entry(entry), Change::Delete) => state.delete(entry),
                (Subject::Group(group), Change::Insert) => state.insert_group(group),
                (Subject::Group(group), Change::Modify) => state.modify_group(group),
                (Subject::Group(group), Change::Delete) => state.delete_group(group.id),
                (Subject::Meter(cell), _) => {
                    state.set_meter(cell.meter, Some(cell.index), cell.config)
                }
            }
            .unwrap();
        }
    }

    pub fn datapath(&mut self, switch: &str) -> &mut Datapath {
        self.datapaths.get_mut(switch).unwrap()
    }

    /// Sum of a table's counters.
    pub fn counted(&self, switch: &str, table: &str) -> CounterValue {
        let key = (switch.to_owned(), table.to_owned());
        self.counters().remove(&key).unwrap_or_default()
    }

    /// Sums of all tables' counters that are not zero, by switch and table.
    pub fn counters(&self) -> BTreeMap<(String, String), CounterValue> {
        let mut totals: BTreeMap<_, CounterValue> = BTreeMap::new();
        for (switch, datapath) in &self.datapaths {
            for table in self.program.schema().tables() {
                let entries = datapath.state.entries(table.id);
                for value in entries.iter().filter_map(|view| view.counter) {
                    let value = value.value();
                    let total = totals
                        .entry((switch.clone(), table.name.clone()))
                        .or_default();
                    total.packets += value.packets;
                    total.bytes += value.bytes;
                }
            }
        }
        totals.retain(|_, value| *value != CounterValue::default());
        totals
    }

    pub fn interface(&self, host: &str) -> &Interface {
        &self.model.hosts[host].interfaces[0]
    }

    pub fn mac(&self, host: &str) -> MacAddr {
        self.interface(host).mac
    }

    pub fn ip(&self, host: &str) -> Ipv4Addr {
        match self.interface(host).addresses[0].addr() {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(_) => panic!("hosts of these tests have IPv4 addresses"),
        }
    }

    pub fn ip6(&self, host: &str) -> Ipv6Addr {
        let addresses = self.interface(host).addresses.iter();
        let mut v6 = addresses.filter_map(|net| match net.addr() {
            IpAddr::V6(ip) => Some(ip),
            IpAddr::V4(_) => None,
        });
        v6.next().unwrap()
    }

    /// An IPv6 packet between two hosts of one subnet.
    pub fn ends6(&self, src: &str, dst: &str) -> Ends6 {
        Ends6 {
            src_mac: self.mac(src),
            dst_mac: self.mac(dst),
            src: self.ip6(src),
            dst: self.ip6(dst),
            hop_limit: 64,
        }
    }

    /// A packet between two hosts of one subnet.
    pub fn ends(&self, src: &str, dst: &str) -> Ends {
        Ends {
            src_mac: self.mac(src),
            dst_mac: self.mac(dst),
            src: self.ip(src),
            dst: self.ip(dst),
            ttl: 64,
        }
    }

    /// Sends a frame from a host.
    pub fn send(&mut self, host: &str, frame: &[u8]) -> Outcome {
        self.send_packet(host, Packet::from_bytes(frame)).0
    }

    /// Sends a packet with its offload state; also returns what was delivered with its own.
    pub fn send_packet(&mut self, host: &str, packet: Packet) -> (Outcome, Vec<Packet>) {
        let Attachment { switch, port } = self.interface(host).attachment.clone();
        self.inject(&switch, port, packet)
    }

    /// Puts a packet into a switch and follows all that comes of it.
    pub fn inject(&mut self, switch: &str, port: PortNo, packet: Packet) -> (Outcome, Vec<Packet>) {
        let mut out = Vec::new();
        let mut outcome = Outcome::default();
        let datapath = &self.datapaths[switch];
        datapath.process(&mut self.scratch, port, packet, self.now, &mut out);
        outcome.hops.push(switch.to_owned());
        let delivered = self.follow(switch, out, &mut outcome);
        (outcome, delivered)
    }

    /// Sends a packet-out.
    pub fn packet_out(&mut self, switch: &str, metadata: &[(u32, u128)], frame: &[u8]) -> Outcome {
        let mut out = Vec::new();
        let mut outcome = Outcome::default();
        let packet = Packet::from_bytes(frame);
        let datapath = &self.datapaths[switch];
        datapath.packet_out(&mut self.scratch, metadata, packet, self.now, &mut out);
        self.follow(switch, out, &mut outcome);
        outcome
    }

    fn follow(&mut self, switch: &str, out: Vec<Emit>, outcome: &mut Outcome) -> Vec<Packet> {
        let mut delivered = Vec::new();
        let mut queue: VecDeque<(String, Emit)> = out
            .into_iter()
            .map(|emit| (switch.to_owned(), emit))
            .collect();
        while let Some((switch, emit)) = queue.pop_front() {
            assert!(
                outcome.hops.len() < HOP_LIMIT,
                "the frame goes round and round"
            );
            match emit {
                Emit::Dropped { reason } => {
                    let reason = self.program.drop_name(reason).to_owned();
                    outcome.drops.push((switch, reason));
                }
                Emit::PacketIn { metadata, packet } => {
                    outcome.packet_ins.push((switch, metadata, packet.to_vec()));
                }
                Emit::Port { port, packet } => {
                    match &self.model.switches[&switch].ports[&port].peer {
                        Peer::Host { host, .. } => {
                            outcome.delivered.push((host.clone(), packet.to_vec()));
                            delivered.push(packet);
                        }
                        Peer::Switch { switch, port } => {
                            let mut out = Vec::new();
                            let datapath = &self.datapaths[switch];
                            datapath.process(&mut self.scratch, *port, packet, self.now, &mut out);
                            outcome.hops.push(switch.clone());
                            queue.extend(out.into_iter().map(|emit| (switch.clone(), emit)));
                        }
                    }
                }
            }
        }
        delivered
    }
}
