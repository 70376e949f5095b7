//! What the specification refuses, with the code that it asks for.

use tonic::Code::{self, InvalidArgument, OutOfRange, PermissionDenied, Unimplemented};

use super::fixture::*;
use crate::codec::{
    decode_filter, decode_group, decode_packet_metadata, decode_query, decode_update,
};
use crate::p4::v1 as wire;
use crate::p4::v1::action_profile_action::WatchKind;
use crate::p4::v1::replica::PortKind;
use crate::p4::v1::update::Type::{Delete, Insert, Modify, Unspecified};
use crate::p4::v1::{entity::Entity, table_action};

type Edit = fn(&mut wire::TableEntry);

fn code(kind: wire::update::Type, entry: wire::TableEntry) -> Option<Code> {
    let update = wire::Update {
        r#type: kind.into(),
        entity: Some(wire::Entity {
            entity: Some(Entity::TableEntry(entry)),
        }),
    };
    decode_update(&schema(), &update)
        .err()
        .map(|error| error.code)
}

#[track_caller]
fn check(kind: wire::update::Type, mut entry: wire::TableEntry, edit: Edit, want: Option<Code>) {
    assert_eq!(code(kind, entry.clone()), None, "valid before the edit");
    edit(&mut entry);
    assert_eq!(code(kind, entry), want);
}

#[track_caller]
fn refused(entry: wire::TableEntry, edit: Edit, want: Code) {
    check(Insert, entry, edit, Some(want));
}

#[test]
fn ids_that_do_not_exist_are_invalid() {
    refused(fdb_entry(), |e| e.table_id = 0, InvalidArgument);
    refused(fdb_entry(), |e| e.table_id = 0x0200_00ff, InvalidArgument);
    refused(
        fdb_entry(),
        |e| e.r#match.push(exact(3, &[1])),
        InvalidArgument,
    );
    refused(
        fdb_entry(),
        |e| e.action = Some(call(0x0100_00ff, &[])),
        InvalidArgument,
    );
    refused(
        fdb_entry(),
        |e| e.action = Some(call(DROP, &[(1, &[1])])),
        InvalidArgument,
    );
}

