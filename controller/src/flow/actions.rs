//! The action list of a flow: what the pipeline's actions can do of it, as one action call.
//!
//! ```text
//! [ edits and sets, in any order ] [ outputs | one verdict such as normal, drop ]
//! ```
//!
//! One call of the general action applies its edits in a fixed order: tags off, tags on, sets, the rest, verdict. A list
//! that means something else is refused, never approximated.

mod print;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use weft_proto::bytes::max_value;
use weft_proto::schema::ActionSchema;
use weft_proto::vocab::{ActionCall, MulticastGroup, MulticastGroupId, PortNo, Replica};

use crate::group::GroupTarget;
use crate::problem::{Code, FieldError, pointer_to};
use crate::resource::Kind;

use self::print::subject;
use super::References;
use super::grammar::{Edit, GROUP, Grammar, METER, MULTICAST, OUTPUT, camel};
use super::matching::{Matching, excludes};
use super::text::{self, Pattern, Ports, kind_of};

/// Words of the API for things that a pipeline may have, and what to call them.
const FEATURES: [(&str, &str); 4] = [
    ("group", "groups"),
    ("meter", "meters"),
    ("snat", "address translation"),
    ("dnat", "address translation"),
];

/// The ids of groups that flows make. All other groups are the fabric's.
pub const GROUPS: std::ops::RangeInclusive<u32> = 0x4000_0000..=0x7fff_ffff;

/// A compiled action list.
#[derive(Debug)]
pub(super) struct Actions {
    pub(super) normalised: Vec<Value>,
    pub(super) call: ActionCall,
    /// The multicast group that several outputs need.
    pub(super) copies: Option<MulticastGroup>,
    /// What was named.
    pub(super) references: Vec<(Kind, String)>,
}

pub(super) fn compile(
    grammar: &Grammar<'_>,
    ports: &Ports,
    switch: &str,
    matching: &Matching,
    given: &[Value],
    named: &dyn References,
    errors: &mut Vec<FieldError>,
) -> Option<Actions> {
    let before = errors.len();
    let mut list = List {
        grammar,
        ports,
        switch,
        matching,
        tags: BTreeMap::new(),
        order: Vec::new(),
        sets: BTreeMap::new(),
        outputs: BTreeSet::new(),
        group: None,
        meter: None,
        word: None,
        named,
    };
    for (index, action) in given.iter().enumerate() {
        list.read(&pointer_to("/actions", index), action, errors);
    }
    if errors.len() > before {
        return None;
    }
    match list.finish() {
        Ok(actions) => Some(actions),
        Err(error) => {
            errors.push(error);
            None
        }
    }
}

/// An action list while it is read.
struct List<'a, 's> {
    grammar: &'a Grammar<'s>,
    ports: &'a Ports,
    switch: &'a str,
    matching: &'a Matching,
    /// Edits without a field, with their argument.
    tags: BTreeMap<&'s str, Option<u128>>,
    /// Their order, as given.
    order: Vec<&'s str>,
    sets: BTreeMap<&'s str, u128>,
    outputs: BTreeSet<PortNo>,
    /// A group's name, and how it is reached.
    group: Option<(String, GroupTarget)>,
    /// A meter's name; its cell is among the tags.
    meter: Option<String>,
    word: Option<&'s str>,
    named: &'a dyn References,
}

