//! The `flows` table, with the fabric and without it; packets to and from the controller.

mod edits;

use weft_controller::compile::{Change, Plan, Subject, Update};
use weft_proto::vocab::{
    ActionCall, CounterValue, EntryKey, FieldMatch, MulticastGroup, MulticastGroupId, PortNo,
    Replica, TableAction, TableEntry,
};
use weft_switch::packet::Packet;

use crate::frames::{self, Arp, BROADCAST, check_sums};
use crate::lab::{self, Builder, Lab};

type Match<'a> = (&'a str, FieldMatch);

fn all(value: u128, bits: u32) -> FieldMatch {
    FieldMatch::Ternary {
        value,
        mask: (1 << bits) - 1,
    }
}

fn in_port(port: u128) -> Match<'static> {
    ("in_port", FieldMatch::Optional(port))
}

/// An entry by the names of its pipeline; parameters that are not named are zero.
fn entry(
    lab: &Lab,
    table: &str,
    priority: i32,
    matches: &[Match<'_>],
    (action, args): (&str, &[(&str, u128)]),
) -> TableEntry {
    let schema = lab.program.schema();
    let table = schema.table_by_name(table).unwrap();
    let action = schema.action_by_name(action).unwrap();
    let value = |name: &str| {
        args.iter()
            .find(|(arg, _)| *arg == name)
            .map_or(0, |(_, value)| *value)
    };
    for (name, _) in args {
        assert!(action.param_by_name(name).is_some(), "{name}");
    }
    TableEntry {
        key: EntryKey {
            table: table.id,
            matches: matches
                .iter()
                .map(|(name, value)| (table.field_by_name(name).unwrap().id, *value))
                .collect(),
            priority,
        },
        action: Some(TableAction::Call(ActionCall {
            action: action.id,
            params: action
                .params
                .iter()
                .map(|param| (param.id, value(&param.name)))
                .collect(),
        })),
        metadata: Vec::new(),
        is_default: false,
        idle_timeout_ns: 0,
    }
}

fn write(lab: &mut Lab, switch: &str, subject: Subject) {
    let update = Update {
        change: Change::Insert,
        subject,
    };
    lab.write(
        switch,
        &Plan {
            stages: vec![vec![update]],
        },
    );
}

fn put(
    lab: &mut Lab,
    switch: &str,
    priority: i32,
    matches: &[Match<'_>],
    action: (&str, &[(&str, u128)]),
) {
    let entry = entry(lab, "flows", priority, matches, action);
    write(lab, switch, Subject::Entry(entry));
}

/// The bit set of `flow_edit` and the numbers of its verdicts, from the annotations.
fn edits(lab: &Lab, names: &[&str]) -> u128 {
    let edit = lab.program.schema().action_by_name("flow_edit").unwrap();
    let annotations: Vec<&str> = edit
        .params
        .iter()
        .flat_map(|param| &param.annotations)
        .map(String::as_str)
        .collect();
    names.iter().fold(0, |bits, name| {
        let bit = annotations
            .iter()
            .find_map(|annotation| {
                let inner = annotation
                    .strip_prefix("@bit(")
                    .or_else(|| annotation.strip_prefix("@set("))?;
                let (known, bit) = inner.strip_suffix(')')?.split_once(',')?;
                (known == *name).then(|| bit.parse::<u32>().unwrap())
            })
            .unwrap();
        bits | 1 << bit
    })
}

const OUTPUT: u128 = 1;
const FLOOD: u128 = 2;
const NORMAL: u128 = 4;
const MULTICAST: u128 = 5;

/// `h1` – `s1` – `s2` – `s3` – `h3`, links first, then hosts.
fn chain() -> Builder {
    Builder::switches(&["s1", "s2", "s3"])
        .link("s1", "s2")
        .link("s2", "s3")
        .host("h1", "s1", "10.0.0.1/24")
        .host("h2", "s2", "10.0.0.2/24")
        .host("h3", "s3", "10.0.0.3/24")
}

#[test]
fn without_a_fabric_nothing_is_answered_or_forwarded_by_itself() {
    let mut lab = chain().without_fabric().lab();
    let arp = Arp::request(lab.mac("h1"), lab.ip("h1"), lab.ip("h3")).to_bytes();
    for frame in [arp, frames::udp(lab.ends("h1", "h3"), (1, 2), b"x")] {
        let outcome = lab.send("h1", &frame);
        assert_eq!(outcome.reasons(), ["no-network"]);
        assert!(outcome.delivered.is_empty());
    }
}

#[test]
fn a_chain_programmed_by_hand_carries_what_its_flows_say() {
    let mut lab = chain().without_fabric().lab();
    for (switch, a, b) in [("s1", 2, 1), ("s2", 1, 2), ("s3", 1, 2)] {
        put(
            &mut lab,
            switch,
            10,
            &[in_port(a)],
            ("flow_output", &[("port", b)]),
        );
        put(
            &mut lab,
            switch,
            10,
            &[in_port(b)],
            ("flow_output", &[("port", a)]),
        );
    }
    let request = Arp::request(lab.mac("h1"), lab.ip("h1"), lab.ip("h3")).to_bytes();
    assert_eq!(lab.send("h1", &request).only("h3"), request);
    let frame = frames::udp(lab.ends("h3", "h1"), (1, 2), b"back");
    assert_eq!(lab.send("h3", &frame).only("h1"), frame);
    // Labels mean nothing here, and pass like any frame's bytes.
    let labelled = crate::paths::labelled(&[(18, 64)], &frame);
    assert!(lab.send("h1", &labelled).delivered.len() == 1);
    for (switch, expected) in [("s1", 3), ("s2", 3), ("s3", 3)] {
        assert_eq!(lab.counted(switch, "flows").packets, expected);
    }
    // Higher priority wins, and is as narrow as it says.
    let udp = [
        in_port(1),
        ("ip_proto", all(17, 8)),
        ("udp_dst", all(53, 16)),
    ];
    put(&mut lab, "s2", 20, &udp, ("flow_drop", &[]));
    let frame = frames::udp(lab.ends("h1", "h3"), (1, 53), b"x");
    assert_eq!(
        lab.send("h1", &frame).drops,
        [("s2".to_owned(), "flow-drop".to_owned())]
    );
    let frame = frames::tcp(lab.ends("h1", "h3"), (1, 53), b"x");
    assert_eq!(lab.send("h1", &frame).hosts(), ["h3"]);
}

#[test]
fn flood_is_a_hub_without_a_fabric() {
    let mut lab = chain().without_fabric().lab();
    for switch in ["s1", "s2", "s3"] {
        put(&mut lab, switch, 1, &[], ("flow_flood", &[]));
    }
    let frame = frames::udp(lab.ends("h1", "h3"), (1, 2), b"x");
    assert_eq!(lab.send("h1", &frame).hosts(), ["h2", "h3"]);
}

#[test]
fn flood_in_the_fabric_reaches_each_other_host_once() {
    let mut lab = lab::ring(4).lab();
    put(
        &mut lab,
        "s1",
        1,
        &[("udp_dst", all(9, 16))],
        ("flow_flood", &[]),
    );
    let flooded = frames::udp(lab.ends("h1", "h2"), (1, 9), b"x");
    assert_eq!(lab.send("h1", &flooded).hosts(), ["h2", "h3", "h4"]);
    let other = frames::udp(lab.ends("h1", "h2"), (1, 8), b"x");
    assert_eq!(lab.send("h1", &other).hosts(), ["h2"]);
    // From a link, to the hosts here.
    let back = frames::udp(lab.ends("h2", "h1"), (1, 9), b"x");
    assert_eq!(lab.send("h2", &back).only("h1"), back);
}

#[test]
fn a_flow_at_a_transit_switch_sees_and_edits_the_customers_packet() {
    let mut lab = chain().lab();
    let matches = [
        ("eth_type", all(0x800, 16)),
        ("ipv4_dst", all(lab.ip("h3").to_bits().into(), 32)),
        ("udp_dst", all(53, 16)),
        ("vni", FieldMatch::Optional(1)),
    ];
    let bits = edits(&lab, &["ip_dscp", "udp_dst", "dec_ttl"]);
    let args = [
        ("edits", bits),
        ("ip_dscp", 18),
        ("udp_dst", 5353),
        ("verdict", NORMAL),
    ];
    put(&mut lab, "s2", 5, &matches, ("flow_edit", &args));
    let frame = frames::udp(lab.ends("h1", "h3"), (4000, 53), b"query");
    let outcome = lab.send("h1", &frame);
    let got = outcome.only("h3");
    check_sums(got);
    assert_eq!(got[15] >> 2, 18);
    assert_eq!(got[22], 63);
    assert_eq!(got[36..38], 5353u16.to_be_bytes());
    assert_eq!(got[42..], frame[42..]);
    // Bytes of the customer's frame, labels not counted.
    let expected = CounterValue {
        packets: 1,
        bytes: frame.len() as u64,
    };
    assert_eq!(lab.counted("s2", "flows"), expected);
    assert_eq!(lab.counted("s2", "node_paths"), expected);
    assert_eq!(lab.counted("s1", "fdb"), expected);
}

#[test]
fn output_takes_the_labels_off() {
    let mut lab = chain().lab();
    // Port 3 of the switch in the middle is its host's.
    put(
        &mut lab,
        "s2",
        5,
        &[("udp_dst", all(53, 16))],
        ("flow_output", &[("port", 3)]),
    );
    let frame = frames::udp(lab.ends("h1", "h3"), (4000, 53), b"query");
    assert_eq!(lab.send("h1", &frame).only("h2"), frame);
    // To a link it arrives as nobody's.
    put(
        &mut lab,
        "s2",
        6,
        &[("udp_dst", all(54, 16))],
        ("flow_output", &[("port", 2)]),
    );
    let frame = frames::udp(lab.ends("h1", "h3"), (4000, 54), b"query");
    let outcome = lab.send("h1", &frame);
    assert_eq!(outcome.drops, [("s3".to_owned(), "unlabelled".to_owned())]);
}

#[test]
fn several_outputs_are_a_group() {
    let mut lab = chain().without_fabric().lab();
    let group = MulticastGroup {
        id: MulticastGroupId(0x4000_0000),
        replicas: [1, 2, 3]
            .map(|port| Replica {
                port: PortNo(port),
                instance: 0,
            })
            .into(),
        metadata: Vec::new(),
        ..MulticastGroup::default()
    };
    write(&mut lab, "s2", Subject::Group(group));
    let id = 0x4000_0000;
    put(
        &mut lab,
        "s2",
        5,
        &[in_port(1)],
        ("flow_multicast", &[("group", id)]),
    );
    let edit = [
        ("edits", edits(&lab, &["eth_dst"])),
        ("eth_dst", BROADCAST.to_bits().into()),
        ("verdict", MULTICAST),
        ("group", id),
    ];
    put(&mut lab, "s2", 5, &[in_port(2)], ("flow_edit", &edit));
    put(
        &mut lab,
        "s1",
        1,
        &[in_port(1)],
        ("flow_output", &[("port", 2)]),
    );
    put(
        &mut lab,
        "s3",
        1,
        &[in_port(1)],
        ("flow_output", &[("port", 2)]),
    );
    let frame = frames::udp(lab.ends("h1", "h3"), (1, 2), b"x");
    let (outcome, _) = lab.inject("s2", PortNo(1), Packet::from_bytes(&frame));
    assert_eq!(
        outcome.hosts(),
        ["h2", "h3"],
        "never back to where it came from"
    );
    let (outcome, _) = lab.inject("s2", PortNo(2), Packet::from_bytes(&frame));
    assert_eq!(outcome.hosts(), ["h1", "h2"]);
    for (_, got) in &outcome.delivered {
        assert_eq!(got[..6], BROADCAST.0);
        assert_eq!(got[6..], frame[6..]);
    }
}

#[test]
fn the_controller_gets_packets_as_they_were_received_with_their_port() {
    let mut lab = chain().lab();
    put(
        &mut lab,
        "s1",
        1,
        &[("arp_op", all(1, 16))],
        ("flow_controller", &[]),
    );
    let request = Arp::request(lab.mac("h1"), lab.ip("h1"), lab.ip("h3")).to_bytes();
    let outcome = lab.send("h1", &request);
    assert_eq!(
        outcome.packet_ins,
        [("s1".to_owned(), vec![(1, 2)], request)]
    );
    assert!(
        outcome.delivered.is_empty() && outcome.drops.is_empty(),
        "{outcome:?}"
    );
}

#[test]
fn a_packet_out_leaves_by_its_port_or_goes_through_the_pipeline() {
    let mut lab = chain().lab();
    let frame = frames::udp(lab.ends("h3", "h1"), (1, 2), b"x");
    assert_eq!(lab.packet_out("s1", &[(1, 2)], &frame).only("h1"), frame);
    assert_eq!(
        lab.packet_out("s1", &[(1, 77)], &frame).reasons(),
        ["no-such-port"]
    );
    // Without a port, like a host's.
    let outcome = lab.packet_out("s3", &[(1, 0)], &frame);
    assert_eq!(outcome.only("h1"), frame);
    let mut ends = lab.ends("h3", "h3");
    ends.dst_mac = BROADCAST;
    let broadcast = frames::udp(ends, (1, 2), b"x");
    assert_eq!(
        lab.packet_out("s3", &[(1, 0)], &broadcast).hosts(),
        ["h1", "h2", "h3"]
    );
}

#[test]
fn access_lists_stop_what_they_say_on_the_way_in_and_out() {
    let mut lab = chain().lab();
    let telnet = [
        ("ip_proto", FieldMatch::Optional(6)),
        ("l4_dst", FieldMatch::Range { low: 20, high: 23 }),
    ];
    let inbound = entry(&lab, "acl_in", 100, &telnet, ("deny_in", &[]));
    write(&mut lab, "s1", Subject::Entry(inbound));
    let from_h1 = [
        ("ipv4_src", all(lab.ip("h1").to_bits().into(), 32)),
        ("egress_port", FieldMatch::Optional(2)),
    ];
    let outbound = entry(&lab, "acl_out", 100, &from_h1, ("deny_out", &[]));
    write(&mut lab, "s3", Subject::Entry(outbound));
    let tcp =
        |lab: &Lab, src: &str, dst: &str, port| frames::tcp(lab.ends(src, dst), (9, port), b"");
    let cases = [
        ("h1", "h2", 23, Some("acl-inbound")),
        ("h1", "h2", 24, None),
        ("h2", "h1", 23, None),
        ("h1", "h3", 80, Some("acl-outbound")),
        ("h2", "h3", 80, None),
    ];
    for (src, dst, port, reason) in cases {
        let frame = tcp(&lab, src, dst, port);
        let outcome = lab.send(src, &frame);
        assert_eq!(outcome.reasons(), Vec::from_iter(reason));
        assert_eq!(outcome.delivered.len(), usize::from(reason.is_none()));
    }
}

#[test]
fn flows_see_ipv6_addresses_and_ports_behind_extension_headers() {
    let mut lab = lab::dual().lab();
    let exact = |value, bits| FieldMatch::Ternary {
        value,
        mask: u128::MAX >> (128 - bits),
    };
    let subnet = FieldMatch::Ternary {
        value: 0x2001_0db8_0001 << 80,
        mask: u128::MAX << 64,
    };
    let matches = [
        ("eth_type", exact(0x86dd, 16)),
        ("ipv6_src", exact(lab.ip6("a").to_bits(), 128)),
        ("ipv6_dst", subnet),
        ("ip_proto", exact(17, 8)),
        ("udp_dst", exact(53, 16)),
    ];
    put(&mut lab, "s1", 9, &matches, ("flow_drop", &[]));
    let echo = [
        ("eth_type", exact(0x86dd, 16)),
        ("ip_proto", exact(58, 8)),
        ("icmpv6_type", exact(128, 8)),
    ];
    put(&mut lab, "s1", 8, &echo, ("flow_drop", &[]));

    let ends = lab.ends6("a", "b");
    let query = frames::udp6(ends, (5000, 53), b"query");
    let chains: [&[(u8, usize)]; 3] = [&[], &[(60, 8); 8], &[(0, 16), (43, 24), (44, 8), (60, 8)]];
    for chain in chains {
        let outcome = lab.send("a", &frames::extend(&query, chain));
        assert_eq!(outcome.reasons(), ["flow-drop"], "{chain:?}");
    }
    let ping = frames::icmp6(ends, 128, [0, 7, 0, 1], b"ping");
    assert_eq!(lab.send("a", &ping).reasons(), ["flow-drop"]);
    let pong = frames::icmp6(ends, 129, [0, 7, 0, 1], b"pong");
    let other = frames::udp6(ends, (5000, 54), b"query");
    let reverse = frames::udp6(lab.ends6("b", "a"), (5000, 53), b"query");
    for (src, frame, dst) in [("a", pong, "b"), ("a", other, "b"), ("b", reverse, "a")] {
        assert_eq!(lab.send(src, &frame).hosts(), [dst]);
    }
}
