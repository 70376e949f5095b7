//! P4Info of a pipeline: ids by position, so that one pipeline always gets the same.

mod array;

use std::collections::BTreeMap;

use weft_proto::p4::config::v1 as p4;

use crate::bits::Slot;
use crate::ir;
use crate::program::TableDef;

/// Prefix of action ids (P4Runtime §6.3).
pub(crate) const ACTION: u32 = 0x0100_0000;
/// Prefix of table ids.
pub(crate) const TABLE: u32 = 0x0200_0000;
/// Prefix of controller packet metadata ids.
const CONTROLLER_HEADER: u32 = 0x0400_0000;
/// Prefix of action profile ids.
pub(crate) const PROFILE: u32 = 0x1100_0000;
/// Prefix of counter ids.
pub(crate) const COUNTER: u32 = 0x1200_0000;
/// Prefix of direct counter ids.
const DIRECT_COUNTER: u32 = 0x1300_0000;

/// Prefix of direct meter ids.
const DIRECT_METER: u32 = 0x1500_0000;
/// Prefix of meter ids.
pub(crate) const METER: u32 = 0x1400_0000;

/// The id of the action at an index.
pub(crate) fn action_id(index: usize) -> u32 {
    ACTION + number(index) + 1
}

/// P4Info of a pipeline that has been checked; `tables` and the fields of the two controller headers are its lowered
/// form.
pub(crate) fn generate(
    pipeline: &ir::Pipeline,
    tables: &[TableDef],
    packet_in: &[Slot],
    packet_out: &[Slot],
) -> p4::P4Info {
    let actions: BTreeMap<_, _> = pipeline
        .actions
        .iter()
        .enumerate()
        .map(|(index, action)| (action.name.as_str(), action_id(index)))
        .collect();
    let profiles: BTreeMap<_, _> = (PROFILE + 1..)
        .zip(&pipeline.selectors)
        .map(|(id, selector)| (selector.name.as_str(), id))
        .collect();
    let mut info = p4::P4Info {
        pkg_info: Some(p4::PkgInfo {
            name: pipeline.name.clone(),
            version: pipeline.version.clone(),
            arch: "weft".into(),
            ..p4::PkgInfo::default()
        }),
        ..p4::P4Info::default()
    };
    for (index, (table, lowered)) in pipeline.tables.iter().zip(tables).enumerate() {
        let id = TABLE + number(index) + 1;
        let counter = DIRECT_COUNTER + number(index) + 1;
        if table.counters {
            info.direct_counters.push(p4::DirectCounter {
                preamble: Some(preamble(
                    counter,
                    &format!("{}_counter", table.name),
                    "",
                    &[],
                )),
                spec: Some(p4::CounterSpec {
                    unit: p4::counter_spec::Unit::Both.into(),
                }),
                direct_table_id: id,
            });
        }
        let mut resources = Vec::new();
        if table.counters {
            resources.push(counter);
        }
        if let Some(meter) = &table.meter {
            let resource = array::direct_meter(index, &table.name, id, meter);
            resources.extend(resource.preamble.as_ref().map(|preamble| preamble.id));
            info.direct_meters.push(resource);
        }
        info.tables.push(p4::Table {
            preamble: Some(preamble(id, &table.name, &table.doc, &table.annotations)),
            match_fields: match_fields(table, lowered),
            action_refs: action_refs(table, &actions),
            const_default_action_id: match &table.default_action {
                Some(call) if table.const_default => actions[call.action.as_str()],
                _ => 0,
            },
            initial_default_action: table
                .default_action
                .as_ref()
                .map(|call| initial_default(call, pipeline, &actions)),
            implementation_id: table
                .selector
                .as_ref()
                .map_or(0, |name| profiles[name.as_str()]),
            direct_resource_ids: resources,
            size: table.size.into(),
            idle_timeout_behavior: if table.idle_timeout {
                p4::table::IdleTimeoutBehavior::NotifyControl.into()
            } else {
                p4::table::IdleTimeoutBehavior::NoTimeout.into()
            },
            has_initial_entries: !table.const_entries.is_empty(),
            ..p4::Table::default()
        });
    }
    for action in &pipeline.actions {
        info.actions.push(p4::Action {
            preamble: Some(preamble(
                actions[action.name.as_str()],
                &action.name,
                &action.doc,
                &action.annotations,
            )),
            params: (1..)
                .zip(&action.params)
                .map(|(id, p)| param(id, p))
                .collect(),
        });
    }
    for selector in &pipeline.selectors {
        let id = profiles[selector.name.as_str()];
        info.action_profiles
            .push(selector_info(id, selector, pipeline));
    }
    info.counters = array::counters(pipeline);
    info.meters = array::meters(pipeline);
    let controller = [
        ("packet_in", &pipeline.packet_in, packet_in),
        ("packet_out", &pipeline.packet_out, packet_out),
    ];
    for (id, (name, fields, slots)) in (CONTROLLER_HEADER + 1..).zip(controller) {
        if !fields.is_empty() {
            info.controller_packet_metadata
                .push(p4::ControllerPacketMetadata {
                    preamble: Some(preamble(id, name, "", &[])),
                    metadata: (1..)
                        .zip(fields.iter().zip(slots))
                        .map(|(id, (field, slot))| metadata(id, field, slot.bits()))
                        .collect(),
                });
        }
    }
    info
}

