//! Flows: validated, stored under conditions, handed to their switch.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_proto::vocab::{EntryKey, TableEntry};

use super::Writer;
use crate::flow::{self, CompiledFlow, FlowSpec};
use crate::handle::{
    DeleteAnswer, DeleteFlow, Diff, Flow, HandleError, PutFlow, PutFlowAnswer, WriteContext,
    WriteOutcome, flow_view,
};
use crate::object::{self, Document};
use crate::problem::{Code, FieldError};
use crate::store::{Compare, Op, Revision, Txn, TxnOutcome};

impl Writer {
    pub(super) async fn put_flow(
        &mut self,
        request: PutFlow,
    ) -> Result<PutFlowAnswer, HandleError> {
        let PutFlow {
            switch,
            name,
            spec,
            context,
        } = request;
        if !object::is_name(&name) {
            let detail = "a name has 1 to 253 characters of A-Z a-z 0-9 . _ -";
            return Err(HandleError::Invalid {
                errors: vec![FieldError::new("", Code::InvalidName, detail)],
            });
        }
        let ports = self.ports.get(&switch).ok_or_else(|| no_switch(&switch))?;
        let known = self.known_flow(&switch, &name);
        context.check_revision(known.as_ref().map(|flow| flow.revision))?;
        context.check_owner(&name, known.as_ref().map(|flow| flow.owner.as_str()))?;
        check_set(&switch, &name, known.as_deref(), &context)?;
        let compiled = flow::compile(&self.common.schema, ports, &switch, &spec)
            .map_err(|errors| HandleError::Invalid { errors })?;
        self.check_keys(&switch, &name, &compiled)?;
        let empty = BTreeMap::new();
        let before = known
            .as_ref()
            .map_or_else(|| empty, |flow| by_key(&flow.compiled.entries));
        let diff = diff(&before, &by_key(&compiled.entries));
        let outcome = match &known {
            None => WriteOutcome::Created,
            Some(flow)
                if flow.owner == context.owner
                    && flow.set.is_none()
                    && flow.compiled.normalised == compiled.normalised =>
            {
                WriteOutcome::Unchanged
            }
            Some(_) => WriteOutcome::Updated,
        };
        let mut flow = Flow {
            revision: known
                .as_ref()
                .map_or_else(Revision::default, |flow| flow.revision),
            owner: context.owner.clone(),
            set: None,
            spec,
            compiled: Arc::new(compiled),
            misfit: None,
        };
        if outcome != WriteOutcome::Unchanged && !context.dry_run {
            flow.revision = self
                .store_flow(&switch, &name, known.as_deref(), &flow)
                .await?;
            self.install_flow(&switch, &name, Some(flow.clone()));
        }
        let status = self.shared.status(&switch)?;
        Ok(PutFlowAnswer {
            flow: flow_view(&switch, &name, &flow, &status),
            outcome,
            diff,
        })
    }

    pub(super) async fn delete_flow(
        &mut self,
        request: DeleteFlow,
    ) -> Result<DeleteAnswer, HandleError> {
        let DeleteFlow {
            switch,
            name,
            context,
        } = request;
        if !self.ports.contains_key(&switch) {
            return Err(no_switch(&switch));
        }
        let known = self
            .known_flow(&switch, &name)
            .ok_or_else(|| HandleError::NotFound {
                kind: "flow",
                name: name.clone(),
            })?;
        context.check_revision(Some(known.revision))?;
        context.check_owner(&name, Some(&known.owner))?;
        check_set(&switch, &name, Some(&known), &context)?;
        let diff = Diff {
            remove: known.compiled.entries.len(),
            ..Diff::default()
        };
        if context.dry_run {
            return Ok(DeleteAnswer {
                revision: self.shared.revision(),
                diff,
            });
        }
        let key = object::flow_key(&switch, &name);
        let txn = Txn {
            compare: vec![Compare::Unchanged {
                key: key.clone(),
                modified: known.revision,
            }],
            ops: vec![Op::Delete { key }],
        };
        let revision = self.commit(txn).await?;
        self.install_flow_at(&switch, &name, None, revision);
        Ok(DeleteAnswer { revision, diff })
    }

    /// Deletes flows of which no entry was hit for its idle timeout; each entry is reported on its own.
    pub(super) async fn expire_flows(&mut self, switch: &str, idle: &[EntryKey]) {
        for key in idle {
            let Some(name) = self
                .keys
                .get(switch)
                .and_then(|keys| keys.get(key))
                .cloned()
            else {
                continue;
            };
            let Some(flow) = self.known_flow(switch, &name) else {
                continue;
            };
            let known = self
                .idle
                .entry((switch.to_owned(), name.clone()))
                .or_default();
            known.insert(key.clone());
            if !flow
                .compiled
                .entries
                .iter()
                .all(|entry| known.contains(&entry.key))
            {
                continue;
            }
            let context = WriteContext {
                owner: "system".to_owned(),
                force: true,
                ..WriteContext::default()
            };
            let request = DeleteFlow {
                switch: switch.to_owned(),
                name,
                context,
            };
            if let Err(error) = self.delete_flow(request).await {
                tracing::warn!(%error, switch, "idle flow is not deleted");
            }
        }
    }

    pub(super) fn known_flow(&self, switch: &str, name: &str) -> Option<Arc<Flow>> {
        self.shared.read().flows.get(switch)?.get(name).cloned()
    }

    /// Refuses entries that another flow of the switch has already.
    fn check_keys(
        &self,
        switch: &str,
        name: &str,
        compiled: &CompiledFlow,
    ) -> Result<(), HandleError> {
        let mut entries = compiled.entries.iter();
        entries.try_for_each(|entry| self.check_key(switch, name, &entry.key))
    }

