//! §9.2 `ActionProfileMember` and `ActionProfileGroup`.

use std::time::Duration;

use tonic::Code::{
    AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Ok as Fine, ResourceExhausted,
    Unimplemented,
};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::entity::Entity;
use weft_proto::p4::v1::table_action::Type;
use weft_switch::drops::DropReason;
use weft_switch::host::LinkState;

use super::bed::{Bed, PLAIN, SPREAD, WEIGHED};
use crate::client::{SOON, at};

/// A frame whose hash differs from host to host.
fn flow(host: u8) -> Vec<u8> {
    let mut frame = crate::client::frame(0x0800, &[host; 50]);
    frame[11] = host;
    frame
}

/// By which port each flow leaves that enters at port 1; 0 for those that no member takes.
fn ways(bed: &Bed) -> Vec<usize> {
    let dropped = dropped(bed);
    for host in 0..FLOWS {
        bed.ports[0].send(&flow(host));
    }
    let mut ways = vec![0; FLOWS.into()];
    let mut left = 0;
    // Each round waits for a moment, so that this is long enough.
    let mut rounds = 0;
    while left + self::dropped(bed) - dropped < FLOWS.into() {
        rounds += 1;
        assert!(rounds < 5_000, "flows are missing: {ways:?}");
        for (port, number) in bed.ports[1..].iter().zip(2..) {
            while let Some(frame) = port.receive(Duration::from_millis(1)) {
                assert_eq!(frame, flow(frame[11]));
                ways[usize::from(frame[11])] = number;
                left += 1;
            }
        }
    }
    ways
}

/// Packets from port 1 that no member took.
fn dropped(bed: &Bed) -> u64 {
    let counters = bed.lab.host.counters(at(1, 1)).unwrap();
    let mut drops = counters.drops();
    let empty = drops.find(|(reason, _)| *reason == DropReason::EMPTY_GROUP.0);
    empty.map_or(0, |(_, count)| count)
}

/// A read of one entry: it is no filter by what the entry refers to (§9.1.6).
fn key(entry: &wire::TableEntry) -> wire::TableEntry {
    wire::TableEntry {
        action: None,
        ..entry.clone()
    }
}

const FLOWS: u8 = 24;

// === members ===

/// §9.2.1 INSERT: "The member id must be different from ids of already programmed entries for that extern".
#[tokio::test]
async fn a_member_id_that_is_in_use_already_exists() {
    let bed = Bed::new().await;
    assert_eq!(bed.insert(bed.member(SPREAD, 1, 2)).await, Fine);
    assert_eq!(bed.insert(bed.member(SPREAD, 1, 3)).await, AlreadyExists);
    // In another extern the id is another one's.
    assert_eq!(bed.insert(bed.member(PLAIN, 1, 3)).await, Fine);
}

/// §9.2.1: "The action specification must be provided", and is bound "only to the actions that appear in the `actions`
/// attribute of the table".
#[tokio::test]
async fn a_member_has_an_action_of_its_tables() {
    let bed = Bed::new().await;
    let with = |action| wire::ActionProfileMember {
        action,
        ..bed.member(SPREAD, 1, 2)
    };
    let other = Some(bed.action("replicate", &[1]));
    for wrong in [with(None), with(other)] {
        assert_eq!(bed.insert(wrong.clone()).await, InvalidArgument);
        bed.insert(bed.member(SPREAD, 1, 2)).await;
        assert_eq!(bed.modify(wrong).await, InvalidArgument);
        bed.delete(bed.member(SPREAD, 1, 2)).await;
    }
}

/// §9.2.1 INSERT: "The total number of members should not exceed the maximum".
#[tokio::test]
async fn a_profile_that_is_full_is_exhausted() {
    let bed = Bed::new().await;
    for id in [1, 2] {
        assert_eq!(bed.insert(bed.member(PLAIN, id, 2)).await, Fine);
    }
    assert_eq!(bed.insert(bed.member(PLAIN, 3, 2)).await, ResourceExhausted);
}

