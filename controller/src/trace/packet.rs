//! The packet that a host would send: its ends from the model, its headers from the question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpDscp, IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder};
use serde_json::Value;
use weft_proto::vocab::MacAddr;

use crate::compile::GATEWAY_MAC;
use crate::model::{Attachment, FabricMode, Host, Interface, Model};
use crate::problem::{Code, FieldError};
use crate::spec::trace::{PacketSpec, TraceRequest};

/// Most bytes of payload.
const MAX_LENGTH: u16 = 8900;
/// Payload of an echo request, and of everything else.
const LENGTH: u16 = 56;
/// A source port that nobody listens on.
const SOURCE_PORT: u16 = 49_152;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// A packet, where it enters, and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) at: Attachment,
    pub(crate) bytes: Vec<u8>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// `None` is an echo request of either family.
    pub(crate) proto: Option<u8>,
    /// The host that has the destination address.
    pub(crate) target: Option<String>,
}

/// Why a host sends nothing at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsent {
    pub(crate) host: String,
    pub(crate) reason: &'static str,
}

/// Makes the packet.
///
/// # Errors
///
/// Names that do not exist and fields that exclude each other.
pub(crate) fn probe(
    model: &Model,
    request: &TraceRequest,
) -> Result<Result<Probe, Unsent>, Vec<FieldError>> {
    let mut errors = Vec::new();
    let from = host(model, "/from", request.from.name(), &mut errors);
    let spec = &request.packet;
    let proto = protocol(spec, &mut errors);
    let eth_src = mac(spec.eth_src.as_deref(), "/packet/eth_src", &mut errors);
    let eth_dst = mac(spec.eth_dst.as_deref(), "/packet/eth_dst", &mut errors);
    if spec.length.is_some_and(|length| length > MAX_LENGTH) {
        errors.push(FieldError::new(
            "/packet/length",
            Code::OutOfRange,
            format!("at most {MAX_LENGTH} bytes"),
        ));
    }
    let dscp = IpDscp::try_new(spec.ip_dscp.unwrap_or_default()).unwrap_or_else(|_| {
        errors.push(FieldError::new(
            "/packet/ip_dscp",
            Code::OutOfRange,
            "0 to 63",
        ));
        IpDscp::ZERO
    });
    let destination = destination(model, request, from, &mut errors);
    let (Some(from), Some(destination), true) = (from, destination, errors.is_empty()) else {
        return Err(errors);
    };
    let Some((interface, source)) = source(from, spec, destination) else {
        let family = if destination.is_ipv4() {
            "IPv4"
        } else {
            "IPv6"
        };
        return Err(vec![FieldError::new(
            "/from",
            Code::Conflict,
            format!("{} has no {family} address", from.name),
        )]);
    };
    let unsent = |reason| Unsent {
        host: from.name.clone(),
        reason,
    };
    let ends = match interface.port_kind.is_l2() {
        false => None,
        true => {
            let next = match eth_dst {
                Some(mac) => Ok(mac),
                None => next_mac(model, interface, destination),
            };
            match next {
                Ok(next) => Some((eth_src.unwrap_or(interface.mac), next)),
                Err(reason) => return Ok(Err(unsent(reason))),
            }
        }
    };
    let target = owner(model, &interface.network, destination).map(|(host, _)| host.name.clone());
    let bytes = bytes(spec, ends, (source, destination), dscp, proto);
    Ok(Ok(Probe {
        at: interface.attachment.clone(),
        bytes,
        source,
        destination,
        proto,
        target,
    }))
}

fn host<'m>(
    model: &'m Model,
    pointer: &str,
    name: &str,
    errors: &mut Vec<FieldError>,
) -> Option<&'m Host> {
    let found = model.hosts.get(name);
    if found.is_none() {
        let error = FieldError::new(
            pointer,
            Code::NoSuchNode,
            format!("there is no host {name}"),
        );
        errors.push(error.with_allowed(name, model.hosts.keys().cloned()));
    }
    found
}

