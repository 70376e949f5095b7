//! Flows: what a user says about packets on one switch, and the table entries it becomes.
//!
//! A [`FlowSpec`] is the body of a `PUT`, the stored document and the answer's normal form. It names match fields and
//! actions by the words of the switch's own pipeline, so nothing here lists them: the compile takes them from the
//! pipeline's `weft_proto::schema::Schema` and its annotations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weft_proto::vocab::{MulticastGroup, TableEntry};

/// One flow of one switch, as users write it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowSpec {
    /// 0 to 65535; the largest that matches wins.
    #[serde(default)]
    pub priority: u16,
    /// Match fields by name; a field that is left out is any.
    #[serde(default)]
    pub r#match: BTreeMap<String, Value>,
    /// What happens to packets, in order.
    pub actions: Vec<Value>,
    /// The flow ends when no packet has matched for so long; `0s` is never.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub idle_timeout: String,
    /// The user's own words, for selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn never() -> String {
    "0s".to_owned()
}

fn is_never(text: &str) -> bool {
    text == "0s"
}

/// What a flow becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledFlow {
    /// The flow with canonical values, inferred prerequisites, and its actions in the order in which they happen.
    pub normalised: FlowSpec,
    /// Table entries; their metadata is empty, the owner tag is put there by who installs them.
    pub entries: Vec<TableEntry>,
    /// Groups that the entries refer to. A group's id derives from its ports, so that flows share equal groups.
    pub groups: Vec<MulticastGroup>,
    /// What the user should know although it is no mistake.
    pub warnings: Vec<String>,
}
