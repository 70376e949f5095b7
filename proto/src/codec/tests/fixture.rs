//! A small pipeline: one table of each shape.

use crate::p4::config::v1 as info;
use crate::p4::config::v1::action_profile::{SelectorSizeSemantics, SumOfMembers};
use crate::p4::config::v1::action_ref::Scope;
use crate::p4::config::v1::match_field::{Match, MatchType};
use crate::p4::v1 as wire;
use crate::p4::v1::field_match::{Exact, FieldMatchType, Lpm, Optional, Range, Ternary};
use crate::p4::v1::table_action::Type;
use crate::schema::Schema;

pub(super) const FDB: u32 = 0x0200_0001;
pub(super) const ROUTES: u32 = 0x0200_0002;
pub(super) const FLOWS: u32 = 0x0200_0003;
pub(super) const PATHS: u32 = 0x0200_0004;
pub(super) const FIXED: u32 = 0x0200_0005;
pub(super) const BARE: u32 = 0x0200_0006;
pub(super) const MEMBERS: u32 = 0x0200_0007;
pub(super) const INDIRECT: u32 = 0x0200_0008;

pub(super) const DROP: u32 = 0x0100_0001;
pub(super) const OUTPUT: u32 = 0x0100_0002;
pub(super) const DEFAULT_ONLY: u32 = 0x0100_0003;
pub(super) const TABLE_ONLY: u32 = 0x0100_0004;

pub(super) const SELECTOR: u32 = 0x1100_0001;
pub(super) const PROFILE: u32 = 0x1100_0002;
/// Without a selector.
pub(super) const PLAIN: u32 = 0x1100_0003;

pub(super) fn schema() -> Schema {
    Schema::new(&p4info()).unwrap()
}

pub(super) fn p4info() -> info::P4Info {
    let output = [("port", 32, "@format(PORT)"), ("label", 20, "")];
    let all = [DROP, OUTPUT, DEFAULT_ONLY, TABLE_ONLY];
    info::P4Info {
        pkg_info: Some(info::PkgInfo {
            name: "fixture".into(),
            version: "1".into(),
            ..info::PkgInfo::default()
        }),
        actions: vec![
            action(DROP, "drop", &[]),
            action(OUTPUT, "output", &output),
            action(DEFAULT_ONLY, "miss", &[]),
            action(TABLE_ONLY, "hit", &[]),
        ],
        action_profiles: vec![
            info::ActionProfile {
                preamble: preamble(SELECTOR, "paths_selector"),
                table_ids: vec![PATHS],
                with_selector: true,
                size: 64,
                max_group_size: 16,
                ..info::ActionProfile::default()
            },
            info::ActionProfile {
                preamble: preamble(PROFILE, "members_selector"),
                table_ids: vec![MEMBERS],
                with_selector: true,
                max_group_size: 2,
                selector_size_semantics: Some(SelectorSizeSemantics::SumOfMembers(SumOfMembers {
                    max_member_weight: 10,
                })),
                ..info::ActionProfile::default()
            },
            info::ActionProfile {
                preamble: preamble(PLAIN, "plain_profile"),
                table_ids: vec![INDIRECT],
                size: 8,
                ..info::ActionProfile::default()
            },
        ],
        tables: vec![
            info::Table {
                direct_resource_ids: vec![0x1300_0001],
                idle_timeout_behavior: info::table::IdleTimeoutBehavior::NotifyControl.into(),
                ..table(
                    FDB,
                    "ingress.fdb",
                    &[("vni", 20, MatchType::Exact), ("mac", 48, MatchType::Exact)],
                    &all,
                )
            },
            info::Table {
                const_default_action_id: DROP,
                ..table(
                    ROUTES,
                    "ingress.routes",
                    &[("vrf", 12, MatchType::Exact), ("dst", 32, MatchType::Lpm)],
                    &all,
                )
            },
            table(
                FLOWS,
                "ingress.flows",
                &[
                    ("in_port", 32, MatchType::Optional),
                    ("eth_type", 16, MatchType::Ternary),
                    ("tcp_dst", 16, MatchType::Range),
                    ("ipv6_dst", 128, MatchType::Lpm),
                ],
                &all,
            ),
            info::Table {
                implementation_id: SELECTOR,
                ..table(
                    PATHS,
                    "ingress.paths",
                    &[("node", 20, MatchType::Exact)],
                    &all,
                )
            },
            info::Table {
                is_const_table: true,
                ..table(
                    FIXED,
                    "ingress.fixed",
                    &[("proto", 8, MatchType::Exact)],
                    &all,
                )
            },
            table(BARE, "ingress.bare", &[], &all),
            info::Table {
                implementation_id: PROFILE,
                ..table(
                    MEMBERS,
                    "ingress.members",
                    &[("node", 20, MatchType::Exact)],
                    &all,
                )
            },
            info::Table {
                implementation_id: PLAIN,
                ..table(
                    INDIRECT,
                    "ingress.indirect",
                    &[("node", 20, MatchType::Exact)],
                    &all,
                )
            },
        ],
        direct_counters: vec![info::DirectCounter {
            preamble: preamble(0x1300_0001, "fdb_counter"),
            direct_table_id: FDB,
            ..info::DirectCounter::default()
        }],
        controller_packet_metadata: vec![
            metadata(
                0x0400_0001,
                "packet_in",
                &[("ingress_port", 32), ("reason", 8)],
            ),
            metadata(0x0400_0002, "packet_out", &[("egress_port", 32)]),
        ],
        ..info::P4Info::default()
    }
}

/// A valid entry of `fdb`.
pub(super) fn fdb_entry() -> wire::TableEntry {
    wire::TableEntry {
        table_id: FDB,
        r#match: vec![exact(1, &[0x17]), exact(2, &[2, 0, 0, 0, 0, 1])],
        action: Some(output(7, 0x123)),
        ..wire::TableEntry::default()
    }
}

