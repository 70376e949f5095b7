//! §9.1.8 Idle timeout, §16.4 Table idle timeout notification.

use tonic::Code;
use weft_proto::codec::{EntryFilter, Query, UpdateKind};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::stream_message_response::Update as Told;
use weft_proto::vocab::TableEntry;

use super::{codes, table_entry};
use crate::client::{
    A_WHILE, Lab, SOON, Stream, at, deny, forward, frame, insert, switches, update,
};

const MS: i64 = 1_000_000;

fn timed(in_port: u32, timeout: i64) -> TableEntry {
    TableEntry {
        idle_timeout_ns: timeout,
        ..forward(in_port, "send", &[2])
    }
}

async fn notification(stream: &mut Stream) -> wire::IdleTimeoutNotification {
    match stream.next().await.unwrap().unwrap() {
        Told::IdleTimeoutNotification(told) => told,
        other => panic!("expected an idle notification, not {other:?}"),
    }
}

/// §16.4: the primary hears of an entry that nothing has hit for its timeout, and again after another timeout; the
/// entry stays. The key, metadata and timeout are there, and the time since the epoch.
#[tokio::test]
async fn the_primary_hears_of_an_idle_entry_each_timeout_and_the_entry_stays() {
    let lab = Lab::start(switches(1, 2)).await;
    let mut primary = lab.own(1).await;
    let mut backup = lab.stream().await;
    backup.bid_as_backup(1);
    backup.arbitration().await;
    lab.write(1, &[insert(timed(1, 20 * MS))]).await.unwrap();
    let first = notification(&mut primary).await;
    let [entry] = &first.table_entry[..] else {
        panic!("{first:?}");
    };
    let written = weft_proto::codec::encode_entry(&crate::pipeline::schema(), &timed(1, 20 * MS));
    assert_eq!(entry.table_id, written.table_id);
    assert_eq!(entry.r#match, written.r#match);
    assert_eq!(entry.metadata, written.metadata);
    assert_eq!(entry.idle_timeout_ns, 20 * MS);
    // Later than the year 2020.
    assert!(first.timestamp > 1_577_836_800_000 * MS);
    let second = notification(&mut primary).await;
    assert!(second.timestamp - first.timestamp >= 20 * MS);
    assert_eq!(
        lab.read(1, &Query::Entries(EntryFilter::default()))
            .await
            .len(),
        1
    );
    // Only the primary is told.
    let told = tokio::time::timeout(A_WHILE, backup.told.message()).await;
    assert!(told.is_err(), "{told:?}");
}

/// §16.4: entries that expire together may come in one message, and no message is empty.
#[tokio::test]
async fn entries_that_expire_together_come_in_one_message() {
    let lab = Lab::start(switches(1, 2)).await;
    let mut primary = lab.own(1).await;
    let entries: Vec<_> = (1..=8).map(|port| insert(timed(port, 50 * MS))).collect();
    lab.write(1, &entries).await.unwrap();
    assert_eq!(notification(&mut primary).await.table_entry.len(), 8);
}

/// §9.1.8: a timeout of 0, set by MODIFY, and a DELETE end the notifications; a hit begins the time anew.
#[tokio::test]
async fn modification_deletion_and_hits_end_or_delay_notifications() {
    let lab = Lab::start(switches(1, 2)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let mut primary = lab.own(1).await;
    let batch = [insert(timed(1, 30 * MS)), insert(timed(5, 30 * MS))];
    lab.write(1, &batch).await.unwrap();
    notification(&mut primary).await;
    let batch = [
        update(UpdateKind::Modify, timed(1, 0)),
        update(UpdateKind::Delete, timed(5, 0)),
    ];
    lab.write(1, &batch).await.unwrap();
    while let Ok(told) = tokio::time::timeout(A_WHILE, primary.told.message()).await {
        // What was on its way before the write.
        assert!(told.unwrap().is_some());
    }
    let long = [update(UpdateKind::Modify, timed(1, 1_000_000 * MS))];
    lab.write(1, &long).await.unwrap();
    one.send(&frame(0x0800, &[0; 46]));
    two.receive(SOON).unwrap();
    let filter = EntryFilter {
        last_hit: true,
        ..EntryFilter::default()
    };
    let read = lab.read(1, &Query::Entries(filter)).await;
    let elapsed = table_entry(read[0].clone()).time_since_last_hit.unwrap();
    assert!((0..1_000_000 * MS).contains(&elapsed.elapsed_ns));
}

/// §9.1.8: the timeout reads back as written, `time_since_last_hit` only where the request has it.
#[tokio::test]
async fn the_timeout_reads_back_and_the_last_hit_only_when_asked() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    lab.write(1, &[insert(timed(1, 123_456_789_012))])
        .await
        .unwrap();
    for last_hit in [false, true] {
        let filter = EntryFilter {
            table: Some(timed(1, 0).key.table),
            last_hit,
            ..EntryFilter::default()
        };
        let read = lab.read(1, &Query::Entries(filter)).await;
        let entry = table_entry(read[0].clone());
        assert_eq!(entry.idle_timeout_ns, 123_456_789_012);
        assert_eq!(entry.time_since_last_hit.is_some(), last_hit);
    }
}

/// §9.1.8: a timeout where the table has none, a negative one, one of a default entry, and a written
/// `time_since_last_hit` are invalid.
#[tokio::test]
async fn impossible_timeouts_are_invalid() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let unsupported = TableEntry {
        idle_timeout_ns: 1,
        ..deny(0x0800, 1, "refuse")
    };
    let mut default = TableEntry {
        is_default: true,
        idle_timeout_ns: 1,
        ..forward(1, "refuse", &[])
    };
    default.key.matches.clear();
    let wrong = [
        insert(timed(1, -1)),
        insert(unsupported),
        update(UpdateKind::Modify, default),
    ];
    let refused = lab.write(1, &wrong).await.unwrap_err();
    assert_eq!(codes(&refused), [Code::InvalidArgument; 3]);
    let mut written = lab.wire(&insert(timed(1, 0)));
    if let Some(wire::entity::Entity::TableEntry(entry)) = written
        .entity
        .as_mut()
        .and_then(|entity| entity.entity.as_mut())
    {
        entry.time_since_last_hit = Some(wire::table_entry::IdleTimeout { elapsed_ns: 1 });
    }
    let refused = lab.write_wire(1, vec![written]).await.unwrap_err();
    assert_eq!(codes(&refused), [Code::InvalidArgument]);
    // A read of the last hit where there is no idle timeout is invalid, too.
    let filter = EntryFilter {
        table: Some(deny(0x0800, 1, "refuse").key.table),
        last_hit: true,
        ..EntryFilter::default()
    };
    let refused = lab
        .try_read(1, &[Query::Entries(filter)])
        .await
        .unwrap_err();
    assert_eq!(codes(&refused), [Code::InvalidArgument]);
}
