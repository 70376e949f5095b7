mod replicas;

use etherparse::{SlicedPacket, TransportSlice};
use proptest::prelude::*;
use weft_proto::vocab::{CounterValue, FieldMatch, TableAction, WeightedAction};

use super::*;
use crate::ports::PortInfo;
use crate::testing::*;
use crate::vnet::{GSO_TCPV4, NEEDS_CSUM, VnetHdr};

fn packet(bytes: &[u8]) -> Packet {
    Packet::from_bytes(bytes)
}

/// A TCP super-packet as a device delivers it: partial checksum, payload of many segments.
fn super_packet(dst: [u8; 6], payload: usize, size: u16) -> Packet {
    let mut bytes = tcp4(dst, &vec![0xa5; payload]);
    let pseudo = checksum_of_pseudo(&bytes);
    bytes[50..52].copy_from_slice(&pseudo.to_be_bytes());
    let mut packet = packet(&bytes);
    packet.vnet = VnetHdr {
        flags: NEEDS_CSUM,
        gso_type: GSO_TCPV4,
        hdr_len: 54,
        gso_size: size,
        csum_start: 34,
        csum_offset: 16,
    };
    packet
}

/// The pseudo header's sum of a frame without tags and options.
fn checksum_of_pseudo(frame: &[u8]) -> u16 {
    let len = (frame.len() - 34) as u64;
    checksum::fold(u128::from(
        checksum::sum(&frame[26..34]) + u64::from(frame[23]) + len,
    ))
}

/// All checksums of a frame are right, as an independent parser computes them.
fn assert_checksums(frame: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let ip = sliced.net.unwrap();
    let ipv4 = ip.ipv4_ref().unwrap();
    let header = ipv4.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    match sliced.transport.unwrap() {
        TransportSlice::Tcp(tcp) => {
            let right = tcp
                .calc_checksum_ipv4(header.source, header.destination)
                .unwrap();
            assert_eq!(tcp.checksum(), right);
        }
        TransportSlice::Udp(udp) if udp.checksum() != 0 => {
            let right = udp.to_header();
            let right = right
                .calc_checksum_ipv4_raw(header.source, header.destination, udp.payload())
                .unwrap();
            assert_eq!(udp.checksum(), right);
        }
        _ => {}
    }
}

#[test]
fn a_known_destination_gets_the_same_bytes_and_the_entry_counts_them() {
    let mut bench = Bench::new();
    let entry = bench.bridge_to(3);
    let frame = tcp4(HOST_MAC, b"hello");
    assert_eq!(bench.sent(1, packet(&frame)), [(3, frame.clone())]);
    let view = bench.datapath.state.entry(&entry.key).unwrap();
    let bytes = frame.len() as u64;
    assert_eq!(
        view.counter.unwrap().value(),
        CounterValue { packets: 1, bytes }
    );
}

#[test]
fn a_packet_without_verdict_is_dropped() {
    let mut bench = Bench::new();
    assert_eq!(bench.dropped(1, packet(&tcp4(HOST_MAC, b""))), "no-verdict");
}

#[test]
fn short_headers_and_rejected_ones_are_dropped() {
    let mut bench = Bench::new();
    assert_eq!(bench.dropped(1, packet(&[1; 13])), "truncated");
    let mut frame = tcp4(HOST_MAC, b"");
    frame[14] = 0x44;
    // A header length of 4 words makes the length of the options negative.
    assert_eq!(bench.dropped(1, packet(&frame)), "parser-reject");
}

#[test]
fn output_to_a_port_that_cannot_send_is_dropped() {
    let mut bench = Bench::new();
    bench.bridge_to(9);
    let frame = tcp4(HOST_MAC, b"");
    assert_eq!(bench.dropped(1, packet(&frame)), "no-such-port");
    let port = PortInfo {
        mtu: 1500,
        up: false,
        is_l2: true,
    };
    bench.datapath.ports.insert(PortNo(9), port);
    assert_eq!(bench.dropped(1, packet(&frame)), "port-down");
}

#[test]
fn the_mtu_bounds_the_ip_packet_and_not_what_is_around_it() {
    let mut bench = Bench::new();
    bench.bridge_to(3);
    let fits = tcp4(HOST_MAC, &[0; 1460]);
    assert_eq!(fits.len(), 1514);
    assert_eq!(bench.sent(1, packet(&fits)).len(), 1);
    assert_eq!(bench.dropped(1, packet(&tcp4(HOST_MAC, &[0; 1461]))), "mtu");
    bench.install(
        "out",
        &[
            ("port", FieldMatch::Exact(3)),
            ("instance", FieldMatch::Exact(0)),
        ],
        0,
        "label",
        &[77],
    );
    assert_eq!(bench.sent(1, packet(&fits))[0].1.len(), 1514 + 18);
    assert_eq!(bench.dropped(1, packet(&tcp4(HOST_MAC, &[0; 1461]))), "mtu");
    // A super-packet is as large as its segments.
    let large = bench.forwarded(1, super_packet(HOST_MAC, 60_000, 1460)).1;
    assert_eq!(large.len(), 60_054 + 18);
    assert_eq!(
        bench.dropped(1, super_packet(HOST_MAC, 60_000, 1461)),
        "mtu"
    );
}

