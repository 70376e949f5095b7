//! What a switch must hold against what it holds, in words.

use serde::Serialize;
use utoipa::ToSchema;
use weft_controller::audit::{Finding, SwitchDiff as Facts};
use weft_controller::compile::{Owner, Subject};

use super::flow::{Entry, Group, Meter, Names};

/// What a switch must hold against what it holds now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SwitchDiff {
    /// The switch.
    switch: String,
    /// The revision that was compiled.
    revision: String,
    /// Nothing is missing, modified or extra.
    in_sync: bool,
    /// How many there are of each.
    counts: DiffCounts,
    /// Wanted and not there.
    missing: Vec<Place>,
    /// There with other content than is wanted.
    modified: Vec<Place>,
    /// There with this controller's mark, and wanted no more.
    extra: Vec<Place>,
    /// As it must be.
    proper: Vec<Place>,
    /// Written by others in places that nobody here wants; left alone.
    foreign: Vec<Place>,
}

/// Numbers of entries and groups.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DiffCounts {
    /// Wanted and not there.
    missing: usize,
    /// There with other content.
    modified: usize,
    /// There, and wanted no more.
    extra: usize,
    /// As it must be.
    proper: usize,
    /// Of others.
    foreign: usize,
    /// Of others, and such that this pipeline cannot hold them.
    undecodable: usize,
}

/// An entry, a group or a meter on a switch, and whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Place {
    /// The table entry, as it is wanted; as it is held where nobody wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Entry>,
    /// The group, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Group>,
    /// The meter, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    meter: Option<Meter>,
    /// What the switch holds instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
    /// `fabric`, `flow`, `entry`, `group`, `meter` or `foreign`.
    owner: &'static str,
    /// The name of the flow, group or meter; of the entry, `table/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// What a switch holds in a place where something else is wanted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Held {
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Group>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meter: Option<Meter>,
}

/// What a repair found, and whether it is over.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Repair {
    /// The switch.
    pub(crate) switch: String,
    /// The revision that the switch shall hold.
    pub(crate) revision: String,
    /// The switch was read, compared and written.
    pub(crate) done: bool,
    /// What was found before; null where the switch did not answer.
    pub(crate) found: Option<DiffCounts>,
}

impl From<&Facts> for DiffCounts {
    fn from(diff: &Facts) -> Self {
        Self {
            missing: diff.missing.len(),
            modified: diff.modified.len(),
            extra: diff.extra.len(),
            proper: diff.proper.len(),
            foreign: diff.foreign.len(),
            undecodable: diff.undecodable,
        }
    }
}

impl SwitchDiff {
    /// At most `limit` of each list; the counts are of all.
    pub(crate) fn new(switch: String, diff: Facts, limit: usize, names: &Names) -> Self {
        let places = |list: Vec<Finding>| {
            let list = list.into_iter().take(limit);
            list.map(|finding| Place::new(finding, names)).collect()
        };
        Self {
            switch,
            revision: diff.revision.to_string(),
            in_sync: diff.is_proper(),
            counts: DiffCounts::from(&diff),
            missing: places(diff.missing),
            modified: places(diff.modified),
            extra: places(diff.extra),
            proper: places(diff.proper),
            foreign: places(diff.foreign),
        }
    }
}

impl Place {
    fn new(finding: Finding, names: &Names) -> Self {
        let held = finding.held.map(|held| Held::new(held, names));
        let Held {
            entry,
            group,
            meter,
        } = Held::new(finding.subject, names);
        let place = finding.place;
        Self {
            entry,
            group,
            meter,
            held,
            owner: match (finding.owner.map(|tag| tag.owner), &place) {
                (Some(Owner::Fabric), _) => "fabric",
                (Some(Owner::Flow), Some(place)) => place.kind.noun(),
                (Some(Owner::Flow), None) => "flow",
                (None, _) => "foreign",
            },
            name: place.map(|place| place.local().to_owned()),
        }
    }
}

impl Held {
    fn new(subject: Subject, names: &Names) -> Self {
        let mut held = Self {
            entry: None,
            group: None,
            meter: None,
        };
        match subject {
            Subject::Entry(entry) => held.entry = names.entry(entry),
            Subject::Group(group) => held.group = Some(names.group(&group)),
            Subject::Meter(cell) => held.meter = Some(Meter::from(&cell)),
        }
        held
    }
}
