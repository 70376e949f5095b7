//! Declared resources: compiled together, stored in one transaction, handed to their switches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use weft_proto::vocab::EntryKey;

use super::Writer;
use super::draft::{Draft, Drafted, Edit};
use crate::handle::{
    ChangeKind, DeleteAnswer, DeleteResource, HandleError, PutAnswer, PutResource, WriteContext,
    not_found,
};
use crate::object::{self, Document};
use crate::problem::{Code, FieldError, pointer_to};
use crate::resource::{Compiled, Declared, Kind, Place, Program, Resource, Resources, Scope};
use crate::store::{Compare, Op, Record, Revision, Txn, TxnOutcome};

/// What a compile has to know of a resource besides its document.
#[derive(Clone, Copy, Debug)]
struct About {
    number: Option<u32>,
    is_member: bool,
}

/// What a switch holds for a resource by its key from now on; `None` for what is gone.
type Change = (String, Option<Arc<Program>>);

impl Writer {
    pub(super) async fn put(&mut self, request: PutResource) -> Result<PutAnswer, HandleError> {
        let PutResource {
            place,
            spec,
            context,
        } = request;
        if !object::is_name(place.name()) {
            let error = FieldError::new("/name", Code::InvalidName, object::NAME_RULE);
            return Err(HandleError::Invalid {
                errors: vec![error],
            });
        }
        self.shared.check_parents(&place)?;
        self.check_table(&place)?;
        let known = self.known(&place);
        context.check_revision(known.as_ref().map(|known| known.revision))?;
        let edit = Edit::new(place.clone(), Some(spec));
        let draft = self.draft(&context, vec![edit])?;
        let (diff, changes) = draft.diff(&place);
        let outcome = draft.outcome(&place);
        if !context.dry_run {
            self.carry_out(&draft).await?;
        }
        let made = draft.resource(&place).filter(|_| context.dry_run);
        Ok(PutAnswer {
            resource: self.shared.answer(&place, made)?,
            outcome,
            diff,
            changes,
        })
    }

    pub(super) async fn delete(
        &mut self,
        request: DeleteResource,
    ) -> Result<DeleteAnswer, HandleError> {
        let DeleteResource { place, context } = request;
        self.shared.check_parents(&place)?;
        let known = self.known(&place).ok_or_else(|| not_found(&place))?;
        context.check_revision(Some(known.revision))?;
        let draft = self.draft(&context, vec![Edit::new(place.clone(), None)])?;
        let (diff, _) = draft.diff(&place);
        let revision = if context.dry_run {
            self.shared.revision()
        } else {
            self.carry_out(&draft).await?
        };
        Ok(DeleteAnswer { revision, diff })
    }

    /// Deletes flows that nothing hit for their idle timeout.
    pub(super) async fn expire_flows(&mut self, switch: &str, tags: &[String]) {
        for tag in tags {
            let place = Place::flow(switch, tag);
            // One that was declared anew meanwhile without a timeout, or is gone, is not idle.
            let has_timeout = self.known(&place).is_some_and(|flow| {
                let mut entries = flow.program.entries.iter();
                entries.any(|entry| entry.idle_timeout_ns > 0)
            });
            if !has_timeout {
                continue;
            }
            let context = WriteContext {
                owner: "system".to_owned(),
                force: true,
                ..WriteContext::default()
            };
            if let Err(error) = self.delete(DeleteResource { place, context }).await {
                tracing::warn!(%error, switch, "idle flow is not deleted");
            }
        }
    }

    fn known(&self, place: &Place) -> Option<Arc<Resource>> {
        self.shared.read().resources.get(place).cloned()
    }