impl<'s> List<'_, 's> {
    fn read(&mut self, pointer: &str, action: &Value, errors: &mut Vec<FieldError>) {
        let result = match action {
            Value::String(word) => self.read_word(pointer, word),
            Value::Object(members) if members.len() == 1 => {
                let Some((word, argument)) = members.iter().next() else {
                    return;
                };
                let inner = pointer_to(pointer, word);
                match word.as_str() {
                    OUTPUT if self.grammar.has(OUTPUT) => {
                        self.read_output(pointer, &inner, argument, errors)
                    }
                    GROUP if self.grammar.has(GROUP) => self.read_group(pointer, &inner, argument),
                    "set" => self.read_set(pointer, &inner, argument, errors),
                    _ => self.read_edit(pointer, &inner, word, argument),
                }
            }
            Value::Object(_) => Err(FieldError::new(
                pointer,
                Code::WrongFormat,
                "each element of the list is one action: an object with exactly one key",
            )),
            other => Err(FieldError::new(
                pointer,
                Code::WrongType,
                format!("expected a word or an object, found {}", kind_of(other)),
            )),
        };
        if let Err(error) = result {
            errors.push(error);
        }
    }

    fn read_word(&mut self, pointer: &str, word: &str) -> Result<(), FieldError> {
        let Some(word) = self.grammar.words().find(|known| *known == word) else {
            return Err(self.unknown(pointer, word));
        };
        if let Some(other) = self.verdict() {
            return Err(impossible(
                pointer,
                format!("{word} after {other}: the pipeline does one or the other with a packet"),
            ));
        }
        self.word = Some(word);
        Ok(())
    }

    fn read_output(
        &mut self,
        pointer: &str,
        inner: &str,
        argument: &Value,
        errors: &mut Vec<FieldError>,
    ) -> Result<(), FieldError> {
        if let Some(word) = self.verdict().filter(|word| *word != OUTPUT) {
            return Err(impossible(
                pointer,
                format!("output after {word}: the pipeline does one or the other with a packet"),
            ));
        }
        let form = text::Form::port();
        let listed: Vec<(String, &Value)> = match argument {
            Value::Array(values) => (values.iter().enumerate())
                .map(|(index, value)| (pointer_to(inner, index), value))
                .collect(),
            value => vec![(inner.to_owned(), value)],
        };
        if listed.is_empty() {
            return Err(impossible(inner, "an empty list of ports; say drop"));
        }
        for (place, value) in listed {
            match text::parse(&form, self.ports, value) {
                Ok(Pattern::Masked { value, .. }) => {
                    let port = u32::try_from(value).unwrap_or_default();
                    self.outputs.insert(PortNo(port));
                }
                Ok(Pattern::Range { .. }) => {}
                Err(error) => errors.push(error.under(&place)),
            }
        }
        Ok(())
    }

    fn read_group(
        &mut self,
        pointer: &str,
        inner: &str,
        argument: &Value,
    ) -> Result<(), FieldError> {
        if let Some(other) = self.verdict() {
            return Err(impossible(
                pointer,
                format!("group after {other}: the pipeline does one or the other with a packet"),
            ));
        }
        let (name, target) = self.find(inner, Kind::Group, argument, |n| self.named.group(n))?;
        self.group = Some((name, target));
        Ok(())
    }

    /// The cell of the meter that is named.
    fn read_meter(&mut self, inner: &str, argument: &Value) -> Result<u128, FieldError> {
        let (name, cell) = self.find(inner, Kind::Meter, argument, |n| self.named.meter(n))?;
        self.meter = Some(name);
        Ok(cell.into())
    }

    /// What is declared under a name.
    fn find<T>(
        &self,
        inner: &str,
        kind: Kind,
        argument: &Value,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<(String, T), FieldError> {
        let noun = kind.noun();
        let Value::String(name) = argument else {
            let detail = format!("expected the name of a {noun}, found {}", kind_of(argument));
            return Err(FieldError::new(inner, Code::WrongType, detail));
        };
        let found = find(name).ok_or_else(|| {
            let detail = format!("{} has no {noun} {name}", self.switch);
            let error = FieldError::new(inner, Code::NoSuchReference, detail);
            error.with_allowed(name, self.named.names(kind))
        })?;
        Ok((name.clone(), found))
    }

    fn read_set(
        &mut self,
        pointer: &str,
        inner: &str,
        argument: &Value,
        errors: &mut Vec<FieldError>,
    ) -> Result<(), FieldError> {
        let Some(edit) = self
            .grammar
            .edit
            .as_ref()
            .filter(|edit| !edit.sets.is_empty())
        else {
            return Err(self.unknown(pointer, "set"));
        };
        self.before_verdict(pointer, "set")?;
        let Value::Object(fields) = argument else {
            return Err(FieldError::new(
                inner,
                Code::WrongType,
                format!(
                    "expected an object of fields and values, found {}",
                    kind_of(argument)
                ),
            ));
        };
        if fields.is_empty() {
            return Err(FieldError::new(
                inner,
                Code::MissingField,
                "set needs at least one field",
            ));
        }
        for (name, value) in fields {
            let place = pointer_to(inner, name);
            let Some((&field, set)) = edit.sets.get_key_value(name.as_str()) else {
                let detail = if self.grammar.fields.contains_key(name.as_str()) {
                    format!("{name} can be matched but not set")
                } else {
                    format!("{} has no field {name} that can be set", self.switch)
                };
                let error = FieldError::new(place, Code::UnknownField, detail);
                errors.push(error.with_allowed(name, edit.sets.keys().copied()));
                continue;
            };
            if let Some(reason) = excludes(self.grammar, &self.matching.domains, name) {
                errors.push(impossible(&place, reason));
                continue;
            }
            let mut form = text::Form::of_param(set.param);
            if let Some(key) = self.grammar.fields.get(field) {
                form.names.extend(key.form.names.iter().copied());
            }
            match text::parse(&form, self.ports, value) {
                Ok(Pattern::Masked { value, .. }) => {
                    self.sets.insert(field, value);
                }
                Ok(Pattern::Range { .. }) => {}
                Err(error) => errors.push(error.under(&place)),
            }
        }
        Ok(())
    }

    fn read_edit(
        &mut self,
        pointer: &str,
        inner: &str,
        word: &str,
        argument: &Value,
    ) -> Result<(), FieldError> {
        let grammar = self.grammar;
        let edit = grammar.edit.as_ref();
        let known = edit.and_then(|edit| edit.bits.keys().find(|known| camel(known) == word));
        let (Some(edit), Some(&known)) = (edit, known) else {
            if grammar.words().any(|known| known == word) {
                return Err(FieldError::new(
                    pointer,
                    Code::WrongFormat,
                    format!("{word} takes no argument: write \"{word}\""),
                )
                .with_suggestion(word));
            }
            return Err(self.unknown(pointer, word));
        };
        self.before_verdict(pointer, word)?;
        if self.tags.contains_key(known) {
            return Err(impossible(
                pointer,
                format!("{word} twice: the pipeline does it once"),
            ));
        }
        let value = match edit.args.get(known) {
            Some(_) if known == METER => Some(self.read_meter(inner, argument)?),
            Some(param) => match text::parse(&text::Form::of_param(param), self.ports, argument) {
                Ok(Pattern::Masked { value, .. }) => Some(value),
                Ok(Pattern::Range { .. }) => None,
                Err(error) => return Err(error.under(inner)),
            },
            None if *argument == Value::Bool(true) => None,
            None => {
                return Err(FieldError::new(
                    inner,
                    Code::WrongType,
                    format!("{word} is true, or left out"),
                )
                .with_suggestion("true"));
            }
        };
        if let Some(later) = later(known).find(|later| self.tags.contains_key(later.as_str())) {
            return Err(impossible(
                pointer,
                format!(
                    "{word} after {}: the pipeline does them the other way round",
                    camel(&later)
                ),
            ));
        }
        if let Some(field) = self.sets.keys().find(|field| subject(known, field)) {
            return Err(impossible(
                pointer,
                format!(
                    "{word} after {field} is set: the pipeline changes tags first; set {field} after it"
                ),
            ));
        }
        self.tags.insert(known, value);
        self.order.push(known);
        Ok(())
    }

    fn before_verdict(&self, pointer: &str, word: &str) -> Result<(), FieldError> {
        self.verdict().map_or(Ok(()), |verdict| {
            Err(impossible(
                pointer,
                format!("{word} after {verdict}: packets have left by then, put it before"),
            ))
        })
    }

    fn verdict(&self) -> Option<&'s str> {
        let output = (!self.outputs.is_empty()).then_some(OUTPUT);
        let group = self.group.as_ref().map(|_| GROUP);
        self.word.or(output).or(group)
    }

    fn unknown(&self, pointer: &str, word: &str) -> FieldError {
        if let Some((_, feature)) = FEATURES.iter().find(|(known, _)| *known == word) {
            return impossible(
                pointer,
                format!("the pipeline of {} has no {feature}", self.switch),
            );
        }
        FieldError::new(
            pointer,
            Code::UnknownAction,
            format!("the pipeline of {} has no action {word}", self.switch),
        )
        .with_allowed(word, self.grammar.phrases())
    }

    fn finish(self) -> Result<Actions, FieldError> {
        let verdict = match (self.verdict(), &self.group, self.outputs.len()) {
            (None, ..) => {
                return Err(impossible(
                    "/actions",
                    format!(
                        "the list does not say what becomes of the packet; end it with one of {}",
                        self.endings().join(", ")
                    ),
                ));
            }
            (Some(OUTPUT), _, 2..) => MULTICAST,
            (_, Some((_, GroupTarget::Copies(_))), _) => MULTICAST,
            (Some(verdict), ..) => verdict,
        };
        let has_edits = !self.tags.is_empty() || !self.sets.is_empty();
        if has_edits && verdict == "drop" {
            return Err(impossible(
                "/actions",
                "changes to a packet that is dropped have no effect",
            ));
        }
        let copies = (self.outputs.len() > 1).then(|| group(&self.outputs));
        let argument = match (&self.group, &copies, self.outputs.first()) {
            (Some((_, GroupTarget::Number(number))), ..) => *number,
            (Some((_, GroupTarget::Copies(id))), ..) => id.0,
            (None, Some(group), _) => group.id.0,
            (None, None, Some(port)) => port.0,
            (None, None, None) => 0,
        };
        let argument = u128::from(argument);
        let call = if has_edits {
            None
        } else {
            (self.grammar.simple.get(verdict)).map(|action| simple_call(action, argument))
        };
        let general = || {
            let edit = self.grammar.edit.as_ref()?;
            self.general_call(edit, verdict, argument)
        };
        let Some(call) = call.or_else(general) else {
            let what = match verdict {
                MULTICAST if self.group.is_some() => GROUP,
                MULTICAST => "output to several ports",
                word => word,
            };
            let with = if has_edits { " after a change" } else { "" };
            return Err(impossible(
                "/actions",
                format!("the pipeline of {} cannot do {what}{with}", self.switch),
            ));
        };
        Ok(Actions {
            normalised: self.print(),
            call,
            copies,
            references: {
                let group = self.group.map(|(name, _)| (Kind::Group, name));
                let meter = self.meter.map(|name| (Kind::Meter, name));
                group.into_iter().chain(meter).collect()
            },
        })
    }

    fn endings(&self) -> Vec<&'s str> {
        let output = self.grammar.has(OUTPUT).then_some(OUTPUT);
        output.into_iter().chain(self.grammar.words()).collect()
    }

    fn general_call(&self, edit: &Edit<'_>, verdict: &str, argument: u128) -> Option<ActionCall> {
        let verdict_value = *edit.verdicts.get(verdict)?;
        let mut values = BTreeMap::new();
        let mut edits = 0_u128;
        for (word, value) in &self.tags {
            edits |= 1 << edit.bits.get(word)?;
            if let (Some(param), Some(value)) = (edit.args.get(word), value) {
                values.insert(param.id, *value);
            }
        }
        for (field, value) in &self.sets {
            let set = edit.sets.get(field)?;
            edits |= 1 << set.bit;
            values.insert(set.param.id, *value);
        }
        values.insert(edit.edits.id, edits);
        values.insert(edit.verdict.id, verdict_value);
        if let Some(param) = edit.args.get(verdict) {
            if argument > max_value(param.bits) {
                return None;
            }
            values.insert(param.id, argument);
        }
        let params = (edit.action.params.iter())
            .map(|param| (param.id, values.get(&param.id).copied().unwrap_or(0)));
        Some(ActionCall {
            action: edit.action.id,
            params: sorted(params),
        })
    }
}

