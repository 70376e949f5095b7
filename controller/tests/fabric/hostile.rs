//! What a host may not do to the fabric, and what no bytes can do.

use proptest::prelude::*;
use weft_proto::vocab::PortNo;
use weft_switch::packet::Packet;

use crate::frames;
use crate::lab;
use crate::paths::labelled;

#[test]
fn labels_from_a_host_are_refused() {
    let mut lab = lab::ring(3).lab();
    let customer = frames::udp(lab.ends("h1", "h3"), (1, 2), b"x");
    let forged = labelled(&[(18, 64), (1 << 19 | 1, 64)], &customer);
    assert_eq!(lab.send("h1", &forged).reasons(), ["mpls-from-host"]);
    // Another payload, another EtherType of labels, a tag in front.
    let mut ip_in_mpls = forged.clone();
    ip_in_mpls[22] = 0x45;
    let mut upstream = forged.clone();
    upstream[13] = 0x48;
    let mut tagged = forged.clone();
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    for frame in [ip_in_mpls, upstream, tagged] {
        assert_eq!(lab.send("h1", &frame).reasons(), ["mpls-from-host"]);
    }
}

#[test]
fn links_carry_fabric_frames_only() {
    let mut lab = lab::ring(3).lab();
    let customer = frames::udp(lab.ends("h1", "h2"), (1, 2), b"x");
    let vni = 1 << 19 | 1;
    let mut no_control_word = labelled(&[(17, 64), (vni, 64)], &customer);
    no_control_word[25] = 1;
    let cases = [
        (customer.clone(), "unlabelled"),
        (labelled(&[(4_000, 64), (vni, 64)], &customer), "no-path"),
        (
            labelled(&[(3, 64), (vni, 64)], &customer),
            "bad-fabric-frame",
        ),
        (labelled(&[(17, 64), (17, 64)], &customer), "no-path"),
        (labelled(&[(17, 64)], &customer), "bad-fabric-frame"),
        (
            labelled(&[(vni, 64), (vni, 64)], &customer),
            "bad-fabric-frame",
        ),
        (
            labelled(&[(17, 64), (1 << 19 | 9, 64)], &customer),
            "no-network",
        ),
        (no_control_word, "bad-fabric-frame"),
        (labelled(&[(16, 64); 9], &customer), "parser-reject"),
    ];
    for (frame, reason) in cases {
        let (outcome, _) = lab.inject("s2", PortNo(1), Packet::from_bytes(&frame));
        assert_eq!(outcome.reasons(), [reason]);
        assert!(outcome.delivered.is_empty());
    }
}

#[test]
fn a_fabric_frame_for_a_host_elsewhere_is_not_sent_on() {
    let mut lab = lab::ring(3).lab();
    let customer = frames::udp(lab.ends("h1", "h3"), (1, 2), b"x");
    let frame = labelled(&[(17, 64), (1 << 19 | 1, 64)], &customer);
    let (outcome, _) = lab.inject("s2", PortNo(1), Packet::from_bytes(&frame));
    assert_eq!(outcome.reasons(), ["misdelivered"]);
}

#[test]
fn a_group_address_is_no_source() {
    let mut lab = lab::ring(3).lab();
    let mut frame = frames::udp(lab.ends("h1", "h2"), (1, 2), b"x");
    frame[6] |= 1;
    assert_eq!(lab.send("h1", &frame).reasons(), ["bad-source-mac"]);
}

#[test]
fn truncated_frames_are_counted_drops() {
    let mut lab = lab::routed().lab();
    let frame = frames::tcp(lab.ends("a", "b"), (1, 2), b"");
    for len in 0..54 {
        let outcome = lab.send("a", &frame[..len]);
        assert_eq!(outcome.reasons(), ["truncated"], "{len} bytes");
    }
    assert_eq!(lab.send("a", &frame).hosts(), ["b"]);
}

/// Frames that get deep into the pipeline more often than noise does.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let noise = || proptest::collection::vec(any::<u8>(), 0..200);
    let mac = prop_oneof![
        Just([2, 0, 0, 0, 0, 1]),
        Just([2, 0, 0, 0, 0, 4]),
        Just(weft_controller::compile::GATEWAY_MAC.0),
        Just([0xff; 6]),
        any::<[u8; 6]>(),
    ];
    let ether_type = prop_oneof![
        Just(vec![0x08, 0x00, 0x45]),
        Just(vec![0x08, 0x00]),
        Just(vec![0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]),
        Just(vec![0x86, 0xdd, 0x60]),
        Just(vec![0x81, 0x00, 0, 1, 0x08, 0x00, 0x45]),
        Just(vec![0x88, 0x47, 0, 1, 0x11, 0x40, 0, 0, 0, 0]),
        Just(vec![
            0x88, 0x47, 0, 1, 0x20, 0x40, 0x80, 0, 0x11, 0x40, 0, 0, 0, 0
        ]),
        any::<[u8; 2]>().prop_map(Vec::from),
    ];
    let shaped = (mac, ether_type, noise())
        .prop_map(|(dst, kind, rest)| [&dst[..], &[2, 0, 0, 0, 0, 1], &kind, &rest].concat());
    prop_oneof![1 => noise(), 6 => shaped]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_at_any_port_end_somewhere_and_leave_without_labels(
        frames in proptest::collection::vec((frame(), 0usize..6), 16)
    ) {
        let mut lab = lab::routed().lab();
        let ports = [("s1", 1), ("s1", 2), ("s1", 3), ("s2", 1), ("s3", 1), ("s3", 2)];
        for (frame, port) in frames {
            let (switch, port) = ports[port];
            let (outcome, _) = lab.inject(switch, PortNo(port), Packet::from_bytes(&frame));
            prop_assert!(!outcome.delivered.is_empty() || !outcome.drops.is_empty());
            prop_assert!(outcome.hops.len() <= 5, "{outcome:?}");
            for (_, delivered) in &outcome.delivered {
                prop_assert_ne!(&delivered[12..14], &[0x88, 0x47]);
            }
        }
    }
}