/// The destination's address: of the packet, else of `to`, where the family of the sender decides among several.
fn destination(
    model: &Model,
    request: &TraceRequest,
    from: Option<&Host>,
    errors: &mut Vec<FieldError>,
) -> Option<IpAddr> {
    let spec = &request.packet;
    let given = match (spec.ipv4_dst, spec.ipv6_dst) {
        (Some(_), Some(_)) => {
            let problem = "a packet has one destination";
            errors.push(FieldError::new("/packet/ipv6_dst", Code::Conflict, problem));
            return None;
        }
        (Some(v4), None) => Some(IpAddr::V4(v4)),
        (None, Some(v6)) => Some(IpAddr::V6(v6)),
        (None, None) => None,
    };
    let Some(to) = &request.to else {
        if given.is_none() {
            let problem = "say whom the packet is for";
            errors.push(FieldError::new("/to", Code::MissingField, problem));
        }
        return given;
    };
    if let Ok(address) = to.name().parse::<IpAddr>() {
        return given.or(Some(address));
    }
    let to = host(model, "/to", to.name(), errors)?;
    if given.is_some() {
        return given;
    }
    let wanted: Option<bool> = match spec {
        PacketSpec {
            ipv4_src: Some(_), ..
        } => Some(true),
        PacketSpec {
            ipv6_src: Some(_), ..
        } => Some(false),
        _ => None,
    };
    let speaks = |v4: bool| from.is_some_and(|from| addresses(from).any(|ip| ip.is_ipv4() == v4));
    let fits = |ip: &IpAddr| wanted.is_none_or(|v4| v4 == ip.is_ipv4()) && speaks(ip.is_ipv4());
    let found = addresses(to).find(fits);
    if found.is_none() && from.is_some() {
        let problem = format!(
            "{} and {} have no address family in common",
            request.from.name(),
            to.name
        );
        errors.push(FieldError::new("/to", Code::Conflict, problem));
    }
    found
}

fn addresses(host: &Host) -> impl Iterator<Item = IpAddr> {
    let all = host
        .interfaces
        .iter()
        .flat_map(|interface| &interface.addresses);
    all.map(ipnet::IpNet::addr)
}

/// The interface by which a host sends to an address, and with which address: the one on whose subnet it is, else one with
/// a gateway, else the first of the family.
fn source<'m>(
    from: &'m Host,
    spec: &PacketSpec,
    destination: IpAddr,
) -> Option<(&'m Interface, IpAddr)> {
    let v4 = destination.is_ipv4();
    let candidates = || {
        from.interfaces.iter().flat_map(move |interface| {
            let nets = interface.addresses.iter();
            nets.filter(move |net| net.addr().is_ipv4() == v4)
                .map(move |net| (interface, *net))
        })
    };
    let on_link = candidates().find(|(_, net)| net.contains(&destination));
    let with_gateway =
        || candidates().find(|(interface, _)| gateway(interface, destination).is_some());
    let (interface, net) = on_link
        .or_else(with_gateway)
        .or_else(|| candidates().next())?;
    let given = match destination {
        IpAddr::V4(_) => spec.ipv4_src.map(IpAddr::V4),
        IpAddr::V6(_) => spec.ipv6_src.map(IpAddr::V6),
    };
    Some((interface, given.unwrap_or_else(|| net.addr())))
}

fn gateway(interface: &Interface, destination: IpAddr) -> Option<IpAddr> {
    let mut gateways = interface.gateways.iter().copied();
    gateways.find(|gateway| gateway.is_ipv4() == destination.is_ipv4())
}

/// The MAC address that a host would learn for its next hop.
fn next_mac(
    model: &Model,
    interface: &Interface,
    destination: IpAddr,
) -> Result<MacAddr, &'static str> {
    if is_multicast(destination) {
        return Ok(multicast_mac(destination));
    }
    let on_link = interface
        .addresses
        .iter()
        .any(|net| net.contains(&destination));
    let next = match on_link {
        true => destination,
        false => gateway(interface, destination).ok_or("no-route")?,
    };
    if let Some((_, mac)) = owner(model, &interface.network, next) {
        return Ok(mac);
    }
    let network = model.networks.get(&interface.network);
    let answered = network.is_some_and(|network| {
        let mut gateways = network.subnets.iter().flat_map(|subnet| &subnet.gateways);
        model.fabric == FabricMode::Auto && gateways.any(|gateway| *gateway == next)
    });
    match answered {
        true => Ok(GATEWAY_MAC),
        false => Err("no-neighbor"),
    }
}

fn is_multicast(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// RFC 1112 §6.4, RFC 2464 §7.
fn multicast_mac(address: IpAddr) -> MacAddr {
    match address {
        IpAddr::V4(Ipv4Addr::BROADCAST) => MacAddr([0xff; 6]),
        IpAddr::V4(v4) => {
            let [_, b, c, d] = v4.octets();
            MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            MacAddr([0x33, 0x33, a, b, c, d])
        }
    }
}

/// Who has an address in a network.
fn owner<'m>(model: &'m Model, network: &str, address: IpAddr) -> Option<(&'m Host, MacAddr)> {
    model.hosts.values().find_map(|host| {
        let mut interfaces = host.interfaces.iter();
        let found = interfaces.find(|interface| {
            let mut addresses = interface.addresses.iter();
            interface.network == network && addresses.any(|net| net.addr() == address)
        });
        // Who has no Ethernet is reached through the router, which answers for it.
        found.map(|interface| match interface.port_kind.is_l2() {
            true => (host, interface.mac),
            false => (host, GATEWAY_MAC),
        })
    })
}

