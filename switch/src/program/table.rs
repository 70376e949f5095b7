//! The lowering of tables: keys, defaults and constant entries.

use std::collections::{BTreeMap, BTreeSet};

use weft_proto::vocab::{
    ActionCall, ActionId, EntryKey, FieldId, FieldMatch, MatchKind, ParamId, TableAction,
    TableEntry, TableId,
};

use super::expr::Scope;
use super::lower::Lower;
use super::{DirectMeterDef, MAX_KEYS, TableDef};
use crate::bits::max_value;
use crate::table::KeyLayout;
use crate::{ir, p4info};

impl From<ir::KeyKind> for MatchKind {
    fn from(kind: ir::KeyKind) -> Self {
        match kind {
            ir::KeyKind::Exact => Self::Exact,
            ir::KeyKind::Lpm => Self::Lpm,
            ir::KeyKind::Ternary => Self::Ternary,
            ir::KeyKind::Range => Self::Range,
            ir::KeyKind::Optional => Self::Optional,
        }
    }
}

impl Lower<'_> {
    /// Lowers all tables.
    pub(crate) fn lower_tables(&mut self) -> Vec<TableDef> {
        let pipeline = self.pipeline;
        let mut names = BTreeSet::new();
        let mut tables = Vec::new();
        for (id, table) in (p4info::TABLE + 1..).zip(&pipeline.tables) {
            if !names.insert(&table.name) {
                self.errors
                    .push(format!("table {}", table.name), "is declared twice");
            }
            tables.push(self.lower_table(TableId(id), table));
        }
        tables
    }

    fn lower_table(&mut self, id: TableId, table: &ir::Table) -> TableDef {
        let object = format!("table {}", table.name);
        let mut fields = Vec::new();
        let mut keys = Vec::new();
        let mut names = BTreeSet::new();
        for key in &table.keys {
            let object = format!("{object}, key {}", key.name);
            if !names.insert(&key.name) {
                self.errors.push(&object, "is declared twice");
            }
            if let Some((value, bits)) = self.expr(&object, &key.value, &Scope::CONTROL) {
                keys.push(value);
                fields.push((MatchKind::from(key.kind), bits));
            }
        }
        let lpm = fields.iter().filter(|(kind, _)| *kind == MatchKind::Lpm);
        if lpm.count() > 1 {
            self.errors
                .push(&object, "has more than one longest-prefix key");
        }
        if table.keys.len() > MAX_KEYS {
            self.errors.push(&object, "has more than 128 key fields");
        }
        if table.size == 0 && !table.keys.is_empty() {
            self.errors.push(&object, "has size 0");
        }
        let mut allowed = BTreeSet::new();
        for action in &table.actions {
            if !self.actions.contains_key(action.name.as_str()) {
                let problem = format!("there is no action {}", action.name);
                self.errors.push(&object, problem);
            }
            if !allowed.insert(&action.name) {
                let problem = format!("names action {} twice", action.name);
                self.errors.push(&object, problem);
            }
        }
        let selector = table.selector.as_ref().and_then(|name| {
            let selectors = &self.pipeline.selectors;
            let found = selectors.iter().position(|known| known.name == *name);
            if found.is_none() {
                self.errors
                    .push(&object, format!("there is no selector {name}"));
            }
            found
        });
        let default = table.default_action.as_ref().and_then(|call| {
            let object = format!("{object}, default action");
            let call = self.lower_call(&object, table, call, ir::Scope::DefaultOnly)?;
            Some(entry(
                EntryKey {
                    table: id,
                    ..EntryKey::default()
                },
                call,
                true,
            ))
        });
        if table.const_default && default.is_none() {
            self.errors
                .push(&object, "has a constant default that is not given");
        }
        let mut const_entries = Vec::new();
        for constant in &table.const_entries {
            let object = format!("{object}, constant entry {}", const_entries.len());
            if fields.len() != table.keys.len() {
                break;
            }
            let key = self.lower_const_key(&object, id, table, constant, &fields);
            let call = self.lower_call(&object, table, &constant.call, ir::Scope::TableOnly);
            if let (Some(key), Some(call)) = (key, call) {
                const_entries.push(entry(key, call, false));
            }
        }
        if selector.is_some() && !const_entries.is_empty() {
            self.errors
                .push(&object, "has a selector and constant entries");
        }
        let distinct: BTreeSet<_> = const_entries.iter().map(|entry| &entry.key).collect();
        if distinct.len() != const_entries.len() || distinct.len() > table.size as usize {
            self.errors
                .push(&object, "has equal constant entries, or more than its size");
        }
        let meter = table.meter.as_ref().and_then(|meter| {
            let dst = self.color(&object, &meter.dst)?;
            let unit = meter.unit;
            Some(DirectMeterDef { unit, dst })
        });
        TableDef {
            name: table.name.clone(),
            keys: keys.into(),
            key: KeyLayout::new(&fields),
            size: table.size as usize,
            counters: table.counters,
            meter,
            idle_timeout: table.idle_timeout,
            selector,
            const_default: table.const_default,
            default,
            const_entries,
        }
    }

    /// A call with constant arguments; `used` is the place where it stands.
    fn lower_call(
        &mut self,
        object: &str,
        table: &ir::Table,
        call: &ir::Call,
        used: ir::Scope,
    ) -> Option<ActionCall> {
        let allowed = table.actions.iter().any(|action| {
            action.name == call.action && (action.scope == ir::Scope::Any || action.scope == used)
        });
        let index = self.actions.get(call.action.as_str()).copied();
        let Some(index) = index.filter(|_| allowed) else {
            let problem = format!("action {} is not allowed here", call.action);
            self.errors.push(object, problem);
            return None;
        };
        let action = &self.pipeline.actions[index];
        let mut params = Vec::new();
        for (id, param) in (1..).zip(&action.params) {
            let value = call.args.get(&param.name).copied().map(u128::from);
            match value {
                Some(value) if value <= max_value(param.bits) => {
                    params.push((ParamId(id), value));
                }
                Some(value) => {
                    let problem = format!("argument {} = {value:#x} is too wide", param.name);
                    self.errors.push(object, problem);
                }
                None => {
                    let problem = format!("argument {} is missing", param.name);
                    self.errors.push(object, problem);
                }
            }
        }
        for name in call.args.keys() {
            if !action.params.iter().any(|param| param.name == *name) {
                let problem = format!("action {} has no parameter {name}", call.action);
                self.errors.push(object, problem);
            }
        }
        let action = ActionId(p4info::action_id(index));
        (params.len() == self.pipeline.actions[index].params.len())
            .then_some(ActionCall { action, params })
    }

    fn lower_const_key(
        &mut self,
        object: &str,
        table_id: TableId,
        table: &ir::Table,
        constant: &ir::ConstEntry,
        fields: &[(MatchKind, u16)],
    ) -> Option<EntryKey> {
        let needs_priority = fields.iter().any(|(kind, _)| kind.needs_priority());
        if needs_priority != (constant.priority > 0) {
            let problem = "has a priority of 1 or more exactly if its table is ordered by it";
            self.errors.push(object, problem);
        }
        for name in constant.matches.keys() {
            if !table.keys.iter().any(|key| key.name == *name) {
                self.errors.push(object, format!("there is no key {name}"));
            }
        }
        let mut matches = BTreeMap::new();
        for ((id, key), &(kind, bits)) in (1..).zip(&table.keys).zip(fields) {
            let object = format!("{object}, key {}", key.name);
            let Some(masked) = constant.matches.get(&key.name) else {
                if kind == MatchKind::Exact {
                    self.errors.push(&object, "is missing");
                }
                continue;
            };
            match constant_match(kind, bits, *masked) {
                Ok(Some(found)) => {
                    matches.insert(FieldId(id), found);
                }
                Ok(None) => {}
                Err(problem) => self.errors.push(&object, problem),
            }
        }
        let priority = constant.priority;
        Some(EntryKey {
            table: table_id,
            matches,
            priority,
        })
    }
}

