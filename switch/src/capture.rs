//! Copies of the frames that pass a port, for whoever looks.
//!
//! A worker that forwards a frame over a watched port puts a copy, which shares the payload, in a ring; the watcher's
//! task takes it from there and does what costs time: cutting super-packets and finishing checksums. A full ring
//! counts what it cannot take, and never holds a worker up. With nobody watching, a frame costs one branch.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::datapath::Nanos;
use crate::host::Endpoint;
use crate::packet::{HEAD_SIZE, Packet, Pool, TAIL_SIZE};
pub(crate) use crate::pcapng::Direction;
use crate::ports::Medium;
use crate::recorder::FlowKey;
use crate::segment;

/// Frames that a ring holds.
const MAX_FRAMES: usize = 8192;
/// Bytes of memory that the frames of a ring hold.
const MAX_BYTES: usize = 64 << 20;
/// Most tags and labels before the packet that a filter looks at.
const MAX_TAGS: usize = 32;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Which frames are wanted; a field that is `None` matches everything. Tags, labels and pseudowires are looked through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CaptureFilter {
    /// Source or destination; for ARP sender or target.
    pub(crate) host: Option<IpAddr>,
    /// TCP or UDP port of either end.
    pub(crate) port: Option<u16>,
    /// IP protocol.
    pub(crate) ip_proto: Option<u8>,
    /// Ethernet type.
    pub(crate) ether_type: Option<u16>,
}

/// A frame that passed.
#[derive(Debug)]
pub(crate) struct Captured {
    /// When.
    pub(crate) at: Nanos,
    /// Which way.
    pub(crate) direction: Direction,
    /// The frame, a super-packet perhaps.
    pub(crate) packet: Packet,
}

/// A watched port, a filter and a ring; shared by all workers.
#[derive(Debug)]
pub(crate) struct Capture {
    at: Endpoint,
    medium: Medium,
    filter: CaptureFilter,
    ring: Mutex<Ring>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    frames: VecDeque<Captured>,
    /// Memory that the frames hold.
    bytes: usize,
    dropped: u64,
}

/// What a watcher takes at once.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The oldest frames.
    pub(crate) frames: Vec<Captured>,
    /// Frames that found no room since the last time.
    pub(crate) dropped: u64,
}

impl Capture {
    /// Watches a port.
    pub(crate) fn new(at: Endpoint, medium: Medium, filter: CaptureFilter) -> Self {
        Self {
            at,
            medium,
            filter,
            ring: Mutex::default(),
            filled: Notify::new(),
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // The numbers fit the queue between any two operations on it.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a frame that passes a port.
    pub(crate) fn offer(&self, at: Endpoint, direction: Direction, packet: &Packet, now: Nanos) {
        if at != self.at || !self.filter.matches(packet.head(), self.medium) {
            return;
        }
        let mut ring = self.ring();
        let bytes = memory(packet);
        if ring.frames.len() == MAX_FRAMES || ring.bytes + bytes > MAX_BYTES {
            ring.dropped += 1;
        } else {
            ring.bytes += bytes;
            ring.frames.push_back(Captured {
                at: now,
                direction,
                packet: packet.clone(),
            });
        }
        drop(ring);
        self.filled.notify_one();
    }

    /// What the port's frames begin with.
    pub(crate) fn medium(&self) -> Medium {
        self.medium
    }

    /// Takes the oldest frames, of about `most` bytes together, as soon as there are some. One task at a time may wait.
    pub(crate) async fn take(&self, most: usize) -> Taken {
        loop {
            let taken = self.ring().take(most);
            if !taken.frames.is_empty() || taken.dropped > 0 {
                return taken;
            }
            self.filled.notified().await;
        }
    }
}

impl Ring {
    fn take(&mut self, most: usize) -> Taken {
        let mut taken = Taken {
            frames: Vec::new(),
            dropped: std::mem::take(&mut self.dropped),
        };
        let mut len = 0;
        while len < most
            && let Some(frame) = self.frames.pop_front()
        {
            self.bytes -= memory(&frame.packet);
            len += frame.packet.len();
            taken.frames.push(frame);
        }
        taken
    }
}

/// Memory that a packet holds, used or not.
fn memory(packet: &Packet) -> usize {
    match packet.tail() {
        [] => HEAD_SIZE,
        _ => HEAD_SIZE + TAIL_SIZE,
    }
}

impl Captured {
    /// The frame as it is on a wire: in segments, checksums finished.
    pub(crate) fn wire_frames(self, medium: Medium, pool: &mut Pool) -> Vec<Vec<u8>> {
        segment::wire_frames(self.packet, medium.is_l2(), pool)
    }
}

impl CaptureFilter {
    /// Whether a frame is wanted.
    fn matches(&self, frame: &[u8], medium: Medium) -> bool {
        if *self == Self::default() {
            return true;
        }
        let found = match medium {
            Medium::L2 => innermost(frame),
            Medium::L3 => bare(frame),
        };
        let Some((ether_type, packet)) = found else {
            return false;
        };
        let mut flow = FlowKey::default();
        let mut hosts = [None, None];
        match ether_type {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => {
                flow = FlowKey::parse_packet(packet);
                hosts = [flow.source, flow.destination];
            }
            ETHERTYPE_ARP => hosts = [arp_address(packet, 14), arp_address(packet, 24)],
            _ => {}
        }
        self.ether_type.is_none_or(|wanted| wanted == ether_type)
            && self
                .ip_proto
                .is_none_or(|wanted| flow.ip_proto == Some(wanted))
            && self.host.is_none_or(|wanted| hosts.contains(&Some(wanted)))
            && self
                .port
                .is_none_or(|port| [flow.source_port, flow.destination_port].contains(&Some(port)))
    }
}

fn arp_address(packet: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 4] = *packet.get(at..)?.first_chunk()?;
    Some(Ipv4Addr::from(octets).into())
}

/// The Ethernet type that an IP packet would have.
fn bare(packet: &[u8]) -> Option<(u16, &[u8])> {
    match packet.first()? >> 4 {
        4 => Some((ETHERTYPE_IPV4, packet)),
        6 => Some((ETHERTYPE_IPV6, packet)),
        _ => None,
    }
}

/// The Ethernet type of what is behind all tags and labels, and what follows it.
fn innermost(frame: &[u8]) -> Option<(u16, &[u8])> {
    let mut rest = frame.get(12..)?;
    for _ in 0..MAX_TAGS {
        let (kind, after) = rest.split_first_chunk::<2>()?;
        match u16::from_be_bytes(*kind) {
            0x8100 | 0x88a8 | 0x9100 => rest = after.get(2..)?,
            0x8847 | 0x8848 => {
                let mut after = after;
                for _ in 0..MAX_TAGS {
                    let is_bottom = after.get(2)? & 1 == 1;
                    after = after.get(4..)?;
                    if is_bottom {
                        break;
                    }
                }
                match after.first()? >> 4 {
                    // A zero control word, then Ethernet (RFC 4448).
                    0 => rest = after.get(4 + 12..)?,
                    _ => return bare(after),
                }
            }
            kind => return Some((kind, after)),
        }
    }
    None
}

#[cfg(test)]
mod tests;
