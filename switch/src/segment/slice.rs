//! A part of a super-packet: a shorter super-packet, or one segment of it, with its checksum still partial.

use super::{Place, fix, tunnel};
use crate::packet::{Packet, Pool};
use crate::vnet::VnetHdr;

/// Whether a packet is a super-packet whose segments [`slice`] can give.
pub(crate) fn can_be_cut(packet: &Packet, is_l2: bool) -> bool {
    packet.segments() > 1
        && tunnel::layers(packet, is_l2).is_some_and(|layers| layers.payload < packet.len())
}

/// The `count` wire segments of a super-packet from the one numbered `first` on, in a packet of their own; `None` where
/// the packet is none that [`super::validate`] has accepted, or has no such segments.
pub(crate) fn slice(
    packet: &Packet,
    is_l2: bool,
    first: u16,
    count: u16,
    pool: &mut Pool,
) -> Option<Packet> {
    let layers = tunnel::layers(packet, is_l2)?;
    let size = usize::from(packet.vnet.gso_size);
    let sent = usize::from(first) * size;
    let from = layers.payload + sent;
    if size == 0 || count == 0 || from >= packet.len() {
        return None;
    }
    let len = (usize::from(count) * size).min(packet.len() - from);
    let mut part = pool.blank(layers.payload + len);
    part.write(0, &packet.head()[..layers.payload]);
    packet.copy_range(from, len, |at, bytes| {
        part.write(layers.payload + at, bytes);
    });
    let place = Place {
        index: first,
        is_first: first == 0,
        is_last: from + len == packet.len(),
        sent,
    };
    fix(&mut part, &layers, &place);
    tunnel::fix_outer(&mut part, is_l2, layers.ip, first);
    if len > size {
        part.vnet = VnetHdr {
            gso_type: packet.vnet.gso_type,
            gso_size: packet.vnet.gso_size,
            hdr_len: packet.vnet.hdr_len,
            ..part.vnet
        };
    }
    Some(part)
}

#[cfg(test)]
mod tests;
