//! The match of a flow: values, prerequisites, and the combinations that become entries.
//!
//! `tcp_dst` says nothing about which protocols carry it; the key's `@requires` do. Each field has a *domain*: what the
//! user wrote, narrowed by every requirement on it. An empty domain is a mistake; a domain of several values becomes
//! several entries.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use weft_proto::vocab::{FieldId, FieldMatch};

use crate::problem::{Code, FieldError, pointer_to};

use super::grammar::Grammar;
use super::text::{self, Pattern, Ports};

/// Most entries that one flow may become.
pub const MAX_ENTRIES: usize = 256;

/// A compiled match.
#[derive(Debug, Default)]
pub(super) struct Matching {
    pub(super) normalised: BTreeMap<String, Value>,
    /// One for each entry.
    pub(super) matches: Vec<BTreeMap<FieldId, FieldMatch>>,
    /// What may hold in each field that the match restricts.
    pub(super) domains: BTreeMap<String, Vec<Pattern>>,
}

pub(super) fn compile(
    grammar: &Grammar<'_>,
    ports: &Ports,
    switch: &str,
    given: &BTreeMap<String, Value>,
    errors: &mut Vec<FieldError>,
) -> Matching {
    let before = errors.len();
    let mut domains: BTreeMap<String, Vec<Pattern>> = BTreeMap::new();
    for (name, value) in given {
        let pointer = pointer_to("/match", name);
        let Some(field) = grammar.fields.get(name.as_str()) else {
            errors.push(
                FieldError::new(
                    pointer,
                    Code::UnknownField,
                    format!(
                        "table {} of {switch} has no match field {name}",
                        grammar.table.name
                    ),
                )
                .with_allowed(name, grammar.fields.keys().copied()),
            );
            continue;
        };
        let mut domain = Vec::new();
        let mut read = |pointer: &str, value: &Value| match text::parse(&field.form, ports, value) {
            Ok(pattern) if domain.contains(&pattern) => {}
            Ok(pattern) => domain.push(pattern),
            Err(error) => errors.push(error.under(pointer)),
        };
        match value {
            Value::Array(values) if values.is_empty() => errors.push(FieldError::new(
                pointer,
                Code::WrongFormat,
                "an empty list matches nothing; leave the field out to match everything",
            )),
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    read(&pointer_to(&pointer, index), value);
                }
            }
            value => read(&pointer, value),
        }
        domains.insert(name.clone(), domain);
    }
    if errors.len() > before {
        return Matching::default();
    }
    if let Err(error) = infer(grammar, &mut domains) {
        errors.push(error);
        return Matching::default();
    }
    let count = domains
        .values()
        .map(Vec::len)
        .try_fold(1_usize, usize::checked_mul);
    if count.is_none_or(|count| count > MAX_ENTRIES) {
        errors.push(FieldError::new(
            "/match",
            Code::OutOfRange,
            format!("the lists combine to more than {MAX_ENTRIES} entries"),
        ));
        return Matching::default();
    }
    Matching {
        normalised: domains
            .iter()
            .map(|(name, domain)| (name.clone(), print(grammar, ports, name, domain)))
            .collect(),
        matches: product(grammar, &domains),
        domains,
    }
}

