//! The way back from places to names, for those who tell people what happened to a packet.

use std::collections::BTreeMap;

use super::{Program, layout, lower};
use crate::bits::Slot;
use crate::ir;

/// A header field by name.
#[derive(Clone, Debug)]
pub(crate) struct HeaderField {
    /// `ipv4.ttl`, `mpls[0].label`.
    pub(crate) name: String,
    pub(crate) header: u8,
    pub(crate) slot: Slot,
    pub(crate) format: ir::Format,
}

struct HeaderInstance<'p> {
    name: String,
    fields: &'p [ir::Bits],
}

impl Program {
    /// All header fields in the order of declaration, each stack element's among them.
    pub(crate) fn header_fields(&self) -> Vec<HeaderField> {
        let mut errors = lower::Errors::default();
        let names = layout::Names::new(&self.pipeline, &mut errors);
        // A key that is a field says how people read that field.
        let keys = self.pipeline.tables.iter().flat_map(|table| &table.keys);
        let formats: BTreeMap<&str, ir::Format> = keys
            .filter_map(|key| match &key.value {
                ir::Expr::Field(name) => Some((name.as_str(), key.format)),
                _ => None,
            })
            .collect();
        let mut fields = Vec::new();
        for header in self.header_instances() {
            let Ok(index) = names.header(&header.name) else {
                continue;
            };
            for field in header.fields {
                let name = format!("{}.{}", header.name, field.name);
                let Ok(found) = names.field(&name) else {
                    continue;
                };
                fields.push(HeaderField {
                    header: index,
                    slot: found.slot,
                    format: formats.get(name.as_str()).copied().unwrap_or_default(),
                    name,
                });
            }
        }
        fields
    }

    /// The names of a set of headers, in the order in which the deparser emits them.
    pub(crate) fn header_names(&self, valid: u128) -> Vec<String> {
        let mut errors = lower::Errors::default();
        let names = layout::Names::new(&self.pipeline, &mut errors);
        let mut found: Vec<(usize, String)> = self
            .header_instances()
            .filter_map(|header| {
                let index = names.header(&header.name).ok()?;
                let order = self.deparser.iter().position(|&emitted| emitted == index);
                (valid & 1 << index != 0).then(|| (order.unwrap_or(usize::MAX), header.name))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, name)| name).collect()
    }

    /// Each header instance and stack element with its fields.
    fn header_instances(&self) -> impl Iterator<Item = HeaderInstance<'_>> {
        self.pipeline.instances.iter().flat_map(|instance| {
            let types = &self.pipeline.headers;
            let found = types.iter().find(|header| header.name == instance.header);
            let fields = found.map_or(&[][..], |header| &header.fields);
            let count = instance.stack.map_or(1, usize::from);
            (0..count).map(move |index| HeaderInstance {
                name: match instance.stack {
                    Some(_) => format!("{}[{index}]", instance.name),
                    None => instance.name.clone(),
                },
                fields,
            })
        })
    }
}
