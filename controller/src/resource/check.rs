//! Whether what a file declares can be, before there is a lab to declare it on.

use std::collections::BTreeMap;

use serde_json::Value;
use weft_proto::schema::Schema;

use super::{Declared, Place, Resource, Scope};
use crate::model::Model;
use crate::object;
use crate::problem::{Code, FieldError, pointer_to};
use crate::spec::Document;

/// A lab that nothing has been declared on.
struct Nothing;

impl Declared for Nothing {
    fn get(&self, _: &Place) -> Option<&Resource> {
        None
    }

    fn names(&self, _: &Place) -> Vec<String> {
        Vec::new()
    }
}

/// Compiles the resources of a file for a lab whose switches all run one pipeline. Empty where all of them can be.
pub fn check(document: &Document, model: &Model, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (place, spec) in document.resources() {
        let pointer = pointer_to(&format!("/{}", place.kind.collection()), place.name());
        if !object::is_name(place.name()) {
            errors.push(FieldError::new(
                pointer,
                Code::InvalidName,
                object::NAME_RULE,
            ));
            continue;
        }
        let found = check_one(model, schema, &place, spec.clone());
        errors.extend(found.into_iter().map(|error| error.under(&pointer)));
    }
    errors
}

fn check_one(model: &Model, schema: &Schema, place: &Place, mut spec: Value) -> Vec<FieldError> {
    let members = match place.kind.members(&mut spec) {
        Ok(members) => members,
        Err(mistakes) => return mistakes,
    };
    let mut errors = compile(model, schema, place, spec, false);
    for member in members {
        let found = compile(model, schema, &member.place, member.spec, true);
        errors.extend(found.into_iter().map(|error| error.under(&member.pointer)));
    }
    errors
}

fn compile(
    model: &Model,
    schema: &Schema,
    place: &Place,
    spec: Value,
    is_member: bool,
) -> Vec<FieldError> {
    let mut ports = BTreeMap::new();
    if let Some(name) = place.switch() {
        let Some(switch) = model.switches.get(name) else {
            let detail = format!("there is no switch {name}");
            let error = FieldError::new("/switch", Code::NoSuchSwitch, detail);
            return vec![error.with_allowed(name, model.switches.keys().cloned())];
        };
        let named = switch.ports.iter();
        ports.extend(named.map(|(number, port)| (port.name.clone(), *number)));
    }
    let scope = Scope {
        schema,
        ports: &ports,
        is_member,
        number: 0,
        declared: &Nothing,
    };
    place
        .kind
        .compile(&scope, place, spec)
        .err()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    #[test]
    fn mistakes_are_found_without_a_lab() {
        let file = "topology: { nodes: { s1: { kind: switch }, s2: { kind: switch } } }\n\
                    flowsets:\n  a: { flows: [{ switch: s1, name: f, actions: [drop] }, { switch: s7, name: g, actions: [drop] }] }\n  \
                    b: { flow: [] }\n";
        let document = load::load(file, "f.yaml").unwrap();
        let model = load::model(file.as_bytes(), "f.yaml", None).unwrap();
        let pointers: Vec<String> = check(&document, &model, &Schema::default())
            .into_iter()
            .map(|error| error.pointer)
            .collect();
        assert_eq!(
            pointers,
            [
                // This pipeline has no flows.
                "/flowsets/a/flows/0",
                "/flowsets/a/flows/1/switch",
                "/flowsets/b/flow",
                "/flowsets/b/flows",
            ]
        );
    }
}
