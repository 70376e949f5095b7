//! What an entry of the fabric is for, in words for people; beside the names, since it reads them back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_proto::schema::Schema;
use weft_proto::vocab::{FieldMatch, MacAddr, TableEntry};

use super::fabric::node_label;
use crate::model::{Model, Network, Switch};

/// What an entry of the fabric is for: `route to host h8`. Of a table that it does not know, the table's name.
pub fn explain(model: &Model, schema: &Schema, switch: &Switch, entry: &TableEntry) -> String {
    let Some(table) = schema.table(entry.key.table) else {
        return "unknown table".to_owned();
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
    let text = match table.name.as_str() {
        "fdb" => value("dst").and_then(|mac| host_by_mac(model, network()?.0, mac)),
        "neighbors" | "neighbors6" => {
            value("ip").and_then(|ip| neighbor(model, network()?, ip, table.name == "neighbors"))
        }
        "routes" | "routes6" => {
            network().map(|(name, network)| subnet(name, network, value("dst")))
        }
        "flood" => network().map(|(name, _)| format!("copies for everybody in network {name}")),
        "my_label" => Some(format!("packets for switch {}", switch.name)),
        "node_paths" => value("label").and_then(|label| {
            let mut switches = model.switches.values();
            let found = switches.find(|switch| {
                node_label(switch.device_id).is_some_and(|node| u128::from(node) == label)
            });
            found.map(|switch| format!("paths to switch {}", switch.name))
        }),
        "port_in" | "port_out" => {
            value("in_port")
                .or_else(|| value("egress_port"))
                .and_then(|port| {
                    let mut ports = switch.ports.iter();
                    let found = ports.find(|(number, _)| u128::from(number.0) == port);
                    found.map(|(_, port)| format!("port {} of switch {}", port.name, switch.name))
                })
        }
        _ => None,
    };
    text.unwrap_or_else(|| format!("table {}", table.name))
}

fn host_by_mac(model: &Model, network: &str, mac: u128) -> Option<String> {
    let mac = MacAddr::from_bits(u64::try_from(mac).ok()?);
    let mut hosts = model.hosts.values();
    let host = hosts.find(|host| {
        let mut interfaces = host.interfaces.iter();
        interfaces.any(|interface| interface.network == network && interface.mac == mac)
    })?;
    Some(format!("route to host {}", host.name))
}

fn neighbor(
    model: &Model,
    (name, network): (&String, &Network),
    ip: u128,
    v4: bool,
) -> Option<String> {
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
        return Some(format!("address of host {}", host.name));
    }
    let mut gateways = network.subnets.iter().flat_map(|subnet| &subnet.gateways);
    let is_gateway = gateways.any(|gateway| *gateway == ip);
    is_gateway.then(|| format!("gateway {ip} of network {name}"))
}

fn subnet(name: &str, network: &Network, prefix: Option<u128>) -> String {
    let mut subnets = network.subnets.iter();
    let found = subnets.find(|subnet| match subnet.prefix.network() {
        IpAddr::V4(address) => Some(u128::from(address.to_bits())) == prefix,
        IpAddr::V6(address) => Some(address.to_bits()) == prefix,
    });
    match found {
        Some(subnet) => format!("subnet {} of network {name}", subnet.prefix),
        None => format!("routes of network {name}"),
    }
}
