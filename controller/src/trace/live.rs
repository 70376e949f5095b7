//! Live traces: what the recorder of the data plane saw of a real packet, in the words of the static trace where both agree.
//!
//! The recorder tells where a packet went, not what was looked up. So a packet with the same headers is walked over the
//! switches' state as well; where its way is the one that was seen, the tables are told too.

use std::net::IpAddr;

use bytes::Bytes;
use serde_json::Value;
use weft_proto::node::v1 as node;
use weft_proto::vocab::PortNo;

use super::packet::{ICMP, ICMPV6, Probe, TCP, UDP};
use super::{Names, ends, nowhere};
use crate::spec::trace::{PacketSpec, TraceAnswer, TraceHop, TraceRequest, TraceVerdict};

/// What the recorder is to look for: the headers that the question names.
pub(crate) fn filter(request: &TraceRequest, probe: &Probe) -> node::PathFilter {
    let spec = &request.packet;
    let proto = match (probe.proto, probe.source) {
        (Some(proto), _) => proto,
        // Nothing that is said about the protocol is any protocol.
        (None, _) if spec.ip_proto.is_none() => 0,
        (None, IpAddr::V4(_)) => ICMP,
        (None, IpAddr::V6(_)) => ICMPV6,
    };
    let port = |tcp: Option<u16>, udp: Option<u16>| u32::from(tcp.or(udp).unwrap_or(0));
    node::PathFilter {
        source: octets(probe.source),
        destination: octets(probe.destination),
        ip_proto: proto.into(),
        source_port: port(spec.tcp_src, spec.udp_src),
        destination_port: port(spec.tcp_dst, spec.udp_dst),
    }
}

/// The question for a packet with the headers of one that was seen.
fn like(request: &TraceRequest, path: &node::RecordedPath) -> TraceRequest {
    let spec = &request.packet;
    let proto = u8::try_from(path.ip_proto).unwrap_or(0);
    let port = |wanted: u8, port: u32| {
        let port = u16::try_from(port).ok();
        port.filter(|_| proto == wanted)
    };
    let (v4, v6) = match address(&path.source).zip(address(&path.destination)) {
        Some((IpAddr::V4(from), IpAddr::V4(to))) => (Some((from, to)), None),
        Some((IpAddr::V6(from), IpAddr::V6(to))) => (None, Some((from, to))),
        _ => (None, None),
    };
    let packet = PacketSpec {
        ipv4_src: v4.map(|ends| ends.0),
        ipv4_dst: v4.map(|ends| ends.1),
        ipv6_src: v6.map(|ends| ends.0),
        ipv6_dst: v6.map(|ends| ends.1),
        ip_proto: (!matches!(proto, ICMP | ICMPV6)).then(|| Value::from(proto)),
        tcp_src: port(TCP, path.source_port),
        tcp_dst: port(TCP, path.destination_port),
        udp_src: port(UDP, path.source_port),
        udp_dst: port(UDP, path.destination_port),
        ..spec.clone()
    };
    TraceRequest {
        packet,
        ..request.clone()
    }
}

/// A packet that was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The ways of all its copies, as a walk that knows no tables.
    walk: node::PacketTrace,
    /// The question for its static trace.
    pub(crate) like: TraceRequest,
}

/// The first packet among what a recorder saw that came from the sender's own ports; paths of one flow are taken as the
/// copies of one packet.
pub(crate) fn seen(
    names: &Names<'_>,
    request: &TraceRequest,
    paths: &[node::RecordedPath],
) -> Option<Seen> {
    let host = names.model.hosts.get(request.from.name())?;
    let is_sender = |hop: &node::PathHop| {
        let mut interfaces = host.interfaces.iter();
        interfaces.any(|interface| {
            let switch = names.model.switches.get(&interface.attachment.switch);
            switch.is_some_and(|switch| switch.device_id.0 == hop.device_id)
                && interface.attachment.port.0 == hop.in_port
        })
    };
    let mut sent = paths
        .iter()
        .filter(|path| path.hops.first().is_some_and(is_sender));
    let first = sent.next()?;
    let flow = |path: &node::RecordedPath| node::RecordedPath {
        hops: path.hops.first().cloned().into_iter().collect(),
        drop_reason: String::new(),
        packets: 0,
        ..path.clone()
    };
    let of_it = flow(first);
    let mut walk = node::PacketTrace::default();
    for path in std::iter::once(first).chain(sent.filter(|path| flow(path) == of_it)) {
        add(&mut walk, path);
    }
    Some(Seen {
        walk,
        like: like(request, first),
    })
}

/// Adds the way of one copy.
fn add(walk: &mut node::PacketTrace, path: &node::RecordedPath) {
    let last = path.hops.len().saturating_sub(1);
    for (index, hop) in path.hops.iter().enumerate() {
        let dropped = index == last && !path.drop_reason.is_empty();
        let next = u32::try_from(walk.hops.len() + 1).ok();
        let copy = node::TraceCopy {
            port: hop.out_port,
            next_hop: next.filter(|_| index < last),
            ..node::TraceCopy::default()
        };
        walk.hops.push(node::TraceHop {
            device_id: hop.device_id,
            in_port: hop.in_port,
            punted: index == last && !dropped && hop.out_port == PortNo::CPU.0,
            drop_reason: match dropped {
                true => path.drop_reason.clone(),
                false => String::new(),
            },
            copies: match dropped || hop.out_port == PortNo::CPU.0 {
                true => Vec::new(),
                false => vec![copy],
            },
            ..node::TraceHop::default()
        });
    }
}

impl Seen {
    /// The answer; `told` is the walk of a packet with the same headers, where there could be one.
    pub(crate) fn answer(
        &self,
        names: &Names<'_>,
        told: Option<&node::PacketTrace>,
        target: Option<&str>,
    ) -> TraceAnswer {
        let ends_seen = ends(&self.walk);
        let chosen = names.choose(&self.walk, &ends_seen, target);
        let mut seen = names.tell(&self.walk, &ends_seen, chosen, target);
        let way = |answer: &TraceAnswer| {
            let hops = answer.hops.iter().map(
                |TraceHop {
                     switch,
                     in_port,
                     out_port,
                     ..
                 }| (switch.clone(), in_port.clone(), out_port.clone()),
            );
            let hops: Vec<_> = hops.collect();
            (answer.verdict, answer.reason.clone(), hops)
        };
        let equal = told.and_then(|walk| {
            let ends = ends(walk);
            let told = |index| names.tell(walk, &ends, Some(index), target);
            (0..ends.len())
                .map(told)
                .find(|told| way(told) == way(&seen))
        });
        match equal {
            Some(told) => TraceAnswer {
                copies: seen.copies,
                truncated: false,
                ..told
            },
            None => {
                seen.diverged = true;
                seen
            }
        }
    }
}

/// The answer where nothing came.
pub(crate) fn not_seen(request: &TraceRequest) -> TraceAnswer {
    nowhere(TraceVerdict::NotSeen, request.from.name().to_owned())
}

fn octets(address: IpAddr) -> Bytes {
    match address {
        IpAddr::V4(address) => address.octets().to_vec().into(),
        IpAddr::V6(address) => address.octets().to_vec().into(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
