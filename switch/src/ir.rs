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

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// A header type: fields in wire order, whole bytes in total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderType {
    /// Its name.
    pub name: String,
    /// Fixed fields, 1 to 128 bits each.
    pub fields: Vec<Bits>,
    /// Most bytes of the variable part after the fixed fields; 0 for none.
    #[serde(default)]
    pub max_varbytes: u16,
}

/// A name and a width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bits {
    /// The name.
    pub name: String,
    /// The width in bits, 1 to 128.
    pub bits: u16,
}

/// A metadata field.
pub type MetaField = Bits;

/// A header instance, or a stack of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its header type.
    pub header: String,
    /// Number of elements where this is a stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<u8>,
}

/// The parser graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parser {
    /// Name of the first state.
    pub start: String,
    /// All states.
    pub states: Vec<State>,
}

/// A parser state: extract, then select. `accept` and `reject` are the two final states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Instances (or `stack.next`) taken from the packet, in order. Too few bytes: dropped as `truncated`.
    #[serde(default)]
    pub extract: Vec<Extract>,
    /// What the transition looks at; empty for none.
    #[serde(default)]
    pub select: Vec<SelectKey>,
    /// First case whose values all match wins.
    #[serde(default)]
    pub cases: Vec<Case>,
    /// Where to go when no case matches.
    pub default: String,
}

/// One extraction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Extract {
    /// Instance, or `stack.next`.
    pub instance: String,
    /// Bytes of the variable part, where the type has one; more than the type's maximum is a reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub var_length: Option<Expr>,
}

/// What a parser transition looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SelectKey {
    /// A field that was extracted, or metadata.
    Field(FieldRef),
    /// Bits ahead of the cursor; beyond the packet's end they read as zero.
    Lookahead {
        /// Offset in bits from the cursor.
        offset: u16,
        /// Width in bits.
        bits: u16,
    },
}

/// A transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// One value for each select key.
    pub values: Vec<Masked>,
    /// Name of the next state, `accept` or `reject`.
    pub next: String,
}

/// A value under a mask.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Masked {
    /// The value.
    #[serde(with = "hex")]
    pub value: u128,
    /// Which bits count; bits beyond the field's width do not matter.
    #[serde(with = "hex")]
    pub mask: u128,
}

/// An expression. Both sides of a binary operator have one width; arithmetic wraps at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Expr {
    /// A constant.
    Const {
        /// Its value.
        #[serde(with = "hex")]
        value: u128,
        /// Its width in bits.
        bits: u16,
    },
    /// A field's value; zero where its header is not valid.
    Field(FieldRef),
    /// A parameter of the action.
    Param(String),
    /// 1 bit: whether an instance (or `stack[i]`) is valid.
    Valid(String),
    /// An operator on one operand.
    Unary(UnaryOp, Box<Self>),
    /// An operator on two operands.
    Binary(BinaryOp, Box<Self>, Box<Self>),
    /// Zero-extends or truncates.
    Cast {
        /// The new width.
        bits: u16,
        /// What is cast.
        value: Box<Self>,
    },
    /// A deterministic hash over fields, salted for each switch.
    Hash {
        /// Width of the result.
        bits: u16,
        /// What is hashed.
        fields: Vec<FieldRef>,
    },
}

/// An operator on one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UnaryOp {
    /// Bitwise complement.
    Not,
    /// 1 bit: the operand is zero.
    IsZero,
}

/// An operator on two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BinaryOp {
    /// Sum, wrapping.
    Add,
    /// Difference, wrapping.
    Sub,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left; the right side may have another width.
    Shl,
    /// Shift right, logical; the right side may have another width.
    Shr,
    /// 1 bit: equal.
    Eq,
    /// 1 bit: not equal.
    Ne,
    /// 1 bit: less, unsigned.
    Lt,
    /// 1 bit: less or equal, unsigned.
    Le,
}

/// An action: parameters and straight-line operations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// One sentence for P4Info.
    #[serde(default)]
    pub doc: String,
    /// Its parameters.
    #[serde(default)]
    pub params: Vec<Param>,
    /// What it does.
    #[serde(default)]
    pub ops: Vec<Op>,
    /// P4Info annotations, `@…`.
    #[serde(default)]
    pub annotations: Vec<String>,
}

/// A parameter of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its width in bits.
    pub bits: u16,
    /// How people read and write it.
    #[serde(default)]
    pub format: Format,
    /// P4Info annotations besides `@format`.
    #[serde(default)]
    pub annotations: Vec<String>,
}

/// How people read and write a value; P4Info carries it as `@format(…)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// A decimal number.
    #[default]
    Number,
    /// A hexadecimal number.
    Hex,
    /// `02:…`.
    Mac,
    /// Dotted quad, with `/n` or `/mask` where a mask is possible.
    Ipv4,
    /// Colons, with `/n` or `/mask`.
    Ipv6,
    /// A port of the switch, by name.
    Port,
}