/// §9.2.1 MODIFY and DELETE: an id that is not valid is `NOT_FOUND`; §8.2: 0 is no id.
#[tokio::test]
async fn a_member_that_is_not_there_is_not_found() {
    let bed = Bed::new().await;
    assert_eq!(bed.modify(bed.member(SPREAD, 1, 2)).await, NotFound);
    assert_eq!(bed.delete(bed.member(SPREAD, 1, 2)).await, NotFound);
    assert_eq!(bed.insert(bed.member(SPREAD, 0, 2)).await, InvalidArgument);
}

/// §9.2.1 DELETE: "The member must not be part of an action profile group", and "must not be referenced in the table
/// action of any table entry".
#[tokio::test]
async fn a_member_in_use_cannot_be_deleted() {
    let bed = Bed::new().await;
    for id in [1, 2] {
        bed.insert(bed.member(SPREAD, id, 2)).await;
    }
    bed.insert(bed.group(SPREAD, 1, &[(1, 1, 0)], 2)).await;
    let entry = bed.entry("balance", 1, Type::ActionProfileMemberId(2));
    assert_eq!(bed.insert(entry.clone()).await, Fine);
    for id in [1, 2] {
        let member = bed.member(SPREAD, id, 2);
        assert_eq!(bed.delete(member).await, FailedPrecondition);
    }
    assert_eq!(bed.modify(bed.group(SPREAD, 1, &[], 2)).await, Fine);
    assert_eq!(bed.delete(entry).await, Fine);
    for id in [1, 2] {
        // "every other field will be ignored"
        let member = wire::ActionProfileMember {
            action: None,
            ..bed.member(SPREAD, id, 2)
        };
        assert_eq!(bed.delete(member).await, Fine);
    }
}

/// §9.2.1: ids 0 read all members of all profiles, or of the one that is named.
#[tokio::test]
async fn members_are_read_by_wildcards() {
    let bed = Bed::new().await;
    let held = [
        bed.member(SPREAD, 1, 2),
        bed.member(SPREAD, 7, 3),
        bed.member(PLAIN, 1, 4),
    ];
    for member in &held {
        bed.insert(member.clone()).await;
    }
    let read = |profile: u32, id: u32| {
        bed.read(wire::ActionProfileMember {
            action_profile_id: profile,
            member_id: id,
            action: None,
        })
    };
    let wanted = |members: &[wire::ActionProfileMember]| -> Vec<Entity> {
        let members = members.iter().cloned();
        members.map(Entity::ActionProfileMember).collect()
    };
    assert_eq!(read(0, 0).await, wanted(&held));
    assert_eq!(read(bed.profile(SPREAD), 0).await, wanted(&held[..2]));
    assert_eq!(read(bed.profile(SPREAD), 7).await, wanted(&held[1..2]));
}

/// §9.2: a hit on an indirect table's entry looks the member up and applies its action; MODIFY changes it.
#[tokio::test]
async fn packets_get_the_action_of_the_member_as_it_is_now() {
    let bed = Bed::new().await;
    for (table, profile) in [("balance", SPREAD), ("indirect", PLAIN)] {
        bed.insert(bed.member(profile, 1, 2)).await;
        let entry = bed.entry(table, 1, Type::ActionProfileMemberId(1));
        assert_eq!(bed.insert(entry.clone()).await, Fine);
        bed.ports[0].send(&flow(1));
        assert_eq!(bed.ports[1].receive(SOON), Some(flow(1)));
        assert_eq!(bed.modify(bed.member(profile, 1, 4)).await, Fine);
        bed.ports[0].send(&flow(1));
        assert_eq!(bed.ports[3].receive(SOON), Some(flow(1)));
        assert_eq!(
            bed.read(key(&entry)).await,
            [Entity::TableEntry(entry.clone())]
        );
        bed.delete(entry).await;
    }
}

// === groups ===

