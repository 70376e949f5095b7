//! ICMP of the router: answers to ping, and what it tells the sender of a packet that it cannot forward
//! (RFC 792, RFC 1812 §4.3, RFC 1191; RFC 4443).
//!
//! A stage that gives up on a packet drops it under a reason and notes what its sender should hear; [`send_error`]
//! comes after all of them. Errors are about packets that may be answered only: not about errors, fragments other than
//! the first, or senders that cannot be one host. They are rate limited for each port, and come from the gateway's address
//! in the sender's subnet.

use super::build::{
    add, all, any, cast, copy, drop, either, eq, field, is_zero, le, lt, ne, not, not_zero, number,
    set, shr, valid, when,
};
use super::headers;
use crate::ir::{Expr, Op};

const REPLY_TTL: u128 = 64;
/// Internetwork control (RFC 1812 §4.3.2.5).
const REPLY_DSCP: u128 = 48;
const DONT_FRAGMENT: u128 = 0b010;
const IPV4_HEADER: u128 = 20;
const IPV6_HEADER: u128 = 40;
const ICMP_HEADER: u128 = 8;
/// What everybody can receive: an error is 576 bytes at most over IPv4 (RFC 1812 §4.3.2.3), 1280 over IPv6.
const QUOTE: u16 = 576 - 20 - 8;
const QUOTE6: u16 = 1280 - 40 - 8;

/// What is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Code {
    NetworkUnreachable,
    HostUnreachable,
    PortUnreachable,
    TimeExceeded,
    /// Larger than `meta.mtu`.
    TooBig,
}

impl Code {
    /// Type and code in ICMP and in ICMPv6.
    fn numbers(self) -> [(u128, u128); 2] {
        match self {
            Self::NetworkUnreachable => [(3, 0), (1, 0)],
            Self::HostUnreachable => [(3, 1), (1, 3)],
            Self::PortUnreachable => [(3, 3), (1, 4)],
            Self::TimeExceeded => [(11, 0), (3, 0)],
            Self::TooBig => [(3, 4), (2, 0)],
        }
    }

    /// Drops a packet for a reason, and notes that its sender should hear of it.
    pub(super) fn refuse(self, reason: &str) -> Vec<Op> {
        let note = |(kind, code): (u128, u128)| {
            vec![
                set("meta.icmp_type", number(kind, 8)),
                set("meta.icmp_code", number(code, 8)),
            ]
        };
        let [v4, v6] = self.numbers().map(note);
        let mut ops = vec![
            drop(reason),
            set("meta.icmp_error", number(1, 1)),
            either(valid("ipv4"), v4, v6),
        ];
        if let Self::TooBig = self {
            ops.push(copy("meta.icmp_rest", "meta.mtu"));
        }
        ops
    }
}

/// Bytes of the IP packet by its own words, super-packet or not.
pub(super) fn total_length() -> Expr {
    // The fields of the other family read as zero, and so does the length of its header.
    let header6 = number(IPV6_HEADER, 32);
    let total4 = cast(32, field("ipv4.total_length"));
    let total6 = add(cast(32, field("ipv6.payload_length")), header6);
    let is_v6 = cast(32, valid("ipv6"));
    add(total4, multiply_by_bit(total6, is_v6))
}

/// `value`, or zero where `bit` is zero.
fn multiply_by_bit(value: Expr, bit: Expr) -> Expr {
    use super::build::{bits_and, sub};
    bits_and(value, sub(number(0, 32), bit))
}

/// Ends the packet, which was dropped, with an error message where one may be sent.
pub(super) fn send_error() -> Vec<Op> {
    vec![
        either(
            valid("ipv4"),
            vec![when(may_answer(), error())],
            vec![when(may_answer6(), error6())],
        ),
        Op::Exit,
    ]
}

/// RFC 1812 §4.3.2.7.
fn may_answer() -> Expr {
    let kind = || field("icmp.type");
    let is = |value: u128| eq(kind(), number(value, 8));
    let about_error = all([valid("icmp"), any([is(3), is(4), is(5), is(11), is(12)])]);
    let first_octet = || shr(field("ipv4.src"), 24);
    let octet = |value: u128| number(value, 32);
    all([
        not_zero(field("meta.gateway_ip"), 32),
        is_zero(field("meta.fragment")),
        not(about_error),
        not(is_group_address()),
        lt(shr(field("ipv4.dst"), 24), octet(224)),
        // Not this network, not the sender's own, not a group, not reserved, not everybody.
        ne(first_octet(), octet(0)),
        ne(first_octet(), octet(127)),
        lt(first_octet(), octet(224)),
    ])
}

