use std::collections::BTreeSet;

use crate::load;
use crate::model::{Model, Peer};
use weft_proto::vocab::PortNo;

/// The model of a file that is right.
fn model(text: &str) -> Model {
    load::model(text.as_bytes(), "lab.yaml", None).unwrap()
}

/// The only mistake in a file.
fn mistake(text: &str) -> String {
    let errors = load::model(text.as_bytes(), "lab.yaml", None).unwrap_err();
    assert_eq!(errors.iter().count(), 1, "{errors}");
    errors.iter().next().unwrap().error.detail.clone()
}

fn topology(nodes: &str, links: &str) -> String {
    format!("topology:\n  nodes: {{ {nodes} }}\n  links: [ {links} ]\n")
}

fn addresses(model: &Model, host: &str) -> Vec<String> {
    model.hosts[host]
        .interfaces
        .iter()
        .flat_map(|i| &i.addresses)
        .map(ToString::to_string)
        .collect()
}

fn gateways(model: &Model, host: &str) -> Vec<String> {
    model.hosts[host]
        .interfaces
        .iter()
        .flat_map(|i| &i.gateways)
        .map(ToString::to_string)
        .collect()
}

fn link_names(model: &Model) -> Vec<&str> {
    model.links.keys().map(String::as_str).collect()
}

