//! §10 Atomicity, §11 Write.

use tonic::Code;
use weft_proto::codec::{Query, UpdateKind};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::update::Type::{Insert, Unspecified};
use weft_proto::p4::v1::write_request::Atomicity;
use weft_proto::status::parse_batch_error;
use weft_switch::host::Config;

use super::{codes, entry_update, everything, outcome, send};
use crate::client::{
    A_WHILE, Lab, SOON, at, deny, election, forward, frame, group, insert, switches, update,
};

/// §11.1: a write returns when all of it is in force.
#[tokio::test]
async fn a_write_that_has_returned_decides_the_next_packet() {
    decides_the_next_packet(switches(1, 2)).await;
}

/// The same, with several workers.
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
    let entry = lab.host.counters(at(1, 1)).unwrap();
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
        // The next write must not come before the packet is through.
        let through = async {
            while entry.rx().frames < 2 * (u64::from(round) + 1) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, through).await.unwrap();
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

/// §11.2, §11.3: CONTINUE_ON_ERROR does what it can, and answers each update in order, with OK for those that succeeded.
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

/// §11.2: ROLLBACK_ON_ERROR and DATAPLANE_ATOMIC do all or nothing.
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

/// §11.3: there is one answer for each update also where they are thousands, far beyond the 8 KiB of header that gRPC
/// clients take by default.
#[tokio::test]
async fn thousands_of_mistakes_are_answered_one_by_one() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let missing = (0..2000u32).map(|port| update(UpdateKind::Delete, forward(port, "send", &[1])));
    let missing: Vec<_> = missing.collect();
    let refused = lab.write(1, &missing).await.unwrap_err();
    let errors = parse_batch_error(&refused).unwrap();
    assert_eq!(errors.len(), 2000);
    let not_found = i32::from(Code::NotFound);
    assert!(errors.iter().all(|error| error.canonical_code == not_found));
    assert!(errors.iter().all(|error| !error.message.is_empty()));
    assert!(refused.details().len() > 8 << 10);
}

/// §11: the device is looked for first, then the role, then the primary, then the pipeline.
#[tokio::test]
async fn a_request_is_checked_for_device_role_primary_and_pipeline_in_this_order() {
    let lab = Lab::start(switches(1, 1)).await;
    let write = |device_id, role: &str, id| wire::WriteRequest {
        device_id,
        role: role.into(),
        election_id: Some(election(id)),
        ..wire::WriteRequest::default()
    };
    let refused = async |request| lab.p4.clone().write(request).await.unwrap_err().code();
    for unknown in [0, 9] {
        assert_eq!(refused(write(unknown, "nobody", 1)).await, Code::NotFound);
    }
    assert_eq!(refused(write(1, "nobody", 1)).await, Code::NotFound);
    assert_eq!(refused(write(1, "", 1)).await, Code::PermissionDenied);
    let mut stream = lab.stream().await;
    stream.bid(1, 1);
    stream.arbitration().await;
    assert_eq!(refused(write(1, "", 2)).await, Code::PermissionDenied);
    let unset = wire::WriteRequest {
        election_id: None,
        ..write(1, "", 1)
    };
    assert_eq!(refused(unset).await, Code::PermissionDenied);
    assert_eq!(refused(write(1, "", 1)).await, Code::FailedPrecondition);
    let odd = wire::WriteRequest {
        atomicity: 17,
        ..write(1, "", 1)
    };
    assert_eq!(refused(odd).await, Code::InvalidArgument);
}

/// §11.1: an update has a type and an entity.
#[tokio::test]
async fn an_update_has_a_type_and_an_entity() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let nothing = wire::Update {
        r#type: Insert.into(),
        entity: None,
    };
    let empty = wire::Update {
        r#type: Insert.into(),
        entity: Some(wire::Entity { entity: None }),
    };
    let updates = vec![
        entry_update(Unspecified, send(1, 1)),
        nothing,
        empty,
        entry_update(Insert, send(1, 1)),
    ];
    let invalid = Code::InvalidArgument;
    assert_eq!(
        outcome(&lab, updates).await,
        [invalid, invalid, invalid, Code::Ok]
    );
    assert_eq!(lab.read(1, &everything()).await.len(), 1);
}

/// §11: a batch of nothing succeeds.
#[tokio::test]
async fn an_empty_batch_succeeds() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    lab.write(1, &[]).await.unwrap();
}

/// A message of more than gRPC's default 4 MiB is taken.
#[tokio::test]
async fn a_batch_beyond_four_mebibytes_is_taken() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let mut large = send(1, 1);
    large.metadata = vec![7; 5 << 20].into();
    assert_eq!(
        outcome(&lab, vec![entry_update(Insert, large)]).await,
        [Code::Ok]
    );
}
