//! The reconciler against a switch that is a map, and that refuses, forgets and surprises.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use weft_proto::vocab::{
    ActionCall, ActionId, EntryKey, FieldId, FieldMatch, MeterConfig, MeterId, MulticastGroup,
    MulticastGroupId, PortNo, Replica, TableAction, TableEntry, TableId,
};

use super::*;
use crate::compile::apply;
use crate::southbound::SwitchState;

/// A switch with a limit for one table.
#[derive(Debug, Default)]
struct Switch {
    held: Desired,
    limit: usize,
    writes: usize,
}

const LIMITED: TableId = TableId(2);
const FREE: TableId = TableId(1);

impl Switch {
    fn write(&mut self, batch: &[Update]) -> Vec<Answer> {
        batch.iter().map(|update| self.update(update)).collect()
    }

    fn update(&mut self, update: &Update) -> Answer {
        self.writes += 1;
        let exists = match &update.subject {
            Subject::Entry(entry) if entry.is_default => true,
            Subject::Entry(entry) => self.held.entries.contains_key(&entry.key),
            Subject::Group(group) => self.held.groups.contains_key(&group.id),
            Subject::Meter(_) => true,
        };
        let surprise = |code| Answer::Surprised {
            code,
            detail: String::new(),
        };
        match (update.change, exists) {
            (Change::Insert, true) => return surprise("ALREADY_EXISTS"),
            (Change::Modify | Change::Delete, false) => return surprise("NOT_FOUND"),
            _ => {}
        }
        if let (Change::Insert, Subject::Entry(entry)) = (update.change, &update.subject)
            && entry.key.table == LIMITED
            && self
                .held
                .entries
                .keys()
                .filter(|key| key.table == LIMITED)
                .count()
                >= self.limit
        {
            return Answer::Refused {
                code: "RESOURCE_EXHAUSTED",
                detail: "table is full".to_owned(),
            };
        }
        apply(
            &mut self.held,
            &Plan {
                stages: vec![vec![update.clone()]],
            },
        );
        Answer::Done
    }

    fn entries(&self) -> Vec<TableEntry> {
        self.held
            .entries
            .iter()
            .map(|(key, entry)| table_entry(key, entry))
            .collect()
    }

    fn read_into(&self, core: &mut Reconciler) {
        core.handle_observed(SwitchState {
            entries: self.entries(),
            groups: self.held.groups.values().cloned().collect(),
            meters: self.held.meters.clone().into_iter().collect(),
            undecodable: 0,
        });
    }
}

/// Writes until nothing is left, reading when that is wanted. Returns the number of updates that were sent.
fn settle(core: &mut Reconciler, switch: &mut Switch, limit: usize) -> usize {
    let before = switch.writes;
    for _ in 0..10_000 {
        if core.needs_read() {
            switch.read_into(core);
        }
        let batch = core.next_batch(limit, Batches::Stages);
        if batch.is_empty() {
            return switch.writes - before;
        }
        assert!(batch.len() <= limit);
        let answers = switch.write(&batch);
        core.handle_answers(batch, answers);
    }
    panic!("no end");
}

fn key(table: TableId, number: u32) -> EntryKey {
    EntryKey {
        table,
        matches: BTreeMap::from([(FieldId(1), FieldMatch::Exact(number.into()))]),
        priority: 0,
    }
}

fn entry(table: TableId, number: u32, action: u32) -> TableEntry {
    TableEntry {
        key: key(table, number),
        action: Some(TableAction::Call(ActionCall {
            action: ActionId(action),
            params: vec![],
        })),
        metadata: vec![],
        is_default: false,
        idle_timeout_ns: 0,
    }
}

fn group(id: u32) -> MulticastGroup {
    let replicas = vec![Replica {
        port: PortNo(id),
        instance: 0,
    }];
    MulticastGroup {
        id: MulticastGroupId(id),
        replicas,
        metadata: vec![],
        ..MulticastGroup::default()
    }
}

