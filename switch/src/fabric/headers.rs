//! Headers, metadata, parser, deparser and checksums.
//!
//! The parser reads through a fabric header to the customer's frame, so that `eth`, `vlan`, `ipv4` and the rest are the
//! customer's headers everywhere in the fabric. Labels that are not followed by a zero control word are somebody
//! else's: nothing after them is parsed.

use super::build::{bits, cast, field, header, instance, number, shl, stack, sub};
use crate::ir::{
    Bits, Case, Checksum, Extract, HeaderType, Instance, Masked, MetaField, Parser, SelectKey,
    State,
};

/// Most labels in a frame: six of a path, the network's, and one to spare.
pub(super) const MAX_LABELS: u8 = 8;

// Two tags are parsed; the third element is room for a tag that a flow pushes.
const MAX_TAGS: u8 = 3;

/// EtherType of labelled frames (RFC 5332).
pub(super) const MPLS: u128 = 0x8847;
/// EtherType of labelled frames to an upstream-assigned label (RFC 5332).
pub(super) const MPLS_UPSTREAM: u128 = 0x8848;
pub(super) const IPV4: u128 = 0x0800;
pub(super) const IPV6: u128 = 0x86dd;
const ARP: u128 = 0x0806;
const VLAN: u128 = 0x8100;
const SERVICE_VLAN: u128 = 0x88a8;
const ICMP_PROTO: u128 = 1;
const TCP_PROTO: u128 = 6;
const UDP_PROTO: u128 = 17;

pub(super) fn types() -> Vec<HeaderType> {
    vec![
        header("ethernet", &[("dst", 48), ("src", 48), ("type", 16)], 0),
        header(
            "mpls",
            &[("label", 20), ("tc", 3), ("bos", 1), ("ttl", 8)],
            0,
        ),
        header("control_word", &[("word", 32)], 0),
        header(
            "vlan",
            &[("pcp", 3), ("dei", 1), ("vid", 12), ("type", 16)],
            0,
        ),
        header(
            "arp",
            &[
                ("hardware", 16),
                ("protocol", 16),
                ("hardware_size", 8),
                ("protocol_size", 8),
                ("op", 16),
                ("sha", 48),
                ("spa", 32),
                ("tha", 48),
                ("tpa", 32),
            ],
            0,
        ),
        header(
            "ipv4",
            &[
                ("version", 4),
                ("ihl", 4),
                ("dscp", 6),
                ("ecn", 2),
                ("total_length", 16),
                ("id", 16),
                ("flags", 3),
                ("fragment", 13),
                ("ttl", 8),
                ("proto", 8),
                ("checksum", 16),
                ("src", 32),
                ("dst", 32),
            ],
            40,
        ),
        header(
            "ipv6",
            &[
                ("version", 4),
                ("dscp", 6),
                ("ecn", 2),
                ("flow_label", 20),
                ("payload_length", 16),
                ("next_header", 8),
                ("hop_limit", 8),
                ("src", 128),
                ("dst", 128),
            ],
            0,
        ),
        header(
            "icmp",
            &[("type", 8), ("code", 8), ("checksum", 16), ("rest", 32)],
            0,
        ),
        header(
            "tcp",
            &[
                ("src", 16),
                ("dst", 16),
                ("seq", 32),
                ("ack", 32),
                ("data_offset", 4),
                ("flags", 12),
                ("window", 16),
                ("checksum", 16),
                ("urgent", 16),
            ],
            0,
        ),
        header(
            "udp",
            &[("src", 16), ("dst", 16), ("length", 16), ("checksum", 16)],
            0,
        ),
    ]
}

pub(super) fn instances() -> Vec<Instance> {
    vec![
        instance("fabric_eth", "ethernet"),
        stack("mpls", "mpls", MAX_LABELS),
        instance("cw", "control_word"),
        instance("eth", "ethernet"),
        stack("vlan", "vlan", MAX_TAGS),
        instance("arp", "arp"),
        instance("ipv4", "ipv4"),
        instance("ipv6", "ipv6"),
        instance("icmp", "icmp"),
        instance("tcp", "tcp"),
        instance("udp", "udp"),
    ]
}

pub(super) fn deparser() -> Vec<String> {
    instances()
        .into_iter()
        .map(|instance| instance.name)
        .collect()
}

pub(super) fn metadata() -> Vec<MetaField> {
    [
        // The customer's packet, as the flows and the hash see it.
        ("eth_type", 16),
        ("ip_proto", 8),
        ("ip_dscp", 6),
        ("l4_src", 16),
        ("l4_dst", 16),
        // Where it entered.
        ("port_kind", 2),
        ("vni", 24),
        ("gateway_mac", 48),
        ("packet_out_port", 32),
        // What was decided.
        ("to_all", 1),
        ("from_fabric", 1),
        ("routed", 1),
        ("resolve", 1),
        ("is_gateway", 1),
        ("flood", 1),
        ("next_ip", 32),
        ("next_mac", 48),
        ("node_label", 20),
        ("out_port", 32),
    ]
    .map(|(name, width): (&str, u16)| -> Bits { bits(name, width) })
    .into()
}

// === parser ===

const ACCEPT: &str = "accept";
const REJECT: &str = "reject";

