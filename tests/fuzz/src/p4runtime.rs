//! P4Runtime requests: decoded, applied to a switch that holds the fabric's entries, and read back.

use std::sync::Arc;

use prost::Message as _;
use weft_controller::compile::{Desired, Subject, diff};
use weft_proto::codec::{
    Entity, Update, UpdateKind, decode_entry, decode_filter, decode_group, decode_query,
    decode_update, encode_entry, encode_group, encode_query, encode_update,
};
use weft_proto::p4::v1 as wire;
use weft_proto::schema::Schema;
use weft_switch::state::State;

use crate::fabric::edge;

/// A `WriteRequest`, and a `ReadRequest`, whichever the bytes are.
pub fn run(data: &[u8]) {
    let edge = edge();
    let schema = edge.program.schema();
    if let Ok(request) = wire::WriteRequest::decode(data) {
        write(schema, &request.updates);
    }
    if let Ok(request) = wire::ReadRequest::decode(data) {
        for entity in &request.entities {
            if let Ok(query) = decode_query(schema, entity) {
                let again = decode_query(schema, &encode_query(&query));
                assert_eq!(again, Ok(query));
            }
        }
    }
    if let Ok(entry) = wire::TableEntry::decode(data) {
        let _ = decode_filter(schema, &entry);
    }
}

fn write(schema: &Schema, updates: &[wire::Update]) {
    let edge = edge();
    for update in updates {
        if let Ok(decoded) = decode_update(schema, update) {
            let again = decode_update(schema, &encode_update(schema, &decoded));
            assert_eq!(again.as_ref(), Ok(&decoded));
        }
    }
    let ports = edge.ports.iter().copied().collect();
    for mut state in [
        State::new(Arc::clone(&edge.program)),
        edge.datapath.state.clone(),
    ] {
        let results = weft_switch::apply_updates(&mut state, &ports, updates);
        assert_eq!(results.len(), updates.len());
        read_back(schema, &state);
    }
}

/// Everything that a state holds can be sent, and is the same when it arrives.
fn read_back(schema: &Schema, state: &State) {
    for table in schema.tables() {
        let entries = state.entries(table.id);
        for view in entries.iter().chain(&state.default_entry(table.id)) {
            let decoded = decode_entry(schema, &encode_entry(schema, view.entry));
            assert_eq!(decoded.as_ref(), Ok(view.entry));
        }
    }
    for group in state.groups() {
        assert_eq!(decode_group(&encode_group(group)).as_ref(), Ok(group));
    }
}

/// Every kind of update, with entries of every table.
pub fn seeds() -> Vec<Vec<u8>> {
    let edge = edge();
    let schema = edge.program.schema();
    let plan = diff(&Desired::default(), &edge.desired);
    let mut seeds = Vec::new();
    let mut seen = Vec::new();
    let mut all = Vec::new();
    for update in plan.updates() {
        let kind = match &update.subject {
            Subject::Entry(entry) => (
                entry.key.table.0,
                entry
                    .action
                    .clone()
                    .map(|action| std::mem::discriminant(&action)),
            ),
            Subject::Group(_) => (0, None),
            Subject::Meter(cell) => (cell.meter.0, None),
        };
        let entity = match update.subject.clone() {
            Subject::Entry(entry) => Entity::Entry {
                entry,
                counter: None,
                meter: None,
                clear: false,
            },
            Subject::Group(group) => Entity::Group(group),
            Subject::Meter(cell) => Entity::Meter {
                meter: cell.meter,
                index: Some(cell.index),
                config: cell.config,
                clear: false,
            },
        };
        let request = |kind| {
            let update = encode_update(
                schema,
                &Update {
                    kind,
                    entity: entity.clone(),
                },
            );
            wire::WriteRequest {
                device_id: 1,
                updates: vec![update],
                ..wire::WriteRequest::default()
            }
        };
        all.extend(request(UpdateKind::Insert).updates);
        if seen.contains(&kind) {
            continue;
        }
        seen.push(kind);
        seeds.push(request(UpdateKind::Insert).encode_to_vec());
        seeds.push(request(UpdateKind::Modify).encode_to_vec());
        seeds.push(request(UpdateKind::Delete).encode_to_vec());
    }
    let all = wire::WriteRequest {
        device_id: 1,
        updates: all,
        ..wire::WriteRequest::default()
    };
    seeds.push(all.encode_to_vec());
    let entities = all
        .updates
        .into_iter()
        .take(3)
        .filter_map(|update| update.entity);
    let read = wire::ReadRequest {
        device_id: 1,
        entities: entities.collect(),
        ..wire::ReadRequest::default()
    };
    seeds.push(read.encode_to_vec());
    seeds
}
