//! The driver of the lowering, and the lowering of operations and checksums.

#![expect(
    clippy::cast_possible_truncation,
    reason = "there are at most 128 headers, and shifts are below 16"
)]

use std::collections::BTreeMap;

use super::expr::Scope;
use super::layout::{Field, Home, Names, Place};
use super::{
    ChecksumDef, Control, CounterDef, Instr, Layout, MAX_CHECKSUMS, MAX_PARAMS, MeterDef,
    ParserState, ProgramError, SelectorDef, SumPart, SumRole, TableDef,
};
use crate::bits::Slot;
use crate::drops::DropReason;
use crate::ir;

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<ProgramError>);

impl Errors {
    pub(crate) fn push(&mut self, object: impl Into<String>, problem: impl Into<String>) {
        self.0.push(ProgramError {
            object: object.into(),
            problem: problem.into(),
        });
    }
}

/// Everything that lowering produces.
pub(crate) struct Lowered {
    pub(crate) layout: Layout,
    pub(crate) parser: Vec<ParserState>,
    pub(crate) actions: Vec<Box<[Instr]>>,
    pub(crate) tables: Vec<TableDef>,
    pub(crate) selectors: Vec<SelectorDef>,
    pub(crate) meters: Vec<MeterDef>,
    pub(crate) counters: Vec<CounterDef>,
    pub(crate) ingress: Control,
    pub(crate) egress: Control,
    pub(crate) deparser: Box<[u8]>,
    pub(crate) checksums: Vec<ChecksumDef>,
    pub(crate) packet_in: Vec<Slot>,
    pub(crate) packet_out: Vec<Slot>,
    pub(crate) uncounted: u128,
    pub(crate) below_ip: u128,
    pub(crate) drop_reasons: Vec<String>,
}

/// Lowers a whole pipeline, or returns all its mistakes.
pub(crate) fn lower(pipeline: &ir::Pipeline) -> Result<Lowered, Vec<ProgramError>> {
    let mut errors = Errors::default();
    let names = Names::new(pipeline, &mut errors);
    let mut cx = Lower {
        pipeline,
        names,
        errors,
        sums: BTreeMap::new(),
        checksums: Vec::new(),
        actions: BTreeMap::new(),
        drop_reasons: DropReason::FIXED.iter().map(ToString::to_string).collect(),
    };
    cx.lower_checksums();
    let meters = cx.lower_meters();
    let counters = cx.lower_counters();
    let parser = cx.lower_parser();
    let actions = cx.lower_actions();
    let selectors = cx.lower_selectors();
    let tables = cx.lower_tables();
    let ingress = cx.lower_control("ingress", &pipeline.ingress);
    let egress = cx.lower_control("egress", &pipeline.egress);
    cx.check_appliers(&actions, &egress);
    let deparser = cx.lower_deparser();
    let packet_in = cx.controller_fields("packet-in", &pipeline.packet_in, false);
    let packet_out = cx.controller_fields("packet-out", &pipeline.packet_out, true);
    let uncounted = cx.header_set("uncountedInstances", &pipeline.uncounted_instances);
    let link = cx.header_set("linkInstances", &pipeline.link_instances);
    if !cx.errors.0.is_empty() {
        return Err(cx.errors.0);
    }
    Ok(Lowered {
        layout: cx.names.layout,
        parser,
        actions,
        tables,
        selectors,
        meters,
        counters,
        ingress,
        egress,
        deparser,
        checksums: cx.checksums,
        packet_in,
        packet_out,
        uncounted,
        below_ip: uncounted | link,
        drop_reasons: cx.drop_reasons,
    })
}

/// The state of lowering.
pub(crate) struct Lower<'p> {
    pub(crate) pipeline: &'p ir::Pipeline,
    pub(crate) names: Names<'p>,
    pub(crate) errors: Errors,
    /// How writes to a field take part in checksums.
    sums: BTreeMap<Slot, Vec<SumPart>>,
    checksums: Vec<ChecksumDef>,
    /// Index by name.
    pub(crate) actions: BTreeMap<&'p str, usize>,
    drop_reasons: Vec<String>,
}

impl<'p> Lower<'p> {
    /// The value of `result`, with its mistake noted under `object`.
    pub(crate) fn note<T>(&mut self, object: &str, result: Result<T, String>) -> Option<T> {
        result
            .map_err(|problem| self.errors.push(object, problem))
            .ok()
    }

