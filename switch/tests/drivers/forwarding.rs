//! Writes and reads over the wire, and what packets do between the calls.

use tonic::Code;
use weft_proto::codec::{Entity, EntryFilter, Query, Update, UpdateKind};
use weft_proto::node::v1::GetPortCountersRequest;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::stream_message_request::Update as Ask;
use weft_proto::p4::v1::stream_message_response::Update as Told;
use weft_proto::p4::v1::write_request::Atomicity;
use weft_proto::status::parse_batch_error;
use weft_proto::vocab::{CounterValue, MulticastGroupId, PortNo};
use weft_switch::drops::DropReason;
use weft_switch::host::Config;

use crate::client::{
    A_WHILE, Lab, SOON, at, deny, forward, frame, group, insert, link, switches, update,
};
use crate::pipeline;

fn everything() -> Query {
    Query::Entries(EntryFilter::default())
}

fn codes(status: &tonic::Status) -> Vec<Code> {
    let errors = parse_batch_error(status).unwrap();
    errors
        .iter()
        .map(|error| Code::from(error.canonical_code))
        .collect()
}

#[tokio::test]
async fn a_write_that_has_returned_decides_the_next_packet() {
    decides_the_next_packet(switches(1, 2)).await;
}

#[tokio::test]
async fn a_write_that_has_returned_is_known_to_every_worker() {
    let mut config = switches(1, 2);
    config.workers = 3;
    config.spin = std::time::Duration::from_micros(50);
    decides_the_next_packet(config).await;
}

async fn decides_the_next_packet(config: Config) {
    let lab = Lab::start(config).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let _primary = lab.own(1).await;
    for round in 0..50u8 {
        let sent = frame(0x0800, &[round; 60]);
        lab.write(1, &[insert(forward(1, "send", &[2]))])
            .await
            .unwrap();
        one.send(&sent);
        assert_eq!(two.receive(SOON), Some(sent.clone()));
        let delete = update(UpdateKind::Delete, forward(1, "send", &[2]));
        lab.write(1, &[delete]).await.unwrap();
        one.send(&sent);
    }
    assert_eq!(two.receive(A_WHILE), None);
    let (rx, tx) = (
        lab.host.counters(at(1, 1)).unwrap(),
        lab.host.counters(at(1, 2)).unwrap(),
    );
    assert_eq!(
        (rx.rx().frames, rx.rx().packets, rx.rx().bytes),
        (100, 100, 7400)
    );
    assert_eq!(
        (tx.tx().frames, tx.tx().packets, tx.tx().bytes),
        (50, 50, 3700)
    );
    assert_eq!(rx.drops().map(|(_, count)| count).sum::<u64>(), 50);
}

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

fn table_entry(entity: wire::Entity) -> wire::TableEntry {
    match entity.entity.unwrap() {
        wire::entity::Entity::TableEntry(entry) => entry,
        other => panic!("expected a table entry, not {other:?}"),
    }
}

#[tokio::test]
async fn a_batch_with_mistakes_applies_the_rest_and_names_each() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let batch = [
        insert(forward(1, "send", &[2])),
        insert(forward(1, "send", &[1])),
        update(UpdateKind::Modify, forward(5, "send", &[1])),
        update(UpdateKind::Delete, forward(6, "send", &[1])),
        insert(deny(0x0800, 0, "pass")),
        insert(forward(2, "send", &[1])),
    ];
    let refused = lab.write(1, &batch).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unknown);
    assert_eq!(
        codes(&refused),
        [
            Code::Ok,
            Code::AlreadyExists,
            Code::NotFound,
            Code::NotFound,
            Code::InvalidArgument,
            Code::Ok
        ]
    );
    assert_eq!(lab.read(1, &everything()).await.len(), 2);
}