    /// Refuses a place that something else on the switch has already.
    pub(super) fn check_key(
        &self,
        switch: &str,
        name: &str,
        key: &EntryKey,
    ) -> Result<(), HandleError> {
        let known = self.keys.get(switch).and_then(|keys| keys.get(key));
        let Some(other) = known.filter(|other| *other != name) else {
            return Ok(());
        };
        let kind = if other.contains('/') { "entry" } else { "flow" };
        Err(HandleError::Conflict {
            detail: format!("{kind} {other} of {switch} has the same match and priority"),
            with: other.clone(),
        })
    }

    async fn store_flow(
        &mut self,
        switch: &str,
        name: &str,
        known: Option<&Flow>,
        flow: &Flow,
    ) -> Result<Revision, HandleError> {
        let key = object::flow_key(switch, name);
        let compare = match known {
            Some(known) => Compare::Unchanged {
                key: key.clone(),
                modified: known.revision,
            },
            None => Compare::Absent { key: key.clone() },
        };
        let document: Document<&FlowSpec> = Document {
            owner: flow.owner.clone(),
            set: None,
            spec: &flow.spec,
        };
        let put = Op::Put {
            key,
            value: object::encode(&document),
            lease: None,
        };
        self.commit(Txn {
            compare: vec![compare],
            ops: vec![put],
        })
        .await
    }

    pub(super) async fn commit(&mut self, txn: Txn) -> Result<Revision, HandleError> {
        match self.store.txn(txn).await? {
            TxnOutcome::Committed { revision } => {
                self.forget_history(revision).await;
                Ok(revision)
            }
            // Somebody else writes this store: take in what they wrote, and let the caller decide again.
            TxnOutcome::Conflict { key, current } => {
                let revision = current.as_ref().map(|record| record.modified);
                if let Some(record) = &current {
                    self.load_flow(record);
                    self.load_entry(record);
                    self.load_flow_set(record);
                } else if let Some((switch, name)) = object::parse_flow_key(&key) {
                    self.install_flow(switch, name, None);
                } else if let Some((switch, table, name)) = object::parse_entry_key(&key) {
                    self.install_entry(switch, table, name, None, Revision::default());
                } else {
                    self.forget_flow_set(&key);
                }
                Err(HandleError::PreconditionFailed { current: revision })
            }
        }
    }

    /// Takes in a stored flow, or its end, and tells its switch.
    pub(super) fn install_flow(&mut self, switch: &str, name: &str, flow: Option<Flow>) {
        let revision = flow
            .as_ref()
            .map_or_else(Revision::default, |flow| flow.revision);
        self.install_flow_at(switch, name, flow, revision);
    }

    fn install_flow_at(
        &mut self,
        switch: &str,
        name: &str,
        flow: Option<Flow>,
        revision: Revision,
    ) {
        self.install_flows(switch, vec![(name.to_owned(), flow)], revision);
    }

    /// The same for several flows of a switch, of which it hears at once.
    pub(super) fn install_flows(
        &mut self,
        switch: &str,
        changed: Vec<(String, Option<Flow>)>,
        revision: Revision,
    ) {
        let keys = self.keys.entry(switch.to_owned()).or_default();
        let mut state = self.shared.write();
        state.revision = state.revision.max(revision);
        let flows = state.flows.entry(switch.to_owned()).or_default();
        let mut news = Vec::new();
        // All that go first: one may take another's place.
        for (name, _) in &changed {
            self.idle.remove(&(switch.to_owned(), name.clone()));
            let old = flows.remove(name);
            for entry in old.iter().flat_map(|old| &old.compiled.entries) {
                if keys.get(&entry.key).is_some_and(|owner| owner == name) {
                    keys.remove(&entry.key);
                }
            }
        }
        for (name, flow) in changed {
            news.push((
                name.clone(),
                flow.as_ref().map(|flow| Arc::clone(&flow.compiled)),
            ));
            if let Some(flow) = flow {
                for entry in &flow.compiled.entries {
                    keys.insert(entry.key.clone(), name.clone());
                }
                flows.insert(name, Arc::new(flow));
            }
        }
        let revision = state.revision;
        drop(state);
        if let Some(mailbox) = self.mailboxes.get(switch) {
            mailbox.post(revision, |mail| mail.flows.extend(news));
        }
    }
}

/// Refuses to change one flow of a set alone.
fn check_set(
    switch: &str,
    name: &str,
    known: Option<&Flow>,
    context: &WriteContext,
) -> Result<(), HandleError> {
    let set = known.and_then(|flow| flow.set.as_ref());
    match set.filter(|_| !context.force) {
        None => Ok(()),
        Some(set) => Err(HandleError::Conflict {
            detail: format!("flow {name} of {switch} is part of a flow set"),
            with: set.clone(),
        }),
    }
}

pub(super) fn no_switch(name: &str) -> HandleError {
    HandleError::NotFound {
        kind: "switch",
        name: name.to_owned(),
    }
}

pub(super) fn by_key(entries: &[TableEntry]) -> BTreeMap<&EntryKey, &TableEntry> {
    entries.iter().map(|entry| (&entry.key, entry)).collect()
}

pub(super) fn diff(
    before: &BTreeMap<&EntryKey, &TableEntry>,
    after: &BTreeMap<&EntryKey, &TableEntry>,
) -> Diff {
    let mut diff = Diff::default();
    for (key, entry) in after {
        match before.get(key) {
            None => diff.add += 1,
            Some(old) if old == entry => diff.unchanged += 1,
            Some(_) => diff.change += 1,
        }
    }
    diff.remove = before
        .keys()
        .filter(|key| !after.contains_key(*key))
        .count();
    diff
}