    /// Lowers operations.
    pub(crate) fn ops(&mut self, object: &str, ops: &[ir::Op], scope: &Scope<'_>) -> Box<[Instr]> {
        ops.iter()
            .filter_map(|op| self.op(object, op, scope))
            .collect()
    }

    fn op(&mut self, object: &str, op: &ir::Op, scope: &Scope<'_>) -> Option<Instr> {
        Some(match op {
            ir::Op::Set { dst, value } => return self.set(object, dst, value, scope),
            ir::Op::SetValid(name) => {
                let header = self.names.header(name);
                let header = self.note(object, header)?;
                let sums = (0_u8..)
                    .zip(&self.checksums)
                    .filter(|(_, checksum)| checksum.header == header)
                    .map(|(index, _)| index)
                    .collect();
                Instr::SetValid { header, sums }
            }
            ir::Op::SetInvalid(name) => {
                let header = self.names.header(name);
                Instr::SetInvalid(self.note(object, header)?)
            }
            ir::Op::Push { stack, count } => {
                let stack = self.shift(object, stack, *count)?;
                Instr::Push {
                    stack,
                    count: *count,
                }
            }
            ir::Op::Pop { stack, count } => {
                let stack = self.shift(object, stack, *count)?;
                Instr::Pop {
                    stack,
                    count: *count,
                }
            }
            ir::Op::Output(port) => {
                Instr::Output(self.sized(object, "the output port", port, 32, scope)?)
            }
            ir::Op::Multicast(group) => {
                Instr::Multicast(self.sized(object, "the multicast group", group, 32, scope)?)
            }
            ir::Op::Flood => Instr::Flood,
            ir::Op::Drop(reason) => Instr::Drop(self.drop_reason(object, reason)),
            ir::Op::ToController => Instr::ToController,
            ir::Op::Clone(session) => {
                Instr::Clone(self.sized(object, "the clone session", session, 32, scope)?)
            }
            ir::Op::Reject {
                quote,
                length,
                limit,
            } => {
                let header = self.names.header(quote);
                let header = self.note(object, header)?;
                Instr::Reject {
                    quote: header,
                    gone: self.emitted_from(object, quote)?,
                    length: self.sized(object, "the quoted length", length, 32, scope)?,
                    limit: u32::from(*limit),
                }
            }
            ir::Op::Fragment(size) => {
                Instr::Fragment(self.sized(object, "the fragments' size", size, 32, scope)?)
            }
            ir::Op::Meter { meter, index, dst } => {
                return self.meter_op(object, meter, index, dst, scope);
            }
            ir::Op::Count { counter, index } => {
                return self.count_op(object, counter, index, scope);
            }
            ir::Op::If {
                cond,
                then,
                otherwise,
            } => Instr::If {
                cond: self.sized(object, "the condition", cond, 1, scope)?,
                then: self.ops(object, then, scope),
                otherwise: self.ops(object, otherwise, scope),
            },
            ir::Op::Exit => Instr::Exit,
        })
    }

    fn set(
        &mut self,
        object: &str,
        dst: &str,
        value: &ir::Expr,
        scope: &Scope<'_>,
    ) -> Option<Instr> {
        let field = self.field(object, dst)?;
        let (value, bits) = self.expr(object, value, scope)?;
        if bits != field.bits {
            self.errors.push(
                object,
                format!(
                    "{dst} has {} bits, and is set to a value of {bits} bits",
                    field.bits
                ),
            );
        }
        let header = match field.home {
            Home::Header(header) => Some(header),
            Home::Meta => None,
            Home::Std => {
                self.errors.push(object, format!("{dst} is read only"));
                return None;
            }
            Home::Last(_) => {
                self.errors
                    .push(object, format!("{dst} exists in the parser only"));
                return None;
            }
        };
        let sums = self.sums.get(&field.slot).cloned().unwrap_or_default();
        Some(Instr::Set {
            dst: field.slot,
            header,
            value,
            sums: sums.into(),
        })
    }

    /// A header and all that are emitted after it, as a set.
    fn emitted_from(&mut self, object: &str, name: &str) -> Option<u128> {
        let deparser = &self.pipeline.deparser;
        let Some(at) = deparser.iter().position(|emitted| emitted == name) else {
            let problem = format!("{name} is not emitted, and so cannot be quoted");
            self.errors.push(object, problem);
            return None;
        };
        // Names that do not exist are noted where the deparser is lowered.
        let sets = deparser[at..].iter();
        Some(sets.fold(0, |set, name| set | self.names.headers(name).unwrap_or(0)))
    }