fn flow(entries: Vec<TableEntry>, groups: Vec<MulticastGroup>) -> Option<Arc<Program>> {
    Some(Arc::new(Program {
        entries,
        groups,
        meters: vec![],
    }))
}

fn meter(index: u32, rate: u64) -> MeterCell {
    let config = MeterConfig {
        cir: rate,
        cburst: 1,
        pir: rate,
        pburst: 1,
    };
    MeterCell {
        meter: MeterId(9),
        index,
        config: Some(config),
    }
}

fn fabric(entries: impl IntoIterator<Item = TableEntry>) -> Desired {
    let metadata = OwnerTag::new(Owner::Fabric, "fabric").to_metadata();
    let mut desired = Desired::default();
    for entry in entries {
        desired
            .insert(TableEntry {
                metadata: metadata.clone(),
                ..entry
            })
            .unwrap();
    }
    desired
}

fn started(entries: impl IntoIterator<Item = TableEntry>, limit: usize) -> (Reconciler, Switch) {
    let mut core = Reconciler::new("s1");
    core.set_fabric(fabric(entries));
    (
        core,
        Switch {
            limit,
            ..Switch::default()
        },
    )
}

#[test]
fn nothing_is_written_before_fabric_and_snapshot_are_known() {
    let mut core = Reconciler::new("s1");
    core.set_program("a", flow(vec![entry(FREE, 1, 1)], vec![]));
    core.handle_cleared();
    assert!(core.next_batch(10, Batches::Stages).is_empty());
    let mut core = Reconciler::new("s1");
    core.set_fabric(fabric([entry(FREE, 1, 1)]));
    assert!(core.needs_read());
    assert!(core.next_batch(10, Batches::Stages).is_empty());
}

#[test]
fn a_second_start_writes_nothing() {
    let (mut core, mut switch) = started((0..50).map(|n| entry(FREE, n, 1)), 0);
    core.set_program("a", flow(vec![entry(FREE, 100, 2)], vec![group(7)]));
    assert_eq!(settle(&mut core, &mut switch, 8), 52);
    core.begin_session();
    assert_eq!(settle(&mut core, &mut switch, 8), 0);
    let (mut core, _) = started((0..50).map(|n| entry(FREE, n, 1)), 0);
    core.set_program("a", flow(vec![entry(FREE, 100, 2)], vec![group(7)]));
    assert_eq!(settle(&mut core, &mut switch, 8), 0);
}

#[test]
fn groups_come_before_their_users_and_go_after_them() {
    let (mut core, mut switch) = started([], 0);
    settle(&mut core, &mut switch, 8);
    core.set_program("a", flow(vec![entry(FREE, 1, 1)], vec![group(7)]));
    core.set_program("b", flow(vec![entry(FREE, 2, 1)], vec![group(7)]));
    let first = core.next_batch(8, Batches::Stages);
    assert!(matches!(
        first[..],
        [Update {
            change: Change::Insert,
            subject: Subject::Group(_)
        }]
    ));
    let answers = switch.write(&first);
    core.handle_answers(first, answers);
    assert_eq!(settle(&mut core, &mut switch, 8), 2);
    // The other flow still needs the group.
    core.set_program("a", None);
    assert_eq!(settle(&mut core, &mut switch, 8), 1);
    core.set_program("b", None);
    let first = core.next_batch(8, Batches::Stages);
    assert!(matches!(
        first[..],
        [Update {
            change: Change::Delete,
            subject: Subject::Entry(_)
        }]
    ));
    let answers = switch.write(&first);
    core.handle_answers(first, answers);
    assert_eq!(settle(&mut core, &mut switch, 8), 1);
    assert_eq!(switch.held, Desired::default());
}

