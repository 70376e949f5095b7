//! Super-packets: editing one and cutting it afterwards is cutting it first and editing the segments. Frames under a
//! parser that we did not write: the fields that tables see are the ones that it sees.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use weft_proto::vocab::FieldMatch;

use super::*;
use crate::testing::*;
use crate::vnet::{GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VnetHdr};

type Frame = fn([u8; 6], &[u8]) -> Vec<u8>;

/// Frame, segmentation type, offset of the transport header and of its checksum.
const FLOWS: [(Frame, u8, u16, u16); 4] = [
    (tcp4, GSO_TCPV4, 34, 16),
    (udp4, GSO_UDP_L4, 34, 6),
    (tcp6, GSO_TCPV6, 54, 16),
    (udp6, GSO_UDP_L4, 54, 6),
];

/// What one of the pipelines below does to every packet.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Nothing,
    Translate,
    Label,
    Tag,
    TranslateAndLabel,
}

/// Routes to port 2 with a decremented TTL, or bridges IPv6 there, with an edit.
fn bench(edit: Edit) -> Bench {
    let mut bench = Bench::new();
    let key = [
        ("vrf", FieldMatch::Exact(0)),
        (
            "dst",
            FieldMatch::Lpm {
                value: 0x0a00_0000,
                prefix_len: 8,
            },
        ),
    ];
    bench.install("routes", &key, 0, "route", &[2, mac_bits(HOST_MAC)]);
    let dst = FieldMatch::Exact(mac_bits(ROUTER_MAC));
    bench.install("bridge", &[("dst", dst)], 0, "forward", &[2]);
    if let Edit::Translate | Edit::TranslateAndLabel = edit {
        for port in [80, 53] {
            for src in [0x0a00_0001, 0] {
                let key = [
                    ("src", FieldMatch::Exact(src)),
                    ("port", FieldMatch::Exact(port)),
                ];
                bench.install("nat", &key, 0, "translate", &[0xc633_6407, 61_000]);
            }
        }
    }
    let out = [
        ("port", FieldMatch::Exact(2)),
        ("instance", FieldMatch::Exact(0)),
    ];
    match edit {
        Edit::Label | Edit::TranslateAndLabel => bench.install("out", &out, 0, "label", &[77]),
        Edit::Tag => bench.install("out", &out, 0, "tag", &[100]),
        Edit::Nothing | Edit::Translate => bench.install("out", &out, 0, "pass", &[]),
    };
    bench
}

fn cut(packet: Packet) -> Vec<Packet> {
    let mut frames = Vec::new();
    segment::without_offloads(packet, true, &mut Pool::default(), &mut frames);
    frames
}

/// The customer's frame: a label without control word hides it from segmentation, as the fabric's never is.
fn unlabelled(mut packet: Packet, edit: Edit) -> Packet {
    if let Edit::Label | Edit::TranslateAndLabel = edit {
        assert_eq!(packet.head()[12..14], [0x88, 0x47]);
        packet.replace_front(18, 0).expect("there are 18 bytes");
    }
    packet
}

proptest! {
    #[test]
    fn editing_then_cutting_is_cutting_then_editing(
        (frame, gso_type, csum_start, csum_offset) in proptest::sample::select(&FLOWS[..]),
        edit in proptest::sample::select(
            &[Edit::Nothing, Edit::Translate, Edit::Label, Edit::Tag, Edit::TranslateAndLabel][..]
        ),
        payload in proptest::collection::vec(any::<u8>(), 1..6000),
        gso_size in 100_u16..1400,
    ) {
        let mut packet = Packet::from_bytes(&frame(ROUTER_MAC, &payload));
        packet.vnet = VnetHdr { flags: NEEDS_CSUM, gso_type, hdr_len: 0, gso_size, csum_start, csum_offset };
        segment::validate(&mut packet, true).unwrap();

        let mut whole = bench(edit);
        let edited = unlabelled(whole.forwarded(1, packet.clone()).1, edit);
        let first: Vec<_> = cut(edited).iter().map(Packet::to_vec).collect();

        let mut parts = bench(edit);
        let mut second = Vec::new();
        for segment in cut(packet) {
            second.push(unlabelled(parts.forwarded(1, segment).1, edit).to_vec());
        }
        prop_assert_eq!(first, second);

        // And the entries count the same.
        for name in ["routes", "bridge", "nat"] {
            let table = whole.datapath.state.program().schema().table_by_name(name).unwrap().id;
            let counts = |bench: &Bench| -> Vec<_> {
                let entries = bench.datapath.state.entries(table);
                entries.iter().map(|view| view.counter.unwrap().value()).collect()
            };
            prop_assert_eq!(counts(&whole), counts(&parts));
        }
    }

    #[test]
    fn the_parser_sees_the_fields_that_another_parser_sees(
        (frame, ..) in proptest::sample::select(&FLOWS[..]),
        at in 0_usize..54,
        value: u8,
        tagged: bool,
    ) {
        let mut bytes = frame(HOST_MAC, &[7; 40]);
        bytes[at] = value;
        if tagged {
            bytes.splice(12..12, [0x81, 0, value & 0x0f, 9]);
        }
        let Ok(sliced) = SlicedPacket::from_ethernet(&bytes) else {
            return Ok(());
        };
        let mut bench = Bench::new();
        let mut packet = Packet::from_bytes(&bytes);
        let datapath = &bench.datapath;
        let parsed = datapath.ingress(&mut bench.scratch, PortNo(1), &[], &mut packet, Nanos(0));
        if let Err(DropReason::PARSER_REJECT | DropReason::TRUNCATED) = parsed {
            // The other parser looks at lengths that this pipeline does not, and the other way round.
            return Ok(());
        }
        let read = |name: &str| field_value(&bench, name);
        if let Some(NetSlice::Ipv4(ip)) = &sliced.net {
            let header = ip.header();
            prop_assert_eq!(read("ipv4.src"), u128::from(u32::from(header.source_addr())));
            prop_assert_eq!(read("ipv4.dst"), u128::from(u32::from(header.destination_addr())));
            prop_assert_eq!(read("ipv4.ttl"), header.ttl().into());
            prop_assert_eq!(read("ipv4.ihl"), header.ihl().into());
            prop_assert_eq!(read("ipv4.proto"), header.protocol().0.into());
        }
        if let Some(NetSlice::Ipv6(ip)) = &sliced.net {
            prop_assert_eq!(read("ipv6.src"), u128::from(ip.header().source_addr()));
            prop_assert_eq!(read("ipv6.dst"), u128::from(ip.header().destination_addr()));
            prop_assert_eq!(read("ipv6.flow"), ip.header().flow_label().value().into());
        }
        // Fragments are the pipeline's business; this one reads on.
        match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) if read("ipv6.next") == 6 || read("ipv4.proto") == 6 => {
                prop_assert_eq!(read("tcp.src"), tcp.source_port().into());
                prop_assert_eq!(read("tcp.seq"), tcp.sequence_number().into());
                prop_assert_eq!(read("tcp.offset"), tcp.data_offset().into());
            }
            Some(TransportSlice::Udp(udp)) if read("ipv6.next") == 17 || read("ipv4.proto") == 17 => {
                prop_assert_eq!(read("udp.dst"), udp.destination_port().into());
                prop_assert_eq!(read("udp.length"), udp.length().into());
            }
            _ => {}
        }
    }
}

/// A field of the packet that was parsed last.
fn field_value(bench: &Bench, name: &str) -> u128 {
    let program = bench.datapath.state.program();
    program
        .field(name)
        .unwrap()
        .read(&bench.scratch.frame.arena)
}
