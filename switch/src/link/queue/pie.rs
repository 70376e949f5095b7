//! Proportional integral controller enhanced (RFC 8033): a share of the packets that come is dropped or marked, and
//! the share is steered by the waiting time and its trend.

#![expect(
    clippy::cast_precision_loss,
    reason = "waiting times are far below 2^53 nanoseconds"
)]

use super::{LARGE_PACKET, Verdict, waiting_time};
use crate::datapath::Nanos;
use crate::link::pieces::Unit;
use crate::link::profile::Pie;
use crate::link::random::Stream;

/// Weight of the distance to the target, a second (RFC 8033 §4.2).
const ALPHA: f64 = 0.125;
/// Weight of the change since the last look, a second.
const BETA: f64 = 1.25;
/// Above this share packets are dropped even where they could be marked (RFC 8033 §5.1).
const MARK_BELOW: f64 = 0.1;
/// Looks that are caught up after a long time without packets; the share is zero long before.
const MOST_LOOKS: u64 = 2000;

#[derive(Clone, Debug)]
pub(super) struct PieState {
    parameters: Pie,
    share: f64,
    /// Sum of the shares since the last drop (RFC 8033 §5.4).
    accumulated: f64,
    burst_left_ns: u64,
    old_delay_ns: u64,
    next_update: Option<u64>,
}

impl PieState {
    pub(super) fn new(parameters: Pie) -> Self {
        Self {
            parameters,
            share: 0.0,
            accumulated: 0.0,
            burst_left_ns: parameters.burst_ns,
            old_delay_ns: 0,
            next_update: None,
        }
    }

    /// What becomes of a unit that comes while `bytes` wait (RFC 8033 §4.1).
    pub(super) fn judge(
        &mut self,
        bytes: u64,
        unit: &Unit,
        rate: u64,
        now: Nanos,
        random: &mut Stream,
    ) -> Verdict {
        self.update(bytes, rate, now);
        let is_calm = self.old_delay_ns < self.parameters.target_ns / 2 && self.share < 0.2;
        if self.burst_left_ns > 0 || is_calm || bytes <= 2 * LARGE_PACKET {
            return Verdict::Pass;
        }
        self.accumulated += self.share;
        if self.accumulated < 0.85 {
            return Verdict::Pass;
        }
        if self.accumulated < 8.5 && random.fraction() >= self.share {
            return Verdict::Pass;
        }
        self.accumulated = 0.0;
        if self.parameters.ecn && unit.is_ect && self.share <= MARK_BELOW {
            Verdict::Mark
        } else {
            Verdict::Drop
        }
    }

    /// Makes the looks that are due; `bytes` have waited since the last call (RFC 8033 §4.2).
    pub(super) fn update(&mut self, bytes: u64, rate: u64, now: Nanos) {
        let step = self.parameters.update_ns.max(1);
        let due = *self
            .next_update
            .get_or_insert_with(|| now.0.saturating_add(step));
        if now.0 < due {
            return;
        }
        let looks = (now.0 - due) / step + 1;
        self.next_update = Some(due.saturating_add(looks.saturating_mul(step)));
        let delay_ns = waiting_time(bytes, rate);
        for _ in 0..looks.min(MOST_LOOKS) {
            self.look(delay_ns);
        }
    }

    fn look(&mut self, delay_ns: u64) {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let (delay, old) = (seconds(delay_ns), seconds(self.old_delay_ns));
        let target = seconds(self.parameters.target_ns);
        let mut change = ALPHA * (delay - target) + BETA * (delay - old);
        // Small shares move in small steps (RFC 8033 §4.2).
        change /= match self.share {
            share if share < 0.000_001 => 2048.0,
            share if share < 0.000_01 => 512.0,
            share if share < 0.000_1 => 128.0,
            share if share < 0.001 => 32.0,
            share if share < 0.01 => 8.0,
            share if share < 0.1 => 2.0,
            _ => 1.0,
        };
        if self.share >= 0.1 {
            change = change.min(0.02);
        }
        self.share += change;
        if delay_ns == 0 && self.old_delay_ns == 0 {
            self.share *= 0.98;
        }
        self.share = self.share.clamp(0.0, 1.0);
        self.old_delay_ns = delay_ns;
        self.burst_left_ns = self.burst_left_ns.saturating_sub(self.parameters.update_ns);
        let half = self.parameters.target_ns / 2;
        if self.share == 0.0 && delay_ns < half {
            self.burst_left_ns = self.parameters.burst_ns;
            self.accumulated = 0.0;
        }
    }

    #[cfg(test)]
    pub(super) fn share(&self) -> f64 {
        self.share
    }
}
