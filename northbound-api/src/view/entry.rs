//! What a raw table entry looks like.

use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema as OpenApiSchema};
use utoipa::{PartialSchema, ToSchema};

/// Describes [`weft_controller::raw::EntrySpec`], the body of a PUT.
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
