//! The packets that hosts would send. What traces say of them is tested where there are switches: in `northbound-api`.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use serde_json::json;

use super::packet::Probe;
use super::*;
use crate::compile::GATEWAY_MAC;
use crate::load;
use crate::spec::trace::{CauseKind, TraceRequest};

const LAB: &str = r#"
name: lab
topology:
  nodes:
    s1: { kind: switch }
    a: { kind: host, ip: [10.0.1.1/24, "fd00:1::1/64"], gateway: 10.0.1.254 }
    b: { kind: host, ip: 10.0.1.2/24, gateway: 10.0.1.254 }
    c: { kind: host, ip: [10.0.2.1/24, "fd00:1::3/64"], gateway: 10.0.2.254 }
  links:
    - endpoints: ["a:eth0", "s1:p1"]
    - endpoints: ["b:eth0", "s1:p2"]
    - endpoints: ["c:eth0", "s1:p3"]
"#;

fn lab() -> Model {
    load::model(LAB.as_bytes(), "lab.yaml", None).expect("the file is right")
}

fn ask(question: Value) -> Result<Probe, Unsent> {
    let request: TraceRequest = serde_json::from_value(question).unwrap();
    probe(&lab(), &request).unwrap()
}

fn mac(host: &str) -> [u8; 6] {
    lab().hosts[host].interfaces[0].mac.0
}

#[test]
fn next_hops_are_neighbours_or_the_gateway() {
    let near = ask(json!({ "from": "a", "to": "b", "packet": { "tcp_dst": 443, "ip_dscp": 18 } }));
    let near = near.unwrap();
    assert_eq!(near.target.as_deref(), Some("b"));
    assert_eq!((near.at.switch.as_str(), near.at.port), ("s1", PortNo(1)));
    assert_eq!(near.bytes[..6], mac("b"));
    assert_eq!(near.bytes[6..12], mac("a"));
    let packet = SlicedPacket::from_ethernet(&near.bytes).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &packet.net else {
        panic!("{packet:?}");
    };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!((header.dscp.value(), header.time_to_live), (18, 64));
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
        panic!("{packet:?}");
    };
    assert!(tcp.syn() && tcp.payload().is_empty());
    assert_eq!(tcp.destination_port(), 443);

    let far = ask(json!({ "from": "b", "to": "c" })).unwrap();
    assert_eq!(far.bytes[..6], GATEWAY_MAC.0);
    assert_eq!(far.target.as_deref(), Some("c"));

    let all = ask(json!({ "from": "a", "to": "224.0.0.251", "packet": { "ip_proto": "udp" } }));
    assert_eq!(all.unwrap().bytes[..6], [0x01, 0x00, 0x5e, 0, 0, 251]);

    let nobody = ask(json!({ "from": "a", "to": "10.0.1.77" })).unwrap_err();
    assert_eq!((nobody.host.as_str(), nobody.reason), ("a", "no-neighbor"));
    let told =
        json!({ "from": "a", "to": "10.0.1.77", "packet": { "eth_dst": "02:00:00:00:00:77" } });
    assert_eq!(ask(told).unwrap().bytes[..6], [2, 0, 0, 0, 0, 0x77]);
}

#[test]
fn families_follow_from_the_ends() {
    let six = ask(json!({ "from": "a", "to": "fd00:1::3" })).unwrap();
    assert_eq!(six.target.as_deref(), Some("c"));
    let packet = SlicedPacket::from_ethernet(&six.bytes).unwrap();
    assert!(
        matches!(packet.transport, Some(TransportSlice::Icmpv6(_))),
        "{packet:?}"
    );
    // `c` has both, `b` speaks IPv4 only.
    let four = ask(json!({ "from": "b", "to": "c", "packet": { "ip_proto": 47, "length": 8 } }));
    let four = four.unwrap();
    assert_eq!(four.bytes.len(), 14 + 20 + 8);
    assert_eq!(four.bytes[23], 47);
}

#[test]
fn parts_are_found_in_the_file() {
    let lab = lab();
    let at = |part, detail: Option<&str>| {
        let cause = cause::of_part(&lab, part, detail.map(str::to_owned));
        assert_eq!(cause.detail.as_deref(), detail);
        assert_eq!(cause.file.is_some(), cause.line.is_some());
        assert!(cause.file.is_none_or(|file| file == "lab.yaml"));
        (cause.kind, cause.name, cause.line)
    };
    let line = |text: &str| LAB.lines().position(|line| line.contains(text)).unwrap() + 1;
    let node = |name: &str| Part::Node(name.to_owned());
    let expected = (CauseKind::Node, "b".to_owned(), Some(line("b: {")));
    assert_eq!(at(node("b"), Some("route to host b")), expected);
    let expected = (CauseKind::Node, "s1".to_owned(), Some(line("s1: {")));
    assert_eq!(at(node("s1"), None), expected);
    let link = lab.hosts["b"].interfaces[0].attachment.port;
    let link = lab.switches["s1"].ports[&link].link.clone();
    let expected = (CauseKind::Link, link.clone(), Some(line("b:eth0")));
    assert_eq!(at(Part::Link(link), None), expected);
    // A subnet is where its first host is.
    let subnet = Part::Subnet("default".to_owned(), "10.0.2.0/24".parse().unwrap());
    let expected = (
        CauseKind::Subnet,
        "10.0.2.0/24".to_owned(),
        Some(line("c: {")),
    );
    assert_eq!(at(subnet, None), expected);
    let network = Part::Network("default".to_owned());
    assert_eq!(
        at(network, None),
        (CauseKind::Network, "default".to_owned(), None)
    );
}
