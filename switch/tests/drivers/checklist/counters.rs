//! §9.1.7 Direct resources, §9.3.1 Direct counters.

use tonic::Code;
use weft_proto::codec::{Entity, EntryFilter, Query, Update, UpdateKind};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::entity::Entity as Wire;
use weft_proto::p4::v1::update::Type::{Delete, Insert, Modify};
use weft_proto::vocab::CounterValue;

use super::{
    change, codes, entry, entry_update, everything, outcome, read_entries, send, table_entry,
};
use crate::client::{Lab, SOON, at, deny, forward, frame, insert, switches};

fn data(packet_count: i64) -> Option<wire::CounterData> {
    Some(wire::CounterData {
        packet_count,
        byte_count: packet_count * 10,
    })
}

fn counter(entry: wire::TableEntry, data: Option<wire::CounterData>) -> Wire {
    Wire::DirectCounterEntry(wire::DirectCounterEntry {
        table_entry: Some(entry),
        data,
    })
}

async fn count(lab: &Lab, mut entry: wire::TableEntry) -> i64 {
    entry.action = None;
    entry.counter_data = data(0);
    let read = read_entries(lab, entry).await;
    read[0].counter_data.as_ref().unwrap().packet_count
}

/// §9.1.7: metadata reads back always, a counter where the request has it; DirectCounterEntry sets and reads it.
#[tokio::test]
async fn entries_read_back_with_metadata_and_counters_when_asked() {
    let lab = Lab::start(switches(1, 2)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let _primary = lab.own(1).await;
    let entries = [
        insert(forward(1, "send", &[2])),
        insert(deny(0x86dd, 3, "refuse")),
    ];
    lab.write(1, &entries).await.unwrap();
    one.send(&frame(0x0800, &[0; 46]));
    two.receive(SOON).unwrap();

    let read = lab.read(1, &everything()).await;
    let entries: Vec<wire::TableEntry> = read.into_iter().map(table_entry).collect();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry.counter_data.is_none()));
    assert!(entries.iter().any(|entry| entry.metadata == "owner"));

    let filter = EntryFilter {
        table: Some(forward(1, "send", &[2]).key.table),
        counters: true,
        ..EntryFilter::default()
    };
    let read = lab.read(1, &Query::Entries(filter.clone())).await;
    let [entity] = <[wire::Entity; 1]>::try_from(read).unwrap();
    let data = table_entry(entity).counter_data.unwrap();
    assert_eq!((data.packet_count, data.byte_count), (1, 60));

    let set = Update {
        kind: UpdateKind::Modify,
        entity: Entity::Counter {
            key: forward(1, "send", &[2]).key,
            is_default: false,
            value: Some(CounterValue {
                packets: 100,
                bytes: 200,
            }),
        },
    };
    lab.write(1, &[set]).await.unwrap();
    let read = lab.read(1, &Query::Counters(EntryFilter::default())).await;
    let [entity] = <[wire::Entity; 1]>::try_from(read).unwrap();
    match entity.entity.unwrap() {
        wire::entity::Entity::DirectCounterEntry(counter) => {
            assert_eq!(counter.data.unwrap().packet_count, 100);
            assert_eq!(
                counter.table_entry.unwrap().table_id,
                filter.table.unwrap().0
            );
        }
        other => panic!("expected a counter, not {other:?}"),
    }
}

/// §9.1.7: a counter may be given with the entry; MODIFY sets it where it is given, and else leaves it alone.
#[tokio::test]
async fn a_counter_is_set_with_its_entry_and_kept_without() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let with = |count| wire::TableEntry {
        counter_data: data(count),
        ..send(1, 2)
    };
    let steps = [
        (Insert, with(7), 7),
        (Modify, send(1, 1), 7),
        (Modify, with(0), 0),
        (Modify, with(3), 3),
    ];
    for (kind, entry, expected) in steps {
        assert_eq!(
            outcome(&lab, vec![entry_update(kind, entry)]).await,
            [Code::Ok]
        );
        assert_eq!(count(&lab, send(1, 2)).await, expected);
    }
    let negative = outcome(&lab, vec![entry_update(Modify, with(-1))]).await;
    assert_eq!(negative, [Code::InvalidArgument]);
    // A table without counters has none to set.
    let mut none = entry("deny", &[], 1, Some(("pass", &[])));
    none.counter_data = data(1);
    let refused = outcome(&lab, vec![entry_update(Insert, none)]).await;
    assert_eq!(refused, [Code::InvalidArgument]);
}

/// §9.3.1: only MODIFY, of an entry that exists; without data nothing happens. Default entries have counters, too.
#[tokio::test]
async fn a_direct_counter_is_modified_where_its_entry_is() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let default = wire::TableEntry {
        is_default_action: true,
        ..entry("forward", &[], 0, None)
    };
    let no_table = entry("deny", &[], 1, None);
    let updates = vec![
        entry_update(Insert, send(1, 2)),
        change(Modify, counter(send(1, 2), data(9))),
        change(Modify, counter(send(1, 2), None)),
        change(Modify, counter(default.clone(), data(4))),
        change(Modify, counter(send(2, 2), data(9))),
        change(Insert, counter(send(1, 2), data(9))),
        change(Delete, counter(send(1, 2), data(9))),
        change(Modify, counter(no_table, data(9))),
    ];
    let (done, invalid) = (Code::Ok, Code::InvalidArgument);
    let expected = [
        done,
        done,
        done,
        done,
        Code::NotFound,
        invalid,
        invalid,
        invalid,
    ];
    assert_eq!(outcome(&lab, updates).await, expected);
    assert_eq!(count(&lab, send(1, 2)).await, 9);
    assert_eq!(count(&lab, default).await, 4);
}

/// §9.3.1: a read of one counter wants its entry, a read of all gives those of tables that have counters.
#[tokio::test]
async fn a_direct_counter_is_read_where_its_entry_is() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let updates = vec![
        entry_update(Insert, send(1, 2)),
        entry_update(Insert, send(2, 2)),
        entry_update(Insert, entry("deny", &[], 1, Some(("pass", &[])))),
    ];
    assert_eq!(outcome(&lab, updates).await, [Code::Ok; 3]);
    let read = async |entry: wire::TableEntry| {
        let query = wire::Entity {
            entity: Some(counter(entry, None)),
        };
        lab.read_wire(1, vec![query]).await.1
    };
    assert_eq!(read(wire::TableEntry::default()).await.unwrap().len(), 2);
    let one = wire::TableEntry {
        action: None,
        ..send(1, 2)
    };
    assert_eq!(read(one).await.unwrap().len(), 1);
    let missing = wire::TableEntry {
        action: None,
        ..send(3, 2)
    };
    let refused = read(missing).await.unwrap_err();
    assert_eq!(codes(&refused), [Code::NotFound]);
    let refused = read(entry("deny", &[], 0, None)).await.unwrap_err();
    assert_eq!(codes(&refused), [Code::InvalidArgument]);
}
