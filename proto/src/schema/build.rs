//! From P4Info to [`Schema`].

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ActionRefSchema, ActionSchema, FieldSchema, MetadataSchema, ParamSchema, ProfileSchema, Schema,
    SelectorSize, TableSchema, annotations, array,
};
use crate::bytes::{self, ByteStringError};
use crate::p4::config::v1::{
    self as wire, action_profile::SelectorSizeSemantics, action_ref::Scope, match_field::Match,
    match_field::MatchType, table::IdleTimeoutBehavior,
};
use crate::vocab::{ActionCall, ActionId, FieldId, MatchKind, ParamId, ProfileId, TableId};

/// Why a P4Info is no schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// An object has no preamble, no name, or id 0.
    #[error("a {kind} has no id or no name")]
    Anonymous {
        /// What the object is.
        kind: &'static str,
    },
    /// Two objects have one id or one name.
    #[error("{kind} `{name}` is declared twice")]
    Duplicate {
        /// What the objects are.
        kind: &'static str,
        /// The name, or the id, that they have in common.
        name: String,
    },
    /// A width is not 1 to 128 bits.
    #[error("`{object}.{name}` has {bits} bits; 1 to 128 are possible")]
    Width {
        /// The table, action or header.
        object: String,
        /// The field or parameter.
        name: String,
        /// The declared width.
        bits: i32,
    },
    /// A key field is compared in a way that is not P4Runtime's.
    #[error("`{table}.{field}` has an unknown match kind")]
    MatchKind {
        /// The table.
        table: String,
        /// The field.
        field: String,
    },
    /// An object refers to one that is not there.
    #[error("`{object}` refers to {kind} {id}, which is not declared")]
    Dangling {
        /// The object that refers.
        object: String,
        /// What it refers to.
        kind: &'static str,
        /// The id.
        id: u32,
    },
    /// A meter measures nothing that we know.
    #[error("meter `{meter}` measures neither bytes nor packets")]
    MeterUnit {
        /// The meter.
        meter: String,
    },
    /// The initial default action lacks an argument, or has one too many or one too wide.
    #[error("the default action of table `{table}` has wrong arguments")]
    DefaultArguments {
        /// The table.
        table: String,
    },
}

pub(super) fn schema(info: &wire::P4Info) -> Result<Schema, SchemaError> {
    let mut schema = Schema::default();
    if let Some(package) = &info.pkg_info {
        schema.name.clone_from(&package.name);
        schema.version.clone_from(&package.version);
    }
    for declared in &info.actions {
        let action = action(declared)?;
        let (id, alias) = (action.id, alias(declared.preamble.as_ref()));
        index(
            &mut schema.actions_by_name,
            "action",
            &action.name,
            alias,
            id,
        )?;
        unique("action", id.0, schema.actions.insert(id, action))?;
    }
    for declared in &info.action_profiles {
        let profile = profile(declared)?;
        unique(
            "action profile",
            profile.id.0,
            schema.profiles.insert(profile.id, profile),
        )?;
    }
    for declared in &info.tables {
        let table = table(declared, info, &schema)?;
        let (id, alias) = (table.id, alias(declared.preamble.as_ref()));
        index(&mut schema.tables_by_name, "table", &table.name, alias, id)?;
        unique("table", id.0, schema.tables.insert(id, table))?;
    }
    array::read(info, &mut schema)?;
    for profile in schema.profiles.values() {
        for table in &profile.tables {
            if !schema.tables.contains_key(table) {
                return Err(dangling(&profile.name, "table", table.0));
            }
        }
    }
    for header in &info.controller_packet_metadata {
        let (_, name) = identity(header.preamble.as_ref(), "controller header")?;
        match name {
            "packet_in" => schema.packet_in = metadata(header, name)?,
            "packet_out" => schema.packet_out = metadata(header, name)?,
            _ => {}
        }
    }
    Ok(schema)
}

