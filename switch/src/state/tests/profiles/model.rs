//! Any writes against a model that keeps what was written and counts by looking.

use std::collections::BTreeMap;

use super::*;

#[derive(Clone, Debug)]
enum Write {
    Member(UpdateKind, u32, u128),
    Group(UpdateKind, u32, Vec<(u32, u32)>, u32),
    Entry(UpdateKind, bool, u128, Does),
}

#[derive(Clone, Copy, Debug)]
enum UpdateKind {
    Insert,
    Modify,
    Delete,
}

#[derive(Clone, Debug)]
enum Does {
    Member(u32),
    Group(u32),
    OneShot(usize),
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let kind = || {
        prop_oneof![
            Just(UpdateKind::Insert),
            Just(UpdateKind::Modify),
            Just(UpdateKind::Delete)
        ]
    };
    let members = proptest::collection::vec((1..5_u32, 1..4_u32), 0..4);
    let does = prop_oneof![
        (1..5_u32).prop_map(Does::Member),
        (1..4_u32).prop_map(Does::Group),
        (0..9_usize).prop_map(Does::OneShot),
    ];
    let write = prop_oneof![
        (kind(), 1..5_u32, 1..5_u128).prop_map(|(kind, id, port)| Write::Member(kind, id, port)),
        (kind(), 1..4_u32, members, 1..5_u32)
            .prop_map(|(kind, id, members, max)| Write::Group(kind, id, members, max)),
        (kind(), any::<bool>(), 1..4_u128, does)
            .prop_map(|(kind, second, mac, does)| Write::Entry(kind, second, mac, does)),
    ];
    proptest::collection::vec(write, 1..60)
}

/// What the selector `spread` and its two tables hold, kept as it was written and counted by looking.
#[derive(Default)]
struct Model {
    members: BTreeMap<u32, u128>,
    groups: BTreeMap<u32, (Vec<(u32, u32)>, u32)>,
    entries: BTreeMap<(bool, u128), Does>,
}

/// The selector's size in the pipeline of these tests.
const SIZE: usize = 12;
/// Its largest group.
const MAX_GROUP: usize = 8;

impl Model {
    fn taken(&self) -> usize {
        let groups = self.groups.values().map(|(members, _)| members.len());
        let sets = self.entries.values().map(|does| match does {
            Does::OneShot(size) => *size,
            _ => 0,
        });
        groups.chain(sets).sum()
    }

    fn uses(&self, does: impl Fn(&Does) -> bool) -> bool {
        self.entries.values().any(does)
    }

    fn apply(&mut self, write: &Write) -> Code {
        match write {
            Write::Member(kind, id, port) => match (kind, self.members.contains_key(id)) {
                (UpdateKind::Insert, true) => Code::AlreadyExists,
                (UpdateKind::Modify | UpdateKind::Delete, false) => Code::NotFound,
                (UpdateKind::Insert | UpdateKind::Modify, _) => {
                    self.members.insert(*id, *port);
                    Code::Ok
                }
                (UpdateKind::Delete, true) => {
                    let in_group = (self.groups.values())
                        .any(|(members, _)| members.iter().any(|(member, _)| member == id));
                    let in_entry =
                        self.uses(|does| matches!(does, Does::Member(used) if used == id));
                    if in_group || in_entry {
                        return Code::FailedPrecondition;
                    }
                    self.members.remove(id);
                    Code::Ok
                }
            },
            Write::Group(kind, id, members, max) => self.apply_group(*kind, *id, members, *max),
            Write::Entry(kind, second, mac, does) => self.apply_entry(*kind, (*second, *mac), does),
        }
    }

    fn apply_group(&mut self, kind: UpdateKind, id: u32, members: &[(u32, u32)], max: u32) -> Code {
        let held = self.groups.get(&id).cloned();
        if let UpdateKind::Delete = kind {
            return match held {
                None => Code::NotFound,
                Some(_) if self.uses(|does| matches!(does, Does::Group(used) if *used == id)) => {
                    Code::FailedPrecondition
                }
                Some(_) => {
                    self.groups.remove(&id);
                    Code::Ok
                }
            };
        }
        let mut distinct: Vec<u32> = members.iter().map(|(member, _)| *member).collect();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != members.len() {
            return Code::InvalidArgument;
        }
        match (kind, &held) {
            (UpdateKind::Insert, Some(_)) => return Code::AlreadyExists,
            (UpdateKind::Modify, None) => return Code::NotFound,
            (UpdateKind::Modify, Some((_, old))) if *old != max => return Code::InvalidArgument,
            _ => {}
        }
        if !distinct.iter().all(|id| self.members.contains_key(id)) {
            return Code::NotFound;
        }
        let given = held.map_or(0, |(members, _)| members.len());
        if members.len() > max as usize || self.taken() - given + members.len() > SIZE {
            return Code::ResourceExhausted;
        }
        self.groups.insert(id, (members.to_vec(), max));
        Code::Ok
    }

