//! Packets between switches and applications: those that controllers send, and the newest that switches sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

/// Most packets that are kept.
const MAX_PACKETS: usize = 1024;
/// Most bytes of packets that are kept.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A packet that a switch sent to its controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketIn {
    /// Counts the packets of this process, from 1.
    pub id: u64,
    /// The switch.
    pub switch: String,
    /// What came with it, in the order in which the pipeline declares it.
    pub metadata: Vec<u128>,
    /// The frame.
    pub payload: Bytes,
}

/// What [`PacketLog::after`] returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketIns {
    /// The packets, oldest first.
    pub packets: Vec<Arc<PacketIn>>,
    /// The newest packet's id, whether or not it is among them.
    pub newest: u64,
    /// The oldest id that is still kept.
    pub oldest: u64,
}

/// A packet on its way to a switch's task.
#[derive(Debug)]
pub(crate) struct PacketOut {
    pub(crate) metadata: Vec<u128>,
    pub(crate) payload: Bytes,
    /// Told when the packet is on the stream.
    pub(crate) sent: oneshot::Sender<()>,
}

/// The newest packets of all switches. Older ones give way: nobody can make the controller keep more.
#[derive(Debug)]
pub(crate) struct PacketLog {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    packets: VecDeque<Arc<PacketIn>>,
    bytes: usize,
    last: u64,
}

impl PacketLog {
    pub(crate) fn new() -> Self {
        Self {
            kept: Mutex::default(),
            newest: watch::channel(0).0,
        }
    }

    /// Adds a packet.
    pub(crate) fn add(&self, switch: &str, metadata: Vec<u128>, payload: Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last += 1;
        kept.bytes += payload.len();
        let id = kept.last;
        kept.packets.push_back(Arc::new(PacketIn {
            id,
            switch: switch.to_owned(),
            metadata,
            payload,
        }));
        while kept.packets.len() > MAX_PACKETS || kept.bytes > MAX_BYTES {
            let Some(old) = kept.packets.pop_front() else {
                break;
            };
            kept.bytes -= old.payload.len();
        }
        drop(kept);
        self.newest.send_replace(id);
    }

    /// Packets with ids above `since`, of one switch or of all; the oldest `limit` of them.
    pub(crate) fn after(&self, since: u64, switch: Option<&str>, limit: usize) -> PacketIns {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |packet: &&Arc<PacketIn>| {
            packet.id > since && switch.is_none_or(|switch| switch == packet.switch)
        };
        PacketIns {
            packets: (kept.packets.iter().filter(wanted).take(limit).cloned()).collect(),
            newest: kept.last,
            oldest: kept
                .packets
                .front()
                .map_or(kept.last + 1, |packet| packet.id),
        }
    }

    /// The newest id, to wait for a change of it.
    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_packets_are_kept_in_order() {
        let log = PacketLog::new();
        for number in 0..2000_u128 {
            let switch = if number % 2 == 0 { "even" } else { "odd" };
            log.add(switch, vec![number], Bytes::from_static(b"x"));
        }
        let all = log.after(0, None, usize::MAX);
        assert_eq!(
            (all.packets.len(), all.newest, all.oldest),
            (1024, 2000, 977)
        );
        assert_eq!(all.packets[0].id, 977);
        let odd = log.after(1990, Some("odd"), 3);
        let ids: Vec<_> = odd.packets.iter().map(|packet| packet.id).collect();
        assert_eq!(ids, [1992, 1994, 1996]);
        assert!(log.after(2000, None, 1).packets.is_empty());
    }

    #[test]
    fn large_packets_cost_no_more_than_the_bound() {
        let log = PacketLog::new();
        for _ in 0..200 {
            log.add("s1", vec![], Bytes::from(vec![0; 64 * 1024]));
        }
        assert_eq!(log.after(0, None, usize::MAX).packets.len(), 64);
    }
}