/// The match that a value under a mask stands for; `None` for don't-care.
fn constant_match(
    kind: MatchKind,
    bits: u16,
    masked: ir::Masked,
) -> Result<Option<FieldMatch>, &'static str> {
    let all = max_value(bits);
    let (value, mask) = (masked.value, masked.mask & all);
    if value & !mask != 0 {
        return Err("has a value outside its mask or its field");
    }
    if mask == 0 && kind != MatchKind::Exact {
        return Ok(None);
    }
    Ok(Some(match kind {
        MatchKind::Exact if mask == all => FieldMatch::Exact(value),
        MatchKind::Optional if mask == all => FieldMatch::Optional(value),
        MatchKind::Ternary => FieldMatch::Ternary { value, mask },
        MatchKind::Lpm if (mask ^ all) & ((mask ^ all) + 1) == 0 => {
            let prefix_len = u16::try_from(mask.count_ones()).map_err(|_| "is too wide")?;
            FieldMatch::Lpm { value, prefix_len }
        }
        MatchKind::Exact | MatchKind::Optional => return Err("needs a mask of all bits"),
        MatchKind::Lpm => return Err("needs a mask that is a prefix"),
        MatchKind::Range => return Err("is a range, which constant entries cannot give"),
    }))
}

fn entry(key: EntryKey, call: ActionCall, is_default: bool) -> TableEntry {
    TableEntry {
        key,
        action: Some(TableAction::Call(call)),
        metadata: Vec::new(),
        is_default,
        idle_timeout_ns: 0,
    }
}
