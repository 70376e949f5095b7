//! Which counters a packet moves, and that no other moves.

use weft_controller::compile::GATEWAY_MAC;
use weft_proto::vocab::CounterValue;

use crate::frames::{self, Arp, BROADCAST, Ends};
use crate::lab::{self, Lab};

/// Sends a frame from host `a` and asserts that each of these tables counted it once, and nothing else did.
#[track_caller]
fn check(lab: &mut Lab, frame: &[u8], expected: &[(&str, &str)]) {
    let before = lab.counters();
    lab.send("a", frame);
    let mut moved = Vec::new();
    for ((switch, table), after) in lab.counters() {
        let key = (switch, table);
        let before = before.get(&key).copied().unwrap_or_default();
        if before != after {
            let added = CounterValue {
                packets: after.packets - before.packets,
                bytes: after.bytes - before.bytes,
            };
            moved.push((key.0, key.1, added));
        }
    }
    let once = CounterValue {
        packets: 1,
        bytes: frame.len() as u64,
    };
    let expected: Vec<_> = expected
        .iter()
        .map(|(switch, table)| ((*switch).to_owned(), (*table).to_owned(), once))
        .collect();
    assert_eq!(moved, expected);
}

#[test]
fn a_packet_is_counted_once_by_each_entry_that_it_met() {
    let mut lab = lab::routed().lab();
    let bridged = frames::udp(lab.ends("a", "b"), (1, 2), b"bridged");
    let across = [
        ("s1", "fdb"),
        ("s1", "node_paths"),
        ("s2", "node_paths"),
        ("s3", "fdb"),
        ("s3", "my_label"),
    ];
    check(&mut lab, &bridged, &across);
    let ends = Ends {
        dst_mac: GATEWAY_MAC,
        ..lab.ends("a", "d")
    };
    let routed = frames::udp(ends, (1, 2), b"routed");
    let across = [
        ("s1", "fdb"),
        ("s1", "node_paths"),
        ("s1", "routes"),
        ("s2", "node_paths"),
        ("s3", "fdb"),
        ("s3", "my_label"),
    ];
    check(&mut lab, &routed, &across);
    let ends = Ends {
        dst_mac: GATEWAY_MAC,
        ..lab.ends("a", "c")
    };
    let here = frames::udp(ends, (1, 2), b"routed");
    check(&mut lab, &here, &[("s1", "fdb"), ("s1", "routes")]);
    let ends = Ends {
        dst_mac: BROADCAST,
        ..ends
    };
    let broadcast = frames::udp(ends, (1, 2), b"all");
    let flooded = [
        ("s1", "flood"),
        ("s2", "node_paths"),
        ("s3", "flood"),
        ("s3", "my_label"),
    ];
    check(&mut lab, &broadcast, &flooded);
}

#[test]
fn what_the_edge_answers_or_drops_moves_no_counter_but_those_it_met() {
    let mut lab = lab::routed().lab();
    let request = Arp::request(lab.mac("a"), lab.ip("a"), lab.ip("b")).to_bytes();
    check(&mut lab, &request, &[]);
    let ends = Ends {
        dst_mac: GATEWAY_MAC,
        ttl: 1,
        ..lab.ends("a", "d")
    };
    check(
        &mut lab,
        &frames::udp(ends, (1, 2), b""),
        &[("s1", "routes")],
    );
    let to_gateway = Ends {
        dst: "10.0.1.254".parse().unwrap(),
        ..ends
    };
    check(
        &mut lab,
        &frames::echo_request(to_gateway, 1),
        &[("s1", "routes")],
    );
    check(&mut lab, &[0; 13], &[]);
}
