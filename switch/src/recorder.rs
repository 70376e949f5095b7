//! Records which way packets take: the proof behind "this path was used" and "nothing arrived there".
//!
//! A filter is compared once, where a packet enters the process; a packet that matches carries the list of its hops
//! until it leaves or is dropped. Packets with the same flow and the same path are one record with a count.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weft_proto::vocab::{DeviceId, PortNo};

/// Packets that a recorder keeps when the request names no limit.
const DEFAULT_LIMIT: u64 = 4096;

/// What a recorder looks for; a field that is `None` matches everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathFilter {
    /// Source address.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: Option<IpAddr>,
    /// IP protocol.
    pub ip_proto: Option<u8>,
    /// TCP or UDP source port.
    pub source_port: Option<u16>,
    /// TCP or UDP destination port.
    pub destination_port: Option<u16>,
}

/// The flow of a packet as it entered; fields that it does not have are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    /// Source address.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: Option<IpAddr>,
    /// IP protocol.
    pub ip_proto: Option<u8>,
    /// TCP or UDP source port.
    pub source_port: Option<u16>,
    /// TCP or UDP destination port.
    pub destination_port: Option<u16>,
}

/// One switch on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The switch.
    pub device: DeviceId,
    /// Where the packet entered it; [`PortNo::CPU`] for a packet from the controller.
    pub in_port: PortNo,
    /// Where it left; [`PortNo::CPU`] for one to the controller, 0 where it was dropped.
    pub out_port: PortNo,
}

/// A path and who took it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// The flow.
    pub flow: FlowKey,
    /// The switches, in order.
    pub hops: Vec<Hop>,
    /// Why it ended; `None` where the packet left the process.
    pub drop_reason: Option<String>,
}

/// What a recorder has seen since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Paths with the number of packets that took each.
    pub paths: BTreeMap<Path, u64>,
    /// Packets that matched and were not kept because of the limit.
    pub missed: u64,
}

/// A filter and what it caught; shared by all workers.
#[derive(Debug)]
pub struct Recorder {
    filter: PathFilter,
    limit: u64,
    kept: Mutex<(Recorded, u64)>,
}

/// What a packet that is being recorded carries along.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// Bit `n` stands for the plane's recorder `n`.
    recorders: u64,
    flow: FlowKey,
    hops: Vec<Hop>,
}

impl Recorder {
    /// A recorder of at most `limit` packets; 0 means 4096.
    pub fn new(filter: PathFilter, limit: u32) -> Self {
        let limit = match limit {
            0 => DEFAULT_LIMIT,
            limit => u64::from(limit),
        };
        Self {
            filter,
            limit,
            kept: Mutex::default(),
        }
    }

    /// Takes what was recorded so far.
    pub fn take(&self) -> Recorded {
        std::mem::take(&mut *self.kept()).0
    }

    fn kept(&self) -> MutexGuard<'_, (Recorded, u64)> {
        // Both numbers and the map are changed together without a call that can panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, path: &Path) {
        let mut kept = self.kept();
        let (recorded, count) = &mut *kept;
        if *count >= self.limit {
            recorded.missed += 1;
            return;
        }
        *count += 1;
        match recorded.paths.get_mut(path) {
            Some(packets) => *packets += 1,
            None => {
                recorded.paths.insert(path.clone(), 1);
            }
        }
    }
}

impl Trace {
    /// Begins a trace where one of `recorders` (64 at most) wants this packet.
    pub(crate) fn begin(
        recorders: &[std::sync::Arc<Recorder>],
        flow: FlowKey,
    ) -> Option<Box<Self>> {
        let wanted = recorders
            .iter()
            .take(64)
            .enumerate()
            .filter(|(_, recorder)| recorder.filter.matches(&flow))
            .fold(0u64, |bits, (index, _)| bits | 1 << index);
        (wanted != 0).then(|| {
            Box::new(Self {
                recorders: wanted,
                flow,
                hops: Vec::new(),
            })
        })
    }

    /// Adds a hop.
    pub(crate) fn hop(&mut self, hop: Hop) {
        self.hops.push(hop);
    }

    /// Hands the finished path to the recorders that wanted it.
    pub(crate) fn finish(
        self,
        recorders: &[std::sync::Arc<Recorder>],
        drop_reason: Option<String>,
    ) {
        let path = Path {
            flow: self.flow,
            hops: self.hops,
            drop_reason,
        };
        for (index, recorder) in recorders.iter().take(64).enumerate() {
            if self.recorders & (1 << index) != 0 {
                recorder.record(&path);
            }
        }
    }
}

impl PathFilter {
    /// Whether a flow is one of those asked for.
    pub fn matches(&self, flow: &FlowKey) -> bool {
        fn field<T: PartialEq>(wanted: Option<T>, actual: Option<T>) -> bool {
            wanted.is_none() || wanted == actual
        }
        field(self.source, flow.source)
            && field(self.destination, flow.destination)
            && field(self.ip_proto, flow.ip_proto)
            && field(self.source_port, flow.source_port)
            && field(self.destination_port, flow.destination_port)
    }
}

impl FlowKey {
    /// Reads the flow of an Ethernet frame with any number of VLAN tags; what is missing or cut stays `None`.
    pub fn parse(frame: &[u8]) -> Self {
        Self::parse_ethernet(frame).unwrap_or_default()
    }

    /// Reads the flow of an IP packet; what is missing or cut stays `None`.
    pub(crate) fn parse_packet(packet: &[u8]) -> Self {
        let flow = match packet.first().map(|first| first >> 4) {
            Some(4) => Self::parse_ipv4(packet),
            Some(6) => Self::parse_ipv6(packet),
            _ => None,
        };
        flow.unwrap_or_default()
    }

    fn parse_ethernet(frame: &[u8]) -> Option<Self> {
        let mut rest = frame.get(12..)?;
        loop {
            let (kind, after) = rest.split_first_chunk::<2>()?;
            match u16::from_be_bytes(*kind) {
                0x8100 | 0x88a8 => rest = after.get(2..)?,
                0x0800 => return Self::parse_ipv4(after),
                0x86dd => return Self::parse_ipv6(after),
                _ => return None,
            }
        }
    }

    fn parse_ipv4(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<20>()?;
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
        let source: [u8; 4] = *header[12..].first_chunk()?;
        let destination: [u8; 4] = *header[16..].first_chunk()?;
        let flow = Self {
            source: Some(Ipv4Addr::from(source).into()),
            destination: Some(Ipv4Addr::from(destination).into()),
            ip_proto: Some(header[9]),
            ..Self::default()
        };
        if later_fragment {
            return Some(flow);
        }
        Some(flow.with_ports(packet.get(header_len..).unwrap_or_default()))
    }

    fn parse_ipv6(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<40>()?;
        let source: [u8; 16] = *header[8..].first_chunk()?;
        let destination: [u8; 16] = *header[24..].first_chunk()?;
        let flow = Self {
            source: Some(Ipv6Addr::from(source).into()),
            destination: Some(Ipv6Addr::from(destination).into()),
            ip_proto: Some(header[6]),
            ..Self::default()
        };
        Some(flow.with_ports(&packet[40..]))
    }

    fn with_ports(self, transport: &[u8]) -> Self {
        const TCP: u8 = 6;
        const UDP: u8 = 17;
        match (self.ip_proto, transport.first_chunk::<4>()) {
            (Some(TCP | UDP), Some(&[s0, s1, d0, d1])) => Self {
                source_port: Some(u16::from_be_bytes([s0, s1])),
                destination_port: Some(u16::from_be_bytes([d0, d1])),
                ..self
            },
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests;
