//! Match-action tables and selectors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DirectMeter, Expr, FieldRef, Format, Masked};

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
    /// The meter that each entry has.
    #[serde(default)]
    pub meter: Option<DirectMeter>,
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

/// An action profile: entries refer to actions that are kept once. With a hash, or [`SelectorMode::FirstLive`], it is
/// an action selector: entries may refer to groups of them. Else entries refer to one member each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Its name.
    pub name: String,
    /// Fields that keep a flow on one member.
    #[serde(default)]
    pub hash: Vec<FieldRef>,
    /// How a group chooses.
    #[serde(default)]
    pub mode: SelectorMode,
    /// What the sizes count.
    #[serde(default)]
    pub size_counts: SizeCounts,
    /// Most members, or weights, over all groups and one-shot sets; 0 for no limit. Of a profile that has no groups:
    /// most members.
    pub size: u32,
    /// Most members, or weights, of one group; 0 for no limit.
    #[serde(default)]
    pub max_group_size: u32,
}

impl Selector {
    /// Whether it has groups.
    pub fn chooses(&self) -> bool {
        !self.hash.is_empty() || self.mode == SelectorMode::FirstLive
    }
}

/// How a group chooses among its members whose watched ports are up. P4Info says it as `@weft_select(…)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SelectorMode {
    /// By a hash over fields, in proportion to weights.
    #[default]
    Hash,
    /// The first in order; for fail-over.
    FirstLive,
}

/// What the sizes of a selector count (P4Runtime §6.4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SizeCounts {
    /// Each member once.
    #[default]
    Members,
    /// Each member as often as its weight says.
    Weights,
}
