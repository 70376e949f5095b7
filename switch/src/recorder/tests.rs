//! Flows as an independent parser reads them; any bytes.

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn the_flow_is_that_which_was_built(
        source in any::<[u8; 4]>(),
        destination in any::<[u8; 4]>(),
        ports in any::<(u16, u16)>(),
        tcp in any::<bool>(),
        vlan in any::<bool>(),
        payload in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut frame = Vec::new();
        let ip = match vlan {
            true => builder
                .single_vlan(7.try_into().unwrap())
                .ipv4(source, destination, 64),
            false => builder.ipv4(source, destination, 64),
        };
        match tcp {
            true => ip.tcp(ports.0, ports.1, 1, 1).write(&mut frame, &payload).unwrap(),
            false => ip.udp(ports.0, ports.1).write(&mut frame, &payload).unwrap(),
        }
        let flow = FlowKey {
            source: Some(IpAddr::from(source)),
            destination: Some(IpAddr::from(destination)),
            ip_proto: Some(if tcp { 6 } else { 17 }),
            source_port: Some(ports.0),
            destination_port: Some(ports.1),
        };
        prop_assert_eq!(FlowKey::parse(&frame), flow);
        for len in 0..frame.len() {
            FlowKey::parse(&frame[..len]);
        }
    }

    #[test]
    fn any_bytes_have_a_flow_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        FlowKey::parse(&bytes);
    }
}

#[test]
fn ipv6_has_a_flow_too() {
    let (source, destination) = ([0x20; 16], [0x21; 16]);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(source, destination, 64)
        .udp(53, 54)
        .write(&mut frame, b"payload")
        .unwrap();
    let flow = FlowKey::parse(&frame);
    assert_eq!(flow.source, Some(IpAddr::from(source)));
    assert_eq!(flow.destination, Some(IpAddr::from(destination)));
    assert_eq!(
        (flow.source_port, flow.destination_port),
        (Some(53), Some(54))
    );
}

#[test]
fn a_later_fragment_has_no_ports() {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(53, 54)
        .write(&mut frame, b"payload")
        .unwrap();
    frame[21] = 1;
    let flow = FlowKey::parse(&frame);
    assert_eq!((flow.ip_proto, flow.source_port), (Some(17), None));
    let wanted = PathFilter {
        ip_proto: Some(17),
        ..PathFilter::default()
    };
    assert!(wanted.matches(&flow));
    let ports = PathFilter {
        destination_port: Some(54),
        ..wanted
    };
    assert!(!ports.matches(&flow));
}