#[test]
fn flood_reaches_every_port_that_is_up_but_the_one_of_entry() {
    let mut bench = Bench::new();
    let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
    bench.install("bridge", &[("dst", dst)], 0, "flood", &[]);
    bench.datapath.ports.set_up(PortNo(4), false);
    let frame = tcp4(HOST_MAC, b"x");
    let copies = bench.sent(2, packet(&frame));
    assert_eq!(copies, [(1, frame.clone()), (3, frame)]);
}

#[test]
fn replicas_are_edited_apart_from_each_other() {
    let mut bench = Bench::new();
    let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
    bench.install("bridge", &[("dst", dst)], 0, "copy", &[5]);
    let frame = tcp4(HOST_MAC, b"x");
    assert_eq!(bench.dropped(1, packet(&frame)), "empty-group");
    bench.group(5, &[(1, 0), (2, 0), (3, 7), (4, 8)]);
    for (port, instance, action, arg) in [(3, 7, "label", 77), (4, 8, "tag", 100)] {
        let key = [
            ("port", FieldMatch::Exact(port)),
            ("instance", FieldMatch::Exact(instance)),
        ];
        bench.install("out", &key, 0, action, &[arg]);
    }
    let copies = bench.sent(1, packet(&frame));
    assert_eq!(copies.len(), 3);
    assert_eq!(copies[0], (2, frame.clone()));
    let labelled = [&[0; 12][..], &[0x88, 0x47, 0, 0x04, 0xd1, 64], &frame].concat();
    assert_eq!(copies[1], (3, labelled.clone()));
    let tagged = [&frame[..12], &[0x81, 0, 0, 100], &frame[12..]].concat();
    assert_eq!(copies[2], (4, tagged));
    // And the label comes off again on the other side.
    let key = [
        ("port", FieldMatch::Exact(2)),
        ("instance", FieldMatch::Exact(0)),
    ];
    bench.install("out", &key, 0, "unlabel", &[]);
    let copies = bench.sent(3, packet(&labelled));
    assert!(copies.contains(&(2, frame)), "{copies:?}");
}

#[test]
fn routing_keeps_the_header_checksum_right_and_writes_the_next_hop() {
    let mut bench = Bench::new();
    let key = [
        ("vrf", FieldMatch::Exact(0)),
        (
            "dst",
            FieldMatch::Lpm {
                value: 0x0a00_0100,
                prefix_len: 24,
            },
        ),
    ];
    bench.install("routes", &key, 0, "route", &[2, mac_bits(HOST_MAC)]);
    let frame = tcp4(ROUTER_MAC, b"odd");
    let (port, packet) = bench.forwarded(1, packet(&frame));
    let sent = packet.to_vec();
    assert_eq!(port, 2);
    assert_eq!((&sent[..6], sent[22]), (&HOST_MAC[..], 63));
    assert_checksums(&sent);
}

#[test]
fn a_miss_runs_the_default_action_and_counts_it() {
    let mut bench = Bench::new();
    let frame = tcp4(ROUTER_MAC, b"");
    assert_eq!(bench.dropped(1, packet(&frame)), "denied");
    let routes = bench
        .datapath
        .state
        .program()
        .schema()
        .table_by_name("routes")
        .unwrap()
        .id;
    let default = bench.datapath.state.default_entry(routes).unwrap();
    assert_eq!(default.counter.unwrap().value().packets, 1);
    assert_eq!(default.last_hit_ns, 1);
}

#[test]
fn super_packets_count_as_their_segments_without_fabric_headers() {
    let mut bench = Bench::new();
    let entry = bench.bridge_to(3);
    let counter = |bench: &Bench| {
        let view = bench.datapath.state.entry(&entry.key).unwrap();
        view.counter.unwrap().value()
    };
    bench.send(1, super_packet(HOST_MAC, 10_001, 1000));
    let first = CounterValue {
        packets: 11,
        bytes: 10_001 + 11 * 54,
    };
    assert_eq!(counter(&bench), first);
    // The same behind a label: the label and its Ethernet header do not count.
    let mut inner = super_packet(HOST_MAC, 10_001, 1000);
    inner.replace_front(0, 18).unwrap().copy_from_slice(&[
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x47, 0, 0x04, 0xd1, 64,
    ]);
    // A frame that is labelled without control word has no place for GSO: plain bytes here.
    inner.vnet = VnetHdr::default();
    bench.send(1, inner);
    let second = CounterValue {
        packets: first.packets + 1,
        bytes: first.bytes + 10_001 + 54,
    };
    assert_eq!(counter(&bench), second);
}

