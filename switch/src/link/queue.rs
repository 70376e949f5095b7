//! What waits for a link's rate, and who is dropped or marked when too much does.
//!
//! A queue holds [`Unit`]s and moves by itself never: its owner pushes what comes and pops when the line is free, each
//! with the exact time at which that happens, however late it was noticed.

mod codel;
mod fq;
mod pie;
mod red;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::DropCause;
use super::pieces::Unit;
use super::profile::{Discipline, QueueLimit, QueueProfile};
use super::random::Stream;
use crate::datapath::Nanos;

/// Bytes of a large packet: queues that hold no more than that are never too long.
const LARGE_PACKET: u64 = 1514;

/// A unit that goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) unit: Unit,
    pub(super) cause: DropCause,
}

/// First in, first out, with its sizes.
#[derive(Debug, Default)]
pub(super) struct Fifo {
    units: VecDeque<Unit>,
    packets: u64,
    bytes: u64,
}

impl Fifo {
    fn push(&mut self, unit: Unit) {
        self.packets += u64::from(unit.count);
        self.bytes += u64::from(unit.bytes);
        self.units.push_back(unit);
    }

    fn pop(&mut self) -> Option<Unit> {
        let unit = self.units.pop_front()?;
        self.packets -= u64::from(unit.count);
        self.bytes -= u64::from(unit.bytes);
        Some(unit)
    }
}

/// A queue under a discipline.
#[derive(Debug)]
pub(super) struct Queue {
    limit: QueueLimit,
    /// Bits per second at which it empties.
    rate: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    TailDrop(Fifo),
    CoDel(Fifo, codel::CoDelState),
    FqCoDel(fq::FqCoDel),
    Red(Fifo, red::RedState),
    Pie(Fifo, pie::PieState),
}

impl Queue {
    pub(super) fn new(profile: &QueueProfile, rate: u64) -> Self {
        let fifo = Fifo::default;
        let kind = match &profile.discipline {
            Discipline::TailDrop => Kind::TailDrop(fifo()),
            Discipline::CoDel(codel) => Kind::CoDel(fifo(), codel::CoDelState::new(*codel)),
            Discipline::FqCoDel {
                codel,
                quantum,
                flows,
            } => Kind::FqCoDel(fq::FqCoDel::new(*codel, *quantum, *flows)),
            Discipline::Red(red) => Kind::Red(fifo(), red::RedState::new(*red)),
            Discipline::Pie(pie) => Kind::Pie(fifo(), pie::PieState::new(*pie)),
        };
        Self {
            limit: profile.limit,
            rate,
            kind,
        }
    }

    /// Takes another rate; what waits goes on waiting.
    pub(super) fn set_rate(&mut self, rate: u64) {
        self.rate = rate;
    }

    /// Wire segments that wait.
    pub(super) fn packets(&self) -> u64 {
        match &self.kind {
            Kind::FqCoDel(fq) => fq.packets(),
            Kind::TailDrop(fifo)
            | Kind::CoDel(fifo, _)
            | Kind::Red(fifo, _)
            | Kind::Pie(fifo, _) => fifo.packets,
        }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        match &self.kind {
            Kind::FqCoDel(fq) => fq.bytes(),
            Kind::TailDrop(fifo)
            | Kind::CoDel(fifo, _)
            | Kind::Red(fifo, _)
            | Kind::Pie(fifo, _) => fifo.bytes,
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.packets() == 0
    }

    /// Puts a unit at the end, or drops it, or drops others for it. A mark is set on the unit before it waits.
    pub(super) fn push(
        &mut self,
        mut unit: Unit,
        now: Nanos,
        random: &mut Stream,
        dropped: &mut Vec<Dropped>,
    ) {
        unit.came = now;
        let has_room = self.has_room(&unit);
        let mut refuse = |unit, cause| dropped.push(Dropped { unit, cause });
        match &mut self.kind {
            Kind::FqCoDel(fq) => {
                fq.push(unit);
                while self.is_too_long() {
                    let Kind::FqCoDel(fq) = &mut self.kind else {
                        return;
                    };
                    let Some(unit) = fq.drop_from_longest() else {
                        return;
                    };
                    dropped.push(Dropped {
                        unit,
                        cause: DropCause::QueueFull,
                    });
                }
            }
            Kind::Red(fifo, red) => match red.judge(fifo.bytes, &unit, self.rate, now, random) {
                Verdict::Drop => refuse(unit, DropCause::Aqm),
                _ if !has_room => refuse(unit, DropCause::QueueFull),
                verdict => {
                    unit.is_marked |= verdict == Verdict::Mark;
                    fifo.push(unit);
                }
            },
            Kind::Pie(fifo, pie) => match pie.judge(fifo.bytes, &unit, self.rate, now, random) {
                Verdict::Drop => refuse(unit, DropCause::Aqm),
                _ if !has_room => refuse(unit, DropCause::QueueFull),
                verdict => {
                    unit.is_marked |= verdict == Verdict::Mark;
                    fifo.push(unit);
                }
            },
            Kind::TailDrop(fifo) | Kind::CoDel(fifo, _) if has_room => fifo.push(unit),
            Kind::TailDrop(_) | Kind::CoDel(..) => refuse(unit, DropCause::QueueFull),
        }
    }

    /// Takes the unit that is sent next; drops and marks on the way.
    pub(super) fn pop(&mut self, now: Nanos, dropped: &mut Vec<Dropped>) -> Option<Unit> {
        match &mut self.kind {
            Kind::TailDrop(fifo) => fifo.pop(),
            Kind::CoDel(fifo, state) => state.pop(fifo, now, dropped),
            Kind::FqCoDel(fq) => fq.pop(now, dropped),
            Kind::Red(fifo, red) => {
                let unit = fifo.pop();
                if fifo.bytes == 0 {
                    red.is_empty_since(now);
                }
                unit
            }
            Kind::Pie(fifo, pie) => {
                pie.update(fifo.bytes, self.rate, now);
                fifo.pop()
            }
        }
    }

    /// Takes everything out, in order.
    pub(super) fn clear(&mut self) -> Vec<Unit> {
        let mut units = Vec::new();
        match &mut self.kind {
            Kind::FqCoDel(fq) => {
                while let Some(unit) = fq.take_any() {
                    units.push(unit);
                }
            }
            Kind::TailDrop(fifo)
            | Kind::CoDel(fifo, _)
            | Kind::Red(fifo, _)
            | Kind::Pie(fifo, _) => {
                while let Some(unit) = fifo.pop() {
                    units.push(unit);
                }
            }
        }
        units
    }

    fn has_room(&self, unit: &Unit) -> bool {
        match self.limit {
            QueueLimit::Packets(limit) => {
                self.packets() + u64::from(unit.count) <= u64::from(limit)
            }
            QueueLimit::Bytes(limit) => self.bytes() + u64::from(unit.bytes) <= limit,
        }
    }

    fn is_too_long(&self) -> bool {
        match self.limit {
            QueueLimit::Packets(limit) => self.packets() > u64::from(limit),
            QueueLimit::Bytes(limit) => self.bytes() > limit,
        }
    }
}

/// What a discipline wants done with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Mark,
    Drop,
}

/// The time in nanoseconds that `bytes` take at `rate`.
fn waiting_time(bytes: u64, rate: u64) -> u64 {
    let bits = u128::from(bytes) * 8_000_000_000;
    u64::try_from(bits / u128::from(rate.max(1))).unwrap_or(u64::MAX)
}
