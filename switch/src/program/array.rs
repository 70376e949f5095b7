//! The lowering of meters and counters, and of the operations on them.

use super::expr::Scope;
use super::layout::Home;
use super::lower::Lower;
use super::{CounterDef, Instr, MAX_ARRAYS, MAX_CELLS, MeterDef};
use crate::bits::Slot;
use crate::ir;

impl Lower<'_> {
    /// Lowers all meters.
    pub(crate) fn lower_meters(&mut self) -> Vec<MeterDef> {
        let declared = &self.pipeline.meters;
        let names = declared.iter().map(|meter| (&*meter.name, meter.size));
        self.check_arrays("meter", names.collect());
        declared
            .iter()
            .map(|meter| MeterDef {
                name: meter.name.clone(),
                size: meter.size as usize,
                unit: meter.unit,
            })
            .collect()
    }

    /// Lowers all counters.
    pub(crate) fn lower_counters(&mut self) -> Vec<CounterDef> {
        let declared = &self.pipeline.counters;
        let names = declared
            .iter()
            .map(|counter| (&*counter.name, counter.size));
        self.check_arrays("counter", names.collect());
        declared
            .iter()
            .map(|counter| CounterDef {
                name: counter.name.clone(),
                size: counter.size as usize,
            })
            .collect()
    }

    fn check_arrays(&mut self, kind: &str, arrays: Vec<(&str, u32)>) {
        if arrays.len() > MAX_ARRAYS {
            self.errors.push(format!("{kind}s"), "there are too many");
        }
        let mut names = std::collections::BTreeSet::new();
        for (name, size) in arrays {
            let object = format!("{kind} {name}");
            if !names.insert(name) {
                self.errors.push(&object, "is declared twice");
            }
            if !(1..=MAX_CELLS).contains(&size) {
                let problem = format!("has {size} cells; 1 to {MAX_CELLS} are possible");
                self.errors.push(object, problem);
            }
        }
    }

    /// Lowers [`ir::Op::Meter`].
    pub(crate) fn meter_op(
        &mut self,
        object: &str,
        name: &str,
        index: &ir::Expr,
        dst: &str,
        scope: &Scope<'_>,
    ) -> Option<Instr> {
        let mut declared = self.pipeline.meters.iter();
        let meter = declared.position(|meter| meter.name == name);
        let meter = self.array(object, "meter", name, meter);
        let index = self.sized(object, "the index", index, 32, scope);
        Some(Instr::Meter {
            dst: self.color(object, dst)?,
            meter: meter?,
            index: index?,
        })
    }

    /// The place of a colour.
    pub(crate) fn color(&mut self, object: &str, dst: &str) -> Option<Slot> {
        let field = self.field(object, dst)?;
        if !matches!(field.home, Home::Meta) || field.bits < 2 {
            let problem = format!("{dst} is no metadata of 2 bits or more, as a colour needs");
            self.errors.push(object, problem);
            return None;
        }
        Some(field.slot)
    }

    /// Lowers [`ir::Op::Count`].
    pub(crate) fn count_op(
        &mut self,
        object: &str,
        name: &str,
        index: &ir::Expr,
        scope: &Scope<'_>,
    ) -> Option<Instr> {
        let mut declared = self.pipeline.counters.iter();
        let counter = declared.position(|counter| counter.name == name);
        let counter = self.array(object, "counter", name, counter);
        let index = self.sized(object, "the index", index, 32, scope);
        Some(Instr::Count {
            counter: counter?,
            index: index?,
        })
    }

    fn array(&mut self, object: &str, kind: &str, name: &str, found: Option<usize>) -> Option<u16> {
        if found.is_none() {
            self.errors
                .push(object, format!("there is no {kind} {name}"));
        }
        u16::try_from(found?).ok()
    }
}
