//! Fair queueing with controlled delay (RFC 8290): flows take turns by bytes, sparse flows first.

use std::collections::VecDeque;

use super::codel::CoDelState;
use super::{Dropped, Fifo};
use crate::datapath::Nanos;
use crate::link::pieces::Unit;
use crate::link::profile::CoDel;

/// One flow's queue.
#[derive(Debug)]
struct Flow {
    fifo: Fifo,
    state: CoDelState,
    /// Bytes that it may still send in this turn.
    credits: i64,
    is_listed: bool,
}

/// All flows' queues.
#[derive(Debug)]
pub(super) struct FqCoDel {
    codel: CoDel,
    quantum: i64,
    flows: Vec<Flow>,
    /// Flows that have just become active.
    new: VecDeque<usize>,
    old: VecDeque<usize>,
    packets: u64,
    bytes: u64,
}

impl FqCoDel {
    pub(super) fn new(codel: CoDel, quantum: u32, flows: u32) -> Self {
        let flow = || Flow {
            fifo: Fifo::default(),
            state: CoDelState::new(codel),
            credits: 0,
            is_listed: false,
        };
        Self {
            codel,
            quantum: i64::from(quantum.max(1)),
            flows: (0..flows.max(1)).map(|_| flow()).collect(),
            new: VecDeque::new(),
            old: VecDeque::new(),
            packets: 0,
            bytes: 0,
        }
    }

    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, unit: Unit) {
        let index = unit.flow as usize % self.flows.len();
        self.count(&unit, true);
        let flow = &mut self.flows[index];
        flow.fifo.push(unit);
        if !flow.is_listed {
            flow.is_listed = true;
            flow.credits = self.quantum;
            self.new.push_back(index);
        }
    }

    /// Drops the head of the queue with the most bytes (RFC 8290 §4.1).
    pub(super) fn drop_from_longest(&mut self) -> Option<Unit> {
        let longest = self
            .flows
            .iter_mut()
            .reduce(|a, b| if b.fifo.bytes > a.fifo.bytes { b } else { a })?;
        let unit = longest.fifo.pop()?;
        self.count(&unit, false);
        Some(unit)
    }

    /// RFC 8290 §4.2.
    pub(super) fn pop(&mut self, now: Nanos, dropped: &mut Vec<Dropped>) -> Option<Unit> {
        loop {
            let is_new = !self.new.is_empty();
            let list = if is_new { &mut self.new } else { &mut self.old };
            let index = *list.front()?;
            let flow = &mut self.flows[index];
            if flow.credits <= 0 {
                flow.credits += self.quantum;
                list.pop_front();
                self.old.push_back(index);
                continue;
            }
            let before = dropped.len();
            let unit = flow.state.pop(&mut flow.fifo, now, dropped);
            if let Some(unit) = unit {
                flow.credits -= i64::from(unit.bytes);
            }
            for lost in &dropped[before..] {
                self.count(&lost.unit, false);
            }
            if let Some(unit) = unit {
                self.count(&unit, false);
                return Some(unit);
            }
            let list = if is_new { &mut self.new } else { &mut self.old };
            list.pop_front();
            // A flow that is new once more must not overtake those that wait (RFC 8290 §4.2).
            if is_new && !self.old.is_empty() {
                self.old.push_back(index);
            } else {
                self.flows[index].is_listed = false;
            }
        }
    }

    /// Takes any unit out.
    pub(super) fn take_any(&mut self) -> Option<Unit> {
        let index = self.flows.iter().position(|flow| flow.fifo.packets > 0);
        let Some(index) = index else {
            *self = Self::new(
                self.codel,
                u32::try_from(self.quantum).unwrap_or(u32::MAX),
                u32::try_from(self.flows.len()).unwrap_or(u32::MAX),
            );
            return None;
        };
        let unit = self.flows[index].fifo.pop()?;
        self.count(&unit, false);
        Some(unit)
    }

    fn count(&mut self, unit: &Unit, is_in: bool) {
        let (packets, bytes) = (u64::from(unit.count), u64::from(unit.bytes));
        if is_in {
            self.packets += packets;
            self.bytes += bytes;
        } else {
            self.packets -= packets;
            self.bytes -= bytes;
        }
    }
}
