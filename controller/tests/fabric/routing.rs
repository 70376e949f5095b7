//! Between subnets, through the anycast gateway.

use std::net::Ipv4Addr;

use weft_controller::compile::GATEWAY_MAC;

use crate::frames::{self, Arp, Ends, check_sums};
use crate::lab::{self, Lab};

fn through_gateway(lab: &Lab, src: &str, dst: &str) -> Ends {
    Ends {
        dst_mac: GATEWAY_MAC,
        ..lab.ends(src, dst)
    }
}

#[test]
fn every_edge_answers_arp_for_the_gateway() {
    let mut lab = lab::routed().lab();
    for (host, gateway) in [
        ("a", "10.0.1.254"),
        ("b", "10.0.1.254"),
        ("d", "10.0.2.254"),
    ] {
        let gateway: Ipv4Addr = gateway.parse().unwrap();
        let request = Arp::request(lab.mac(host), lab.ip(host), gateway);
        let outcome = lab.send(host, &request.to_bytes());
        let reply = Arp::parse(outcome.only(host)).unwrap();
        assert_eq!((reply.op, reply.sha, reply.spa), (2, GATEWAY_MAC, gateway));
        assert_eq!(outcome.hops.len(), 1);
    }
}

#[test]
fn a_routed_packet_has_new_addresses_one_hop_less_and_right_checksums() {
    let mut lab = lab::routed().lab();
    for (src, dst, hops) in [("a", "c", 1), ("a", "d", 3), ("d", "a", 3), ("b", "c", 3)] {
        let ends = through_gateway(&lab, src, dst);
        let sent = [
            frames::udp(ends, (5000, 53), b"query"),
            frames::tcp(ends, (5000, 80), b"odd length payload."),
            frames::echo_request(ends, 3),
        ];
        for frame in sent {
            let outcome = lab.send(src, &frame);
            let got = outcome.only(dst);
            let mut expected = frame.clone();
            expected[..6].copy_from_slice(&lab.mac(dst).0);
            expected[6..12].copy_from_slice(&GATEWAY_MAC.0);
            expected[22] -= 1;
            expected[24..26].copy_from_slice(&got[24..26]);
            assert_eq!(got, expected);
            check_sums(got);
            assert_eq!(outcome.hops.len(), hops);
        }
    }
}

#[test]
fn the_last_hop_is_dropped_as_expired() {
    let mut lab = lab::routed().lab();
    for ttl in [0, 1] {
        let ends = Ends {
            ttl,
            ..through_gateway(&lab, "a", "d")
        };
        let outcome = lab.send("a", &frames::udp(ends, (1, 2), b"x"));
        assert_eq!(outcome.reasons(), ["ttl-expired"]);
        assert_eq!(outcome.hosts(), ["a"], "who sent it hears of it");
    }
    // Within a subnet nobody counts hops.
    let ends = Ends {
        ttl: 1,
        ..lab.ends("a", "b")
    };
    assert_eq!(
        lab.send("a", &frames::udp(ends, (1, 2), b"x")).hosts(),
        ["b"]
    );
    let ends = Ends {
        ttl: 2,
        ..through_gateway(&lab, "a", "d")
    };
    assert_eq!(
        lab.send("a", &frames::udp(ends, (1, 2), b"x")).only("d")[22],
        1
    );
}

#[test]
fn the_gateway_answers_ping_at_each_of_its_addresses() {
    let mut lab = lab::routed().lab();
    for gateway in ["10.0.1.254", "10.0.2.254"] {
        let ends = Ends {
            dst: gateway.parse().unwrap(),
            ttl: 1,
            ..through_gateway(&lab, "a", "d")
        };
        let frame = frames::echo_request(ends, 9);
        let outcome = lab.send("a", &frame);
        let got = outcome.only("a");
        check_sums(got);
        assert_eq!(got[..6], lab.mac("a").0);
        assert_eq!(got[6..12], GATEWAY_MAC.0);
        assert_eq!((got[22], got[34], got[35]), (64, 0, 0));
        assert_eq!(got[26..30], ends.dst.octets());
        assert_eq!(got[30..34], ends.src.octets());
        assert_eq!(got[38..], frame[38..], "id, sequence and data");
        assert_eq!(outcome.hops, ["s1"]);
    }
}

#[test]
fn what_the_gateway_does_not_answer_is_dropped_with_a_reason() {
    let mut lab = lab::routed().lab();
    let ends = |dst: &str| Ends {
        dst: dst.parse().unwrap(),
        ..through_gateway(&lab, "a", "d")
    };
    let to_gateway = frames::udp(ends("10.0.1.254"), (1, 2), b"x");
    let no_route = frames::udp(ends("192.0.2.1"), (1, 2), b"x");
    let no_neighbor = frames::udp(ends("10.0.2.77"), (1, 2), b"x");
    let mut fragment = frames::echo_request(ends("10.0.1.254"), 1);
    fragment[20] |= 0x20;
    let mut ipv6 = no_route.clone();
    ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
    ipv6[14] = 0x60;
    let cases = [
        (to_gateway, "to-gateway", true),
        (no_route, "no-route", true),
        (no_neighbor, "no-neighbor", true),
        (fragment, "to-gateway", false),
        (ipv6, "truncated", false),
    ];
    for (frame, reason, hears) in cases {
        let outcome = lab.send("a", &frame);
        assert_eq!(outcome.reasons(), [reason]);
        assert_eq!(outcome.delivered.len(), usize::from(hears));
    }
    let mut not_ip = [&GATEWAY_MAC.0[..], &lab.mac("a").0, &[0x88, 0xb5]].concat();
    not_ip.resize(60, 0);
    assert_eq!(lab.send("a", &not_ip).reasons(), ["not-routable"]);
}