/// RFC 4443 §2.4 e.
fn may_answer6() -> Expr {
    let about_error = all([
        valid("icmpv6"),
        any([
            lt(field("icmpv6.type"), number(128, 8)),
            eq(field("icmpv6.type"), number(137, 8)),
        ]),
    ]);
    let proto = |value: u128| eq(field("meta.ip_proto"), number(value, 8));
    // What follows more extension headers than are read may be an error.
    let [a, b, c] = headers::OPTION_PROTOS.map(proto);
    let unread = any([a, b, c, proto(headers::FRAGMENT_PROTO)]);
    all([
        not_zero(field("meta.gateway_ip6"), 128),
        is_zero(field("meta.fragment")),
        not(about_error),
        not(unread),
        not(is_group_address()),
        ne(shr(field("ipv6.dst"), 120), number(0xff, 128)),
        // Neither unspecified nor loopback, nor a group.
        not(le(field("ipv6.src"), number(1, 128))),
        ne(shr(field("ipv6.src"), 120), number(0xff, 128)),
    ])
}

fn is_group_address() -> Expr {
    super::build::bit(field("eth.dst"), 40, 48)
}

fn error() -> Vec<Op> {
    let overhead = number(IPV4_HEADER + ICMP_HEADER, 16);
    let mut ops = vec![
        set("meta.reply_to", cast(128, field("ipv4.src"))),
        Op::Reject {
            quote: "ipv4".into(),
            length: total_length(),
            limit: QUOTE,
        },
        Op::SetValid("ipv4".into()),
        set("ipv4.version", number(4, 4)),
        set("ipv4.ihl", number(5, 4)),
        set("ipv4.dscp", number(REPLY_DSCP, 6)),
        set(
            "ipv4.total_length",
            add(field("std.quoted_length"), overhead),
        ),
        // What cannot become fragments needs no identity (RFC 6864 §4.1).
        set("ipv4.flags", number(DONT_FRAGMENT, 3)),
        set("ipv4.ttl", number(REPLY_TTL, 8)),
        set("ipv4.proto", number(headers::ICMP_PROTO, 8)),
        copy("ipv4.src", "meta.gateway_ip"),
        set("ipv4.dst", cast(32, field("meta.reply_to"))),
    ];
    ops.extend(message("icmp"));
    ops
}

fn error6() -> Vec<Op> {
    let overhead = number(ICMP_HEADER, 16);
    let mut ops = vec![
        copy("meta.reply_to", "ipv6.src"),
        Op::Reject {
            quote: "ipv6".into(),
            length: total_length(),
            limit: QUOTE6,
        },
        Op::SetValid("ipv6".into()),
        set("ipv6.version", number(6, 4)),
        set("ipv6.dscp", number(REPLY_DSCP, 6)),
        set(
            "ipv6.payload_length",
            add(field("std.quoted_length"), overhead),
        ),
        set("ipv6.next_header", number(headers::ICMPV6_PROTO, 8)),
        set("ipv6.hop_limit", number(REPLY_TTL, 8)),
        copy("ipv6.src", "meta.gateway_ip6"),
        copy("ipv6.dst", "meta.reply_to"),
    ];
    ops.extend(message("icmpv6"));
    ops
}

/// The message's own header, and back to where the packet came from.
fn message(instance: &str) -> [Op; 8] {
    [
        Op::SetValid(instance.into()),
        copy(&format!("{instance}.type"), "meta.icmp_type"),
        copy(&format!("{instance}.code"), "meta.icmp_code"),
        copy(&format!("{instance}.rest"), "meta.icmp_rest"),
        copy("eth.dst", "eth.src"),
        copy("eth.src", "meta.gateway_mac"),
        Op::Output(field("std.in_port")),
        Op::Exit,
    ]
}

/// Ping: addresses change places, and the type says so. The answer to a fragment would need the others.
pub(super) fn answer_echo() -> Op {
    let request = |instance: &str, kind: u128| {
        all([
            valid(instance),
            eq(field(&format!("{instance}.type")), number(kind, 8)),
            is_zero(field(&format!("{instance}.code"))),
            not(field("meta.is_fragment")),
        ])
    };
    let back = || {
        [
            copy("eth.dst", "eth.src"),
            copy("eth.src", "meta.gateway_mac"),
            Op::Output(field("std.in_port")),
            Op::Exit,
        ]
    };
    let mut answer = vec![
        copy("ipv4.dst", "ipv4.src"),
        copy("ipv4.src", "meta.next_ip"),
        set("ipv4.ttl", number(REPLY_TTL, 8)),
        set("icmp.type", number(0, 8)),
    ];
    answer.extend(back());
    let mut answer6 = vec![
        copy("ipv6.dst", "ipv6.src"),
        copy("ipv6.src", "meta.next_ip6"),
        set("ipv6.hop_limit", number(REPLY_TTL, 8)),
        set("icmpv6.type", number(129, 8)),
    ];
    answer6.extend(back());
    either(
        request("icmp", 8),
        answer,
        vec![when(request("icmpv6", 128), answer6)],
    )
}
