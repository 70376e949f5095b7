//! §9.1.6 Wildcard reads, §12 Read.

use tonic::Code;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::entity::Entity as Wire;
use weft_proto::p4::v1::update::Type::Insert;

use super::{codes, entry, entry_update, exact, read_entries, send, table_entry, ternary};
use crate::client::{Lab, switches};

fn deny(kind: u8, priority: i32, action: &str) -> wire::TableEntry {
    let key = [("type", ternary(&[kind], &[0xff]))];
    entry("deny", &key, priority, Some((action, &[])))
}

/// Two entries of `forward`, three of `deny`.
async fn filled() -> (Lab, crate::client::Stream) {
    let lab = Lab::start(switches(1, 2)).await;
    let primary = lab.own(1).await;
    let mut owned = deny(3, 2, "pass");
    owned.metadata = b"owner".to_vec().into();
    let entries = [
        send(1, 2),
        send(2, 1),
        deny(1, 1, "refuse"),
        deny(2, 2, "pass"),
        owned,
    ];
    let updates = entries.map(|entry| entry_update(Insert, entry));
    lab.write_wire(1, updates.into()).await.unwrap();
    (lab, primary)
}

fn table(name: &str) -> wire::TableEntry {
    entry(name, &[], 0, None)
}

/// §9.1.6: table 0 stands for all tables, and takes no other filter.
#[tokio::test]
async fn table_zero_is_every_table_and_takes_no_filter() {
    let (lab, _primary) = filled().await;
    let all = read_entries(&lab, wire::TableEntry::default()).await;
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|entry| !entry.is_default_action));
    let filters = [
        wire::TableEntry {
            priority: 1,
            ..wire::TableEntry::default()
        },
        wire::TableEntry {
            metadata: b"owner".to_vec().into(),
            ..wire::TableEntry::default()
        },
        wire::TableEntry {
            table_id: 0,
            ..send(1, 2)
        },
    ];
    for filter in filters {
        let entity = wire::Entity {
            entity: Some(Wire::TableEntry(filter)),
        };
        let refused = lab.read_wire(1, vec![entity]).await.1.unwrap_err();
        assert_eq!(codes(&refused), [Code::InvalidArgument]);
    }
}

/// §9.1.6: a match gives one entry at most, and must be a key of the table.
#[tokio::test]
async fn a_match_gives_one_entry_at_most() {
    let (lab, _primary) = filled().await;
    let key = |port| entry("forward", &[("in_port", exact(&[port]))], 0, None);
    assert_eq!(read_entries(&lab, key(1)).await, [send(1, 2)]);
    assert_eq!(read_entries(&lab, key(7)).await, []);
    let wrong = entry("forward", &[("in_port", ternary(&[1], &[1]))], 0, None);
    let entity = wire::Entity {
        entity: Some(Wire::TableEntry(wrong)),
    };
    let refused = lab.read_wire(1, vec![entity]).await.1.unwrap_err();
    assert_eq!(codes(&refused), [Code::InvalidArgument]);
}

/// §9.1.6: priority, action, metadata and the default flag are filters, together as well.
#[tokio::test]
async fn entries_are_filtered_by_priority_action_metadata_and_default() {
    let (lab, _primary) = filled().await;
    assert_eq!(read_entries(&lab, table("deny")).await.len(), 3);
    let priority = wire::TableEntry {
        priority: 2,
        ..table("deny")
    };
    assert_eq!(read_entries(&lab, priority.clone()).await.len(), 2);
    let action = entry("deny", &[], 0, Some(("refuse", &[])));
    assert_eq!(
        read_entries(&lab, action.clone()).await,
        [deny(1, 1, "refuse")]
    );
    let metadata = wire::TableEntry {
        metadata: b"owner".to_vec().into(),
        ..priority.clone()
    };
    assert_eq!(read_entries(&lab, metadata).await.len(), 1);
    let both = wire::TableEntry {
        action: action.action,
        ..priority
    };
    assert_eq!(read_entries(&lab, both).await, []);
    let default = wire::TableEntry {
        is_default_action: true,
        ..table("forward")
    };
    let read = read_entries(&lab, default).await;
    assert!(read.len() == 1 && read[0].is_default_action);
    // Filters by arguments are not asked for by the specification, and not built.
    let entity = wire::Entity {
        entity: Some(Wire::TableEntry(entry(
            "forward",
            &[],
            0,
            Some(("send", &[&[1]])),
        ))),
    };
    let refused = lab.read_wire(1, vec![entity]).await.1.unwrap_err();
    assert_eq!(codes(&refused), [Code::Unimplemented]);
}

