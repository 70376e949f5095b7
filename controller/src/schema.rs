//! The topology file's JSON Schema (draft 2020-12), from the types that files are read into.
//!
//! It says what one file can show by itself: keys, types, words, quantities. That names exist and fit together is the
//! loader's to say. Where YAML is read more kindly than JSON is, the schema is as kind: a key with nothing behind it is an
//! empty map or list, and plain scalars are texts where a text is wanted.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::spec::Document;

/// The schema.
pub fn topology() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Document>().to_value();
    ease(&mut schema, Place::Elsewhere);
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!("Weft topology"));
    }
    schema
}

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// One of several forms, told apart by their types.
    Alternative,
    /// Anywhere else.
    Elsewhere,
}

/// Allows what the loader allows, here and below.
fn ease(schema: &mut Value, place: Place) {
    let Value::Object(schema) = schema else {
        return;
    };
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        schema.insert("patternProperties".to_owned(), json!({ "^x-": true }));
    }
    if place == Place::Elsewhere {
        widen(schema);
    }
    for (key, value) in schema.iter_mut() {
        match (key.as_str(), value) {
            ("anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas
                    .iter_mut()
                    .for_each(|schema| ease(schema, Place::Alternative));
            }
            ("items" | "additionalProperties", schema) => ease(schema, Place::Elsewhere),
            ("properties" | "$defs", Value::Object(schemas)) => {
                schemas
                    .values_mut()
                    .for_each(|schema| ease(schema, Place::Elsewhere));
            }
            _ => {}
        }
    }
}

/// Adds the types that YAML's forms have.
fn widen(schema: &mut Map<String, Value>) {
    let types = match schema.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => return,
    };
    let has = |key: &str| schema.contains_key(key);
    let is_free_text = !["pattern", "format", "enum", "const"].into_iter().any(has);
    let may_be_empty = !has("required");
    let mut wide = types.clone();
    for one in &types {
        let more: &[&str] = match one.as_str() {
            "string" if is_free_text => &["number", "boolean"],
            "array" => &["null"],
            "object" if may_be_empty => &["null"],
            _ => &[],
        };
        wide.extend(more.iter().map(|&one| one.to_owned()));
    }
    wide.sort();
    wide.dedup();
    if wide.len() > types.len() {
        schema.insert("type".to_owned(), json!(wide));
    }
}

#[cfg(test)]
mod tests;
