//! Offload headers: whether they fit the bytes, and doing in software what they leave to a device.
//!
//! A frame written to a device without offloads must be whole: a super-packet is cut into wire segments, a partial
//! checksum is finished. This reads payload, which nothing else in the switch does.

#![expect(
    clippy::cast_possible_truncation,
    reason = "frames are at most 64 KiB, and TCP sequence numbers wrap"
)]

use crate::checksum;
use crate::drops::DropReason;
use crate::packet::{Packet, Pool};
use crate::vnet::{GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VnetHdr};

mod fragment;
mod slice;
mod tunnel;

pub(crate) use fragment::fragment;
pub(crate) use slice::{can_be_cut, slice};
pub(crate) use tunnel::is_tunnelled;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const ETHERTYPE_MPLS: [u16; 2] = [0x8847, 0x8848];
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const UDP_CHECKSUM_OFFSET: u16 = 6;
/// IPv6 extension headers that a packet may have before its transport header.
const MAX_EXTENSIONS: usize = 8;
/// Tags and labels together.
const MAX_TAGS: usize = 16;

/// Where the transport header of a frame is, and the IP header before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layers {
    /// The IP header's offset.
    ip: usize,
    is_v6: bool,
    proto: u8,
    /// The transport header's offset.
    transport: usize,
    /// Where the payload begins.
    payload: usize,
}

/// Checks the offload header of a packet against its bytes, and sets `hdr_len` of a super-packet to what it is.
///
/// # Errors
///
/// [`DropReason::BAD_OFFLOAD_HEADER`].
pub fn validate(packet: &mut Packet, is_l2: bool) -> Result<(), DropReason> {
    let vnet = packet.vnet;
    if vnet.gso_type == GSO_NONE && !vnet.is_partial() {
        return Ok(());
    }
    match true_header_len(packet, &vnet, is_l2) {
        Some(hdr_len) => {
            packet.vnet.hdr_len = hdr_len;
            Ok(())
        }
        None => Err(DropReason::BAD_OFFLOAD_HEADER),
    }
}

/// What `hdr_len` must be; `None` where the offload header is wrong.
fn true_header_len(packet: &Packet, vnet: &VnetHdr, is_l2: bool) -> Option<u16> {
    // The checksum is patched in the head, wherever what it covers ends.
    if vnet.is_partial() && vnet.csum_field() + 2 > packet.head().len() {
        return None;
    }
    if !vnet.is_gso() {
        let fits = usize::from(vnet.hdr_len) <= packet.len();
        return (vnet.gso_type == GSO_NONE && fits).then_some(vnet.hdr_len);
    }
    let layers = tunnel::layers(packet, is_l2)?;
    let (v4, v6) = (!layers.is_v6, layers.is_v6);
    let offset = match (vnet.gso(), layers.proto) {
        (GSO_TCPV4, PROTO_TCP) if v4 => 16,
        (GSO_TCPV6, PROTO_TCP) if v6 => 16,
        (GSO_UDP_L4, PROTO_UDP) => 6,
        _ => return None,
    };
    let fits = vnet.gso_size > 0
        && vnet.is_partial()
        && usize::from(vnet.csum_offset) == offset
        && layers.payload < packet.len();
    fits.then(|| u16::try_from(layers.payload).ok()).flatten()
}

/// Makes a packet whole for a device without offloads: cuts it, or finishes its checksum; appends the frames to `out`.
pub fn without_offloads(mut packet: Packet, is_l2: bool, pool: &mut Pool, out: &mut Vec<Packet>) {
    if packet.vnet.is_gso() {
        segment(&packet, is_l2, pool, out);
        pool.recycle(packet);
    } else {
        finish_checksum(&mut packet);
        out.push(packet);
    }
}

/// The bytes of a packet as it is on a wire: in segments, checksums finished.
pub(crate) fn wire_frames(mut packet: Packet, is_l2: bool, pool: &mut Pool) -> Vec<Vec<u8>> {
    if validate(&mut packet, is_l2).is_err() {
        // Nobody knows what its offload header means, so it is shown as it came.
        return vec![packet.to_vec()];
    }
    let mut frames = Vec::new();
    without_offloads(packet, is_l2, pool, &mut frames);
    let bytes = frames.iter().map(Packet::to_vec).collect();
    for frame in frames {
        pool.recycle(frame);
    }
    bytes
}