/// §9.2.2: "the id 5 can simultaneously be used … to identify a member 5, and a group 5".
#[tokio::test]
async fn members_and_groups_have_ids_of_their_own() {
    let bed = Bed::new().await;
    assert_eq!(bed.insert(bed.member(SPREAD, 5, 2)).await, Fine);
    let group = bed.group(SPREAD, 5, &[(5, 1, 0)], 2);
    assert_eq!(bed.insert(group.clone()).await, Fine);
    assert_eq!(bed.insert(group).await, AlreadyExists);
}

/// §9.2.2: a weight of 0 is invalid, "`members` … must not include duplicates", and members must exist.
#[tokio::test]
async fn a_group_s_members_exist_once_with_a_weight() {
    let bed = Bed::new().await;
    bed.insert(bed.member(SPREAD, 1, 2)).await;
    let of = |members: &[(u32, i32, u8)]| bed.group(SPREAD, 1, members, 4);
    let refused = [
        (of(&[(1, 0, 0)]), InvalidArgument),
        (of(&[(1, -1, 0)]), InvalidArgument),
        (of(&[(1, 1, 0), (1, 2, 0)]), InvalidArgument),
        (of(&[(2, 1, 0)]), NotFound),
    ];
    for (group, code) in &refused {
        assert_eq!(bed.insert(group.clone()).await, *code);
    }
    assert_eq!(bed.modify(of(&[])).await, NotFound);
    assert_eq!(bed.insert(of(&[])).await, Fine);
    for (group, code) in &refused {
        assert_eq!(bed.modify(group.clone()).await, *code);
    }
    assert_eq!(bed.modify(of(&[(1, 9, 0)])).await, Fine);
}

/// §9.2.2: a watched port "must be empty or the SDN port of an existing port on the device".
#[tokio::test]
async fn a_watched_port_exists() {
    let bed = Bed::new().await;
    bed.insert(bed.member(SPREAD, 1, 2)).await;
    let watching = |port| bed.group(SPREAD, 1, &[(1, 1, port)], 4);
    assert_eq!(bed.insert(watching(9)).await, InvalidArgument);
    assert_eq!(bed.insert(watching(4)).await, Fine);
    assert_eq!(bed.modify(watching(9)).await, InvalidArgument);
    let entry = |watch| bed.entry("heavy", 1, bed.set(&[(2, 1, watch)]));
    assert_eq!(bed.insert(entry(9)).await, InvalidArgument);
    assert_eq!(bed.insert(entry(4)).await, Fine);
}

/// §9.2.2 "Rules on Setting `max_size`": above 0 and not above `max_group_size`; it "must not be changed".
#[tokio::test]
async fn max_size_is_within_max_group_size_and_does_not_change() {
    let bed = Bed::new().await;
    for id in 1..=4 {
        bed.insert(bed.member(SPREAD, id, 2)).await;
    }
    let of = |max| bed.group(SPREAD, 1, &[(1, 1, 0), (2, 1, 0)], max);
    for max in [0, -1, 5] {
        assert_eq!(bed.insert(of(max)).await, InvalidArgument);
    }
    assert_eq!(bed.insert(of(1)).await, ResourceExhausted);
    assert_eq!(bed.insert(of(2)).await, Fine);
    assert_eq!(bed.modify(of(3)).await, InvalidArgument);
    let more = bed.group(SPREAD, 1, &[(1, 1, 0), (2, 1, 0), (3, 1, 0)], 2);
    assert_eq!(bed.modify(more).await, ResourceExhausted);
}

