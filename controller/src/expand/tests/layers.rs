//! Hosts with Ethernet and hosts without it.

use super::{addresses, mistake, model, topology};
use crate::model::PortKind;

#[test]
fn a_port_kind_is_what_was_declared_and_else_whatever_works() {
    let model = model(&topology(
        "s: { kind: switch }, a: { kind: host }, b: { kind: host, port: tun }, c: { kind: host, port: veth }, d: { kind: host, port: tap }",
        "",
    ));
    let kind = |host: &str| model.hosts[host].interfaces[0].port_kind;
    let kinds = ["a", "b", "c", "d"].map(kind);
    assert_eq!(
        kinds,
        [PortKind::Any, PortKind::Tun, PortKind::Veth, PortKind::Tap]
    );
}

#[test]
fn the_fabric_has_an_address_wherever_it_must_route() {
    let model = model(&topology(
        "s: { kind: switch }, a: { kind: host, ip: 10.1.0.2/24 }, b: { kind: host, port: tun, ip: 10.1.0.3/24 }",
        "",
    ));
    let subnet = &model.networks["default"].subnets[0];
    assert_eq!(
        subnet.gateways,
        ["10.1.0.1".parse::<std::net::IpAddr>().unwrap()]
    );
    for host in ["a", "b"] {
        assert_eq!(model.hosts[host].interfaces[0].gateways, subnet.gateways);
    }
}

#[test]
fn an_address_of_its_own_may_lie_in_a_neighbours_subnet() {
    let model = model(&topology(
        "s: { kind: switch }, a: { kind: host, port: tun, ip: [10.1.0.3/32, 10.9.0.1/32] }, b: { kind: host, ip: 10.1.0.2/24 }",
        "",
    ));
    assert_eq!(addresses(&model, "a"), ["10.1.0.3/32", "10.9.0.1/32"]);
    let subnets = model.networks["default"].subnets.iter();
    let prefixes: Vec<_> = subnets.map(|subnet| subnet.prefix.to_string()).collect();
    assert_eq!(prefixes, ["10.1.0.0/24", "10.9.0.1/32"]);
    let text = topology(
        "s: { kind: switch }, a: { kind: host, ip: 10.1.0.3/32 }, b: { kind: host, ip: 10.1.0.2/24 }",
        "",
    );
    assert!(mistake(&text).contains("overlaps"));
}

#[test]
fn its_gateway_is_the_fabric() {
    let text = topology(
        "s: { kind: switch }, a: { kind: host, port: tun, ip: 10.1.0.3/24, gateway: 10.1.0.2 }, r: { kind: router, ip: 10.1.0.2/24 }",
        "",
    );
    assert_eq!(
        mistake(&text),
        "`a` has no Ethernet (`port: tun`) to reach `r` by: its gateway is the fabric"
    );
}

#[test]
fn without_a_fabric_it_shares_no_switch_with_ethernet() {
    let file = |nodes: &str| format!("{}controller: {{ fabric: none }}\n", topology(nodes, ""));
    let mixed = "s: { kind: switch }, a: { kind: host, port: tun }, b: { kind: host }";
    assert_eq!(
        mistake(&file(mixed)),
        "`a` has no Ethernet (`port: tun`), port p2 of `s` has, and with `fabric: none` nothing routes between them"
    );
    let alike = "s: { kind: switch }, a: { kind: host, port: tun }, b: { kind: host, port: tun }";
    model(&file(alike));
}
