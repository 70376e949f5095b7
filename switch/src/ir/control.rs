//! Control graphs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Expr, Op};

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

/// Tells `null` from an absent member, which is the default.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