#[test]
fn the_example_topologies_expand() {
    for (name, switches, hosts, links) in [
        ("two-hosts", 1, 2, 2),
        ("leaf-spine", 6, 8, 16),
        ("manual-flows", 3, 2, 4),
        ("ring", 4, 4, 8),
        ("fat-tree-k4", 20, 16, 48),
        ("dual-stack-mesh", 7, 7, 18),
        ("two-labs", 2, 2, 3),
        ("user-programs", 2, 3, 4),
    ] {
        let path = format!("{}/../topologies/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let model = load::model(&std::fs::read(path).unwrap(), name, None).unwrap();
        assert_eq!(
            (model.switches.len(), model.hosts.len(), model.links.len()),
            (switches, hosts, links),
            "{name}"
        );
        assert!(model.warnings.is_empty());
        check_whole(&model);
    }
}

/// What holds for every model: ends meet, numbers and addresses are there once, everybody is attached.
fn check_whole(model: &Model) {
    let mut ends = 0;
    for switch in model.switches.values() {
        for (number, port) in &switch.ports {
            ends += 1;
            let link = &model.links[&port.link];
            let own = link.end(&switch.name, &port.name).unwrap();
            assert_eq!(own.port, Some(*number));
            match &port.peer {
                Peer::Switch {
                    switch: other,
                    port,
                } => {
                    let back = &model.switches[other].ports[port].peer;
                    assert_eq!(
                        *back,
                        Peer::Switch {
                            switch: switch.name.clone(),
                            port: *number
                        }
                    );
                }
                Peer::Host { host, interface } => {
                    ends += 1;
                    let interfaces = &model.hosts[host].interfaces;
                    let own = interfaces
                        .iter()
                        .find(|own| own.name == *interface)
                        .unwrap();
                    assert_eq!(
                        (own.attachment.switch.as_str(), own.attachment.port),
                        (switch.name.as_str(), *number)
                    );
                }
            }
        }
    }
    assert_eq!(ends, model.links.len() * 2);
    let interfaces = || model.hosts.values().flat_map(|host| &host.interfaces);
    assert!(model.hosts.values().all(|host| !host.interfaces.is_empty()));
    let macs: BTreeSet<_> = interfaces().map(|interface| interface.mac).collect();
    assert_eq!(macs.len(), interfaces().count());
    let given: Vec<_> = interfaces()
        .flat_map(|interface| &interface.addresses)
        .collect();
    assert_eq!(
        given
            .iter()
            .map(|net| net.addr())
            .collect::<BTreeSet<_>>()
            .len(),
        given.len()
    );
    let subnets = &model.networks[Model::DEFAULT_NETWORK].subnets;
    for net in given {
        assert_eq!(
            subnets
                .iter()
                .filter(|subnet| subnet.prefix == net.trunc())
                .count(),
            1
        );
    }
    for subnet in subnets {
        let overlaps = subnets
            .iter()
            .filter(|other| other.prefix.contains(&subnet.prefix))
            .count();
        assert_eq!(overlaps, 1);
        let is_taken = |gateway| {
            interfaces()
                .flat_map(|i| &i.addresses)
                .any(|net| net.addr() == gateway)
        };
        assert!(
            subnet
                .gateways
                .iter()
                .all(|gateway| subnet.prefix.contains(gateway) && !is_taken(*gateway))
        );
    }
}

proptest::proptest! {
    #[test]
    fn every_model_is_whole(
        switches in 1..6_usize,
        hosts in 0..12_usize,
        links in proptest::collection::vec((0..8_usize, 0..8_usize, 0..4_usize), 0..12),
        addresses in proptest::collection::vec(0..40_u8, 0..6),
        mesh in proptest::bool::ANY,
    ) {
        let mut text = format!("topology:\n  nodes:\n    s[1-{switches}]: {{ kind: switch }}\n");
        if hosts > 0 {
            text += &format!("    h[1-{hosts}]: {{ kind: host }}\n");
        }
        for (index, last) in addresses.iter().enumerate() {
            let (third, prefix) = (last % 3, 24 + last % 2);
            text += &format!("    x{index}: {{ kind: host, ip: 10.0.{third}.{}/{prefix} }}\n", last + 1);
        }
        text += "  links:\n";
        for (a, b, form) in links {
            text += &match form {
                0 => format!("    - {{ endpoints: ['s{a}', 's{b}'] }}\n"),
                1 => format!("    - {{ endpoints: ['s{a}:p{b}', 's{b}:west'] }}\n"),
                2 => format!("    - {{ endpoints: ['h{a}', 's{b}:p{a}'] }}\n"),
                _ => format!("    - {{ endpoints: ['h{a}:eth1', 's{b}'] }}\n"),
            };
        }
        if mesh {
            text += "    - { mesh: ['s*'] }\n";
        }
        // Many of these files are wrong; then they are refused.
        if let Ok(model) = load::model(text.as_bytes(), "lab.yaml", None) {
            check_whole(&model);
            assert_eq!(load::model(text.as_bytes(), "lab.yaml", None).unwrap(), model);
        }
    }
}

#[test]
fn ranges_in_links_pair_up() {
    let model = model(&topology(
        "'s[1-2]': { kind: switch }, 'h[1-4]': { kind: host }",
        "{ endpoints: ['h[1-2]:eth0', 's1:h[1-2]'] }, { endpoints: ['h[3-4]', s2] }, { name: trunk, endpoints: ['s1:up', 's2:up'] }",
    ));
    assert_eq!(
        link_names(&model),
        [
            "h1:eth0--s1:h1",
            "h2:eth0--s1:h2",
            "h3:eth0--s2:p1",
            "h4:eth0--s2:p2",
            "trunk"
        ]
    );
    assert_eq!(model.link("s2:up").unwrap().name, "trunk");
    let unequal = topology(
        "'s[1-3]': { kind: switch }, 'h[1-2]': { kind: host }",
        "{ endpoints: ['h[1-2]', 's[1-3]'] }",
    );
    assert_eq!(
        mistake(&unequal),
        "`h[1-2]` stands for 2 ends and `s[1-3]` for 3"
    );
}

#[test]
fn meshes_leave_out_pairs_that_are_linked() {
    let model = model(&topology(
        "'a[1-2]': { kind: switch }, 'b[1-2]': { kind: switch }",
        "{ endpoints: ['b1:p9', 'a1:p9'], metric: 5 }, { mesh: ['a*', 'b[1-2]'] }, { mesh: ['a[1-2]'] }",
    ));
    assert_eq!(
        link_names(&model),
        [
            "a1:p1--b2:p1",
            "a1:p2--a2:p3",
            "a2:p1--b1:p1",
            "a2:p2--b2:p2",
            "b1:p9--a1:p9"
        ]
    );
}

#[test]
fn ports_are_numbered_by_name_then_by_order() {
    let model = model(&topology(
        "s: { kind: switch }, 't[1-4]': { kind: switch }",
        "{ endpoints: ['s:west', 't1'] }, { endpoints: [s, t2] }, { endpoints: ['s:p1', t3] }, { endpoints: ['s:p7', t4] }",
    ));
    let ports: Vec<_> = model.switches["s"]
        .ports
        .iter()
        .map(|(no, port)| (no.0, port.name.as_str()))
        .collect();
    assert_eq!(ports, [(1, "p1"), (2, "west"), (3, "p3"), (7, "p7")]);
    assert_eq!(
        model.switches["s"].ports[&PortNo(3)].peer,
        Peer::Switch {
            switch: "t2".to_owned(),
            port: PortNo(1)
        }
    );
}

#[test]
fn hosts_without_a_link_are_attached_in_turn() {
    let model = model(&topology(
        "'s[1-2]': { kind: switch }, 'h[1-3]': { kind: host }, x: { kind: host, attach: 's2:lan' }",
        "",
    ));
    let at = |host: &str| model.hosts[host].interfaces[0].attachment.switch.clone();
    assert_eq!(
        [at("h1"), at("h2"), at("h3"), at("x")],
        ["s1", "s2", "s1", "s2"]
    );
    assert!(model.switches["s2"].port_by_name("lan").is_some());
}

#[test]
fn settings_are_taken_from_node_then_group_then_kind_then_defaults() {
    let model = model(
        "
topology:
  defaults: { mtu: 1100, labels: { from: defaults, a: '1' } }
  kinds: { host: { mtu: 1200, labels: { from: kind, b: '2' } } }
  groups: { g: { kind: host, mtu: 1300, labels: { from: group } } }
  nodes:
    s: { kind: switch, mtu: 9000 }
    one: { group: g, mtu: 1400, labels: { from: node } }
    two: { group: g }
    three: { kind: host }
",
    );
    let of = |host: &str| {
        (
            model.hosts[host].interfaces[0].mtu,
            model.hosts[host].labels["from"].as_str(),
        )
    };
    assert_eq!(
        [of("one"), of("two"), of("three")],
        [(1400, "node"), (1300, "group"), (1200, "kind")]
    );
    assert_eq!(model.hosts["one"].labels.len(), 3);
    assert_eq!(
        model.switches["s"]
            .ports
            .values()
            .map(|port| port.mtu)
            .collect::<Vec<_>>(),
        [1400, 1300, 1200]
    );
}

#[test]
fn addresses_are_given_from_a_subnet_that_nobody_declared() {
    let model = model(&topology(
        "s: { kind: switch }, a: { kind: host }, b: { kind: host, ip: 10.0.7.9/24 }, c: { kind: host }, d: { kind: host, ip: 10.0.7.1 }",
        "",
    ));
    assert_eq!(addresses(&model, "a"), ["10.1.0.1/16"]);
    assert_eq!(addresses(&model, "c"), ["10.1.0.2/16"]);
    assert_eq!(addresses(&model, "d"), ["10.0.7.1/24"]);
    assert_eq!(gateways(&model, "a"), ["10.1.255.254"]);
    assert_eq!(gateways(&model, "b"), ["10.0.7.254"]);
    let subnets: Vec<_> = model.networks["default"]
        .subnets
        .iter()
        .map(|subnet| subnet.prefix.to_string())
        .collect();
    assert_eq!(subnets, ["10.0.7.0/24", "10.1.0.0/16"]);
}

#[test]
fn one_subnet_needs_no_gateway_and_a_router_is_nobody_elses() {
    let alone = model(&topology(
        "s: { kind: switch }, 'h[1-300]': { kind: host }",
        "",
    ));
    assert_eq!(addresses(&alone, "h300"), ["10.0.1.46/16"]);
    assert!(
        gateways(&alone, "h1").is_empty()
            && alone.networks["default"].subnets[0].gateways.is_empty()
    );

    let routed = model(&topology(
        "s: { kind: switch }, r: { kind: router, ip: 10.0.0.1/24, interfaces: { eth1: { ip: 10.1.0.1/24 } } }, \
         a: { kind: host, ip: 10.0.0.2/24, gateway: 10.0.0.1 }, b: { kind: host, ip: 10.1.0.2/24, gateway: 10.1.0.254 }",
        "{ endpoints: ['r:eth0', 's:p1'] }, { endpoints: ['r:eth1', 's:p2'] }",
    ));
    assert_eq!(gateways(&routed, "a"), ["10.0.0.1"]);
    let fabric: Vec<_> = routed.networks["default"]
        .subnets
        .iter()
        .map(|subnet| subnet.gateways.len())
        .collect();
    assert_eq!(
        fabric,
        [1, 1],
        "the router itself has no gateway, so the fabric takes one for it"
    );
    assert_eq!(addresses(&routed, "r"), ["10.0.0.1/24", "10.1.0.1/24"]);
}

#[test]
fn each_ip_version_has_its_own_gateways() {
    let nodes = "a: { kind: host, ip: [10.0.1.1/24, '2001:db8:1::1/64'], gateway: ['2001:db8:1::fe', 10.0.1.254] },
      b: { kind: host, ip: ['2001:db8:2::9/64', 10.0.1.2/24] }, c: { kind: host, ip: '2001:db8:2::a/64' }, s: { kind: switch }";
    let model = model(&topology(nodes, ""));
    assert_eq!(gateways(&model, "a"), ["2001:db8:1::fe", "10.0.1.254"]);
    assert_eq!(gateways(&model, "b"), ["2001:db8:2::1", "10.0.1.254"]);
    assert_eq!(gateways(&model, "c"), ["2001:db8:2::1"]);
    assert_eq!(addresses(&model, "c"), ["2001:db8:2::a/64"]);
}

#[test]
fn macs_depend_on_lab_node_and_interface_and_nothing_else() {
    let one = model(&topology(
        "s: { kind: switch }, 'h[1-9]': { kind: host }",
        "",
    ));
    let other = load::model(
        topology("s: { kind: switch }, 'h[5-9]': { kind: host }", "").as_bytes(),
        "lab.yaml",
        None,
    );
    let mac = |model: &Model, host: &str| model.hosts[host].interfaces[0].mac;
    assert_eq!(mac(&one, "h7"), mac(&other.unwrap(), "h7"));
    assert_eq!(mac(&one, "h7").0[0] & 3, 2);
    let named = load::model(
        topology("s: { kind: switch }, h7: { kind: host }", "").as_bytes(),
        "lab.yaml",
        Some("two"),
    );
    assert_ne!(mac(&one, "h7"), mac(&named.unwrap(), "h7"));
}

#[test]
fn what_does_not_fit_is_refused() {
    let base = "s: { kind: switch }, t: { kind: switch }, a: { kind: host, ip: 10.0.0.1/24 }, b: { kind: host, ip: 10.0.0.2/24 }";
    for (nodes, links, expected) in [
        (
            "",
            "{ endpoints: [a, b] }",
            "`a` and `b` are hosts: put a switch between them",
        ),
        ("", "{ endpoints: [s, s] }", "the link joins `s` to itself"),
        ("", "{ endpoints: [s] }", "a link has two endpoints, not 1"),
        ("", "{ metric: 1 }", "a link wants `endpoints` or `mesh`"),
        (
            "",
            "{ endpoints: [s, t], metric: 0 }",
            "the metric 0 is out of range [1, 4294967295]",
        ),
        (
            "",
            "{ mesh: [core, t] }",
            "there is no node or group `core`",
        ),
        (
            "",
            "{ name: x, endpoints: [a, s] }, { name: x, endpoints: [b, s] }",
            "two links are called `x`",
        ),
        (
            "",
            "{ name: 'a b', endpoints: [a, s] }",
            "the link name `a b` contains ` `",
        ),
        (", s: { kind: host }", "", "the key `s` is there twice"),
        (
            ", 's[1-1]': { kind: switch }, s1: { kind: switch }",
            "",
            "the node `s1` is declared twice",
        ),
        (
            ", 'x/y': { kind: switch }",
            "",
            "the name `x/y` contains `/`, allowed are letters, digits, `.`, `_` and `-`",
        ),
        (
            ", c: { kind: host, ip: 10.0.0.3/16 }",
            "",
            "the subnet 10.0.0.0/16 overlaps 10.0.0.0/24 of `a`",
        ),
        (
            ", c: { kind: host, ip: 10.0.0.0/24 }",
            "",
            "10.0.0.0/24 is the address of the subnet, not of a host in it",
        ),
        (
            ", c: { kind: host, ip: 192.168.1.1 }",
            "",
            "`192.168.1.1` is in no declared subnet: say its prefix length, for example `192.168.1.1/24`",
        ),
        (
            ", c: { kind: host, ip: 10.0.0.3/24, gateway: 10.0.1.1 }",
            "",
            "the gateway 10.0.1.1 is in no subnet of `c`",
        ),
        (
            ", c: { kind: host, attach: u }",
            "",
            "there is no switch `u`",
        ),
        (", c: { group: nobody }", "", "there is no group `nobody`"),
        (
            ", c: { kind: switch, ip: 10.0.0.9/24 }",
            "",
            "`ip` is for hosts, `c` is a switch",
        ),
        (
            ", c: { kind: host, listen: [{ tcp: 1, body: x }] }",
            "",
            "`body` is for `http`",
        ),
        (
            ", c: { kind: host, listen: [{ tcp: 1, udp: 1 }] }",
            "",
            "exactly one of `tcp`, `udp`, `http` and `dns` is wanted",
        ),
        (
            ", c: { kind: host, listen: [{ udp: 53, reply: x }, { dns: 53, records: {} }] }",
            "",
            "two responders listen on port 53",
        ),
        (
            ", c: { kind: host, listen: [{ dns: 53 }] }",
            "",
            "a `dns` responder wants `records`, for example `{ web.example: 10.0.0.1 }`",
        ),
        (
            ", c: { kind: host, listen: [{ dns: 53, records: { a.b: 10.0.0.256 } }] }",
            "",
            "`10.0.0.256` is no DNS name, for example `web.example`",
        ),
        (
            ", c: { kind: host, listen: [{ dns: 53, records: { a.b: [c.d, 10.0.0.1] } }] }",
            "",
            "`a.b` stands for another name, so it has nothing else",
        ),
        (
            ", c: { kind: host, run: [{ cmd: [] }] }",
            "",
            "`cmd` names no program",
        ),
    ] {
        assert_eq!(
            mistake(&topology(&format!("{base}{nodes}"), links)),
            expected
        );
    }
}

#[test]
fn impairments_are_warned_of_and_give_latency_and_capacity() {
    let model = model(&topology(
        "s: { kind: switch }, t: { kind: switch }",
        "{ name: l, endpoints: [s, { node: t, impair: { delay: 4ms } }], impair: { delay: 1ms, rate: 1gbit } }",
    ));
    let link = &model.links["l"];
    assert_eq!(link.latency, Some(std::time::Duration::from_millis(4)));
    assert_eq!(link.capacity_bps, Some(1_000_000_000));
    assert_eq!(link.impair_a.delay.unwrap().to_string(), "1ms");
    assert_eq!(model.warnings.len(), 1);
}

mod layers;
mod probes;
