//! Counters of a port, written by workers and read by everybody.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::datapath::Counted;

/// Counters for drop reasons; reasons beyond them share the last one.
pub(crate) const REASONS: usize = 96;

/// What passed through a port since it exists.
#[derive(Debug)]
pub struct PortCounters {
    rx: Direction,
    tx: Direction,
    drops: Box<[AtomicU64]>,
}

#[derive(Debug, Default)]
struct Direction {
    packets: AtomicU64,
    bytes: AtomicU64,
    frames: AtomicU64,
}

/// One reading of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Wire segments.
    pub packets: u64,
    /// Bytes of those segments from the customer's destination MAC to the payload's end.
    pub bytes: u64,
    /// What crossed the device: a super-packet is one frame.
    pub frames: u64,
}

impl Default for PortCounters {
    fn default() -> Self {
        Self {
            rx: Direction::default(),
            tx: Direction::default(),
            drops: (0..REASONS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Direction {
    fn add(&self, counted: Counted) {
        self.packets.fetch_add(counted.packets, Relaxed);
        self.bytes.fetch_add(counted.bytes, Relaxed);
        self.frames.fetch_add(1, Relaxed);
    }

    fn read(&self) -> Traffic {
        Traffic {
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            frames: self.frames.load(Relaxed),
        }
    }
}

impl PortCounters {
    /// Counts one frame that entered.
    pub(crate) fn received(&self, counted: Counted) {
        self.rx.add(counted);
    }

    /// Counts one frame that left.
    pub(crate) fn sent(&self, counted: Counted) {
        self.tx.add(counted);
    }

    /// Counts that a frame which was sent crossed the device as `frames` frames.
    pub(crate) fn split(&self, frames: usize) {
        let more = u64::try_from(frames).unwrap_or(0).saturating_sub(1);
        self.tx.frames.fetch_add(more, Relaxed);
    }

    /// Counts one frame that entered here and was dropped; `reason` is the counter's number.
    pub(crate) fn dropped(&self, reason: u16) {
        let slot = usize::from(reason).min(REASONS - 1);
        if let Some(counter) = self.drops.get(slot) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// What entered.
    pub fn rx(&self) -> Traffic {
        self.rx.read()
    }

    /// What left.
    pub fn tx(&self) -> Traffic {
        self.tx.read()
    }

    /// Drops by the number of their counter, without those that never happened. The reasons that every pipeline has
    /// are counted under their own numbers, a pipeline's under those that its switch gave them.
    pub fn drops(&self) -> impl Iterator<Item = (u16, u64)> {
        (0u16..)
            .zip(&self.drops)
            .map(|(reason, count)| (reason, count.load(Relaxed)))
            .filter(|&(_, count)| count > 0)
    }
}
