//! Flows: what a user says about packets on one switch, and the table entries it becomes.
//!
//! A [`FlowSpec`] is the body of a `PUT`, the stored document and the answer's normal form. It names match fields and
//! actions by the words of the switch's own pipeline, so nothing here lists them: the compile takes them from the
//! pipeline's [`Schema`] and its annotations.

mod actions;
mod grammar;
mod matching;
pub mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weft_proto::schema::Schema;
use weft_proto::vocab::{EntryKey, MulticastGroup, PortNo, TableAction, TableEntry};

use crate::group::GroupTarget;
use crate::problem::{Code, FieldError};
use crate::quantity::TimeSpan;
use crate::resource::Kind;

pub use actions::GROUPS;
pub use matching::MAX_ENTRIES;

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
    #[serde(default)]
    pub idle_timeout: TimeSpan,
    /// The user's own words, for selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
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
    /// What the flow names on its switch.
    pub references: Vec<(Kind, String)>,
    /// What the user should know although it is no mistake.
    pub warnings: Vec<String>,
}

/// What flows of a switch can name.
pub trait References {
    /// How a flow reaches a group.
    fn group(&self, name: &str) -> Option<GroupTarget>;

    /// The cell of a meter.
    fn meter(&self, name: &str) -> Option<u32>;

    /// The names of all resources of a kind, for messages.
    fn names(&self, kind: Kind) -> Vec<String>;
}

/// A switch on which nothing has a name.
#[derive(Clone, Copy, Debug)]
pub struct NoReferences;

impl References for NoReferences {
    fn group(&self, _: &str) -> Option<GroupTarget> {
        None
    }

    fn meter(&self, _: &str) -> Option<u32> {
        None
    }

    fn names(&self, _: Kind) -> Vec<String> {
        Vec::new()
    }
}

/// Compiles a flow for a switch with this pipeline and these ports. Pure: equal input, equal output.
///
/// Compiling the normalised flow gives the same again.
///
/// # Errors
///
/// Every mistake in the flow, not just the first.
pub fn compile(
    schema: &Schema,
    ports: &BTreeMap<String, PortNo>,
    switch: &str,
    flow: &FlowSpec,
    named: &dyn References,
) -> Result<CompiledFlow, Vec<FieldError>> {
    let Some(grammar) = grammar::Grammar::new(schema) else {
        return Err(vec![FieldError::new(
            "",
            Code::NotSupported,
            format!("the pipeline of {switch} has no table for flows"),
        )]);
    };
    let mut errors = Vec::new();
    let matching = matching::compile(&grammar, ports, switch, &flow.r#match, &mut errors);
    let actions = actions::compile(
        &grammar,
        ports,
        switch,
        &matching,
        &flow.actions,
        named,
        &mut errors,
    );
    if flow.idle_timeout.0 != 0 && !grammar.table.idle_timeout {
        let detail = format!("flows of {switch} cannot end by themselves");
        let error = FieldError::new("/idleTimeout", Code::NotSupported, detail);
        errors.push(error);
    }
    for error in errors
        .iter_mut()
        .filter(|error| error.code == Code::NoSuchPort)
    {
        error.detail.insert_str(0, &format!("{switch} has "));
    }
    let Some(actions) = actions.filter(|_| errors.is_empty()) else {
        return Err(errors);
    };
    // P4Runtime's priorities begin at 1.
    let priority = if grammar.table.needs_priority() {
        i32::from(flow.priority) + 1
    } else {
        0
    };
    let entries = (matching.matches.into_iter())
        .map(|matches| TableEntry {
            key: EntryKey {
                table: grammar.table.id,
                matches,
                priority,
            },
            action: Some(TableAction::Call(actions.call.clone())),
            metadata: Vec::new(),
            is_default: false,
            idle_timeout_ns: i64::try_from(flow.idle_timeout.0).unwrap_or(i64::MAX),
        })
        .collect();
    Ok(CompiledFlow {
        normalised: FlowSpec {
            r#match: matching.normalised,
            actions: actions.normalised,
            ..flow.clone()
        },
        entries,
        groups: actions.copies.into_iter().collect(),
        references: actions.references,
        warnings: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