/// Narrows the domains by the requirements of every field that is restricted, and of those that this restricts.
fn infer(
    grammar: &Grammar<'_>,
    domains: &mut BTreeMap<String, Vec<Pattern>>,
) -> Result<(), FieldError> {
    let mut queue: Vec<String> = domains.keys().cloned().collect();
    let mut done = BTreeSet::new();
    let mut narrowed_by: BTreeMap<&str, String> = BTreeMap::new();
    while let Some(name) = queue.pop() {
        if !done.insert(name.clone()) {
            continue;
        }
        let Some(field) = grammar.fields.get(name.as_str()) else {
            continue;
        };
        for requirement in &field.requires {
            let key = requirement.field;
            let Some(target) = grammar.fields.get(key) else {
                continue;
            };
            let domain = domains.get(key);
            let allows = |value: u128| {
                domain.is_none_or(|domain| domain.iter().any(|pattern| pattern.matches(value)))
            };
            let narrowed: Vec<_> = (requirement.values.iter().copied())
                .filter(|value| allows(*value))
                .map(|value| Pattern::exact(value, target.schema.bits))
                .collect();
            if narrowed.is_empty() {
                let wanted: Vec<_> = (requirement.values.iter())
                    .map(|value| {
                        let pattern = Pattern::exact(*value, target.schema.bits);
                        plain(&text::print(&target.form, &Ports::new(), pattern))
                    })
                    .collect();
                let against = narrowed_by.get(key).map_or_else(
                    || format!("the match gives {key} another value"),
                    |other| format!("{other} needs another {key}"),
                );
                return Err(FieldError::new(
                    pointer_to("/match", &name),
                    Code::ImpossibleMatch,
                    format!("{name} needs {key} {}, but {against}", wanted.join(" or ")),
                ));
            }
            domains.insert(key.to_owned(), narrowed);
            narrowed_by.entry(key).or_insert_with(|| name.clone());
            queue.push(key.to_owned());
        }
    }
    Ok(())
}

/// Why a field cannot be set on the packets of a match, where that is certain.
pub(super) fn excludes(
    grammar: &Grammar<'_>,
    domains: &BTreeMap<String, Vec<Pattern>>,
    field: &str,
) -> Option<String> {
    let culprit = culprit(grammar, domains, field, MAX_DEPTH)?;
    Some(format!(
        "no packet of this match has {field}: its {culprit} says otherwise"
    ))
}

/// The longest chain of requirements that is followed; annotations might go in circles.
const MAX_DEPTH: usize = 8;

/// The field of the match that a requirement of `field` contradicts.
fn culprit<'s>(
    grammar: &Grammar<'s>,
    domains: &BTreeMap<String, Vec<Pattern>>,
    field: &str,
    depth: usize,
) -> Option<&'s str> {
    let requires = &grammar.fields.get(field)?.requires;
    requires.iter().find_map(|requirement| {
        let Some(domain) = domains.get(requirement.field) else {
            let depth = depth.checked_sub(1)?;
            return culprit(grammar, domains, requirement.field, depth);
        };
        let holds = |value: &u128| domain.iter().any(|pattern| pattern.matches(*value));
        (!requirement.values.iter().any(holds)).then_some(requirement.field)
    })
}

/// Every combination of the domains' values.
fn product(
    grammar: &Grammar<'_>,
    domains: &BTreeMap<String, Vec<Pattern>>,
) -> Vec<BTreeMap<FieldId, FieldMatch>> {
    let mut matches = vec![BTreeMap::new()];
    for (name, domain) in domains {
        let Some(field) = grammar.fields.get(name.as_str()) else {
            continue;
        };
        matches = matches
            .iter()
            .flat_map(|sofar| {
                domain.iter().map(|pattern| {
                    let mut next: BTreeMap<FieldId, FieldMatch> = sofar.clone();
                    if let Some(wanted) = pattern.to_match(&field.form) {
                        next.insert(field.schema.id, wanted);
                    }
                    next
                })
            })
            .collect();
    }
    let unique: BTreeSet<_> = matches.into_iter().collect();
    unique.into_iter().collect()
}

fn print(grammar: &Grammar<'_>, ports: &Ports, name: &str, domain: &[Pattern]) -> Value {
    let Some(field) = grammar.fields.get(name) else {
        return Value::Null;
    };
    let mut values: Vec<_> = domain
        .iter()
        .map(|pattern| text::print(&field.form, ports, *pattern))
        .collect();
    match values.len() {
        1 => values.remove(0),
        _ => values.into(),
    }
}

/// A value as it stands in a sentence.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
