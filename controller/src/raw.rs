//! Raw table entries: what a user says about one entry of one table, typed by the pipeline's P4Info.
//!
//! An [`EntrySpec`] is the body of a `PUT`, the stored document and the answer's normal form. Values are written as in
//! flows; nothing is inferred, and an entry becomes exactly one entry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weft_proto::codec;
use weft_proto::schema::{ActionSchema, Schema, TableSchema};
use weft_proto::vocab::{
    ActionCall, EntryKey, FieldId, FieldMatch, MatchKind, TableAction, TableEntry, WeightedAction,
};

use crate::flow::text::{Form, Pattern, Ports, parse, print};
use crate::problem::{Code, FieldError, pointer_to};

/// One entry of one table, as users write it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntrySpec {
    /// 1 and up, the largest that matches wins; only where the table orders its entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Key fields by name. Exact fields must be there; others that are left out are any.
    #[serde(default)]
    pub r#match: BTreeMap<String, Value>,
    /// What the entry does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionSpec>,
    /// The same where a hash chooses one of several actions for each flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_set: Option<Vec<MemberSpec>>,
    /// The user's own words, for selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// An action with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionSpec {
    /// The action.
    pub name: String,
    /// Its arguments by name, all of them.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
}

/// One of several actions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberSpec {
    /// The action.
    pub name: String,
    /// Its arguments by name, all of them.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    /// Its share is its weight over the sum of all; 1 where it is left out.
    #[serde(default = "one")]
    pub weight: u32,
    /// The member counts only while this port is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_port: Option<Value>,
}

fn one() -> u32 {
    1
}

/// Compiles an entry; also gives the spec in normal form. Compiling the normal form gives the same again.
///
/// # Errors
///
/// Every mistake in the spec, not just the first.
pub fn compile(
    schema: &Schema,
    ports: &Ports,
    table: &TableSchema,
    spec: &EntrySpec,
) -> Result<(EntrySpec, TableEntry), Vec<FieldError>> {
    let mut reader = Reader {
        schema,
        ports,
        table,
        errors: Vec::new(),
    };
    let (shown, matches) = reader.matches(&spec.r#match);
    let priority = reader.priority(spec.priority);
    let action = reader.action(spec);
    let errors = reader.errors;
    let Some((action, spec_action, spec_set)) = action.filter(|_| errors.is_empty()) else {
        return Err(errors);
    };
    let entry = TableEntry {
        key: EntryKey {
            table: table.id,
            matches,
            priority,
        },
        action: Some(action),
        metadata: Vec::new(),
        is_default: false,
        idle_timeout_ns: 0,
    };
    // What the switch would refuse by P4Runtime's rules is refused here.
    if let Err(error) = codec::decode_entry(schema, &codec::encode_entry(schema, &entry)) {
        let mistake = FieldError::new("", Code::WrongFormat, error.to_string());
        return Err(vec![mistake]);
    }
    let normalised = EntrySpec {
        priority: spec.priority,
        r#match: shown,
        action: spec_action,
        action_set: spec_set,
        labels: spec.labels.clone(),
    };
    Ok((normalised, entry))
}

type Action = (TableAction, Option<ActionSpec>, Option<Vec<MemberSpec>>);

struct Reader<'s> {
    schema: &'s Schema,
    ports: &'s Ports,
    table: &'s TableSchema,
    errors: Vec<FieldError>,
}

