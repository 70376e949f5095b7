mod profiles;

use proptest::prelude::*;
use tonic::Code;
use weft_proto::vocab::{FieldMatch, PortNo, Replica, TableAction, TableId, WeightedAction};

use super::*;
use crate::testing::*;

fn bridge(bench: &Bench, mac: u128, port: u128) -> TableEntry {
    bench.entry(
        "bridge",
        &[("dst", FieldMatch::Exact(mac))],
        0,
        "forward",
        &[port],
    )
}

fn route(bench: &Bench, vrf: u128, value: u128, prefix_len: u16) -> TableEntry {
    let key = [
        ("vrf", FieldMatch::Exact(vrf)),
        ("dst", FieldMatch::Lpm { value, prefix_len }),
    ];
    bench.entry("routes", &key, 0, "route", &[1, 2])
}

fn code(result: Result<(), WriteError>) -> Code {
    result.map_or_else(|error| error.code(), |()| Code::Ok)
}

#[test]
fn insert_modify_and_delete_say_what_is_there() {
    let bench = Bench::new();
    let mut state = bench.datapath.state.clone();
    let entry = bridge(&bench, 1, 2);
    assert_eq!(code(state.modify(&entry)), Code::NotFound);
    assert_eq!(code(state.delete(&entry)), Code::NotFound);
    assert_eq!(code(state.insert(&entry)), Code::Ok);
    assert_eq!(code(state.insert(&entry)), Code::AlreadyExists);
    let changed = bridge(&bench, 1, 3);
    assert_eq!(code(state.modify(&changed)), Code::Ok);
    assert_eq!(state.entry(&entry.key).unwrap().entry, &changed);
    assert_eq!(code(state.delete(&entry)), Code::Ok);
    assert!(state.entry(&entry.key).is_none());
}

#[test]
fn a_full_table_refuses_and_constant_entries_take_room() {
    let bench = Bench::new();
    let mut state = bench.datapath.state.clone();
    for mac in 1..=3 {
        assert_eq!(code(state.insert(&bridge(&bench, mac, 1))), Code::Ok);
    }
    assert_eq!(
        code(state.insert(&bridge(&bench, 4, 1))),
        Code::ResourceExhausted
    );
    assert_eq!(code(state.modify(&bridge(&bench, 3, 2))), Code::Ok);
}

#[test]
fn constant_entries_cannot_be_changed() {
    let bench = Bench::new();
    let mut state = bench.datapath.state.clone();
    let entry = bridge(&bench, 0x0180_c200_0000, 1);
    assert_eq!(code(state.insert(&entry)), Code::AlreadyExists);
    assert_eq!(code(state.modify(&entry)), Code::PermissionDenied);
    assert_eq!(code(state.delete(&entry)), Code::PermissionDenied);
    assert!(state.entry(&entry.key).unwrap().is_const);
}

#[test]
fn a_default_entry_is_modified_and_reset() {
    let bench = Bench::new();
    let mut state = bench.datapath.state.clone();
    let table = bench
        .datapath
        .state
        .program()
        .schema()
        .table_by_name("routes")
        .unwrap()
        .id;
    let original = state.default_entry(table).unwrap().entry.clone();
    let fingerprint = state.fingerprint(table);
    let mut entry = bench.entry("routes", &[], 0, "route", &[1, 2]);
    entry.is_default = true;
    assert_eq!(code(state.insert(&entry)), Code::InvalidArgument);
    assert_eq!(code(state.delete(&entry)), Code::InvalidArgument);
    assert_eq!(code(state.modify(&entry)), Code::Ok);
    assert_eq!(state.default_entry(table).unwrap().entry, &entry);
    assert_ne!(state.fingerprint(table), fingerprint);
    entry.action = None;
    assert_eq!(code(state.modify(&entry)), Code::Ok);
    assert_eq!(state.default_entry(table).unwrap().entry, &original);
    assert_eq!(state.fingerprint(table), fingerprint);
    entry.key.priority = 1;
    assert_eq!(code(state.modify(&entry)), Code::InvalidArgument);
}