fn preamble(id: u32, name: &str, doc: &str, annotations: &[String]) -> p4::Preamble {
    p4::Preamble {
        id,
        name: name.to_owned(),
        alias: name.rsplit('.').next().unwrap_or(name).to_owned(),
        annotations: annotations.to_vec(),
        doc: (!doc.is_empty()).then(|| p4::Documentation {
            brief: doc.to_owned(),
            ..p4::Documentation::default()
        }),
        ..p4::Preamble::default()
    }
}

fn match_fields(table: &ir::Table, lowered: &TableDef) -> Vec<p4::MatchField> {
    use p4::match_field::{Match, MatchType};

    let bits = lowered.key.widths();
    (1..)
        .zip(table.keys.iter().zip(bits))
        .map(|(id, (key, bits))| {
            let kind = match key.kind {
                ir::KeyKind::Exact => MatchType::Exact,
                ir::KeyKind::Lpm => MatchType::Lpm,
                ir::KeyKind::Ternary => MatchType::Ternary,
                ir::KeyKind::Range => MatchType::Range,
                ir::KeyKind::Optional => MatchType::Optional,
            };
            p4::MatchField {
                id,
                name: key.name.clone(),
                annotations: annotations(key.format, &key.annotations),
                bitwidth: bits.into(),
                r#match: Some(Match::MatchType(kind.into())),
                ..p4::MatchField::default()
            }
        })
        .collect()
}

fn action_refs(table: &ir::Table, actions: &BTreeMap<&str, u32>) -> Vec<p4::ActionRef> {
    use p4::action_ref::Scope;

    table
        .actions
        .iter()
        .map(|action| p4::ActionRef {
            id: actions[action.name.as_str()],
            scope: match action.scope {
                ir::Scope::Any => Scope::TableAndDefault,
                ir::Scope::TableOnly => Scope::TableOnly,
                ir::Scope::DefaultOnly => Scope::DefaultOnly,
            }
            .into(),
            ..p4::ActionRef::default()
        })
        .collect()
}

fn initial_default(
    call: &ir::Call,
    pipeline: &ir::Pipeline,
    actions: &BTreeMap<&str, u32>,
) -> p4::TableActionCall {
    let action = pipeline
        .actions
        .iter()
        .find(|action| action.name == call.action);
    let params = action.map_or(&[][..], |action| &action.params);
    p4::TableActionCall {
        action_id: actions[call.action.as_str()],
        arguments: (1..)
            .zip(params)
            .map(|(param_id, param)| p4::table_action_call::Argument {
                param_id,
                value: weft_proto::bytes::encode(call.args[&param.name].into()),
            })
            .collect(),
    }
}

fn param(id: u32, param: &ir::Param) -> p4::action::Param {
    p4::action::Param {
        id,
        name: param.name.clone(),
        annotations: annotations(param.format, &param.annotations),
        bitwidth: param.bits.into(),
        ..p4::action::Param::default()
    }
}

fn selector_info(id: u32, selector: &ir::Selector, pipeline: &ir::Pipeline) -> p4::ActionProfile {
    use p4::action_profile::{SelectorSizeSemantics, SumOfMembers, SumOfWeights};

    let users = (TABLE + 1..)
        .zip(&pipeline.tables)
        .filter(|(_, table)| table.selector.as_ref() == Some(&selector.name));
    let table_ids = users.map(|(id, _)| id).collect();
    let size = selector.size.into();
    if !selector.chooses() {
        return p4::ActionProfile {
            preamble: Some(preamble(id, &selector.name, "", &[])),
            table_ids,
            size,
            ..p4::ActionProfile::default()
        };
    }
    let mode = match selector.mode {
        ir::SelectorMode::Hash => "hash",
        ir::SelectorMode::FirstLive => "firstLive",
    };
    let mut annotations = vec![format!("@weft_select({mode})")];
    if !selector.hash.is_empty() {
        annotations.push(format!("@weft_hash({})", selector.hash.join(",")));
    }
    p4::ActionProfile {
        preamble: Some(preamble(id, &selector.name, "", &annotations)),
        table_ids,
        with_selector: true,
        size,
        max_group_size: i32::try_from(selector.max_group_size).unwrap_or(i32::MAX),
        selector_size_semantics: Some(match selector.size_counts {
            ir::SizeCounts::Members => SelectorSizeSemantics::SumOfMembers(SumOfMembers {
                max_member_weight: i32::from(u16::MAX),
            }),
            ir::SizeCounts::Weights => SelectorSizeSemantics::SumOfWeights(SumOfWeights {}),
        }),
        ..p4::ActionProfile::default()
    }
}

fn metadata(
    id: u32,
    field: &ir::ControllerField,
    bits: u16,
) -> p4::controller_packet_metadata::Metadata {
    p4::controller_packet_metadata::Metadata {
        id,
        name: field.name.clone(),
        annotations: annotations(field.format, &[]),
        bitwidth: bits.into(),
        ..p4::controller_packet_metadata::Metadata::default()
    }
}

fn annotations(format: ir::Format, others: &[String]) -> Vec<String> {
    let format = match format {
        ir::Format::Number => None,
        ir::Format::Hex => Some("hex"),
        ir::Format::Mac => Some("mac"),
        ir::Format::Ipv4 => Some("ipv4"),
        ir::Format::Ipv6 => Some("ipv6"),
        ir::Format::Port => Some("port"),
    };
    let format = format.map(|format| format!("@format({format})"));
    format.into_iter().chain(others.iter().cloned()).collect()
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a pipeline has less than 2^24 objects of a kind")
}
