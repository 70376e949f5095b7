//! §5 Client arbitration and controller replication.

use tonic::Code;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::stream_message_request::Update as Ask;

use crate::client::{Lab, election, switches};

/// §5.3, §5.4: the largest id ever seen is primary, others are told; nobody is promoted by itself.
#[tokio::test]
async fn a_larger_election_id_takes_over_and_the_old_primary_may_not_write() {
    let lab = Lab::start(switches(1, 0)).await;
    let mut first = lab.stream().await;
    first.bid(1, 1);
    assert_eq!(first.arbitration().await, (Code::Ok, 1));
    let mut second = lab.stream().await;
    second.bid(1, 5);
    assert_eq!(second.arbitration().await, (Code::Ok, 5));
    assert_eq!(first.arbitration().await, (Code::AlreadyExists, 5));
    let refused = lab.write(1, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    drop(second);
    assert_eq!(first.arbitration().await, (Code::NotFound, 5));
    let refused = lab.write(1, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    first.bid(1, 6);
    assert_eq!(first.arbitration().await, (Code::Ok, 6));
}

/// §5.3: an unknown device, an id that is taken, another device or role on a live stream end the stream.
#[tokio::test]
async fn mistakes_end_the_stream_with_the_code_of_the_specification() {
    let lab = Lab::start(switches(2, 0)).await;
    let mut stream = lab.stream().await;
    stream.bid(9, 1);
    assert_eq!(stream.next().await.unwrap_err().code(), Code::NotFound);

    let mut stream = lab.stream().await;
    stream.bid(1, 1);
    assert_eq!(stream.arbitration().await, (Code::Ok, 1));
    let mut same = lab.stream().await;
    same.bid(1, 1);
    assert_eq!(same.next().await.unwrap_err().code(), Code::InvalidArgument);
    stream.bid(2, 1);
    assert_eq!(
        stream.next().await.unwrap_err().code(),
        Code::FailedPrecondition
    );

    let mut stream = lab.stream().await;
    stream.bid(1, 1);
    assert_eq!(stream.arbitration().await, (Code::Ok, 1));
    stream.ask(Ask::Arbitration(wire::MasterArbitrationUpdate {
        device_id: 1,
        election_id: Some(election(2)),
        role: Some(wire::Role {
            name: "observer".into(),
            ..wire::Role::default()
        }),
        ..wire::MasterArbitrationUpdate::default()
    }));
    assert_eq!(
        stream.next().await.unwrap_err().code(),
        Code::FailedPrecondition
    );
}

/// §5: each device has a stream of its own, and a connection carries hundreds.
#[tokio::test]
async fn one_connection_carries_the_streams_of_many_switches() {
    let lab = Lab::start(switches(300, 1)).await;
    let mut streams = Vec::new();
    for device in 1..=300 {
        let stream = lab.stream().await;
        stream.bid(device, device);
        streams.push(stream);
    }
    for (stream, id) in streams.iter_mut().zip(1..) {
        assert_eq!(stream.arbitration().await, (Code::Ok, id));
    }
}

/// A server that stops ends its streams.
#[tokio::test]
async fn a_server_that_stops_ends_its_streams() {
    let lab = Lab::start(switches(1, 0)).await;
    let mut stream = lab.stream().await;
    stream.bid(1, 1);
    assert_eq!(stream.arbitration().await, (Code::Ok, 1));
    lab.stop.cancel();
    assert!(matches!(stream.next().await, Ok(None) | Err(_)));
    drop((stream, lab.p4, lab.node));
    lab.server.await.unwrap();
}

/// §17 Capabilities.
#[tokio::test]
async fn capabilities_name_the_version_of_the_specification() {
    let lab = Lab::start(switches(1, 0)).await;
    let request = wire::CapabilitiesRequest::default();
    let answer = lab.p4.clone().capabilities(request).await.unwrap();
    assert_eq!(answer.get_ref().p4runtime_api_version, "1.5.0");
}

fn bid(role: Option<wire::Role>, id: Option<wire::Uint128>) -> Ask {
    Ask::Arbitration(wire::MasterArbitrationUpdate {
        device_id: 1,
        role,
        election_id: id,
        ..wire::MasterArbitrationUpdate::default()
    })
}

fn named(name: &str) -> Option<wire::Role> {
    Some(wire::Role {
        name: name.into(),
        ..wire::Role::default()
    })
}

/// §16.2.1: an unset election id is below every id and never primary; {0, 0} is an id.
#[tokio::test]
async fn an_unset_election_id_is_never_primary_and_zero_may_be() {
    let lab = Lab::start(switches(1, 0)).await;
    let mut backup = lab.stream().await;
    backup.ask(bid(None, None));
    let told = backup.notice().await;
    assert_eq!(told.status.unwrap().code, i32::from(Code::NotFound));
    // §5.4: there has been no primary, so there is no id to tell.
    assert_eq!(told.election_id, None);
    let mut zero = lab.stream().await;
    zero.ask(bid(None, Some(election(0))));
    assert_eq!(zero.arbitration().await, (Code::Ok, 0));
    assert_eq!(backup.arbitration().await, (Code::AlreadyExists, 0));
    let mut second = lab.stream().await;
    second.ask(bid(None, None));
    assert_eq!(second.arbitration().await, (Code::AlreadyExists, 0));
}

/// §5.3: equal again from the same stream is a refresh, which only that stream is told; less is a step down, which all
/// are told.
#[tokio::test]
async fn a_primary_that_bids_again_stays_or_steps_down() {
    let lab = Lab::start(switches(1, 0)).await;
    let mut primary = lab.stream().await;
    primary.bid(1, 5);
    assert_eq!(primary.arbitration().await, (Code::Ok, 5));
    let mut backup = lab.stream().await;
    backup.bid(1, 2);
    assert_eq!(backup.arbitration().await, (Code::AlreadyExists, 5));
    primary.bid(1, 5);
    assert_eq!(primary.arbitration().await, (Code::Ok, 5));
    primary.bid(1, 1);
    assert_eq!(primary.arbitration().await, (Code::NotFound, 5));
    assert_eq!(backup.arbitration().await, (Code::NotFound, 5));
}

/// §5.2: no role configuration was agreed upon, so none matches.
#[tokio::test]
async fn a_role_configuration_is_invalid() {
    let lab = Lab::start(switches(1, 0)).await;
    let mut stream = lab.stream().await;
    let role = wire::Role {
        config: Some(Default::default()),
        ..wire::Role::default()
    };
    stream.ask(bid(Some(role), Some(election(1))));
    assert_eq!(
        stream.next().await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

/// §5.1, §5.2: each role elects its own primary; without a configuration it has all of the pipeline. The notice has the
/// role, and the default role none.
#[tokio::test]
async fn roles_elect_apart_and_write_all() {
    let lab = Lab::start(switches(1, 1)).await;
    let _default = lab.own(1).await;
    let mut other = lab.stream().await;
    other.ask(bid(named("other"), Some(election(1))));
    let told = other.notice().await;
    assert_eq!(told.status.unwrap().code, i32::from(Code::Ok));
    assert_eq!(told.role.unwrap().name, "other");
    let write = wire::WriteRequest {
        device_id: 1,
        role: "other".into(),
        election_id: Some(election(1)),
        updates: vec![super::entry_update(
            wire::update::Type::Insert,
            super::send(1, 1),
        )],
        ..wire::WriteRequest::default()
    };
    lab.p4.clone().write(write).await.unwrap();
    let unknown = wire::WriteRequest {
        device_id: 1,
        role: "nobody".into(),
        election_id: Some(election(1)),
        ..wire::WriteRequest::default()
    };
    let refused = lab.p4.clone().write(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

/// §5.3: there is a limit to streams, and the one beyond it is told so.
#[tokio::test]
async fn too_many_streams_are_refused() {
    let lab = Lab::start(switches(1, 0)).await;
    let mut streams = Vec::new();
    for _ in 0..256 {
        let mut stream = lab.stream().await;
        stream.bid_as_backup(1);
        stream.arbitration().await;
        streams.push(stream);
    }
    let mut one_more = lab.stream().await;
    one_more.bid_as_backup(1);
    let refused = one_more.next().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    // A place that was left can be taken.
    drop(streams.pop());
    loop {
        let mut another = lab.stream().await;
        another.bid_as_backup(1);
        if another.next().await.is_ok() {
            break;
        }
    }
}

/// §5: device id 0 is no device.
#[tokio::test]
async fn device_zero_is_not_found() {
    let lab = Lab::start(switches(1, 0)).await;
    let mut stream = lab.stream().await;
    stream.bid(0, 1);
    assert_eq!(stream.next().await.unwrap_err().code(), Code::NotFound);
}
