//! Members and groups of action profiles (P4Runtime §9.2).

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use tonic::Code::{self, InvalidArgument, OutOfRange, Unimplemented};

use super::fixture::{self, *};
use crate::codec::*;
use crate::p4::v1 as wire;
use crate::p4::v1::action_profile_group::member::WatchKind;
use crate::p4::v1::entity::Entity as Wire;
use crate::p4::v1::table_action::Type;
use crate::p4::v1::update::Type::{Delete, Insert, Modify};
use crate::vocab::*;

fn code(kind: wire::update::Type, entity: Wire) -> Option<Code> {
    let update = wire::Update {
        r#type: kind.into(),
        entity: Some(wire::Entity {
            entity: Some(entity),
        }),
    };
    let decoded = decode_update(&schema(), &update);
    decoded.err().map(|error| error.code)
}

fn read(entity: Wire) -> Result<Query, Code> {
    let entity = wire::Entity {
        entity: Some(entity),
    };
    decode_query(&schema(), &entity).map_err(|error| error.code())
}

fn member(
    profile: u32,
    id: u32,
    action: u32,
    params: &[(u32, &[u8])],
) -> wire::ActionProfileMember {
    let Some(Type::Action(action)) = call(action, params).r#type else {
        unreachable!("the fixture makes calls");
    };
    wire::ActionProfileMember {
        action_profile_id: profile,
        member_id: id,
        action: Some(action),
    }
}

fn group(profile: u32, id: u32, members: &[(u32, i32)], max_size: i32) -> wire::ActionProfileGroup {
    let member = |&(member_id, weight): &(u32, i32)| wire::action_profile_group::Member {
        member_id,
        weight,
        watch_kind: None,
    };
    wire::ActionProfileGroup {
        action_profile_id: profile,
        group_id: id,
        members: members.iter().map(member).collect(),
        max_size,
    }
}

#[test]
fn a_member_has_an_id_and_an_action_of_the_tables_that_use_it() {
    let code = |member| code(Insert, Wire::ActionProfileMember(member));
    let args: [(u32, &[u8]); 2] = [(1, &[7]), (2, &[1])];
    for profile in [SELECTOR, PLAIN] {
        assert_eq!(code(member(profile, 5, OUTPUT, &args)), None);
    }
    assert_eq!(code(member(PLAIN, 5, TABLE_ONLY, &[])), None);
    assert_eq!(
        code(member(PLAIN, 5, DEFAULT_ONLY, &[])),
        Some(InvalidArgument)
    );
    assert_eq!(code(member(PLAIN, 0, DROP, &[])), Some(InvalidArgument));
    assert_eq!(code(member(0, 5, DROP, &[])), Some(InvalidArgument));
    assert_eq!(
        code(member(PLAIN, 5, 0x0100_00ff, &[])),
        Some(InvalidArgument)
    );
    assert_eq!(code(member(PLAIN, 5, OUTPUT, &[])), Some(InvalidArgument));
    let wide: [(u32, &[u8]); 2] = [(1, &[7]), (2, &[255, 255, 255])];
    assert_eq!(code(member(PLAIN, 5, OUTPUT, &wide)), Some(OutOfRange));
    let actionless = wire::ActionProfileMember {
        action: None,
        ..member(PLAIN, 5, DROP, &[])
    };
    assert_eq!(code(actionless), Some(InvalidArgument));
}

#[test]
fn a_deletion_looks_at_the_ids_only() {
    let nonsense = member(PLAIN, 5, 0x0100_00ff, &[(9, &[])]);
    assert_eq!(code(Delete, Wire::ActionProfileMember(nonsense)), None);
    let nameless = member(PLAIN, 0, DROP, &[]);
    assert_eq!(
        code(Delete, Wire::ActionProfileMember(nameless)),
        Some(InvalidArgument)
    );
    let nonsense = group(SELECTOR, 5, &[(1, 0), (1, -4)], -1);
    assert_eq!(code(Delete, Wire::ActionProfileGroup(nonsense)), None);
}