    /// Compiles edits together, against everything else that is declared.
    ///
    /// # Errors
    ///
    /// Every mistake in the documents; else the first thing of others that is in the way.
    pub(super) fn draft(
        &self,
        context: &WriteContext,
        edits: Vec<Edit>,
    ) -> Result<Draft, HandleError> {
        let shared = Arc::clone(&self.shared);
        let state = shared.read();
        let mut draft = Draft::default();
        let mut errors = Vec::new();
        let mut puts = Vec::new();
        for mut edit in edits {
            let known = state.resources.get(&edit.place);
            context.check_writer(&edit.place, known.map(|known| &**known), None)?;
            let set = edit.place.clone();
            let mut members = Vec::new();
            if let Some(spec) = &mut edit.spec {
                match set.kind.members(spec) {
                    Ok(found) => members = found,
                    Err(mistakes) => {
                        let mistakes = mistakes.into_iter();
                        errors.extend(mistakes.map(|mistake| mistake.under(&edit.pointer)));
                        continue;
                    }
                }
            }
            let wanted: BTreeSet<_> = members.iter().map(|member| &member.place).collect();
            for (place, known) in state.resources.members(&set) {
                if !wanted.contains(place) {
                    draft.remove(place.clone(), Arc::clone(known), Some(set.clone()));
                }
            }
            puts.extend(members.into_iter().map(|member| Edit {
                place: member.place,
                pointer: format!("{}{}", edit.pointer, member.pointer),
                spec: Some(member.spec),
                set: Some(set.clone()),
            }));
            match (&edit.spec, known) {
                (Some(_), _) => puts.push(edit),
                (None, Some(known)) => draft.remove(edit.place, Arc::clone(known), None),
                (None, None) => {}
            }
        }
        // What is referred to is compiled before what refers to it.
        puts.sort_by_key(|edit| edit.place.kind);
        let mut places: BTreeMap<Place, String> = BTreeMap::new();
        for edit in puts {
            let Edit {
                place,
                pointer,
                spec,
                set,
            } = edit;
            let known = state.resources.get(&place).cloned();
            let drafted = Drafted {
                resources: &state.resources,
                draft: &draft,
            };
            let number = match self.number(&drafted, &place, known.as_deref()) {
                Ok(number) => number,
                Err(mistake) => {
                    errors.push(mistake.under(&pointer));
                    continue;
                }
            };
            let spec = spec.unwrap_or_default();
            let about = About {
                number,
                is_member: set.is_some(),
            };
            let compiled = match self.compile_one(&drafted, &place, spec, about) {
                Ok(compiled) => compiled,
                Err(mistakes) => {
                    let mistakes = mistakes.into_iter();
                    errors.extend(mistakes.map(|mistake| mistake.under(&pointer)));
                    continue;
                }
            };
            if let Some(detail) = draft.claim(&place, &compiled.program) {
                let pointer = pointer_to(&pointer, "match");
                errors.push(FieldError::new(pointer, Code::Conflict, detail));
            }
            if places.insert(place.clone(), pointer.clone()).is_some() {
                let detail = format!("{place} stands twice");
                let pointer = pointer_to(&pointer, "name");
                errors.push(FieldError::new(pointer, Code::Duplicate, detail));
            }
            let resource = Resource {
                revision: known.as_ref().map(|r| r.revision).unwrap_or_default(),
                owner: context.owner.clone(),
                set: set.as_ref().map(|set| set.name().to_owned()),
                number,
                spec: compiled.spec,
                program: Arc::new(compiled.program),
                references: compiled.references,
                warnings: compiled.warnings,
                misfit: None,
            };
            draft.put(place, resource, known, set);
        }
        if !errors.is_empty() {
            return Err(HandleError::Invalid { errors });
        }
        self.follow_references(&state.resources, &mut draft)?;
        draft.settle_sets();
        for (place, change) in draft.changes() {
            if let Some(set) = &change.set {
                context.check_writer(place, change.known.as_deref(), Some(set))?;
            }
            if let Some(resource) = &change.resource {
                for entry in &resource.program.entries {
                    self.check_key(&draft, place, &entry.key)?;
                }
            }
        }
        Ok(draft)
    }

    /// The number that a resource goes by on its switch, where its kind has numbers: the one it has, or a free one.
    fn number(
        &self,
        drafted: &Drafted<'_>,
        place: &Place,
        known: Option<&Resource>,
    ) -> Result<Option<u32>, FieldError> {
        let known = known.and_then(|known| known.number);
        let numbers = place.switch().and_then(|switch| {
            let schema = self.shared.pipeline(switch).ok()?;
            place.kind.numbers(&schema)
        });
        match numbers {
            Some(numbers) if known.is_none_or(|known| !numbers.contains(&known)) => {
                let free = drafted.number(place, &numbers);
                free.map(Some).ok_or_else(|| {
                    let count = numbers.count();
                    let detail = format!("{count} fit on a switch, and there are as many");
                    FieldError::new("", Code::OutOfRange, detail)
                })
            }
            _ => Ok(known),
        }
    }