pub(super) fn parser() -> Parser {
    Parser {
        start: "start".into(),
        states: vec![
            start(),
            branch("layer3", ahead(0, 4), &[(4, "ipv4"), (6, "ipv6")], REJECT),
            take("fabric_eth", leaf("fabric", "labels")),
            take(
                "mpls.next",
                branch("labels", key("mpls.last.bos"), &[(0, "labels")], "bottom"),
            ),
            branch("bottom", ahead(0, 32), &[(0, "inner")], ACCEPT),
            take("cw", leaf("inner", "eth")),
            take("eth", ether_type("eth", "eth.type", "tag")),
            take("vlan.next", ether_type("tag", "vlan.last.type", "tag2")),
            take("vlan.next", ether_type("tag2", "vlan.last.type", ACCEPT)),
            // Ethernet and IPv4, addresses of 6 and 4 bytes; no other kind is looked into.
            branch(
                "arp_kind",
                ahead(0, 48),
                &[(0x0001_0800_0604, "arp")],
                ACCEPT,
            ),
            take("arp", leaf("arp", ACCEPT)),
            ipv4(branch(
                "ipv4",
                key("ipv4.version"),
                &[(4, "ipv4_payload")],
                REJECT,
            )),
            ipv4_payload(),
            take(
                "ipv6",
                branch("ipv6", key("ipv6.version"), &[(6, "ipv6_payload")], REJECT),
            ),
            branch(
                "ipv6_payload",
                key("ipv6.next_header"),
                &[(TCP_PROTO, "tcp"), (UDP_PROTO, "udp")],
                ACCEPT,
            ),
            take("icmp", leaf("icmp", ACCEPT)),
            take("tcp", leaf("tcp", ACCEPT)),
            take("udp", leaf("udp", ACCEPT)),
        ],
    }
}

/// A packet from a layer-3 port begins with its IP header.
fn start() -> State {
    let any = Masked { value: 0, mask: 0 };
    let case = |values: [Masked; 2], next: &str| Case {
        values: values.into(),
        next: next.into(),
    };
    State {
        select: vec![key("std.l3"), ahead(96, 16)],
        cases: vec![
            case([exactly(1), any], "layer3"),
            case([any, exactly(MPLS)], "fabric"),
        ],
        ..leaf("start", "eth")
    }
}

fn ether_type(state: &str, field: &str, tag: &str) -> State {
    let cases = [
        (VLAN, tag),
        (SERVICE_VLAN, tag),
        (ARP, "arp_kind"),
        (IPV4, "ipv4"),
        (IPV6, "ipv6"),
    ];
    branch(state, key(field), &cases, ACCEPT)
}

/// Options are the variable part.
fn ipv4(state: State) -> State {
    // Less than 5 words wraps to more than the type's maximum, which is a reject.
    let option_words = sub(field("ipv4.ihl"), number(5, 4));
    State {
        extract: vec![Extract {
            instance: "ipv4".into(),
            var_length: Some(shl(cast(16, option_words), 2)),
        }],
        ..state
    }
}

/// Only a first fragment has a transport header.
fn ipv4_payload() -> State {
    let first = |proto: u128, next: &str| Case {
        values: vec![exactly(0), exactly(proto)],
        next: next.into(),
    };
    State {
        select: vec![key("ipv4.fragment"), key("ipv4.proto")],
        cases: vec![
            first(TCP_PROTO, "tcp"),
            first(UDP_PROTO, "udp"),
            first(ICMP_PROTO, "icmp"),
        ],
        ..leaf("ipv4_payload", ACCEPT)
    }
}

fn leaf(name: &str, next: &str) -> State {
    State {
        name: name.into(),
        extract: Vec::new(),
        select: Vec::new(),
        cases: Vec::new(),
        default: next.into(),
    }
}

fn branch(name: &str, select: SelectKey, cases: &[(u128, &str)], default: &str) -> State {
    State {
        select: vec![select],
        cases: cases
            .iter()
            .map(|(value, next)| Case {
                values: vec![exactly(*value)],
                next: (*next).into(),
            })
            .collect(),
        ..leaf(name, default)
    }
}

fn take(instance: &str, state: State) -> State {
    State {
        extract: vec![Extract {
            instance: instance.into(),
            var_length: None,
        }],
        ..state
    }
}

fn key(field: &str) -> SelectKey {
    SelectKey::Field(field.into())
}

fn ahead(offset: u16, bits: u16) -> SelectKey {
    SelectKey::Lookahead { offset, bits }
}

/// Bits of the mask beyond the key's width do not matter.
fn exactly(value: u128) -> Masked {
    Masked {
        value,
        mask: u128::MAX,
    }
}

// === checksums ===

pub(super) fn checksums() -> Vec<Checksum> {
    const IP: [&str; 6] = [
        "ipv4.proto",
        "ipv4.src",
        "ipv4.dst",
        "ipv6.next_header",
        "ipv6.src",
        "ipv6.dst",
    ];
    let covers = |instance: &str, fields: &[&str]| -> Vec<String> {
        fields
            .iter()
            .map(|field| format!("{instance}.{field}"))
            .collect()
    };
    let transport = |instance: &str, fields: &[&str]| Checksum {
        field: format!("{instance}.checksum"),
        covers: covers(instance, fields),
        pseudo: IP.map(String::from).into(),
        offloadable: true,
        zero_is_none: false,
    };
    let own = |instance: &str, fields: &[&str]| Checksum {
        pseudo: Vec::new(),
        offloadable: false,
        ..transport(instance, fields)
    };
    vec![
        own(
            "ipv4",
            &[
                "version",
                "ihl",
                "dscp",
                "ecn",
                "total_length",
                "id",
                "flags",
                "fragment",
                "ttl",
                "proto",
                "src",
                "dst",
            ],
        ),
        own("icmp", &["type", "code", "rest"]),
        transport(
            "tcp",
            &[
                "src",
                "dst",
                "seq",
                "ack",
                "data_offset",
                "flags",
                "window",
                "urgent",
            ],
        ),
        Checksum {
            zero_is_none: true,
            ..transport("udp", &["src", "dst", "length"])
        },
    ]
}
