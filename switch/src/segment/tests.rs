use etherparse::{SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::testing::*;
use crate::vnet::GSO_ECN;

/// Bytes that differ everywhere, so that a segment in a wrong place is seen.
pub(super) fn payload(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 7 % 251) as u8 ^ (at / 251) as u8)
        .collect()
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Flow {
    Tcp4,
    Tcp6,
    Udp4,
    Udp6,
}

impl Flow {
    pub(super) const ALL: [Self; 4] = [Self::Tcp4, Self::Tcp6, Self::Udp4, Self::Udp6];

    fn frame(self, payload: &[u8]) -> Vec<u8> {
        match self {
            Self::Tcp4 => tcp4(HOST_MAC, payload),
            Self::Tcp6 => tcp6(HOST_MAC, payload),
            Self::Udp4 => udp4(HOST_MAC, payload),
            Self::Udp6 => udp6(HOST_MAC, payload),
        }
    }

    fn offload(self, gso_size: u16) -> VnetHdr {
        let (gso_type, csum_start, csum_offset) = match self {
            Self::Tcp4 => (GSO_TCPV4, 34, 16),
            Self::Tcp6 => (GSO_TCPV6, 54, 16),
            Self::Udp4 => (GSO_UDP_L4, 34, 6),
            Self::Udp6 => (GSO_UDP_L4, 54, 6),
        };
        VnetHdr {
            flags: NEEDS_CSUM,
            gso_type,
            hdr_len: 0,
            gso_size,
            csum_start,
            csum_offset,
        }
    }

    /// A super-packet; its partial checksum is left as it is, since segmentation computes its own.
    pub(super) fn super_packet(self, payload: &[u8], gso_size: u16) -> Packet {
        let mut packet = Packet::from_bytes(&self.frame(payload));
        packet.vnet = self.offload(gso_size);
        packet
    }
}

fn cut(mut packet: Packet, is_l2: bool) -> Vec<Packet> {
    validate(&mut packet, is_l2).unwrap();
    let mut pool = Pool::default();
    let mut out = Vec::new();
    without_offloads(packet, is_l2, &mut pool, &mut out);
    out
}

