//! IPv6 everywhere IPv4 is: neighbour discovery at the edge, routing, extension headers, flows.

use std::net::Ipv6Addr;

use weft_controller::compile::GATEWAY_MAC;
use weft_proto::vocab::MacAddr;

use crate::frames::{self, Ends6, check_sums6};
use crate::lab::{self, Lab};

const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

fn through_gateway(lab: &Lab, src: &str, dst: &str) -> Ends6 {
    Ends6 {
        dst_mac: GATEWAY_MAC,
        ..lab.ends6(src, dst)
    }
}

/// A neighbour solicitation (RFC 4861 §4.3), with the sender's MAC address unless it has no address yet.
fn solicitation(mac: MacAddr, src: Ipv6Addr, target: Ipv6Addr, with_option: bool) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let mut dst = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    dst[13..].copy_from_slice(&[a, b, c]);
    let ends = Ends6 {
        src_mac: mac,
        dst_mac: MacAddr([0x33, 0x33, 0xff, a, b, c]),
        src,
        dst: dst.into(),
        hop_limit: 255,
    };
    let mut payload = target.octets().to_vec();
    if with_option {
        payload.extend([1, 1]);
        payload.extend(mac.0);
    }
    frames::icmp6(ends, 135, [0; 4], &payload)
}

/// What an advertisement says: flags, target, MAC address.
fn advertisement(frame: &[u8]) -> (u8, Ipv6Addr, MacAddr) {
    check_sums6(frame);
    let length = u16::from_be_bytes([frame[18], frame[19]]);
    assert_eq!(usize::from(length), frame.len() - 54);
    assert_eq!(
        (frame[20], frame[21], frame[54], frame[55]),
        (58, 255, 136, 0)
    );
    assert_eq!(frame[78..80], [2, 1], "the target's link-layer address");
    let target: [u8; 16] = frame[62..78].try_into().unwrap();
    (
        frame[58],
        target.into(),
        MacAddr(frame[80..86].try_into().unwrap()),
    )
}

#[test]
fn a_solicitation_for_a_declared_host_is_answered_at_once_with_its_own_address() {
    let mut lab = lab::dual().lab();
    for with_option in [true, false] {
        let ask = solicitation(lab.mac("a"), lab.ip6("a"), lab.ip6("b"), with_option);
        let outcome = lab.send("a", &ask);
        let got = outcome.only("a");
        assert_eq!(advertisement(got), (0x60, lab.ip6("b"), lab.mac("b")));
        assert_eq!(got[..6], lab.mac("a").0);
        assert_eq!(got[6..12], lab.mac("b").0);
        assert_eq!(got[22..38], lab.ip6("b").octets());
        assert_eq!(got[38..54], lab.ip6("a").octets());
        assert_eq!(outcome.hops, ["s1"]);
        assert!(outcome.drops.is_empty());
    }
}

#[test]
fn every_edge_answers_for_the_gateway_as_a_router() {
    let mut lab = lab::dual().lab();
    for (host, gateway) in [("a", "2001:db8:1::fe"), ("d", "2001:db8:2::fe")] {
        let gateway = gateway.parse().unwrap();
        let ask = solicitation(lab.mac(host), lab.ip6(host), gateway, true);
        let outcome = lab.send(host, &ask);
        let said = advertisement(outcome.only(host));
        assert_eq!(said, (0xe0, gateway, GATEWAY_MAC));
    }
}

#[test]
fn a_probe_for_ones_own_address_gets_no_answer() {
    let mut lab = lab::dual().lab();
    let unspecified = Ipv6Addr::UNSPECIFIED;
    let ask = solicitation(lab.mac("a"), unspecified, lab.ip6("a"), false);
    assert_eq!(lab.send("a", &ask).hosts(), ["b", "c", "d"]);
    // Somebody else who probes for it learns that it is taken, by what all nodes get (RFC 4861 §7.2.4).
    let ask = solicitation(lab.mac("b"), unspecified, lab.ip6("a"), false);
    let outcome = lab.send("b", &ask);
    let got = outcome.only("b");
    assert_eq!(advertisement(got), (0x20, lab.ip6("a"), lab.mac("a")));
    assert_eq!(got[..6], ALL_NODES);
}

#[test]
fn solicitations_that_are_not_valid_or_ask_for_nobody_known_are_flooded_only() {
    let mut lab = lab::dual().lab();
    let mut far = solicitation(lab.mac("a"), lab.ip6("a"), lab.ip6("b"), true);
    far[21] = 254;
    let unknown = "2001:db8:1::77".parse().unwrap();
    let unknown = solicitation(lab.mac("a"), lab.ip6("a"), unknown, true);
    let fragment = solicitation(lab.mac("a"), lab.ip6("a"), lab.ip6("b"), true);
    let fragment = frames::extend(&fragment, &[(44, 8)]);
    for frame in [far, unknown, fragment] {
        let outcome = lab.send("a", &frame);
        assert_eq!(outcome.hosts(), ["b", "c", "d"]);
        assert!(outcome.delivered.iter().all(|(_, got)| *got == frame));
    }
}

