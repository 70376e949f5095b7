//! What switches hold for a resource, in words; and what flows and flow sets look like.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema as OpenApiSchema};
use utoipa::{PartialSchema, ToSchema};
use weft_controller::flow::text::{Form, Pattern, Ports, print};
use weft_controller::handle::{self, Handle, HandleError};
use weft_controller::quantity::{BitsPerSec, ByteSize};
use weft_proto::schema::Schema;
use weft_proto::vocab::{
    self, ActionCall, MeterCell, MulticastGroup, PortNo, TableAction, TableEntry,
};

/// A table entry in words.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// The table.
    table: String,
    /// Fields that count.
    r#match: BTreeMap<String, Value>,
    /// P4Runtime's priority, where the table has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    /// What it does.
    action: Option<EntryAction>,
    /// What it does where a hash chooses one of several actions for each flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    action_set: Option<Vec<WeightedAction>>,
    /// The member of the table's action profile that says what it does, where another client wrote the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<u32>,
    /// The group of the table's action profile that chooses what it does, where another client wrote the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
    /// It is what a miss in the table gets.
    #[serde(rename = "default", skip_serializing_if = "std::ops::Not::not")]
    is_default: bool,
}

/// One of several actions.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WeightedAction {
    #[serde(flatten)]
    action: EntryAction,
    /// Its share is its weight over the sum of all.
    weight: u32,
    /// The port whose loss takes it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    watch_port: Option<Value>,
}

/// An action with its arguments in words.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntryAction {
    /// The action.
    name: String,
    /// Its arguments.
    params: BTreeMap<String, Value>,
}

/// A group of ports that get a copy each.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Group {
    /// Its id.
    id: u32,
    /// The ports.
    ports: Vec<Value>,
}

/// A configured meter.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meter {
    /// Its cell.
    index: u32,
    /// What passes for as long as it likes; null where the meter lets everything pass.
    #[schema(value_type = Option<String>)]
    rate: Option<BitsPerSec>,
    /// What may come at once.
    #[schema(value_type = Option<String>)]
    burst: Option<ByteSize>,
}

impl From<&MeterCell> for Meter {
    fn from(cell: &MeterCell) -> Self {
        Self {
            index: cell.index,
            rate: (cell.config).map(|config| BitsPerSec(config.pir.saturating_mul(8))),
            burst: cell.config.map(|config| ByteSize(config.pburst)),
        }
    }
}

/// Numbers of table entries that a write adds, changes, removes, and leaves alone.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Diff {
    add: usize,
    change: usize,
    remove: usize,
    unchanged: usize,
}

impl From<handle::Diff> for Diff {
    fn from(diff: handle::Diff) -> Self {
        Self {
            add: diff.add,
            change: diff.change,
            remove: diff.remove,
            unchanged: diff.unchanged,
        }
    }
}

/// A switch's words: its pipeline and the names of its ports.
#[derive(Debug)]
pub(crate) struct Names {
    schema: Arc<Schema>,
    ports: Ports,
}

impl Names {
    pub(crate) fn of(handle: &Handle, switch: &str) -> Result<Self, HandleError> {
        let ports = handle.ports(switch)?.into_iter();
        Ok(Self {
            schema: handle.pipeline(switch)?,
            ports: ports.map(|port| (port.name, PortNo(port.number))).collect(),
        })
    }

    pub(crate) fn entry(&self, entry: TableEntry) -> Option<Entry> {
        let table = self.schema.table(entry.key.table)?;
        let matches = entry.key.matches.iter().filter_map(|(id, wanted)| {
            let field = table.field(*id)?;
            let pattern = Pattern::of_match(*wanted, field.bits);
            let text = print(&Form::of_field(field), &self.ports, pattern);
            Some((field.name.clone(), text))
        });
        let (mut action, mut action_set, mut member, mut group) = (None, None, None, None);
        match entry.action {
            Some(TableAction::Call(call)) => action = self.action(&call),
            Some(TableAction::OneShot(members)) => action_set = Some(self.action_set(&members)),
            Some(TableAction::Member(id)) => member = Some(id.0),
            Some(TableAction::Group(id)) => group = Some(id.0),
            None => {}
        }
        Some(Entry {
            table: table.name.clone(),
            r#match: matches.collect(),
            priority: (table.needs_priority() && !entry.is_default).then_some(entry.key.priority),
            action,
            action_set,
            member,
            group,
            is_default: entry.is_default,
        })
    }

