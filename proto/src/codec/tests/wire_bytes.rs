//! Messages against bytes that were put together by hand from the specification's field numbers.

use prost::Message as _;
use tonic::Code;

use super::fixture::{FDB, OUTPUT, fdb_entry, schema};
use crate::codec::{decode_entry, encode_entry};
use crate::p4::v1 as wire;
use crate::status::{UpdateError, batch_error, parse_batch_error};
use crate::vocab::{ActionCall, ActionId, FieldId, FieldMatch, ParamId, TableAction};

#[test]
fn a_table_entry_has_the_bytes_of_the_specification() {
    #[rustfmt::skip]
    let bytes = [
        0x08, 0x81, 0x80, 0x80, 0x10,                   // table_id: 0x02000001
        0x12, 0x07, 0x08, 0x01,                         // match { field_id: 1
        0x12, 0x03, 0x0a, 0x01, 0x17,                   //   exact { value: 17 } }
        0x12, 0x0c, 0x08, 0x02,                         // match { field_id: 2
        0x12, 0x08, 0x0a, 0x06, 2, 0, 0, 0, 0, 1,       //   exact { value: 02:00:00:00:00:01 } }
        0x1a, 0x16, 0x0a, 0x14,                         // action { action {
        0x08, 0x82, 0x80, 0x80, 0x08,                   //   action_id: 0x01000002
        0x22, 0x05, 0x10, 0x01, 0x1a, 0x01, 0x07,       //   params { param_id: 1 value: 7 }
        0x22, 0x06, 0x10, 0x02, 0x1a, 0x02, 0x01, 0x23, //   params { param_id: 2 value: 123 } } }
    ];
    let schema = schema();
    assert_eq!(wire::TableEntry::decode(bytes.as_slice()), Ok(fdb_entry()));
    let entry = decode_entry(&schema, &fdb_entry()).unwrap();
    assert_eq!(entry.key.table.0, FDB);
    assert_eq!(entry.key.matches[&FieldId(1)], FieldMatch::Exact(0x17));
    assert_eq!(
        entry.key.matches[&FieldId(2)],
        FieldMatch::Exact(0x0200_0000_0001)
    );
    let call = ActionCall {
        action: ActionId(OUTPUT),
        params: vec![(ParamId(1), 7), (ParamId(2), 0x123)],
    };
    assert_eq!(entry.action, Some(TableAction::Call(call)));
    assert_eq!(encode_entry(&schema, &entry).encode_to_vec(), bytes);
}

#[test]
fn a_batch_error_has_one_answer_for_each_update() {
    let results = [
        Ok(()),
        Err(UpdateError::new(Code::AlreadyExists, "é".repeat(200))),
        Err(UpdateError::new(Code::NotFound, "no entry")),
    ];
    let status = batch_error(&results);
    assert_eq!(status.code(), Code::Unknown);
    assert_eq!(status.message(), "2 of 3 updates failed");

    let errors = parse_batch_error(&status).unwrap();
    let codes: Vec<_> = errors.iter().map(|error| error.canonical_code).collect();
    assert_eq!(codes, [0, 6, 5]);
    assert_eq!(errors[0], wire::Error::default());
    assert_eq!(errors[1].message, "é".repeat(80));
    assert_eq!(errors[2].message, "no entry");

    #[rustfmt::skip]
    let head = [
        0x08, 0x02,                                     // code: UNKNOWN
        0x12, 21,                                       // message, 21 bytes
    ];
    let details = status.details();
    assert_eq!(details[..4], head);
    assert_eq!(details[4..25], *b"2 of 3 updates failed");
    #[rustfmt::skip]
    assert_eq!(details[25..29], [
        0x1a, 33,                                       // details { an Any of 33 bytes
        0x0a, 31,                                       //   type_url, 31 bytes; no value }
    ]);
    assert_eq!(details[29..60], *b"type.googleapis.com/p4.v1.Error");
}

#[test]
fn the_status_of_a_failed_call_has_no_answers() {
    for status in [
        tonic::Status::unknown("broken"),
        tonic::Status::with_details(Code::Unknown, "", vec![0xff, 0xff].into()),
        tonic::Status::with_details(Code::Internal, "", vec![].into()),
    ] {
        assert_eq!(parse_batch_error(&status), None);
    }
}
