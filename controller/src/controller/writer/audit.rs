//! What a switch must hold, compiled anew for whoever wants to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_proto::vocab::EntryKey;

use super::Writer;
use crate::audit::Wanted;
use crate::compile::{Desired, Fabric, MeterKey};
use crate::handle::HandleError;
use crate::reconcile::{Reconciler, program_metadata};
use crate::resource::Place;

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
        let fabric = match self.is_fabric(switch) {
            true => Fabric::new(&self.model, down, &self.common.builtin.schema)
                .map_err(|error| unavailable(error.to_string()))?
                .switch(switch)
                .ok_or_else(|| HandleError::NotFound {
                    kind: "switch",
                    name: switch.to_owned(),
                })?,
            false => Desired::default(),
        };
        let mut core = Reconciler::new(switch);
        core.set_fabric(fabric);
        let (mut places, mut meters) = (BTreeMap::new(), BTreeMap::new());
        let state = self.shared.read();
        for (place, resource) in state.resources.on_switch(switch) {
            let tag = place.tag();
            for cell in &resource.program.meters {
                meters.insert(MeterKey::from(cell), program_metadata(switch, &tag));
            }
            core.set_program(&tag, Some(Arc::clone(&resource.program)));
            places.insert(program_metadata(switch, &tag), place.clone());
        }
        Ok(Wanted {
            revision: state.revision,
            state: core.into_desired(),
            places,
            meters,
        })
    }

    /// Refuses a place that the fabric has.
    pub(super) fn check_fabric(&self, switch: &str, key: &EntryKey) -> Result<(), HandleError> {
        if !self.is_fabric(switch) {
            return Ok(());
        }
        let none = BTreeSet::new();
        let down = self.compiled.as_ref().unwrap_or(&none);
        let fabric = Fabric::new(&self.model, down, &self.common.builtin.schema).ok();
        let wanted = fabric.and_then(|fabric| fabric.switch(switch));
        if wanted.is_some_and(|wanted| wanted.entries.contains_key(key)) {
            return Err(HandleError::Conflict {
                detail: format!("the fabric has an entry of {switch} with this match"),
                with: "fabric".to_owned(),
            });
        }
        Ok(())
    }

    /// Refuses tables whose entries nobody can change.
    pub(super) fn check_table(&self, place: &Place) -> Result<(), HandleError> {
        let Some(switch) = place.switch() else {
            return Ok(());
        };
        let schema = self.shared.pipeline(switch)?;
        let table = place.table().and_then(|table| schema.table_by_name(table));
        match table.filter(|table| table.is_const) {
            None => Ok(()),
            Some(table) => Err(HandleError::Conflict {
                detail: format!("the entries of table {} are constant", table.name),
                with: table.name.clone(),
            }),
        }
    }
}