#[test]
fn a_full_table_holds_nothing_else_back_and_is_filled_when_there_is_room() {
    let (mut core, mut switch) = started((0..5).map(|n| entry(FREE, n, 1)), 2);
    for n in 0..3 {
        core.set_program(&format!("f{n}"), flow(vec![entry(LIMITED, n, 1)], vec![]));
    }
    settle(&mut core, &mut switch, 100);
    assert_eq!(switch.held.entries.len(), 7);
    let rejected = core.rejections();
    let rejection = &rejected[&key(LIMITED, 2)];
    assert_eq!(
        (rejected.len(), rejection.code, rejection.attempts),
        (1, "RESOURCE_EXHAUSTED", 1)
    );
    // By itself it is tried three times, and then no more.
    for attempts in [2, 3] {
        assert!(core.retry_delay().is_some());
        core.handle_retry();
        assert_eq!(settle(&mut core, &mut switch, 100), 1);
        assert_eq!(core.rejections()[&key(LIMITED, 2)].attempts, attempts);
    }
    assert_eq!(core.retry_delay(), None);
    core.set_program("f0", None);
    assert_eq!(settle(&mut core, &mut switch, 100), 2);
    assert!(core.rejections().is_empty());
    assert!(switch.held.entries.contains_key(&key(LIMITED, 2)));
}

#[test]
fn foreign_entries_stay_until_their_place_is_wanted() {
    let (mut core, mut switch) = started([entry(FREE, 1, 1)], 0);
    let theirs = entry(FREE, 9, 5);
    switch.held.insert(theirs.clone()).unwrap();
    switch.held.insert_group(group(3)).unwrap();
    settle(&mut core, &mut switch, 8);
    assert_eq!(core.foreign_count(), 2);
    assert_eq!(core.table_use()[&FREE], 2);
    assert!(switch.held.entries.contains_key(&theirs.key));
    core.set_program("mine", flow(vec![entry(FREE, 9, 6)], vec![]));
    assert_eq!(settle(&mut core, &mut switch, 8), 1);
    assert_eq!(
        switch.held.entries[&theirs.key].action,
        entry(FREE, 9, 6).action.unwrap()
    );
    assert_eq!((core.foreign_count(), core.table_use()[&FREE]), (1, 2));
}

#[test]
fn a_mass_delete_at_start_is_held_until_it_is_released() {
    let (mut core, mut switch) = started((0..300).map(|n| entry(FREE, n, 1)), 0);
    settle(&mut core, &mut switch, 1000);
    // Another process, whose store lost nearly everything.
    let (mut core, _) = started((0..10).map(|n| entry(FREE, n, 2)), 0);
    assert_eq!(settle(&mut core, &mut switch, 1000), 10);
    assert!(core.deletes_held());
    // What is declared now still happens, deletes too.
    core.set_fabric(fabric((0..9).map(|n| entry(FREE, n, 2))));
    assert_eq!(settle(&mut core, &mut switch, 1000), 1);
    core.begin_session();
    assert_eq!(settle(&mut core, &mut switch, 1000), 0);
    assert!(core.deletes_held());
    core.handle_sync();
    assert_eq!(settle(&mut core, &mut switch, 1000), 290);
    assert_eq!(&switch.held, core.desired());
    assert!(!core.deletes_held());
}

#[test]
fn a_surprise_leads_to_a_fresh_read() {
    let (mut core, mut switch) = started((0..4).map(|n| entry(FREE, n, 1)), 0);
    settle(&mut core, &mut switch, 8);
    // Somebody deleted one behind our back; the change of it finds nothing.
    switch.held.entries.remove(&key(FREE, 2));
    core.set_fabric(fabric((0..4).map(|n| entry(FREE, n, 2))));
    settle(&mut core, &mut switch, 8);
    assert_eq!(&switch.held, core.desired());
    assert!(!core.needs_read());
}

#[derive(Clone, Debug)]
enum Step {
    Fabric(BTreeMap<u8, u8>),
    Flow(u8, Option<(bool, u8, u8)>),
    Batch { limit: usize, lost: bool },
    Session,
    Meddle(u8),
    Retry,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::btree_map(0_u8..20, 0_u8..3, 0..20).prop_map(Step::Fabric),
        (0_u8..6, prop::option::of((any::<bool>(), 0_u8..3, 0_u8..3)))
            .prop_map(|(name, flow)| Step::Flow(name, flow)),
        (1_usize..12, prop::bool::weighted(0.1))
            .prop_map(|(limit, lost)| Step::Batch { limit, lost }),
        Just(Step::Session),
        (0_u8..20).prop_map(Step::Meddle),
        Just(Step::Retry),
    ]
}