fn table(
    declared: &wire::Table,
    info: &wire::P4Info,
    schema: &Schema,
) -> Result<TableSchema, SchemaError> {
    let preamble = declared.preamble.as_ref();
    let (id, name) = identity(preamble, "table")?;
    let mut fields = Vec::with_capacity(declared.match_fields.len());
    for field in &declared.match_fields {
        fields.push(self::field(field, name)?);
    }
    distinct(
        name,
        fields.iter().map(|field| (field.id.0, field.name.as_str())),
    )?;
    let mut actions = Vec::with_capacity(declared.action_refs.len());
    for reference in &declared.action_refs {
        let id = ActionId(reference.id);
        if !schema.actions.contains_key(&id) {
            return Err(dangling(name, "action", id.0));
        }
        actions.push(ActionRefSchema {
            id,
            in_entries: reference.scope() != Scope::DefaultOnly,
            as_default: matches!(
                reference.scope(),
                Scope::TableAndDefault | Scope::DefaultOnly
            ),
        });
    }
    let profile = Some(ProfileId(declared.implementation_id)).filter(|id| id.0 != 0);
    if let Some(id) = profile.filter(|id| !schema.profiles.contains_key(id)) {
        return Err(dangling(name, "action profile", id.0));
    }
    let const_default = Some(ActionId(declared.const_default_action_id)).filter(|id| id.0 != 0);
    if let Some(id) = const_default.filter(|id| !schema.actions.contains_key(id)) {
        return Err(dangling(name, "action", id.0));
    }
    let initial_default = match &declared.initial_default_action {
        None => None,
        Some(call) => Some(default_call(call, name, schema)?),
    };
    Ok(TableSchema {
        id: TableId(id),
        name: name.to_owned(),
        doc: doc(preamble),
        fields,
        actions,
        profile,
        size: u64::try_from(declared.size).unwrap_or(0),
        const_default,
        initial_default,
        is_const: declared.is_const_table,
        counters: info
            .direct_counters
            .iter()
            .any(|counter| counter.direct_table_id == id),
        meter: array::direct(info, id)?,
        idle_timeout: declared.idle_timeout_behavior() == IdleTimeoutBehavior::NotifyControl,
        annotations: notes(preamble),
    })
}

fn field(declared: &wire::MatchField, table: &str) -> Result<FieldSchema, SchemaError> {
    let unknown_kind = || SchemaError::MatchKind {
        table: table.to_owned(),
        field: declared.name.clone(),
    };
    let kind = match &declared.r#match {
        Some(Match::MatchType(kind)) => match MatchType::try_from(*kind) {
            Ok(MatchType::Exact) => MatchKind::Exact,
            Ok(MatchType::Lpm) => MatchKind::Lpm,
            Ok(MatchType::Ternary) => MatchKind::Ternary,
            Ok(MatchType::Range) => MatchKind::Range,
            Ok(MatchType::Optional) => MatchKind::Optional,
            Ok(MatchType::Unspecified) | Err(_) => return Err(unknown_kind()),
        },
        Some(Match::OtherMatchType(_)) | None => return Err(unknown_kind()),
    };
    if declared.id == 0 || declared.name.is_empty() {
        return Err(SchemaError::Anonymous { kind: "key field" });
    }
    Ok(FieldSchema {
        id: FieldId(declared.id),
        name: declared.name.clone(),
        bits: width(table, &declared.name, declared.bitwidth)?,
        kind,
        format: format(&declared.annotations),
        annotations: declared.annotations.clone(),
    })
}

fn action(declared: &wire::Action) -> Result<ActionSchema, SchemaError> {
    let preamble = declared.preamble.as_ref();
    let (id, name) = identity(preamble, "action")?;
    let mut params = Vec::with_capacity(declared.params.len());
    for param in &declared.params {
        if param.id == 0 || param.name.is_empty() {
            return Err(SchemaError::Anonymous { kind: "parameter" });
        }
        params.push(ParamSchema {
            id: ParamId(param.id),
            name: param.name.clone(),
            bits: width(name, &param.name, param.bitwidth)?,
            format: format(&param.annotations),
            annotations: param.annotations.clone(),
        });
    }
    distinct(
        name,
        params.iter().map(|param| (param.id.0, param.name.as_str())),
    )?;
    Ok(ActionSchema {
        id: ActionId(id),
        name: name.to_owned(),
        doc: doc(preamble),
        params,
        annotations: notes(preamble),
    })
}

fn profile(declared: &wire::ActionProfile) -> Result<ProfileSchema, SchemaError> {
    let preamble = declared.preamble.as_ref();
    let (id, name) = identity(preamble, "action profile")?;
    Ok(ProfileSchema {
        id: ProfileId(id),
        name: name.to_owned(),
        tables: declared.table_ids.iter().copied().map(TableId).collect(),
        with_selector: declared.with_selector,
        size: u64::try_from(declared.size).unwrap_or(0),
        max_group_size: u32::try_from(declared.max_group_size).unwrap_or(0),
        selector_size: match &declared.selector_size_semantics {
            Some(SelectorSizeSemantics::SumOfMembers(members)) => SelectorSize::SumOfMembers {
                max_weight: u32::try_from(members.max_member_weight).unwrap_or(0),
            },
            Some(SelectorSizeSemantics::SumOfWeights(_)) | None => SelectorSize::SumOfWeights,
        },
        annotations: notes(preamble),
    })
}

