//! Addresses: subnets from what is declared, addresses and gateways where none is, MACs from names.
//!
//! Hosts of one prefix are neighbours by Ethernet. Between prefixes the fabric routes, so where there is more than one, each
//! host has a gateway: its declared one, else one that the fabric takes in its subnet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use weft_proto::vocab::MacAddr;

use super::nodes::NodeDecl;
use crate::model::{FabricMode, Model, Network, Subnet};
use crate::problem::{Code, FieldError, pointer_to};
use crate::spec::node::Address;
use crate::spec::{NodeKind, OneOrMany};

/// One interface with what was declared for it.
struct Slot {
    host: String,
    /// Its index in the host.
    interface: usize,
    addresses: Vec<(Address, String)>,
    gateways: Vec<(IpAddr, String)>,
    /// Whether it gets an address where none is declared.
    is_automatic: bool,
    /// Whether it has Ethernet; else everything it sends goes to the fabric's router.
    is_l2: bool,
}

/// A declared prefix.
struct Prefix {
    net: IpNet,
    host: String,
    gateways: BTreeSet<IpAddr>,
}

/// Gives every interface its MAC, addresses and gateways, and the default network its subnets.
pub(super) fn assign(model: &mut Model, nodes: &[NodeDecl], errors: &mut Vec<FieldError>) {
    assign_macs(model, nodes);
    let slots = slots(model, nodes);
    let mut prefixes: Vec<Prefix> = Vec::new();
    let mut alone = Vec::new();
    for slot in &slots {
        for (address, pointer) in &slot.addresses {
            if let Some(problem) = address_problem(*address) {
                errors.push(FieldError::new(pointer, Code::OutOfRange, problem));
            } else if let Address::Net(net) = address {
                // Point to point, with a neighbour's subnet around it perhaps.
                if !slot.is_l2 && net.prefix_len() == net.max_prefix_len() {
                    alone.push((*net, slot, pointer));
                } else {
                    add_prefix(&mut prefixes, net.trunc(), &slot.host, pointer, errors);
                }
            }
        }
    }
    for (net, slot, pointer) in alone {
        if !prefixes.iter().any(|prefix| prefix.net.contains(&net)) {
            add_prefix(&mut prefixes, net, &slot.host, pointer, errors);
        }
    }
    let automatic = automatic_subnet(&prefixes);
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    let mut given: Vec<Vec<IpNet>> = Vec::new();
    for slot in &slots {
        let mut nets = Vec::new();
        for (address, pointer) in &slot.addresses {
            let Some(net) = with_length(*address, &prefixes, automatic) else {
                let detail = format!(
                    "`{address}` is in no declared subnet: say its prefix length, for example `{address}/24`"
                );
                errors.push(FieldError::new(pointer, Code::WrongFormat, detail));
                continue;
            };
            if let Some(owner) = owners.insert(net.addr(), slot.host.clone()) {
                let detail = format!("the address {} is already that of `{owner}`", net.addr());
                errors.push(FieldError::new(pointer, Code::Duplicate, detail));
            }
            nets.push(net);
        }
        given.push(nets);
    }
    let mut free = hosts_of(automatic)
        .filter(|address| !owners.contains_key(address))
        .collect::<Vec<_>>()
        .into_iter();
    for (slot, nets) in slots.iter().zip(&mut given) {
        if slot.is_automatic && slot.addresses.is_empty() {
            let Some(address) = free.next() else { continue };
            owners.insert(address, slot.host.clone());
            nets.extend(IpNet::new(address, automatic.prefix_len()));
        }
        for net in nets
            .iter()
            .filter(|net| net.trunc() == IpNet::V4(automatic))
        {
            if !prefixes.iter().any(|prefix| prefix.net == net.trunc()) {
                prefixes.push(Prefix {
                    net: net.trunc(),
                    host: slot.host.clone(),
                    gateways: BTreeSet::new(),
                });
            }
        }
    }
    declared_gateways(&slots, &given, &owners, &mut prefixes, errors);
    if model.fabric == FabricMode::Auto {
        choose_gateways(&slots, &given, &owners, &mut prefixes, errors);
    }
    for (slot, nets) in slots.into_iter().zip(given) {
        let Some(interface) = model
            .hosts
            .get_mut(&slot.host)
            .and_then(|host| host.interfaces.get_mut(slot.interface))
        else {
            continue;
        };
        interface.gateways = slot.gateways.iter().map(|(gateway, _)| *gateway).collect();
        // One default route is enough: an interface after the first has a gateway only where it declares one.
        if slot.interface == 0 && model.fabric == FabricMode::Auto {
            for net in &nets {
                let is_v4 = net.addr().is_ipv4();
                let mut gateways = interface.gateways.iter();
                let has_one = gateways.any(|gateway| gateway.is_ipv4() == is_v4);
                let own = prefixes.iter().find(|prefix| prefix.net == net.trunc());
                let gateway = own.and_then(|prefix| prefix.gateways.first());
                interface.gateways.extend(gateway.filter(|_| !has_one));
            }
        }
        interface.addresses = nets;
    }
    prefixes.sort_by_key(|prefix| prefix.net);
    let subnets = prefixes
        .into_iter()
        .map(|prefix| Subnet {
            prefix: prefix.net,
            gateways: prefix.gateways.into_iter().collect(),
        })
        .collect();
    model.networks.insert(
        Model::DEFAULT_NETWORK.to_owned(),
        Network { vni: 1, subnets },
    );
}

