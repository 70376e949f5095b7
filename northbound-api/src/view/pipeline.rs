//! A pipeline in words: tables, fields, actions, and the JSON Schema of a table's entries.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use weft_controller::flow::text::{Form, Format};
use weft_controller::handle::PipelineView;
use weft_controller::status::Phase;
use weft_proto::bytes::max_value;
use weft_proto::schema::{
    ActionSchema, FieldSchema, MetadataSchema, ParamSchema, ProfileSchema, Schema, SelectorSize,
    TableSchema, annotations,
};
use weft_proto::vocab::MatchKind;

use super::Condition;

/// What a switch's pipeline can match and do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pipeline {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// Its tables.
    tables: Vec<Table>,
    /// Its actions.
    actions: Vec<Action>,
    /// Through what entries of some tables have their actions: kept once, or in groups of which one is chosen.
    action_profiles: Vec<ActionProfile>,
    /// What a packet-in carries.
    packet_in: Vec<Value_>,
    /// What a packet-out carries.
    packet_out: Vec<Value_>,
    /// A user declared a pipeline for this switch. The tables are those that are in force: of the declared one, once the
    /// switch has accepted it.
    declared: bool,
    /// Who declared it.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// What was declared.
    #[serde(flatten)]
    body: Option<DeclarePipeline>,
    /// How far it has come.
    status: PipelineStatus,
}

/// A pipeline to declare.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeclarePipeline {
    /// The P4Info message (`p4.config.v1.P4Info`) in base64.
    p4info: String,
    /// What the switch executes, in its own format: an object, or bytes in base64.
    #[schema(value_type = Object)]
    device_config: Value,
}

/// How far a switch's pipeline has come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PipelineStatus {
    /// `accepted`: stored, the switch was not asked yet; `programmed`: on its way; `realized`: the switch runs it, and
    /// holds what it shall; `rejected`: the switch refuses it, and goes on as it was.
    #[schema(value_type = String)]
    phase: Phase,
    /// Facts that matter for it.
    conditions: Vec<Condition>,
}

/// A table.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Table {
    /// Its name.
    name: String,
    /// Its P4Runtime id.
    id: u32,
    /// What it is for.
    doc: String,
    /// Most entries.
    size: u64,
    /// Entries are ordered by priority.
    priority: bool,
    /// Entries count packets and bytes.
    counters: bool,
    /// Entries may time out.
    idle_timeout: bool,
    /// Users' flows become entries of this table.
    flows: bool,
    /// Its key.
    fields: Vec<Field>,
    /// What its entries may do.
    actions: Vec<String>,
    /// The action profile through which they do it.
    #[serde(skip_serializing_if = "Option::is_none")]
    action_profile: Option<String>,
    /// JSON Schema of an entry.
    #[schema(value_type = Object)]
    schema: Value,
}

/// An action profile, or a selector.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ActionProfile {
    /// Its name.
    name: String,
    /// Its P4Runtime id.
    id: u32,
    /// The tables that use it.
    tables: Vec<String>,
    /// How one of several actions is chosen: `hash`, or `firstLive`; left out where there are no groups, or where the
    /// pipeline does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    /// The fields that keep a flow on one action.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hash: Vec<String>,
    /// Entries may have an `actionSet`.
    sets: bool,
    /// Most actions over all sets and groups, or the sum of their weights; 0 for no limit.
    size: u64,
    /// The same for one set.
    max_group_size: u32,
    /// What the sizes count: `members` or `weights`.
    size_counts: &'static str,
}

/// A key field.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Field {
    /// Its name.
    name: String,
    /// Its id within the table.
    id: u32,
    /// Its width.
    bits: u16,
    /// How it is compared: `exact`, `lpm`, `ternary`, `range` or `optional`.
    r#match: &'static str,
    /// How it is written: `number`, `hex`, `mac`, `ipv4`, `ipv6` or `port`.
    format: &'static str,
    /// What other fields have to be for this one to mean something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    requires: Vec<String>,
}

/// An action.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Action {
    /// Its name.
    name: String,
    /// Its P4Runtime id.
    id: u32,
    /// What it does.
    doc: String,
    /// Its parameters.
    params: Vec<Value_>,
}