/// §6.4.3: `size` is for all groups together, by members or by weights.
#[tokio::test]
async fn all_groups_together_are_within_size() {
    let bed = Bed::new().await;
    for profile in [SPREAD, WEIGHED] {
        for id in 1..=4 {
            bed.insert(bed.member(profile, id, 2)).await;
        }
    }
    let four = [(1, 100, 0), (2, 1, 0), (3, 1, 0), (4, 1, 0)];
    for id in [1, 2] {
        assert_eq!(bed.insert(bed.group(SPREAD, id, &four, 4)).await, Fine);
    }
    let ninth = bed.group(SPREAD, 3, &[(1, 1, 0)], 4);
    assert_eq!(bed.insert(ninth.clone()).await, ResourceExhausted);
    assert_eq!(bed.delete(bed.group(SPREAD, 1, &[], 0)).await, Fine);
    assert_eq!(bed.insert(ninth).await, Fine);

    let weighing = |id, weight| bed.group(WEIGHED, id, &[(1, weight, 0)], 10);
    assert_eq!(bed.insert(weighing(1, 11)).await, ResourceExhausted);
    assert_eq!(bed.insert(weighing(1, 10)).await, Fine);
    assert_eq!(bed.insert(weighing(2, 10)).await, Fine);
    assert_eq!(bed.insert(weighing(3, 1)).await, ResourceExhausted);
}

/// §9.2.2 DELETE: "The group must not be referenced in the table action of any table entry".
#[tokio::test]
async fn a_group_in_use_cannot_be_deleted() {
    let bed = Bed::new().await;
    let group = bed.group(SPREAD, 1, &[], 4);
    assert_eq!(bed.delete(group.clone()).await, NotFound);
    bed.insert(group.clone()).await;
    let entry = bed.entry("balance2", 1, Type::ActionProfileGroupId(1));
    assert_eq!(bed.insert(entry.clone()).await, Fine);
    assert_eq!(bed.delete(group.clone()).await, FailedPrecondition);
    bed.delete(entry).await;
    assert_eq!(bed.delete(group).await, Fine);
}

/// §9.2.2: ids 0 read all groups, or those of one selector; members come back as they were written, in order.
#[tokio::test]
async fn groups_are_read_by_wildcards_as_they_were_written() {
    let bed = Bed::new().await;
    for profile in [SPREAD, WEIGHED] {
        for id in 1..=3 {
            bed.insert(bed.member(profile, id, 2)).await;
        }
    }
    let held = [
        bed.group(SPREAD, 2, &[(3, 1, 4), (1, 5, 0), (2, 2, 2)], 4),
        bed.group(WEIGHED, 1, &[(2, 3, 0)], 7),
    ];
    for group in &held {
        assert_eq!(bed.insert(group.clone()).await, Fine);
    }
    let read = |profile: u32, id: u32| {
        bed.read(wire::ActionProfileGroup {
            action_profile_id: profile,
            group_id: id,
            ..wire::ActionProfileGroup::default()
        })
    };
    let wanted = |groups: &[wire::ActionProfileGroup]| -> Vec<Entity> {
        let groups = groups.iter().cloned();
        groups.map(Entity::ActionProfileGroup).collect()
    };
    assert_eq!(read(0, 0).await, wanted(&held));
    assert_eq!(read(bed.profile(WEIGHED), 0).await, wanted(&held[1..]));
    assert_eq!(read(bed.profile(SPREAD), 2).await, wanted(&held[..1]));
}

/// §9.2.2: "the same member [may] be present in multiple groups … the server must update all of those locations".
#[tokio::test]
async fn a_member_s_change_reaches_all_its_groups() {
    let bed = Bed::new().await;
    bed.insert(bed.member(SPREAD, 1, 2)).await;
    for id in [1, 2] {
        bed.insert(bed.group(SPREAD, id, &[(1, 1, 0)], 1)).await;
    }
    let by_group = |port, id| bed.entry("balance", port, Type::ActionProfileGroupId(id));
    bed.insert(by_group(1, 1)).await;
    bed.insert(by_group(3, 2)).await;
    for port in [0, 2] {
        bed.ports[port].send(&flow(1));
        assert_eq!(bed.ports[1].receive(SOON), Some(flow(1)));
    }
    assert_eq!(bed.modify(bed.member(SPREAD, 1, 4)).await, Fine);
    for port in [0, 2] {
        bed.ports[port].send(&flow(1));
        assert_eq!(bed.ports[3].receive(SOON), Some(flow(1)));
    }
}