    fn action(&self, call: &ActionCall) -> Option<EntryAction> {
        let action = self.schema.action(call.action)?;
        let params = call.params.iter().filter_map(|(id, value)| {
            let param = action.param(*id)?;
            let pattern = Pattern::exact(*value, param.bits);
            let text = print(&Form::of_param(param), &self.ports, pattern);
            Some((param.name.clone(), text))
        });
        Some(EntryAction {
            name: action.name.clone(),
            params: params.collect(),
        })
    }

    fn action_set(&self, members: &[vocab::WeightedAction]) -> Vec<WeightedAction> {
        let member = |member: &vocab::WeightedAction| {
            Some(WeightedAction {
                action: self.action(&member.call)?,
                weight: member.weight,
                watch_port: member.watch_port.map(|port| self.port(port)),
            })
        };
        members.iter().filter_map(member).collect()
    }

    /// A port's name; its number where it has none.
    pub(crate) fn port(&self, port: PortNo) -> Value {
        let form = Form::port();
        print(&form, &self.ports, Pattern::exact(port.0.into(), form.bits))
    }

    pub(crate) fn group(&self, group: &MulticastGroup) -> Group {
        let ports = group.replicas.iter().map(|replica| self.port(replica.port));
        Group {
            id: group.id.0,
            ports: ports.collect(),
        }
    }
}

/// Describes [`weft_controller::flow::FlowSpec`], the body of a PUT.
#[derive(Debug)]
pub(crate) struct FlowBody;

impl ToSchema for FlowBody {}

impl PartialSchema for FlowBody {
    fn schema() -> RefOr<OpenApiSchema> {
        let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        let any = || ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        ObjectBuilder::new()
            .description(Some("A flow. Its match fields and actions are those of the switch's pipeline."))
            .property(
                "priority",
                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::Integer))
                    .description(Some("The largest that matches wins."))
                    .minimum(Some(0))
                    .maximum(Some(65535))
                    .default(Some(0.into())),
            )
            .property(
                "match",
                ObjectBuilder::new()
                    .description(Some("Match fields by name, each a value, a prefix, a mask, or a list of them; {} is all packets."))
                    .additional_properties(Some(AdditionalProperties::RefOr(any().into()))),
            )
            .property(
                "actions",
                ArrayBuilder::new()
                    .description(Some("What happens: a word such as \"drop\", or an object with one key such as {\"output\": \"p1\"}."))
                    .items(any()),
            )
            .required("actions")
            .property(
                "idleTimeout",
                text()
                    .description(Some("The flow ends when no packet has matched for so long; 0s is never."))
                    .default(Some("0s".into())),
            )
            .property(
                "labels",
                ObjectBuilder::new()
                    .description(Some("The user's own words, for selectors."))
                    .additional_properties(Some(AdditionalProperties::RefOr(text().into()))),
            )
            .additional_properties(Some(AdditionalProperties::<OpenApiSchema>::FreeForm(false)))
            .examples([serde_json::json!({
                "priority": 100,
                "match": { "in_port": "p9", "ipv4_dst": "10.20.0.0/16", "tcp_dst": 443 },
                "actions": [{ "set": { "ip_dscp": 18 } }, { "output": "p1" }],
                "labels": { "app": "web" }
            })])
            .into()
    }
}

/// Describes [`weft_controller::group::GroupSpec`], the body of a PUT.
#[derive(Debug)]
pub(crate) struct GroupBody;