#[test]
fn a_group_has_distinct_members_weights_and_a_size_that_its_selector_allows() {
    for kind in [Insert, Modify] {
        let code = |group| code(kind, Wire::ActionProfileGroup(group));
        assert_eq!(code(group(SELECTOR, 1, &[(1, 1), (2, 3)], 16)), None);
        assert_eq!(code(group(SELECTOR, 1, &[], 1)), None);
        for bad in [
            group(SELECTOR, 0, &[], 1),
            group(SELECTOR, 1, &[(0, 1)], 1),
            group(SELECTOR, 1, &[(1, 0)], 1),
            group(SELECTOR, 1, &[(1, -1)], 1),
            group(SELECTOR, 1, &[(1, 1), (1, 1)], 4),
            group(SELECTOR, 1, &[], 0),
            group(SELECTOR, 1, &[], 17),
            group(SELECTOR, 1, &[], -1),
            // The largest weight is declared for this one.
            group(PROFILE, 1, &[(1, 11)], 2),
            group(PLAIN, 1, &[], 1),
            group(0, 1, &[], 1),
        ] {
            assert_eq!(code(bad.clone()), Some(InvalidArgument), "{bad:?}");
        }
        assert_eq!(code(group(PROFILE, 1, &[(1, 10)], 2)), None);
    }
}

#[test]
#[expect(deprecated, reason = "both encodings of a port")]
fn a_watched_port_is_empty_or_a_number_in_either_encoding() {
    let watching = |watch| {
        let mut group = group(SELECTOR, 1, &[(1, 1)], 1);
        group.members[0].watch_kind = Some(watch);
        decode_profile_group(&schema(), &group).map(|group| group.members[0].watch_port)
    };
    let bytes = |port: &[u8]| WatchKind::WatchPort(port.to_vec().into());
    assert_eq!(watching(bytes(&[])), Ok(None));
    assert_eq!(watching(bytes(&[0, 7])), Ok(Some(PortNo(7))));
    assert_eq!(watching(WatchKind::Watch(7)), Ok(Some(PortNo(7))));
    assert_eq!(watching(WatchKind::Watch(0)), Ok(None));
    for wrong in [&[0][..], &[1, 0, 0, 0, 0]] {
        let error = watching(bytes(wrong)).unwrap_err();
        assert_eq!(error.code(), InvalidArgument);
    }
}

