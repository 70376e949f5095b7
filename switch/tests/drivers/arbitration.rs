//! P4Runtime §5 over the wire.

use tonic::Code;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::stream_message_request::Update as Ask;

use crate::client::{Lab, election, switches};

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

#[tokio::test]
async fn capabilities_name_the_version_of_the_specification() {
    let lab = Lab::start(switches(1, 0)).await;
    let request = wire::CapabilitiesRequest::default();
    let answer = lab.p4.clone().capabilities(request).await.unwrap();
    assert_eq!(answer.get_ref().p4runtime_api_version, "1.5.0");
}
