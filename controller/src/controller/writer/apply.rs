//! What a file declares: compared with what its owner declared before, and stored in one transaction.

use std::collections::BTreeMap;

use super::Writer;
use super::draft::Edit;
use crate::handle::{Apply, ApplyAnswer, HandleError};
use crate::model::{FabricMode, Model};
use crate::object;
use crate::problem::{Code, FieldError, pointer_to};
use crate::resource::COMPUTED;

impl Writer {
    pub(super) async fn apply(&mut self, request: Apply) -> Result<ApplyAnswer, HandleError> {
        let Apply {
            resources,
            model,
            prune,
            context,
        } = request;
        let mut errors = model.map_or_else(Vec::new, |model| changes(&self.shared.model, &model));
        let mut edits = BTreeMap::new();
        for (place, mut spec) in resources {
            let pointer = pointer_to(&format!("/{}", place.kind.collection()), place.name());
            if !object::is_name(place.name()) {
                errors.push(FieldError::new(
                    pointer,
                    Code::InvalidName,
                    object::NAME_RULE,
                ));
                continue;
            }
            if let Some(members) = spec.as_object_mut() {
                members.retain(|name, _| !COMPUTED.contains(&name.as_str()));
            }
            let edit = Edit {
                pointer,
                ..Edit::new(place.clone(), Some(spec))
            };
            edits.insert(place, edit);
        }
        if !errors.is_empty() {
            return Err(HandleError::Invalid { errors });
        }
        if prune {
            let state = self.shared.read();
            for (place, known) in state.resources.iter() {
                let is_own = known.owner == context.owner && known.set.is_none();
                if is_own && !edits.contains_key(place) {
                    edits.insert(place.clone(), Edit::new(place.clone(), None));
                }
            }
        }
        let draft = self.draft(&context, edits.into_values().collect())?;
        let (diff, changes) = draft.summary(|_, _| true);
        let revision = if context.dry_run {
            self.shared.revision()
        } else {
            self.carry_out(&draft).await?
        };
        Ok(ApplyAnswer {
            revision,
            diff,
            changes,
        })
    }
}

/// What a running lab cannot take over from a file, by name.
fn changes(running: &Model, file: &Model) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut refuse = |pointer: &str, what: String| {
        let detail = format!("{what}; take the lab down and up to change its topology");
        errors.push(FieldError::new(pointer, Code::NotSupported, detail));
    };
    if running.fabric != file.fabric {
        let word = match file.fabric {
            FabricMode::Auto => "auto",
            FabricMode::None => "none",
        };
        refuse("/controller/fabric", format!("fabric was not {word}"));
    }
    compare(&running.switches, &file.switches, |what| {
        refuse("/topology/nodes", format!("switch {what}"));
    });
    compare(&running.hosts, &file.hosts, |what| {
        refuse("/topology/nodes", format!("host {what}"));
    });
    compare(&running.links, &file.links, |what| {
        refuse("/topology/links", format!("link {what}"));
    });
    errors
}

fn compare<T: PartialEq>(
    running: &BTreeMap<String, T>,
    file: &BTreeMap<String, T>,
    mut tell: impl FnMut(String),
) {
    for (name, thing) in file {
        match running.get(name) {
            None => tell(format!("{name} is new")),
            Some(known) if known != thing => tell(format!("{name} is another")),
            Some(_) => {}
        }
    }
    for name in running.keys().filter(|name| !file.contains_key(*name)) {
        tell(format!("{name} is gone"));
    }
}