/// §9.2.2 `watch_port`: "At runtime, the member must be excluded from selection if the watch port is down."
#[tokio::test]
async fn a_member_is_excluded_while_its_watched_port_is_down() {
    let bed = Bed::new().await;
    for id in [2, 3, 4_u8] {
        bed.insert(bed.member(SPREAD, id.into(), id)).await;
    }
    let group = bed.group(SPREAD, 1, &[(2, 1, 2), (3, 1, 3), (4, 1, 4)], 4);
    bed.insert(group).await;
    let entry = bed.entry("balance", 1, Type::ActionProfileGroupId(1));
    assert_eq!(bed.insert(entry.clone()).await, Fine);
    follows_its_ports(&bed);
    bed.delete(entry).await;
    // §9.2.3: the same for a one-shot set.
    let set = bed.set(&[(2, 1, 2), (3, 1, 3), (4, 1, 4)]);
    let entry = bed.entry("balance", 1, set);
    assert_eq!(bed.insert(entry).await, Fine);
    follows_its_ports(&bed);
}

/// Flows of a port that goes down move to the others, theirs do not; without any port they end as `empty-group`.
fn follows_its_ports(bed: &Bed) {
    let set = |port: u32, state| bed.lab.host.set_link(&format!("l{port}"), state).unwrap();
    let before = ways(bed);
    for port in 2..=4 {
        assert!(before.contains(&port), "{before:?}");
    }
    set(3, LinkState::Down);
    let after = ways(bed);
    for (old, new) in before.iter().zip(&after) {
        assert!(match old {
            3 => [2, 4].contains(new),
            _ => new == old,
        });
    }
    set(2, LinkState::Down);
    assert!(ways(bed).iter().all(|&port| port == 4));
    set(4, LinkState::Down);
    // Those who wait for them would see drops only if they are counted as such.
    assert!(ways(bed).iter().all(|&port| port == 0));
    for port in 2..=4 {
        set(port, LinkState::Up);
    }
    assert_eq!(ways(bed), before);
}

/// §9.2.4: "P4Runtime does not require the server to return an error code when the client performs an operation which
/// results in an empty group"; packets to it are dropped, by name.
#[tokio::test]
async fn an_empty_group_is_no_error_and_drops() {
    let bed = Bed::new().await;
    assert_eq!(bed.insert(bed.group(SPREAD, 1, &[], 4)).await, Fine);
    let entry = bed.entry("balance", 1, Type::ActionProfileGroupId(1));
    assert_eq!(bed.insert(entry).await, Fine);
    assert!(ways(&bed).iter().all(|&port| port == 0));
}

/// §9.2.2: groups are entries in an action *selector*.
#[tokio::test]
async fn a_profile_without_selector_has_no_groups() {
    let bed = Bed::new().await;
    let group = bed.group(PLAIN, 1, &[], 1);
    assert_eq!(bed.insert(group).await, InvalidArgument);
    let entry = bed.entry("indirect", 1, Type::ActionProfileGroupId(1));
    assert_eq!(bed.insert(entry).await, InvalidArgument);
    let entry = bed.entry("indirect", 1, bed.set(&[(2, 1, 0)]));
    assert_eq!(bed.insert(entry).await, InvalidArgument);
}

// === entries ===

/// §9.2: the reference "uniquely identifies a member or group programmed in the action selector", and an entry of an
/// indirect table has no action of its own.
#[tokio::test]
async fn an_entry_refers_to_what_exists() {
    let bed = Bed::new().await;
    for (action, code) in [
        (Type::ActionProfileMemberId(1), NotFound),
        (Type::ActionProfileGroupId(1), NotFound),
        (Type::ActionProfileMemberId(0), InvalidArgument),
        (Type::Action(bed.action("send", &[2])), InvalidArgument),
    ] {
        assert_eq!(bed.insert(bed.entry("balance", 1, action)).await, code);
    }
    let direct = bed.entry("forward", 1, Type::ActionProfileMemberId(1));
    assert_eq!(bed.insert(direct).await, InvalidArgument);
}