/// Every interface of every host, in file order.
fn slots(model: &Model, nodes: &[NodeDecl]) -> Vec<Slot> {
    let mut slots = Vec::new();
    for node in nodes.iter().filter(|node| node.is_host()) {
        let Some(host) = model.hosts.get(&node.name) else {
            continue;
        };
        for (index, interface) in host.interfaces.iter().enumerate() {
            let own = node.spec.interfaces.get(&interface.name);
            let own_pointer = pointer_to(&pointer_to(&node.pointer, "interfaces"), &interface.name);
            let (ip, ip_pointer) = match own {
                Some(spec) if !spec.ip.is_empty() => (spec.ip.clone(), own_pointer.as_str()),
                _ if index == 0 => (node.spec.ip.clone(), node.pointer.as_str()),
                _ => (OneOrMany::default(), node.pointer.as_str()),
            };
            let (gateway, gateway_pointer) = match own {
                Some(spec) if !spec.gateway.is_empty() => {
                    (spec.gateway.clone(), own_pointer.as_str())
                }
                _ if index == 0 => (node.spec.gateway.clone(), node.pointer.as_str()),
                _ => (OneOrMany::default(), node.pointer.as_str()),
            };
            slots.push(Slot {
                host: node.name.clone(),
                interface: index,
                addresses: with_pointers(ip, &pointer_to(ip_pointer, "ip")),
                gateways: with_pointers(gateway, &pointer_to(gateway_pointer, "gateway")),
                is_automatic: index == 0 && node.kind == NodeKind::Host,
                is_l2: interface.port_kind.is_l2(),
            });
        }
    }
    slots
}

fn with_pointers<T>(values: OneOrMany<T>, pointer: &str) -> Vec<(T, String)> {
    let is_list = values.0.len() > 1;
    let at = |index| {
        if is_list {
            pointer_to(pointer, index)
        } else {
            pointer.to_owned()
        }
    };
    values
        .0
        .into_iter()
        .enumerate()
        .map(|(index, value)| (value, at(index)))
        .collect()
}

/// Why an address cannot be that of a host.
fn address_problem(address: Address) -> Option<String> {
    let addr = address.addr();
    if addr.is_unspecified()
        || addr.is_loopback()
        || addr.is_multicast()
        || addr == IpAddr::V4(Ipv4Addr::BROADCAST)
    {
        return Some(format!("{addr} cannot be the address of a host"));
    }
    match address {
        Address::Net(IpNet::V4(net)) if net.prefix_len() < 31 => {
            if net.addr() == net.network() {
                Some(format!(
                    "{net} is the address of the subnet, not of a host in it"
                ))
            } else if net.addr() == net.broadcast() {
                Some(format!("{net} is the broadcast address of its subnet"))
            } else {
                None
            }
        }
        Address::Net(net) if net.prefix_len() == 0 => {
            Some(format!("{net} leaves no address outside"))
        }
        _ => None,
    }
}