/// A call of an action that takes the one argument, or none.
fn simple_call(action: &ActionSchema, argument: u128) -> ActionCall {
    ActionCall {
        action: action.id,
        params: sorted(action.params.iter().map(|param| (param.id, argument))),
    }
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values
}

/// Edits that come after this one in the pipeline's fixed order, of those that work on the same thing: a tag is taken
/// off before another is put on.
fn later(word: &str) -> impl Iterator<Item = String> {
    let pushed = word.strip_prefix("pop_").map(|what| format!("push_{what}"));
    pushed.into_iter()
}

/// The group that copies to these ports. Ports 1 to 29 make the id by themselves; others by a hash.
fn group(ports: &BTreeSet<PortNo>) -> MulticastGroup {
    const HASHED: u32 = 1 << 29;
    let bits = (ports.iter()).try_fold(0_u32, |bits, port| match port.0 {
        1..=29 => Some(bits | 1 << (port.0 - 1)),
        _ => None,
    });
    let low = bits.unwrap_or_else(|| {
        // FNV-1a over the port numbers.
        let bytes = ports.iter().flat_map(|port| port.0.to_be_bytes());
        let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        HASHED | (hash & (HASHED - 1))
    });
    MulticastGroup {
        id: MulticastGroupId(GROUPS.start() | low),
        replicas: (ports.iter())
            .map(|&port| Replica { port, instance: 0 })
            .collect(),
        metadata: Vec::new(),
        ..MulticastGroup::default()
    }
}

fn impossible(pointer: &str, detail: impl Into<String>) -> FieldError {
    FieldError::new(pointer, Code::ImpossibleActionList, detail)
}