/// A value: a parameter of an action, or metadata of a packet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PipelineValue)]
struct Value_ {
    /// Its name.
    name: String,
    /// Its id.
    id: u32,
    /// Its width.
    bits: u16,
    /// How it is written.
    format: &'static str,
}

impl From<&PipelineView> for Pipeline {
    fn from(view: &PipelineView) -> Self {
        let schema = &*view.schema;
        let metadata = |fields: &[MetadataSchema]| fields.iter().map(Value_::from).collect();
        Self {
            name: schema.name.clone(),
            version: schema.version.clone(),
            tables: schema
                .tables()
                .map(|table| Table::new(schema, table))
                .collect(),
            actions: schema.actions().map(Action::from).collect(),
            action_profiles: (schema.profiles())
                .map(|profile| ActionProfile::new(schema, profile))
                .collect(),
            packet_in: metadata(schema.packet_in()),
            packet_out: metadata(schema.packet_out()),
            declared: view.declared.is_some(),
            owner: view.declared.as_ref().map(|known| known.owner.clone()),
            body: view.declared.as_ref().map(|known| DeclarePipeline {
                p4info: known.spec.p4info.clone(),
                device_config: known.spec.device_config.clone(),
            }),
            status: PipelineStatus {
                phase: view.phase,
                conditions: view
                    .conditions
                    .iter()
                    .cloned()
                    .map(Condition::from)
                    .collect(),
            },
        }
    }
}

impl Table {
    fn new(schema: &Schema, table: &TableSchema) -> Self {
        let actions: Vec<_> = (table.actions.iter())
            .filter(|action| action.in_entries)
            .filter_map(|action| schema.action(action.id))
            .collect();
        Self {
            name: table.name.clone(),
            id: table.id.0,
            doc: table.doc.clone(),
            size: table.size,
            priority: table.needs_priority(),
            counters: table.counters,
            idle_timeout: table.idle_timeout,
            flows: annotations::has(&table.annotations, "weft_flows"),
            fields: table.fields.iter().map(Field::from).collect(),
            actions: actions.iter().map(|action| action.name.clone()).collect(),
            action_profile: (table.profile)
                .and_then(|id| schema.profile(id))
                .map(|profile| profile.name.clone()),
            schema: entry_schema(table, &actions),
        }
    }
}

impl ActionProfile {
    fn new(schema: &Schema, profile: &ProfileSchema) -> Self {
        let tables = profile.tables.iter().filter_map(|id| schema.table(*id));
        let argument = |name| annotations::get(&profile.annotations, name).next();
        Self {
            name: profile.name.clone(),
            id: profile.id.0,
            tables: tables.map(|table| table.name.clone()).collect(),
            mode: argument("weft_select").map(str::to_owned),
            hash: (argument("weft_hash").into_iter())
                .flat_map(annotations::split)
                .map(str::to_owned)
                .collect(),
            sets: profile.with_selector,
            size: profile.size,
            max_group_size: profile.max_group_size,
            size_counts: match profile.selector_size {
                SelectorSize::SumOfMembers { .. } => "members",
                SelectorSize::SumOfWeights if profile.with_selector => "weights",
                SelectorSize::SumOfWeights => "members",
            },
        }
    }
}

impl From<&FieldSchema> for Field {
    fn from(field: &FieldSchema) -> Self {
        let requires = annotations::get(&field.annotations, "requires");
        Self {
            name: field.name.clone(),
            id: field.id.0,
            bits: field.bits,
            r#match: match field.kind {
                MatchKind::Exact => "exact",
                MatchKind::Lpm => "lpm",
                MatchKind::Ternary => "ternary",
                MatchKind::Range => "range",
                MatchKind::Optional => "optional",
            },
            format: format_name(field.format.as_deref()),
            requires: requires.map(str::to_owned).collect(),
        }
    }
}

impl From<&ActionSchema> for Action {
    fn from(action: &ActionSchema) -> Self {
        Self {
            name: action.name.clone(),
            id: action.id.0,
            doc: action.doc.clone(),
            params: action.params.iter().map(Value_::from).collect(),
        }
    }
}

impl From<&ParamSchema> for Value_ {
    fn from(param: &ParamSchema) -> Self {
        Self {
            name: param.name.clone(),
            id: param.id.0,
            bits: param.bits,
            format: format_name(param.format.as_deref()),
        }
    }
}

