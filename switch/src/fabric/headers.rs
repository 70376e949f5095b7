//! Headers, metadata, parser, deparser and checksums.
//!
//! The parser reads through a fabric header to the customer's frame, so that `eth`, `vlan`, `ipv4` and the rest are the
//! customer's headers everywhere in the fabric. Labels that are not followed by a zero control word are somebody
//! else's: nothing after them is parsed.

use super::build::{bits, cast, field, header, instance, number, shl, stack, sub};
use super::groups;
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
pub(super) const ICMP_PROTO: u128 = 1;
const TCP_PROTO: u128 = 6;
const UDP_PROTO: u128 = 17;
pub(super) const ICMPV6_PROTO: u128 = 58;

/// Extension headers of IPv6 whose length is their second byte: hop-by-hop and destination options, routing
/// (RFC 8200 §4).
pub(super) const OPTION_PROTOS: [u128; 3] = [0, 43, 60];
/// The fragment header, which has no such byte.
pub(super) const FRAGMENT_PROTO: u128 = 44;
/// Extension headers that are read; nothing after them is.
pub(super) const MAX_EXTENSIONS: u8 = 8;
/// Bytes of an extension header after the first 8. Nothing after a longer one is read, and it is forwarded.
const MAX_EXTENSION_REST: u16 = 56;

pub(super) const NEIGHBOR_SOLICITATION: u128 = 135;
/// The option that says a link-layer address, of the source and of the target (RFC 4861 §4.6.1).
pub(super) const SOURCE_ADDRESS: u128 = 1;
pub(super) const TARGET_ADDRESS: u128 = 2;

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
        // Any extension header; `fragment` and `more` mean something in a fragment header only.
        header(
            "extension",
            &[
                ("next_header", 8),
                ("length", 8),
                ("fragment", 13),
                ("reserved", 2),
                ("more", 1),
                ("id", 32),
            ],
            MAX_EXTENSION_REST,
        ),
        header(
            "icmp",
            &[("type", 8), ("code", 8), ("checksum", 16), ("rest", 32)],
            0,
        ),
        header("nd", &[("target", 128)], 0),
        header("nd_option", &[("type", 8), ("length", 8), ("mac", 48)], 0),
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
        stack("ext", "extension", MAX_EXTENSIONS),
        instance("icmp", "icmp"),
        instance("icmpv6", "icmp"),
        instance("nd", "nd"),
        instance("nd_option", "nd_option"),
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
    let fields = [
        // The customer's packet, as the flows and the hash see it.
        ("eth_type", 16),
        ("ip_proto", 8),
        ("ip_dscp", 6),
        ("l4_src", 16),
        ("l4_dst", 16),
        ("fragment", 13),
        ("is_fragment", 1),
        // Where it entered.
        ("port_kind", 2),
        ("vni", 24),
        ("gateway_mac", 48),
        ("gateway_ip", 32),
        ("gateway_ip6", 128),
        ("packet_out_port", 32),
        // What was decided.
        ("to_all", 1),
        ("color", 2),
        ("from_fabric", 1),
        ("routed", 1),
        ("resolve", 1),
        ("is_gateway", 1),
        ("is_proxied", 1),
        ("flood", 1),
        ("next_ip", 32),
        ("next_ip6", 128),
        ("found", 1),
        ("mtu", 32),
        ("ip_length", 32),
        // The error message that the sender gets.
        ("icmp_error", 1),
        ("icmp_type", 8),
        ("icmp_code", 8),
        ("icmp_rest", 32),
        ("reply_to", 128),
        ("next_mac", 48),
        ("node_label", 20),
        ("out_port", 32),
    ]
    .map(|(name, width): (&str, u16)| -> Bits { bits(name, width) });
    fields.into_iter().chain(groups::metadata()).collect()
}

// === parser ===

const ACCEPT: &str = "accept";
const REJECT: &str = "reject";

pub(super) fn parser() -> Parser {
    let mut parser = Parser {
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
            ipv6_payload("ipv6_payload", "ipv6.next_header", 0),
            take("icmp", leaf("icmp", ACCEPT)),
            take(
                "icmpv6",
                branch(
                    "icmpv6",
                    key("icmpv6.type"),
                    &[(NEIGHBOR_SOLICITATION, "nd")],
                    ACCEPT,
                ),
            ),
            take(
                "nd",
                branch(
                    "nd",
                    ahead(0, 16),
                    &[(SOURCE_ADDRESS << 8 | 1, "nd_option")],
                    ACCEPT,
                ),
            ),
            take("nd_option", leaf("nd_option", ACCEPT)),
            take("tcp", leaf("tcp", ACCEPT)),
            take("udp", leaf("udp", ACCEPT)),
        ],
    };
    parser
        .states
        .extend((0..MAX_EXTENSIONS).flat_map(extension));
    parser
}

/// What follows an IPv6 header or `read` extension headers.
fn ipv6_payload(state: &str, next_header: &str, read: u8) -> State {
    let mut cases: Vec<(u128, String)> = [
        (TCP_PROTO, "tcp"),
        (UDP_PROTO, "udp"),
        (ICMPV6_PROTO, "icmpv6"),
    ]
    .map(|(proto, next)| (proto, next.to_owned()))
    .into();
    if read < MAX_EXTENSIONS {
        cases.extend(OPTION_PROTOS.map(|proto| (proto, format!("option{read}"))));
        cases.push((FRAGMENT_PROTO, format!("fragment{read}")));
    }
    let cases: Vec<_> = cases
        .iter()
        .map(|(proto, next)| (*proto, next.as_str()))
        .collect();
    branch(state, key(next_header), &cases, ACCEPT)
}

/// The states that read one extension header, and what follows it.
fn extension(index: u8) -> [State; 4] {
    let [option, options, fragment, next] =
        ["option", "options", "fragment", "next"].map(|name| format!("{name}{index}"));
    let extract = |var_length| {
        vec![Extract {
            instance: "ext.next".into(),
            var_length,
        }]
    };
    let length = Masked {
        value: 0,
        mask: !u128::from(MAX_EXTENSION_REST / 8),
    };
    [
        State {
            select: vec![ahead(8, 8)],
            cases: vec![Case {
                values: vec![length],
                next: options.clone(),
            }],
            ..leaf(&option, ACCEPT)
        },
        State {
            extract: extract(Some(shl(cast(16, field("ext.last.length")), 3))),
            ..leaf(&options, &next)
        },
        State {
            extract: extract(None),
            ..branch(&fragment, key("ext.last.fragment"), &[(0, &next)], ACCEPT)
        },
        ipv6_payload(&next, "ext.last.next_header", index + 1),
    ]
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

/// Covers the length of what it stands in front of, too: the switch makes such messages, and adds options to them.
fn icmpv6() -> Checksum {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Checksum {
        field: "icmpv6.checksum".into(),
        covers: names(&[
            "icmpv6.type",
            "icmpv6.code",
            "icmpv6.rest",
            "nd.target",
            "nd_option.type",
            "nd_option.length",
            "nd_option.mac",
        ]),
        pseudo: names(&[
            "ipv6.src",
            "ipv6.dst",
            "ipv6.payload_length",
            "ipv6.next_header",
        ]),
        offloadable: true,
        zero_is_none: false,
        payload: true,
    }
}

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
        payload: false,
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
        Checksum {
            payload: true,
            ..own("icmp", &["type", "code", "rest"])
        },
        icmpv6(),
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