/// A valid entry of `routes`.
pub(super) fn route_entry() -> wire::TableEntry {
    wire::TableEntry {
        table_id: ROUTES,
        r#match: vec![exact(1, &[1]), lpm(2, &[10, 0, 0, 0], 8)],
        action: Some(drop_()),
        ..wire::TableEntry::default()
    }
}

/// A valid entry of `flows`.
pub(super) fn flow_entry() -> wire::TableEntry {
    wire::TableEntry {
        table_id: FLOWS,
        priority: 5,
        r#match: vec![
            field(
                1,
                FieldMatchType::Optional(Optional {
                    value: vec![3].into(),
                }),
            ),
            ternary(2, &[8, 0], &[0xff, 0xff]),
            range(3, &[80], &[0x01, 0xbb]),
        ],
        action: Some(drop_()),
        ..wire::TableEntry::default()
    }
}

/// A valid entry of `paths`.
pub(super) fn path_entry(members: Vec<wire::ActionProfileAction>) -> wire::TableEntry {
    wire::TableEntry {
        table_id: PATHS,
        r#match: vec![exact(1, &[16])],
        action: Some(wire::TableAction {
            r#type: Some(Type::ActionProfileActionSet(wire::ActionProfileActionSet {
                action_profile_actions: members,
                ..wire::ActionProfileActionSet::default()
            })),
        }),
        ..wire::TableEntry::default()
    }
}

pub(super) fn member(weight: i32) -> wire::ActionProfileAction {
    wire::ActionProfileAction {
        action: Some(wire::Action {
            action_id: DROP,
            params: Vec::new(),
        }),
        weight,
        watch_kind: None,
    }
}

pub(super) fn exact(id: u32, value: &[u8]) -> wire::FieldMatch {
    field(
        id,
        FieldMatchType::Exact(Exact {
            value: value.to_vec().into(),
        }),
    )
}

pub(super) fn lpm(id: u32, value: &[u8], prefix_len: i32) -> wire::FieldMatch {
    field(
        id,
        FieldMatchType::Lpm(Lpm {
            value: value.to_vec().into(),
            prefix_len,
        }),
    )
}

pub(super) fn ternary(id: u32, value: &[u8], mask: &[u8]) -> wire::FieldMatch {
    let (value, mask) = (value.to_vec().into(), mask.to_vec().into());
    field(id, FieldMatchType::Ternary(Ternary { value, mask }))
}

pub(super) fn range(id: u32, low: &[u8], high: &[u8]) -> wire::FieldMatch {
    let (low, high) = (low.to_vec().into(), high.to_vec().into());
    field(id, FieldMatchType::Range(Range { low, high }))
}

pub(super) fn field(id: u32, kind: FieldMatchType) -> wire::FieldMatch {
    wire::FieldMatch {
        field_id: id,
        field_match_type: Some(kind),
    }
}

pub(super) fn drop_() -> wire::TableAction {
    call(DROP, &[])
}

pub(super) fn output(port: u8, label: u16) -> wire::TableAction {
    call(OUTPUT, &[(1, &[port]), (2, &label.to_be_bytes())])
}

pub(super) fn call(action_id: u32, params: &[(u32, &[u8])]) -> wire::TableAction {
    let params = params
        .iter()
        .map(|&(param_id, value)| wire::action::Param {
            param_id,
            value: value.to_vec().into(),
        })
        .collect();
    wire::TableAction {
        r#type: Some(Type::Action(wire::Action { action_id, params })),
    }
}

fn table(id: u32, name: &str, fields: &[(&str, i32, MatchType)], actions: &[u32]) -> info::Table {
    info::Table {
        preamble: preamble(id, name),
        match_fields: (1..)
            .zip(fields)
            .map(|(id, &(name, bitwidth, kind))| info::MatchField {
                id,
                name: name.into(),
                bitwidth,
                r#match: Some(Match::MatchType(kind.into())),
                ..info::MatchField::default()
            })
            .collect(),
        action_refs: actions
            .iter()
            .map(|&id| {
                let scope = match id {
                    DEFAULT_ONLY => Scope::DefaultOnly,
                    TABLE_ONLY => Scope::TableOnly,
                    _ => Scope::TableAndDefault,
                };
                info::ActionRef {
                    id,
                    scope: scope.into(),
                    ..info::ActionRef::default()
                }
            })
            .collect(),
        size: 1024,
        ..info::Table::default()
    }
}

fn action(id: u32, name: &str, params: &[(&str, i32, &str)]) -> info::Action {
    info::Action {
        preamble: preamble(id, name),
        params: (1..)
            .zip(params)
            .map(|(id, &(name, bitwidth, annotation))| info::action::Param {
                id,
                name: name.into(),
                bitwidth,
                annotations: vec![annotation.into()],
                ..info::action::Param::default()
            })
            .collect(),
    }
}

fn metadata(id: u32, name: &str, fields: &[(&str, i32)]) -> info::ControllerPacketMetadata {
    info::ControllerPacketMetadata {
        preamble: preamble(id, name),
        metadata: (1..)
            .zip(fields)
            .map(
                |(id, &(name, bitwidth))| info::controller_packet_metadata::Metadata {
                    id,
                    name: name.into(),
                    bitwidth,
                    ..Default::default()
                },
            )
            .collect(),
    }
}

fn preamble(id: u32, name: &str) -> Option<info::Preamble> {
    let alias = name.rsplit('.').next().unwrap_or(name);
    Some(info::Preamble {
        id,
        name: name.into(),
        alias: alias.into(),
        ..Default::default()
    })
}
