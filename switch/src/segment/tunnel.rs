//! Super-packets in tunnels. Which bytes a pipeline puts in front of a frame is its own affair, so the IP header of a
//! super-packet is found from behind: it ends where the offload header says that the transport header begins.
//!
//! When such a packet is cut, the outer IP header and an outer UDP header after it (as of VXLAN, RFC 7348, or Geneve,
//! RFC 8926) get each segment's lengths. What stands between them and the inner frame is copied.

use super::{
    IpVersion, Layers, PROTO_TCP, PROTO_UDP, find_ip, get16, ipv4, ipv6, locate, put16, read16,
};
use crate::checksum;
use crate::packet::Packet;
use crate::vnet::{GSO_TCPV4, GSO_TCPV6};

/// Most bytes of IPv6 extension headers that are looked through.
const MAX_EXTENSION_BYTES: usize = 64;

/// The headers that the offload header of a super-packet means, in a tunnel or not.
pub(super) fn layers(packet: &Packet, is_l2: bool) -> Option<Layers> {
    let start = usize::from(packet.vnet.csum_start);
    locate(packet.head(), is_l2)
        .filter(|layers| layers.transport == start)
        .or_else(|| inside(packet, start))
}

/// Whether something else than the IP header of a super-packet's segments comes first.
pub(crate) fn is_tunnelled(packet: &Packet, is_l2: bool) -> bool {
    let start = usize::from(packet.vnet.csum_start);
    locate(packet.head(), is_l2).is_none_or(|layers| layers.transport != start)
}

/// Looks for the IP header that ends at `start`.
fn inside(packet: &Packet, start: usize) -> Option<Layers> {
    let bytes = packet.head();
    let gso = packet.vnet.gso();
    let fits = |layers: &Layers| {
        let len = usize::from(read16(bytes, layers.ip + if layers.is_v6 { 4 } else { 2 })?);
        let from = layers.ip + if layers.is_v6 { 40 } else { 0 };
        let proto = matches!(layers.proto, PROTO_TCP | PROTO_UDP);
        (proto && layers.transport == start && from + len == packet.len()).then_some(())
    };
    let v4 = (20..=60).step_by(4).filter_map(|header| {
        let at = start.checked_sub(header)?;
        let is_ip = usize::from(*bytes.get(at)?) == 0x40 | (header / 4);
        ipv4(bytes, at).filter(|layers| is_ip && fits(layers).is_some())
    });
    let v6 = (40..=40 + MAX_EXTENSION_BYTES)
        .step_by(8)
        .filter_map(|header| {
            let at = start.checked_sub(header)?;
            let is_ip = bytes.get(at)? >> 4 == 6;
            ipv6(bytes, at).filter(|layers| is_ip && fits(layers).is_some())
        });
    match gso {
        GSO_TCPV4 => { v4 }.next(),
        GSO_TCPV6 => { v6 }.next(),
        _ => v4.chain(v6).next(),
    }
}

/// Makes the headers in front of the inner IP header right for the segment with this index, whose inner headers are
/// done.
pub(super) fn fix_outer(frame: &mut Packet, is_l2: bool, inner: usize, index: u16) {
    let Some((ip, version)) = find_ip(frame.head(), is_l2).filter(|&(ip, _)| ip < inner) else {
        return;
    };
    let len = frame.len();
    let length = |from: usize| u16::try_from(len - from).unwrap_or(u16::MAX);
    let head = frame.head_mut();
    let (proto, transport, addresses) = match version {
        IpVersion::V4 => {
            let header_len = usize::from(head[ip] & 0x0f) * 4;
            if header_len < 20 || ip + header_len > inner {
                return;
            }
            put16(head, ip + 2, length(ip));
            let id = get16(head, ip + 4).wrapping_add(index);
            put16(head, ip + 4, id);
            put16(head, ip + 10, 0);
            let sum = checksum::sum(&head[ip..ip + header_len]);
            put16(head, ip + 10, checksum::finish(sum));
            (head[ip + 9], ip + header_len, ip + 12..ip + 20)
        }
        IpVersion::V6 => {
            if ip + 40 > inner {
                return;
            }
            put16(head, ip + 4, length(ip + 40));
            (head[ip + 6], ip + 40, ip + 8..ip + 40)
        }
    };
    if proto != PROTO_UDP || transport + 8 > inner {
        return;
    }
    put16(head, transport + 4, length(transport));
    // Tunnels mostly do without (RFC 7348 §5, RFC 6935); one that has a checksum keeps a right one.
    if get16(head, transport + 6) == 0 {
        return;
    }
    put16(head, transport + 6, 0);
    let pseudo = checksum::sum(&head[addresses]) + u64::from(proto) + (len - transport) as u64;
    let sum = checksum::sum_parts(&frame.head()[transport..], frame.tail());
    let checksum = match checksum::finish(sum + pseudo) {
        0 => 0xffff,
        checksum => checksum,
    };
    put16(frame.head_mut(), transport + 6, checksum);
}
