//! The pipeline's intermediate representation: what a switch executes, as data.
//!
//! A [`Pipeline`] is written by a builder, or read from JSON (P4Runtime's `p4_device_config`). Everything refers to
//! everything else by name here; the validator resolves the names, checks widths and gives ids, and only its result
//! can be executed. The vocabulary is a superset of what compiled P4 programs for BMv2 need: header types and
//! instances, a parser graph, match-action tables, straight-line actions, two control graphs, a deparser.
//!
//! # References
//!
//! A [`FieldRef`] is `instance.field` (`ipv4.dst`), `stack[i].field` (`mpls[0].label`), `stack.next.field` and
//! `stack.last.field` (parser only), `meta.field`, or one of the architecture's `std.*` fields:
//!
//! | field | bits | meaning |
//! |---|---|---|
//! | `std.in_port` | 32 | where the packet entered; [`weft_proto::vocab::PortNo::CPU`] for packet-out |
//! | `std.egress_port` | 32 | egress only: where this copy leaves |
//! | `std.instance` | 16 | egress only: the replica's instance, 0 for unicast |
//! | `std.packet_length` | 32 | bytes from the first header as received, of the whole frame, super-packet or not |
//! | `std.wire_length` | 32 | largest wire segment's bytes; equals `packet_length` unless the packet is a super-packet |
//! | `std.l3` | 1 | the packet entered by a layer-3 port: it starts with its IP header |
//! | `std.egress_l3` | 1 | egress only: this copy leaves by a layer-3 port |
//! | `std.quoted_length` | 16 | after [`Op::Reject`]: bytes of the received packet that the new one carries |
//!
//! They are read only; in ingress, and in the parser, those of egress are zero.
//!
//! # Verdict
//!
//! Ingress decides a verdict with [`Op::Output`], [`Op::Multicast`], [`Op::Flood`] or [`Op::Drop`]; the last one
//! wins. A packet that leaves ingress without one is dropped as `no-verdict`, unless [`Op::ToController`] took it.
//! Egress runs once for each copy; the only verdict there is [`Op::Drop`].
//!
//! [`Op::Reject`] ends the packet and goes on with a new one that quotes it, so that a pipeline can build error
//! messages. Each port of entry has a token bucket for them ([`crate::limit`]).
//!
//! # Sizes
//!
//! A packet counts as it was received. Its bytes run from the customer's destination MAC to the payload's end, over
//! all wire segments: headers named in [`Pipeline::uncounted_instances`] are left out. The MTU of the egress port bounds
//! the customer's IP packet in its largest wire segment: headers in [`Pipeline::link_instances`] are left out, too.

mod action;
mod array;
mod control;
mod expr;
mod header;
mod parser;
mod table;

use serde::{Deserialize, Serialize};

pub use action::{Action, Format, Op, Param};
pub use array::{CounterArray, DirectMeter, Meter, MeterUnit};
pub use control::{Control, Node, NodeKind};
pub use expr::{BinaryOp, Expr, UnaryOp};
pub use header::{Bits, HeaderType, Instance, MetaField};
pub use parser::{Case, Extract, Masked, Parser, SelectKey, State};
pub use table::{
    ActionRef, Call, ConstEntry, Key, KeyKind, Scope, Selector, SelectorMode, SizeCounts, Table,
};

/// `instance.field` and its relatives; see the module's head.
pub type FieldRef = String;

/// A pipeline program before validation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pipeline {
    /// P4Info's package name.
    pub name: String,
    /// P4Info's package version.
    pub version: String,
    /// Header types.
    pub headers: Vec<HeaderType>,
    /// Header instances and stacks.
    pub instances: Vec<Instance>,
    /// User metadata, zero at the start of each packet.
    #[serde(default)]
    pub metadata: Vec<MetaField>,
    /// How bytes become headers.
    pub parser: Parser,
    /// All actions.
    pub actions: Vec<Action>,
    /// Action selectors that tables use.
    #[serde(default)]
    pub selectors: Vec<Selector>,
    /// All tables.
    pub tables: Vec<Table>,
    /// Meters that belong to no table.
    #[serde(default)]
    pub meters: Vec<Meter>,
    /// Counters that belong to no table.
    #[serde(default)]
    pub counters: Vec<CounterArray>,
    /// Runs once for each packet.
    pub ingress: Control,
    /// Runs once for each copy that leaves.
    #[serde(default)]
    pub egress: Control,
    /// Order in which valid instances are emitted before the unparsed rest.
    pub deparser: Vec<String>,
    /// Checksums that are kept right while covered fields change.
    #[serde(default)]
    pub checksums: Vec<Checksum>,
    /// Instances and stacks that neither counters nor MTU count: what the fabric put in front of a customer's frame.
    #[serde(default)]
    pub uncounted_instances: Vec<String>,
    /// Instances and stacks that counters count and the MTU does not: the customer's Ethernet header and tags.
    #[serde(default)]
    pub link_instances: Vec<String>,
    /// Metadata of a packet-in, filled from the fields named.
    #[serde(default)]
    pub packet_in: Vec<ControllerField>,
    /// Metadata of a packet-out, stored into the fields named before ingress runs with `std.in_port` = CPU.
    #[serde(default)]
    pub packet_out: Vec<ControllerField>,
}

/// A checksum that stays right, incrementally (RFC 1624), while covered fields change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checksum {
    /// Where it stands.
    pub field: FieldRef,
    /// Covered fields outside the pseudo header, at even byte offsets of the covered data.
    pub covers: Vec<FieldRef>,
    /// Covered fields of the pseudo header.
    #[serde(default)]
    pub pseudo: Vec<FieldRef>,
    /// The port may leave it partial (virtio `NEEDS_CSUM`): then only the pseudo header's sum is there, uncomplemented.
    #[serde(default)]
    pub offloadable: bool,
    /// Zero means "no checksum", is left alone and never computed (UDP over IPv4, RFC 768).
    #[serde(default)]
    pub zero_is_none: bool,
    /// It covers the payload, too: a new header's checksum counts what [`Op::Reject`] quotes.
    #[serde(default)]
    pub payload: bool,
}

/// Metadata of a packet-in or packet-out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControllerField {
    /// Its name in P4Info.
    pub name: String,
    /// The field that it is read from or stored to; its width is the field's.
    pub field: FieldRef,
    /// How people read and write it.
    #[serde(default)]
    pub format: Format,
}

/// Numbers of up to 128 bits as `0x…` strings, since JSON numbers are not exact.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:#x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text
            .strip_prefix("0x")
            .ok_or_else(|| D::Error::custom("expected 0x and hexadecimal digits"))?;
        u128::from_str_radix(digits, 16).map_err(D::Error::custom)
    }
}
