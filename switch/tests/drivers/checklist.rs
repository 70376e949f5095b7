//! What the P4Runtime specification (v1.5) asks of a switch, line by line: each test is one requirement, named after it,
//! with the section that has it.

mod arbitration;
mod arrays;
mod bed;
mod bytestrings;
mod counters;
mod direct_meters;
mod errors;
mod idle;
mod packet_io;
mod pipeline_config;
mod profiles;
mod read;
mod replication;
mod table_entries;
mod write;

use weft_proto::codec::{EntryFilter, Query};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::field_match::FieldMatchType;
use weft_proto::p4::v1::update::Type;
use weft_proto::schema::Schema;
use weft_proto::status::parse_batch_error;

use crate::client::Lab;
use crate::pipeline;

/// The code of each update, or of each request, of a batch that failed.
fn codes(status: &tonic::Status) -> Vec<tonic::Code> {
    assert_eq!(status.code(), tonic::Code::Unknown, "{status}");
    let errors = parse_batch_error(status).expect("one error for each update");
    errors
        .iter()
        .map(|error| tonic::Code::from(error.canonical_code))
        .collect()
}

/// The table entry of an answer.
fn table_entry(entity: wire::Entity) -> wire::TableEntry {
    match entity.entity.unwrap() {
        wire::entity::Entity::TableEntry(entry) => entry,
        other => panic!("expected a table entry, not {other:?}"),
    }
}

/// All entries of all tables.
fn everything() -> Query {
    Query::Entries(EntryFilter::default())
}

/// A table entry on the wire, by the names of the test pipeline; arguments are bytes as they are sent.
fn entry(
    table: &str,
    matches: &[(&str, FieldMatchType)],
    priority: i32,
    action: Option<(&str, &[&[u8]])>,
) -> wire::TableEntry {
    let schema = pipeline::schema();
    entry_of(&schema, table, matches, priority, action)
}

/// The same by the names of another pipeline.
fn entry_of(
    schema: &Schema,
    table: &str,
    matches: &[(&str, FieldMatchType)],
    priority: i32,
    action: Option<(&str, &[&[u8]])>,
) -> wire::TableEntry {
    let table = schema.table_by_name(table).unwrap();
    let matches = matches.iter().map(|(name, found)| wire::FieldMatch {
        field_id: table.field_by_name(name).unwrap().id.0,
        field_match_type: Some(found.clone()),
    });
    let action = action.map(|(name, args)| {
        let action = schema.action_by_name(name).unwrap();
        let params = action.params.iter().zip(args);
        wire::TableAction {
            r#type: Some(wire::table_action::Type::Action(wire::Action {
                action_id: action.id.0,
                params: params
                    .map(|(param, value)| wire::action::Param {
                        param_id: param.id.0,
                        value: value.to_vec().into(),
                    })
                    .collect(),
            })),
        }
    });
    wire::TableEntry {
        table_id: table.id.0,
        r#match: matches.collect(),
        priority,
        action,
        ..wire::TableEntry::default()
    }
}

fn exact(value: &[u8]) -> FieldMatchType {
    FieldMatchType::Exact(wire::field_match::Exact {
        value: value.to_vec().into(),
    })
}

fn ternary(value: &[u8], mask: &[u8]) -> FieldMatchType {
    FieldMatchType::Ternary(wire::field_match::Ternary {
        value: value.to_vec().into(),
        mask: mask.to_vec().into(),
    })
}

fn lpm(value: &[u8], prefix_len: i32) -> FieldMatchType {
    FieldMatchType::Lpm(wire::field_match::Lpm {
        value: value.to_vec().into(),
        prefix_len,
    })
}

fn range(low: &[u8], high: &[u8]) -> FieldMatchType {
    FieldMatchType::Range(wire::field_match::Range {
        low: low.to_vec().into(),
        high: high.to_vec().into(),
    })
}

fn optional(value: &[u8]) -> FieldMatchType {
    FieldMatchType::Optional(wire::field_match::Optional {
        value: value.to_vec().into(),
    })
}

/// An entry of `forward`.
fn send(in_port: u8, port: u8) -> wire::TableEntry {
    let key = [("in_port", exact(&[in_port]))];
    entry("forward", &key, 0, Some(("send", &[&[port]])))
}

/// An update of any entity.
fn change(kind: Type, entity: wire::entity::Entity) -> wire::Update {
    wire::Update {
        r#type: kind.into(),
        entity: Some(wire::Entity {
            entity: Some(entity),
        }),
    }
}

/// An update of a table entry.
fn entry_update(kind: Type, entry: wire::TableEntry) -> wire::Update {
    change(kind, wire::entity::Entity::TableEntry(entry))
}

/// The code of each update of a batch, all of which are refused but those with OK.
async fn outcome(lab: &Lab, updates: Vec<wire::Update>) -> Vec<tonic::Code> {
    let count = updates.len();
    match lab.write_wire(1, updates).await {
        Ok(()) => vec![tonic::Code::Ok; count],
        Err(status) => codes(&status),
    }
}

/// The entries that a filter on the wire gives.
async fn read_entries(lab: &Lab, filter: wire::TableEntry) -> Vec<wire::TableEntry> {
    let entity = wire::Entity {
        entity: Some(wire::entity::Entity::TableEntry(filter)),
    };
    let (_, ended) = lab.read_wire(1, vec![entity]).await;
    ended.unwrap().into_iter().map(table_entry).collect()
}