/// §9.2.3: "an implementation must answer `ReadRequest`s with the original one shot messages"; equal actions are not
/// coalesced.
#[tokio::test]
async fn one_shots_read_back_as_they_were_written() {
    let bed = Bed::new().await;
    let set = bed.set(&[(4, 3, 4), (2, 1, 0), (4, 3, 4), (3, 2, 2)]);
    let entry = bed.entry("balance", 1, set);
    assert_eq!(bed.insert(entry.clone()).await, Fine);
    assert_eq!(bed.read(key(&entry)).await, [Entity::TableEntry(entry)]);
    // No member and no group stands for it.
    assert_eq!(bed.read(wire::ActionProfileMember::default()).await, []);
    assert_eq!(bed.read(wire::ActionProfileGroup::default()).await, []);
}

/// §9.2.3: weights above 0, no more than `max_group_size` by the selector's semantics, else `INVALID_ARGUMENT`.
#[tokio::test]
async fn one_shots_have_weights_and_a_bounded_size() {
    let bed = Bed::new().await;
    for (table, set, code) in [
        ("balance", &[(2, 0, 0)][..], InvalidArgument),
        ("balance", &[(2, 1, 0); 5], InvalidArgument),
        ("balance", &[(2, 65_536, 0)], InvalidArgument),
        ("balance", &[(2, 60_000, 0); 4], Fine),
        ("heavy", &[(2, 6, 0), (3, 5, 0)], InvalidArgument),
        ("heavy", &[(2, 6, 0), (3, 4, 0)], Fine),
    ] {
        let entry = bed.entry(table, 1, bed.set(set));
        assert_eq!(bed.insert(entry).await, code, "{table} {set:?}");
    }
}

/// §9.2.3: "All the tables associated with an action selector may either be programmed exclusively with one shots, or
/// exclusively with `ActionProfileMember` and `ActionProfileGroup` messages."
#[tokio::test]
async fn one_shots_and_references_are_not_mixed() {
    let bed = Bed::new().await;
    bed.insert(bed.member(SPREAD, 1, 2)).await;
    let one_shot = |table| bed.entry(table, 1, bed.set(&[(2, 1, 0)]));
    let referring = |table| bed.entry(table, 2, Type::ActionProfileMemberId(1));
    assert_eq!(bed.insert(one_shot("balance")).await, Fine);
    for table in ["balance", "balance2"] {
        assert_eq!(bed.insert(referring(table)).await, InvalidArgument);
    }
    assert_eq!(bed.delete(one_shot("balance")).await, Fine);
    assert_eq!(bed.insert(referring("balance2")).await, Fine);
    assert_eq!(bed.insert(one_shot("balance")).await, InvalidArgument);
}

/// Protocol buffers of v1.5: a set's own action, selection mode and size semantics are optional to support.
#[tokio::test]
async fn a_set_s_own_mode_is_not_supported() {
    let bed = Bed::new().await;
    let with = |edit: fn(&mut wire::ActionProfileActionSet)| {
        let Type::ActionProfileActionSet(mut set) = bed.set(&[(2, 1, 0)]) else {
            unreachable!("the bed makes sets");
        };
        edit(&mut set);
        bed.entry("balance", 1, Type::ActionProfileActionSet(set))
    };
    let random = with(|set| set.action_selection_mode = 2);
    assert_eq!(bed.insert(random).await, Unimplemented);
    let sized = with(|set| set.size_semantics = 1);
    assert_eq!(bed.insert(sized).await, Unimplemented);
    let first = with(|set| set.group_action = Some(wire::Action::default()));
    assert_eq!(bed.insert(first).await, Unimplemented);
}
