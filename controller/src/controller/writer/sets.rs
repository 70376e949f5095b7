//! Flow sets: all flows of one purpose, over any switches, declared at once. What a set no longer says goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_proto::vocab::EntryKey;

use super::Writer;
use crate::flow;
use crate::handle::{
    ChangeKind, DeleteAnswer, DeleteFlowSet, Diff, Flow, FlowChange, FlowSet, FlowSetView,
    HandleError, PutFlowSet, PutFlowSetAnswer, SetFlow, WriteContext, WriteOutcome,
};
use crate::object::{self, Document};
use crate::problem::{Code, FieldError, pointer_to};
use crate::store::{Compare, Op, Record, Revision, Txn};

/// A flow's switch and name.
type Place = (String, String);

/// What a set does to each of its flows.
#[derive(Debug, Default)]
struct Plan {
    puts: BTreeMap<Place, Flow>,
    removes: BTreeSet<Place>,
    diff: Diff,
    changes: Vec<FlowChange>,
}

impl Writer {
    pub(super) async fn put_flow_set(
        &mut self,
        request: PutFlowSet,
    ) -> Result<PutFlowSetAnswer, HandleError> {
        let PutFlowSet {
            name,
            flows,
            context,
        } = request;
        let known = self.shared.read().flow_sets.get(&name).cloned();
        context.check_revision(known.as_ref().map(|set| set.revision))?;
        context.check_owner(&name, known.as_ref().map(|set| set.owner.as_str()))?;
        let wanted = self.compile_set(&name, &context, flows)?;
        let plan = self.plan(&name, &context, wanted)?;
        let outcome = match &known {
            None => WriteOutcome::Created,
            Some(set) if set.owner == context.owner && plan.changes.is_empty() => {
                WriteOutcome::Unchanged
            }
            Some(_) => WriteOutcome::Updated,
        };
        let (diff, changes) = (plan.diff, plan.changes.clone());
        if outcome != WriteOutcome::Unchanged && !context.dry_run {
            let set = Document {
                owner: context.owner.clone(),
                set: None,
                spec: serde_json::Value::Object(serde_json::Map::new()),
            };
            let op = |key| Op::Put {
                key,
                value: object::encode(&set),
                lease: None,
            };
            let revision = self.store_set(&name, known.as_ref(), op, &plan).await?;
            let set = FlowSet {
                revision,
                owner: context.owner,
            };
            self.install_set(&name, Some(set), plan, revision);
        }
        let set = match self.shared.flow_set(&name) {
            Ok(set) => set,
            // A dry run of a set that does not exist.
            Err(_) => FlowSetView {
                name,
                revision: Revision::default(),
                owner: String::new(),
                flows: Vec::new(),
            },
        };
        Ok(PutFlowSetAnswer {
            set,
            outcome,
            diff,
            changes,
        })
    }

    pub(super) async fn delete_flow_set(
        &mut self,
        request: DeleteFlowSet,
    ) -> Result<DeleteAnswer, HandleError> {
        let DeleteFlowSet { name, context } = request;
        let known = self.shared.read().flow_sets.get(&name).cloned();
        let known = known.ok_or_else(|| HandleError::NotFound {
            kind: "flow set",
            name: name.clone(),
        })?;
        context.check_revision(Some(known.revision))?;
        context.check_owner(&name, Some(&known.owner))?;
        let plan = self.plan(&name, &context, BTreeMap::new())?;
        let diff = plan.diff;
        if context.dry_run {
            return Ok(DeleteAnswer {
                revision: self.shared.revision(),
                diff,
            });
        }
        let op = |key| Op::Delete { key };
        let revision = self.store_set(&name, Some(&known), op, &plan).await?;
        self.install_set(&name, None, plan, revision);
        Ok(DeleteAnswer { revision, diff })
    }

