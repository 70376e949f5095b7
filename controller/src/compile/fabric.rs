//! The fabric's entries for each switch, from the model and the links that are down.
//!
//! A switch where hosts of a network attach is an *edge* of it, and knows all the network's hosts: their addresses, to
//! answer ARP and to route, and the edge where each is. Every switch knows the ways to every edge, as equal-cost groups.
//! So the tables of a switch without hosts grow with the number of edges only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weft_proto::schema::Schema;
use weft_proto::vocab::{
    DeviceId, FieldMatch, MacAddr, MulticastGroup, MulticastGroupId, PortNo, Replica, TableAction,
    WeightedAction,
};

use super::fabric_names::{MissingName, NODE_LABELS, Names, Table, VNI_LABEL};
use super::owner::{Owner, OwnerTag};
use super::spf::{Distances, Topology};
use super::state::Desired;
use crate::model::{Attachment, FabricMode, Model, Network, Peer, Switch};

/// The address of the fabric's router in every network, the same at every edge.
pub const GATEWAY_MAC: MacAddr = MacAddr([0x02, 0x57, 0x46, 0x54, 0x00, 0xfe]);

/// Multicast groups below this id are the fabric's.
pub const FABRIC_GROUPS_END: MulticastGroupId = MulticastGroupId(2 * VNI_LABEL);

/// Why a model cannot become a fabric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FabricError {
    /// The pipeline is not the fabric's.
    #[error(transparent)]
    Pipeline(#[from] MissingName),
    /// A device id beyond the labels.
    #[error("switch {switch} has device id {device}; the fabric has labels for 1 to {}", NODE_LABELS.end() - NODE_LABELS.start() + 1)]
    DeviceId {
        /// The switch.
        switch: String,
        /// Its id.
        device: DeviceId,
    },
    /// A network's number beyond the labels.
    #[error("network {network} has number {vni}; the fabric has labels for 1 to {}", VNI_LABEL - 1)]
    Vni {
        /// The network.
        network: String,
        /// Its number.
        vni: u32,
    },
    /// A host's interface names a network that is not there.
    #[error("host {host} is in network {network:?}, which does not exist")]
    NoNetwork {
        /// The host.
        host: String,
        /// The network's name.
        network: String,
    },
    /// Two hosts of a network have one address.
    #[error("hosts {first} and {second} of network {network} both have {address}")]
    DuplicateAddress {
        /// The network.
        network: String,
        /// One host.
        first: String,
        /// The other.
        second: String,
        /// The IP or MAC address.
        address: String,
    },
}

/// The label by which the fabric knows a switch.
pub fn node_label(device: DeviceId) -> Option<u32> {
    let label = device.0.checked_add(NODE_LABELS.start() - 1)?;
    let known = device.0 > 0 && NODE_LABELS.contains(&label);
    known.then(|| u32::try_from(label).ok()).flatten()
}

/// What all switches' entries have in common, computed once for a model.
#[derive(Debug)]
pub struct Fabric<'a> {
    model: &'a Model,
    names: Names,
    topology: Topology,
    networks: Vec<Members<'a>>,
    /// Edges by the switch's index.
    edges: BTreeMap<usize, Ways>,
    /// The label of each switch, by its index.
    labels: Vec<u32>,
    metadata: Vec<u8>,
}

/// How all switches reach an edge.
#[derive(Debug)]
struct Ways {
    distances: Distances,
    /// The largest packet from each switch.
    mtus: Vec<u32>,
}

/// The hosts of a network.
#[derive(Debug)]
struct Members<'a> {
    network: &'a Network,
    vni: u128,
    /// Host ports by edge.
    ports: BTreeMap<usize, BTreeSet<PortNo>>,
    macs: BTreeMap<MacAddr, Place<'a>>,
    addresses: BTreeMap<IpAddr, (MacAddr, &'a str)>,
}

/// Where a host's interface is.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    host: &'a str,
    edge: usize,
    port: PortNo,
    /// Largest packet that reaches it from its edge.
    mtu: u32,
    /// Whether it has Ethernet.
    is_l2: bool,
}