#[test]
fn the_controller_gets_the_packet_as_received_and_its_metadata() {
    let mut bench = Bench::new();
    let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
    bench.install("bridge", &[("dst", dst)], 0, "punt", &[9]);
    let frame = tcp4(HOST_MAC, b"x");
    let out = bench.send(4, packet(&frame));
    let copy = Emit::PacketIn {
        metadata: vec![(1, 4), (2, 9)],
        packet: packet(&frame),
    };
    assert_eq!(out, [copy]);
}

#[test]
fn a_packet_out_leaves_where_its_metadata_says() {
    let mut bench = Bench::new();
    let frame = tcp4(HOST_MAC, b"x");
    let mut out = Vec::new();
    let sent = packet(&frame);
    bench
        .datapath
        .packet_out(&mut bench.scratch, &[(1, 2)], sent, Nanos(0), &mut out);
    let expected = Emit::Port {
        port: PortNo(2),
        packet: packet(&frame),
    };
    assert_eq!(out, [expected]);
}

#[test]
fn layer_3_ports_begin_with_the_ip_header() {
    let mut bench = Bench::new();
    let port = PortInfo {
        mtu: 1500,
        up: true,
        is_l2: false,
    };
    bench.datapath.ports.insert(PortNo(1), port);
    let any_mac = FieldMatch::Exact(0);
    bench.install("bridge", &[("dst", any_mac)], 0, "forward", &[2]);
    let frame = tcp4(HOST_MAC, b"x");
    assert_eq!(
        bench.sent(1, packet(&frame[14..])),
        [(2, frame[14..].to_vec())]
    );
}

#[test]
fn a_lost_member_moves_only_its_own_flows() {
    let mut bench = Bench::new();
    let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
    let mut entry = bench.entry("spread", &[("dst", dst)], 0, "pass", &[]);
    let members = [2, 3, 4].map(|port| WeightedAction {
        call: bench.call("forward", &[port]),
        weight: 1,
        watch_port: Some(PortNo(u32::try_from(port).unwrap())),
    });
    entry.action = Some(TableAction::OneShot(members.to_vec()));
    bench.datapath.state.insert(&entry).unwrap();
    let flows: Vec<Vec<u8>> = (0..300_u16)
        .map(|port| {
            let mut frame = udp4(HOST_MAC, b"");
            frame[23] = 6;
            let tcp = [port.to_be_bytes(), [0, 80]].concat();
            frame.splice(34.., tcp.into_iter().chain([0; 16]));
            frame
        })
        .collect();
    let ports = |bench: &mut Bench| -> Vec<u32> {
        flows
            .iter()
            .map(|flow| bench.forwarded(1, packet(flow)).0)
            .collect()
    };
    let before = ports(&mut bench);
    for port in 2..=4 {
        let share = before.iter().filter(|&&chosen| chosen == port).count();
        assert!(
            (60..=140).contains(&share),
            "port {port} has {share} of 300 flows"
        );
    }
    bench.datapath.ports.set_up(PortNo(3), false);
    for (old, new) in before.iter().zip(ports(&mut bench)) {
        assert!(if *old == 3 { new != 3 } else { new == *old });
    }
    for port in 2..=4 {
        bench.datapath.ports.set_up(PortNo(port), false);
    }
    assert_eq!(bench.dropped(1, packet(&flows[0])), "empty-group");
}

#[test]
fn headers_that_outgrow_the_headroom_are_dropped() {
    let mut bench = Bench::new();
    bench.bridge_to(3);
    let key = [
        ("port", FieldMatch::Exact(3)),
        ("instance", FieldMatch::Exact(0)),
    ];
    bench.install("out", &key, 0, "tag", &[1]);
    let mut frame = packet(&tcp4(HOST_MAC, b"x"));
    for _ in 0..8 {
        // Eat the headroom with an outer header that the parser does not take: pretend it was decapsulated.
        if frame.replace_front(0, 16).is_some() {
            frame.head_mut()[..16].fill(0);
        }
    }
    let mut inner = frame.clone();
    let bytes = tcp4(HOST_MAC, b"x");
    inner.head_mut()[..bytes.len()].copy_from_slice(&bytes);
    assert_eq!(bench.dropped(1, inner), "oversize");
}

