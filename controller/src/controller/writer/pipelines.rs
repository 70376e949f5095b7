//! Declared pipelines: stored, offered to their switch, and active once the switch has accepted them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Writer;
use crate::compile::Desired;
use crate::handle::{
    DeletePipeline, HandleError, PipelineView, PutPipeline, WriteContext, WriteOutcome,
};
use crate::object::{self, Document};
use crate::pipeline::{Declared, Pipeline, PipelineSpec, Pipelines};
use crate::store::{Compare, Op, Record, Revision, Txn, TxnOutcome};

impl Writer {
    pub(super) async fn put_pipeline(
        &mut self,
        request: PutPipeline,
    ) -> Result<(PipelineView, WriteOutcome), HandleError> {
        let PutPipeline {
            switch,
            spec,
            context,
        } = request;
        let known = self.pipelines(&switch)?.known().declared;
        check(&switch, known.as_deref(), &context)?;
        let pipeline = spec
            .compile()
            .map_err(|errors| HandleError::Invalid { errors })?;
        let same = |known: &Declared| known.owner == context.owner && known.spec == spec;
        let outcome = match known.as_deref() {
            Some(known) if same(known) => WriteOutcome::Unchanged,
            Some(_) => WriteOutcome::Updated,
            None => WriteOutcome::Created,
        };
        if !context.dry_run && outcome != WriteOutcome::Unchanged {
            let document = Document {
                owner: context.owner.clone(),
                set: None,
                number: None,
                spec: &spec,
            };
            let put = Op::Put {
                key: object::pipeline_key(&switch),
                value: object::encode(&document),
                lease: None,
            };
            let revision = self.store_pipeline(&switch, known.as_deref(), put).await?;
            let declared = Arc::new(Declared {
                revision,
                owner: context.owner,
                spec,
                pipeline: Arc::new(pipeline),
            });
            self.declare_pipeline(&switch, Some(declared), revision)
                .await;
        }
        Ok((self.shared.pipeline_view(&switch)?, outcome))
    }

    pub(super) async fn delete_pipeline(
        &mut self,
        request: DeletePipeline,
    ) -> Result<Revision, HandleError> {
        let DeletePipeline { switch, context } = request;
        let known = self.pipelines(&switch)?.known().declared;
        check(&switch, known.as_deref(), &context)?;
        let Some(known) = known else {
            return Err(HandleError::NotFound {
                kind: "declared pipeline of",
                name: switch,
            });
        };
        if context.dry_run {
            return Ok(self.shared.revision());
        }
        let key = object::pipeline_key(&switch);
        let revision = self
            .store_pipeline(&switch, Some(&known), Op::Delete { key })
            .await?;
        self.declare_pipeline(&switch, None, revision).await;
        Ok(revision)
    }

    async fn store_pipeline(
        &self,
        switch: &str,
        known: Option<&Declared>,
        op: Op,
    ) -> Result<Revision, HandleError> {
        let key = object::pipeline_key(switch);
        let compare = match known {
            Some(known) => Compare::Unchanged {
                key,
                modified: known.revision,
            },
            None => Compare::Absent { key },
        };
        let txn = Txn {
            compare: vec![compare],
            ops: vec![op],
        };
        match self.store.txn(txn).await? {
            TxnOutcome::Committed { revision } => {
                self.advance(revision);
                self.forget_history(revision).await;
                Ok(revision)
            }
            TxnOutcome::Conflict { current, .. } => Err(HandleError::PreconditionFailed {
                current: current.map(|record| record.modified),
            }),
        }
    }

    /// Takes in what was declared now. A pipeline is offered first; the built-in one needs no asking.
    async fn declare_pipeline(
        &mut self,
        switch: &str,
        declared: Option<Arc<Declared>>,
        revision: Revision,
    ) {
        let Ok(pipelines) = self.pipelines(switch) else {
            return;
        };
        let offer = declared.as_ref().map(|new| Arc::clone(&new.pipeline));
        let active = pipelines.known().active;
        pipelines.change(|known| known.declared = declared);
        match offer {
            Some(offer) if offer.cookie == active.cookie => {}
            Some(offer) => {
                if let Some(mailbox) = self.mailboxes.get(switch) {
                    mailbox.post(revision, |news| news.offer = Some(Some(offer)));
                }
            }
            None => {
                let builtin = Arc::clone(&self.common.builtin);
                self.activate(switch, builtin).await;
            }
        }
    }