#[test]
fn entries_refer_to_members_and_groups_by_their_table_s_profile() {
    let entry = |table_id, kind| wire::TableEntry {
        table_id,
        action: Some(wire::TableAction { r#type: Some(kind) }),
        ..path_entry(vec![])
    };
    let action = |table, kind| {
        let decoded = decode_entry(&schema(), &entry(table, kind));
        decoded
            .map(|entry| entry.action)
            .map_err(|error| error.code())
    };
    let by_member = Type::ActionProfileMemberId(3);
    let by_group = Type::ActionProfileGroupId(4);
    let member = Ok(Some(TableAction::Member(MemberId(3))));
    assert_eq!(action(PATHS, by_member.clone()), member);
    assert_eq!(action(INDIRECT, by_member), member);
    assert_eq!(
        action(PATHS, by_group.clone()),
        Ok(Some(TableAction::Group(ProfileGroupId(4))))
    );
    assert_eq!(action(INDIRECT, by_group), Err(InvalidArgument));
    let set = path_entry(vec![fixture::member(1)]).action.unwrap();
    assert_eq!(action(INDIRECT, set.r#type.unwrap()), Err(InvalidArgument));
}

#[test]
fn what_a_set_says_beyond_its_selector_is_not_supported() {
    let code = |edit: fn(&mut wire::ActionProfileActionSet)| {
        let mut entry = path_entry(vec![fixture::member(1)]);
        let Some(Type::ActionProfileActionSet(set)) =
            entry.action.as_mut().unwrap().r#type.as_mut()
        else {
            unreachable!("the fixture's entry has a set");
        };
        edit(set);
        decode_entry(&schema(), &entry)
            .err()
            .map(|error| error.code())
    };
    assert_eq!(code(|_| {}), None);
    assert_eq!(
        code(|set| set.action_selection_mode = 2),
        Some(Unimplemented)
    );
    assert_eq!(code(|set| set.size_semantics = 1), Some(Unimplemented));
    assert_eq!(
        code(|set| set.group_action = Some(wire::Action::default())),
        Some(Unimplemented)
    );
}

#[test]
fn a_read_of_id_0_wants_all() {
    let by_member = |profile, id| {
        read(Wire::ActionProfileMember(wire::ActionProfileMember {
            action_profile_id: profile,
            member_id: id,
            action: None,
        }))
    };
    let members = |profile, id| Ok(Query::Members { profile, id });
    let plain = Some(ProfileId(PLAIN));
    assert_eq!(by_member(0, 0), members(None, None));
    assert_eq!(by_member(PLAIN, 0), members(plain, None));
    assert_eq!(by_member(PLAIN, 3), members(plain, Some(MemberId(3))));
    assert_eq!(by_member(0, 3), Err(InvalidArgument));
    assert_eq!(by_member(0x1100_00ff, 0), Err(InvalidArgument));
    let by_group = |profile, id| read(Wire::ActionProfileGroup(group(profile, id, &[], 0)));
    let groups = |profile, id| Ok(Query::ProfileGroups { profile, id });
    let selector = Some(ProfileId(SELECTOR));
    assert_eq!(by_group(0, 0), groups(None, None));
    assert_eq!(by_group(SELECTOR, 0), groups(selector, None));
    assert_eq!(
        by_group(SELECTOR, 3),
        groups(selector, Some(ProfileGroupId(3)))
    );
    assert_eq!(by_group(PLAIN, 0), Err(InvalidArgument));
}

proptest! {
    #[test]
    fn what_was_encoded_decodes_to_the_same(
        id in 1..=u32::MAX,
        (port, label) in (any::<u32>(), 0..1_u128 << 20),
        members in vec((1..=i32::MAX.cast_unsigned(), option::of(1..=u32::MAX)), 0..8),
        ids in btree_set(1..=u32::MAX, 8),
        max_size in 1..=16_u32,
    ) {
        let schema = schema();
        let call = ActionCall {
            action: ActionId(OUTPUT),
            params: vec![(ParamId(1), port.into()), (ParamId(2), label)],
        };
        let member = ProfileMember { profile: ProfileId(SELECTOR), id: MemberId(id), call };
        prop_assert_eq!(decode_member(&schema, &encode_member(&member)), Ok(member.clone()));
        let members = members.into_iter().zip(&ids);
        let group = ProfileGroup {
            profile: ProfileId(SELECTOR),
            id: ProfileGroupId(id),
            members: members
                .map(|((weight, port), id)| GroupMember {
                    member: MemberId(*id),
                    weight,
                    watch_port: port.map(PortNo),
                })
                .collect(),
            max_size,
        };
        let encoded = encode_profile_group(&group);
        prop_assert_eq!(decode_profile_group(&schema, &encoded), Ok(group.clone()));
        for entity in [Entity::Member(member), Entity::ProfileGroup(group)] {
            let update = Update { kind: UpdateKind::Insert, entity };
            let encoded = encode_update(&schema, &update);
            prop_assert_eq!(decode_update(&schema, &encoded), Ok(update));
        }
        let profile = Some(ProfileId(SELECTOR));
        for query in [
            Query::Members { profile, id: Some(MemberId(id)) },
            Query::Members { profile: None, id: None },
            Query::ProfileGroups { profile, id: Some(ProfileGroupId(id)) },
            Query::ProfileGroups { profile, id: None },
        ] {
            prop_assert_eq!(decode_query(&schema, &encode_query(&query)), Ok(query));
        }
        for action in [TableAction::Member(MemberId(id)), TableAction::Group(ProfileGroupId(id))] {
            let key = decode_entry(&schema, &path_entry(vec![])).unwrap();
            let entry = TableEntry { action: Some(action), ..key };
            prop_assert_eq!(decode_entry(&schema, &encode_entry(&schema, &entry)), Ok(entry));
        }
    }
}