proptest! {
    /// Whatever happens in between: in the end the switch holds what is desired, but for what it refuses; and what was
    /// computed step by step is what a fresh computation gives.
    #[test]
    fn every_history_ends_at_what_is_desired(steps in prop::collection::vec(step(), 1..60), limit in 0_usize..4) {
        let (mut core, mut switch) = started([], limit);
        let (mut last_fabric, mut last_flows) = (Desired::default(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Fabric(entries) => {
                    last_fabric = fabric(entries.iter().map(|(n, a)| entry(FREE, (*n).into(), (*a).into())));
                    core.set_fabric(last_fabric.clone());
                }
                Step::Flow(number, content) => {
                    let name = format!("f{number}");
                    let content = content.map(|(limited, action, group_id)| {
                        let table = if limited { LIMITED } else { FREE };
                        let own = 100 + u32::from(number);
                        let groups = (group_id > 0).then(|| group(group_id.into()));
                        let mut program = Program {
                            entries: vec![entry(table, own, action.into())],
                            groups: groups.into_iter().collect(),
                            meters: vec![],
                        };
                        if group_id == 0 {
                            program.meters.push(meter(own, action.into()));
                        }
                        Arc::new(program)
                    });
                    last_flows.insert(name.clone(), content.clone());
                    core.set_program(&name, content);
                }
                Step::Batch { limit, lost } => {
                    if core.needs_read() {
                        switch.read_into(&mut core);
                    }
                    let batch = core.next_batch(limit, Batches::Stages);
                    let answers = switch.write(&batch);
                    if lost {
                        core.begin_session();
                    } else {
                        core.handle_answers(batch, answers);
                    }
                }
                Step::Session => core.begin_session(),
                Step::Meddle(number) => {
                    // As a foreign primary would, which ends in a new session.
                    switch.held.entries.remove(&key(FREE, number.into()));
                    core.begin_session();
                }
                Step::Retry => core.handle_retry(),
            }
        }
        core.begin_session();
        core.handle_sync();
        settle(&mut core, &mut switch, 5);

        let mut fresh = Reconciler::new("s1");
        for (name, flow) in last_flows {
            fresh.set_program(&name, flow);
        }
        fresh.set_fabric(last_fabric);
        prop_assert_eq!(fresh.desired(), core.desired());
        prop_assert_eq!(Some(&switch.held), core.observed());
        let mut expect = core.desired().clone();
        for key in core.rejections().keys() {
            prop_assert_eq!(key.table, LIMITED);
            expect.entries.remove(key);
        }
        prop_assert_eq!(&switch.held, &expect);
        prop_assert_eq!(settle(&mut core, &mut switch, 5), 0);
    }
}

#[test]
fn a_change_is_one_batch_where_batches_are_whole() {
    let (mut core, mut switch) = started([], 100);
    core.set_fabric(fabric([]));
    core.set_program(
        "old",
        flow(vec![entry(FREE, 1, 1), entry(FREE, 2, 1)], vec![group(1)]),
    );
    settle(&mut core, &mut switch, 10);
    core.set_programs(BTreeMap::from([
        ("old".to_owned(), None),
        (
            "new".to_owned(),
            flow(vec![entry(FREE, 2, 2), entry(FREE, 3, 1)], vec![group(2)]),
        ),
    ]));
    let batch = core.next_batch(10, Batches::Whole);
    let changes: Vec<Change> = batch.iter().map(|update| update.change).collect();
    assert_eq!(
        changes,
        [
            Change::Insert,
            Change::Modify,
            Change::Insert,
            Change::Delete,
            Change::Delete
        ]
    );
    assert!(matches!(batch[0].subject, Subject::Group(_)));
    assert!(matches!(batch[4].subject, Subject::Group(_)));
    let answers = switch.write(&batch);
    core.handle_answers(batch, answers);
    assert!(core.next_batch(10, Batches::Whole).is_empty());
}
