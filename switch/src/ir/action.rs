//! Actions and their operations.

use serde::{Deserialize, Serialize};

use super::{Expr, FieldRef};

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
    /// Makes the copies of a clone session (32 bits), of the packet as it was received: each runs egress by itself, with
    /// metadata that is zero again and the replica's instance, and is cut to the session's length. A session that
    /// does not exist makes none, and one that is named twice makes its copies once. Ingress only.
    Clone(Expr),
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
    /// Passes the packet by a meter's cell; what it says is stored: 0 green, 1 yellow, 2 red. A super-packet has the
    /// colour of its first segment, and all segments are paid for. An index that is no cell gives green.
    Meter {
        /// The meter.
        meter: String,
        /// The cell, at most 32 bits.
        index: Expr,
        /// Metadata of 2 bits or more.
        dst: FieldRef,
    },
    /// Counts the packet in a counter's cell; an index that is no cell does nothing.
    Count {
        /// The counter.
        counter: String,
        /// The cell, at most 32 bits.
        index: Expr,
    },
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