#[tokio::test]
async fn an_atomic_batch_with_a_mistake_changes_nothing() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    lab.write(1, &[insert(forward(1, "send", &[2]))])
        .await
        .unwrap();
    let before = lab.read(1, &everything()).await;
    let batch = [
        update(UpdateKind::Modify, forward(1, "send", &[1])),
        insert(forward(2, "send", &[1])),
        insert(forward(1, "send", &[2])),
        group(1, &[1, 2]),
    ];
    for atomicity in [Atomicity::RollbackOnError, Atomicity::DataplaneAtomic] {
        let refused = lab.write_with(1, atomicity, &batch).await.unwrap_err();
        let aborted = Code::Aborted;
        let expected = [aborted, aborted, Code::AlreadyExists, aborted];
        assert_eq!(codes(&refused), expected);
        assert_eq!(lab.read(1, &everything()).await, before);
        assert!(lab.read(1, &Query::Groups(None)).await.is_empty());
    }
    lab.write_with(1, Atomicity::DataplaneAtomic, &batch[..2])
        .await
        .unwrap();
    assert_eq!(lab.read(1, &everything()).await.len(), 2);
}

#[tokio::test]
async fn a_full_table_refuses_one_more() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let entries: Vec<Update> = (1..=9)
        .map(|port| insert(forward(port, "send", &[1])))
        .collect();
    let refused = lab.write(1, &entries).await.unwrap_err();
    assert_eq!(codes(&refused).last(), Some(&Code::ResourceExhausted));
    assert_eq!(lab.read(1, &everything()).await.len(), 8);
}

#[tokio::test]
async fn what_is_not_built_is_unimplemented_and_named() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let entity = wire::Entity {
        entity: Some(wire::entity::Entity::RegisterEntry(
            wire::RegisterEntry::default(),
        )),
    };
    let request = wire::ReadRequest {
        device_id: 1,
        entities: vec![entity],
        ..wire::ReadRequest::default()
    };
    let refused = lab.p4.clone().read(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("register_entry"), "{refused}");
}

#[tokio::test]
async fn a_group_copies_to_every_port_but_that_of_entry() {
    let lab = Lab::start(switches(1, 3)).await;
    let ports: Vec<_> = (1..=3)
        .map(|port| lab.host.attach_memory(at(1, port)).unwrap())
        .collect();
    let _primary = lab.own(1).await;
    let batch = [group(4, &[1, 2, 3]), insert(forward(1, "replicate", &[4]))];
    lab.write(1, &batch).await.unwrap();
    let sent = frame(0x0806, &[1; 46]);
    ports[0].send(&sent);
    assert_eq!(ports[1].receive(SOON), Some(sent.clone()));
    assert_eq!(ports[2].receive(SOON), Some(sent));
    assert_eq!(ports[0].receive(A_WHILE), None);
    let groups = lab.read(1, &Query::Groups(Some(MulticastGroupId(4)))).await;
    assert_eq!(groups.len(), 1);
}

