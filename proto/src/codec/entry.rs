//! Table entries (P4Runtime §9.1).

use std::collections::BTreeMap;

use super::{EntryError, action};
use crate::bytes;
use crate::p4::v1 as wire;
use crate::p4::v1::field_match::FieldMatchType;
use crate::schema::{FieldSchema, Schema, TableSchema};
use crate::vocab::{CounterValue, EntryKey, FieldId, FieldMatch, MatchKind, TableEntry, TableId};

/// Decodes a table entry, of a write or of a read's answer. A missing action is no error here.
///
/// # Errors
///
/// What the table's schema, or P4Runtime's canonical form, does not allow.
pub fn decode_entry(schema: &Schema, entry: &wire::TableEntry) -> Result<TableEntry, EntryError> {
    let table = table(schema, entry.table_id)?;
    let key = key(table, entry)?;
    refuse_unsupported(table, entry)?;
    let is_default = entry.is_default_action;
    let idle = entry.idle_timeout_ns;
    if idle < 0 || idle > 0 && (is_default || !table.idle_timeout) {
        return Err(EntryError::IdleTimeout {
            table: table.name.clone(),
        });
    }
    let action = entry
        .action
        .as_ref()
        .map(|action| action::decode(schema, table, action, is_default))
        .transpose()?;
    Ok(TableEntry {
        key,
        action,
        metadata: entry.metadata.to_vec(),
        is_default,
        idle_timeout_ns: idle,
    })
}

/// Encodes a table entry in its canonical form, without counters.
pub fn encode_entry(schema: &Schema, entry: &TableEntry) -> wire::TableEntry {
    let is_const = !entry.is_default
        && schema
            .table(entry.key.table)
            .is_some_and(|table| table.is_const);
    wire::TableEntry {
        action: entry.action.as_ref().map(action::encode),
        metadata: entry.metadata.clone().into(),
        is_default_action: entry.is_default,
        idle_timeout_ns: entry.idle_timeout_ns,
        is_const,
        ..encode_key(&entry.key)
    }
}

/// The value of an entry's direct counter, where the message has one.
///
/// # Errors
///
/// The table has no counters, or the value is negative.
pub fn decode_counter(
    schema: &Schema,
    entry: &wire::TableEntry,
) -> Result<Option<CounterValue>, EntryError> {
    let Some(data) = &entry.counter_data else {
        return Ok(None);
    };
    let table = table(schema, entry.table_id)?;
    counter_value(table, data).map(Some)
}

/// A counter's value on the wire; above 2^63-1 it stays there.
pub fn counter_data(value: CounterValue) -> wire::CounterData {
    wire::CounterData {
        byte_count: i64::try_from(value.bytes).unwrap_or(i64::MAX),
        packet_count: i64::try_from(value.packets).unwrap_or(i64::MAX),
    }
}

pub(super) fn counter_value(
    table: &TableSchema,
    data: &wire::CounterData,
) -> Result<CounterValue, EntryError> {
    if !table.counters {
        return Err(EntryError::NoCounter {
            table: table.name.clone(),
        });
    }
    let negative = |_| EntryError::NegativeCounter {
        table: table.name.clone(),
    };
    Ok(CounterValue {
        packets: u64::try_from(data.packet_count).map_err(negative)?,
        bytes: u64::try_from(data.byte_count).map_err(negative)?,
    })
}

pub(super) fn table(schema: &Schema, id: u32) -> Result<&TableSchema, EntryError> {
    let id = TableId(id);
    schema.table(id).ok_or(EntryError::UnknownTable { id })
}

/// The key of an entry: match and priority, or nothing for the default entry.
pub(super) fn key(table: &TableSchema, entry: &wire::TableEntry) -> Result<EntryKey, EntryError> {
    let priority = entry.priority;
    if entry.is_default_action {
        if !entry.r#match.is_empty() || priority != 0 {
            return Err(EntryError::DefaultWithKey {
                table: table.name.clone(),
            });
        }
        return Ok(EntryKey {
            table: table.id,
            ..EntryKey::default()
        });
    }
    let matches = matches(table, &entry.r#match)?;
    if table.needs_priority() && priority <= 0 {
        return Err(EntryError::PriorityMissing {
            table: table.name.clone(),
            priority,
        });
    }
    if !table.needs_priority() && priority != 0 {
        return Err(EntryError::PriorityUnwanted {
            table: table.name.clone(),
            priority,
        });
    }
    Ok(EntryKey {
        table: table.id,
        matches,
        priority,
    })
}

/// The match of an entry; each exact field must be there.
pub(super) fn matches(
    table: &TableSchema,
    wire: &[wire::FieldMatch],
) -> Result<BTreeMap<FieldId, FieldMatch>, EntryError> {
    let mut matches = BTreeMap::new();
    for field_match in wire {
        let id = FieldId(field_match.field_id);
        let field = table.field(id).ok_or_else(|| EntryError::UnknownField {
            table: table.name.clone(),
            id,
        })?;
        let at = At { table, field };
        if matches.insert(id, at.decode(field_match)?).is_some() {
            return Err(EntryError::DuplicateField {
                table: at.table(),
                field: at.field(),
            });
        }
    }
    for field in &table.fields {
        if field.kind == MatchKind::Exact && !matches.contains_key(&field.id) {
            return Err(EntryError::MissingField {
                table: table.name.clone(),
                field: field.name.clone(),
            });
        }
    }
    Ok(matches)
}