    /// Takes in a stored set; its flows are stored on their own.
    pub(super) fn load_flow_set(&mut self, record: &Record) {
        let Some(name) = record.key.strip_prefix(object::FLOW_SETS) else {
            return;
        };
        let Ok(document) = serde_json::from_slice::<Document<serde_json::Value>>(&record.value)
        else {
            tracing::error!(key = record.key, "stored flow set cannot be read");
            return;
        };
        let set = FlowSet {
            revision: record.modified,
            owner: document.owner,
        };
        let mut state = self.shared.write();
        state.flow_sets.insert(name.to_owned(), set);
    }

    /// Forgets a set that somebody else deleted.
    pub(super) fn forget_flow_set(&mut self, key: &str) {
        if let Some(name) = key.strip_prefix(object::FLOW_SETS) {
            self.shared.write().flow_sets.remove(name);
        }
    }

    /// Compiles every flow, and reports every mistake.
    fn compile_set(
        &self,
        set: &str,
        context: &WriteContext,
        flows: Vec<SetFlow>,
    ) -> Result<BTreeMap<Place, Flow>, HandleError> {
        let mut errors = Vec::new();
        let mut wanted: BTreeMap<Place, Flow> = BTreeMap::new();
        let mut keys: BTreeMap<(String, EntryKey), String> = BTreeMap::new();
        for (index, SetFlow { switch, name, spec }) in flows.into_iter().enumerate() {
            let pointer = pointer_to("/flows", index);
            let at = |member: &str| pointer_to(&pointer, member);
            if !object::is_name(&name) {
                let detail = "a name has 1 to 253 characters of A-Z a-z 0-9 . _ -";
                errors.push(FieldError::new(at("name"), Code::InvalidName, detail));
            }
            if spec.idle_timeout.0 != 0 {
                let detail = "flows of a set do not end by themselves";
                let error = FieldError::new(at("idleTimeout"), Code::NotSupported, detail);
                errors.push(error);
                continue;
            }
            let Some(ports) = self.ports.get(&switch) else {
                let detail = format!("there is no switch {switch}");
                let error = FieldError::new(at("switch"), Code::NoSuchSwitch, detail);
                errors.push(error.with_allowed(&switch, self.ports.keys().cloned()));
                continue;
            };
            let compiled = match flow::compile(&self.common.schema, ports, &switch, &spec) {
                Ok(compiled) => compiled,
                Err(mistakes) => {
                    let mistakes = mistakes.into_iter();
                    errors.extend(mistakes.map(|mistake| mistake.under(&pointer)));
                    continue;
                }
            };
            for entry in &compiled.entries {
                let key = (switch.clone(), entry.key.clone());
                if let Some(other) = keys.insert(key, name.clone())
                    && other != name
                {
                    let detail =
                        format!("flow {other} of {switch} has the same match and priority");
                    errors.push(FieldError::new(at("match"), Code::Conflict, detail));
                    break;
                }
            }
            let flow = Flow {
                revision: Revision::default(),
                owner: context.owner.clone(),
                set: Some(set.to_owned()),
                spec,
                compiled: Arc::new(compiled),
                misfit: None,
            };
            let detail = format!("flow {name} of {switch} stands twice");
            if wanted.insert((switch, name), flow).is_some() {
                errors.push(FieldError::new(at("name"), Code::Duplicate, detail));
            }
        }
        if errors.is_empty() {
            Ok(wanted)
        } else {
            Err(HandleError::Invalid { errors })
        }
    }