impl<'a> Fabric<'a> {
    /// Prepares the compile; `down` names links that are down, besides those declared so.
    ///
    /// # Errors
    ///
    /// [`FabricError`]. A model that was expanded from a document has none of its causes but the pipeline.
    pub fn new(
        model: &'a Model,
        down: &BTreeSet<String>,
        schema: &Schema,
    ) -> Result<Self, FabricError> {
        let index: BTreeMap<&str, usize> =
            model.switches.keys().map(String::as_str).zip(0..).collect();
        let labels = model
            .switches
            .values()
            .map(label_of)
            .collect::<Result<_, _>>()?;
        let networks = members(model, &index)?;
        let topology = Topology::new(model, down);
        let edges: BTreeSet<usize> = networks
            .iter()
            .flat_map(|network| network.ports.keys().copied())
            .collect();
        Ok(Self {
            model,
            names: Names::new(schema)?,
            edges: edges
                .into_iter()
                .map(|edge| {
                    let distances = topology.distances(edge);
                    let mtus = topology.path_mtus(&distances);
                    (edge, Ways { distances, mtus })
                })
                .collect(),
            topology,
            networks,
            labels,
            metadata: OwnerTag::new(Owner::Fabric, "fabric").to_metadata(),
        })
    }

    /// The entries of one switch; `None` where the model has no such switch.
    pub fn switch(&self, name: &str) -> Option<Desired> {
        let at = self.model.switches.keys().position(|known| known == name)?;
        let mut out = Desired::default();
        if self.model.fabric == FabricMode::Auto {
            self.ports(&self.model.switches[name], at, &mut out);
            self.paths(at, &mut out);
            for network in &self.networks {
                if let Some(ports) = network.ports.get(&at) {
                    self.network(network, at, ports, &mut out);
                }
            }
        }
        Some(out)
    }

