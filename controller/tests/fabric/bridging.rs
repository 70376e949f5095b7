//! Within a subnet: ARP, unicast, broadcast.

use weft_proto::vocab::MacAddr;

use crate::frames::{self, Arp, BROADCAST};
use crate::lab::{self, Builder};

#[test]
fn arp_for_a_declared_host_is_answered_at_once_with_its_own_address() {
    let mut lab = lab::leaf_spine(2, 4, 2).lab();
    for (asker, target) in [("h1", "h2"), ("h1", "h8")] {
        let request = Arp::request(lab.mac(asker), lab.ip(asker), lab.ip(target));
        let outcome = lab.send(asker, &request.to_bytes());
        let reply = Arp::parse(outcome.only(asker)).unwrap();
        let expected = Arp {
            eth_dst: lab.mac(asker),
            eth_src: lab.mac(target),
            op: 2,
            sha: lab.mac(target),
            spa: lab.ip(target),
            tha: lab.mac(asker),
            tpa: lab.ip(asker),
        };
        assert_eq!(reply, expected);
        assert_eq!(outcome.hops, ["leaf1"]);
        assert!(outcome.drops.is_empty());
    }
}

#[test]
fn a_probe_for_ones_own_address_gets_no_answer() {
    let mut lab = lab::leaf_spine(2, 4, 2).lab();
    // RFC 5227: the probe has no sender address, the announcement has the address twice.
    for sender in ["0.0.0.0".parse().unwrap(), lab.ip("h1")] {
        let request = Arp::request(lab.mac("h1"), sender, lab.ip("h1"));
        let outcome = lab.send("h1", &request.to_bytes());
        assert_eq!(outcome.hosts(), ["h2", "h3", "h4", "h5", "h6", "h7", "h8"]);
    }
    // Somebody else who probes for it learns that it is taken.
    let request = Arp::request(lab.mac("h2"), "0.0.0.0".parse().unwrap(), lab.ip("h1"));
    let outcome = lab.send("h2", &request.to_bytes());
    assert_eq!(Arp::parse(outcome.only("h2")).unwrap().sha, lab.mac("h1"));
}

#[test]
fn arp_for_an_unknown_address_reaches_each_other_host_once() {
    let mut lab = lab::leaf_spine(2, 4, 2).lab();
    let request = Arp::request(lab.mac("h3"), lab.ip("h3"), "10.0.9.9".parse().unwrap()).to_bytes();
    let outcome = lab.send("h3", &request);
    assert_eq!(outcome.hosts(), ["h1", "h2", "h4", "h5", "h6", "h7", "h8"]);
    assert!(outcome.delivered.iter().all(|(_, frame)| *frame == request));
    // One copy for each other edge, over one spine each.
    assert_eq!(outcome.hops.len(), 1 + 2 * 3);
    assert!(outcome.drops.is_empty());
}

#[test]
fn arp_in_a_vlan_of_the_hosts_is_not_answered() {
    let mut lab = lab::leaf_spine(1, 2, 1).lab();
    let mut request = Arp::request(lab.mac("h1"), lab.ip("h1"), lab.ip("h2")).to_bytes();
    request.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    let outcome = lab.send("h1", &request);
    assert_eq!(outcome.only("h2"), request);
}

#[test]
fn every_host_reaches_every_other_and_nobody_else_hears_it() {
    let mut lab = lab::leaf_spine(2, 4, 2).lab();
    let hosts: Vec<String> = lab.model.hosts.keys().cloned().collect();
    for src in &hosts {
        for dst in hosts.iter().filter(|dst| *dst != src) {
            let frame = frames::echo_request(lab.ends(src, dst), 1);
            let outcome = lab.send(src, &frame);
            assert_eq!(outcome.only(dst), frame, "{src} to {dst}");
            assert!(outcome.drops.is_empty());
            let same_leaf =
                lab.interface(src).attachment.switch == lab.interface(dst).attachment.switch;
            assert_eq!(outcome.hops.len(), if same_leaf { 1 } else { 3 });
        }
    }
}

#[test]
fn broadcast_and_multicast_reach_each_other_host_of_the_network_exactly_once() {
    for mut lab in [
        lab::leaf_spine(2, 4, 2).lab(),
        lab::ring(6).lab(),
        lab::ring(3).lab(),
    ] {
        let hosts: Vec<String> = lab.model.hosts.keys().cloned().collect();
        for dst in [
            BROADCAST,
            MacAddr([0x01, 0, 0x5e, 0, 0, 0xfb]),
            MacAddr([0x33, 0x33, 0, 0, 0, 1]),
        ] {
            for src in &hosts {
                let mut ends = lab.ends(src, src);
                ends.dst_mac = dst;
                let frame = frames::udp(ends, (5353, 5353), b"hello, all");
                let outcome = lab.send(src, &frame);
                let others: Vec<_> = hosts.iter().filter(|host| *host != src).collect();
                assert_eq!(outcome.hosts(), others);
                assert!(outcome.delivered.iter().all(|(_, got)| *got == frame));
                assert!(outcome.drops.is_empty());
            }
        }
    }
}

