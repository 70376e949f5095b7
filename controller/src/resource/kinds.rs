//! What each kind adds to the mechanism: how its document is read and compiled.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{COMPUTED, Compiled, Kind, Member, Place, Program, Scope};
use crate::flow::{self, FlowSpec, References};
use crate::group::{self, GroupSpec, GroupTarget};
use crate::load;
use crate::meter::{self, MeterSpec};
use crate::object;
use crate::problem::{Code, FieldError, pointer_to};
use crate::raw::{self, EntrySpec};

/// Reads a document as the type that it has to be.
fn read<T: DeserializeOwned>(spec: Value) -> Result<T, Vec<FieldError>> {
    load::from_json(spec)
}

fn shown(spec: &impl Serialize) -> Value {
    serde_json::to_value(spec).unwrap_or_default()
}

/// What a flow can name on its switch.
struct Named<'a> {
    scope: &'a Scope<'a>,
    place: &'a Place,
}

impl References for Named<'_> {
    fn group(&self, name: &str) -> Option<GroupTarget> {
        let place = self.place.beside(Kind::Group, name);
        let group = self.scope.declared.get(&place)?;
        Some(group::target(&group.spec, group.number?))
    }

    fn meter(&self, name: &str) -> Option<u32> {
        let place = self.place.beside(Kind::Meter, name);
        self.scope.declared.get(&place)?.number
    }

    fn names(&self, kind: Kind) -> Vec<String> {
        self.scope.declared.names(&self.place.beside(kind, ""))
    }
}

pub(super) fn group(
    scope: &Scope<'_>,
    place: &Place,
    spec: Value,
) -> Result<Compiled, Vec<FieldError>> {
    let spec: GroupSpec = read(spec)?;
    let switch = place.switch().unwrap_or_default();
    let (spec, program) = group::compile(scope.schema, scope.ports, switch, scope.number, &spec)?;
    Ok(Compiled {
        spec: shown(&spec),
        program,
        ..Compiled::default()
    })
}

pub(super) fn meter(
    scope: &Scope<'_>,
    place: &Place,
    spec: Value,
) -> Result<Compiled, Vec<FieldError>> {
    let spec: MeterSpec = read(spec)?;
    let switch = place.switch().unwrap_or_default();
    let (spec, cell) = meter::compile(scope.schema, switch, scope.number, &spec)?;
    Ok(Compiled {
        spec: shown(&spec),
        program: Program {
            meters: vec![cell],
            ..Program::default()
        },
        ..Compiled::default()
    })
}

pub(super) fn flow(
    scope: &Scope<'_>,
    place: &Place,
    spec: Value,
) -> Result<Compiled, Vec<FieldError>> {
    let spec: FlowSpec = read(spec)?;
    if scope.is_member && spec.idle_timeout.0 != 0 {
        let detail = "flows of a set do not end by themselves";
        let mistake = FieldError::new("/idleTimeout", Code::NotSupported, detail);
        return Err(vec![mistake]);
    }
    let switch = place.switch().unwrap_or_default();
    let named = Named { scope, place };
    let compiled = flow::compile(scope.schema, scope.ports, switch, &spec, &named)?;
    let references = compiled.references.iter();
    let references = references.map(|(kind, name)| place.beside(*kind, name));
    Ok(Compiled {
        references: references.collect(),
        spec: shown(&compiled.normalised),
        program: Program {
            entries: compiled.entries,
            groups: compiled.groups,
            meters: Vec::new(),
        },
        warnings: compiled.warnings,
    })
}

pub(super) fn entry(
    scope: &Scope<'_>,
    place: &Place,
    spec: Value,
) -> Result<Compiled, Vec<FieldError>> {
    let spec: EntrySpec = read(spec)?;
    let table = place.table().unwrap_or_default();
    let Some(table) = scope.schema.table_by_name(table) else {
        let detail = format!("there is no table {table}");
        return Err(vec![FieldError::new("", Code::NoSuchReference, detail)]);
    };
    let (spec, entry) = raw::compile(scope.schema, scope.ports, table, &spec)?;
    Ok(Compiled {
        spec: shown(&spec),
        program: Program {
            entries: vec![entry],
            ..Program::default()
        },
        ..Compiled::default()
    })
}

pub(super) fn flow_set(_: &Scope<'_>, _: &Place, spec: Value) -> Result<Compiled, Vec<FieldError>> {
    Ok(Compiled {
        spec,
        ..Compiled::default()
    })
}

/// The flows of a set; what stays of the document is empty.
pub(super) fn flow_set_members(spec: &mut Value) -> Result<Vec<Member>, Vec<FieldError>> {
    let Value::Object(members) = spec else {
        let detail = "a flow set is an object with flows";
        return Err(vec![FieldError::new("", Code::WrongType, detail)]);
    };
    let list = members.remove("flows");
    let mut errors: Vec<_> = (members.keys())
        .map(|unknown| {
            let detail = format!("a flow set has no {unknown}");
            FieldError::new(pointer_to("", unknown), Code::UnknownField, detail)
                .with_allowed(unknown, ["flows"])
        })
        .collect();
    let mut flows = Vec::new();
    match list {
        Some(Value::Array(list)) => {
            for (index, flow) in list.into_iter().enumerate() {
                let pointer = pointer_to("/flows", index);
                match flow_of_set(&pointer, flow) {
                    Ok(flow) => flows.push(flow),
                    Err(mistakes) => {
                        errors.extend(mistakes.into_iter().map(|error| error.under(&pointer)));
                    }
                }
            }
        }
        Some(_) => errors.push(FieldError::new(
            "/flows",
            Code::WrongType,
            "a list of flows is wanted",
        )),
        None => errors.push(FieldError::new(
            "/flows",
            Code::MissingField,
            "a flow set lists all its flows; [] is none",
        )),
    }
    if errors.is_empty() {
        Ok(flows)
    } else {
        Err(errors)
    }
}

fn flow_of_set(pointer: &str, mut flow: Value) -> Result<Member, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut word = |name: &str| match flow.as_object_mut().and_then(|flow| flow.remove(name)) {
        Some(Value::String(text)) => text,
        given => {
            let code = given.map_or(Code::MissingField, |_| Code::WrongType);
            let detail = format!("the flow's {name} is wanted, a text");
            errors.push(FieldError::new(pointer_to("", name), code, detail));
            String::new()
        }
    };
    let (switch, name) = (word("switch"), word("name"));
    if let Value::Object(members) = &mut flow {
        for computed in COMPUTED {
            members.remove(computed);
        }
    }
    if errors.is_empty() && !object::is_name(&switch) {
        let detail = format!("there is no switch {switch}");
        errors.push(FieldError::new("/switch", Code::NoSuchSwitch, detail));
    }
    if errors.is_empty() && !object::is_name(&name) {
        errors.push(FieldError::new(
            "/name",
            Code::InvalidName,
            object::NAME_RULE,
        ));
    }
    if errors.is_empty() {
        Ok(Member {
            place: Place::new(Kind::Flow, &[&switch, &name]),
            pointer: pointer.to_owned(),
            spec: flow,
        })
    } else {
        Err(errors)
    }
}