/// Each mistake, and the code of P4Runtime §9.1 for it.
#[test]
fn entries_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    let mut state = bench.datapath.state.clone();
    let exact = FieldMatch::Exact;
    let lpm = |value, prefix_len| FieldMatch::Lpm { value, prefix_len };
    let ternary = |value, mask| FieldMatch::Ternary { value, mask };
    let range = |low, high| FieldMatch::Range { low, high };
    let acl = |key: &[(&str, FieldMatch)], priority| bench.entry("acl", key, priority, "deny", &[]);
    let mut unknown_field = bridge(&bench, 1, 1);
    unknown_field
        .key
        .matches
        .insert(weft_proto::vocab::FieldId(9), exact(1));
    let mut unknown_table = bridge(&bench, 1, 1);
    unknown_table.key.table = TableId(0x0200_00ff);
    let mut too_few = bridge(&bench, 1, 1);
    too_few.action = Some(TableAction::Call(bench.call("forward", &[])));
    let mut no_action = bridge(&bench, 1, 1);
    no_action.action = None;
    let mut one_shot = bridge(&bench, 1, 1);
    one_shot.action = Some(TableAction::OneShot(vec![]));
    let mut timeout = bridge(&bench, 1, 1);
    timeout.idle_timeout_ns = 1;
    let direct = bench.entry("spread", &[("dst", exact(1))], 0, "pass", &[]);
    let cases = [
        (Code::InvalidArgument, unknown_table),
        (Code::InvalidArgument, unknown_field),
        (
            Code::InvalidArgument,
            bench.entry("bridge", &[], 0, "flood", &[]),
        ),
        (
            Code::InvalidArgument,
            bench.entry("bridge", &[("dst", lpm(0, 1))], 0, "flood", &[]),
        ),
        (
            Code::InvalidArgument,
            bench.entry("bridge", &[("dst", exact(1))], 1, "flood", &[]),
        ),
        (
            Code::InvalidArgument,
            bench.entry("bridge", &[("dst", exact(1))], 0, "route", &[1, 1]),
        ),
        (Code::OutOfRange, bridge(&bench, 1 << 48, 1)),
        (Code::OutOfRange, bridge(&bench, 1, 1 << 32)),
        (Code::InvalidArgument, too_few),
        (Code::InvalidArgument, no_action),
        (Code::InvalidArgument, one_shot),
        (Code::InvalidArgument, timeout),
        (Code::InvalidArgument, direct),
        (Code::InvalidArgument, route(&bench, 0, 0, 0)),
        (Code::InvalidArgument, route(&bench, 0, 0, 33)),
        (Code::InvalidArgument, route(&bench, 0, 0x0a00_0001, 24)),
        (Code::InvalidArgument, acl(&[], 0)),
        (Code::InvalidArgument, acl(&[("src", ternary(1, 0))], 1)),
        (Code::InvalidArgument, acl(&[("src", ternary(3, 1))], 1)),
        (Code::OutOfRange, acl(&[("src", ternary(0, 1 << 32))], 1)),
        (Code::InvalidArgument, acl(&[("dport", range(5, 4))], 1)),
        (
            Code::InvalidArgument,
            acl(&[("dport", range(0, 0xffff))], 1),
        ),
        (Code::OutOfRange, acl(&[("dport", range(0, 0x1_0000))], 1)),
    ];
    let before = format!("{:?}", state.tables);
    for (wanted, entry) in cases {
        assert_eq!(code(state.insert(&entry)), wanted, "{entry:#?}");
    }
    assert_eq!(before, format!("{:?}", state.tables));
}

#[test]
fn groups_of_actions_are_limited_by_their_selector() {
    let bench = Bench::new();
    let mut state = bench.datapath.state.clone();
    let group = |mac, members| {
        let mut entry = bench.entry("spread", &[("dst", FieldMatch::Exact(mac))], 0, "pass", &[]);
        let member = WeightedAction {
            call: bench.call("forward", &[1]),
            weight: 1,
            watch_port: None,
        };
        entry.action = Some(TableAction::OneShot(vec![member; members]));
        entry
    };
    // P4Runtime §9.2.3: a set that is larger than a group may be.
    assert_eq!(code(state.insert(&group(1, 11))), Code::InvalidArgument);
    for mac in 1..=10 {
        assert_eq!(code(state.insert(&group(mac, 10))), Code::Ok);
    }
    assert_eq!(code(state.insert(&group(11, 1))), Code::ResourceExhausted);
    assert_eq!(code(state.modify(&group(1, 9))), Code::Ok);
    assert_eq!(code(state.insert(&group(11, 1))), Code::Ok);
    assert_eq!(code(state.modify(&group(1, 10))), Code::ResourceExhausted);
    assert_eq!(code(state.delete(&group(11, 1))), Code::Ok);
    assert_eq!(code(state.modify(&group(1, 10))), Code::Ok);
    let mut weightless = group(12, 1);
    if let Some(TableAction::OneShot(members)) = &mut weightless.action {
        members[0].weight = 0;
    }
    assert_eq!(code(state.insert(&weightless)), Code::InvalidArgument);
}