    /// The entries of all switches, by name.
    pub fn switches(&self) -> BTreeMap<&'a str, Desired> {
        let names = self.model.switches.keys();
        names
            .filter_map(|name| Some((name.as_str(), self.switch(name)?)))
            .collect()
    }

    fn ports(&self, switch: &Switch, at: usize, out: &mut Desired) {
        let names = &self.names;
        let metadata = &self.metadata;
        let gateway_mac = u128::from(GATEWAY_MAC.to_bits());
        for (port, info) in &switch.ports {
            if matches!(info.peer, Peer::Switch { .. }) {
                let link = names.link_port.call([]);
                add(out, names.port_in.exact([port.0.into()], link, metadata));
            }
        }
        for network in &self.networks {
            for port in network.ports.get(&at).into_iter().flatten() {
                let [ip, ip6] = network.gateways(self.model, switch, *port);
                let host = names.host_port.call([network.vni, gateway_mac, ip, ip6]);
                add(out, names.port_in.exact([port.0.into()], host, metadata));
                let no_labels = names.no_labels.call([]);
                add(
                    out,
                    names.port_out.exact([port.0.into()], no_labels, metadata),
                );
            }
        }
        // What the controller sends through the pipeline counts as a host's of the default network.
        let default = self.model.networks.get(Model::DEFAULT_NETWORK);
        let default = default.map(|network| u128::from(network.vni));
        let here = |network: &&Members<'_>| {
            default == Some(network.vni) && network.ports.contains_key(&at)
        };
        if let Some(network) = self.networks.iter().find(here) {
            let host = names.host_port.call([network.vni, gateway_mac, 0, 0]);
            add(
                out,
                names.port_in.exact([PortNo::CPU.0.into()], host, metadata),
            );
        }
    }

    fn paths(&self, at: usize, out: &mut Desired) {
        let names = &self.names;
        let own = names.my_label.exact(
            [self.labels[at].into()],
            names.pop_label.call([]),
            &self.metadata,
        );
        add(out, own);
        for (edge, ways) in &self.edges {
            if *edge == at {
                continue;
            }
            let members: Vec<_> = self
                .topology
                .next_hops(at, &ways.distances)
                .into_iter()
                .map(|port| WeightedAction {
                    call: names.forward.call([port.0.into()]),
                    weight: 1,
                    watch_port: Some(port),
                })
                .collect();
            if !members.is_empty() {
                let group = TableAction::OneShot(members);
                let label = [self.labels[*edge].into()];
                add(out, names.node_paths.exact(label, group, &self.metadata));
            }
        }
    }

    fn network(
        &self,
        network: &Members<'_>,
        at: usize,
        ports: &BTreeSet<PortNo>,
        out: &mut Desired,
    ) {
        let names = &self.names;
        let metadata = &self.metadata;
        let vni = network.vni;
        for (mac, place) in &network.macs {
            let action = if place.edge == at {
                names.to_port.call([place.port.0.into()])
            } else {
                names.to_edge.call([self.labels[place.edge].into()])
            };
            add(
                out,
                names
                    .fdb
                    .exact([vni, mac.to_bits().into()], action, metadata),
            );
        }
        for (ip, (mac, _)) in &network.addresses {
            let place = &network.macs[mac];
            let mtu = place.mtu.min(self.edges[&place.edge].mtus[at]);
            let action = match place.is_l2 {
                true => &names.neighbor,
                false => &names.routed_neighbor,
            };
            let action = action.call([mac.to_bits().into(), mtu.into()]);
            let neighbors = names.neighbors(*ip);
            add(out, neighbors.exact([vni, number(*ip)], action, metadata));
        }
        self.router(network, out);
        self.floods(network, at, ports, out);
    }

    /// The network's router: its own addresses, and routes to the subnets, if anybody needs one: who has a gateway, and
    /// whoever has no Ethernet. A gateway address that a host has is that host's business.
    fn router(&self, network: &Members<'_>, out: &mut Desired) {
        let names = &self.names;
        let metadata = &self.metadata;
        let gateways = network
            .network
            .subnets
            .iter()
            .flat_map(|subnet| &subnet.gateways);
        let mut any = network.macs.values().any(|place| !place.is_l2);
        for gateway in gateways {
            if network.addresses.contains_key(gateway) {
                continue;
            }
            any = true;
            let action = names.gateway.call([]);
            let key = [network.vni, number(*gateway)];
            add(out, names.neighbors(*gateway).exact(key, action, metadata));
        }
        for subnet in network.network.subnets.iter().filter(|_| any) {
            let prefix = subnet.prefix;
            let dst = (prefix.prefix_len() > 0).then(|| FieldMatch::Lpm {
                value: number(prefix.network()),
                prefix_len: prefix.prefix_len().into(),
            });
            let key = [Some(FieldMatch::Exact(network.vni)), dst];
            let routes = names.routes(prefix.network());
            add(out, routes.entry(key, names.connected.call([]), metadata));
        }
    }

    /// From a host: to the other host ports here, and once to each other edge. From a link: to host ports only. Hosts
    /// without Ethernet get no copies.
    fn floods(
        &self,
        network: &Members<'_>,
        at: usize,
        ports: &BTreeSet<PortNo>,
        out: &mut Desired,
    ) {
        let bare: BTreeSet<_> = (network.macs.values())
            .filter(|place| !place.is_l2)
            .map(|place| (place.edge, place.port))
            .collect();
        let hears = |edge: usize, port: &PortNo| !bare.contains(&(edge, *port));
        let local = ports
            .iter()
            .filter(|port| hears(at, port))
            .map(|port| Replica {
                port: *port,
                instance: 0,
            });
        let remote = network.ports.iter().filter_map(|(edge, ports)| {
            if *edge == at || !ports.iter().any(|port| hears(*edge, port)) {
                return None;
            }
            let next_hops = self.topology.next_hops(at, &self.edges[edge].distances);
            let label = self.labels[*edge];
            // Spread over the equal-cost ways, each pair of edges always by the same.
            let choice = usize::try_from(self.labels[at] + label).ok()? % next_hops.len().max(1);
            Some(Replica {
                port: *next_hops.get(choice)?,
                instance: u16::try_from(label).ok()?,
            })
        });
        let groups = [
            (0, local.clone().chain(remote).collect::<Vec<_>>()),
            (1, local.collect()),
        ];
        for (from_fabric, mut replicas) in groups {
            replicas.sort_unstable();
            let id = MulticastGroupId(2 * network.network.vni + from_fabric);
            let action = self.names.flood_to.call([id.0.into()]);
            let key = [network.vni, from_fabric.into()];
            add(out, self.names.flood.exact(key, action, &self.metadata));
            out.groups.insert(
                id,
                MulticastGroup {
                    id,
                    replicas,
                    metadata: self.metadata.clone(),
                    ..MulticastGroup::default()
                },
            );
        }
    }
}

