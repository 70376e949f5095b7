//! What a file declares, all of it at once.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Diff, Handle, HandleError, ResourceChange, WriteContext};
use crate::model::Model;
use crate::resource::Place;
use crate::store::Revision;

/// Everything that an owner declares.
#[derive(Clone, Debug, PartialEq)]
pub struct Apply {
    /// The resources.
    pub resources: Vec<(Place, Value)>,
    /// The topology that goes with them, which has to be the lab's own.
    pub model: Option<Box<Model>>,
    /// Take back what the owner declared before, and does not any more.
    pub prune: bool,
    /// Who declares, and how.
    pub context: WriteContext,
}

/// Answer to [`Handle::apply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyAnswer {
    /// The revision that has it.
    pub revision: Revision,
    /// Numbers of resources.
    pub diff: Diff,
    /// Those that are not as they were.
    pub changes: Vec<ResourceChange>,
}

impl ApplyAnswer {
    /// The switches that something changes on.
    pub fn switches(&self) -> BTreeSet<&str> {
        let switches = self.changes.iter();
        switches
            .filter_map(|change| change.place.switch())
            .collect()
    }
}

impl Handle {
    /// Declares all of it in one transaction: either everything is stored, or nothing is.
    pub async fn apply(&self, request: Apply) -> Result<ApplyAnswer, HandleError> {
        self.call(|reply| super::Command::Apply(Box::new(request), reply))
            .await
    }
}
