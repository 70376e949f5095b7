//! Raw table entries, as handles see them.

use std::sync::Arc;

use weft_proto::schema::TableSchema;
use weft_proto::vocab::TableEntry;

use super::shared::object_status;
use super::{Diff, HandleError, Shared, WriteContext, WriteOutcome};
use crate::flow::CompiledFlow;
use crate::raw::EntrySpec;
use crate::southbound::SwitchClient;
use crate::status::{FlowStatus, Phase, SwitchStatus};
use crate::store::Revision;

/// A raw entry to declare.
#[derive(Clone, Debug, PartialEq)]
pub struct PutEntry {
    /// The switch.
    pub switch: String,
    /// The table.
    pub table: String,
    /// The entry's name in its table.
    pub name: String,
    /// What it says.
    pub spec: EntrySpec,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// A raw entry to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteEntry {
    /// The switch.
    pub switch: String,
    /// The table.
    pub table: String,
    /// The entry's name in its table.
    pub name: String,
    /// Who writes, and how.
    pub context: WriteContext,
}

/// A raw entry with everything that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryView {
    /// The switch it is on.
    pub switch: String,
    /// Its table.
    pub table: String,
    /// Its name in its table.
    pub name: String,
    /// The revision that wrote it last; its ETag.
    pub revision: Revision,
    /// Who made it.
    pub owner: String,
    /// The entry in normal form.
    pub spec: EntrySpec,
    /// The same for the switch; none where it does not fit the pipeline that runs now.
    pub entry: Option<TableEntry>,
    /// How far it has come.
    pub status: FlowStatus,
}

/// Answer to [`super::Handle::put_entry`].
#[derive(Clone, Debug, PartialEq)]
pub struct PutEntryAnswer {
    /// The entry as it is, or would be, stored.
    pub entry: EntryView,
    /// What the write did, or would do.
    pub outcome: WriteOutcome,
    /// Table entries on the switch that the write adds, changes and removes.
    pub diff: Diff,
}

/// A stored raw entry and what it becomes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawEntry {
    pub(crate) revision: Revision,
    pub(crate) owner: String,
    /// In normal form where it fits.
    pub(crate) spec: EntrySpec,
    /// As a flow of one entry, which is what the reconciler takes.
    pub(crate) compiled: Arc<CompiledFlow>,
    /// Why it does not fit the pipeline that runs now.
    pub(crate) misfit: Option<String>,
}

/// What an entry is called where flows have their names; no flow has a name with a slash.
pub(crate) fn full_name(table: &str, name: &str) -> String {
    format!("{table}/{name}")
}

/// An entry with its phase, computed from what its switch has reported.
pub(crate) fn entry_view(
    switch: &str,
    (table, name): (&str, &str),
    raw: &RawEntry,
    status: &SwitchStatus,
) -> EntryView {
    EntryView {
        switch: switch.to_owned(),
        table: table.to_owned(),
        name: name.to_owned(),
        revision: raw.revision,
        owner: raw.owner.clone(),
        spec: raw.spec.clone(),
        entry: raw.compiled.entries.first().cloned(),
        status: object_status(raw.revision, raw.misfit.as_deref(), &raw.compiled, status),
    }
}

impl Shared {
    pub(crate) fn table(&self, switch: &str, table: &str) -> Result<TableSchema, HandleError> {
        let schema = self.pipeline(switch)?;
        let found = schema.table_by_name(table).cloned();
        found.ok_or_else(|| HandleError::NotFound {
            kind: "table",
            name: table.to_owned(),
        })
    }

    pub(crate) fn entries(&self, switch: &str, table: &str) -> Result<Vec<EntryView>, HandleError> {
        let table = self.table(switch, table)?.name;
        let status = self.status(switch)?;
        let state = self.read();
        let views = state.entries.get(switch).into_iter().flatten();
        let views = views.filter(|((of, _), _)| *of == table);
        Ok(views
            .map(|((table, name), raw)| entry_view(switch, (table, name), raw, &status))
            .collect())
    }

    pub(crate) fn raw_entry(
        &self,
        switch: &str,
        table: &str,
        name: &str,
    ) -> Result<EntryView, HandleError> {
        let table = self.table(switch, table)?.name;
        let status = self.status(switch)?;
        let state = self.read();
        let found = state.entries.get(switch);
        let found = found.and_then(|entries| entries.get(&(table.clone(), name.to_owned())));
        let raw = found.ok_or_else(|| HandleError::NotFound {
            kind: "entry",
            name: full_name(&table, name),
        })?;
        Ok(entry_view(switch, (&table, name), raw, &status))
    }

    pub(crate) async fn raw_entry_with_counters(
        &self,
        switch: &str,
        table: &str,
        name: &str,
    ) -> Result<EntryView, HandleError> {
        let mut view = self.raw_entry(switch, table, name)?;
        let at = self.entry(switch)?;
        if view.status.phase == Phase::Realized && at.status.borrow().reachable {
            let mut client = SwitchClient::new(self.channel.clone(), at.device);
            let entries: Vec<TableEntry> = view.entry.iter().cloned().collect();
            match client.counters(&at.schema, &entries).await {
                Ok(counters) => view.status.counters = counters,
                Err(error) => tracing::debug!(switch, error = error.message(), "no counters"),
            }
        }
        Ok(view)
    }
}