/// One operation of an action or a control node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Op {
    /// Writes a field; the widths are equal. Writing a field of an invalid header does nothing.
    Set {
        /// Where to.
        dst: FieldRef,
        /// What.
        value: Expr,
    },
    /// Makes a header valid; its fields are zero if it was not.
    SetValid(String),
    /// Makes a header invalid.
    SetInvalid(String),
    /// Shifts a stack by `count` towards the end; the freed elements at the front are valid and zero.
    Push {
        /// The stack.
        stack: String,
        /// How many.
        count: u8,
    },
    /// Removes `count` elements from the front of a stack.
    Pop {
        /// The stack.
        stack: String,
        /// How many.
        count: u8,
    },
    /// Verdict: leave by one port.
    Output(Expr),
    /// Verdict: one copy for each replica of a multicast group (never to the port of entry).
    Multicast(Expr),
    /// Verdict: one copy to every port but that of entry.
    Flood,
    /// Verdict: drop, counted under this reason.
    Drop(String),
    /// Sends a copy of the packet, as it was received, to the primary controller.
    ToController,
    /// Ends the packet, which is counted as dropped for the reason of the last [`Op::Drop`], and goes on with a new one: the
    /// header `quote` and those that are emitted after it become payload again, as they were received, cut to `length`
    /// and to `limit` bytes; the headers in front of it stay. Of a super-packet the first segment is quoted, checksum
    /// finished. There is no verdict then. Where the port of entry has had its share of new packets, where the last
    /// verdict was no drop, or where `quote` was not received, this is [`Op::Exit`]. Ingress only.
    Reject {
        /// First header that is quoted.
        quote: String,
        /// Bytes of the received packet from there on, 32 bits; what exceeds it is padding.
        length: Expr,
        /// Most bytes that are quoted.
        limit: u16,
    },
    /// An IPv4 packet that leaves and is larger than so many bytes (32 bits, at least 68) leaves in fragments
    /// (RFC 791). Ingress only.
    Fragment(Expr),
    /// Runs `then` or `otherwise`.
    If {
        /// One bit.
        cond: Expr,
        /// When it is 1.
        then: Vec<Self>,
        /// When it is 0.
        #[serde(default)]
        otherwise: Vec<Self>,
    },
    /// Ends this control (ingress or egress) at once.
    Exit,
}

/// A match-action table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// One sentence for P4Info.
    #[serde(default)]
    pub doc: String,
    /// The key; empty for a table that always misses.
    pub keys: Vec<Key>,
    /// Actions that entries may use.
    pub actions: Vec<ActionRef>,
    /// What a miss does; `None` is nothing.
    #[serde(default)]
    pub default_action: Option<Call>,
    /// The default action cannot be changed.
    #[serde(default)]
    pub const_default: bool,
    /// Entries that are there from the start and cannot be changed.
    #[serde(default)]
    pub const_entries: Vec<ConstEntry>,
    /// Most entries.
    pub size: u32,
    /// Selector through which entries choose among weighted actions.
    #[serde(default)]
    pub selector: Option<String>,
    /// Whether entries have counters.
    #[serde(default)]
    pub counters: bool,
    /// Whether entries may time out.
    #[serde(default)]
    pub idle_timeout: bool,
    /// P4Info annotations.
    #[serde(default)]
    pub annotations: Vec<String>,
}

/// A key field of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// Its name in P4Info.
    pub name: String,
    /// What is looked up.
    pub value: Expr,
    /// How it is compared.
    pub kind: KeyKind,
    /// How people read and write it.
    #[serde(default)]
    pub format: Format,
    /// P4Info annotations besides `@format`.
    #[serde(default)]
    pub annotations: Vec<String>,
}

/// How a key field is compared; the serde twin of [`weft_proto::vocab::MatchKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyKind {
    /// All bits equal.
    Exact,
    /// Longest prefix.
    Lpm,
    /// Under a mask.
    Ternary,
    /// Within bounds.
    Range,
    /// Equal, or don't-care.
    Optional,
}

/// An action that a table's entries may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionRef {
    /// The action's name.
    pub name: String,
    /// Where it may be used.
    #[serde(default)]
    pub scope: Scope,
}

/// Where an action may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// In entries and as default.
    #[default]
    Any,
    /// In entries only.
    TableOnly,
    /// As default only.
    DefaultOnly,
}

/// An action with constant arguments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    /// The action's name.
    pub action: String,
    /// Each parameter's value.
    #[serde(default)]
    pub args: BTreeMap<String, u64>,
}

/// A constant entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConstEntry {
    /// Key field to value and mask; a field that is absent is don't-care.
    pub matches: BTreeMap<String, Masked>,
    /// Larger wins, where the table has priorities; else 0.
    #[serde(default)]
    pub priority: i32,
    /// What it does.
    pub call: Call,
}

/// An action selector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Its name.
    pub name: String,
    /// Fields that keep a flow on one member.
    pub hash: Vec<FieldRef>,
    /// Most members over all groups.
    pub size: u32,
    /// Most members of one group.
    pub max_group_size: u32,
}

/// A control graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Control {
    /// Name of the first node; `None` for an empty control.
    pub start: Option<String>,
    /// All nodes; the graph has no cycle.
    #[serde(default)]
    pub nodes: Vec<Node>,
}

/// A node of a control graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
}

/// What a control node does. A next of `None` ends the control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum NodeKind {
    /// Applies a table. The most specific successor wins: the action that ran, then hit or miss, then `next`.
    Table {
        /// The table; each is applied by one node only.
        table: String,
        /// By the action that ran.
        #[serde(default)]
        on_action: BTreeMap<String, Option<String>>,
        /// By hit, where the outer `Option` is set; `null` in JSON ends the control.
        #[serde(
            default,
            deserialize_with = "present",
            skip_serializing_if = "Option::is_none"
        )]
        on_hit: Option<Option<String>>,
        /// By miss, where the outer `Option` is set; `null` in JSON ends the control.
        #[serde(
            default,
            deserialize_with = "present",
            skip_serializing_if = "Option::is_none"
        )]
        on_miss: Option<Option<String>>,
        /// Otherwise.
        #[serde(default)]
        next: Option<String>,
    },
    /// Branches.
    If {
        /// One bit.
        cond: Expr,
        /// When it is 1.
        then: Option<String>,
        /// When it is 0.
        otherwise: Option<String>,
    },
    /// Runs operations.
    Run {
        /// What it does.
        ops: Vec<Op>,
        /// Then.
        next: Option<String>,
    },
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

/// Tells `null` from an absent member, which is the default.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
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