    fn apply_entry(&mut self, kind: UpdateKind, key: (bool, u128), does: &Does) -> Code {
        let held = self.entries.get(&key).cloned();
        match (kind, &held) {
            (UpdateKind::Insert, Some(_)) => return Code::AlreadyExists,
            (UpdateKind::Modify | UpdateKind::Delete, None) => return Code::NotFound,
            (UpdateKind::Delete, Some(_)) => {
                self.entries.remove(&key);
                return Code::Ok;
            }
            _ => {}
        }
        let others = || {
            let entries = self.entries.iter();
            entries
                .filter(|(other, _)| **other != key)
                .map(|(_, does)| does)
        };
        let one_shot = |does: &Does| matches!(does, Does::OneShot(_));
        if others().any(|other| one_shot(other) != one_shot(does)) {
            return Code::InvalidArgument;
        }
        match does {
            Does::Member(id) if !self.members.contains_key(id) => return Code::NotFound,
            Does::Group(id) if !self.groups.contains_key(id) => return Code::NotFound,
            Does::OneShot(size) => {
                let given = match held {
                    Some(Does::OneShot(old)) => old,
                    _ => 0,
                };
                if *size > MAX_GROUP {
                    return Code::InvalidArgument;
                }
                if self.taken() - given + size > SIZE {
                    return Code::ResourceExhausted;
                }
            }
            _ => {}
        }
        self.entries.insert(key, does.clone());
        Code::Ok
    }
}

fn apply(bench: &Bench, state: &mut State, write: &Write) -> Code {
    code(match write {
        Write::Member(kind, id, port) => {
            let member = member(bench, SPREAD, *id, *port);
            match kind {
                UpdateKind::Insert => state.insert_member(&member),
                UpdateKind::Modify => state.modify_member(&member),
                UpdateKind::Delete => state.delete_member(SPREAD, member.id),
            }
        }
        Write::Group(kind, id, members, max) => {
            let group = group(SPREAD, *id, members, *max);
            match kind {
                UpdateKind::Insert => state.insert_profile_group(&group),
                UpdateKind::Modify => state.modify_profile_group(&group),
                UpdateKind::Delete => state.delete_profile_group(SPREAD, group.id),
            }
        }
        Write::Entry(kind, second, mac, does) => {
            let table = if *second { "spread2" } else { "spread" };
            let entry = entry(bench, table, *mac, action(bench, does));
            match kind {
                UpdateKind::Insert => state.insert(&entry),
                UpdateKind::Modify => state.modify(&entry),
                UpdateKind::Delete => state.delete(&entry),
            }
        }
    })
}

fn action(bench: &Bench, does: &Does) -> TableAction {
    match does {
        Does::Member(id) => by_member(*id),
        Does::Group(id) => by_group(*id),
        Does::OneShot(size) => {
            let member = WeightedAction {
                call: bench.call("forward", &[3]),
                weight: 2,
                watch_port: None,
            };
            TableAction::OneShot(vec![member; *size])
        }
    }
}

proptest! {
    #[test]
    fn any_writes_do_what_a_plain_model_says(writes in writes()) {
        let mut pipeline = pipeline();
        pipeline.selectors[0].size = SIZE.try_into().unwrap();
        pipeline.selectors[0].max_group_size = MAX_GROUP.try_into().unwrap();
        let bench = Bench::with(pipeline);
        let mut state = bench.datapath.state.clone();
        let mut model = Model::default();
        for write in &writes {
            let wanted = model.apply(write);
            prop_assert_eq!(apply(&bench, &mut state, write), wanted, "{:?}", write);
        }
        let members = state.members(SPREAD).cloned();
        let wanted = model.members.iter().map(|(id, port)| member(&bench, SPREAD, *id, *port));
        prop_assert!(members.eq(wanted));
        let groups = state.profile_groups(SPREAD).cloned();
        let wanted = (model.groups.iter())
            .map(|(id, (members, max))| group(SPREAD, *id, members, *max));
        prop_assert!(groups.eq(wanted));
        for (second, table) in [(false, "spread"), (true, "spread2")] {
            let wanted: Vec<TableEntry> = (model.entries.iter())
                .filter(|((other, _), _)| *other == second)
                .map(|((_, mac), does)| entry(&bench, table, *mac, action(&bench, does)))
                .collect();
            let id = entry(&bench, table, 1, by_member(1)).key.table;
            let held = state.entries(id).into_iter().map(|view| view.entry.clone());
            prop_assert!(held.eq(wanted));
        }
        // Whatever is taken away in a possible order leaves nothing behind.
        let entries = model.entries.keys().map(|(second, mac)| {
            Write::Entry(UpdateKind::Delete, *second, *mac, Does::Member(1))
        });
        let groups = model.groups.keys().map(|id| {
            Write::Group(UpdateKind::Delete, *id, Vec::new(), 1)
        });
        let members = model.members.keys().map(|id| Write::Member(UpdateKind::Delete, *id, 1));
        for write in entries.chain(groups).chain(members) {
            prop_assert_eq!(apply(&bench, &mut state, &write), Code::Ok, "{:?}", write);
        }
        let table = entry(&bench, "spread", 1, by_member(1)).key.table;
        prop_assert_eq!(state.fingerprint(table), bench.datapath.state.fingerprint(table));
    }
}