/// The protocol number; `None` is an echo request of either family.
fn protocol(spec: &PacketSpec, errors: &mut Vec<FieldError>) -> Option<u8> {
    let pointer = "/packet/ip_proto";
    let given = match &spec.ip_proto {
        None => None,
        Some(Value::String(word)) => match word.to_lowercase().as_str() {
            "tcp" => Some(TCP),
            "udp" => Some(UDP),
            "icmp" | "icmpv6" => None,
            other => match other.parse() {
                Ok(number) => Some(number),
                Err(_) => {
                    let problem = "a protocol's name or number is wanted";
                    let error = FieldError::new(pointer, Code::UnknownValue, problem);
                    errors.push(error.with_allowed(word, ["tcp", "udp", "icmp"]));
                    return None;
                }
            },
        },
        Some(number) => match number.as_u64().map(u8::try_from) {
            Some(Ok(number)) => Some(number),
            _ => {
                errors.push(FieldError::new(pointer, Code::OutOfRange, "0 to 255"));
                return None;
            }
        },
    };
    let tcp = spec.tcp_src.is_some() || spec.tcp_dst.is_some();
    let udp = spec.udp_src.is_some() || spec.udp_dst.is_some();
    let implied = match (tcp, udp) {
        (false, false) => return given.filter(|number| !matches!(*number, ICMP | ICMPV6)),
        (true, false) => TCP,
        (false, true) => UDP,
        (true, true) => {
            let problem = "a packet is TCP or UDP";
            errors.push(FieldError::new("/packet/udp_dst", Code::Conflict, problem));
            return None;
        }
    };
    if spec.ip_proto.is_some() && given != Some(implied) {
        let problem = "this protocol does not have the ports that are given";
        errors.push(FieldError::new(pointer, Code::Conflict, problem));
    }
    Some(implied)
}

fn mac(text: Option<&str>, pointer: &str, errors: &mut Vec<FieldError>) -> Option<MacAddr> {
    let parsed = text?.parse();
    if parsed.is_err() {
        errors.push(FieldError::new(
            pointer,
            Code::WrongFormat,
            "expected a MAC address, for example 02:00:00:00:00:01",
        ));
    }
    parsed.ok()
}

fn bytes(
    spec: &PacketSpec,
    ethernet: Option<(MacAddr, MacAddr)>,
    ends: (IpAddr, IpAddr),
    dscp: IpDscp,
    proto: Option<u8>,
) -> Vec<u8> {
    let ttl = spec.ip_ttl.unwrap_or(64);
    let v4 = ends.1.is_ipv4();
    // The builder fills in lengths, protocol and checksums.
    let headers = match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header {
                dscp,
                time_to_live: ttl,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv4Header::default()
            };
            IpHeaders::Ipv4(header, Default::default())
        }
        (source, destination) => {
            let header = Ipv6Header {
                traffic_class: dscp.value() << 2,
                hop_limit: ttl,
                source: six(source).octets(),
                destination: six(destination).octets(),
                ..Ipv6Header::default()
            };
            IpHeaders::Ipv6(header, Default::default())
        }
    };
    let builder = match ethernet {
        Some((source, destination)) => {
            PacketBuilder::ethernet2(source.0, destination.0).ip(headers)
        }
        None => PacketBuilder::ip(headers),
    };
    let payload = vec![0; spec.length.unwrap_or(LENGTH).into()];
    let mut out = Vec::new();
    let written = match proto {
        Some(TCP) => {
            let source = spec.tcp_src.unwrap_or(SOURCE_PORT);
            let tcp = builder.tcp(source, spec.tcp_dst.unwrap_or(80), 1, u16::MAX);
            // The first packet of a connection has no payload.
            tcp.syn()
                .write(&mut out, &payload[..spec.length.unwrap_or(0).into()])
        }
        Some(UDP) => {
            let source = spec.udp_src.unwrap_or(SOURCE_PORT);
            let udp = builder.udp(source, spec.udp_dst.unwrap_or(53));
            udp.write(&mut out, &payload)
        }
        Some(number) => builder.write(&mut out, IpNumber(number), &payload),
        None if v4 => builder.icmpv4_echo_request(1, 1).write(&mut out, &payload),
        None => builder.icmpv6_echo_request(1, 1).write(&mut out, &payload),
    };
    written.expect("lengths are far below 64 KiB, and writing to memory does not fail");
    out
}

fn six(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
