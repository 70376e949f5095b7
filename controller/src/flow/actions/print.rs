//! Action lists in normal form.

use serde_json::{Value, json};

use super::super::grammar::{GROUP, METER, OUTPUT, camel};
use super::super::text::{self, Pattern};
use super::List;

impl List<'_, '_> {
    /// The list in normal form: sets, tags and what they carry, the meter, then outputs.
    pub(super) fn print(&self) -> Vec<Value> {
        let Some(edit) = &self.grammar.edit else {
            return self.print_verdict().into_iter().collect();
        };
        let printed = |field: &str, value: u128| {
            let Some(set) = edit.sets.get(field) else {
                return Value::Null;
            };
            let form = text::Form::of_param(set.param);
            let pattern = Pattern::exact(value, form.bits);
            text::print(&form, self.ports, pattern)
        };
        // A field that a tag carries is set after the tag has been put there.
        let is_late = |field: &str| self.order.iter().any(|word| subject(word, field));
        let sets = |late: bool| {
            let fields: serde_json::Map<String, Value> = (self.sets.iter())
                .filter(|(field, _)| is_late(field) == late)
                .map(|(field, value)| ((*field).to_owned(), printed(field, *value)))
                .collect();
            (!fields.is_empty()).then(|| json!({ "set": fields }))
        };
        let tags = self.order.iter().filter(|word| **word != METER);
        let tags = tags.map(|word| {
            let argument = match (edit.args.get(word), self.tags.get(word)) {
                (Some(param), Some(Some(value))) => {
                    let form = text::Form::of_param(param);
                    text::print(&form, self.ports, Pattern::exact(*value, form.bits))
                }
                _ => true.into(),
            };
            let mut action = serde_json::Map::new();
            action.insert(camel(word), argument);
            Value::Object(action)
        });
        let mut list: Vec<_> = sets(false).into_iter().collect();
        list.extend(tags);
        list.extend(sets(true));
        list.extend(self.meter.iter().map(|name| json!({ METER: name })));
        list.extend(self.print_verdict());
        list
    }

    fn print_verdict(&self) -> Option<Value> {
        if let Some(word) = self.word {
            return Some(word.into());
        }
        if let Some((name, _)) = &self.group {
            return Some(json!({ GROUP: name }));
        }
        let form = text::Form::port();
        let mut names: Vec<_> = (self.outputs.iter())
            .map(|port| text::print(&form, self.ports, Pattern::exact(port.0.into(), form.bits)))
            .collect();
        Some(match names.len() {
            0 => return None,
            1 => json!({ OUTPUT: names.remove(0) }),
            _ => json!({ OUTPUT: names }),
        })
    }
}

/// Whether a field belongs to what an edit adds or removes: `vlan_vid` to `push_vlan`.
pub(super) fn subject(word: &str, field: &str) -> bool {
    word.split_once('_')
        .is_some_and(|(_, what)| field.split('_').next() == Some(what))
}
