//! What the P4Runtime specification (v1.5) asks of a switch, line by line: each test is one requirement, named after it,
//! with the section that has it.

mod idle;

use weft_proto::p4::v1 as wire;
use weft_proto::status::parse_batch_error;

/// The code of each update, or of each request, of a batch that failed.
pub(crate) fn codes(status: &tonic::Status) -> Vec<tonic::Code> {
    assert_eq!(status.code(), tonic::Code::Unknown, "{status}");
    let errors = parse_batch_error(status).expect("one error for each update");
    errors
        .iter()
        .map(|error| tonic::Code::from(error.canonical_code))
        .collect()
}

/// The table entry of an answer.
pub(crate) fn table_entry(entity: wire::Entity) -> wire::TableEntry {
    match entity.entity.unwrap() {
        wire::entity::Entity::TableEntry(entry) => entry,
        other => panic!("expected a table entry, not {other:?}"),
    }
}
