//! An answer that says `realized` is true of packets.

use std::time::Duration;

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice, VlanSlice};
use serde_json::{Value, json};
use weft_switch::port::MemoryPort;

use super::lab::Lab;

/// Long enough for a packet that comes.
const SOON: Duration = Duration::from_secs(5);
/// Long enough for one that should not have come.
const BRIEF: Duration = Duration::from_millis(50);

async fn put(lab: &Lab, switch: &str, name: &str, matched: Value, actions: Value) {
    let path = format!("/v1/switches/{switch}/flows/{name}");
    let flow = json!({ "priority": 10, "match": matched, "actions": actions });
    let stored = lab
        .put_with(&path, &[("prefer", "wait=10")], flow)
        .await
        .is(201);
    assert_eq!(stored["status"]["phase"], "realized", "{stored:#}");
}

fn tcp_frame(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 9, 0, 1], [10, 9, 0, 2], 64)
        .tcp(40000, 443, 7, 1000);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

fn receive(port: &MemoryPort) -> Vec<u8> {
    port.receive(SOON).expect("the frame came")
}

/// A frame whose checksums are right, in parts.
fn checked(frame: &[u8]) -> SlicedPacket<'_> {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else {
        panic!("not IPv4: {packet:?}");
    };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
        panic!("not TCP: {packet:?}");
    };
    let sum = tcp
        .to_header()
        .calc_checksum_ipv4(&header, tcp.payload())
        .unwrap();
    assert_eq!(tcp.checksum(), sum);
    packet
}

#[tokio::test]
async fn packets_follow_a_flow_from_its_answer_to_its_deletion() {
    let lab = Lab::up().await;
    let (left, mid) = (lab.attach("s1"), lab.attach("s2"));
    left.send(&tcp_frame(b"early"));
    assert_eq!(mid.receive(BRIEF), None);

    put(
        &lab,
        "s1",
        "out",
        json!({ "in_port": "host", "tcp_dst": 443 }),
        json!([{ "output": "east" }]),
    )
    .await;
    put(
        &lab,
        "s2",
        "in",
        json!({ "in_port": "west" }),
        json!([{ "output": "host" }]),
    )
    .await;
    let frame = tcp_frame(b"hello");
    left.send(&frame);
    assert_eq!(receive(&mid), frame);
    let counted = lab.get("/v1/switches/s1/flows/out").await.is(200);
    assert_eq!(counted["status"]["packets"], 1);
    assert_eq!(counted["status"]["bytes"], frame.len());
    let port = lab.get("/v1/switches/s2/ports/host").await.is(200);
    assert_eq!(port["counters"]["txPackets"], 1);

    assert_eq!(
        lab.delete("/v1/switches/s1/flows/out", &[("prefer", "wait=10")])
            .await
            .status,
        204
    );
    left.send(&frame);
    assert_eq!(mid.receive(BRIEF), None);
}

#[tokio::test]
async fn several_outputs_get_a_copy_each_and_the_way_in_gets_none() {
    let lab = Lab::up().await;
    let (left, mid, right) = (lab.attach("s1"), lab.attach("s2"), lab.attach("s3"));
    put(
        &lab,
        "s1",
        "in",
        json!({ "in_port": "host" }),
        json!([{ "output": "east" }]),
    )
    .await;
    put(
        &lab,
        "s1",
        "back",
        json!({ "in_port": "east" }),
        json!([{ "output": "host" }]),
    )
    .await;
    put(
        &lab,
        "s2",
        "fan",
        json!({}),
        json!([{ "output": ["west", "east", "host"] }]),
    )
    .await;
    put(
        &lab,
        "s3",
        "out",
        json!({ "in_port": "west" }),
        json!([{ "output": "host" }]),
    )
    .await;
    let frame = tcp_frame(b"to all");
    left.send(&frame);
    assert_eq!(
        (receive(&mid), receive(&right)),
        (frame.clone(), frame.clone())
    );
    assert_eq!(left.receive(BRIEF), None);
    mid.send(&frame);
    assert_eq!((receive(&left), receive(&right)), (frame.clone(), frame));
    assert_eq!(mid.receive(BRIEF), None);
}

#[tokio::test]
async fn fields_are_set_tags_come_and_go_and_checksums_stay_right() {
    let lab = Lab::up().await;
    let (left, mid, right) = (lab.attach("s1"), lab.attach("s2"), lab.attach("s3"));
    let changes = json!([
        { "set": { "ipv4_dst": "10.20.0.9", "tcp_dst": 8443, "ip_dscp": 46, "eth_dst": "02:00:00:00:00:99" } },
        { "decTtl": true },
        { "pushVlan": 100 },
        { "output": "east" }
    ]);
    put(
        &lab,
        "s1",
        "change",
        json!({ "tcp_dst": 443, "ipv4_dst": "10.9.0.0/16" }),
        changes,
    )
    .await;
    put(
        &lab,
        "s2",
        "tap",
        json!({ "vlan_vid": 100 }),
        json!([{ "set": { "vlan_vid": 7 } }, { "output": ["east", "host"] }]),
    )
    .await;
    put(
        &lab,
        "s3",
        "untag",
        json!({ "vlan_vid": 7 }),
        json!([{ "popVlan": true }, { "output": "host" }]),
    )
    .await;
    left.send(&tcp_frame(b"hello"));

    let tagged = receive(&mid);
    let packet = checked(&tagged);
    let Some(VlanSlice::SingleVlan(tag)) = packet.vlan() else {
        panic!("one tag: {packet:?}");
    };
    assert_eq!(tag.vlan_identifier().value(), 7);

    let plain = receive(&right);
    assert_eq!(plain.len() + 4, tagged.len());
    let packet = checked(&plain);
    assert_eq!(plain[..6], [2, 0, 0, 0, 0, 0x99]);
    let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else {
        panic!("not IPv4: {packet:?}");
    };
    let header = ip.header();
    assert_eq!(header.destination(), [10, 20, 0, 9]);
    assert_eq!((header.ttl(), header.dcp().value()), (63, 46));
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
        panic!("not TCP: {packet:?}");
    };
    assert_eq!(
        (tcp.destination_port(), tcp.payload()),
        (8443, &b"hello"[..])
    );
}
