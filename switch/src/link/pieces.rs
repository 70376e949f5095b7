//! Packets on a link, and the parts of them that have one fate.

#![expect(
    clippy::cast_possible_truncation,
    reason = "packets are at most 64 KiB and have fewer segments than bytes"
)]

use super::random::Stream;
use crate::checksum;
use crate::datapath::Nanos;
use crate::packet::{Packet, Pool};
use crate::segment::{self, IpVersion};

/// Consecutive wire segments of one packet, or the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// The packet.
    pub(super) parent: u32,
    /// The first segment.
    pub(super) first: u16,
    /// Number of segments.
    pub(super) count: u16,
    /// Bytes that count, all segments together.
    pub(super) bytes: u32,
    /// When it began to wait.
    pub(super) came: Nanos,
    /// The same for all packets of a flow.
    pub(super) flow: u32,
    /// Its ECN field says that it may be marked (RFC 3168 §5).
    pub(super) is_ect: bool,
    /// It leaves with "congestion experienced".
    pub(super) is_marked: bool,
    /// It leaves with a wrong bit, by this random number.
    pub(super) corrupt: Option<u64>,
}

/// How a packet's bytes count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// It begins with an Ethernet header.
    pub is_l2: bool,
    /// Bytes in front of the customer's frame, in each segment, that do not count.
    pub uncounted: usize,
}

/// A packet of which something is on the link.
#[derive(Debug)]
struct Parent<T> {
    packet: Packet,
    tag: T,
    is_l2: bool,
    /// Units of it that exist.
    uses: u32,
}

/// All packets that are on one direction of a link.
#[derive(Debug)]
pub(super) struct Pieces<T> {
    parents: Vec<Option<Parent<T>>>,
    free: Vec<u32>,
    /// Bytes that the packets take.
    pub(super) held: usize,
}

/// What the IP header of a packet tells.
#[derive(Clone, Copy, Debug, Default)]
struct Header {
    /// Where it begins; where there is none, what follows the Ethernet header.
    at: usize,
    flow: u32,
    is_ect: bool,
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self {
            parents: Vec::new(),
            free: Vec::new(),
            held: 0,
        }
    }
}

impl<T: Clone> Pieces<T> {
    /// Takes a packet in and appends its units: one for each wire segment, or one for all.
    pub(super) fn add(
        &mut self,
        packet: Packet,
        tag: T,
        framing: Framing,
        apart: bool,
        now: Nanos,
        units: &mut Vec<Unit>,
    ) {
        let header = Header::of(packet.head(), framing.is_l2);
        let segments = packet.segments().min(u32::from(u16::MAX)) as u16;
        let repeated = usize::from(packet.vnet.hdr_len) * usize::from(segments - 1);
        let uncounted = framing.uncounted * usize::from(segments);
        let total = (packet.len() + repeated).saturating_sub(uncounted);
        let largest = packet.largest_segment().saturating_sub(framing.uncounted);
        let apart = apart && segment::can_be_cut(&packet, framing.is_l2);
        let parts = if apart { segments } else { 1 };
        let parent = self.insert(Parent {
            is_l2: framing.is_l2,
            uses: u32::from(parts),
            packet,
            tag,
        });
        let unit = |first: u16, count: u16, bytes: usize| Unit {
            parent,
            first,
            count,
            bytes: bytes as u32,
            came: now,
            flow: header.flow,
            is_ect: header.is_ect,
            is_marked: false,
            corrupt: None,
        };
        if parts == 1 {
            units.push(unit(0, segments, total));
            return;
        }
        // All segments but the last are full.
        let last = total.saturating_sub(largest * usize::from(segments - 1));
        units.extend((0..segments - 1).map(|index| unit(index, 1, largest)));
        units.push(unit(segments - 1, 1, last));
    }

    /// One more unit of a packet that has one.
    pub(super) fn copy(&mut self, unit: &Unit) {
        if let Some(Some(parent)) = self.parents.get_mut(unit.parent as usize) {
            parent.uses += 1;
        }
    }

    /// What goes with a packet.
    pub(super) fn tag(&self, parent: u32) -> Option<&T> {
        let parent = self.parents.get(parent as usize)?.as_ref()?;
        Some(&parent.tag)
    }

    /// Lets go of `uses` units of a packet.
    pub(super) fn release(&mut self, parent: u32, uses: u32, pool: &mut Pool) {
        if let Some(gone) = self.let_go(parent, uses) {
            pool.recycle(gone.packet);
        }
    }