impl From<&MetadataSchema> for Value_ {
    fn from(field: &MetadataSchema) -> Self {
        Self {
            name: field.name.clone(),
            id: field.id,
            bits: field.bits,
            format: format_name(field.format.as_deref()),
        }
    }
}

fn format_name(argument: Option<&str>) -> &'static str {
    match Format::of(argument) {
        Format::Number => "number",
        Format::Hex => "hex",
        Format::Mac => "mac",
        Format::Ipv4 => "ipv4",
        Format::Ipv6 => "ipv6",
        Format::Port => "port",
    }
}

/// JSON Schema (2020-12) of an entry of a table.
fn entry_schema(table: &TableSchema, actions: &[&ActionSchema]) -> Value {
    let fields: Map<_, _> = (table.fields.iter())
        .map(|field| (field.name.clone(), value_schema(&Form::of_field(field))))
        .collect();
    let exact = table
        .fields
        .iter()
        .filter(|field| field.kind == MatchKind::Exact);
    let required: Vec<_> = exact.map(|field| field.name.as_str()).collect();
    let actions: Vec<_> = actions.iter().map(|action| action_schema(action)).collect();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "match": {
                "type": "object",
                "properties": fields,
                "required": required,
                "additionalProperties": false,
            },
            "action": { "oneOf": actions },
        },
        "required": ["match", "action"],
        "additionalProperties": false,
    });
    if table.needs_priority() {
        schema["properties"]["priority"] =
            json!({ "type": "integer", "minimum": 1, "maximum": i32::MAX });
        schema["required"] = json!(["match", "action", "priority"]);
    }
    schema
}

fn action_schema(action: &ActionSchema) -> Value {
    let params: Map<_, _> = (action.params.iter())
        .map(|param| (param.name.clone(), value_schema(&Form::of_param(param))))
        .collect();
    let required: Vec<_> = action
        .params
        .iter()
        .map(|param| param.name.as_str())
        .collect();
    json!({
        "type": "object",
        "properties": {
            "name": { "const": action.name },
            "params": {
                "type": "object",
                "properties": params,
                "required": required,
                "additionalProperties": false,
            },
        },
        "required": if action.params.is_empty() { json!(["name"]) } else { json!(["name", "params"]) },
        "additionalProperties": false,
    })
}

/// JSON Schema of a value: what is written, without what only the compile can know.
fn value_schema(form: &Form<'_>) -> Value {
    let has_mask = matches!(form.kind, MatchKind::Lpm | MatchKind::Ternary);
    let mask = |pattern: &str| {
        if has_mask {
            format!("^{pattern}(/[0-9]+|/{pattern})?$")
        } else {
            format!("^{pattern}$")
        }
    };
    match form.format {
        Format::Number | Format::Hex => {
            let pattern = match form.kind {
                MatchKind::Range => {
                    "^(0x[0-9a-fA-F]+|[0-9]+)(-(0x[0-9a-fA-F]+|[0-9]+))?$".to_owned()
                }
                _ if form.names.is_empty() => mask("(0x[0-9a-fA-F]+|[0-9]+)"),
                _ => mask("(0x[0-9a-fA-F]+|[0-9A-Za-z_-]+)"),
            };
            let mut number = json!({ "type": "integer", "minimum": 0 });
            if form.bits <= 53 {
                number["maximum"] = json!(u64::try_from(max_value(form.bits)).unwrap_or(u64::MAX));
            }
            json!({ "anyOf": [number, { "type": "string", "pattern": pattern }] })
        }
        Format::Mac => {
            json!({ "type": "string", "pattern": mask("([0-9a-fA-F]{1,2}[:-]){5}[0-9a-fA-F]{1,2}") })
        }
        Format::Ipv4 => {
            json!({ "type": "string", "pattern": mask("([0-9]{1,3}\\.){3}[0-9]{1,3}") })
        }
        Format::Ipv6 => json!({ "type": "string", "pattern": mask("[0-9a-fA-F:.]+") }),
        Format::Port => {
            json!({ "type": ["string", "integer"], "description": "the name of a port" })
        }
    }
}