#[test]
fn a_routed_packet_has_new_addresses_one_hop_less_and_right_checksums() {
    let mut lab = lab::dual().lab();
    for (src, dst, hops) in [("a", "c", 1), ("a", "d", 3), ("d", "a", 3), ("b", "c", 3)] {
        let ends = through_gateway(&lab, src, dst);
        let sent = [
            frames::udp6(ends, (5000, 53), b"query"),
            frames::tcp6(ends, (5000, 80), b"odd length payload."),
            frames::icmp6(ends, 128, [0, 7, 0, 3], b"are you there?"),
        ];
        let chains: [&[(u8, usize)]; 4] = [
            &[],
            &[(0, 8), (43, 24), (44, 8), (60, 64)],
            &[(60, 8); 12],
            &[(60, 512)],
        ];
        for (frame, chain) in sent
            .iter()
            .flat_map(|frame| chains.map(|chain| (frame, chain)))
        {
            let frame = frames::extend(frame, chain);
            let outcome = lab.send(src, &frame);
            let got = outcome.only(dst);
            let mut expected = frame.clone();
            expected[..6].copy_from_slice(&lab.mac(dst).0);
            expected[6..12].copy_from_slice(&GATEWAY_MAC.0);
            expected[21] -= 1;
            assert_eq!(got, expected);
            assert_eq!(outcome.hops.len(), hops);
            assert!(outcome.drops.is_empty());
        }
    }
}

#[test]
fn within_a_subnet_packets_are_bridged_as_they_are() {
    let mut lab = lab::dual().lab();
    let frame = frames::udp6(lab.ends6("a", "b"), (1, 2), b"hello");
    assert_eq!(lab.send("a", &frame).only("b"), frame);
}

#[test]
fn the_gateway_answers_ping_at_each_of_its_addresses() {
    let mut lab = lab::dual().lab();
    for gateway in ["2001:db8:1::fe", "2001:db8:2::fe"] {
        let ends = Ends6 {
            dst: gateway.parse().unwrap(),
            hop_limit: 1,
            ..through_gateway(&lab, "a", "d")
        };
        let frame = frames::icmp6(ends, 128, [0, 7, 0, 9], b"are you there?");
        let outcome = lab.send("a", &frame);
        let got = outcome.only("a");
        check_sums6(got);
        assert_eq!((got[21], got[54], got[55]), (64, 129, 0));
        assert_eq!(got[22..38], ends.dst.octets());
        assert_eq!(got[38..54], ends.src.octets());
        assert_eq!(got[58..], frame[58..], "id, sequence and data");
        assert!(outcome.drops.is_empty());
    }
}

#[test]
fn hosts_at_layer_3_ports_reach_everybody_without_ethernet() {
    let mut lab = lab::dual().tun("a").lab();
    let frame = frames::udp6(through_gateway(&lab, "a", "d"), (1, 2), b"bare");
    let outcome = lab.send("a", &frame[14..]);
    let got = outcome.only("d");
    check_sums6(got);
    assert_eq!(got[12..14], [0x86, 0xdd]);
    assert_eq!((got[21], &got[22..]), (63, &frame[22..]));
    let frame = frames::udp6(through_gateway(&lab, "d", "a"), (1, 2), b"bare");
    assert_eq!(lab.send("d", &frame).only("a")[8..], frame[22..]);
    // A neighbour is told to send to the router, by one who answers for another (RFC 4861 §7.2.8).
    let ask = solicitation(lab.mac("b"), lab.ip6("b"), lab.ip6("a"), true);
    let said = advertisement(lab.send("b", &ask).only("b"));
    assert_eq!(said, (0x40, lab.ip6("a"), GATEWAY_MAC));
    let frame = frames::udp6(through_gateway(&lab, "b", "a"), (1, 2), b"same subnet");
    assert_eq!(lab.send("b", &frame).only("a")[8..], frame[22..]);
}

#[test]
fn link_local_senders_are_not_forwarded() {
    let mut lab = lab::dual().lab();
    let ends = Ends6 {
        src: "fe80::1".parse().unwrap(),
        ..through_gateway(&lab, "a", "d")
    };
    let outcome = lab.send("a", &frames::udp6(ends, (1, 2), b"x"));
    assert_eq!(outcome.reasons(), ["not-routable"]);
    assert!(outcome.delivered.is_empty());
}
