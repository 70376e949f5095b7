//! Members and groups of action profiles, and clone sessions.

mod model;

use weft_proto::vocab::{
    GroupMember, MemberId, MulticastGroupId, ProfileGroup, ProfileGroupId, ProfileId, ProfileMember,
};

use super::*;
use crate::ir::{Pipeline, Selector, SelectorMode, SizeCounts};

const SPREAD: ProfileId = ProfileId(0x1100_0001);
const FIXED: ProfileId = ProfileId(0x1100_0002);
const WEIGHED: ProfileId = ProfileId(0x1100_0003);

/// The router, and tables `fixed`, `weighed` and `spread2` that are like `spread`: with a profile that has no selector,
/// one that counts weights, and the same selector.
fn pipeline() -> Pipeline {
    let mut pipeline = router();
    pipeline.selectors.extend([
        Selector {
            name: "fixed".into(),
            size: 3,
            ..Selector::default()
        },
        Selector {
            name: "weighed".into(),
            mode: SelectorMode::FirstLive,
            size_counts: SizeCounts::Weights,
            size: 50,
            ..Selector::default()
        },
    ]);
    let tables = pipeline.tables.iter();
    let spread = tables.clone().find(|table| table.name == "spread");
    let spread = spread.unwrap().clone();
    for (name, selector) in [
        ("fixed", "fixed"),
        ("weighed", "weighed"),
        ("spread2", "spread"),
    ] {
        let mut table = spread.clone();
        table.name = name.into();
        table.selector = Some(selector.into());
        pipeline.tables.push(table);
    }
    pipeline
}

fn bench() -> Bench {
    Bench::with(pipeline())
}

fn member(bench: &Bench, profile: ProfileId, id: u32, port: u128) -> ProfileMember {
    ProfileMember {
        profile,
        id: MemberId(id),
        call: bench.call("forward", &[port]),
    }
}

fn group(profile: ProfileId, id: u32, members: &[(u32, u32)], max_size: u32) -> ProfileGroup {
    let member = |&(member, weight): &(u32, u32)| GroupMember {
        member: MemberId(member),
        weight,
        watch_port: None,
    };
    ProfileGroup {
        profile,
        id: ProfileGroupId(id),
        members: members.iter().map(member).collect(),
        max_size,
    }
}

fn entry(bench: &Bench, table: &str, mac: u128, action: TableAction) -> TableEntry {
    let dst = FieldMatch::Exact(mac);
    TableEntry {
        action: Some(action),
        ..bench.entry(table, &[("dst", dst)], 0, "pass", &[])
    }
}

fn by_member(id: u32) -> TableAction {
    TableAction::Member(MemberId(id))
}

fn by_group(id: u32) -> TableAction {
    TableAction::Group(ProfileGroupId(id))
}

#[test]
fn members_are_inserted_modified_and_deleted_and_a_full_profile_says_so() {
    let bench = bench();
    let mut state = bench.datapath.state.clone();
    let one = member(&bench, FIXED, 1, 2);
    assert_eq!(code(state.modify_member(&one)), Code::NotFound);
    assert_eq!(
        code(state.delete_member(FIXED, MemberId(1))),
        Code::NotFound
    );
    assert_eq!(code(state.insert_member(&one)), Code::Ok);
    assert_eq!(code(state.insert_member(&one)), Code::AlreadyExists);
    let other = member(&bench, FIXED, 1, 3);
    assert_eq!(code(state.modify_member(&other)), Code::Ok);
    assert_eq!(state.member(FIXED, MemberId(1)), Some(&other));
    assert!(state.member(SPREAD, MemberId(1)).is_none());
    for id in [2, 3] {
        let next = member(&bench, FIXED, id, 2);
        assert_eq!(code(state.insert_member(&next)), Code::Ok);
    }
    let fourth = member(&bench, FIXED, 4, 2);
    assert_eq!(code(state.insert_member(&fourth)), Code::ResourceExhausted);
    assert_eq!(code(state.delete_member(FIXED, MemberId(1))), Code::Ok);
    assert_eq!(code(state.insert_member(&fourth)), Code::Ok);
    let ids: Vec<u32> = state.members(FIXED).map(|member| member.id.0).collect();
    assert_eq!(ids, [2, 3, 4]);
    let denied = ProfileMember {
        call: bench.call("deny", &[]),
        ..one.clone()
    };
    assert_eq!(code(state.insert_member(&denied)), Code::InvalidArgument);
    let unnamed = ProfileMember {
        id: MemberId(0),
        ..one.clone()
    };
    assert_eq!(code(state.insert_member(&unnamed)), Code::InvalidArgument);
    let nowhere = ProfileMember {
        profile: ProfileId(0x1100_0009),
        ..one
    };
    assert_eq!(code(state.insert_member(&nowhere)), Code::InvalidArgument);
}

