//! Flow sets, as handles see them.

use super::shared::flow_view;
use super::{Diff, HandleError, Shared, WriteContext, WriteOutcome};
use crate::flow::FlowSpec;
use crate::status::{FlowView, Phase};
use crate::store::Revision;

/// A flow of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct SetFlow {
    /// The switch.
    pub switch: String,
    /// The flow's name there.
    pub name: String,
    /// What it says.
    pub spec: FlowSpec,
}

/// A flow set to declare: these flows, and no others.
#[derive(Clone, Debug, PartialEq)]
pub struct PutFlowSet {
    /// The set's name.
    pub name: String,
    /// All its flows.
    pub flows: Vec<SetFlow>,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// A flow set to delete, with its flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteFlowSet {
    /// The set's name.
    pub name: String,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// What a write does to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// It is new.
    Add,
    /// It says something else.
    Change,
    /// It goes.
    Remove,
}

/// A flow that a write adds, changes or removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowChange {
    /// The switch.
    pub switch: String,
    /// The flow.
    pub name: String,
    /// What happens to it.
    pub kind: ChangeKind,
}

/// A flow set with its flows.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSetView {
    /// Its name.
    pub name: String,
    /// The revision that wrote it last; its ETag.
    pub revision: Revision,
    /// Who made it.
    pub owner: String,
    /// Its flows, by switch and name, without counters.
    pub flows: Vec<FlowView>,
}

impl FlowSetView {
    /// How far the set has come: as far as the flow that is farthest behind.
    pub fn phase(&self) -> Phase {
        let phases = || self.flows.iter().map(|flow| flow.status.phase);
        if phases().any(|phase| phase == Phase::Rejected) {
            Phase::Rejected
        } else {
            phases().min().unwrap_or(Phase::Realized)
        }
    }
}

/// Answer to [`super::Handle::put_flow_set`].
#[derive(Clone, Debug, PartialEq)]
pub struct PutFlowSetAnswer {
    /// The set as it is stored; of a dry run, as it was.
    pub set: FlowSetView,
    /// What the write did, or would do.
    pub outcome: WriteOutcome,
    /// Numbers of flows.
    pub diff: Diff,
    /// The flows that are not as they were.
    pub changes: Vec<FlowChange>,
}

/// A stored set. Its flows say that they belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowSet {
    pub(crate) revision: Revision,
    pub(crate) owner: String,
}

impl Shared {
    pub(crate) fn flow_set_names(&self) -> Vec<String> {
        self.read().flow_sets.keys().cloned().collect()
    }

    pub(crate) fn flow_set(&self, name: &str) -> Result<FlowSetView, HandleError> {
        let state = self.read();
        let set = state
            .flow_sets
            .get(name)
            .ok_or_else(|| HandleError::NotFound {
                kind: "flow set",
                name: name.to_owned(),
            })?;
        let mut flows = Vec::new();
        for (switch, known) in &state.flows {
            let Some(entry) = self.switches.get(switch) else {
                continue;
            };
            let status = entry.status(state.revision);
            let members = known
                .iter()
                .filter(|(_, flow)| flow.set.as_deref() == Some(name));
            flows.extend(members.map(|(name, flow)| flow_view(switch, name, flow, &status)));
        }
        Ok(FlowSetView {
            name: name.to_owned(),
            revision: set.revision,
            owner: set.owner.clone(),
            flows,
        })
    }
}
