//! Declared resources of all kinds, as handles see them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::shared::{rejected, rejection};
use super::{Diff, HandleError, Shared, WriteContext, WriteOutcome};
use crate::compile::MeterKey;
use crate::resource::{Kind, Place, Program, Resource, Resources};
use crate::southbound::SwitchClient;
use crate::status::{Condition, ConditionType, Phase, ResourceStatus, SwitchStatus};
use crate::store::Revision;

/// A document to declare.
#[derive(Clone, Debug, PartialEq)]
pub struct PutResource {
    /// Where.
    pub place: Place,
    /// What it says.
    pub spec: Value,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// A resource to take back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteResource {
    /// Where.
    pub place: Place,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// A resource with everything that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceView {
    /// Where it is.
    pub place: Place,
    /// The revision that wrote it last; its ETag.
    pub revision: Revision,
    /// Who made it.
    pub owner: String,
    /// The resource that made it, through which alone it is changed.
    pub set: Option<String>,
    /// The document in normal form.
    pub spec: Value,
    /// What its switch holds for it.
    pub program: Arc<Program>,
    /// What it made, without counters.
    pub members: Vec<Self>,
    /// How far it has come.
    pub status: ResourceStatus,
}

impl ResourceView {
    /// The switches that it concerns.
    pub fn switches(&self) -> BTreeSet<&str> {
        let members = self
            .members
            .iter()
            .filter_map(|member| member.place.switch());
        self.place.switch().into_iter().chain(members).collect()
    }
}

/// What a write does to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// It is new.
    Add,
    /// It says something else.
    Change,
    /// It goes.
    Remove,
    /// It says this already.
    Unchanged,
}

/// A resource that a write adds, changes or removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceChange {
    /// The resource.
    pub place: Place,
    /// What happens to it.
    pub kind: ChangeKind,
}

/// Answer to [`super::Handle::put`].
#[derive(Clone, Debug, PartialEq)]
pub struct PutAnswer {
    /// The resource as it is, or would be, stored.
    pub resource: ResourceView,
    /// What the write did, or would do.
    pub outcome: WriteOutcome,
    /// Numbers of what the resource makes; where it makes nothing, of what its switch holds for it.
    pub diff: Diff,
    /// What it makes that is not as it was.
    pub changes: Vec<ResourceChange>,
}

impl Diff {
    pub(crate) fn count(&mut self, kind: ChangeKind) {
        match kind {
            ChangeKind::Add => self.add += 1,
            ChangeKind::Change => self.change += 1,
            ChangeKind::Remove => self.remove += 1,
            ChangeKind::Unchanged => self.unchanged += 1,
        }
    }
}