fn add(out: &mut Desired, entry: weft_proto::vocab::TableEntry) {
    out.insert(entry)
        .expect("each port, label and address of a network is there once");
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Names {
    fn neighbors(&self, ip: IpAddr) -> &Table<2> {
        if ip.is_ipv4() {
            &self.neighbors
        } else {
            &self.neighbors6
        }
    }

    fn routes(&self, ip: IpAddr) -> &Table<2> {
        if ip.is_ipv4() {
            &self.routes
        } else {
            &self.routes6
        }
    }
}

impl Members<'_> {
    /// The addresses of the network's router, IPv4 and IPv6, in the first subnets of the host at a port; 0 for none.
    fn gateways(&self, model: &Model, switch: &Switch, port: PortNo) -> [u128; 2] {
        let Some(Peer::Host { host, interface }) = switch.ports.get(&port).map(|port| &port.peer)
        else {
            return [0, 0];
        };
        let host = model.hosts.get(host);
        let interface = host.and_then(|host| {
            let mut interfaces = host.interfaces.iter();
            interfaces.find(|known| known.name == *interface)
        });
        let addresses = interface.map_or(&[][..], |interface| &interface.addresses);
        [true, false].map(|is_v4| {
            let own = addresses.iter().filter(|net| net.addr().is_ipv4() == is_v4);
            let subnets = own.flat_map(|net| {
                let subnets = self.network.subnets.iter();
                subnets.filter(move |subnet| subnet.prefix.contains(net))
            });
            let mut gateways = subnets.flat_map(|subnet| &subnet.gateways);
            let router = gateways.find(|gateway| !self.addresses.contains_key(gateway));
            router.map_or(0, |gateway| number(*gateway))
        })
    }
}

fn port_mtu(model: &Model, at: &Attachment) -> u32 {
    let switch = model.switches.get(&at.switch);
    let port = switch.and_then(|switch| switch.ports.get(&at.port));
    port.map_or(u32::MAX, |port| port.mtu)
}

fn label_of(switch: &Switch) -> Result<u32, FabricError> {
    node_label(switch.device_id).ok_or_else(|| FabricError::DeviceId {
        switch: switch.name.clone(),
        device: switch.device_id,
    })
}

fn members<'a>(
    model: &'a Model,
    index: &BTreeMap<&str, usize>,
) -> Result<Vec<Members<'a>>, FabricError> {
    let mut networks: BTreeMap<&str, Members<'a>> = BTreeMap::new();
    for (name, network) in &model.networks {
        if network.vni == 0 || network.vni >= VNI_LABEL {
            return Err(FabricError::Vni {
                network: name.clone(),
                vni: network.vni,
            });
        }
        let members = Members {
            network,
            vni: network.vni.into(),
            ports: BTreeMap::new(),
            macs: BTreeMap::new(),
            addresses: BTreeMap::new(),
        };
        networks.insert(name, members);
    }
    for host in model.hosts.values() {
        for interface in &host.interfaces {
            let name = interface.network.as_str();
            let Some(network) = networks.get_mut(name) else {
                return Err(FabricError::NoNetwork {
                    host: host.name.clone(),
                    network: name.into(),
                });
            };
            let Some(edge) = index.get(interface.attachment.switch.as_str()) else {
                continue;
            };
            let place = Place {
                host: &host.name,
                edge: *edge,
                port: interface.attachment.port,
                mtu: interface.mtu.min(port_mtu(model, &interface.attachment)),
                is_l2: interface.port_kind.is_l2(),
            };
            let duplicate = |first: &str, address: String| FabricError::DuplicateAddress {
                network: name.into(),
                first: first.into(),
                second: host.name.clone(),
                address,
            };
            network
                .ports
                .entry(place.edge)
                .or_default()
                .insert(place.port);
            if let Some(other) = network.macs.insert(interface.mac, place) {
                return Err(duplicate(other.host, interface.mac.to_string()));
            }
            for address in &interface.addresses {
                let ip = address.addr();
                let value = (interface.mac, host.name.as_str());
                if let Some((_, other)) = network.addresses.insert(ip, value) {
                    return Err(duplicate(other, ip.to_string()));
                }
            }
        }
    }
    Ok(networks.into_values().collect())
}
