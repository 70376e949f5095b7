//! What comes before anything is written: the switch accepts this cluster, and runs the pipeline that it shall run.

use std::sync::Arc;
use tonic::{Code, Status};

use weft_proto::node::v1 as node;
use weft_proto::vocab::ElectionId;

use super::super::session::{Role, Session};
use super::{CLAIM_DELAY, Common, SessionError, SwitchTask, TaskEvent, next_role};
use crate::pipeline::Pipeline;
use crate::southbound::{RunningPipeline, SwitchClient, code_name, timed};
use crate::store::Revision;

impl SwitchTask {
    pub(super) fn is_builtin(&self) -> bool {
        Arc::ptr_eq(&self.pipeline, &self.common.builtin)
    }

    /// Asks the switch whether it can run a pipeline, and tells the controller.
    pub(super) async fn verify(
        &mut self,
        election: ElectionId,
        offer: &Pipeline,
    ) -> Result<(), SessionError> {
        let config = offer.config.clone();
        match self.client.verify_pipeline(election, config).await {
            Ok(()) => self.tell_pipeline(offer.cookie, true).await,
            Err(status) if is_refusal(&status) => self.refused(offer.cookie, &status).await,
            Err(status) => return Err(status.into()),
        }
        Ok(())
    }

    /// Shows why the switch does not take a pipeline, and tells the controller that it does not.
    pub(super) async fn refused(&mut self, cookie: u64, status: &Status) {
        tracing::warn!(detail = status.message(), "pipeline refused");
        let detail = format!("{}: {}", code_name(status.code()), status.message());
        self.status.refused = Some((cookie, detail));
        self.publish(None);
        self.tell_pipeline(cookie, false).await;
    }

    async fn tell_pipeline(&self, cookie: u64, accepted: bool) {
        let event = TaskEvent::Pipeline {
            switch: self.name.clone(),
            cookie,
            accepted,
        };
        // The controller takes events until it ends; then nobody needs them.
        let _ = self.common.events.send(event).await;
    }

    /// Waits until there is another pipeline to run; returns the role then.
    pub(super) async fn wait_for_pipeline(
        &mut self,
        session: &mut Session,
    ) -> Result<Role, SessionError> {
        loop {
            tokio::select! {
                biased;
                role = next_role(session) => match role? {
                    Role::Primary => {}
                    other => return Ok(other),
                },
                () = self.mailbox.changed() => if self.take_news()? {
                    return Ok(Role::Primary);
                },
            }
        }
    }

    /// Presents this cluster to the switch until it accepts. Returns a role when it changed meanwhile.
    pub(super) async fn claim_or_wait(
        &mut self,
        session: &mut Session,
        election: ElectionId,
    ) -> Result<Option<Role>, SessionError> {
        loop {
            let claim = claim(&self.common, &self.client, election, self.revision);
            match refusal(timed(self.node.claim(claim)).await, &self.common.cluster)? {
                None => {
                    self.behind = None;
                    self.claimed = self.revision;
                    return Ok(None);
                }
                Some(detail) => {
                    tracing::warn!(%detail, "claim refused");
                    self.behind = Some(detail);
                    self.status.connected = false;
                    self.publish(None);
                }
            }
            tokio::select! {
                biased;
                role = next_role(session) => match role? {
                    Role::Primary => {}
                    other => return Ok(Some(other)),
                },
                () = tokio::time::sleep(CLAIM_DELAY) => {}
            }
        }
    }

    /// Makes the switch run our pipeline. True when that left it empty.
    pub(super) async fn prepare_pipeline(
        &mut self,
        election: ElectionId,
    ) -> Result<bool, SessionError> {
        let running = self.client.running_pipeline().await?;
        self.status.pipeline.clone_from(&self.pipeline.schema.name);
        if running == RunningPipeline::Cookie(self.pipeline.cookie) {
            return Ok(false);
        }
        if running != RunningPipeline::None {
            // Another program behind the same tables keeps its entries; other tables can't.
            let kept = self
                .client
                .push_pipeline(election, self.pipeline.config.clone(), true)
                .await;
            match kept {
                Ok(()) => return Ok(false),
                Err(status)
                    if matches!(status.code(), Code::InvalidArgument | Code::Unimplemented) => {}
                Err(status) => return Err(status.into()),
            }
        }
        self.client
            .push_pipeline(election, self.pipeline.config.clone(), false)
            .await?;
        Ok(true)
    }
}

/// Whether a switch says that it cannot run a pipeline, and not that something is in the way.
pub(super) fn is_refusal(status: &Status) -> bool {
    use Code::{InvalidArgument, OutOfRange, ResourceExhausted, Unimplemented};
    matches!(
        status.code(),
        InvalidArgument | Unimplemented | OutOfRange | ResourceExhausted
    )
}

pub(super) fn claim(
    common: &Common,
    client: &SwitchClient,
    election: ElectionId,
    revision: Revision,
) -> node::ClaimRequest {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half is the epoch"
    )]
    let epoch = election.0 as u64;
    node::ClaimRequest {
        device_id: client.device.0,
        cluster_id: common.cluster.clone(),
        epoch,
        revision: revision.0,
    }
}

/// Why a claim was refused; `None` when it was accepted, or the target knows no claims.
pub(super) fn refusal(
    answer: Result<node::ClaimResponse, Status>,
    cluster: &str,
) -> Result<Option<String>, Status> {
    match answer {
        Ok(answer) if answer.accepted => Ok(None),
        Ok(answer) if answer.cluster_id != cluster => Ok(Some(format!(
            "the switch belongs to cluster {}",
            answer.cluster_id
        ))),
        Ok(answer) => Ok(Some(format!(
            "the switch has seen r{} of epoch {}",
            answer.revision, answer.epoch
        ))),
        Err(status) if status.code() == Code::Unimplemented => Ok(None),
        Err(status) => Err(status),
    }
}