#[test]
fn what_is_referred_to_cannot_go() {
    let bench = bench();
    let mut state = bench.datapath.state.clone();
    for id in [1, 2] {
        state.insert_member(&member(&bench, SPREAD, id, 2)).unwrap();
    }
    let both = group(SPREAD, 1, &[(1, 1), (2, 1)], 4);
    state.insert_profile_group(&both).unwrap();
    let to_group = entry(&bench, "spread", 1, by_group(1));
    state.insert(&to_group).unwrap();
    let to_member = entry(&bench, "spread2", 1, by_member(1));
    state.insert(&to_member).unwrap();

    let busy = Code::FailedPrecondition;
    assert_eq!(code(state.delete_member(SPREAD, MemberId(1))), busy);
    assert_eq!(code(state.delete_member(SPREAD, MemberId(2))), busy);
    let id = ProfileGroupId(1);
    assert_eq!(code(state.delete_profile_group(SPREAD, id)), busy);
    // The group without the second member, then without entries.
    let first = group(SPREAD, 1, &[(1, 1)], 4);
    assert_eq!(code(state.modify_profile_group(&first)), Code::Ok);
    assert_eq!(code(state.delete_member(SPREAD, MemberId(2))), Code::Ok);
    assert_eq!(code(state.delete(&to_group)), Code::Ok);
    assert_eq!(code(state.delete_profile_group(SPREAD, id)), Code::Ok);
    assert_eq!(code(state.delete_member(SPREAD, MemberId(1))), busy);
    assert_eq!(code(state.delete(&to_member)), Code::Ok);
    assert_eq!(code(state.delete_member(SPREAD, MemberId(1))), Code::Ok);
    assert_eq!(code(state.delete_profile_group(SPREAD, id)), Code::NotFound);
}

#[test]
fn groups_have_members_that_exist_and_keep_their_max_size() {
    let bench = bench();
    let mut state = bench.datapath.state.clone();
    for id in 1..=12 {
        state.insert_member(&member(&bench, SPREAD, id, 2)).unwrap();
    }
    let of = |members: &[(u32, u32)], max| group(SPREAD, 1, members, max);
    assert_eq!(
        code(state.modify_profile_group(&of(&[], 4))),
        Code::NotFound
    );
    assert_eq!(
        code(state.insert_profile_group(&of(&[(99, 1)], 4))),
        Code::NotFound
    );
    for refused in [
        of(&[(1, 0)], 4),
        of(&[(1, 1), (1, 2)], 4),
        of(&[(1, 1)], 0),
        of(&[(1, 1)], 11),
        group(FIXED, 1, &[], 1),
        group(SPREAD, 0, &[], 1),
    ] {
        assert_eq!(
            code(state.insert_profile_group(&refused)),
            Code::InvalidArgument,
            "{refused:?}"
        );
    }
    let large = of(&[(1, 1), (2, 1), (3, 1)], 2);
    assert_eq!(
        code(state.insert_profile_group(&large)),
        Code::ResourceExhausted
    );
    let fits = of(&[(2, 700), (1, 1)], 2);
    assert_eq!(code(state.insert_profile_group(&fits)), Code::Ok);
    assert_eq!(code(state.insert_profile_group(&fits)), Code::AlreadyExists);
    assert_eq!(
        state.profile_group(SPREAD, ProfileGroupId(1)),
        Some(&fits),
        "members stay in the order that was given"
    );
    assert_eq!(
        code(state.modify_profile_group(&of(&[(1, 1)], 3))),
        Code::InvalidArgument
    );
    assert_eq!(
        code(state.modify_profile_group(&of(&[(1, 1), (2, 1), (3, 1)], 2))),
        Code::ResourceExhausted
    );
    assert_eq!(code(state.modify_profile_group(&of(&[], 2))), Code::Ok);
}

#[test]
fn a_selector_that_counts_weights_is_full_by_weights() {
    let bench = bench();
    let mut state = bench.datapath.state.clone();
    for id in [1, 2] {
        state
            .insert_member(&member(&bench, WEIGHED, id, 2))
            .unwrap();
    }
    let of = |id, weight| group(WEIGHED, id, &[(1, weight), (2, 10)], 0);
    assert_eq!(code(state.insert_profile_group(&of(1, 20))), Code::Ok);
    assert_eq!(
        code(state.insert_profile_group(&of(2, 11))),
        Code::ResourceExhausted
    );
    assert_eq!(code(state.insert_profile_group(&of(2, 10))), Code::Ok);
    assert_eq!(
        code(state.modify_profile_group(&of(1, 21))),
        Code::ResourceExhausted
    );
    assert_eq!(code(state.modify_profile_group(&of(1, 5))), Code::Ok);
    assert_eq!(code(state.modify_profile_group(&of(2, 25))), Code::Ok);
    let bounded = group(WEIGHED, 3, &[(1, 5)], 4);
    state
        .delete_profile_group(WEIGHED, ProfileGroupId(1))
        .unwrap();
    assert_eq!(
        code(state.insert_profile_group(&bounded)),
        Code::ResourceExhausted
    );
}

