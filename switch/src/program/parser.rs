//! The lowering of the parser graph.

use std::collections::BTreeMap;

use super::expr::Scope;
use super::lower::Lower;
use super::{Case, Ex, Extract, MAX_NODES, MAX_SELECT_KEYS, ParserState, Select, Target};
use crate::bits::{Slot, max_value};
use crate::ir;

impl Lower<'_> {
    /// Lowers all states; the first one is where parsing starts.
    pub(crate) fn lower_parser(&mut self) -> Vec<ParserState> {
        let parser = &self.pipeline.parser;
        if parser.states.len() > MAX_NODES {
            self.errors.push("parser", "has more than 32768 states");
            return Vec::new();
        }
        let mut indices = BTreeMap::from([
            ("accept", ParserState::ACCEPT),
            ("reject", ParserState::REJECT),
        ]);
        // The start state goes first, whatever the order of declaration.
        let (start, others): (Vec<_>, Vec<_>) = parser
            .states
            .iter()
            .partition(|state| state.name == parser.start);
        if start.is_empty() {
            let problem = format!("there is no start state {:?}", parser.start);
            self.errors.push("parser", problem);
        }
        let states: Vec<_> = start.into_iter().chain(others).collect();
        for (index, state) in (0_u16..).zip(&states) {
            if indices.insert(&state.name, index).is_some() {
                let object = format!("parser state {}", state.name);
                self.errors
                    .push(object, "is declared twice, or has a reserved name");
            }
        }
        states
            .iter()
            .map(|state| self.lower_state(state, &indices))
            .collect()
    }

    fn lower_state(&mut self, state: &ir::State, indices: &BTreeMap<&str, u16>) -> ParserState {
        let object = format!("parser state {}", state.name);
        let extract = state
            .extract
            .iter()
            .filter_map(|extract| self.lower_extract(&object, extract))
            .collect();
        if state.select.len() > MAX_SELECT_KEYS {
            self.errors.push(&object, "selects on more than 8 keys");
        }
        let mut widths = Vec::new();
        let mut select = Vec::new();
        for key in &state.select {
            if let Some((key, bits)) = self.lower_select(&object, key) {
                widths.push(bits);
                select.push(key);
            }
        }
        let mut cases = Vec::new();
        for case in &state.cases {
            if case.values.len() != state.select.len() {
                let problem = format!(
                    "a case has {} values for {} select keys",
                    case.values.len(),
                    state.select.len()
                );
                self.errors.push(&object, problem);
                continue;
            }
            for (masked, bits) in case.values.iter().zip(&widths) {
                if masked.value > max_value(*bits) || masked.value & !masked.mask != 0 {
                    let problem = format!(
                        "case value {:#x} under mask {:#x} does not fit a key of {bits} bits",
                        masked.value, masked.mask
                    );
                    self.errors.push(&object, problem);
                }
            }
            cases.push(Case {
                // Keys are cut to their widths, so mask bits beyond count nothing.
                values: case.values.iter().map(|m| (m.value, m.mask)).collect(),
                next: self.state_index(&object, &case.next, indices),
            });
        }
        ParserState {
            extract,
            select: select.into(),
            cases: cases.into(),
            default: self.state_index(&object, &state.default, indices),
        }
    }

    fn state_index(&mut self, object: &str, name: &str, indices: &BTreeMap<&str, u16>) -> u16 {
        indices.get(name).copied().unwrap_or_else(|| {
            self.errors
                .push(object, format!("there is no next state {name}"));
            ParserState::REJECT
        })
    }

    fn lower_extract(&mut self, object: &str, extract: &ir::Extract) -> Option<Extract> {
        let (target, header) = match extract.instance.strip_suffix(".next") {
            Some(name) => {
                let stack = self.names.stack(name);
                let stack = self.note(object, stack)?;
                let first = self.names.layout.stacks[usize::from(stack)].first;
                (Target::Next(stack), first)
            }
            None => {
                let header = self.names.header(&extract.instance);
                let header = self.note(object, header)?;
                (Target::Header(header), usize::from(header))
            }
        };
        let var_length = match &extract.var_length {
            Some(length) => {
                if self.names.layout.headers[header].max_var == 0 {
                    let problem = format!("{} has no variable part", extract.instance);
                    self.errors.push(object, problem);
                }
                let what = "the variable part's length";
                Some(self.sized(object, what, length, 128, &Scope::PARSER)?)
            }
            None => None,
        };
        Some(Extract { target, var_length })
    }

    fn lower_select(&mut self, object: &str, key: &ir::SelectKey) -> Option<(Select, u16)> {
        match key {
            ir::SelectKey::Field(name) => {
                let value = ir::Expr::Field(name.clone());
                let (value, bits): (Ex, u16) = self.expr(object, &value, &Scope::PARSER)?;
                Some((Select::Value(value), bits))
            }
            ir::SelectKey::Lookahead { offset, bits } => {
                if !(1..=128).contains(bits) {
                    let problem = format!("a lookahead has 1 to 128 bits, not {bits}");
                    self.errors.push(object, problem);
                    return None;
                }
                let byte = usize::from(offset / 8);
                let slot = Slot::new(usize::from(offset % 8), *bits);
                Some((Select::Lookahead { byte, slot }, *bits))
            }
        }
    }
}
