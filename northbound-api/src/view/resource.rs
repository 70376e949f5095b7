//! A declared resource as it is answered: the normal form, what became of it, and its status.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use weft_controller::handle::{ChangeKind, ResourceChange, ResourceView};
use weft_controller::resource::Kind;
use weft_controller::status::{self, Phase};

use super::Condition;
use super::flow::{Diff, Entry, Group, Meter, Names};
use crate::describe;
use crate::list::Item;

/// A resource with everything that is known of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resource {
    name: String,
    /// What it is under.
    #[serde(flatten)]
    parents: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    spec: Map<String, Value>,
    owner: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_set: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<Vec<Self>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<Entry>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Group>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meter: Option<Meter>,
    status: ResourceStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<Diff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Change>>,
    #[serde(skip)]
    key: String,
    #[serde(skip)]
    labels: BTreeMap<String, String>,
}

/// How far a resource has come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourceStatus {
    /// `accepted`: stored; `programmed`: being written; `realized`: the switch forwards by it; `rejected`. Of a flow set
    /// that of the flow that is farthest behind; `rejected` where one is.
    #[schema(value_type = String)]
    phase: Phase,
    /// The revision that declared it.
    desired_revision: String,
    /// The revision that its switches have reached.
    observed_revision: String,
    /// Facts that matter for it.
    conditions: Vec<Condition>,
    /// What is no mistake and should still be known.
    warnings: Vec<String>,
    /// Packets (wire segments) that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    /// Bytes that matched, from destination MAC to payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// A resource that a write adds, changes or removes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    /// What it is under.
    #[serde(flatten)]
    parents: BTreeMap<&'static str, String>,
    /// Its name.
    name: String,
    /// `add`, `change` or `remove`.
    #[schema(value_type = String)]
    change: ChangeKind,
}

impl From<ResourceChange> for Change {
    fn from(change: ResourceChange) -> Self {
        Self {
            parents: owned(change.place.parents()),
            name: change.place.name().to_owned(),
            change: change.kind,
        }
    }
}

impl Resource {
    /// `names` has the words of every switch that the resource concerns.
    pub(crate) fn new(view: ResourceView, names: &BTreeMap<String, Names>) -> Self {
        let place = &view.place;
        let words = place.switch().and_then(|switch| names.get(switch));
        let mut spec = object(view.spec);
        if !place.kind.has_members() {
            spec.entry("labels").or_insert_with(|| json!({}));
        }
        let labels = spec.get("labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten().filter_map(|(key, value)| {
            let value = value.as_str()?;
            Some((key.clone(), value.to_owned()))
        });
        let entries = words.filter(|_| place.kind != Kind::Entry).map(|words| {
            let entries = view.program.entries.iter();
            entries
                .filter_map(|entry| words.entry(entry.clone()))
                .collect()
        });
        let groups = words.into_iter().flat_map(|words| {
            let groups = view.program.groups.iter();
            groups.map(|group| words.group(group))
        });
        let flows = view.members.into_iter();
        let flows = flows.map(|member| Self::new(member, names));
        Self {
            name: place.name().to_owned(),
            parents: owned(place.parents()),
            labels: labels.collect(),
            owner: view.owner,
            flow_set: view.set,
            flows: place.kind.has_members().then(|| flows.collect()),
            entries,
            groups: groups.collect(),
            meter: view.program.meters.first().map(Meter::from),
            status: ResourceStatus::from(view.status),
            diff: None,
            changes: None,
            key: describe::address(place),
            spec,
        }
    }

    /// Says what the write changes.
    pub(crate) fn with_diff(mut self, diff: Diff, changes: Vec<ResourceChange>) -> Self {
        self.diff = Some(diff);
        if self.flows.is_some() {
            self.changes = Some(changes.into_iter().map(Change::from).collect());
        }
        self
    }
}

/// A resource as it would be put.
pub(crate) fn document(view: &ResourceView) -> Value {
    let mut document = object(view.spec.clone());
    if view.place.kind.has_members() {
        let flow = |member: &ResourceView| {
            let mut flow = object(member.spec.clone());
            for (what, name) in member.place.parents() {
                flow.insert(what.to_owned(), name.into());
            }
            flow.insert("name".to_owned(), member.place.name().into());
            Value::Object(flow)
        };
        let flows = view.members.iter().map(flow).collect();
        document.insert("flows".to_owned(), flows);
    }
    Value::Object(document)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn owned<'a>(
    parents: impl Iterator<Item = (&'static str, &'a str)>,
) -> BTreeMap<&'static str, String> {
    parents
        .map(|(what, name)| (what, name.to_owned()))
        .collect()
}

impl From<status::ResourceStatus> for ResourceStatus {
    fn from(status: status::ResourceStatus) -> Self {
        Self {
            phase: status.phase,
            desired_revision: status.desired_revision.to_string(),
            observed_revision: status.observed_revision.to_string(),
            conditions: status.conditions.into_iter().map(Condition::from).collect(),
            warnings: status.warnings,
            packets: status.counters.map(|counters| counters.packets),
            bytes: status.counters.map(|counters| counters.bytes),
        }
    }
}

impl Item for Resource {
    fn key(&self) -> String {
        self.key.clone()
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.labels)
    }
}
