//! Frames between two hosts, one for each transport and version of IP.

use etherparse::PacketBuilder;

/// An Ethernet frame with TCP over IPv4.
pub(crate) fn tcp4(dst: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], dst)
        .ipv4([10, 0, 0, 1], [10, 0, 1, 2], 64)
        .tcp(1234, 80, 1000, 512)
        .psh()
        .ack(7);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// An Ethernet frame with UDP over IPv4.
pub(crate) fn udp4(dst: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], dst)
        .ipv4([10, 0, 0, 1], [10, 0, 1, 2], 64)
        .udp(1234, 53);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// An Ethernet frame with TCP over IPv6.
pub(crate) fn tcp6(dst: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], dst)
        .ipv6([0x20; 16], [0x30; 16], 64)
        .tcp(1234, 80, 1000, 512)
        .ack(7);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// An Ethernet frame with UDP over IPv6.
pub(crate) fn udp6(dst: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], dst)
        .ipv6([0x20; 16], [0x30; 16], 64)
        .udp(1234, 53);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}
