//! Across the core: labels, equal-cost paths, failures.

use std::collections::{BTreeMap, BTreeSet};

use weft_controller::compile::node_label;
use weft_proto::vocab::{DeviceId, PortNo};
use weft_switch::packet::Packet;
use weft_switch::vnet::VnetHdr;

use crate::frames::{self, Arp};
use crate::lab::{self, Builder, Lab};

/// The spines that flows with different source ports cross.
fn spread(lab: &mut Lab, src: &str, dst: &str, flows: u16) -> BTreeMap<String, u32> {
    let mut spines = BTreeMap::new();
    for port in 0..flows {
        let frame = frames::udp(lab.ends(src, dst), (40_000 + port, 53), b"x");
        let outcome = lab.send(src, &frame);
        assert_eq!(outcome.only(dst), frame);
        for _ in 0..3 {
            assert_eq!(
                lab.send(src, &frame).hops,
                outcome.hops,
                "a flow stays on its path"
            );
        }
        for hop in &outcome.hops[1..outcome.hops.len() - 1] {
            *spines.entry(hop.clone()).or_default() += 1;
        }
    }
    spines
}

#[test]
fn flows_spread_over_equal_cost_paths_and_each_stays_on_its_own() {
    let mut lab = lab::leaf_spine(4, 2, 1).lab();
    let spines = spread(&mut lab, "h1", "h2", 400);
    assert_eq!(spines.len(), 4);
    assert!(
        spines.values().all(|flows| (60..140).contains(flows)),
        "{spines:?}"
    );
}

/// Two stages of choice: if both hashed alike, half of the second stage's paths would stay empty.
#[test]
fn switches_choose_independently_of_each_other() {
    let mut builder = Builder::switches(&["a", "m1", "m2", "n11", "n12", "n21", "n22", "z"]);
    for (m, ns) in [("m1", ["n11", "n12"]), ("m2", ["n21", "n22"])] {
        builder = builder.link("a", m);
        for n in ns {
            builder = builder.link(m, n).link(n, "z");
        }
    }
    let mut lab = builder
        .host("h1", "a", "10.0.0.1/24")
        .host("h2", "z", "10.0.0.2/24")
        .lab();
    let switches = spread(&mut lab, "h1", "h2", 400);
    for n in ["n11", "n12", "n21", "n22"] {
        assert!((50..150).contains(&switches[n]), "{switches:?}");
    }
}

#[test]
fn one_link_carries_a_fabric_frame_as_designed() {
    let mut lab = Builder::switches(&["s1", "s2"])
        .link("s1", "s2")
        .host("h1", "s1", "10.0.0.1/24")
        .host("h2", "s2", "10.0.0.2/24")
        .lab();
    let customer = frames::udp(lab.ends("h1", "h2"), (1, 2), b"payload");
    let (outcome, _) = {
        // Cut off what follows: the link's other end is taken out of the model, so the frame ends at the port.
        let mut cut = lab.model.clone();
        let port = cut
            .switches
            .get_mut("s1")
            .unwrap()
            .ports
            .get_mut(&PortNo(1))
            .unwrap();
        port.peer = weft_controller::model::Peer::Host {
            host: "h2".into(),
            interface: "eth0".into(),
        };
        lab.model = cut;
        lab.inject("s1", PortNo(2), Packet::from_bytes(&customer))
    };
    let frame = outcome.only("h2");
    let label = node_label(DeviceId(2)).unwrap();
    let entry = |label: u32, bottom: u32| (label << 12 | bottom << 8 | 255).to_be_bytes();
    assert_eq!(frame[12..14], [0x88, 0x47]);
    assert_eq!(frame[14..18], entry(label, 0));
    assert_eq!(frame[18..22], entry(1 << 19 | 1, 1));
    assert_eq!(frame[22..26], [0; 4]);
    assert_eq!(frame[26..], customer);
}