/// Translation of a source address and port, on a whole checksum and on a partial one.
fn translated(frame: &[u8], partial: bool, src: u32, port: u16) -> Vec<u8> {
    let mut bench = Bench::new();
    bench.bridge_to(3);
    let dport = u16::from_be_bytes([frame[36], frame[37]]);
    let key = [
        ("src", FieldMatch::Exact(0x0a00_0001)),
        ("port", FieldMatch::Exact(dport.into())),
    ];
    bench.install("nat", &key, 0, "translate", &[src.into(), port.into()]);
    let mut sent = frame.to_vec();
    let offset = if frame[23] == 6 { 16 } else { 6 };
    if partial {
        let pseudo = checksum_of_pseudo(frame);
        sent[34 + offset..36 + offset].copy_from_slice(&pseudo.to_be_bytes());
    }
    let mut sent = packet(&sent);
    if partial {
        sent.vnet.flags = NEEDS_CSUM;
        sent.vnet.csum_start = 34;
        sent.vnet.csum_offset = u16::try_from(offset).unwrap();
    }
    let mut received = bench.forwarded(1, sent).1;
    if partial {
        let frame = received.to_vec();
        let field = u16::from_be_bytes([frame[34 + offset], frame[35 + offset]]);
        assert_eq!(
            field,
            checksum_of_pseudo(&frame),
            "the pseudo header's sum, not complemented"
        );
        segment::finish_checksum(&mut received);
    }
    received.to_vec()
}

#[test]
fn udp_without_checksum_stays_without() {
    let mut frame = udp4(HOST_MAC, b"abc");
    frame[40..42].fill(0);
    let sent = translated(&frame, false, 0x0102_0304, 99);
    assert_eq!(sent[40..42], [0, 0]);
    assert_checksums(&sent);
}

proptest! {
    #[test]
    fn translation_keeps_checksums_right(
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        is_udp: bool,
        partial: bool,
        src: u32,
        port: u16,
    ) {
        let frame = if is_udp { udp4(HOST_MAC, &payload) } else { tcp4(HOST_MAC, &payload) };
        let sent = translated(&frame, partial, src, port);
        prop_assert_eq!(&sent[26..30], &src.to_be_bytes());
        prop_assert_eq!(&sent[34..36], &port.to_be_bytes());
        assert_checksums(&sent);
    }

    #[test]
    fn any_bytes_are_parsed_without_panic_and_put_together_again(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        port in 1_u32..5,
    ) {
        let mut bench = Bench::new();
        let acl = bench.entry("acl", &[], 1, "pass", &[]);
        bench.datapath.state.insert(&acl).unwrap();
        let bridge = bench.datapath.state.program().schema().table_by_name("bridge").unwrap().id;
        let mut default = bench.entry("bridge", &[], 0, "flood", &[]);
        default.key.table = bridge;
        default.is_default = true;
        bench.datapath.state.modify(&default).unwrap();
        for (emitted, sent) in bench.sent(port, packet(&bytes)) {
            prop_assert!(emitted == 0 || sent == bytes);
        }
    }

    #[test]
    fn mutated_frames_are_parsed_without_panic_and_put_together_again(
        which in 0_usize..4,
        at in 0_usize..80,
        value: u8,
        cut in 0_usize..120,
        labels in 0_usize..4,
    ) {
        let frames = [tcp4, udp4, tcp6, udp6];
        let mut frame = frames[which](HOST_MAC, &[7; 40]);
        for _ in 0..labels {
            let outer = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x47, 0, 0x04, 0xd1, 64];
            frame = [&outer[..], &frame].concat();
        }
        let place = at % frame.len();
        frame[place] = value;
        frame.truncate(cut.max(1).min(frame.len()));
        let mut bench = Bench::new();
        let bridge = bench.datapath.state.program().schema().table_by_name("bridge").unwrap().id;
        let mut default = bench.entry("bridge", &[], 0, "flood", &[]);
        default.key.table = bridge;
        default.is_default = true;
        bench.datapath.state.modify(&default).unwrap();
        for (emitted, sent) in bench.sent(1, packet(&frame)) {
            prop_assert!(emitted == 0 || sent == frame);
        }
    }

    #[test]
    fn the_fabric_pipeline_takes_any_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        offload in proptest::option::of(any::<[u8; 10]>()),
    ) {
        let mut bench = Bench::with(crate::fabric::pipeline());
        let mut sent = packet(&bytes);
        if let Some(header) = offload {
            sent.vnet = VnetHdr::parse(&header);
        }
        prop_assert!(!bench.send(1, sent).is_empty());
    }
}