#[test]
fn multicast_groups_follow_the_same_rules() {
    let mut state = Bench::new().datapath.state;
    let replica = |port, instance| Replica {
        port: PortNo(port),
        instance,
    };
    let group = |id, replicas: &[Replica]| MulticastGroup {
        id: MulticastGroupId(id),
        replicas: replicas.to_vec(),
        metadata: vec![],
        ..MulticastGroup::default()
    };
    let one = group(1, &[replica(1, 0), replica(1, 1)]);
    assert_eq!(code(state.modify_group(&one)), Code::NotFound);
    assert_eq!(code(state.delete_group(one.id)), Code::NotFound);
    assert_eq!(code(state.insert_group(&one)), Code::Ok);
    assert_eq!(code(state.insert_group(&one)), Code::AlreadyExists);
    assert_eq!(code(state.modify_group(&group(1, &[]))), Code::Ok);
    assert_eq!(state.group(one.id).unwrap().replicas, []);
    assert_eq!(state.groups().count(), 1);
    assert_eq!(code(state.delete_group(one.id)), Code::Ok);
    for wrong in [
        group(0, &[]),
        group(2, &[replica(0, 0)]),
        group(2, &[replica(1, 1), replica(1, 1)]),
    ] {
        assert_eq!(code(state.insert_group(&wrong)), Code::InvalidArgument);
    }
}

#[test]
fn counters_survive_a_modify_and_are_shared_with_clones() {
    let bench = Bench::new();
    let mut state = bench.datapath.state.clone();
    let entry = bridge(&bench, 1, 2);
    state.insert(&entry).unwrap();
    let snapshot = state.clone();
    snapshot
        .entry(&entry.key)
        .unwrap()
        .counter
        .unwrap()
        .add(3, 100);
    state.modify(&bridge(&bench, 1, 9)).unwrap();
    let counter = state.entry(&entry.key).unwrap().counter.unwrap();
    assert_eq!(
        counter.value(),
        CounterValue {
            packets: 3,
            bytes: 100
        }
    );
    assert_eq!(snapshot.entry(&entry.key).unwrap().entry, &entry);
    // A new entry under an old key begins anew.
    state.delete(&entry).unwrap();
    state.insert(&entry).unwrap();
    let counter = state.entry(&entry.key).unwrap().counter.unwrap();
    assert_eq!(counter.value(), CounterValue::default());
}

#[test]
fn entries_come_in_the_order_of_their_keys() {
    let bench = Bench::new();
    let mut state = bench.datapath.state.clone();
    let prefixes = [
        (1, 0x0a00_0000, 8),
        (0, 0x0b00_0000, 8),
        (0, 0x0a00_0000, 16),
        (0, 0x0a00_0000, 8),
    ];
    let mut keys = Vec::new();
    for (vrf, value, len) in prefixes {
        let entry = route(&bench, vrf, value, len);
        state.insert(&entry).unwrap();
        keys.push(entry.key);
    }
    keys.sort();
    let table = keys[0].table;
    let found: Vec<_> = state
        .entries(table)
        .iter()
        .map(|view| view.entry.key.clone())
        .collect();
    assert_eq!(found, keys);
    assert!(state.entries(TableId(1)).is_empty());
}

proptest! {
    #[test]
    fn a_fingerprint_tells_contents_and_not_history(
        first in proptest::collection::btree_map(0_u128..8, 0_u128..3, 0..6),
        second in proptest::collection::btree_map(0_u128..8, 0_u128..3, 0..6),
    ) {
        let bench = Bench::new();
        let mut state = bench.datapath.state.clone();
        let entry = |vrf: u128, note: u128| {
            let mut entry = route(&bench, vrf, 0x0a00_0000, 8);
            entry.metadata = vec![u8::try_from(note).unwrap()];
            entry
        };
        let table = entry(0, 0).key.table;
        for (vrf, note) in &first {
            state.insert(&entry(*vrf, *note)).unwrap();
        }
        let mut direct = bench.datapath.state.clone();
        for (vrf, note) in second.iter().rev() {
            direct.insert(&entry(*vrf, *note)).unwrap();
        }
        let same = state.fingerprint(table) == direct.fingerprint(table);
        prop_assert_eq!(same, first == second);
        for (vrf, note) in &second {
            let entry = entry(*vrf, *note);
            if first.contains_key(vrf) {
                state.modify(&entry).unwrap();
            } else {
                state.insert(&entry).unwrap();
            }
        }
        for vrf in first.keys().filter(|vrf| !second.contains_key(vrf)) {
            state.delete(&entry(*vrf, 0)).unwrap();
        }
        prop_assert_eq!(state.fingerprint(table), direct.fingerprint(table));
    }
}
