use std::sync::Arc;

use etherparse::PacketBuilder;
use weft_proto::vocab::{DeviceId, PortNo};

use super::*;
use crate::vnet::{GSO_TCPV4, NEEDS_CSUM, VnetHdr};

const HERE: Endpoint = Endpoint {
    device: DeviceId(1),
    port: PortNo(2),
};

fn tcp(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(40_000, 443, 1000, 8192);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// The frame behind a transport label, a service label and a control word.
fn labelled(frame: &[u8]) -> Vec<u8> {
    let mut labelled = vec![6; 12];
    labelled.extend([0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64, 0, 0, 0, 0]);
    labelled.extend(frame);
    labelled
}

fn tagged(frame: &[u8]) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    tagged.extend([0x81, 0, 0, 7]);
    tagged.extend(&frame[12..]);
    tagged
}

#[test]
fn filters_look_through_tags_and_labels() {
    let wanted = [
        CaptureFilter::default(),
        CaptureFilter {
            host: Some([10, 0, 0, 2].into()),
            ..CaptureFilter::default()
        },
        CaptureFilter {
            port: Some(443),
            ip_proto: Some(6),
            ether_type: Some(0x0800),
            ..CaptureFilter::default()
        },
    ];
    let unwanted = [
        CaptureFilter {
            host: Some([10, 0, 0, 3].into()),
            ..CaptureFilter::default()
        },
        CaptureFilter {
            port: Some(80),
            ..CaptureFilter::default()
        },
        CaptureFilter {
            ip_proto: Some(17),
            ..CaptureFilter::default()
        },
        CaptureFilter {
            ether_type: Some(0x0806),
            ..CaptureFilter::default()
        },
    ];
    let frame = tcp(b"hello");
    for frame in [
        frame.clone(),
        tagged(&frame),
        labelled(&frame),
        labelled(&tagged(&frame)),
    ] {
        assert!(
            wanted
                .iter()
                .all(|filter| filter.matches(&frame, Medium::L2))
        );
        assert!(
            !unwanted
                .iter()
                .any(|filter| filter.matches(&frame, Medium::L2))
        );
    }
}

#[test]
fn frames_that_are_cut_off_anywhere_match_no_host() {
    let filter = CaptureFilter {
        host: Some([10, 0, 0, 2].into()),
        ..CaptureFilter::default()
    };
    let frame = labelled(&tcp(b""));
    for len in 0..frame.len() - 20 - 4 {
        assert!(!filter.matches(&frame[..len], Medium::L2), "{len}");
    }
}

#[tokio::test]
async fn a_super_packet_becomes_its_segments_with_their_checksums() {
    let payload: Vec<u8> = (0..2500u16).map(|n| n.to_be_bytes()[1]).collect();
    let mut packet = Packet::from_bytes(&tcp(&payload));
    // What a kernel leaves there: the sum of the pseudo header.
    packet.vnet = VnetHdr {
        flags: NEEDS_CSUM,
        gso_type: GSO_TCPV4,
        hdr_len: 54,
        gso_size: 1000,
        csum_start: 34,
        csum_offset: 16,
    };
    let capture = Capture::new(HERE, Medium::L2, CaptureFilter::default());
    capture.offer(HERE, Direction::Outbound, &packet, Nanos(5));
    let elsewhere = Endpoint {
        port: PortNo(3),
        ..HERE
    };
    capture.offer(elsewhere, Direction::Outbound, &packet, Nanos(6));
    let mut taken = capture.take(usize::MAX).await;
    assert_eq!((taken.frames.len(), taken.dropped), (1, 0));
    let captured = taken.frames.remove(0);
    assert_eq!(captured.at, Nanos(5));
    let frames = captured.wire_frames(Medium::L2, &mut Pool::default());
    assert_eq!(frames.len(), 3);
    let mut said = Vec::new();
    for frame in &frames {
        let sliced = etherparse::SlicedPacket::from_ethernet(frame).unwrap();
        let (Some(etherparse::NetSlice::Ipv4(ip)), Some(etherparse::TransportSlice::Tcp(tcp))) =
            (&sliced.net, &sliced.transport)
        else {
            panic!("no TCP: {sliced:?}");
        };
        let expected = tcp
            .to_header()
            .calc_checksum_ipv4(&ip.header().to_header(), tcp.payload())
            .unwrap();
        assert_eq!(tcp.checksum(), expected);
        said.extend_from_slice(tcp.payload());
    }
    assert_eq!(said, payload);
}

#[tokio::test]
async fn a_full_ring_counts_what_it_cannot_take() {
    let capture = Capture::new(HERE, Medium::L2, CaptureFilter::default());
    let packet = Packet::from_bytes(&tcp(b""));
    for _ in 0..MAX_FRAMES + 3 {
        capture.offer(HERE, Direction::Inbound, &packet, Nanos(0));
    }
    let taken = capture.take(packet.len() * 10).await;
    assert_eq!((taken.frames.len(), taken.dropped), (10, 3));
    capture.offer(HERE, Direction::Inbound, &packet, Nanos(0));
    let taken = capture.take(usize::MAX).await;
    assert_eq!((taken.frames.len(), taken.dropped), (MAX_FRAMES - 9, 0));
}

#[tokio::test]
async fn whoever_waits_is_woken() {
    let capture = Arc::new(Capture::new(HERE, Medium::L2, CaptureFilter::default()));
    let waiting = Arc::clone(&capture);
    let waiting = tokio::spawn(async move { waiting.take(1).await });
    tokio::task::yield_now().await;
    capture.offer(
        HERE,
        Direction::Inbound,
        &Packet::from_bytes(&tcp(b"")),
        Nanos(0),
    );
    assert_eq!(waiting.await.unwrap().frames.len(), 1);
}
