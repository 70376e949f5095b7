//! Random early detection (Floyd and Jacobson, 1993; "gentle": Floyd, 2000): the longer the average queue, the larger
//! the share of packets that is dropped or marked as they come.

#![expect(
    clippy::cast_precision_loss,
    reason = "queue lengths are far below 2^53 bytes"
)]

use super::{Verdict, waiting_time};
use crate::datapath::Nanos;
use crate::link::pieces::Unit;
use crate::link::profile::Red;
use crate::link::random::{Stream, WHOLE};

/// Bytes of the packets that would have passed while the queue was empty.
const SMALL_PACKET: u64 = 1000;

#[derive(Clone, Debug)]
pub(super) struct RedState {
    parameters: Red,
    /// The average length in bytes.
    average: f64,
    /// Packets since the last one that was dropped or marked.
    since: u32,
    empty_since: Option<u64>,
}

impl RedState {
    pub(super) fn new(parameters: Red) -> Self {
        Self {
            parameters,
            average: 0.0,
            since: 0,
            empty_since: Some(0),
        }
    }

    /// The queue became empty.
    pub(super) fn is_empty_since(&mut self, now: Nanos) {
        self.empty_since.get_or_insert(now.0);
    }

    /// What becomes of a unit that comes while `bytes` wait.
    pub(super) fn judge(
        &mut self,
        bytes: u64,
        unit: &Unit,
        rate: u64,
        now: Nanos,
        random: &mut Stream,
    ) -> Verdict {
        let Red {
            min,
            max,
            share,
            ecn,
            ..
        } = self.parameters;
        self.sample(bytes, rate, now);
        let (min, max) = (min as f64, max as f64);
        let most = f64::from(share) / f64::from(WHOLE);
        if self.average < min {
            self.since = 0;
            return Verdict::Pass;
        }
        let base = if self.average < max {
            most * (self.average - min) / (max - min)
        } else {
            most + (1.0 - most) * (self.average - max) / max
        };
        self.since = self.since.saturating_add(1);
        // Spreads drops evenly: the distance between two is uniform, not geometric.
        let spread = 1.0 - f64::from(self.since) * base;
        let probability = if spread > 0.0 { base / spread } else { 1.0 };
        if random.fraction() >= probability {
            return Verdict::Pass;
        }
        self.since = 0;
        if ecn && unit.is_ect && self.average < max {
            Verdict::Mark
        } else {
            Verdict::Drop
        }
    }

    fn sample(&mut self, bytes: u64, rate: u64, now: Nanos) {
        let weight = libm::ldexp(1.0, -i32::from(self.parameters.weight_log2));
        if let Some(since) = self.empty_since.take() {
            let idle = now.0.saturating_sub(since);
            let passed = idle / waiting_time(SMALL_PACKET, rate).max(1);
            self.average *= libm::pow(1.0 - weight, passed.min(1 << 20) as f64);
        }
        self.average += weight * (bytes as f64 - self.average);
    }

    #[cfg(test)]
    pub(super) fn average(&self) -> f64 {
        self.average
    }
}
