use proptest::prelude::*;
use weft_proto::vocab::{
    ActionCall, ActionId, EntryKey, FieldId, FieldMatch, MeterConfig, MeterId, MulticastGroupId,
    ParamId, PortNo, Replica, TableAction, TableId, WeightedAction,
};

use super::super::state::{DefaultEntry, Entry};
use super::*;
use crate::compile::MeterKey;

fn call() -> impl Strategy<Value = ActionCall> {
    (0u32..3, 0u128..3).prop_map(|(action, arg)| ActionCall {
        action: ActionId(action),
        params: vec![(ParamId(1), arg)],
    })
}

fn action() -> impl Strategy<Value = TableAction> {
    prop_oneof![
        call().prop_map(TableAction::Call),
        proptest::collection::vec((call(), 1u32..3), 1..3).prop_map(|members| {
            TableAction::OneShot(
                members
                    .into_iter()
                    .map(|(call, weight)| WeightedAction {
                        call,
                        weight,
                        watch_port: None,
                    })
                    .collect(),
            )
        }),
    ]
}

// A tiny domain of keys, so that states collide often.
fn key() -> impl Strategy<Value = EntryKey> {
    (1u32..4, 0u128..4, 0i32..3).prop_map(|(table, value, priority)| EntryKey {
        table: TableId(table),
        matches: BTreeMap::from([(FieldId(1), FieldMatch::Exact(value))]),
        priority,
    })
}

fn state() -> impl Strategy<Value = Desired> {
    let entry = (action(), any::<bool>()).prop_map(|(action, tagged)| Entry {
        action,
        metadata: if tagged { vec![1] } else { Vec::new() },
        idle_timeout_ns: 0,
    });
    let default = call().prop_map(|action| DefaultEntry {
        action,
        metadata: Vec::new(),
    });
    let group = proptest::collection::btree_set(1u32..5, 0..4);
    (
        proptest::collection::btree_map(key(), entry, 0..12),
        proptest::collection::btree_map((1u32..4).prop_map(TableId), default, 0..3),
        proptest::collection::btree_map(1u32..5, group, 0..4),
        proptest::collection::btree_map(0u32..4, 1u64..3, 0..4),
    )
        .prop_map(|(entries, defaults, groups, meters)| Desired {
            entries,
            defaults,
            meters: (meters.into_iter())
                .map(|(index, rate)| {
                    let meter = MeterId(7);
                    let config = MeterConfig {
                        cir: rate,
                        cburst: 1,
                        pir: rate,
                        pburst: 1,
                    };
                    (MeterKey { meter, index }, config)
                })
                .collect(),
            groups: groups
                .into_iter()
                .map(|(id, ports)| {
                    let id = MulticastGroupId(id);
                    let replicas = ports
                        .into_iter()
                        .map(|port| Replica {
                            port: PortNo(port),
                            instance: 0,
                        })
                        .collect();
                    let metadata = Vec::new();
                    let group = MulticastGroup {
                        id,
                        replicas,
                        metadata,
                        ..MulticastGroup::default()
                    };
                    (id, group)
                })
                .collect(),
        })
}

proptest! {
    #[test]
    fn applying_the_diff_of_two_states_to_the_first_gives_the_second(a in state(), b in state()) {
        let plan = diff(&a, &b);
        let mut applied = a.clone();
        apply(&mut applied, &plan);
        prop_assert_eq!(applied, b.clone());
        prop_assert!(diff(&b, &b).is_empty());
        prop_assert!(plan.stages.iter().all(|stage| !stage.is_empty()));
    }

    #[test]
    fn inserts_meet_nothing_and_modifies_and_deletes_meet_something(a in state(), b in state()) {
        let mut now = a.clone();
        for update in diff(&a, &b).updates() {
            let there = match &update.subject {
                Subject::Group(group) => now.groups.contains_key(&group.id),
                Subject::Meter(_) => true,
                Subject::Entry(entry) if entry.is_default => true,
                Subject::Entry(entry) => now.entries.contains_key(&entry.key),
            };
            prop_assert_eq!(there, update.change != Change::Insert);
            apply(&mut now, &Plan { stages: vec![vec![update.clone()]] });
        }
    }

    #[test]
    fn groups_come_first_and_go_last(a in state(), b in state()) {
        let ranks: Vec<u8> = diff(&a, &b)
            .updates()
            .map(|update| match (&update.subject, update.change) {
                (Subject::Group(_), Change::Delete) => 3,
                (Subject::Meter(cell), _) if cell.config.is_none() => 3,
                (Subject::Meter(_), _) => 0,
                (Subject::Group(_), _) => 0,
                (Subject::Entry(_), Change::Delete) => 2,
                (Subject::Entry(entry), _) if entry.action.is_none() => 2,
                (Subject::Entry(_), _) => 1,
            })
            .collect();
        prop_assert!(ranks.is_sorted(), "{ranks:?}");
    }
}