/// §12: default entries of all tables are one request.
#[tokio::test]
async fn default_entries_of_all_tables_are_read_together() {
    let (lab, _primary) = filled().await;
    let defaults = wire::TableEntry {
        is_default_action: true,
        ..wire::TableEntry::default()
    };
    let read = read_entries(&lab, defaults).await;
    assert_eq!(read.len(), 3);
    assert!(read.iter().all(|entry| entry.is_default_action));
}

/// §12.3: requests that are none are answered by their code each, after the entities that the others asked for.
#[tokio::test]
async fn a_batch_with_mistakes_is_answered_where_it_can_be() {
    let (lab, _primary) = filled().await;
    let ask = |entity| wire::Entity { entity };
    let unknown = wire::TableEntry {
        table_id: 0x0200_0063,
        ..wire::TableEntry::default()
    };
    let requests = vec![
        ask(Some(Wire::TableEntry(table("forward")))),
        ask(Some(Wire::TableEntry(unknown))),
        ask(None),
        ask(Some(Wire::RegisterEntry(wire::RegisterEntry::default()))),
        ask(Some(Wire::TableEntry(table("deny")))),
    ];
    let (answered, ended) = lab.read_wire(1, requests).await;
    assert_eq!(answered.into_iter().map(table_entry).count(), 5);
    assert_eq!(
        codes(&ended.unwrap_err()),
        [
            Code::Ok,
            Code::InvalidArgument,
            Code::InvalidArgument,
            Code::Unimplemented,
            Code::Ok
        ]
    );
}

/// §12: device and pipeline are checked first; neither a stream nor an election id is needed.
#[tokio::test]
async fn a_read_needs_a_device_and_a_pipeline_and_no_stream() {
    let lab = Lab::start(switches(2, 1)).await;
    let read = async |device| lab.read_wire(device, Vec::new()).await.1;
    assert_eq!(read(9).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(read(0).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(read(1).await.unwrap_err().code(), Code::FailedPrecondition);
    drop(lab.own(1).await);
    assert_eq!(read(1).await.unwrap(), []);
}

/// §12: entities of a role are those that its role may write; all roles have all of the pipeline.
#[tokio::test]
async fn a_role_reads_what_it_may_write_which_is_all() {
    let (lab, _primary) = filled().await;
    let request = wire::ReadRequest {
        device_id: 1,
        role: "observer".into(),
        entities: vec![wire::Entity {
            entity: Some(Wire::TableEntry(table("forward"))),
        }],
    };
    let mut answer = lab.p4.clone().read(request).await.unwrap().into_inner();
    let part = answer.message().await.unwrap().unwrap();
    assert_eq!(part.entities.len(), 2);
}

/// §12: an answer of many entities comes in messages that clients take by default.
#[tokio::test]
async fn a_long_answer_comes_in_several_messages() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let meters = wire::MeterEntry::default();
    // The same request again and again: an answer may have an entity more than once (§12.3.1).
    let request = wire::ReadRequest {
        device_id: 1,
        entities: vec![
            wire::Entity {
                entity: Some(Wire::MeterEntry(meters)),
            };
            300
        ],
        ..wire::ReadRequest::default()
    };
    let mut answer = lab.p4.clone().read(request).await.unwrap().into_inner();
    let (mut messages, mut entities) = (0, 0);
    while let Some(part) = answer.message().await.unwrap() {
        messages += 1;
        entities += part.entities.len();
    }
    assert_eq!(entities, 2400);
    assert!(messages > 1);
}