fn add_prefix(
    prefixes: &mut Vec<Prefix>,
    net: IpNet,
    host: &str,
    pointer: &str,
    errors: &mut Vec<FieldError>,
) {
    for known in prefixes.iter() {
        if known.net == net {
            return;
        }
        if known.net.contains(&net) || net.contains(&known.net) {
            let detail = format!(
                "the subnet {net} overlaps {} of `{}`",
                known.net, known.host
            );
            errors.push(FieldError::new(pointer, Code::Conflict, detail));
            return;
        }
    }
    prefixes.push(Prefix {
        net,
        host: host.to_owned(),
        gateways: BTreeSet::new(),
    });
}

/// The first /16 of 10.0.0.0/8 that overlaps nothing declared; where all do, a /16 of 172.16.0.0/12.
fn automatic_subnet(prefixes: &[Prefix]) -> Ipv4Net {
    let candidates = (0..=255)
        .map(|octet| (10, octet))
        .chain((16..=31).map(|octet| (172, octet)));
    let nets = candidates.filter_map(|(a, b)| Ipv4Net::new(Ipv4Addr::new(a, b, 0, 0), 16).ok());
    let is_free = |net: &Ipv4Net| {
        let net = IpNet::V4(*net);
        !prefixes
            .iter()
            .any(|prefix| prefix.net.contains(&net) || net.contains(&prefix.net))
    };
    let mut nets = nets.filter(is_free);
    nets.next().unwrap_or_default()
}

/// Addresses for hosts, the round ones left out: 10.0.0.1 to 10.0.0.254, then 10.0.1.1 and so on.
fn hosts_of(net: Ipv4Net) -> impl Iterator<Item = IpAddr> {
    net.hosts()
        .filter(|address| !matches!(address.octets()[3], 0 | 255))
        .map(IpAddr::V4)
}

fn with_length(address: Address, prefixes: &[Prefix], automatic: Ipv4Net) -> Option<IpNet> {
    match address {
        Address::Net(net) => Some(net),
        Address::Bare(addr) => {
            let declared = prefixes
                .iter()
                .map(|prefix| prefix.net)
                .find(|net| net.contains(&addr));
            let automatic = Some(IpNet::V4(automatic)).filter(|net| net.contains(&addr));
            declared
                .or(automatic)
                .and_then(|net| IpNet::new(addr, net.prefix_len()).ok())
        }
    }
}

/// Checks declared gateways. Those that are no host's address become the fabric's.
fn declared_gateways(
    slots: &[Slot],
    given: &[Vec<IpNet>],
    owners: &BTreeMap<IpAddr, String>,
    prefixes: &mut [Prefix],
    errors: &mut Vec<FieldError>,
) {
    for (slot, nets) in slots.iter().zip(given) {
        let mut families = BTreeSet::new();
        for (gateway, pointer) in &slot.gateways {
            let mut refuse =
                |code, detail: String| errors.push(FieldError::new(pointer, code, detail));
            if !families.insert(gateway.is_ipv4()) {
                refuse(
                    Code::Conflict,
                    format!("`{}` has two gateways of one family", slot.host),
                );
            }
            let Some(net) = nets.iter().find(|net| net.contains(gateway)) else {
                refuse(
                    Code::OutOfRange,
                    format!("the gateway {gateway} is in no subnet of `{}`", slot.host),
                );
                continue;
            };
            match owners.get(gateway) {
                Some(owner) if !slot.is_l2 => {
                    refuse(
                        Code::Conflict,
                        format!(
                            "`{}` has no Ethernet (`port: tun`) to reach `{owner}` by: its gateway is the fabric",
                            slot.host
                        ),
                    );
                }
                Some(owner) if *owner == slot.host => {
                    refuse(
                        Code::Conflict,
                        format!("`{}` is its own gateway", slot.host),
                    );
                }
                Some(_) => {}
                None => {
                    if let Some(prefix) =
                        prefixes.iter_mut().find(|prefix| prefix.net == net.trunc())
                    {
                        prefix.gateways.insert(*gateway);
                    }
                }
            }
        }
    }
}

