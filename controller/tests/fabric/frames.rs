//! Frames as hosts send them, made and checked by code that shares nothing with the switch.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use weft_proto::vocab::MacAddr;

pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

/// Both ends of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub src_mac: MacAddr,
    pub dst_mac: MacAddr,
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub ttl: u8,
}

/// Both ends of an IPv6 packet.
#[derive(Clone, Copy, Debug)]
pub struct Ends6 {
    pub src_mac: MacAddr,
    pub dst_mac: MacAddr,
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    pub hop_limit: u8,
}

fn ipv6(ends: Ends6) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(ends.src_mac.0, ends.dst_mac.0).ipv6(
        ends.src.octets(),
        ends.dst.octets(),
        ends.hop_limit,
    )
}

pub fn udp6(ends: Ends6, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = ipv6(ends).udp(ports.0, ports.1);
    builder.write(&mut frame, payload).unwrap();
    frame
}

pub fn tcp6(ends: Ends6, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = ipv6(ends).tcp(ports.0, ports.1, 1000, 64_000);
    builder.write(&mut frame, payload).unwrap();
    frame
}

pub fn icmp6(ends: Ends6, kind: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = ipv6(ends).icmpv6_raw(kind, 0, rest);
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// Puts extension headers, each a number and a size, between an IPv6 header and what followed it. Zeros are padding
/// (RFC 8200 §4.2).
pub fn extend(frame: &[u8], kinds: &[(u8, usize)]) -> Vec<u8> {
    let mut headers = Vec::new();
    for (index, (_, size)) in kinds.iter().enumerate() {
        let next = kinds.get(index + 1).map_or(frame[20], |(kind, _)| *kind);
        let mut header = vec![0; *size];
        header[0] = next;
        if kinds[index].0 == 44 {
            header[4..8].copy_from_slice(&[0, 0, 0, 9]);
        } else {
            header[1] = u8::try_from(size / 8 - 1).unwrap();
        }
        headers.extend(header);
    }
    let mut extended = [&frame[..54], &headers, &frame[54..]].concat();
    extended[20] = kinds.first().map_or(frame[20], |(kind, _)| *kind);
    let length = u16::try_from(extended.len() - 54).unwrap();
    extended[18..20].copy_from_slice(&length.to_be_bytes());
    extended
}

pub fn udp(ends: Ends, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(ends.src_mac.0, ends.dst_mac.0)
        .ipv4(ends.src.octets(), ends.dst.octets(), ends.ttl)
        .udp(ports.0, ports.1);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// Takes the builder's "don't fragment" away.
pub fn may_fragment(mut frame: Vec<u8>) -> Vec<u8> {
    frame[20] &= !0x40;
    frame[24..26].fill(0);
    let checksum = !sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame
}

pub fn tcp(ends: Ends, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(ends.src_mac.0, ends.dst_mac.0)
        .ipv4(ends.src.octets(), ends.dst.octets(), ends.ttl)
        .tcp(ports.0, ports.1, 1000, 64_000);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

pub fn echo_request(ends: Ends, seq: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(ends.src_mac.0, ends.dst_mac.0)
        .ipv4(ends.src.octets(), ends.dst.octets(), ends.ttl)
        .icmpv4_echo_request(7, seq);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"are you there?").unwrap();
    frame
}

/// An ARP packet over IPv4 and Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    pub eth_dst: MacAddr,
    pub eth_src: MacAddr,
    pub op: u16,
    pub sha: MacAddr,
    pub spa: Ipv4Addr,
    pub tha: MacAddr,
    pub tpa: Ipv4Addr,
}

impl Arp {
    pub fn request(sha: MacAddr, spa: Ipv4Addr, tpa: Ipv4Addr) -> Self {
        Self {
            eth_dst: BROADCAST,
            eth_src: sha,
            op: 1,
            sha,
            spa,
            tha: MacAddr([0; 6]),
            tpa,
        }
    }

    pub fn to_bytes(self) -> Vec<u8> {
        [
            &self.eth_dst.0[..],
            &self.eth_src.0,
            &[0x08, 0x06, 0, 1, 0x08, 0, 6, 4],
            &self.op.to_be_bytes(),
            &self.sha.0,
            &self.spa.octets(),
            &self.tha.0,
            &self.tpa.octets(),
        ]
        .concat()
    }

    pub fn parse(frame: &[u8]) -> Option<Self> {
        let mac = |at: usize| Some(MacAddr(frame.get(at..at + 6)?.try_into().ok()?));
        let ip = |at: usize| -> Option<Ipv4Addr> {
            let octets: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
            Some(octets.into())
        };
        if frame.get(12..20)? != [0x08, 0x06, 0, 1, 0x08, 0, 6, 4] {
            return None;
        }
        Some(Self {
            eth_dst: mac(0)?,
            eth_src: mac(6)?,
            op: u16::from_be_bytes(frame.get(20..22)?.try_into().ok()?),
            sha: mac(22)?,
            spa: ip(28)?,
            tha: mac(32)?,
            tpa: ip(38)?,
        })
    }
}

/// Asserts that the checksum of an untagged IPv6 frame's UDP, TCP or ICMPv6 is right.
#[track_caller]
pub fn check_sums6(frame: &[u8]) {
    let packet = &frame[14..];
    assert_eq!(packet[0] >> 4, 6);
    let length = u16::from_be_bytes([packet[4], packet[5]]);
    let payload = &packet[40..40 + usize::from(length)];
    let covered = [
        &packet[8..40],
        &length.to_be_bytes(),
        &[0, packet[6]],
        payload,
    ]
    .concat();
    assert_eq!(sum(&covered), 0xffff, "transport checksum");
}

/// Asserts that an untagged IPv4 frame's checksums are right: header, and UDP, TCP or ICMP.
#[track_caller]
pub fn check_sums(frame: &[u8]) {
    let packet = &frame[14..];
    let header = usize::from(packet[0] & 15) * 4;
    assert_eq!(sum(&packet[..header]), 0xffff, "IPv4 header checksum");
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let payload = &packet[header..total];
    let mut pseudo = packet[12..20].to_vec();
    let length = u16::try_from(payload.len()).unwrap();
    pseudo.extend_from_slice(&[0, packet[9]]);
    pseudo.extend_from_slice(&length.to_be_bytes());
    let covered = match packet[9] {
        1 => payload.to_vec(),
        6 | 17 => [&pseudo[..], payload].concat(),
        _ => return,
    };
    assert_eq!(sum(&covered), 0xffff, "transport checksum");
}

fn sum(bytes: &[u8]) -> u16 {
    let mut total: u32 = 0;
    for pair in bytes.chunks(2) {
        total += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap()
}