/// The transport payload, after every checksum and length was found right.
fn checked(frame: &[u8]) -> Vec<u8> {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let net = sliced.net.unwrap();
    if let Some(ipv4) = net.ipv4_ref() {
        let header = ipv4.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert_eq!(usize::from(header.total_len), frame.len() - 14);
        match sliced.transport.unwrap() {
            TransportSlice::Tcp(tcp) => {
                let right = tcp.calc_checksum_ipv4(header.source, header.destination);
                assert_eq!(tcp.checksum(), right.unwrap());
                tcp.payload().to_vec()
            }
            TransportSlice::Udp(udp) => {
                let parsed = udp.to_header();
                let right =
                    parsed.calc_checksum_ipv4_raw(header.source, header.destination, udp.payload());
                assert_eq!(udp.checksum(), right.unwrap());
                assert_eq!(usize::from(udp.length()), frame.len() - 34);
                udp.payload().to_vec()
            }
            other => panic!("{other:?}"),
        }
    } else {
        let header = net.ipv6_ref().unwrap().header().to_header();
        assert_eq!(usize::from(header.payload_length), frame.len() - 54);
        match sliced.transport.unwrap() {
            TransportSlice::Tcp(tcp) => {
                let right = tcp.calc_checksum_ipv6(header.source, header.destination);
                assert_eq!(tcp.checksum(), right.unwrap());
                tcp.payload().to_vec()
            }
            TransportSlice::Udp(udp) => {
                let parsed = udp.to_header();
                let right =
                    parsed.calc_checksum_ipv6_raw(header.source, header.destination, udp.payload());
                assert_eq!(udp.checksum(), right.unwrap());
                udp.payload().to_vec()
            }
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn segments_are_whole_frames_that_carry_the_payload(
        flow in proptest::sample::select(&Flow::ALL[..]),
        len in 1_usize..20_000,
        size in 50_u16..9000,
    ) {
        let payload = payload(len);
        let packet = flow.super_packet(&payload, size);
        let mut counted = packet.clone();
        validate(&mut counted, true).unwrap();
        let frames = cut(packet, true);
        prop_assert_eq!(frames.len(), counted.segments() as usize);
        let bytes: usize = frames.iter().map(Packet::len).sum();
        prop_assert_eq!(bytes as u64, counted.wire_bytes());
        let largest = frames.iter().map(Packet::len).max();
        prop_assert_eq!(largest, Some(counted.largest_segment()));
        let mut carried = Vec::new();
        for frame in &frames {
            prop_assert_eq!(frame.vnet, VnetHdr::default());
            carried.extend(checked(&frame.to_vec()));
        }
        prop_assert_eq!(carried, payload);
    }

    #[test]
    fn a_partial_checksum_is_finished_to_the_full_one(
        flow in proptest::sample::select(&Flow::ALL[..]),
        len in 0_usize..4000,
    ) {
        let frame = flow.frame(&payload(len));
        let vnet = VnetHdr { gso_type: GSO_NONE, gso_size: 0, ..flow.offload(0) };
        let mut partial = frame.clone();
        let transport = usize::from(vnet.csum_start);
        let addresses = if transport == 34 { 26..34 } else { 22..54 };
        let proto = if vnet.csum_offset == 16 { 6 } else { 17 };
        let pseudo = checksum::sum(&frame[addresses]) + proto + (frame.len() - transport) as u64;
        put16(&mut partial, vnet.csum_field(), checksum::fold(pseudo.into()));
        let mut packet = Packet::from_bytes(&partial);
        packet.vnet = vnet;
        let frames = cut(packet, true);
        prop_assert_eq!(frames.len(), 1);
        prop_assert_eq!(frames[0].to_vec(), frame);
    }

    #[test]
    fn any_offload_header_on_any_bytes_is_refused_or_carried_out(
        flow in proptest::sample::select(&Flow::ALL[..]),
        at in 0_usize..60,
        byte: u8,
        cut_to in 0_usize..400,
        header: [u8; 10],
        near: bool,
        is_l2: bool,
    ) {
        let mut frame = flow.frame(&payload(300));
        frame[at] = byte;
        frame.truncate(cut_to);
        let mut packet = Packet::from_bytes(&frame);
        packet.vnet = VnetHdr::parse(&header);
        if near {
            let VnetHdr { gso_type, csum_start, csum_offset, .. } = flow.offload(1);
            packet.vnet = VnetHdr { gso_type, csum_start, csum_offset, ..packet.vnet };
        }
        if validate(&mut packet, is_l2).is_ok() {
            let mut pool = Pool::default();
            let mut out = Vec::new();
            without_offloads(packet, is_l2, &mut pool, &mut out);
            prop_assert!(!out.is_empty());
        }
    }
}

#[test]
fn tcp_flags_and_sequence_numbers_belong_to_their_segments() {
    let mut packet = Flow::Tcp4.super_packet(&payload(250), 100);
    // CWR and FIN beside PSH and ACK.
    packet.head_mut()[47] |= 0x81;
    packet.vnet.gso_type |= GSO_ECN;
    let frames = cut(packet, true);
    let seen: Vec<_> = frames
        .iter()
        .map(|frame| {
            let head = frame.head();
            (get16(head, 18), get16(head, 40), head[47])
        })
        .collect();
    assert_eq!(seen, [(0, 1000, 0x90), (1, 1100, 0x10), (2, 1200, 0x19)]);
}

#[test]
fn tags_labels_and_pseudowires_are_kept_on_every_segment() {
    let inner = Flow::Tcp4.super_packet(&payload(250), 100);
    let tagged = [&inner.head()[..12], &[0x81, 0, 0, 5], &inner.head()[12..]].concat();
    let label = [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x47, 0, 1, 0, 64, 0x80, 0, 0x11, 64, 0, 0, 0, 0,
    ];
    let fabric = [&label[..], &tagged].concat();
    for (bytes, growth) in [(tagged, 4), (fabric, 30)] {
        let mut packet = Packet::from_bytes(&bytes);
        packet.vnet = VnetHdr {
            csum_start: 34 + growth,
            ..inner.vnet
        };
        let frames = cut(packet, true);
        assert_eq!(frames.len(), 3);
        let growth = usize::from(growth);
        let mut carried = Vec::new();
        for frame in frames {
            let bytes = frame.to_vec();
            assert!(bytes.len() > growth + 54);
            let mut plain = bytes[growth - 4..].to_vec();
            plain.drain(12..16);
            carried.extend(checked(&plain));
        }
        assert_eq!(carried, payload(250));
    }
}

#[test]
fn a_packet_without_ethernet_is_cut_as_well() {
    let l2 = Flow::Tcp6.super_packet(&payload(250), 100);
    let mut l3 = Packet::from_bytes(&l2.head()[14..]);
    l3.vnet = VnetHdr {
        csum_start: 40,
        ..l2.vnet
    };
    let frames = cut(l3, false);
    let expected = cut(l2, true);
    assert_eq!(frames.len(), 3);
    for (l3, l2) in frames.iter().zip(expected) {
        assert_eq!(l3.head(), &l2.head()[14..]);
    }
}

/// Each lie about a frame, and that it is seen.
#[test]
fn hostile_offload_headers_are_refused() {
    let honest = Flow::Tcp4.offload(100);
    let lies = [
        (
            "segments of no bytes",
            VnetHdr {
                gso_size: 0,
                ..honest
            },
        ),
        (
            "another protocol",
            VnetHdr {
                gso_type: GSO_UDP_L4,
                ..honest
            },
        ),
        (
            "another IP version",
            VnetHdr {
                gso_type: GSO_TCPV6,
                ..honest
            },
        ),
        (
            "an unknown type",
            VnetHdr {
                gso_type: 3,
                ..honest
            },
        ),
        (
            "a tunnel",
            VnetHdr {
                gso_type: GSO_TCPV4 | 0x20,
                ..honest
            },
        ),
        (
            "ECN of nothing",
            VnetHdr {
                gso_type: GSO_ECN,
                ..honest
            },
        ),
        ("a finished checksum", VnetHdr { flags: 0, ..honest }),
        (
            "a checksum elsewhere",
            VnetHdr {
                csum_start: 14,
                ..honest
            },
        ),
        (
            "a checksum field elsewhere",
            VnetHdr {
                csum_offset: 6,
                ..honest
            },
        ),
        (
            "a checksum beyond the end",
            VnetHdr {
                csum_start: 0xfff0,
                csum_offset: 0xfff0,
                ..honest
            },
        ),
    ];
    for (lie, vnet) in lies {
        let mut packet = Flow::Tcp4.super_packet(&payload(300), 100);
        packet.vnet = vnet;
        let refused = validate(&mut packet, true);
        assert_eq!(refused, Err(DropReason::BAD_OFFLOAD_HEADER), "{lie}");
    }
    let mut packet = Flow::Tcp4.super_packet(&[], 100);
    assert_eq!(
        validate(&mut packet, true),
        Err(DropReason::BAD_OFFLOAD_HEADER),
        "no payload"
    );
    // A header length is advice, and is put right.
    let mut packet = Flow::Tcp4.super_packet(&payload(300), 100);
    packet.vnet.hdr_len = 9999;
    assert_eq!(validate(&mut packet, true), Ok(()));
    assert_eq!(packet.vnet.hdr_len, 54);
}

/// Outer Ethernet, IPv4, UDP and VXLAN.
const VXLAN: usize = 50;

/// Puts a packet into a tunnel as a pipeline does: the lengths are those of the largest segment.
fn tunnelled(packet: &Packet, checksum: bool) -> Packet {
    let segment = packet.largest_segment();
    let inner = packet.to_vec();
    let outer = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(5555, 4789);
    let mut bytes = Vec::new();
    let payload = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &inner].concat();
    outer.write(&mut bytes, &payload[..8 + segment]).unwrap();
    bytes.extend(&payload[8 + segment..]);
    if !checksum {
        put16(&mut bytes, 40, 0);
    }
    let mut tunnelled = Packet::from_bytes(&bytes);
    tunnelled.vnet = packet.vnet;
    tunnelled.vnet.csum_start += VXLAN as u16;
    tunnelled
}

#[test]
fn segments_of_a_tunnelled_super_packet_are_whole_inside_and_outside() {
    for (flow, checksum) in Flow::ALL.into_iter().flat_map(|f| [(f, false), (f, true)]) {
        let data = payload(5000);
        let packet = flow.super_packet(&data, 1200);
        assert!(!is_tunnelled(&packet, true));
        let packet = tunnelled(&packet, checksum);
        assert!(is_tunnelled(&packet, true));
        let frames = cut(packet, true);
        assert_eq!(frames.len(), 5);
        let mut inner = Vec::new();
        for frame in &frames {
            let frame = frame.to_vec();
            let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
            let header = sliced.net.unwrap().ipv4_ref().unwrap().header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(usize::from(header.total_len), frame.len() - 14);
            let Some(TransportSlice::Udp(udp)) = sliced.transport else {
                panic!("{flow:?}: the outer header is gone");
            };
            assert_eq!(usize::from(udp.length()), frame.len() - 34);
            let right = udp
                .to_header()
                .calc_checksum_ipv4(&header, &frame[42..])
                .unwrap();
            assert_eq!(udp.checksum(), if checksum { right } else { 0 });
            inner.extend(checked(&frame[VXLAN..]));
        }
        assert_eq!(inner, data, "{flow:?}");
    }
}

#[test]
fn an_offload_header_that_means_no_header_in_the_tunnel_is_refused() {
    let good = tunnelled(&Flow::Tcp4.super_packet(&payload(5000), 1200), false);
    for wrong in [0, 34, 83, 85, 84 + 20, 1000, u16::MAX] {
        let mut packet = good.clone();
        packet.vnet.csum_start = wrong;
        let refused = validate(&mut packet, true);
        assert_eq!(refused, Err(DropReason::BAD_OFFLOAD_HEADER), "{wrong}");
    }
}