/// Where the fabric has to route, gives it an address in each subnet that has a host without a gateway: it routes
/// between subnets of one IP version, and for whoever has no Ethernet.
fn choose_gateways(
    slots: &[Slot],
    given: &[Vec<IpNet>],
    owners: &BTreeMap<IpAddr, String>,
    prefixes: &mut [Prefix],
    errors: &mut Vec<FieldError>,
) {
    for is_v4 in [true, false] {
        let same = |prefix: &&Prefix| prefix.net.addr().is_ipv4() == is_v4;
        let of_family = |slot: &Slot, nets: &[IpNet]| {
            !slot.is_l2 && nets.iter().any(|net| net.addr().is_ipv4() == is_v4)
        };
        let mut hosts = slots.iter().zip(given);
        let any_bare = hosts.any(|(slot, nets)| of_family(slot, nets));
        if any_bare || prefixes.iter().filter(same).count() > 1 {
            choose_gateways_of(is_v4, slots, given, owners, prefixes, errors);
        }
    }
}

fn choose_gateways_of(
    is_v4: bool,
    slots: &[Slot],
    given: &[Vec<IpNet>],
    owners: &BTreeMap<IpAddr, String>,
    prefixes: &mut [Prefix],
    errors: &mut Vec<FieldError>,
) {
    for (slot, nets) in slots.iter().zip(given) {
        let mut declared = slot.gateways.iter();
        if slot.interface != 0 || declared.any(|(gateway, _)| gateway.is_ipv4() == is_v4) {
            continue;
        }
        let Some(net) = nets.iter().find(|net| net.addr().is_ipv4() == is_v4) else {
            continue;
        };
        let Some(prefix) = prefixes.iter_mut().find(|prefix| prefix.net == net.trunc()) else {
            continue;
        };
        if !prefix.gateways.is_empty() {
            continue;
        }
        let subnet = prefix.net;
        let is_free = |address: &IpAddr| !owners.contains_key(address);
        // The first by custom; where a host has it, the end of the subnet, which in IPv6 is reserved (RFC 2526).
        let first = usable(subnet).next().filter(is_free);
        let chosen = first.or_else(|| match subnet {
            IpNet::V4(_) => usable(subnet).rev().find(is_free),
            IpNet::V6(_) => usable(subnet).find(is_free),
        });
        match chosen {
            Some(gateway) => {
                prefix.gateways.insert(gateway);
            }
            // It needs none, and hears no errors.
            None if !slot.is_l2 => {}
            None => {
                let detail =
                    format!("no address is left in {subnet} for a gateway to the other subnets");
                let pointer = slot
                    .addresses
                    .first()
                    .map_or("/topology/nodes", |(_, pointer)| pointer.as_str());
                errors.push(FieldError::new(pointer, Code::Conflict, detail));
            }
        }
    }
}

/// Addresses of a subnet that hosts and routers can have; the first of an IPv6 subnet means any router (RFC 4291 §2.6.1),
/// the last of an IPv4 subnet means all hosts.
fn usable(subnet: IpNet) -> Box<dyn DoubleEndedIterator<Item = IpAddr>> {
    match subnet {
        IpNet::V4(net) if net.prefix_len() >= 31 => Box::new(std::iter::empty()),
        IpNet::V4(net) => {
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            Box::new((first + 1..last).map(|bits| IpAddr::V4(Ipv4Addr::from(bits))))
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            Box::new((first.saturating_add(1)..=last).map(|bits| IpAddr::V6(Ipv6Addr::from(bits))))
        }
    }
}

fn assign_macs(model: &mut Model, nodes: &[NodeDecl]) {
    let mut taken = BTreeSet::new();
    let lab = model.name.clone();
    for node in nodes {
        let Some(host) = model.hosts.get_mut(&node.name) else {
            continue;
        };
        for interface in &mut host.interfaces {
            let mac = (0..=u8::MAX)
                .map(|attempt| mac(&lab, &node.name, &interface.name, attempt))
                .find(|mac| !taken.contains(mac))
                .unwrap_or_default();
            taken.insert(mac);
            interface.mac = mac;
        }
    }
}

/// A locally administered unicast address (IEEE 802, bit 1 of the first byte set, bit 0 clear) from three names:
/// FNV-1a, then the finaliser of splitmix64, because FNV alone leaves names that differ at their end close together.
fn mac(lab: &str, node: &str, interface: &str, attempt: u8) -> MacAddr {
    let bytes = [lab, node, interface]
        .into_iter()
        .flat_map(|name| name.bytes().chain([0]))
        .chain([attempt]);
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    let MacAddr([first, rest @ ..]) = MacAddr::from_bits(hash);
    let [b, c, d, e, f] = rest;
    MacAddr([(first & 0xfc) | 0x02, b, c, d, e, f])
}
