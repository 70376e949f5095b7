//! Raw table entries: typed, stored under conditions, and handed to their switch as flows are.

use std::collections::BTreeSet;
use std::sync::Arc;

use weft_proto::schema::TableSchema;
use weft_proto::vocab::{EntryKey, TableEntry};

use super::Writer;
use super::flows::{by_key, diff, no_switch};
use crate::compile::Fabric;
use crate::flow::{CompiledFlow, FlowSpec};
use crate::handle::{
    DeleteAnswer, DeleteEntry, Diff, HandleError, PutEntry, PutEntryAnswer, RawEntry, WriteOutcome,
    entry_view, full_name,
};
use crate::object::{self, Document};
use crate::problem::{Code, FieldError};
use crate::raw::{self, EntrySpec};
use crate::store::{Compare, Op, Record, Revision, Txn};

impl Writer {
    pub(super) async fn put_entry(
        &mut self,
        request: PutEntry,
    ) -> Result<PutEntryAnswer, HandleError> {
        let PutEntry {
            switch,
            table,
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
        let table = self.shared.table(&switch, &table)?;
        let known = self.known_entry(&switch, &table.name, &name);
        context.check_revision(known.as_ref().map(|raw| raw.revision))?;
        context.check_owner(&name, known.as_ref().map(|raw| raw.owner.as_str()))?;
        check_table(&switch, &table)?;
        let (spec, entry) = raw::compile(&self.common.schema, ports, &table, &spec)
            .map_err(|errors| HandleError::Invalid { errors })?;
        self.check_entry_key(&switch, &full_name(&table.name, &name), &entry.key)?;
        let before = known.as_ref().map(|raw| Arc::clone(&raw.compiled));
        let before: &[TableEntry] = before.as_ref().map_or(&[], |flow| &flow.entries);
        let compiled = alone(vec![entry]);
        let diff = diff(&by_key(before), &by_key(&compiled.entries));
        let outcome = match &known {
            None => WriteOutcome::Created,
            Some(raw) if raw.owner == context.owner && raw.spec == spec => WriteOutcome::Unchanged,
            Some(_) => WriteOutcome::Updated,
        };
        let mut raw = RawEntry {
            revision: known
                .as_ref()
                .map_or_else(Revision::default, |raw| raw.revision),
            owner: context.owner.clone(),
            spec,
            compiled: Arc::new(compiled),
            misfit: None,
        };
        if outcome != WriteOutcome::Unchanged && !context.dry_run {
            let key = object::entry_key(&switch, &table.name, &name);
            let document: Document<&EntrySpec> = Document {
                owner: raw.owner.clone(),
                set: None,
                spec: &raw.spec,
            };
            let put = Op::Put {
                key: key.clone(),
                value: object::encode(&document),
                lease: None,
            };
            let compare = match &known {
                Some(known) => Compare::Unchanged {
                    key,
                    modified: known.revision,
                },
                None => Compare::Absent { key },
            };
            raw.revision = self
                .commit(Txn {
                    compare: vec![compare],
                    ops: vec![put],
                })
                .await?;
            self.install_entry(&switch, &table.name, &name, Some(raw.clone()), raw.revision);
        }
        let status = self.shared.status(&switch)?;
        Ok(PutEntryAnswer {
            entry: entry_view(&switch, (&table.name, &name), &raw, &status),
            outcome,
            diff,
        })
    }

    pub(super) async fn delete_entry(
        &mut self,
        request: DeleteEntry,
    ) -> Result<DeleteAnswer, HandleError> {
        let DeleteEntry {
            switch,
            table,
            name,
            context,
        } = request;
        let table = self.shared.table(&switch, &table)?.name;
        let known =
            self.known_entry(&switch, &table, &name)
                .ok_or_else(|| HandleError::NotFound {
                    kind: "entry",
                    name: full_name(&table, &name),
                })?;
        context.check_revision(Some(known.revision))?;
        context.check_owner(&name, Some(&known.owner))?;
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
        let key = object::entry_key(&switch, &table, &name);
        let txn = Txn {
            compare: vec![Compare::Unchanged {
                key: key.clone(),
                modified: known.revision,
            }],
            ops: vec![Op::Delete { key }],
        };
        let revision = self.commit(txn).await?;
        self.install_entry(&switch, &table, &name, None, revision);
        Ok(DeleteAnswer { revision, diff })
    }

    /// Takes in a stored entry.
    pub(super) fn load_entry(&mut self, record: &Record) {
        let Some((switch, table, name)) = object::parse_entry_key(&record.key) else {
            return;
        };
        let Ok(document) = serde_json::from_slice::<Document<EntrySpec>>(&record.value) else {
            tracing::error!(key = record.key, "stored entry cannot be read");
            return;
        };
        let Some(ports) = self.ports.get(switch) else {
            tracing::warn!(key = record.key, "stored entry names a switch that is gone");
            return;
        };
        let schema = &self.common.schema;
        // What was stored under another pipeline stays readable and deletable, whether or not it fits this one.
        let compiled = match schema.table_by_name(table) {
            Some(table) => raw::compile(schema, ports, table, &document.spec)
                .map_err(|errors| errors.first().map(ToString::to_string).unwrap_or_default()),
            None => Err(format!("there is no table {table}")),
        };
        let (spec, entries, misfit) = match compiled {
            Ok((spec, entry)) => (spec, vec![entry], None),
            Err(detail) => (document.spec, vec![], Some(detail)),
        };
        let raw = RawEntry {
            revision: record.modified,
            owner: document.owner,
            spec,
            compiled: Arc::new(alone(entries)),
            misfit,
        };
        let (switch, table, name) = (switch.to_owned(), table.to_owned(), name.to_owned());
        self.install_entry(&switch, &table, &name, Some(raw), record.modified);
    }

    /// Takes in an entry, or its end, and tells its switch.
    pub(super) fn install_entry(
        &mut self,
        switch: &str,
        table: &str,
        name: &str,
        raw: Option<RawEntry>,
        revision: Revision,
    ) {
        let full = full_name(table, name);
        let keys = self.keys.entry(switch.to_owned()).or_default();
        let mut state = self.shared.write();
        state.revision = state.revision.max(revision);
        let entries = state.entries.entry(switch.to_owned()).or_default();
        let place = (table.to_owned(), name.to_owned());
        if let Some(old) = entries.remove(&place) {
            for entry in &old.compiled.entries {
                if keys.get(&entry.key) == Some(&full) {
                    keys.remove(&entry.key);
                }
            }
        }
        let compiled = raw.as_ref().map(|raw| Arc::clone(&raw.compiled));
        if let Some(raw) = raw {
            for entry in &raw.compiled.entries {
                keys.insert(entry.key.clone(), full.clone());
            }
            entries.insert(place, Arc::new(raw));
        }
        let revision = state.revision;
        drop(state);
        if let Some(mailbox) = self.mailboxes.get(switch) {
            mailbox.post(revision, |news| {
                news.flows.insert(full, compiled);
            });
        }
    }

    fn known_entry(&self, switch: &str, table: &str, name: &str) -> Option<Arc<RawEntry>> {
        let place = (table.to_owned(), name.to_owned());
        self.shared.read().entries.get(switch)?.get(&place).cloned()
    }

    /// Refuses a place that a flow, another entry, or the fabric has.
    fn check_entry_key(&self, switch: &str, name: &str, key: &EntryKey) -> Result<(), HandleError> {
        self.check_key(switch, name, key)?;
        let none = BTreeSet::new();
        let down = self.compiled.as_ref().unwrap_or(&none);
        let fabric = Fabric::new(&self.model, down, &self.common.schema).ok();
        let wanted = fabric.and_then(|fabric| fabric.switch(switch));
        if wanted.is_some_and(|wanted| wanted.entries.contains_key(key)) {
            return Err(HandleError::Conflict {
                detail: format!("the fabric has an entry of {switch} with this match"),
                with: "fabric".to_owned(),
            });
        }
        Ok(())
    }
}

/// Refuses tables whose entries nobody can change.
fn check_table(switch: &str, table: &TableSchema) -> Result<(), HandleError> {
    if table.is_const {
        return Err(HandleError::Conflict {
            detail: format!(
                "the entries of table {} of {switch} are constant",
                table.name
            ),
            with: table.name.clone(),
        });
    }
    Ok(())
}

/// An entry as the reconciler takes it.
fn alone(entries: Vec<TableEntry>) -> CompiledFlow {
    CompiledFlow {
        normalised: FlowSpec::default(),
        entries,
        groups: Vec::new(),
        warnings: Vec::new(),
    }
}