    /// The packet that `uses` joined units make, which are let go of, and what goes with it.
    pub(super) fn take(&mut self, unit: &Unit, uses: u32, pool: &mut Pool) -> Option<(Packet, T)> {
        let parent = self.parents.get(unit.parent as usize)?.as_ref()?;
        let is_l2 = parent.is_l2;
        let is_whole = unit.first == 0 && u32::from(unit.count) == parent.packet.segments();
        let (mut packet, tag) = if is_whole && parent.uses == uses {
            let gone = self.let_go(unit.parent, uses)?;
            (gone.packet, gone.tag)
        } else {
            let tag = parent.tag.clone();
            let packet = if is_whole {
                Some(pool.copy(&parent.packet))
            } else {
                segment::slice(&parent.packet, is_l2, unit.first, unit.count, pool)
            };
            self.release(unit.parent, uses, pool);
            (packet?, tag)
        };
        if unit.is_marked {
            mark(&mut packet, is_l2);
        }
        if let Some(random) = unit.corrupt {
            packet = corrupt(packet, is_l2, random, pool);
        }
        Some((packet, tag))
    }

    fn insert(&mut self, parent: Parent<T>) -> u32 {
        self.held += parent.packet.len();
        if let Some(index) = self.free.pop() {
            self.parents[index as usize] = Some(parent);
            return index;
        }
        self.parents.push(Some(parent));
        (self.parents.len() - 1) as u32
    }

    fn let_go(&mut self, index: u32, uses: u32) -> Option<Parent<T>> {
        let slot = self.parents.get_mut(index as usize)?;
        let parent = slot.as_mut()?;
        parent.uses = parent.uses.saturating_sub(uses);
        if parent.uses > 0 {
            return None;
        }
        let parent = slot.take()?;
        self.free.push(index);
        self.held -= parent.packet.len();
        Some(parent)
    }
}

impl Header {
    fn of(bytes: &[u8], is_l2: bool) -> Self {
        let Some((at, version)) = segment::find_ip(bytes, is_l2) else {
            let flow = fnv(bytes.get(..14).unwrap_or(bytes));
            return Self {
                at: if is_l2 { 14 } else { 0 },
                flow,
                is_ect: false,
            };
        };
        let byte = |offset: usize| bytes.get(at + offset).copied().unwrap_or_default();
        let range = |from: usize, len: usize| bytes.get(at + from..at + from + len).unwrap_or(&[]);
        let (ecn, proto, addresses, transport) = match version {
            IpVersion::V4 => {
                let header_len = usize::from(byte(0) & 0x0f) * 4;
                let is_fragment = byte(6) & 0x3f != 0 || byte(7) != 0;
                let ports = (!is_fragment).then_some(header_len);
                (byte(1) & 3, byte(9), range(12, 8), ports)
            }
            IpVersion::V6 => ((byte(1) >> 4) & 3, byte(6), range(8, 32), Some(40)),
        };
        let ports = match (proto, transport) {
            (6 | 17, Some(offset)) => range(offset, 4),
            _ => &[],
        };
        let flow = fnv(addresses) ^ fnv(ports).rotate_left(16) ^ u32::from(proto);
        Self {
            at,
            flow: flow.wrapping_mul(0x9e37_79b9),
            is_ect: ecn != 0,
        }
    }
}

/// Bytes of the IP packet in the largest wire segment; `None` where there is no IP packet.
pub(super) fn ip_size(packet: &Packet, is_l2: bool) -> Option<usize> {
    let (at, _) = segment::find_ip(packet.head(), is_l2)?;
    Some(packet.largest_segment().saturating_sub(at))
}

/// Sets "congestion experienced" (RFC 3168 §5) in the innermost IP header.
fn mark(packet: &mut Packet, is_l2: bool) {
    let Some((at, version)) = segment::find_ip(packet.head(), is_l2) else {
        return;
    };
    let head = packet.head_mut();
    match version {
        IpVersion::V4 if head.len() >= at + 12 => {
            let old = u16::from_be_bytes([head[at], head[at + 1]]);
            head[at + 1] |= 3;
            let new = u16::from_be_bytes([head[at], head[at + 1]]);
            let sum = u16::from_be_bytes([head[at + 10], head[at + 11]]);
            let sum = checksum::update_full(sum, checksum::delta(old.into(), new.into(), 0));
            head[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        }
        IpVersion::V6 if head.len() >= at + 2 => head[at + 1] |= 0x30,
        IpVersion::V4 | IpVersion::V6 => {}
    }
}

/// Flips one bit of the IP packet, or of what stands in its place. A partial checksum is finished first: else the
/// receiver would compute it over the damage and find it right.
fn corrupt(packet: Packet, is_l2: bool, random: u64, pool: &mut Pool) -> Packet {
    let from = Header::of(packet.head(), is_l2).at;
    let mut whole = segment::first(packet, is_l2, pool);
    let len = whole.len();
    let from = if from < len { from } else { 0 };
    let bits = ((len - from) as u64).saturating_mul(8);
    if bits == 0 {
        return whole;
    }
    let bit = Stream::fixed(random).below(bits) as usize;
    let at = from + bit / 8;
    let mut bytes = pool.blank(len);
    whole.copy_range(0, len, |offset, part| bytes.write(offset, part));
    let mut damaged = [0];
    whole.copy_range(at, 1, |_, byte| damaged.copy_from_slice(byte));
    damaged[0] ^= 1 << (bit % 8);
    bytes.write(at, &damaged);
    pool.recycle(std::mem::replace(&mut whole, bytes));
    whole
}

fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