#[test]
fn values_that_do_not_fit_are_out_of_range() {
    refused(
        fdb_entry(),
        |e| e.r#match[0] = exact(1, &[0x10, 0, 0]),
        OutOfRange,
    );
    refused(fdb_entry(), |e| e.r#match[0] = exact(1, &[]), OutOfRange);
    refused(
        fdb_entry(),
        |e| e.r#match[1] = exact(2, &[1; 7]),
        OutOfRange,
    );
    let wide: Edit = |e| e.action = Some(call(OUTPUT, &[(1, &[1]), (2, &[0x10, 0, 0])]));
    refused(fdb_entry(), wide, OutOfRange);
    let empty: Edit = |e| e.action = Some(call(OUTPUT, &[(1, &[]), (2, &[1])]));
    refused(fdb_entry(), empty, OutOfRange);
}

#[test]
fn a_match_is_canonical() {
    let missing: Edit = |e| e.r#match.truncate(1);
    refused(fdb_entry(), missing, InvalidArgument);
    let twice: Edit = |e| e.r#match[1] = exact(1, &[1]);
    refused(fdb_entry(), twice, InvalidArgument);
    let no_kind: Edit = |e| e.r#match[0].field_match_type = None;
    refused(fdb_entry(), no_kind, InvalidArgument);
    let other_kind: Edit = |e| e.r#match[0] = lpm(1, &[1], 20);
    refused(fdb_entry(), other_kind, InvalidArgument);

    refused(
        route_entry(),
        |e| e.r#match[1] = lpm(2, &[0], 0),
        InvalidArgument,
    );
    refused(
        route_entry(),
        |e| e.r#match[1] = lpm(2, &[10, 0, 0, 0], 33),
        InvalidArgument,
    );
    refused(
        route_entry(),
        |e| e.r#match[1] = lpm(2, &[10, 0, 0, 0], -1),
        InvalidArgument,
    );
    refused(
        route_entry(),
        |e| e.r#match[1] = lpm(2, &[10, 0, 0, 0], 6),
        InvalidArgument,
    );
    refused(
        flow_entry(),
        |e| e.r#match[1] = ternary(2, &[0], &[0]),
        InvalidArgument,
    );
    refused(
        flow_entry(),
        |e| e.r#match[1] = ternary(2, &[3], &[1]),
        InvalidArgument,
    );
    refused(
        flow_entry(),
        |e| e.r#match[2] = range(3, &[2], &[1]),
        InvalidArgument,
    );
    refused(
        flow_entry(),
        |e| e.r#match[2] = range(3, &[0], &[255, 255]),
        InvalidArgument,
    );
}

#[test]
fn padded_values_and_whole_prefixes_are_accepted() {
    check(
        Insert,
        fdb_entry(),
        |e| e.r#match[0] = exact(1, &[0; 40]),
        None,
    );
    check(
        Insert,
        route_entry(),
        |e| e.r#match[1] = lpm(2, &[0, 10, 0, 0, 1], 32),
        None,
    );
    check(Insert, route_entry(), |e| e.r#match.truncate(1), None);
    check(Insert, flow_entry(), |e| e.r#match.clear(), None);
    check(
        Insert,
        flow_entry(),
        |e| e.r#match[2] = range(3, &[0], &[0]),
        None,
    );
}

#[test]
fn priority_goes_with_the_key() {
    refused(flow_entry(), |e| e.priority = 0, InvalidArgument);
    refused(flow_entry(), |e| e.priority = -1, InvalidArgument);
    refused(fdb_entry(), |e| e.priority = 1, InvalidArgument);
    refused(route_entry(), |e| e.priority = 1, InvalidArgument);
    check(Insert, flow_entry(), |e| e.priority = i32::MAX, None);
}

#[test]
fn arguments_are_complete() {
    let missing: Edit = |e| e.action = Some(call(OUTPUT, &[(1, &[1])]));
    refused(fdb_entry(), missing, InvalidArgument);
    let twice: Edit = |e| e.action = Some(call(OUTPUT, &[(1, &[1]), (2, &[1]), (2, &[1])]));
    refused(fdb_entry(), twice, InvalidArgument);
    let empty: Edit = |e| e.action = Some(wire::TableAction { r#type: None });
    refused(fdb_entry(), empty, InvalidArgument);
    refused(fdb_entry(), |e| e.action = None, InvalidArgument);
}

#[test]
fn a_modification_may_keep_the_action_and_a_deletion_has_none() {
    check(Modify, fdb_entry(), |e| e.action = None, None);
    check(
        Delete,
        fdb_entry(),
        |e| e.action = Some(call(0xff, &[])),
        None,
    );
    check(Delete, fdb_entry(), |e| e.idle_timeout_ns = -1, None);
    check(
        Delete,
        fdb_entry(),
        |e| e.priority = 1,
        Some(InvalidArgument),
    );
    assert_eq!(code(Unspecified, fdb_entry()), Some(InvalidArgument));
}

#[test]
fn an_action_is_used_in_its_scope() {
    refused(
        fdb_entry(),
        |e| e.action = Some(call(DEFAULT_ONLY, &[])),
        PermissionDenied,
    );
    check(
        Insert,
        fdb_entry(),
        |e| e.action = Some(call(TABLE_ONLY, &[])),
        None,
    );
    let default = wire::TableEntry {
        table_id: FDB,
        is_default_action: true,
        action: Some(call(DEFAULT_ONLY, &[])),
        ..wire::TableEntry::default()
    };
    check(
        Modify,
        default,
        |e| e.action = Some(call(TABLE_ONLY, &[])),
        Some(PermissionDenied),
    );
}

#[test]
fn a_default_entry_is_only_modified_and_has_no_key() {
    let default = wire::TableEntry {
        table_id: FDB,
        is_default_action: true,
        action: Some(drop_()),
        ..wire::TableEntry::default()
    };
    assert_eq!(code(Insert, default.clone()), Some(InvalidArgument));
    assert_eq!(code(Delete, default.clone()), Some(InvalidArgument));
    check(Modify, default.clone(), |e| e.action = None, None);
    check(
        Modify,
        default.clone(),
        |e| e.priority = 1,
        Some(InvalidArgument),
    );
    check(
        Modify,
        default.clone(),
        |e| e.r#match.push(exact(1, &[1])),
        Some(InvalidArgument),
    );
    check(
        Modify,
        default.clone(),
        |e| e.idle_timeout_ns = 1,
        Some(InvalidArgument),
    );
    check(
        Modify,
        default,
        |e| e.table_id = ROUTES,
        Some(PermissionDenied),
    );
}

#[test]
fn constant_tables_and_tables_without_key_take_no_entries() {
    let fixed = wire::TableEntry {
        table_id: FIXED,
        r#match: vec![exact(1, &[6])],
        ..wire::TableEntry::default()
    };
    assert_eq!(code(Insert, fixed.clone()), Some(PermissionDenied));
    assert_eq!(code(Delete, fixed.clone()), Some(PermissionDenied));
    check(
        Modify,
        fixed,
        |e| e.action = Some(drop_()),
        Some(PermissionDenied),
    );
    let bare = wire::TableEntry {
        table_id: BARE,
        action: Some(drop_()),
        ..wire::TableEntry::default()
    };
    assert_eq!(code(Insert, bare.clone()), Some(InvalidArgument));
    assert_eq!(
        code(
            Modify,
            wire::TableEntry {
                is_default_action: true,
                ..bare
            }
        ),
        None
    );
}

#[test]
fn fields_of_answers_and_of_absent_features_are_refused() {
    refused(fdb_entry(), |e| e.is_const = true, InvalidArgument);
    refused(
        fdb_entry(),
        |e| e.time_since_last_hit = Some(Default::default()),
        InvalidArgument,
    );
    refused(
        fdb_entry(),
        |e| e.meter_config = Some(Default::default()),
        InvalidArgument,
    );
    refused(
        route_entry(),
        |e| e.counter_data = Some(Default::default()),
        InvalidArgument,
    );
    refused(route_entry(), |e| e.idle_timeout_ns = 1, InvalidArgument);
    refused(fdb_entry(), |e| e.idle_timeout_ns = -1, InvalidArgument);
    let negative: Edit = |e| {
        e.counter_data = Some(wire::CounterData {
            byte_count: -1,
            packet_count: 0,
        });
    };
    refused(fdb_entry(), negative, InvalidArgument);
    #[expect(deprecated, reason = "the field that is refused")]
    let cookie: Edit = |e| e.controller_metadata = 1;
    refused(fdb_entry(), cookie, Unimplemented);
    check(Insert, fdb_entry(), |e| e.idle_timeout_ns = 1, None);
    check(
        Insert,
        fdb_entry(),
        |e| e.counter_data = Some(Default::default()),
        None,
    );
}

#[test]
fn one_shot_sets_have_weights_and_sizes() {
    let with = |members| code(Insert, path_entry(members));
    assert_eq!(with(vec![]), None);
    assert_eq!(with(vec![member(16)]), None);
    assert_eq!(with(vec![member(8), member(8)]), None);
    assert_eq!(with(vec![member(8), member(9)]), Some(InvalidArgument));
    assert_eq!(with(vec![member(0)]), Some(InvalidArgument));
    assert_eq!(with(vec![member(-1)]), Some(InvalidArgument));

    let by_members = |members| {
        let entry = wire::TableEntry {
            table_id: MEMBERS,
            ..path_entry(members)
        };
        code(Insert, entry)
    };
    assert_eq!(by_members(vec![member(10), member(10)]), None);
    assert_eq!(by_members(vec![member(11)]), Some(InvalidArgument));
    assert_eq!(by_members(vec![member(1); 3]), Some(InvalidArgument));
}

#[test]
#[expect(deprecated, reason = "both encodings of a watched port")]
fn a_watched_port_has_two_encodings() {
    let with = |kind| {
        let member = wire::ActionProfileAction {
            watch_kind: Some(kind),
            ..member(1)
        };
        code(Insert, path_entry(vec![member]))
    };
    assert_eq!(with(WatchKind::Watch(3)), None);
    assert_eq!(with(WatchKind::Watch(-3)), None);
    assert_eq!(with(WatchKind::WatchPort(vec![0, 0, 0, 0, 3].into())), None);
    assert_eq!(with(WatchKind::WatchPort(vec![].into())), None);
    assert_eq!(
        with(WatchKind::WatchPort(vec![0].into())),
        Some(InvalidArgument)
    );
    assert_eq!(
        with(WatchKind::WatchPort(vec![1; 5].into())),
        Some(InvalidArgument)
    );
}

#[test]
fn an_action_has_the_shape_that_its_table_wants() {
    let one_shot: Edit = |e| e.action = path_entry(vec![member(1)]).action;
    refused(fdb_entry(), one_shot, InvalidArgument);
    let direct: Edit = |e| e.action = Some(drop_());
    refused(path_entry(vec![]), direct, InvalidArgument);
    let by_member: Edit = |e| {
        let kind = table_action::Type::ActionProfileMemberId(1);
        e.action = Some(wire::TableAction { r#type: Some(kind) });
    };
    refused(fdb_entry(), by_member, InvalidArgument);
    let by_group: Edit = |e| {
        let kind = table_action::Type::ActionProfileGroupId(1);
        e.action = Some(wire::TableAction { r#type: Some(kind) });
    };
    refused(fdb_entry(), by_group, InvalidArgument);
    let by_nothing: Edit = |e| {
        let kind = table_action::Type::ActionProfileGroupId(0);
        e.action = Some(wire::TableAction { r#type: Some(kind) });
    };
    refused(path_entry(vec![]), by_nothing, InvalidArgument);
}

#[test]
fn entities_that_are_not_built_are_unimplemented() {
    let schema = schema();
    let entities = [
        Entity::ExternEntry(Default::default()),
        Entity::ValueSetEntry(Default::default()),
        Entity::RegisterEntry(Default::default()),
        Entity::DigestEntry(Default::default()),
    ];
    for entity in entities {
        let entity = wire::Entity {
            entity: Some(entity),
        };
        let query = decode_query(&schema, &entity).unwrap_err();
        assert_eq!(query.code(), Unimplemented, "{query}");
        let update = wire::Update {
            r#type: Insert.into(),
            entity: Some(entity),
        };
        assert_eq!(
            decode_update(&schema, &update).unwrap_err().code,
            Unimplemented
        );
    }
    let nothing = wire::Entity { entity: None };
    assert_eq!(
        decode_query(&schema, &nothing).unwrap_err().code(),
        InvalidArgument
    );
}

#[test]
fn filters_without_a_table_filter_nothing() {
    let schema = schema();
    let code = |entry: wire::TableEntry| decode_filter(&schema, &entry).err().map(|e| e.code());
    let all = wire::TableEntry {
        counter_data: Some(Default::default()),
        ..Default::default()
    };
    assert_eq!(code(all), None);
    assert_eq!(
        code(wire::TableEntry {
            priority: 1,
            ..Default::default()
        }),
        Some(InvalidArgument)
    );
    let partial = wire::TableEntry {
        r#match: vec![exact(1, &[1])],
        ..fdb_entry()
    };
    assert_eq!(code(partial), Some(InvalidArgument));
    let by_argument = wire::TableEntry {
        r#match: vec![],
        ..fdb_entry()
    };
    assert_eq!(code(by_argument), Some(Unimplemented));
    let by_members = wire::TableEntry {
        r#match: vec![],
        ..path_entry(vec![])
    };
    assert_eq!(code(by_members), Some(Unimplemented));
}

#[test]
#[expect(deprecated, reason = "both encodings of a port")]
fn groups_have_an_id_and_distinct_replicas() {
    let replica = |port: u8, instance| wire::Replica {
        instance,
        port_kind: Some(PortKind::Port(vec![port].into())),
        ..wire::Replica::default()
    };
    let code = |id, replicas: Vec<_>| {
        let group = wire::MulticastGroupEntry {
            multicast_group_id: id,
            replicas,
            ..wire::MulticastGroupEntry::default()
        };
        decode_group(&group).err().map(|error| error.code())
    };
    assert_eq!(code(1, vec![]), None);
    assert_eq!(
        code(1, vec![replica(1, 0), replica(1, 1), replica(2, 0)]),
        None
    );
    assert_eq!(code(0, vec![]), Some(InvalidArgument));
    assert_eq!(code(1, vec![replica(0, 0)]), Some(InvalidArgument));
    assert_eq!(code(1, vec![replica(1, 65_536)]), Some(InvalidArgument));
    let old = wire::Replica {
        port_kind: Some(PortKind::EgressPort(1)),
        ..replica(1, 0)
    };
    assert_eq!(code(1, vec![old.clone()]), None);
    assert_eq!(code(1, vec![replica(1, 0), old]), Some(InvalidArgument));
    let backed = wire::Replica {
        backup_replicas: vec![Default::default()],
        ..replica(1, 0)
    };
    assert_eq!(code(1, vec![backed]), Some(InvalidArgument));
    let portless = wire::Replica {
        port_kind: None,
        ..replica(1, 0)
    };
    assert_eq!(code(1, vec![portless]), Some(InvalidArgument));
}

#[test]
fn packet_metadata_has_each_field_once() {
    let schema = schema();
    let code = |given: &[(u32, &[u8])]| {
        let given: Vec<_> = given
            .iter()
            .map(|&(metadata_id, value)| wire::PacketMetadata {
                metadata_id,
                value: value.to_vec().into(),
            })
            .collect();
        decode_packet_metadata(schema.packet_in(), &given).map_err(|error| error.code())
    };
    assert_eq!(code(&[(2, &[9]), (1, &[0, 4])]), Ok(vec![4, 9]));
    assert_eq!(code(&[(1, &[4])]), Err(InvalidArgument));
    assert_eq!(
        code(&[(1, &[4]), (1, &[4]), (2, &[0])]),
        Err(InvalidArgument)
    );
    assert_eq!(
        code(&[(1, &[4]), (2, &[0]), (3, &[0])]),
        Err(InvalidArgument)
    );
    assert_eq!(code(&[(1, &[4]), (2, &[1, 0])]), Err(OutOfRange));
}
