//! Frames through the built-in pipeline: at a host's port, at one without Ethernet, at a link, and from the controller.

use std::cell::RefCell;

use etherparse::PacketBuilder;
use weft_switch::datapath::{Emit, Nanos, Scratch};
use weft_switch::packet::Packet;

use crate::fabric::edge;

/// Most bytes that a frame may be longer than what came: labels, a tag and an inner Ethernet header, or an ICMP error.
const GROWTH: usize = 576;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The first byte chooses the port; the rest is the frame.
pub fn run(data: &[u8]) {
    let Some((first, frame)) = data.split_first() else {
        return;
    };
    send(*first, Packet::from_bytes(frame));
}

/// Sends a packet and looks at what comes of it.
pub(crate) fn send(port: u8, packet: Packet) -> Vec<Emit> {
    let edge = edge();
    let len = packet.len();
    let port = edge.ports[usize::from(port) % edge.ports.len()];
    let mut out = Vec::new();
    SCRATCH.with_borrow_mut(|scratch| {
        edge.datapath
            .process(scratch, port, packet, Nanos(1), &mut out);
    });
    assert!(!out.is_empty(), "a frame vanished without a word");
    for emit in &out {
        match emit {
            Emit::Port { port, packet } => {
                assert!(
                    edge.ports.contains(port),
                    "left by {port}, which is not there"
                );
                assert!(
                    packet.len() <= len + GROWTH,
                    "{} of {len} bytes",
                    packet.len()
                );
            }
            Emit::PacketIn { packet, .. } => assert!(packet.len() <= len + GROWTH),
            Emit::Dropped { reason } => {
                assert!(!edge.program.drop_name(*reason).is_empty());
            }
        }
    }
    out
}

/// Frames of every kind that the pipeline knows.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (port, frame) in (0u8..).zip(kinds()).chain((3u8..).zip(kinds())) {
        seeds.push([vec![port % 5], frame].concat());
    }
    seeds
}

/// An ARP request, then packets between hosts of the lab, bridged and routed, some of them tagged or labelled.
pub(crate) fn kinds() -> Vec<Vec<u8>> {
    let edge = edge();
    let mac = |host: &str| edge.model.hosts[host].interfaces[0].mac.0;
    let gateway = weft_controller::compile::GATEWAY_MAC.0;
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        write(&mut frame);
        frame
    };
    let (a, b) = (mac("a"), mac("b"));
    let six = |net: u8, host: u8| {
        let mut address = [0; 16];
        address[..6].copy_from_slice(&[0x20, 1, 0x0d, 0xb8, 0, net]);
        address[15] = host;
        address
    };
    let v4 = |to| PacketBuilder::ethernet2(a, to);
    let arp = [
        &[0xff; 6][..],
        &a,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &a,
        &[10, 0, 1, 1, 0, 0, 0, 0, 0, 0, 10, 0, 1, 254],
    ]
    .concat();
    let udp = written(&|frame| {
        let builder = v4(b).ipv4([10, 0, 1, 1], [10, 0, 1, 2], 64).udp(9, 9);
        let _ = builder.write(frame, b"bridged");
    });
    let tagged = [&udp[..12], &[0x81, 0, 0, 5], &udp[12..]].concat();
    let labelled = [
        &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0x47][..],
        &[0, 1, 0, 64, 0, 1, 1, 64, 0, 0, 0, 0],
        &udp,
    ]
    .concat();
    let routed = |ttl: u8, len: usize| {
        written(&|frame| {
            let builder = v4(gateway).ipv4([10, 0, 1, 1], [10, 0, 2, 2], ttl);
            let _ = builder.tcp(1, 9, 2, 3).write(frame, &vec![7; len]);
        })
    };
    let routed6 = |hops: u8, len: usize| {
        written(&|frame| {
            let builder = v4(gateway).ipv6(six(1, 1), six(2, 2), hops);
            let _ = builder.udp(1, 53).write(frame, &vec![7; len]);
        })
    };
    let solicit = written(&|frame| {
        let builder = v4([0x33, 0x33, 0xff, 0, 0, 0xfe]).ipv6(six(1, 1), six(1, 0xfe), 255);
        let body = [&[0; 4][..], &six(1, 0xfe), &[1, 1], &a].concat();
        let _ = builder.icmpv6_raw(135, 0, [0; 4]).write(frame, &body[4..]);
    });
    let echo = written(&|frame| {
        let builder = v4(gateway).ipv4([10, 0, 1, 1], [10, 0, 1, 254], 64);
        let _ = builder.icmpv4_echo_request(1, 2).write(frame, b"ping");
    });
    let bare = routed(64, 10)[14..].to_vec();
    vec![
        arp,
        udp,
        tagged,
        labelled,
        routed(64, 10),
        routed(1, 10),
        routed(64, 1400),
        routed6(64, 10),
        routed6(1, 10),
        routed6(64, 1400),
        solicit,
        echo,
        bare,
        routed6(9, 0)[14..].to_vec(),
    ]
}