    fn shift(&mut self, object: &str, name: &str, count: u8) -> Option<u8> {
        let stack = self.names.stack(name);
        let stack = self.note(object, stack)?;
        let elements = self.names.layout.stacks[usize::from(stack)].count;
        if count == 0 || usize::from(count) > elements {
            self.errors.push(
                object,
                format!("{name} has {elements} elements and cannot be shifted by {count}"),
            );
            return None;
        }
        Some(stack)
    }

    fn drop_reason(&mut self, object: &str, name: &str) -> DropReason {
        if name.is_empty() {
            self.errors.push(object, "a drop needs a reason");
        }
        let known = self.drop_reasons.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.drop_reasons.push(name.to_owned());
            self.drop_reasons.len() - 1
        });
        DropReason(u16::try_from(index).unwrap_or(u16::MAX))
    }

    fn lower_actions(&mut self) -> Vec<Box<[Instr]>> {
        for (index, action) in self.pipeline.actions.iter().enumerate() {
            if self.actions.insert(&action.name, index).is_some() {
                self.errors
                    .push(format!("action {}", action.name), "is declared twice");
            }
        }
        let mut lowered = Vec::new();
        for action in &self.pipeline.actions {
            let object = format!("action {}", action.name);
            let mut seen = BTreeMap::new();
            for param in &action.params {
                if !(1..=128).contains(&param.bits) {
                    let problem = format!("parameter {} must have 1 to 128 bits", param.name);
                    self.errors.push(&object, problem);
                }
                if seen.insert(&param.name, ()).is_some() {
                    let problem = format!("parameter {} is declared twice", param.name);
                    self.errors.push(&object, problem);
                }
            }
            if action.params.len() > MAX_PARAMS {
                self.errors.push(&object, "has more than 128 parameters");
                continue;
            }
            let scope = Scope {
                params: &action.params,
                in_parser: false,
            };
            lowered.push(self.ops(&object, &action.ops, &scope));
        }
        lowered
    }

    fn lower_selectors(&mut self) -> Vec<SelectorDef> {
        let mut selectors: Vec<SelectorDef> = Vec::new();
        for selector in &self.pipeline.selectors {
            let object = format!("selector {}", selector.name);
            if selectors.iter().any(|other| other.name == selector.name) {
                self.errors.push(&object, "is declared twice");
            }
            let hash = self.slots(&object, &selector.hash);
            if selector.size > 0 && selector.max_group_size > selector.size {
                self.errors.push(
                    &object,
                    "has groups that are larger than all of them together",
                );
            }
            if selector.max_group_size > 0 && !selector.chooses() {
                let problem =
                    "has no groups, and so no largest one; a hash would make it a selector";
                self.errors.push(&object, problem);
            }
            let users = self.pipeline.tables.iter();
            let mut users = users.filter(|table| table.selector.as_ref() == Some(&selector.name));
            if let Some(first) = users.next()
                && let Some(other) = users.find(|other| other.actions != first.actions)
            {
                // A member may be used by each of them (P4Runtime §9.2.1).
                let problem = format!(
                    "is used by tables {} and {}, whose actions differ",
                    first.name, other.name
                );
                self.errors.push(&object, problem);
            }
            if selector.mode == ir::SelectorMode::FirstLive && !hash.is_empty() {
                self.errors.push(
                    &object,
                    "takes the first live member, and so hashes nothing",
                );
            }
            selectors.push(SelectorDef {
                name: selector.name.clone(),
                hash,
                mode: selector.mode,
                counts: selector.size_counts,
                size: selector.size as usize,
                max_group_size: selector.max_group_size as usize,
            });
        }
        selectors
    }

    /// The places of fields that are read.
    pub(crate) fn slots(&mut self, object: &str, fields: &[String]) -> Box<[Slot]> {
        fields
            .iter()
            .filter_map(|name| {
                let field = self.field(object, name)?;
                if let Home::Last(_) = field.home {
                    self.errors
                        .push(object, format!("{name} exists in the parser only"));
                }
                Some(field.slot)
            })
            .collect()
    }

    /// A field by its name.
    pub(crate) fn field(&mut self, object: &str, name: &str) -> Option<Field> {
        let field = self.names.field(name);
        self.note(object, field)
    }

    fn lower_checksums(&mut self) {
        if self.pipeline.checksums.len() > MAX_CHECKSUMS {
            self.errors.push("checksums", "there are more than 32");
            return;
        }
        for (index, checksum) in (0_u8..).zip(&self.pipeline.checksums) {
            let object = format!("checksum {}", checksum.field);
            let Some((field, header)) = self.covered(&object, &checksum.field) else {
                continue;
            };
            if field.bits != 16 || field.offset % 16 != 0 {
                self.errors
                    .push(&object, "must have 16 bits at an even byte offset");
                continue;
            }
            self.takes_part(field.slot, index, SumRole::Itself);
            let mut covers = Vec::new();
            for name in &checksum.covers {
                let Some((field, _)) = self.covered(&object, name) else {
                    continue;
                };
                // The field's last bit, from the end of its 16-bit word.
                let end = field.offset + usize::from(field.bits);
                let shift = ((16 - end % 16) % 16) as u8;
                covers.push((field.slot, shift));
                self.takes_part(field.slot, index, SumRole::Covered(shift));
            }
            let mut pseudo = Vec::new();
            for name in &checksum.pseudo {
                let Some((field, _)) = self.covered(&object, name) else {
                    continue;
                };
                pseudo.push(field.slot);
                self.takes_part(field.slot, index, SumRole::Pseudo);
            }
            self.checksums.push(ChecksumDef {
                header,
                slot: field.slot,
                offset: field.offset / 8,
                covers: covers.into(),
                pseudo: pseudo.into(),
                offloadable: checksum.offloadable,
                zero_is_none: checksum.zero_is_none,
                payload: checksum.payload,
            });
        }
    }

    fn takes_part(&mut self, slot: Slot, checksum: u8, role: SumRole) {
        self.sums
            .entry(slot)
            .or_default()
            .push(SumPart { checksum, role });
    }

    /// A field of a header that is not in a stack.
    fn covered(&mut self, object: &str, name: &str) -> Option<(Field, u8)> {
        let field = self.field(object, name)?;
        match field.home {
            Home::Header(header)
                if !self.names.layout.stacks.iter().any(|stack| {
                    (stack.first..stack.first + stack.count).contains(&usize::from(header))
                }) =>
            {
                Some((field, header))
            }
            _ => {
                let problem = format!("{name} is not a field of a header outside stacks");
                self.errors.push(object, problem);
                None
            }
        }
    }

    fn lower_deparser(&mut self) -> Box<[u8]> {
        let mut order = Vec::new();
        let mut seen = 0_u128;
        for name in &self.pipeline.deparser {
            let object = format!("deparser, {name}");
            let place = self.names.place(name);
            let Some(place) = self.note(&object, place) else {
                continue;
            };
            let headers = match place {
                Place::Header(header) => header..header + 1,
                Place::Stack(stack) => {
                    let stack = self.names.layout.stacks[usize::from(stack)];
                    stack.first as u8..(stack.first + stack.count) as u8
                }
            };
            for header in headers {
                if seen & 1 << header != 0 {
                    self.errors.push(&object, "is emitted twice");
                }
                seen |= 1 << header;
                order.push(header);
            }
        }
        order.into()
    }

    fn controller_fields(
        &mut self,
        what: &str,
        fields: &[ir::ControllerField],
        stored: bool,
    ) -> Vec<Slot> {
        let mut names = BTreeMap::new();
        let mut slots = Vec::new();
        for declared in fields {
            let object = format!("{what} metadata {}", declared.name);
            if names.insert(&declared.name, ()).is_some() {
                self.errors.push(&object, "is declared twice");
            }
            let Some(field) = self.field(&object, &declared.field) else {
                continue;
            };
            match field.home {
                Home::Meta => {}
                Home::Header(_) | Home::Std if !stored => {}
                _ => {
                    let problem = format!("{} cannot be used here", declared.field);
                    self.errors.push(&object, problem);
                }
            }
            slots.push(field.slot);
        }
        slots
    }

    fn header_set(&mut self, what: &str, names: &[String]) -> u128 {
        let mut set = 0;
        for name in names {
            let headers = self.names.headers(name);
            set |= self.note(what, headers).unwrap_or(0);
        }
        set
    }
}