fn default_call(
    call: &wire::TableActionCall,
    table: &str,
    schema: &Schema,
) -> Result<ActionCall, SchemaError> {
    let wrong = || SchemaError::DefaultArguments {
        table: table.to_owned(),
    };
    let id = ActionId(call.action_id);
    let Some(action) = schema.actions.get(&id) else {
        return Err(dangling(table, "action", id.0));
    };
    let mut params = Vec::with_capacity(call.arguments.len());
    for argument in &call.arguments {
        let id = ParamId(argument.param_id);
        let param = action.param(id).ok_or_else(wrong)?;
        let value =
            bytes::decode(&argument.value, param.bits).map_err(|_: ByteStringError| wrong())?;
        params.push((id, value));
    }
    params.sort_unstable();
    let complete =
        params.len() == action.params.len() && params.windows(2).all(|pair| pair[0].0 != pair[1].0);
    if !complete {
        return Err(wrong());
    }
    Ok(ActionCall { action: id, params })
}

fn metadata(
    header: &wire::ControllerPacketMetadata,
    name: &str,
) -> Result<Vec<MetadataSchema>, SchemaError> {
    let mut fields = Vec::with_capacity(header.metadata.len());
    for field in &header.metadata {
        if field.id == 0 || field.name.is_empty() {
            return Err(SchemaError::Anonymous {
                kind: "metadata field",
            });
        }
        fields.push(MetadataSchema {
            id: field.id,
            name: field.name.clone(),
            bits: width(name, &field.name, field.bitwidth)?,
            format: format(&field.annotations),
        });
    }
    distinct(
        name,
        fields.iter().map(|field| (field.id, field.name.as_str())),
    )?;
    Ok(fields)
}

pub(super) fn identity<'a>(
    preamble: Option<&'a wire::Preamble>,
    kind: &'static str,
) -> Result<(u32, &'a str), SchemaError> {
    preamble
        .filter(|preamble| preamble.id != 0 && !preamble.name.is_empty())
        .map(|preamble| (preamble.id, preamble.name.as_str()))
        .ok_or(SchemaError::Anonymous { kind })
}

fn alias(preamble: Option<&wire::Preamble>) -> &str {
    preamble.map_or("", |preamble| preamble.alias.as_str())
}

pub(super) fn doc(preamble: Option<&wire::Preamble>) -> String {
    preamble
        .and_then(|preamble| preamble.doc.as_ref())
        .map(|doc| doc.brief.clone())
        .unwrap_or_default()
}

pub(super) fn notes(preamble: Option<&wire::Preamble>) -> Vec<String> {
    preamble
        .map(|preamble| preamble.annotations.clone())
        .unwrap_or_default()
}

fn format(notes: &[String]) -> Option<String> {
    annotations::get(notes, "format").next().map(str::to_owned)
}

fn width(object: &str, name: &str, bits: i32) -> Result<u16, SchemaError> {
    match u16::try_from(bits) {
        Ok(width @ 1..=128) => Ok(width),
        _ => Err(SchemaError::Width {
            object: object.to_owned(),
            name: name.to_owned(),
            bits,
        }),
    }
}

fn index<I: Copy + PartialEq>(
    names: &mut BTreeMap<String, I>,
    kind: &'static str,
    name: &str,
    alias: &str,
    id: I,
) -> Result<(), SchemaError> {
    let duplicate = |name: &str| SchemaError::Duplicate {
        kind,
        name: name.to_owned(),
    };
    if names.insert(name.to_owned(), id).is_some() {
        return Err(duplicate(name));
    }
    if !alias.is_empty() && alias != name && names.insert(alias.to_owned(), id).is_some() {
        return Err(duplicate(alias));
    }
    Ok(())
}

pub(super) fn unique<T>(
    kind: &'static str,
    id: u32,
    previous: Option<T>,
) -> Result<(), SchemaError> {
    match previous {
        None => Ok(()),
        Some(_) => Err(SchemaError::Duplicate {
            kind,
            name: id.to_string(),
        }),
    }
}

fn distinct<'a>(
    object: &str,
    fields: impl Iterator<Item = (u32, &'a str)>,
) -> Result<(), SchemaError> {
    let mut ids = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (id, name) in fields {
        if !ids.insert(id) || !names.insert(name) {
            return Err(SchemaError::Duplicate {
                kind: "field",
                name: format!("{object}.{name}"),
            });
        }
    }
    Ok(())
}

fn dangling(object: &str, kind: &'static str, id: u32) -> SchemaError {
    SchemaError::Dangling {
        object: object.to_owned(),
        kind,
        id,
    }
}