    /// What a switch says to a pipeline.
    pub(super) async fn judge_pipeline(&mut self, switch: &str, cookie: u64, accepted: bool) {
        let Ok(pipelines) = self.pipelines(switch) else {
            return;
        };
        let known = pipelines.known();
        let offered = known
            .declared
            .map(|declared| Arc::clone(&declared.pipeline))
            .filter(|pipeline| pipeline.cookie == cookie);
        match offered {
            Some(pipeline) if accepted => self.activate(switch, pipeline).await,
            // One that was accepted before this process, or before the switch was another.
            _ if !accepted && known.active.cookie == cookie => {
                let builtin = Arc::clone(&self.common.builtin);
                self.activate(switch, builtin).await;
            }
            // The answer to an offer that is void by now, or a refusal, which the switch's task shows.
            _ => {}
        }
    }

    /// Makes a pipeline the one that the controller works with: everything on the switch follows it.
    async fn activate(&mut self, switch: &str, pipeline: Arc<Pipeline>) {
        let Ok(pipelines) = self.pipelines(switch) else {
            return;
        };
        let before = pipelines.known().active;
        if before.cookie == pipeline.cookie {
            return;
        }
        tracing::info!(
            switch,
            pipeline = pipeline.schema.name,
            "pipeline is active"
        );
        pipelines.change(|known| known.active = Arc::clone(&pipeline));
        let programs = self.compile_switch(switch);
        let revision = self.shared.revision();
        if let Some(mailbox) = self.mailboxes.get(switch) {
            mailbox.post(revision, |news| {
                news.pipeline = Some(pipeline);
                news.offer = Some(None);
                news.programs = programs;
                // Where it is part of the fabric, the fabric follows.
                news.fabric = Some(Desired::default());
            });
        }
        self.compile_paths().await;
    }

    /// Takes in a stored pipeline. It counts as accepted: before the switch is heard, nothing shall change.
    pub(super) fn load_pipeline(&self, record: &Record) {
        let Some(switch) = record.key.strip_prefix(object::PIPELINES) else {
            return;
        };
        let Ok(pipelines) = self.pipelines(switch) else {
            tracing::warn!(
                key = record.key,
                "stored pipeline names a switch that is gone"
            );
            return;
        };
        let document: Document<PipelineSpec> = match serde_json::from_slice(&record.value) {
            Ok(document) => document,
            Err(error) => {
                tracing::error!(key = record.key, %error, "stored pipeline cannot be read");
                return;
            }
        };
        let pipeline = match document.spec.compile() {
            Ok(pipeline) => Arc::new(pipeline),
            Err(errors) => {
                let error = errors.first().map(ToString::to_string).unwrap_or_default();
                tracing::error!(key = record.key, error, "stored pipeline cannot be used");
                return;
            }
        };
        let declared = Arc::new(Declared {
            revision: record.modified,
            owner: document.owner,
            spec: document.spec,
            pipeline: Arc::clone(&pipeline),
        });
        pipelines.change(|known| {
            known.active = Arc::clone(&pipeline);
            known.declared = Some(declared);
        });
        if let Some(mailbox) = self.mailboxes.get(switch) {
            mailbox.post(record.modified, |news| {
                news.pipeline = Some(pipeline);
                news.fabric = Some(Desired::default());
            });
        }
    }

    /// Whether a switch is part of the fabric: it runs the built-in pipeline.
    pub(super) fn is_fabric(&self, switch: &str) -> bool {
        self.pipelines(switch)
            .is_ok_and(|pipelines| Arc::ptr_eq(&pipelines.known().active, &self.common.builtin))
    }

    /// The links at switches that are no part of the fabric.
    pub(super) fn foreign_links(&self) -> BTreeSet<String> {
        let foreign: BTreeSet<&String> = (self.model.switches.keys())
            .filter(|switch| !self.is_fabric(switch))
            .collect();
        let links = self.model.links.values();
        links
            .filter(|link| foreign.contains(&link.a.node) || foreign.contains(&link.b.node))
            .map(|link| link.name.clone())
            .collect()
    }

    pub(super) fn pipelines(&self, switch: &str) -> Result<&Pipelines, HandleError> {
        Ok(&self.shared.entry(switch)?.pipelines)
    }
}

fn check(
    switch: &str,
    known: Option<&Declared>,
    context: &WriteContext,
) -> Result<(), HandleError> {
    context.check_revision(known.map(|known| known.revision))?;
    match known {
        Some(known) if known.owner != context.owner && !context.force => {
            Err(HandleError::OwnedByOther {
                name: format!("the pipeline of {switch}"),
                owner: known.owner.clone(),
            })
        }
        _ => Ok(()),
    }
}