    /// Compiles what refers to something that changes; refuses to take away what something refers to.
    fn follow_references(
        &self,
        resources: &Resources,
        draft: &mut Draft,
    ) -> Result<(), HandleError> {
        let changed = draft.changes().map(|(place, change)| {
            let is_gone = change.resource.is_none();
            (place.clone(), is_gone)
        });
        let changed: Vec<(Place, bool)> = changed.collect();
        for (place, is_gone) in changed {
            let users = self.users.get(&place).into_iter().flatten();
            let others = |user: &&Place| !draft.has(user) && resources.get(user).is_some();
            let users: Vec<&Place> = users.filter(others).collect();
            if is_gone && !users.is_empty() {
                let names: Vec<String> = users.iter().map(ToString::to_string).collect();
                return Err(HandleError::Conflict {
                    detail: format!("{place} is in use"),
                    with: names.join(", "),
                });
            }
            for user in users {
                let Some(known) = resources.get(user) else {
                    continue;
                };
                let drafted = Drafted { resources, draft };
                let about = About {
                    number: known.number,
                    is_member: known.set.is_some(),
                };
                let compiled = self.compile_one(&drafted, user, known.spec.clone(), about);
                let compiled = compiled.map_err(|errors| HandleError::Conflict {
                    detail: format!(
                        "{place} is in use by {user}: {}",
                        errors
                            .first()
                            .map(|e| e.detail.as_str())
                            .unwrap_or_default()
                    ),
                    with: user.local().to_owned(),
                })?;
                if compiled.program == *known.program {
                    continue;
                }
                let resource = Resource {
                    program: Arc::new(compiled.program),
                    references: compiled.references,
                    warnings: compiled.warnings,
                    misfit: None,
                    ..Resource::clone(known)
                };
                draft.recompile(user.clone(), resource, Arc::clone(known));
            }
        }
        Ok(())
    }

    fn compile_one(
        &self,
        declared: &dyn Declared,
        place: &Place,
        spec: Value,
        About { number, is_member }: About,
    ) -> Result<Compiled, Vec<FieldError>> {
        let none = BTreeMap::new();
        let builtin = || Arc::clone(&self.common.builtin.schema);
        let (ports, schema) = match place.switch() {
            None => (&none, builtin()),
            Some(switch) => match self.ports.get(switch) {
                Some(ports) => (
                    ports,
                    self.shared.pipeline(switch).unwrap_or_else(|_| builtin()),
                ),
                None => {
                    let detail = format!("there is no switch {switch}");
                    let error = FieldError::new("/switch", Code::NoSuchSwitch, detail);
                    return Err(vec![error.with_allowed(switch, self.ports.keys().cloned())]);
                }
            },
        };
        let scope = Scope {
            schema: &schema,
            ports,
            is_member,
            number: number.unwrap_or_default(),
            declared,
        };
        place.kind.compile(&scope, place, spec)
    }

    /// Refuses an entry in a place that something else on the switch has already.
    fn check_key(&self, draft: &Draft, place: &Place, key: &EntryKey) -> Result<(), HandleError> {
        let Some(switch) = place.switch() else {
            return Ok(());
        };
        let holder = self.keys.get(switch).and_then(|keys| keys.get(key));
        if let Some(holder) = holder.filter(|holder| !draft.has(holder)) {
            return Err(HandleError::Conflict {
                detail: format!("{holder} has the same match and priority"),
                with: holder.local().to_owned(),
            });
        }
        if place.kind == Kind::Entry {
            self.check_fabric(switch, key)?;
        }
        Ok(())
    }

    /// Stores what a draft changes in one transaction, and takes it in.
    pub(super) async fn carry_out(&mut self, draft: &Draft) -> Result<Revision, HandleError> {
        let mut txn = Txn::default();
        for (place, change) in draft.changes() {
            if change.kind() == ChangeKind::Unchanged {
                continue;
            }
            let key = place.key();
            txn.compare.push(match &change.known {
                Some(known) => Compare::Unchanged {
                    key: key.clone(),
                    modified: known.revision,
                },
                None => Compare::Absent { key: key.clone() },
            });
            txn.ops.push(match &change.resource {
                Some(resource) => Op::Put {
                    key,
                    value: object::encode(&Document {
                        owner: resource.owner.clone(),
                        set: resource.set.clone(),
                        number: resource.number,
                        spec: &resource.spec,
                    }),
                    lease: None,
                },
                None => Op::Delete { key },
            });
        }
        if txn.ops.is_empty() && !draft.changes().any(|(_, change)| change.is_recompiled()) {
            return Ok(self.shared.revision());
        }
        let revision = self.commit(txn).await?;
        let changed = draft.changes();
        let changed = changed
            .filter(|(_, change)| change.kind() != ChangeKind::Unchanged || change.is_recompiled());
        let changed = changed.map(|(place, change)| {
            let resource = change.resource.clone().map(|mut resource| {
                if !change.is_recompiled() {
                    resource.revision = revision;
                }
                resource
            });
            (place.clone(), resource)
        });
        let changed = changed.collect();
        self.install(changed, revision);
        Ok(revision)
    }

    async fn commit(&mut self, txn: Txn) -> Result<Revision, HandleError> {
        match self.store.txn(txn).await? {
            TxnOutcome::Committed { revision } => {
                self.forget_history(revision).await;
                Ok(revision)
            }
            // Somebody else writes this store: take in what they wrote, and let the caller decide again.
            TxnOutcome::Conflict { key, current } => {
                let revision = current.as_ref().map(|record| record.modified);
                match (&current, Place::of_key(&key)) {
                    (Some(record), _) => self.load_resource(record),
                    (None, Some(place)) => self.install(vec![(place, None)], Revision::default()),
                    (None, None) => {}
                }
                Err(HandleError::PreconditionFailed { current: revision })
            }
        }
    }