#[tokio::test]
async fn packets_go_to_the_primary_and_come_from_it() {
    let lab = Lab::start(switches(1, 2)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let mut primary = lab.own(1).await;
    let mut backup = lab.stream().await;
    backup.bid(1, 0);
    assert_eq!(backup.arbitration().await, (Code::AlreadyExists, 1));
    lab.write(1, &[insert(forward(1, "punt", &[]))])
        .await
        .unwrap();

    let sent = frame(0x88cc, &[9; 50]);
    one.send(&sent);
    let metadata = |value: u8| wire::PacketMetadata {
        metadata_id: pipeline::schema().packet_in()[0].id,
        value: vec![value].into(),
    };
    match primary.next().await.unwrap().unwrap() {
        Told::Packet(packet) => {
            assert_eq!(packet.payload, sent);
            assert_eq!(packet.metadata, [metadata(1)]);
        }
        other => panic!("expected a packet, not {other:?}"),
    }

    let out = wire::PacketOut {
        payload: sent.clone().into(),
        metadata: vec![metadata(2)],
    };
    primary.ask(Ask::Packet(out.clone()));
    let received = tokio::task::spawn_blocking(move || two.receive(SOON));
    assert_eq!(received.await.unwrap(), Some(sent));

    backup.ask(Ask::Packet(out.clone()));
    match backup.next().await.unwrap().unwrap() {
        Told::Error(error) => {
            assert_eq!(Code::from(error.canonical_code), Code::PermissionDenied);
        }
        other => panic!("expected an error, not {other:?}"),
    }
    let without = wire::PacketOut {
        metadata: Vec::new(),
        ..out
    };
    primary.ask(Ask::Packet(without));
    match primary.next().await.unwrap().unwrap() {
        Told::Error(error) => {
            assert_eq!(Code::from(error.canonical_code), Code::InvalidArgument);
        }
        other => panic!("expected an error, not {other:?}"),
    }
}

#[tokio::test]
async fn a_packet_that_no_controller_takes_is_counted() {
    let lab = Lab::start(switches(1, 1)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let primary = lab.own(1).await;
    let mut backup = lab.stream().await;
    backup.bid(1, 0);
    backup.arbitration().await;
    lab.write(1, &[insert(forward(1, "punt", &[]))])
        .await
        .unwrap();
    drop(primary);
    assert_eq!(backup.arbitration().await, (Code::NotFound, 1));
    one.send(&frame(0x88cc, &[9; 50]));
    assert_eq!(one.receive(A_WHILE), None);
    let request = GetPortCountersRequest { device_id: 1 };
    let counters = lab.node.clone().get_port_counters(request).await.unwrap();
    let cpu = counters.get_ref().ports.last().unwrap();
    assert_eq!(cpu.port, PortNo::CPU.0);
    assert_eq!(cpu.drops.get("no-controller"), Some(&1));
}

#[tokio::test]
async fn a_loop_of_links_ends_and_is_counted() {
    let mut config = switches(2, 3);
    config.links = vec![
        link("left", at(1, 2), Some(at(2, 2))),
        link("right", at(2, 3), Some(at(1, 3))),
    ];
    let lab = Lab::start(config).await;
    let port = lab.host.attach_memory(at(1, 1)).unwrap();
    for device in 1..=2 {
        let stream = lab.stream().await;
        stream.bid(device, 1);
        let config = Some(pipeline::config(7));
        let action = wire::set_forwarding_pipeline_config_request::Action::VerifyAndCommit;
        // The bid is on its way; whoever is not primary yet is told so.
        let mut stream = stream;
        stream.arbitration().await;
        lab.set_config(device, action, config).await.unwrap();
        let entries = [
            insert(forward(1, "send", &[2])),
            insert(forward(2, "send", &[3])),
            insert(forward(3, "send", &[2])),
        ];
        lab.write(device, &entries).await.unwrap();
        port.send(&frame(0x0800, b"round and round"));
    }
    assert_eq!(port.receive(A_WHILE), None);
    let dropped: u64 = [at(1, 2), at(1, 3), at(2, 2), at(2, 3)]
        .into_iter()
        .flat_map(|at| lab.host.counters(at).unwrap().drops().collect::<Vec<_>>())
        .filter(|&(reason, _)| reason == DropReason::HOP_LIMIT.0)
        .map(|(_, count)| count)
        .sum();
    assert_eq!(dropped, 1);
}

#[tokio::test]
async fn garbage_on_a_port_stops_nothing() {
    let lab = Lab::start(switches(1, 2)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let _primary = lab.own(1).await;
    lab.write(1, &[insert(forward(1, "send", &[2]))])
        .await
        .unwrap();
    for len in 0..14 {
        one.send(&vec![0xff; len]);
    }
    let good = frame(0x0800, &[0; 46]);
    one.send(&good);
    assert_eq!(two.receive(SOON), Some(good));
    let counters = lab.host.counters(at(1, 1)).unwrap();
    let truncated = DropReason::TRUNCATED.0;
    assert_eq!(counters.drops().collect::<Vec<_>>(), [(truncated, 14)]);
}