impl Reader<'_> {
    fn mistake(&mut self, pointer: &str, code: Code, detail: impl Into<String>) {
        self.errors.push(FieldError::new(pointer, code, detail));
    }

    fn matches(
        &mut self,
        given: &BTreeMap<String, Value>,
    ) -> (BTreeMap<String, Value>, BTreeMap<FieldId, FieldMatch>) {
        let table = self.table;
        let (mut shown, mut matches) = (BTreeMap::new(), BTreeMap::new());
        if table.fields.is_empty() {
            let detail = format!("table {} has no key, and so no entries", table.name);
            self.mistake("/match", Code::NotSupported, detail);
        }
        for (name, value) in given {
            let pointer = pointer_to("/match", name);
            let Some(field) = table.field_by_name(name) else {
                let names = table.fields.iter().map(|field| field.name.as_str());
                let detail = format!("table {} has no match field {name}", table.name);
                let error = FieldError::new(pointer, Code::UnknownField, detail);
                self.errors.push(error.with_allowed(name, names));
                continue;
            };
            let form = Form::of_field(field);
            match parse(&form, self.ports, value) {
                Ok(pattern) => {
                    if let Some(wanted) = pattern.to_match(&form) {
                        matches.insert(field.id, wanted);
                        shown.insert(name.clone(), print(&form, self.ports, pattern));
                    }
                }
                Err(error) => self.errors.push(error.under(&pointer)),
            }
        }
        for field in &table.fields {
            if field.kind == MatchKind::Exact && !given.contains_key(&field.name) {
                let detail = format!("table {} matches {} exactly", table.name, field.name);
                let pointer = pointer_to("/match", &field.name);
                self.mistake(&pointer, Code::MissingField, detail);
            }
        }
        (shown, matches)
    }

    fn priority(&mut self, given: Option<i32>) -> i32 {
        let name = &self.table.name;
        match (given, self.table.needs_priority()) {
            (Some(priority), true) if priority > 0 => return priority,
            (Some(_), true) => {
                self.mistake("/priority", Code::OutOfRange, "a priority is 1 or more");
            }
            (None, true) => {
                let detail = format!("entries of table {name} are ordered by priority, 1 or more");
                self.mistake("/priority", Code::MissingField, detail);
            }
            (Some(_), false) => {
                let detail = format!("entries of table {name} have no priority");
                self.mistake("/priority", Code::UnknownField, detail);
            }
            (None, false) => {}
        }
        0
    }

    fn action(&mut self, spec: &EntrySpec) -> Option<Action> {
        let name = &self.table.name;
        match (&spec.action, &spec.action_set, self.table.profile.is_some()) {
            (Some(action), None, false) => {
                let (call, shown) = self.call("/action", &action.name, &action.params)?;
                Some((TableAction::Call(call), Some(shown), None))
            }
            (None, Some(set), true) => self.action_set(set),
            (_, Some(_), false) => {
                let detail = format!("entries of table {name} have one action");
                self.mistake("/actionSet", Code::UnknownField, detail);
                None
            }
            (Some(_), _, true) => {
                let detail = format!("entries of table {name} have an actionSet");
                self.mistake("/action", Code::UnknownField, detail);
                None
            }
            (None, None, is_set) => {
                let pointer = if is_set { "/actionSet" } else { "/action" };
                self.mistake(pointer, Code::MissingField, "an entry does something");
                None
            }
        }
    }

    fn action_set(&mut self, given: &[MemberSpec]) -> Option<Action> {
        if given.is_empty() {
            self.mistake(
                "/actionSet",
                Code::OutOfRange,
                "a set has an action at least",
            );
            return None;
        }
        let (mut members, mut shown) = (Vec::new(), Vec::new());
        for (index, member) in given.iter().enumerate() {
            let pointer = pointer_to("/actionSet", index);
            if member.weight == 0 {
                let pointer = pointer_to(&pointer, "weight");
                self.mistake(&pointer, Code::OutOfRange, "a weight is 1 or more");
            }
            let form = Form::port();
            let watch = member.watch_port.as_ref();
            let watch = match watch.map(|port| parse(&form, self.ports, port)).transpose() {
                Ok(watch) => watch,
                Err(error) => {
                    self.errors
                        .push(error.under(&pointer_to(&pointer, "watchPort")));
                    None
                }
            };
            let Some((call, action)) = self.call(&pointer, &member.name, &member.params) else {
                continue;
            };
            shown.push(MemberSpec {
                name: action.name,
                params: action.params,
                weight: member.weight,
                watch_port: watch.map(|port| print(&form, self.ports, port)),
            });
            members.push(WeightedAction {
                call,
                weight: member.weight,
                watch_port: watch.and_then(value).map(port),
            });
        }
        Some((TableAction::OneShot(members), None, Some(shown)))
    }

    fn call(
        &mut self,
        pointer: &str,
        name: &str,
        given: &BTreeMap<String, Value>,
    ) -> Option<(ActionCall, ActionSpec)> {
        let schema = self.schema;
        let possible = self.table.actions.iter().filter(|action| action.in_entries);
        let possible: Vec<&ActionSchema> = possible
            .filter_map(|action| schema.action(action.id))
            .collect();
        let Some(action) = possible.iter().find(|action| action.name == name) else {
            let detail = format!("entries of table {} have no action {name}", self.table.name);
            let names = possible.iter().map(|action| action.name.as_str());
            let error = FieldError::new(pointer_to(pointer, "name"), Code::UnknownAction, detail);
            self.errors.push(error.with_allowed(name, names));
            return None;
        };
        let pointer = pointer_to(pointer, "params");
        for unknown in given
            .keys()
            .filter(|name| action.param_by_name(name).is_none())
        {
            let names = action.params.iter().map(|param| param.name.as_str());
            let detail = format!("action {name} has no parameter {unknown}");
            let error = FieldError::new(pointer_to(&pointer, unknown), Code::UnknownField, detail);
            self.errors.push(error.with_allowed(unknown, names));
        }
        let (mut params, mut shown) = (Vec::new(), BTreeMap::new());
        for param in &action.params {
            let pointer = pointer_to(&pointer, &param.name);
            let Some(text) = given.get(&param.name) else {
                let detail = format!("action {name} wants {}", param.name);
                self.mistake(&pointer, Code::MissingField, detail);
                continue;
            };
            let form = Form::of_param(param);
            match parse(&form, self.ports, text) {
                Ok(pattern) => {
                    params.extend(value(pattern).map(|value| (param.id, value)));
                    shown.insert(param.name.clone(), print(&form, self.ports, pattern));
                }
                Err(error) => self.errors.push(error.under(&pointer)),
            }
        }
        params.sort_unstable();
        let spec = ActionSpec {
            name: name.to_owned(),
            params: shown,
        };
        Some((
            ActionCall {
                action: action.id,
                params,
            },
            spec,
        ))
    }
}

/// The value of a pattern that is exact.
fn value(pattern: Pattern) -> Option<u128> {
    match pattern {
        Pattern::Masked { value, .. } => Some(value),
        Pattern::Range { .. } => None,
    }
}

fn port(number: u128) -> weft_proto::vocab::PortNo {
    weft_proto::vocab::PortNo(u32::try_from(number).unwrap_or_default())
}
