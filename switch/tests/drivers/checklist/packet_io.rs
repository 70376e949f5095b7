//! §16.1 Packet I/O, §16.6 Stream error reporting.

use tonic::Code;
use weft_proto::node::v1::GetPortCountersRequest;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::stream_message_request::Update as Ask;
use weft_proto::p4::v1::stream_message_response::Update as Told;
use weft_proto::vocab::PortNo;

use crate::client::{A_WHILE, Lab, SOON, at, forward, frame, insert, switches};
use crate::pipeline;

/// §16.1: packet-ins go to the primary with their metadata; packet-outs are taken from the primary only, and only with
/// exactly the declared metadata.
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

/// Packets that nobody takes are counted.
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

/// §16.1, §16.6: metadata that is unknown, twice there, empty or too wide drops the packet; the error says why, and has
/// the packet with it.
#[tokio::test]
async fn wrong_metadata_drops_the_packet_and_is_reported_with_it() {
    let lab = Lab::start(switches(1, 2)).await;
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let mut primary = lab.own(1).await;
    let field = |metadata_id: u32, value: &[u8]| wire::PacketMetadata {
        metadata_id,
        value: value.to_vec().into(),
    };
    let wrong = [
        (vec![field(1, &[2]), field(9, &[1])], Code::InvalidArgument),
        (vec![field(1, &[2]), field(1, &[2])], Code::InvalidArgument),
        (vec![field(1, &[])], Code::OutOfRange),
        (vec![field(1, &[1, 0, 0, 0, 0])], Code::OutOfRange),
    ];
    for (metadata, code) in wrong {
        let packet = wire::PacketOut {
            payload: frame(0x0800, &[0; 46]).into(),
            metadata,
        };
        primary.ask(Ask::Packet(packet.clone()));
        match primary.next().await.unwrap().unwrap() {
            Told::Error(error) => {
                assert_eq!(Code::from(error.canonical_code), code);
                let details = wire::stream_error::Details::PacketOut(wire::PacketOutError {
                    packet_out: Some(packet),
                });
                assert_eq!(error.details, Some(details));
            }
            other => panic!("expected an error, not {other:?}"),
        }
    }
    assert_eq!(two.receive(A_WHILE), None);
    // Padded, it is a value like any.
    primary.ask(Ask::Packet(wire::PacketOut {
        payload: frame(0x0800, &[1; 46]).into(),
        metadata: vec![field(1, &[0, 0, 0, 0, 0, 2])],
    }));
    let received = tokio::task::spawn_blocking(move || two.receive(SOON));
    assert_eq!(received.await.unwrap(), Some(frame(0x0800, &[1; 46])));
}

/// §16.1: a packet from a stream that has not bid is refused, and the stream goes on.
#[tokio::test]
async fn a_stranger_sends_no_packets() {
    let lab = Lab::start(switches(1, 2)).await;
    let _primary = lab.own(1).await;
    let mut stranger = lab.stream().await;
    stranger.ask(Ask::Packet(wire::PacketOut::default()));
    match stranger.next().await.unwrap().unwrap() {
        Told::Error(error) => {
            assert_eq!(Code::from(error.canonical_code), Code::PermissionDenied);
        }
        other => panic!("expected an error, not {other:?}"),
    }
    stranger.bid_as_backup(1);
    assert_eq!(stranger.arbitration().await, (Code::AlreadyExists, 1));
}