#[test]
fn unicast_to_nobody_known_is_flooded() {
    let mut lab = lab::ring(4).lab();
    let mut ends = lab.ends("h1", "h2");
    ends.dst_mac = MacAddr([2, 0, 0, 0xab, 0xcd, 0xef]);
    let outcome = lab.send("h1", &frames::udp(ends, (1, 2), b"?"));
    assert_eq!(outcome.hosts(), ["h2", "h3", "h4"]);
}

#[test]
fn what_bridges_keep_to_themselves_goes_no_further() {
    let mut lab = lab::ring(3).lab();
    for last in [0x00, 0x02, 0x0e, 0x0f] {
        let mut frame = [0x01, 0x80, 0xc2, 0, 0, last, 2, 0, 0, 0, 0, 1, 0x88, 0xcc].to_vec();
        frame.resize(60, 0);
        let outcome = lab.send("h1", &frame);
        assert_eq!(outcome.reasons(), ["reserved-multicast"]);
        assert!(outcome.delivered.is_empty());
    }
    // The next block is ordinary multicast.
    let mut frame = [0x01, 0x80, 0xc2, 0, 0, 0x10, 2, 0, 0, 0, 0, 1, 0x88, 0xcc].to_vec();
    frame.resize(60, 0);
    assert_eq!(lab.send("h1", &frame).hosts(), ["h2", "h3"]);
}

#[test]
fn frames_of_any_kind_pass_unchanged() {
    let mut lab = lab::leaf_spine(2, 2, 1).lab();
    let (dst, src) = (lab.mac("h2").0, lab.mac("h1").0);
    let tagged_twice = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 0x08, 0];
    let kinds: [&[u8]; 6] = [
        &[0x88, 0xb5, 1, 2, 3, 4],
        &[0x86, 0xdd, 0x60, 0, 0, 0],
        &[0x81, 0x00, 0x20, 0x07, 0x88, 0xb5],
        &[0x08, 0x06, 0, 6, 8, 0, 6, 4],
        &[0x00, 0x26, 0xaa, 0xaa, 0x03],
        &tagged_twice,
    ];
    for kind in kinds {
        let mut frame = [&dst[..], &src, kind].concat();
        frame.resize(100, 0x45);
        let outcome = lab.send("h1", &frame);
        assert_eq!(outcome.only("h2"), frame, "{kind:02x?}");
    }
}

#[test]
fn a_frame_for_the_port_it_came_from_is_dropped() {
    let mut lab = lab::ring(3).lab();
    let ends = lab.ends("h1", "h1");
    let outcome = lab.send("h1", &frames::udp(ends, (1, 2), b"me"));
    assert_eq!(outcome.reasons(), ["same-port"]);
}

#[test]
fn networks_with_equal_addresses_never_meet() {
    let mut lab = Builder::switches(&["s1", "s2"])
        .link("s1", "s2")
        .network("blue", 2)
        .network("red", 0x7_ffff)
        .host_in("blue", "b1", "s1", "10.0.0.1/24")
        .host_in("blue", "b2", "s2", "10.0.0.2/24")
        .host_in("red", "r1", "s1", "10.0.0.1/24")
        .host_in("red", "r2", "s2", "10.0.0.2/24")
        .lab();
    for (asker, target, everybody) in [("b1", "b2", ["b2"]), ("r1", "r2", ["r2"])] {
        let request = Arp::request(lab.mac(asker), lab.ip(asker), lab.ip(target));
        let reply = lab.send(asker, &request.to_bytes());
        assert_eq!(Arp::parse(reply.only(asker)).unwrap().sha, lab.mac(target));
        let mut ends = lab.ends(asker, target);
        assert_eq!(
            lab.send(asker, &frames::udp(ends, (1, 2), b"x")).hosts(),
            everybody
        );
        ends.dst_mac = BROADCAST;
        assert_eq!(
            lab.send(asker, &frames::udp(ends, (1, 2), b"x")).hosts(),
            everybody
        );
    }
    // Knowing the other network's MAC address does not help.
    let outcome = lab.send("b1", &frames::udp(lab.ends("b1", "r2"), (1, 2), b"x"));
    assert_eq!(
        outcome.hosts(),
        ["b2"],
        "unknown there, so flooded in its own network"
    );
}
