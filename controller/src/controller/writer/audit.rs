//! What a switch must hold, compiled anew for whoever wants to compare.

use std::collections::BTreeMap;

use super::Writer;
use crate::audit::Wanted;
use crate::compile::Fabric;
use crate::handle::{HandleError, full_name};
use crate::reconcile::{Reconciler, flow_metadata};

impl Writer {
    /// Compiles one switch from everything that is declared and observed.
    pub(super) fn wanted(&self, switch: &str) -> Result<Wanted, HandleError> {
        let unavailable = |detail: String| HandleError::SwitchUnavailable {
            switch: switch.to_owned(),
            detail,
        };
        let Some(down) = &self.compiled else {
            let detail = "it is not known yet which of its links are up";
            return Err(unavailable(detail.to_owned()));
        };
        let fabric = Fabric::new(&self.model, down, &self.common.schema)
            .map_err(|error| unavailable(error.to_string()))?
            .switch(switch)
            .ok_or_else(|| HandleError::NotFound {
                kind: "switch",
                name: switch.to_owned(),
            })?;
        let mut core = Reconciler::new(switch);
        core.set_fabric(fabric);
        let mut names = BTreeMap::new();
        let state = self.shared.read();
        for (name, flow) in state.flows.get(switch).into_iter().flatten() {
            core.set_flow(name, Some(flow.compiled.clone()));
            names.insert(flow_metadata(switch, name), name.clone());
        }
        for ((table, name), raw) in state.entries.get(switch).into_iter().flatten() {
            let full = full_name(table, name);
            core.set_flow(&full, Some(raw.compiled.clone()));
            names.insert(flow_metadata(switch, &full), full);
        }
        Ok(Wanted {
            revision: state.revision,
            state: core.into_desired(),
            names,
        })
    }
}