impl ToSchema for GroupBody {}

impl PartialSchema for GroupBody {
    fn schema() -> RefOr<OpenApiSchema> {
        let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        let whole = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer));
        let truth = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::Boolean));
        let closed = || Some(AdditionalProperties::<OpenApiSchema>::FreeForm(false));
        let bucket = ObjectBuilder::new()
            .property("output", text().description(Some("The port.")))
            .required("output")
            .property(
                "weight",
                whole()
                    .description(Some("Its share of all weights; of a select group."))
                    .minimum(Some(1))
                    .default(Some(1.into())),
            )
            .property(
                "watchPort",
                truth().description(Some(
                    "It gets nothing while its port is down; usual in a failover group.",
                )),
            )
            .additional_properties(closed());
        ObjectBuilder::new()
            .description(Some("Several ways out under one name, which flows send packets to."))
            .property(
                "kind",
                text()
                    .description(Some("`select`: one bucket by a hash; `all`: a copy to each; `failover`: the first that lives."))
                    .enum_values(Some(["select", "all", "failover"])),
            )
            .required("kind")
            .property(
                "hash",
                ArrayBuilder::new()
                    .description(Some("The fields that choose a bucket, of a select group."))
                    .items(text()),
            )
            .property("buckets", ArrayBuilder::new().items(bucket))
            .required("buckets")
            .property("labels", labels())
            .additional_properties(closed())
            .examples([serde_json::json!({
                "kind": "select", "hash": ["ipv4_src", "ipv4_dst", "ip_proto", "l4"],
                "buckets": [{ "output": "p1", "weight": 2, "watchPort": true }, { "output": "p2" }]
            })])
            .into()
    }
}

/// Describes [`weft_controller::meter::MeterSpec`], the body of a PUT.
#[derive(Debug)]
pub(crate) struct MeterBody;

impl ToSchema for MeterBody {}

impl PartialSchema for MeterBody {
    fn schema() -> RefOr<OpenApiSchema> {
        let text = |doc| {
            let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
            text.description(Some(doc))
        };
        ObjectBuilder::new()
            .description(Some(
                "The most that may pass, shared by all flows that name the meter.",
            ))
            .property(
                "rate",
                text("What passes for as long as it likes, such as 200mbit."),
            )
            .required("rate")
            .property(
                "burst",
                text("What may come at once, such as 256kb; at least one full frame."),
            )
            .property(
                "exceed",
                text("What becomes of packets above it.").enum_values(Some(["drop"])),
            )
            .property("labels", labels())
            .additional_properties(Some(AdditionalProperties::<OpenApiSchema>::FreeForm(false)))
            .examples([
                serde_json::json!({ "rate": "200mbit", "burst": "256kb", "exceed": "drop" }),
            ])
            .into()
    }
}

fn labels() -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    ObjectBuilder::new()
        .description(Some("The user's own words, for selectors."))
        .additional_properties(Some(AdditionalProperties::RefOr(text.into())))
}

/// Describes the body of a PUT of a flow set.
#[derive(Debug)]
pub(crate) struct FlowSetBody;

impl ToSchema for FlowSetBody {}

impl PartialSchema for FlowSetBody {
    fn schema() -> RefOr<OpenApiSchema> {
        let flow = ObjectBuilder::new()
            .description(Some("A flow as it is put alone, with `switch` and `name`."));
        ObjectBuilder::new()
            .description(Some("All flows of the set; what it leaves out goes."))
            .property("flows", ArrayBuilder::new().items(flow))
            .required("flows")
            .additional_properties(Some(AdditionalProperties::<OpenApiSchema>::FreeForm(false)))
            .examples([serde_json::json!({
                "flows": [{
                    "switch": "edge1", "name": "web-in", "priority": 100,
                    "match": { "tcp_dst": 443 }, "actions": [{ "output": "p1" }]
                }]
            })])
            .into()
    }
}