pub(super) fn encode_key(key: &EntryKey) -> wire::TableEntry {
    wire::TableEntry {
        table_id: key.table.0,
        r#match: key.matches.iter().map(encode_match).collect(),
        priority: key.priority,
        ..wire::TableEntry::default()
    }
}

/// The field that is being decoded, for errors.
struct At<'a> {
    table: &'a TableSchema,
    field: &'a FieldSchema,
}

impl At<'_> {
    fn decode(&self, field_match: &wire::FieldMatch) -> Result<FieldMatch, EntryError> {
        match (self.field.kind, &field_match.field_match_type) {
            (MatchKind::Exact, Some(FieldMatchType::Exact(exact))) => {
                Ok(FieldMatch::Exact(self.value(&exact.value)?))
            }
            (MatchKind::Optional, Some(FieldMatchType::Optional(optional))) => {
                Ok(FieldMatch::Optional(self.value(&optional.value)?))
            }
            (MatchKind::Lpm, Some(FieldMatchType::Lpm(lpm))) => self.lpm(lpm),
            (MatchKind::Ternary, Some(FieldMatchType::Ternary(ternary))) => self.ternary(ternary),
            (MatchKind::Range, Some(FieldMatchType::Range(range))) => self.range(range),
            (expected, _) => Err(EntryError::WrongKind {
                table: self.table(),
                field: self.field(),
                expected,
            }),
        }
    }

    fn lpm(&self, lpm: &wire::field_match::Lpm) -> Result<FieldMatch, EntryError> {
        let bits = self.field.bits;
        if lpm.prefix_len == 0 {
            return Err(self.dont_care());
        }
        let prefix_len = u16::try_from(lpm.prefix_len)
            .ok()
            .filter(|&length| length <= bits)
            .ok_or_else(|| EntryError::PrefixLength {
                table: self.table(),
                field: self.field(),
                prefix_len: lpm.prefix_len,
                bits,
            })?;
        let value = self.value(&lpm.value)?;
        if value & bytes::max_value(bits - prefix_len) != 0 {
            return Err(self.stray_bits());
        }
        Ok(FieldMatch::Lpm { value, prefix_len })
    }

    fn ternary(&self, ternary: &wire::field_match::Ternary) -> Result<FieldMatch, EntryError> {
        let value = self.value(&ternary.value)?;
        let mask = self.value(&ternary.mask)?;
        if mask == 0 {
            return Err(self.dont_care());
        }
        if value & !mask != 0 {
            return Err(self.stray_bits());
        }
        Ok(FieldMatch::Ternary { value, mask })
    }

    fn range(&self, range: &wire::field_match::Range) -> Result<FieldMatch, EntryError> {
        let low = self.value(&range.low)?;
        let high = self.value(&range.high)?;
        if low > high {
            return Err(EntryError::EmptyRange {
                table: self.table(),
                field: self.field(),
            });
        }
        if low == 0 && high == self.field.max_value() {
            return Err(self.dont_care());
        }
        Ok(FieldMatch::Range { low, high })
    }

    fn value(&self, value: &[u8]) -> Result<u128, EntryError> {
        bytes::decode(value, self.field.bits).map_err(|error| EntryError::Value {
            object: format!("{}.{}", self.table.name, self.field.name),
            error,
        })
    }

    fn dont_care(&self) -> EntryError {
        EntryError::DontCare {
            table: self.table(),
            field: self.field(),
        }
    }

    fn stray_bits(&self) -> EntryError {
        EntryError::StrayBits {
            table: self.table(),
            field: self.field(),
        }
    }

    fn table(&self) -> String {
        self.table.name.clone()
    }

    fn field(&self) -> String {
        self.field.name.clone()
    }
}

fn encode_match((id, field_match): (&FieldId, &FieldMatch)) -> wire::FieldMatch {
    use wire::field_match::{Exact, Lpm, Optional, Range, Ternary};

    let field_match_type = match *field_match {
        FieldMatch::Exact(value) => FieldMatchType::Exact(Exact {
            value: bytes::encode(value),
        }),
        FieldMatch::Lpm { value, prefix_len } => FieldMatchType::Lpm(Lpm {
            value: bytes::encode(value),
            prefix_len: i32::from(prefix_len),
        }),
        FieldMatch::Ternary { value, mask } => FieldMatchType::Ternary(Ternary {
            value: bytes::encode(value),
            mask: bytes::encode(mask),
        }),
        FieldMatch::Range { low, high } => FieldMatchType::Range(Range {
            low: bytes::encode(low),
            high: bytes::encode(high),
        }),
        FieldMatch::Optional(value) => FieldMatchType::Optional(Optional {
            value: bytes::encode(value),
        }),
    };
    wire::FieldMatch {
        field_id: id.0,
        field_match_type: Some(field_match_type),
    }
}

/// Whether a table's entries have meters.
pub(super) fn has_meter(table: &TableSchema) -> Result<(), EntryError> {
    match table.meter {
        Some(_) => Ok(()),
        None => Err(EntryError::NoMeter {
            table: table.name.clone(),
        }),
    }
}

#[expect(deprecated, reason = "old clients may still set controller_metadata")]
fn refuse_unsupported(table: &TableSchema, entry: &wire::TableEntry) -> Result<(), EntryError> {
    if entry.controller_metadata != 0 {
        return Err(EntryError::Unsupported {
            what: "controller_metadata (use metadata)",
        });
    }
    match entry.meter_config.is_some() || entry.meter_counter_data.is_some() {
        true => has_meter(table),
        false => Ok(()),
    }
}
