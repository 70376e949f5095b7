//! What flows change in packets, and what comes after a change.

use weft_proto::vocab::{FieldMatch, MacAddr, MeterConfig};
use weft_switch::datapath::Nanos;

use super::{FLOOD, NORMAL, OUTPUT, all, chain, edits, entry, in_port, put, write};
use crate::frames::{self, check_sums};
use crate::lab::{self, Builder};
use weft_controller::compile::Subject;

#[test]
fn edits_keep_checksums_right() {
    let mut lab = Builder::switches(&["s1"])
        .host("a", "s1", "10.0.0.1/24")
        .host("b", "s1", "10.0.0.2/24")
        .without_fabric()
        .lab();
    let new = |text: &str| u128::from(text.parse::<std::net::Ipv4Addr>().unwrap().to_bits());
    let names = [
        "eth_src",
        "eth_dst",
        "ip_dscp",
        "ipv4_src",
        "ipv4_dst",
        "tcp_src",
        "tcp_dst",
        "udp_src",
        "udp_dst",
        "icmpv4_type",
        "icmpv4_code",
        "dec_ttl",
    ];
    let args = [
        ("edits", edits(&lab, &names)),
        ("eth_src", MacAddr([2, 9, 9, 9, 9, 1]).to_bits().into()),
        ("eth_dst", MacAddr([2, 9, 9, 9, 9, 2]).to_bits().into()),
        ("ip_dscp", 63),
        ("ipv4_src", new("192.0.2.1")),
        ("ipv4_dst", new("198.51.100.255")),
        ("tcp_src", 1),
        ("tcp_dst", 0xffff),
        ("udp_src", 2),
        ("udp_dst", 0xfffe),
        ("icmpv4_type", 13),
        ("icmpv4_code", 7),
        ("verdict", OUTPUT),
        ("port", 2),
    ];
    put(&mut lab, "s1", 1, &[in_port(1)], ("flow_edit", &args));
    let ends = lab.ends("a", "b");
    let sent = [
        (frames::udp(ends, (4000, 53), b"odd"), [0, 2, 0xff, 0xfe]),
        (frames::tcp(ends, (4000, 53), b"even"), [0, 1, 0xff, 0xff]),
    ];
    for (frame, ports) in sent {
        let outcome = lab.send("a", &frame);
        let got = outcome.only("b");
        check_sums(got);
        assert_eq!(got[..12], [2, 9, 9, 9, 9, 2, 2, 9, 9, 9, 9, 1]);
        assert_eq!((got[15], got[22]), (63 << 2, 63));
        assert_eq!(got[26..34], [192, 0, 2, 1, 198, 51, 100, 255]);
        assert_eq!(got[34..38], ports);
    }
    let outcome = lab.send("a", &frames::echo_request(ends, 1));
    let got = outcome.only("b");
    check_sums(got);
    assert_eq!(got[34..36], [13, 7]);
    // A datagram without a checksum stays one.
    let mut frame = frames::udp(ends, (4000, 53), b"odd");
    frame[40..42].fill(0);
    assert_eq!(lab.send("a", &frame).only("b")[40..42], [0, 0]);
    // The last hop.
    let frame = frames::udp(frames::Ends { ttl: 1, ..ends }, (4000, 53), b"odd");
    assert_eq!(lab.send("a", &frame).reasons(), ["ttl-expired"]);
}

