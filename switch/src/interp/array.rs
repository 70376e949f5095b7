//! Meters and counters that belong to no table.

use super::Machine;
use crate::ir::MeterUnit;
use crate::meter::{Color, Demand, EntryMeter};
use crate::observe::Observer;

impl<O: Observer> Machine<'_, O> {
    /// What a meter says of this packet. One that does not count takes nothing from it either.
    pub(super) fn meter(&self, meter: usize, index: usize) -> Color {
        let cells = self.state.meter_cells(meter);
        let demand = Demand::new(self.program.meters[meter].unit, self.packets, self.bytes);
        match O::COUNTS {
            true => cells.pass(index, self.now_ns, demand, (self.packets, self.bytes)),
            false => cells.peek(index, self.now_ns, demand),
        }
    }

    /// What an entry's meter says of this packet.
    pub(super) fn entry_meter(&self, unit: MeterUnit, meter: &EntryMeter) -> Color {
        let demand = Demand::new(unit, self.packets, self.bytes);
        match O::COUNTS {
            true => meter.pass(self.now_ns, demand, (self.packets, self.bytes)),
            false => meter.peek(self.now_ns, demand),
        }
    }

    pub(super) fn count(&self, counter: usize, index: usize) {
        if O::COUNTS {
            let cells = self.state.counter_array(counter);
            cells.add(index, self.packets, self.bytes);
        }
    }
}
