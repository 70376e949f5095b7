//! Questions for paths and their answers.

use serde::{Deserialize, Serialize};

use crate::quantity::{BitsPerSec, TimeSpan};

/// Which paths are wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathRequest {
    /// The node where they begin.
    pub from: String,
    /// The node where they end.
    pub to: String,
    /// How many, and which.
    #[serde(default)]
    pub select: PathSelect,
    /// What each of them has to keep.
    #[serde(default)]
    pub constraints: PathConstraints,
}

/// How many paths, and which.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PathSelect {
    /// The rule.
    pub kind: SelectKind,
    /// How many at most, 1 to 64; for `disjoint` 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k: Option<u32>,
    /// What disjoint paths must not share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<DisjointLevel>,
}

/// A rule to select paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SelectKind {
    /// The one of least cost.
    #[default]
    Shortest,
    /// All of least cost.
    Ecmp,
    /// The `k` of least cost, in order.
    K,
    /// Two that share nothing, of least cost together.
    Disjoint,
}

/// What disjoint paths must not share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DisjointLevel {
    /// Links.
    #[default]
    Link,
    /// Nodes between their ends, and links.
    Node,
    /// Shared-risk groups, and links.
    Srlg,
}

/// What a path has to keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PathConstraints {
    /// Each link has at least this capacity, where its capacity is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bandwidth: Option<BitsPerSec>,
    /// The latencies of its links add up to at most this; an unknown one counts as nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_latency: Option<TimeSpan>,
    /// Nodes, links and shared-risk groups that it does not use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<String>,
    /// Nodes that it crosses, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
}

/// The paths that were found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathAnswer {
    /// In the order of cost, then of names.
    pub paths: Vec<FoundPath>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<BlockedBy>,
}

/// One path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundPath {
    /// Its nodes, both ends included; none twice.
    pub nodes: Vec<String>,
    /// Its links, one fewer than nodes.
    pub links: Vec<String>,
    /// The sum of its links' metrics.
    pub cost: u64,
    /// The sum of its links' known latencies.
    pub latency: TimeSpan,
    /// The least of its links' known capacities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<BitsPerSec>,
}

/// What stands in the way of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockedBy {
    /// The constraint without which there is a path (`maxLatency`, `minBandwidth`, `avoid`, `via`, `disjoint`), or
    /// `linkDown`, `topology` or `searchLimit`.
    pub constraint: String,
    /// The same in words.
    pub detail: String,
}