#[test]
fn entries_of_a_selector_s_tables_are_of_one_style() {
    let bench = bench();
    let mut state = bench.datapath.state.clone();
    state.insert_member(&member(&bench, SPREAD, 1, 2)).unwrap();
    let set = || {
        TableAction::OneShot(vec![WeightedAction {
            call: bench.call("forward", &[2]),
            weight: 1,
            watch_port: None,
        }])
    };
    let referring = entry(&bench, "spread", 1, by_member(1));
    state.insert(&referring).unwrap();
    for table in ["spread", "spread2"] {
        let mixed = entry(&bench, table, 2, set());
        assert_eq!(code(state.insert(&mixed)), Code::InvalidArgument);
    }
    // Its only entry may change to the other style.
    let changed = entry(&bench, "spread", 1, set());
    assert_eq!(code(state.modify(&changed)), Code::Ok);
    let other = entry(&bench, "spread2", 2, by_member(1));
    assert_eq!(code(state.insert(&other)), Code::InvalidArgument);
    assert_eq!(code(state.delete(&changed)), Code::Ok);
    assert_eq!(code(state.insert(&other)), Code::Ok);
    // A profile without a selector has members only.
    state.insert_member(&member(&bench, FIXED, 1, 2)).unwrap();
    for action in [set(), by_group(1)] {
        let entry = entry(&bench, "fixed", 1, action);
        assert_eq!(code(state.insert(&entry)), Code::InvalidArgument);
    }
    let fixed = entry(&bench, "fixed", 1, by_member(1));
    assert_eq!(code(state.insert(&fixed)), Code::Ok);
    let missing = entry(&bench, "fixed", 2, by_member(9));
    assert_eq!(code(state.insert(&missing)), Code::NotFound);
    let direct = entry(
        &bench,
        "fixed",
        2,
        TableAction::Call(bench.call("forward", &[2])),
    );
    assert_eq!(code(state.insert(&direct)), Code::InvalidArgument);
}

#[test]
fn a_fingerprint_follows_what_entries_refer_to() {
    let bench = bench();
    let mut state = bench.datapath.state.clone();
    let table = entry(&bench, "spread", 1, by_member(1)).key.table;
    let empty = state.fingerprint(table);
    state.insert_member(&member(&bench, SPREAD, 1, 2)).unwrap();
    let with_member = state.fingerprint(table);
    assert_ne!(with_member, empty);
    state.modify_member(&member(&bench, SPREAD, 1, 3)).unwrap();
    assert_ne!(state.fingerprint(table), with_member);
    state.modify_member(&member(&bench, SPREAD, 1, 2)).unwrap();
    assert_eq!(state.fingerprint(table), with_member);
    let group = group(SPREAD, 1, &[(1, 2)], 3);
    state.insert_profile_group(&group).unwrap();
    assert_ne!(state.fingerprint(table), with_member);
    let id = ProfileGroupId(1);
    state.delete_profile_group(SPREAD, id).unwrap();
    state.delete_member(SPREAD, MemberId(1)).unwrap();
    assert_eq!(state.fingerprint(table), empty);
}

#[test]
fn clone_sessions_follow_the_rules_of_groups() {
    let mut state = bench().datapath.state;
    let replica = |port| Replica {
        port: PortNo(port),
        instance: 0,
    };
    let session = |id, ports: &[u32]| CloneSession {
        id: CloneSessionId(id),
        replicas: ports.iter().map(|&port| replica(port)).collect(),
        ..CloneSession::default()
    };
    let one = session(1, &[2]);
    assert_eq!(code(state.modify_session(&one)), Code::NotFound);
    assert_eq!(code(state.insert_session(&one)), Code::Ok);
    assert_eq!(code(state.insert_session(&one)), Code::AlreadyExists);
    for refused in [session(0, &[2]), session(2, &[0]), session(2, &[2, 2])] {
        assert_eq!(code(state.insert_session(&refused)), Code::InvalidArgument);
    }
    let backed = |backup| CloneSession {
        backups: [(replica(2), vec![replica(backup)])].into(),
        ..session(1, &[2, 3])
    };
    assert_eq!(code(state.modify_session(&backed(4))), Code::Ok);
    for refused in [2, 3] {
        assert_eq!(
            code(state.modify_session(&backed(refused))),
            Code::InvalidArgument
        );
    }
    assert_eq!(state.sessions().count(), 1);
    let id = CloneSessionId(1);
    assert_eq!(state.session(id), Some(&backed(4)));
    assert_eq!(code(state.delete_session(id)), Code::Ok);
    assert_eq!(code(state.delete_session(id)), Code::NotFound);
    assert!(state.group(MulticastGroupId(1)).is_none());
}
