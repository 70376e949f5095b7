//! Controlled delay (RFC 8289 §5): packets are dropped at the head once they have waited too long for too long.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an interval divided by a root is a smaller interval"
)]

use super::{Dropped, Fifo, LARGE_PACKET};
use crate::datapath::Nanos;
use crate::link::DropCause;
use crate::link::pieces::Unit;
use crate::link::profile::CoDel;

/// State of one controlled queue; names as in the RFC.
#[derive(Clone, Debug)]
pub(super) struct CoDelState {
    parameters: CoDel,
    /// When the waiting time will have been too long for an interval.
    first_above: Option<u64>,
    drop_next: u64,
    count: u32,
    last_count: u32,
    is_dropping: bool,
}

/// A unit that was taken, and whether it may be dropped.
struct Taken {
    unit: Option<Unit>,
    ok_to_drop: bool,
}

impl CoDelState {
    pub(super) fn new(parameters: CoDel) -> Self {
        Self {
            parameters,
            first_above: None,
            drop_next: 0,
            count: 0,
            last_count: 0,
            is_dropping: false,
        }
    }

    /// The `dequeue` routine of RFC 8289 §5.6.
    pub(super) fn pop(
        &mut self,
        fifo: &mut Fifo,
        now: Nanos,
        dropped: &mut Vec<Dropped>,
    ) -> Option<Unit> {
        let now = now.0;
        let mut taken = self.take(fifo, now);
        if self.is_dropping {
            if !taken.ok_to_drop {
                self.is_dropping = false;
            }
            while self.is_dropping && now >= self.drop_next {
                let mut unit = taken.unit?;
                self.count = self.count.saturating_add(1);
                if self.marks(&unit) {
                    unit.is_marked = true;
                    self.drop_next = self.control_law(self.drop_next);
                    return Some(unit);
                }
                dropped.push(aqm(unit));
                taken = self.take(fifo, now);
                if taken.ok_to_drop {
                    self.drop_next = self.control_law(self.drop_next);
                } else {
                    self.is_dropping = false;
                }
            }
        } else if taken.ok_to_drop {
            let mut unit = taken.unit?;
            let is_marked = self.marks(&unit);
            if is_marked {
                unit.is_marked = true;
                taken.unit = Some(unit);
            } else {
                dropped.push(aqm(unit));
                taken = self.take(fifo, now);
            }
            self.is_dropping = true;
            // A queue that was controlled a moment ago goes on near the rate that controlled it.
            let delta = self.count.saturating_sub(self.last_count);
            let was_just_dropping =
                now.saturating_sub(self.drop_next) < 16 * self.parameters.interval_ns;
            self.count = if delta > 1 && was_just_dropping {
                delta
            } else {
                1
            };
            self.drop_next = self.control_law(now);
            self.last_count = self.count;
        }
        taken.unit
    }

    /// The `dodequeue` routine.
    fn take(&mut self, fifo: &mut Fifo, now: u64) -> Taken {
        let unit = fifo.pop();
        let mut ok_to_drop = false;
        let waited = unit.map(|unit| now.saturating_sub(unit.came.0));
        match waited {
            Some(waited) if waited >= self.parameters.target_ns && fifo.bytes > LARGE_PACKET => {
                match self.first_above {
                    None => {
                        self.first_above = Some(now.saturating_add(self.parameters.interval_ns));
                    }
                    Some(at) => ok_to_drop = now >= at,
                }
            }
            _ => self.first_above = None,
        }
        Taken { unit, ok_to_drop }
    }

    fn marks(&self, unit: &Unit) -> bool {
        self.parameters.ecn && unit.is_ect
    }

    /// Drops come closer to each other with the root of their number.
    fn control_law(&self, from: u64) -> u64 {
        let step = self.parameters.interval_ns as f64 / libm::sqrt(f64::from(self.count.max(1)));
        from.saturating_add(step as u64)
    }
}

fn aqm(unit: Unit) -> Dropped {
    Dropped {
        unit,
        cause: DropCause::Aqm,
    }
}
