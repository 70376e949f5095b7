//! The parser graph.

use serde::{Deserialize, Serialize};

use super::{Expr, FieldRef, hex};

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