#[test]
fn tags_are_pushed_popped_and_set() {
    let mut lab = Builder::switches(&["s1"])
        .host("a", "s1", "10.0.0.1/24")
        .host("b", "s1", "10.0.0.2/24")
        .without_fabric()
        .lab();
    let out = [("verdict", OUTPUT), ("port", 2)];
    let args = |more: &[(&'static str, u128)]| [more, &out].concat();
    let push = args(&[
        ("edits", edits(&lab, &["push_vlan"])),
        ("push_vlan_vid", 100),
    ]);
    let pop = args(&[("edits", edits(&lab, &["pop_vlan"]))]);
    let swap = args(&[
        ("edits", edits(&lab, &["pop_vlan", "push_vlan"])),
        ("push_vlan_vid", 8),
    ]);
    let rename = args(&[("edits", edits(&lab, &["vlan_vid"])), ("vlan_vid", 9)]);
    for (port, args) in [(1, push), (2, pop), (3, swap), (4, rename)] {
        let udp_port = [("udp_dst", all(port, 16))];
        put(&mut lab, "s1", 1, &udp_port, ("flow_edit", &args));
    }
    let ends = lab.ends("a", "b");
    let plain = |port| frames::udp(ends, (1, port), b"x");
    let tagged = |port, vid: u8| {
        let mut frame = frames::udp(ends, (1, port), b"x");
        frame.splice(12..12, [0x81, 0, 0x60, vid]);
        frame
    };
    let untag = |mut frame: Vec<u8>| {
        frame.drain(12..16);
        frame
    };
    let mut pushed = tagged(1, 100);
    pushed[14] = 0;
    let mut pushed_again = tagged(1, 7);
    pushed_again.splice(12..12, [0x81, 0, 0, 100]);
    let mut swapped = tagged(3, 8);
    swapped[14] = 0;
    let cases = [
        (plain(1), pushed),
        (tagged(1, 7), pushed_again),
        (tagged(2, 7), untag(tagged(2, 7))),
        (plain(2), plain(2)),
        (tagged(3, 7), swapped),
        (tagged(4, 7), tagged(4, 9)),
        (plain(4), plain(4)),
    ];
    for (sent, expected) in cases {
        assert_eq!(lab.send("a", &sent).only("b"), expected);
    }
    put(
        &mut lab,
        "s1",
        2,
        &[("vlan_vid", all(7, 12))],
        ("flow_drop", &[]),
    );
    assert_eq!(lab.send("a", &tagged(4, 7)).reasons(), ["flow-drop"]);
    assert_eq!(lab.send("a", &tagged(4, 6)).hosts(), ["b"]);
}

#[test]
fn what_follows_an_edit_sees_the_packet_as_it_is_now() {
    let mut lab = chain().lab();
    let bits = edits(&lab, &["tcp_dst"]);
    let args = [("edits", bits), ("tcp_dst", 23), ("verdict", NORMAL)];
    put(
        &mut lab,
        "s1",
        1,
        &[("tcp_dst", all(80, 16))],
        ("flow_edit", &args),
    );
    let telnet = [("l4_dst", FieldMatch::Range { low: 23, high: 23 })];
    let inbound = entry(&lab, "acl_in", 1, &telnet, ("deny_in", &[]));
    write(&mut lab, "s1", Subject::Entry(inbound));
    let frame = frames::tcp(lab.ends("h1", "h2"), (9, 80), b"");
    assert_eq!(lab.send("h1", &frame).reasons(), ["acl-inbound"]);
}

#[test]
fn flood_by_an_edit_is_the_same_flood() {
    let mut lab = lab::ring(3).lab();
    let args = [
        ("edits", edits(&lab, &["ip_dscp"])),
        ("ip_dscp", 1),
        ("verdict", FLOOD),
    ];
    put(&mut lab, "s1", 1, &[in_port(3)], ("flow_edit", &args));
    let frame = frames::udp(lab.ends("h1", "h2"), (1, 2), b"x");
    let outcome = lab.send("h1", &frame);
    assert_eq!(outcome.hosts(), ["h2", "h3"]);
    assert!(outcome.delivered.iter().all(|(_, got)| got[15] >> 2 == 1));
}

#[test]
fn a_meter_lets_pass_what_its_rate_allows_and_edits_come_before_it() {
    let mut lab = Builder::switches(&["s1"])
        .host("a", "s1", "10.0.0.1/24")
        .host("b", "s1", "10.0.0.2/24")
        .without_fabric()
        .lab();
    let meter = lab.program.schema().meters().next().unwrap().clone();
    assert!(meter.annotations.contains(&"@weft_meters".to_owned()));
    let bits = edits(&lab, &["push_vlan", "meter"]);
    let args = [
        ("edits", bits),
        ("push_vlan_vid", 7),
        ("meter", 4095),
        ("verdict", OUTPUT),
        ("port", 2),
    ];
    put(&mut lab, "s1", 1, &[], ("flow_edit", &args));
    let frame = frames::udp(lab.ends("a", "b"), (1, 2), b"x");
    let tagged = {
        let mut frame = frame.clone();
        frame.splice(12..12, [0x81, 0, 0, 7]);
        frame
    };
    for _ in 0..10 {
        assert_eq!(lab.send("a", &frame).only("b"), tagged);
    }
    // Two packets at once, then one a second.
    let size = frame.len() as u64;
    let config = MeterConfig {
        cir: size,
        cburst: 2 * size,
        pir: size,
        pburst: 2 * size,
    };
    let state = &mut lab.datapath("s1").state;
    state.set_meter(meter.id, Some(4095), Some(config)).unwrap();
    for second in 0..4 {
        lab.now = Nanos(second * 1_000_000_000);
        let passing = if second == 0 { 2 } else { 1 };
        for _ in 0..passing {
            assert_eq!(lab.send("a", &frame).only("b"), tagged);
        }
        assert_eq!(lab.send("a", &frame).reasons(), ["meter"]);
    }
    let state = &mut lab.datapath("s1").state;
    let seen = state.meter(meter.id, Some(4095)).next().unwrap();
    assert_eq!(seen.cell.config, Some(config));
    assert_eq!(
        (seen.counters.green.packets, seen.counters.red.packets),
        (15, 4)
    );
    state.set_meter(meter.id, None, None).unwrap();
    assert_eq!(lab.send("a", &frame).only("b"), tagged);
}
