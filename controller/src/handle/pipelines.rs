//! Pipelines of switches, as handles see them.

use std::sync::Arc;
use std::time::Duration;

use weft_proto::schema::Schema;

use super::{HandleError, Shared, WriteContext};
use crate::pipeline::PipelineSpec;
use crate::status::{Condition, ConditionType, Phase, SwitchStatus};
use crate::store::Revision;

/// A pipeline to declare.
#[derive(Clone, Debug, PartialEq)]
pub struct PutPipeline {
    /// Whose.
    pub switch: String,
    /// What it is.
    pub spec: PipelineSpec,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// A declared pipeline to take back: the switch gets the built-in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletePipeline {
    /// Whose.
    pub switch: String,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// A switch's pipeline.
#[derive(Clone, Debug)]
pub struct PipelineView {
    /// What the active pipeline offers.
    pub schema: Arc<Schema>,
    /// The one that was declared, which is not the active one where the switch has not accepted it.
    pub declared: Option<DeclaredPipeline>,
    /// How far the declared one, else the built-in one, has come.
    pub phase: Phase,
    /// Facts that the user should see.
    pub conditions: Vec<Condition>,
}

/// A pipeline that was declared.
#[derive(Clone, Debug)]
pub struct DeclaredPipeline {
    /// The revision that wrote it last; its ETag.
    pub revision: Revision,
    /// Who made it.
    pub owner: String,
    /// What was declared.
    pub spec: PipelineSpec,
}

impl Shared {
    pub(crate) fn pipeline_view(&self, switch: &str) -> Result<PipelineView, HandleError> {
        let entry = self.entry(switch)?;
        let known = entry.pipelines.known();
        let status = entry.status(self.revision());
        let wanted = known.declared.as_ref().map(|declared| &declared.pipeline);
        let cookie = wanted.map_or(known.active.cookie, |pipeline| pipeline.cookie);
        // What was said before the news was heard is about something else.
        let heard = entry.status.borrow().desired_generation >= status.desired_generation;
        let refused = refusal(&status, cookie).filter(|_| heard);
        let phase = match &refused {
            Some(_) => Phase::Rejected,
            None if known.active.cookie != cookie => Phase::Accepted,
            None if is_realized(&status, cookie) => Phase::Realized,
            None if status.connected => Phase::Programmed,
            None => Phase::Accepted,
        };
        let mut conditions = vec![Condition {
            r#type: ConditionType::SwitchConnected,
            status: status.connected,
            detail: String::new(),
        }];
        conditions.extend(refused.map(|detail| Condition {
            r#type: ConditionType::Rejected,
            status: true,
            detail: detail.to_owned(),
        }));
        Ok(PipelineView {
            schema: Arc::clone(&known.active.schema),
            declared: known.declared.map(|declared| DeclaredPipeline {
                revision: declared.revision,
                owner: declared.owner.clone(),
                spec: declared.spec.clone(),
            }),
            phase,
            conditions,
        })
    }

    /// Waits until a switch runs the pipeline that it shall run, and holds what it shall hold, or has refused it.
    pub(super) async fn wait_pipeline(
        &self,
        switch: &str,
        deadline: Duration,
    ) -> Result<bool, HandleError> {
        let entry = self.entry(switch)?;
        let mut status = entry.status.clone();
        let wait = async {
            loop {
                status.borrow_and_update();
                let view = self.pipeline_view(switch)?;
                if matches!(view.phase, Phase::Realized | Phase::Rejected) {
                    return Ok(());
                }
                status.changed().await.map_err(|_| HandleError::Stopped)?;
            }
        };
        match tokio::time::timeout(deadline, wait).await {
            Ok(done) => done.map(|()| true),
            Err(_) => Ok(false),
        }
    }
}

fn refusal(status: &SwitchStatus, cookie: u64) -> Option<&str> {
    let (refused, words) = status.refused.as_ref()?;
    (*refused == cookie).then_some(words)
}

fn is_realized(status: &SwitchStatus, cookie: u64) -> bool {
    status.running == Some(cookie)
        && status.reconciled
        && status.observed_generation == status.desired_generation
}