    /// Compares what a set shall hold with what it holds, and refuses what belongs to others.
    fn plan(
        &self,
        set: &str,
        context: &WriteContext,
        wanted: BTreeMap<Place, Flow>,
    ) -> Result<Plan, HandleError> {
        let state = self.shared.read();
        let is_member = |flow: &Flow| flow.set.as_deref() == Some(set);
        let mut plan = Plan::default();
        for (switch, flows) in &state.flows {
            for (name, _) in flows.iter().filter(|(_, flow)| is_member(flow)) {
                let place = (switch.clone(), name.clone());
                if !wanted.contains_key(&place) {
                    plan.note(&place, ChangeKind::Remove);
                    plan.removes.insert(place);
                }
            }
        }
        for (place, mut flow) in wanted {
            let (switch, name) = &place;
            for entry in &flow.compiled.entries {
                let holder = self.keys.get(switch).and_then(|keys| keys.get(&entry.key));
                let holds = holder.and_then(|holder| Some((holder, state.flows.get(switch)?)));
                let is_ours = holds.is_some_and(|(holder, flows)| {
                    holder == name || flows.get(holder).is_some_and(|flow| is_member(flow))
                });
                if !is_ours {
                    self.check_key(switch, name, &entry.key)?;
                }
            }
            let known = state.flows.get(switch).and_then(|flows| flows.get(name));
            let kind = match known {
                None => ChangeKind::Add,
                Some(known) => {
                    context.check_owner(name, Some(&known.owner))?;
                    if let Some(other) = known.set.as_ref().filter(|other| *other != set)
                        && !context.force
                    {
                        return Err(HandleError::Conflict {
                            detail: format!("flow {name} of {switch} is part of another flow set"),
                            with: other.clone(),
                        });
                    }
                    if known.set == flow.set
                        && known.owner == flow.owner
                        && known.compiled.normalised == flow.compiled.normalised
                    {
                        plan.diff.unchanged += 1;
                        continue;
                    }
                    flow.revision = known.revision;
                    ChangeKind::Change
                }
            };
            plan.note(&place, kind);
            plan.puts.insert(place, flow);
        }
        Ok(plan)
    }

    /// Stores a set and its flows in one transaction.
    async fn store_set(
        &mut self,
        set: &str,
        known: Option<&FlowSet>,
        op: impl FnOnce(String) -> Op,
        plan: &Plan,
    ) -> Result<Revision, HandleError> {
        let key = object::flow_set_key(set);
        let mut txn = Txn {
            compare: vec![unchanged(key.clone(), known.map(|set| set.revision))],
            ops: vec![op(key)],
        };
        for ((switch, name), flow) in &plan.puts {
            let key = object::flow_key(switch, name);
            let revision = Some(flow.revision).filter(|revision| revision.0 > 0);
            txn.compare.push(unchanged(key.clone(), revision));
            let document = Document {
                owner: flow.owner.clone(),
                set: flow.set.clone(),
                spec: &flow.spec,
            };
            txn.ops.push(Op::Put {
                key,
                value: object::encode(&document),
                lease: None,
            });
        }
        for (switch, name) in &plan.removes {
            let key = object::flow_key(switch, name);
            let known = self.known_flow(switch, name).map(|flow| flow.revision);
            txn.compare.push(unchanged(key.clone(), known));
            txn.ops.push(Op::Delete { key });
        }
        self.commit(txn).await
    }

    /// Takes in a stored set and its flows; each switch hears of all its flows at once.
    fn install_set(&mut self, name: &str, set: Option<FlowSet>, plan: Plan, revision: Revision) {
        let mut state = self.shared.write();
        match set {
            Some(set) => state.flow_sets.insert(name.to_owned(), set),
            None => state.flow_sets.remove(name),
        };
        drop(state);
        let mut switches: BTreeMap<String, Vec<(String, Option<Flow>)>> = BTreeMap::new();
        for (switch, name) in plan.removes {
            switches.entry(switch).or_default().push((name, None));
        }
        for ((switch, name), flow) in plan.puts {
            let flow = Flow { revision, ..flow };
            switches.entry(switch).or_default().push((name, Some(flow)));
        }
        self.advance(revision);
        for (switch, flows) in switches {
            self.install_flows(&switch, flows, revision);
        }
    }
}

impl Plan {
    fn note(&mut self, (switch, name): &Place, kind: ChangeKind) {
        match kind {
            ChangeKind::Add => self.diff.add += 1,
            ChangeKind::Change => self.diff.change += 1,
            ChangeKind::Remove => self.diff.remove += 1,
        }
        self.changes.push(FlowChange {
            switch: switch.clone(),
            name: name.clone(),
            kind,
        });
    }
}

fn unchanged(key: String, known: Option<Revision>) -> Compare {
    match known {
        Some(modified) => Compare::Unchanged { key, modified },
        None => Compare::Absent { key },
    }
}
