//! A raw table entry as it is answered.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema as OpenApiSchema};
use utoipa::{PartialSchema, ToSchema};
use weft_controller::handle::EntryView;
use weft_controller::raw::{ActionSpec, EntrySpec, MemberSpec};

use super::flow::{Diff, FlowStatus};
use crate::list::Item;

/// A raw table entry with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TableEntry {
    /// Its name in its table.
    name: String,
    /// Its table.
    table: String,
    /// Its switch.
    switch: String,
    /// Larger wins; where the table orders its entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    /// Key fields by name.
    r#match: BTreeMap<String, Value>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    action: Option<ActionSpec>,
    /// The same where a hash chooses one of several actions for each flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<Object>)]
    action_set: Option<Vec<MemberSpec>>,
    /// The user's own words.
    labels: BTreeMap<String, String>,
    /// Who made it.
    owner: String,
    /// How far it has come.
    status: FlowStatus,
    /// What the write would change; of a dry run only.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<Diff>,
}

impl TableEntry {
    /// Members of an answer that the server makes; a client may send them back unread.
    pub(crate) const READ_ONLY: [&str; 3] = ["owner", "status", "diff"];

    pub(crate) fn with_diff(mut self, diff: Option<Diff>) -> Self {
        self.diff = diff;
        self
    }
}

impl From<EntryView> for TableEntry {
    fn from(view: EntryView) -> Self {
        let EntrySpec {
            priority,
            r#match,
            action,
            action_set,
            labels,
        } = view.spec;
        Self {
            name: view.name,
            table: view.table,
            switch: view.switch,
            priority,
            r#match,
            action,
            action_set,
            labels,
            owner: view.owner,
            status: FlowStatus::from(view.status),
            diff: None,
        }
    }
}

impl Item for TableEntry {
    fn key(&self) -> String {
        self.name.clone()
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.labels)
    }
}

/// Describes [`EntrySpec`], the body of a PUT.
#[derive(Debug)]
pub(crate) struct EntryBody;

impl ToSchema for EntryBody {}

impl PartialSchema for EntryBody {
    fn schema() -> RefOr<OpenApiSchema> {
        let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        let whole = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer));
        let any = || ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        let values = || {
            ObjectBuilder::new()
                .additional_properties(Some(AdditionalProperties::RefOr(any().into())))
        };
        let action = || {
            ObjectBuilder::new()
                .property("name", text())
                .required("name")
                .property("params", values())
        };
        ObjectBuilder::new()
            .description(Some(
                "A table entry. The switch's pipeline has the JSON Schema of each table's entries.",
            ))
            .property(
                "priority",
                whole()
                    .description(Some(
                        "The largest that matches wins; where the table orders its entries.",
                    ))
                    .minimum(Some(1)),
            )
            .property("match", values().description(Some("Key fields by name.")))
            .property("action", action())
            .property(
                "actionSet",
                ArrayBuilder::new().items(
                    action()
                        .property("weight", whole().minimum(Some(1)).default(Some(1.into())))
                        .property("watchPort", text()),
                ),
            )
            .property(
                "labels",
                ObjectBuilder::new()
                    .additional_properties(Some(AdditionalProperties::RefOr(text().into()))),
            )
            .additional_properties(Some(AdditionalProperties::<OpenApiSchema>::FreeForm(false)))
            .examples([json!({
                "priority": 101,
                "match": { "in_port": "p9", "ipv4_dst": "10.20.0.0/16" },
                "action": { "name": "flow_drop" }
            })])
            .into()
    }
}