/// Finishes a partial checksum, where there is one.
pub fn finish_checksum(packet: &mut Packet) {
    if !packet.vnet.is_partial() {
        return;
    }
    let vnet = std::mem::take(&mut packet.vnet);
    let start = usize::from(vnet.csum_start);
    let field = vnet.csum_field();
    if field + 2 > packet.head().len() {
        return;
    }
    let sum = checksum::sum_parts(&packet.head()[start..], packet.tail());
    // Zero would mean that UDP has no checksum (RFC 768); for the others it is what an incremental update gives too.
    let checksum = match checksum::finish(sum) {
        0 if vnet.csum_offset == UDP_CHECKSUM_OFFSET => 0xffff,
        checksum => checksum,
    };
    packet.head_mut()[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Cuts a super-packet that [`validate`] has accepted into whole frames, checksums finished.
pub fn segment(packet: &Packet, is_l2: bool, pool: &mut Pool, out: &mut Vec<Packet>) {
    let Some(layers) = tunnel::layers(packet, is_l2) else {
        return;
    };
    let end = packet.len();
    let mut sent = 0;
    let mut index = 0;
    while layers.payload + sent < end {
        let (mut frame, len) = cut(packet, &layers, index, sent, pool);
        tunnel::fix_outer(&mut frame, is_l2, layers.ip, index);
        out.push(frame);
        sent += len;
        index += 1;
    }
}

/// A packet, or the first segment of a super-packet, with its checksum finished.
pub(crate) fn first(mut packet: Packet, is_l2: bool, pool: &mut Pool) -> Packet {
    if packet.vnet.is_gso()
        && let Some(layers) = tunnel::layers(&packet, is_l2)
        && layers.payload < packet.len()
    {
        let (mut frame, _) = cut(&packet, &layers, 0, 0, pool);
        tunnel::fix_outer(&mut frame, is_l2, layers.ip, 0);
        pool.recycle(packet);
        return frame;
    }
    finish_checksum(&mut packet);
    packet.vnet = VnetHdr::default();
    packet
}

/// The segment after `sent` bytes of payload, and how many bytes of payload it has.
fn cut(
    packet: &Packet,
    layers: &Layers,
    index: u16,
    sent: usize,
    pool: &mut Pool,
) -> (Packet, usize) {
    let size = usize::from(packet.vnet.gso_size).max(1);
    let from = layers.payload + sent;
    let len = size.min(packet.len() - from);
    let mut frame = pool.blank(layers.payload + len);
    frame.write(0, &packet.head()[..layers.payload]);
    packet.copy_range(from, len, |at, bytes| {
        frame.write(layers.payload + at, bytes)
    });
    let place = Place {
        index,
        is_first: index == 0,
        is_last: from + len == packet.len(),
        sent,
    };
    fix(&mut frame, layers, &place);
    finish_checksum(&mut frame);
    (frame, len)
}

/// A segment's place among the others.
struct Place {
    index: u16,
    is_first: bool,
    is_last: bool,
    /// Payload bytes before it.
    sent: usize,
}

/// Makes the copied headers right for what the frame holds now; the checksum is partial then.
fn fix(frame: &mut Packet, layers: &Layers, place: &Place) {
    let len = frame.len();
    let ip_len = (len - layers.ip) as u16;
    let transport_len = len - layers.transport;
    let head = frame.head_mut();
    if layers.is_v6 {
        put16(head, layers.ip + 4, ip_len - 40);
    } else {
        put16(head, layers.ip + 2, ip_len);
        let id = get16(head, layers.ip + 4).wrapping_add(place.index);
        put16(head, layers.ip + 4, id);
        put16(head, layers.ip + 10, 0);
        let header_len = usize::from(head[layers.ip] & 0x0f) * 4;
        let sum = checksum::sum(&head[layers.ip..layers.ip + header_len]);
        put16(head, layers.ip + 10, checksum::finish(sum));
    }
    let field = if layers.proto == PROTO_TCP {
        let at = layers.transport + 4;
        let sequence = u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let sequence = sequence.wrapping_add(place.sent as u32);
        head[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
        let flags = &mut head[layers.transport + 13];
        if !place.is_last {
            // FIN and PSH belong to the last byte.
            *flags &= !0x09;
        }
        if !place.is_first {
            // CWR is said once.
            *flags &= !0x80;
        }
        layers.transport + 16
    } else {
        put16(head, layers.transport + 4, transport_len as u16);
        layers.transport + 6
    };
    let addresses = if layers.is_v6 {
        layers.ip + 8..layers.ip + 40
    } else {
        layers.ip + 12..layers.ip + 20
    };
    let pseudo = checksum::sum(&head[addresses]) + u64::from(layers.proto) + transport_len as u64;
    put16(head, field, checksum::fold(pseudo.into()));
    frame.vnet = VnetHdr {
        flags: NEEDS_CSUM,
        csum_start: layers.transport as u16,
        csum_offset: (field - layers.transport) as u16,
        ..VnetHdr::default()
    };
}

/// Finds the innermost IP header of a frame, through tags, labels and a pseudowire, and its TCP or UDP header.
fn locate(bytes: &[u8], is_l2: bool) -> Option<Layers> {
    match find_ip(bytes, is_l2)? {
        (at, IpVersion::V4) => ipv4(bytes, at),
        (at, IpVersion::V6) => ipv6(bytes, at),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpVersion {
    V4,
    V6,
}

/// Finds the innermost IP header of a frame, through tags, labels and a pseudowire.
pub(crate) fn find_ip(bytes: &[u8], is_l2: bool) -> Option<(usize, IpVersion)> {
    let mut at = 0;
    let mut ethertype = None;
    if is_l2 {
        ethertype = Some(read16(bytes, 12)?);
        at = 14;
    }
    for _ in 0..MAX_TAGS {
        match ethertype {
            Some(kind) if ETHERTYPE_TAGS.contains(&kind) => {
                ethertype = Some(read16(bytes, at + 2)?);
                at += 4;
            }
            Some(kind) if ETHERTYPE_MPLS.contains(&kind) => {
                let is_bottom = *bytes.get(at + 2)? & 1 == 1;
                at += 4;
                if is_bottom {
                    // A zero control word, then Ethernet (RFC 4448); else IP.
                    ethertype = match bytes.get(at)? >> 4 {
                        0 => {
                            at += 4 + 14;
                            Some(read16(bytes, at - 2)?)
                        }
                        _ => None,
                    };
                }
            }
            _ => break,
        }
    }
    let version = bytes.get(at)? >> 4;
    match (ethertype, version) {
        (None | Some(ETHERTYPE_IPV4), 4) => Some((at, IpVersion::V4)),
        (None | Some(ETHERTYPE_IPV6), 6) => Some((at, IpVersion::V6)),
        _ => None,
    }
}

fn ipv4(bytes: &[u8], ip: usize) -> Option<Layers> {
    let header_len = usize::from(bytes.get(ip)? & 0x0f) * 4;
    if header_len < 20 {
        return None;
    }
    let proto = *bytes.get(ip + 9)?;
    let transport = ip + header_len;
    let payload = payload(bytes, proto, transport)?;
    Some(Layers {
        ip,
        is_v6: false,
        proto,
        transport,
        payload,
    })
}

fn ipv6(bytes: &[u8], ip: usize) -> Option<Layers> {
    let mut proto = *bytes.get(ip + 6)?;
    let mut transport = ip + 40;
    for _ in 0..MAX_EXTENSIONS {
        match proto {
            // Hop-by-hop, routing, destination options.
            0 | 43 | 60 => {
                proto = *bytes.get(transport)?;
                transport += (usize::from(*bytes.get(transport + 1)?) + 1) * 8;
            }
            _ => break,
        }
    }
    let payload = payload(bytes, proto, transport)?;
    Some(Layers {
        ip,
        is_v6: true,
        proto,
        transport,
        payload,
    })
}

fn payload(bytes: &[u8], proto: u8, transport: usize) -> Option<usize> {
    let header_len = match proto {
        PROTO_TCP => usize::from(bytes.get(transport + 12)? >> 4) * 4,
        PROTO_UDP => 8,
        _ => return None,
    };
    let minimum = if proto == PROTO_TCP { 20 } else { 8 };
    let end = transport + header_len;
    (header_len >= minimum && end <= bytes.len()).then_some(end)
}

fn read16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