    /// Takes in a stored resource.
    pub(super) fn load_resource(&mut self, record: &Record) {
        let Some(place) = Place::of_key(&record.key) else {
            return;
        };
        let document: Document<Value> = match serde_json::from_slice(&record.value) {
            Ok(document) => document,
            Err(error) => {
                tracing::error!(key = record.key, %error, "stored resource cannot be read");
                return;
            }
        };
        if (place.switch()).is_some_and(|switch| !self.ports.contains_key(switch)) {
            tracing::warn!(
                key = record.key,
                "stored resource names a switch that is gone"
            );
            return;
        }
        // What was stored under another pipeline stays readable and deletable, whether or not it fits this one.
        let about = About {
            number: document.number,
            is_member: document.set.is_some(),
        };
        let shared = Arc::clone(&self.shared);
        let state = shared.read();
        let drafted = Drafted {
            resources: &state.resources,
            draft: &Draft::default(),
        };
        let compiled = self.compile_one(&drafted, &place, document.spec.clone(), about);
        drop(state);
        let resource = Resource {
            revision: record.modified,
            owner: document.owner,
            set: document.set,
            number: document.number,
            spec: document.spec,
            program: Arc::default(),
            references: BTreeSet::new(),
            warnings: Vec::new(),
            misfit: None,
        };
        let resource = resource.compiled(compiled);
        self.install(vec![(place, Some(resource))], record.modified);
    }

    /// Compiles everything on a switch again, for its pipeline is another; returns what the switch shall hold of it.
    pub(super) fn compile_switch(
        &mut self,
        switch: &str,
    ) -> BTreeMap<String, Option<Arc<Program>>> {
        let on_switch: Vec<(Place, Arc<Resource>)> = {
            let state = self.shared.read();
            let found = state.resources.on_switch(switch);
            found.map(|(p, r)| (p.clone(), Arc::clone(r))).collect()
        };
        let mut programs = BTreeMap::new();
        let mut keys = BTreeMap::new();
        for (place, resource) in on_switch {
            let about = About {
                number: resource.number,
                is_member: resource.set.is_some(),
            };
            let shared = Arc::clone(&self.shared);
            let state = shared.read();
            let drafted = Drafted {
                resources: &state.resources,
                draft: &Draft::default(),
            };
            let made = self.compile_one(&drafted, &place, resource.spec.clone(), about);
            drop(state);
            let resource = Resource::clone(&resource).compiled(made);
            for entry in &resource.program.entries {
                keys.insert(entry.key.clone(), place.clone());
            }
            let program = Arc::clone(&resource.program);
            programs.insert(place.tag(), Some(program));
            self.shared.write().resources.insert(place, resource);
        }
        self.keys.insert(switch.to_owned(), keys);
        programs
    }

    /// Takes in stored resources, or their end, and tells their switches: each hears of all that is its own at once.
    fn install(&mut self, changed: Vec<(Place, Option<Resource>)>, revision: Revision) {
        let mut state = self.shared.write();
        state.revision = state.revision.max(revision);
        // All that go first: one may take another's place.
        for (place, _) in &changed {
            let old = state.resources.remove(place);
            let keys = place.switch().and_then(|switch| self.keys.get_mut(switch));
            for reference in old.iter().flat_map(|old| &old.references) {
                if let Some(users) = self.users.get_mut(reference) {
                    users.remove(place);
                }
            }
            if let (Some(old), Some(keys)) = (old, keys) {
                for entry in &old.program.entries {
                    if keys.get(&entry.key) == Some(place) {
                        keys.remove(&entry.key);
                    }
                }
            }
        }
        let mut news: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        for (place, resource) in changed {
            if let Some(switch) = place.switch() {
                let program = resource.as_ref().map(|new| Arc::clone(&new.program));
                let keys = self.keys.entry(switch.to_owned()).or_default();
                for entry in program.iter().flat_map(|program| &program.entries) {
                    keys.insert(entry.key.clone(), place.clone());
                }
                let tagged = (place.tag(), program);
                news.entry(switch.to_owned()).or_default().push(tagged);
            }
            for reference in resource.iter().flat_map(|resource| &resource.references) {
                let users = self.users.entry(reference.clone()).or_default();
                users.insert(place.clone());
            }
            if let Some(resource) = resource {
                state.resources.insert(place, resource);
            }
        }
        let revision = state.revision;
        drop(state);
        for (switch, programs) in news {
            if let Some(mailbox) = self.mailboxes.get(&switch) {
                mailbox.post(revision, |mail| mail.programs.extend(programs));
            }
        }
    }
}