#[test]
fn a_hundred_switches_in_a_row_are_crossed() {
    let names: Vec<_> = (1..=100).map(|n| format!("s{n:03}")).collect();
    let mut builder = Builder::switches(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for pair in names.windows(2) {
        builder = builder.link(&pair[0], &pair[1]);
    }
    let mut lab = builder
        .host("h1", "s001", "10.0.0.1/24")
        .host("h2", "s100", "10.0.0.2/24")
        .lab();
    let frame = frames::echo_request(lab.ends("h1", "h2"), 1);
    let outcome = lab.send("h1", &frame);
    assert_eq!(outcome.only("h2"), frame);
    assert_eq!(outcome.hops.len(), 100);
}

#[test]
fn a_label_that_crossed_too_many_switches_is_dropped() {
    let mut lab = lab::ring(3).lab();
    // Labels for a switch that is one hop further on.
    let customer = frames::udp(lab.ends("h1", "h3"), (1, 2), b"x");
    for (ttl, reason) in [
        (2, None),
        (1, Some("label-ttl-expired")),
        (0, Some("label-ttl-expired")),
    ] {
        let frame = labelled(&[(18, ttl), (1 << 19 | 1, 255)], &customer);
        let (outcome, _) = lab.inject("s2", PortNo(1), Packet::from_bytes(&frame));
        assert_eq!(outcome.reasons(), Vec::from_iter(reason));
        assert_eq!(outcome.delivered.is_empty(), reason.is_some());
    }
}

/// A fabric frame made by hand.
pub fn labelled(labels: &[(u32, u32)], customer: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 0x88, 0x47];
    for (at, (label, ttl)) in labels.iter().enumerate() {
        let bottom = u32::from(at + 1 == labels.len());
        frame.extend_from_slice(&(label << 12 | bottom << 8 | ttl).to_be_bytes());
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(customer);
    frame
}

#[test]
fn a_lost_link_is_avoided_at_once_and_for_good() {
    let mut lab = lab::leaf_spine(2, 4, 2).lab();
    let frames: Vec<_> = (0..32u16)
        .map(|port| frames::udp(lab.ends("h1", "h8"), (port, 9), b"x"))
        .collect();
    // The switch beside the failure knows of it before anybody else.
    for (switch, port) in [("leaf1", 1), ("spine1", 1)] {
        assert!(lab.datapath(switch).ports.set_up(PortNo(port), false));
    }
    for frame in &frames {
        let outcome = lab.send("h1", frame);
        assert_eq!(outcome.hops, ["leaf1", "spine2", "leaf4"]);
    }
    // The way back would still choose spine 1, until the controller compiles anew.
    lab.down = BTreeSet::from(["leaf1--spine1".to_owned()]);
    let writes = lab.reconcile();
    assert_eq!(lab.reconcile(), BTreeMap::new());
    for leaf in ["leaf1", "leaf2", "leaf3", "leaf4"] {
        assert!(writes[leaf] < 10, "{writes:?}");
    }
    let hosts: Vec<String> = lab.model.hosts.keys().cloned().collect();
    for src in &hosts {
        for dst in hosts.iter().filter(|dst| *dst != src) {
            let frame = frames::udp(lab.ends(src, dst), (7, 7), b"x");
            assert_eq!(lab.send(src, &frame).only(dst), frame);
        }
        let request = Arp::request(lab.mac(src), lab.ip(src), "10.0.77.7".parse().unwrap());
        assert_eq!(lab.send(src, &request.to_bytes()).hosts().len(), 7);
    }
    // And back again.
    lab.down.clear();
    assert_eq!(lab.reconcile(), writes);
}

#[test]
fn an_edge_that_is_cut_off_is_a_counted_drop() {
    let mut lab = lab::leaf_spine(1, 2, 1).lab();
    lab.down = BTreeSet::from(["leaf2--spine1".to_owned()]);
    lab.reconcile();
    let frame = frames::udp(lab.ends("h1", "h2"), (7, 7), b"x");
    assert_eq!(lab.send("h1", &frame).reasons(), ["no-path"]);
}

#[test]
fn parallel_links_share_the_load() {
    let mut lab = {
        let mut builder = Builder::switches(&["s1", "s2"]).link("s1", "s2");
        // The same pair again, the other way round.
        builder = builder.link("s2", "s1");
        builder
            .host("h1", "s1", "10.0.0.1/24")
            .host("h2", "s2", "10.0.0.2/24")
            .lab()
    };
    for port in 0..200 {
        let frame = frames::udp(lab.ends("h1", "h2"), (port, 7), b"x");
        assert_eq!(lab.send("h1", &frame).only("h2"), frame);
    }
    let paths = lab.counted("s1", "node_paths");
    assert_eq!(paths.packets, 200);
    assert!(lab.datapath("s1").ports.set_up(PortNo(1), false));
    for port in 0..200 {
        let frame = frames::udp(lab.ends("h1", "h2"), (port, 7), b"x");
        assert_eq!(lab.send("h1", &frame).hosts(), ["h2"]);
    }
}

#[test]
fn a_super_packet_crosses_whole_with_its_checksum_partial() {
    let mut lab = lab::routed().lab();
    for (src, dst, routed) in [("a", "b", false), ("a", "d", true)] {
        let mut ends = lab.ends(src, dst);
        if routed {
            ends.dst_mac = weft_controller::compile::GATEWAY_MAC;
        }
        let mut packet = Packet::from_bytes(&frames::tcp(ends, (1, 2), &vec![0x5a; 40_000]));
        packet.vnet = VnetHdr {
            flags: 1,
            gso_type: 1,
            hdr_len: 54,
            gso_size: 1448,
            csum_start: 34,
            csum_offset: 16,
        };
        let sent = packet.vnet;
        let (outcome, delivered) = lab.send_packet(src, packet);
        assert_eq!(outcome.hosts(), [dst], "{:?}", outcome.drops);
        assert_eq!(delivered[0].vnet, sent);
        assert_eq!(delivered[0].len(), 54 + 40_000);
        assert_eq!(outcome.hops.len(), 3);
        // Counters count what a wire would carry: 28 segments, each with its headers.
        let fdb = lab.counted("s1", "fdb");
        let before = u64::from(routed);
        assert_eq!(fdb.packets, 28 * (before + 1));
        assert_eq!(fdb.bytes, (40_000 + 28 * 54) * (before + 1));
    }
}

#[test]
fn the_mtu_counts_the_customers_packet_without_labels() {
    let mut lab = lab::ring(3).lab();
    let at_limit = frames::udp(lab.ends("h1", "h2"), (1, 2), &[0; 1500 - 28]);
    assert_eq!(lab.send("h1", &at_limit).hosts(), ["h2"]);
    let over = frames::udp(lab.ends("h1", "h2"), (1, 2), &[0; 1501 - 28]);
    assert_eq!(lab.send("h1", &over).reasons(), ["mtu"]);
}
