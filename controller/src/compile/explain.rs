//! What an entry of the fabric is for, in words for people; beside the names, since it reads them back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use weft_proto::schema::Schema;
use weft_proto::vocab::{FieldMatch, MacAddr, TableEntry};

use super::fabric::node_label;
use crate::model::{Model, Network, Switch};

/// What an entry of the fabric is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// In words: `route to host h8`.
    pub text: String,
    /// The part of the model that it was compiled from; `None` where the model has lost it.
    pub part: Option<Part>,
}

/// A part of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A host, a router or a switch.
    Node(String),
    /// A link.
    Link(String),
    /// A subnet of a network.
    Subnet(String, IpNet),
    /// A network.
    Network(String),
}

/// What an entry of the fabric is for. Of a table that it does not know, the table's name.
pub fn explain(model: &Model, schema: &Schema, switch: &Switch, entry: &TableEntry) -> Purpose {
    let Some(table) = schema.table(entry.key.table) else {
        return Purpose {
            text: "unknown table".to_owned(),
            part: None,
        };
    };
    let value = |name: &str| {
        let field = table.field_by_name(name)?;
        match *entry.key.matches.get(&field.id)? {
            FieldMatch::Exact(value) | FieldMatch::Optional(value) => Some(value),
            FieldMatch::Lpm { value, .. } | FieldMatch::Ternary { value, .. } => Some(value),
            FieldMatch::Range { .. } => None,
        }
    };
    let network = || {
        let vni = value("vni")?;
        let mut networks = model.networks.iter();
        networks.find(|(_, network)| u128::from(network.vni) == vni)
    };
    let purpose = match table.name.as_str() {
        "fdb" => value("dst").and_then(|mac| host_by_mac(model, network()?.0, mac)),
        "neighbors" | "neighbors6" => {
            value("ip").and_then(|ip| neighbor(model, network()?, ip, table.name == "neighbors"))
        }
        "routes" | "routes6" => {
            network().map(|(name, network)| subnet(name, network, value("dst")))
        }
        "flood" => network().map(|(name, _)| Purpose {
            text: format!("copies for everybody in network {name}"),
            part: Some(Part::Network(name.clone())),
        }),
        "my_label" => Some(Purpose {
            text: format!("packets for switch {}", switch.name),
            part: Some(Part::Node(switch.name.clone())),
        }),
        "node_paths" => value("label").and_then(|label| node(model, label)),
        "port_in" | "port_out" => value("in_port")
            .or_else(|| value("egress_port"))
            .and_then(|number| port(switch, number)),
        _ => None,
    };
    purpose.unwrap_or_else(|| Purpose {
        text: format!("table {}", table.name),
        part: None,
    })
}

fn node(model: &Model, label: u128) -> Option<Purpose> {
    let mut switches = model.switches.values();
    let switch = switches.find(|switch| {
        node_label(switch.device_id).is_some_and(|node| u128::from(node) == label)
    })?;
    Some(Purpose {
        text: format!("paths to switch {}", switch.name),
        part: Some(Part::Node(switch.name.clone())),
    })
}

fn port(switch: &Switch, number: u128) -> Option<Purpose> {
    let mut ports = switch.ports.iter();
    let (_, port) = ports.find(|(known, _)| u128::from(known.0) == number)?;
    Some(Purpose {
        text: format!("port {} of switch {}", port.name, switch.name),
        part: Some(Part::Link(port.link.clone())),
    })
}

fn host_by_mac(model: &Model, network: &str, mac: u128) -> Option<Purpose> {
    let mac = MacAddr::from_bits(u64::try_from(mac).ok()?);
    let mut hosts = model.hosts.values();
    let host = hosts.find(|host| {
        let mut interfaces = host.interfaces.iter();
        interfaces.any(|interface| interface.network == network && interface.mac == mac)
    })?;
    Some(Purpose {
        text: format!("route to host {}", host.name),
        part: Some(Part::Node(host.name.clone())),
    })
}

fn neighbor(
    model: &Model,
    (name, network): (&String, &Network),
    ip: u128,
    v4: bool,
) -> Option<Purpose> {
    let ip = match v4 {
        true => IpAddr::V4(Ipv4Addr::from(u32::try_from(ip).ok()?)),
        false => IpAddr::V6(Ipv6Addr::from(ip)),
    };
    let mut hosts = model.hosts.values();
    let host = hosts.find(|host| {
        let mut interfaces = host.interfaces.iter();
        interfaces.any(|interface| {
            let mut addresses = interface.addresses.iter();
            interface.network == *name && addresses.any(|net| net.addr() == ip)
        })
    });
    if let Some(host) = host {
        return Some(Purpose {
            text: format!("address of host {}", host.name),
            part: Some(Part::Node(host.name.clone())),
        });
    }
    let mut subnets = network.subnets.iter();
    let subnet = subnets.find(|subnet| subnet.gateways.contains(&ip))?;
    Some(Purpose {
        text: format!("gateway {ip} of network {name}"),
        part: Some(Part::Subnet(name.clone(), subnet.prefix)),
    })
}

fn subnet(name: &str, network: &Network, prefix: Option<u128>) -> Purpose {
    let mut subnets = network.subnets.iter();
    let found = subnets.find(|subnet| match subnet.prefix.network() {
        IpAddr::V4(address) => Some(u128::from(address.to_bits())) == prefix,
        IpAddr::V6(address) => Some(address.to_bits()) == prefix,
    });
    match found {
        Some(subnet) => Purpose {
            text: format!("subnet {} of network {name}", subnet.prefix),
            part: Some(Part::Subnet(name.to_owned(), subnet.prefix)),
        },
        None => Purpose {
            text: format!("routes of network {name}"),
            part: Some(Part::Network(name.to_owned())),
        },
    }
}