#[test]
fn a_host_with_the_gateways_address_is_the_gateway() {
    let mut lab = lab::Builder::switches(&["s1"])
        .subnet("10.0.1.0/24", "10.0.1.254")
        .host("a", "s1", "10.0.1.1/24")
        .host("router", "s1", "10.0.1.254/24")
        .lab();
    let request = Arp::request(lab.mac("a"), lab.ip("a"), "10.0.1.254".parse().unwrap());
    let outcome = lab.send("a", &request.to_bytes());
    assert_eq!(
        Arp::parse(outcome.only("a")).unwrap().sha,
        lab.mac("router")
    );
}

#[test]
fn hosts_at_layer_3_ports_reach_everybody_without_ethernet() {
    let mut lab = lab::routed().tun("a").tun("d").lab();
    let cases = [
        ("a", "b", 63, 3),
        ("a", "c", 63, 1),
        ("a", "d", 63, 3),
        ("b", "a", 63, 3),
        ("c", "a", 63, 1),
        ("d", "c", 63, 3),
    ];
    for (src, dst, ttl, hops) in cases {
        let ends = through_gateway(&lab, src, dst);
        let frame = frames::tcp(ends, (1, 2), b"no header but IP's");
        let from = if ["a", "d"].contains(&src) { 14 } else { 0 };
        let outcome = lab.send(src, &frame[from..]);
        let got = outcome.only(dst);
        let ip = if ["a", "d"].contains(&dst) {
            got
        } else {
            assert_eq!(got[..6], lab.mac(dst).0);
            assert_eq!(got[6..14], [&GATEWAY_MAC.0[..], &[8, 0]].concat());
            &got[14..]
        };
        assert_eq!(ip[8], ttl);
        assert_eq!((&ip[..8], &ip[12..]), (&frame[14..22], &frame[26..]));
        check_sums(&[&[0; 14], ip].concat());
        assert_eq!(outcome.hops.len(), hops);
    }
    let ends = Ends {
        dst: "10.0.1.254".parse().unwrap(),
        ..through_gateway(&lab, "a", "d")
    };
    let outcome = lab.send("a", &frames::echo_request(ends, 1)[14..]);
    check_sums(&[&[0; 14], outcome.only("a")].concat());
    // Neighbors who ask for it are told to send to the router.
    let request = Arp::request(lab.mac("b"), lab.ip("b"), lab.ip("a"));
    let outcome = lab.send("b", &request.to_bytes());
    let answer = Arp::parse(outcome.only("b")).unwrap();
    assert_eq!((answer.sha, answer.spa), (GATEWAY_MAC, lab.ip("a")));
    // A priority tag is taken off with Ethernet, another tag means another network.
    let frame = frames::udp(through_gateway(&lab, "b", "a"), (1, 2), b"tagged");
    let tagged = |vid| [&frame[..12], &[0x81, 0, 0xe0, vid], &frame[12..]].concat();
    assert_eq!(lab.send("b", &tagged(0)).only("a")[12..], frame[26..]);
    assert_eq!(lab.send("b", &tagged(7)).reasons(), ["not-routable"]);
    // Without Ethernet there are no broadcasts, and what goes to a group is for nobody.
    let request = Arp::request(lab.mac("b"), lab.ip("b"), "10.0.1.99".parse().unwrap());
    let outcome = lab.send("b", &request.to_bytes());
    assert_eq!(outcome.hosts(), ["c"]);
    assert!(outcome.drops.is_empty(), "{:?}", outcome.drops);
    let group = Ends {
        dst: "224.0.0.251".parse().unwrap(),
        ..through_gateway(&lab, "a", "d")
    };
    let outcome = lab.send("a", &frames::udp(group, (5353, 5353), b"anybody?")[14..]);
    assert_eq!(
        (outcome.reasons(), outcome.hosts()),
        (vec!["no-route"], vec![])
    );
    assert_eq!(lab.send("a", &[0x60; 60]).reasons(), ["no-route"]);
    assert_eq!(lab.send("a", &[0x70; 60]).reasons(), ["parser-reject"]);
}

#[test]
fn what_is_too_large_for_a_neighbor_without_ethernet_comes_back() {
    let mut lab = lab::routed().tun("a").mtu("a--s1", 1280).lab();
    let frame = frames::udp(through_gateway(&lab, "b", "a"), (1, 2), &[0; 1400]);
    let outcome = lab.send("b", &frame);
    assert_eq!(outcome.reasons(), ["mtu"]);
    assert_eq!(outcome.only("b")[34..36], [3, 4]);
}