impl WriteContext {
    /// Checks that the writer may change a resource: as `set`, which makes it, or for itself.
    pub(crate) fn check_writer(
        &self,
        place: &Place,
        known: Option<&Resource>,
        set: Option<&Place>,
    ) -> Result<(), HandleError> {
        let Some(known) = known.filter(|_| !self.force) else {
            return Ok(());
        };
        if known.owner != self.owner {
            return Err(HandleError::OwnedByOther {
                name: place.name().to_owned(),
                owner: known.owner.clone(),
            });
        }
        match &known.set {
            Some(other) if set.is_none_or(|set| set.name() != other) => {
                let which = if set.is_some() { "another" } else { "a" };
                Err(HandleError::Conflict {
                    detail: format!("{place} is part of {which} flow set"),
                    with: other.clone(),
                })
            }
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// Checks that what a resource is under exists.
    pub(crate) fn check_parents(&self, place: &Place) -> Result<(), HandleError> {
        let Some(switch) = place.switch() else {
            return Ok(());
        };
        let schema = self.pipeline(switch)?;
        match place.table() {
            // What was declared for another pipeline is still there.
            Some(_) if self.read().resources.get(place).is_some() => Ok(()),
            Some(table) if schema.table_by_name(table).is_none() => Err(HandleError::NotFound {
                kind: "table",
                name: table.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// A place with the names of its parents as they are written in full.
    pub(crate) fn place(&self, kind: Kind, names: &[&str]) -> Result<Place, HandleError> {
        let place = Place::new(kind, names);
        self.check_parents(&place)?;
        let (Some(switch), Some(table)) = (place.switch(), place.table()) else {
            return Ok(place);
        };
        let schema = self.pipeline(switch)?;
        let full = schema.table_by_name(table).map(|table| table.name.as_str());
        Ok(Place::new(
            kind,
            &[switch, full.unwrap_or(table), place.name()],
        ))
    }

    pub(crate) fn resource(&self, place: &Place) -> Result<ResourceView, HandleError> {
        self.check_parents(place)?;
        self.answer(place, None)
    }

    /// A resource as it is, or as it would be.
    pub(crate) fn answer(
        &self,
        place: &Place,
        made: Option<&Resource>,
    ) -> Result<ResourceView, HandleError> {
        let state = self.read();
        let stored = state.resources.get(place).map(|resource| &**resource);
        let resource = made.or(stored).ok_or_else(|| not_found(place))?;
        Ok(self.view(&state.resources, state.revision, place, resource))
    }

    /// Resources of a kind under `parents`; an empty list is all of them.
    pub(crate) fn resources(&self, kind: Kind, parents: &[&str]) -> Vec<ResourceView> {
        let state = self.read();
        let found = state.resources.under(kind, parents);
        let view = |(place, resource): (&Place, &Arc<Resource>)| {
            self.view(&state.resources, state.revision, place, resource)
        };
        found.map(view).collect()
    }

    pub(crate) async fn resource_with_counters(
        &self,
        place: &Place,
    ) -> Result<ResourceView, HandleError> {
        let mut view = self.resource(place)?;
        let Some(switch) = place.switch() else {
            return Ok(view);
        };
        let at = self.entry(switch)?;
        if view.status.phase == Phase::Realized && at.status.borrow().reachable {
            let mut client = SwitchClient::new(self.channel.clone(), at.device);
            match client
                .counters(&at.pipelines.schema(), &view.program.entries)
                .await
            {
                Ok(counters) => view.status.counters = counters,
                Err(error) => tracing::debug!(switch, error = error.message(), "no counters"),
            }
        }
        Ok(view)
    }

    fn view(
        &self,
        resources: &Resources,
        newest: Revision,
        place: &Place,
        resource: &Resource,
    ) -> ResourceView {
        let members = resources.members(place);
        let members: Vec<_> = members
            .map(|(place, member)| self.view(resources, newest, place, member))
            .collect();
        let switch = place.switch().and_then(|name| self.switches.get(name));
        let status = match switch {
            Some(switch) => status_on(&switch.status(newest), resource),
            None => status_of(resource, &members),
        };
        ResourceView {
            place: place.clone(),
            revision: resource.revision,
            owner: resource.owner.clone(),
            set: resource.set.clone(),
            spec: resource.spec.clone(),
            program: Arc::clone(&resource.program),
            members,
            status,
        }
    }
}

pub(crate) fn not_found(place: &Place) -> HandleError {
    HandleError::NotFound {
        kind: place.kind.noun(),
        name: place.local().to_owned(),
    }
}

/// How far a resource has come, from what its switch has reported.
fn status_on(switch: &SwitchStatus, resource: &Resource) -> ResourceStatus {
    let misfit = resource.misfit.clone().map(rejected);
    let program = &resource.program;
    let entries = program.entries.iter();
    let entries = entries.filter_map(|entry| switch.rejected.get(&entry.key));
    let groups = program.groups.iter();
    let groups = groups.filter_map(|group| switch.rejected_groups.get(&group.id));
    let meters = program.meters.iter();
    let meters = meters.filter_map(|cell| switch.rejected_meters.get(&MeterKey::from(cell)));
    let refused = entries.chain(groups).chain(meters).map(rejection);
    let rejections: Vec<Condition> = misfit.into_iter().chain(refused).collect();
    let phase = if !rejections.is_empty() {
        Phase::Rejected
    } else if switch.observed_revision >= resource.revision {
        Phase::Realized
    } else if switch.connected && switch.writing_revision >= resource.revision {
        Phase::Programmed
    } else {
        Phase::Accepted
    };
    let mut conditions = vec![Condition {
        r#type: ConditionType::SwitchConnected,
        status: switch.connected,
        detail: String::new(),
    }];
    conditions.extend(rejections);
    ResourceStatus {
        phase,
        desired_revision: resource.revision,
        observed_revision: switch.observed_revision,
        conditions,
        warnings: resource.warnings.clone(),
        counters: None,
    }
}

/// How far a resource that is on no switch has come: as far as the one of its members that is farthest behind.
fn status_of(resource: &Resource, members: &[ResourceView]) -> ResourceStatus {
    let phases = || members.iter().map(|member| member.status.phase);
    let phase = if phases().any(|phase| phase == Phase::Rejected) {
        Phase::Rejected
    } else {
        phases().min().unwrap_or(Phase::Realized)
    };
    let observed = members.iter().map(|member| member.status.observed_revision);
    ResourceStatus {
        phase,
        desired_revision: resource.revision,
        observed_revision: observed.min().unwrap_or(resource.revision),
        conditions: Vec::new(),
        warnings: resource.warnings.clone(),
        counters: None,
    }
}
