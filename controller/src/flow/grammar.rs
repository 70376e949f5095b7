//! What flows of a pipeline can say, read from its annotations.
//!
//! | on | annotation | meaning |
//! |---|---|---|
//! | table | `@weft_flows` | flows become entries of this table |
//! | key | `@requires(F=V|W)` | the field means something only where field `F` has one of the values |
//! | key | `@names(WORD=V,…)` | words that users may write for values |
//! | action | `@weft_flow(WORD)` | the action does what the word says and nothing else; `edit` is the general one |
//! | parameter of `edit` | `@edits` with `@bit(WORD,N)` | a bit set: which edits apply |
//! | | `@set(F,N)` | the value that field `F` is set to, if bit `N` of the edits is set |
//! | | `@arg(WORD)` | the argument of that edit or verdict |
//! | | `@verdict(WORD=V,…)` | what becomes of the packet after the edits |

use std::collections::BTreeMap;

use weft_proto::schema::{
    ActionSchema, FieldSchema, ParamSchema, Schema, TableSchema, annotations,
};

use super::text::Form;

/// The verdict that takes ports.
pub(super) const OUTPUT: &str = "output";
/// The verdict that takes a group; flows reach it by several outputs.
pub(super) const MULTICAST: &str = "multicast";
/// The verdict that takes the number of a group that chooses.
pub(super) const GROUP: &str = "group";
/// The edit that takes a meter.
pub(super) const METER: &str = "meter";
/// The general action.
const EDIT: &str = "edit";

/// The flow table of a pipeline, and the words of its actions.
#[derive(Debug)]
pub(super) struct Grammar<'s> {
    pub(super) table: &'s TableSchema,
    pub(super) fields: BTreeMap<&'s str, Field<'s>>,
    /// Actions that do one thing, by word.
    pub(super) simple: BTreeMap<&'s str, &'s ActionSchema>,
    pub(super) edit: Option<Edit<'s>>,
}

/// A match field.
#[derive(Debug)]
pub(super) struct Field<'s> {
    pub(super) schema: &'s FieldSchema,
    pub(super) form: Form<'s>,
    pub(super) requires: Vec<Requirement<'s>>,
}

/// A field of which one value must hold.
#[derive(Clone, Debug)]
pub(super) struct Requirement<'s> {
    pub(super) field: &'s str,
    pub(super) values: Vec<u128>,
}

/// The general action: edits, then a verdict.
#[derive(Debug)]
pub(super) struct Edit<'s> {
    pub(super) action: &'s ActionSchema,
    pub(super) edits: &'s ParamSchema,
    /// Edits without a field, by word: their bits.
    pub(super) bits: BTreeMap<&'s str, u32>,
    /// Fields that can be written.
    pub(super) sets: BTreeMap<&'s str, Set<'s>>,
    /// Arguments of edits and verdicts, by word.
    pub(super) args: BTreeMap<&'s str, &'s ParamSchema>,
    pub(super) verdict: &'s ParamSchema,
    pub(super) verdicts: BTreeMap<&'s str, u128>,
}

/// A field that can be written.
#[derive(Debug)]
pub(super) struct Set<'s> {
    pub(super) param: &'s ParamSchema,
    pub(super) bit: u32,
}

impl<'s> Grammar<'s> {
    /// Reads the annotations; `None` where the pipeline has no flow table.
    pub(super) fn new(schema: &'s Schema) -> Option<Self> {
        let table = schema
            .tables()
            .find(|table| annotations::has(&table.annotations, "weft_flows"))?;
        let fields = table
            .fields
            .iter()
            .map(|field| (field.name.as_str(), Field::new(field)))
            .collect();
        let mut simple = BTreeMap::new();
        let mut edit = None;
        for action in table.actions.iter().filter(|action| action.in_entries) {
            let Some(action) = schema.action(action.id) else {
                continue;
            };
            for word in annotations::get(&action.annotations, "weft_flow") {
                if word == EDIT {
                    edit = Edit::new(action);
                } else {
                    simple.insert(word, action);
                }
            }
        }
        Some(Self {
            table,
            fields,
            simple,
            edit,
        })
    }

    /// Verdicts that stand alone in an action list, such as `drop`.
    pub(super) fn words(&self) -> impl Iterator<Item = &'s str> {
        let of_edit = self.edit.iter().flat_map(|edit| edit.verdicts.keys());
        let mut words: Vec<_> = self.simple.keys().chain(of_edit).copied().collect();
        words.sort_unstable();
        words.dedup();
        words
            .into_iter()
            .filter(|word| ![OUTPUT, MULTICAST, GROUP].contains(word))
    }

    /// How a list says each action, for messages: `drop`, `{output: …}`.
    pub(super) fn phrases(&self) -> Vec<String> {
        let mut phrases: Vec<_> = self.words().map(str::to_owned).collect();
        phrases.push(OUTPUT.to_owned());
        if self.has(GROUP) {
            phrases.push(GROUP.to_owned());
        }
        if let Some(edit) = &self.edit {
            if !edit.sets.is_empty() {
                phrases.push("set".to_owned());
            }
            phrases.extend(edit.bits.keys().map(|word| camel(word)));
        }
        phrases
    }

    /// How many ports one flow can leave by: one, or many through groups.
    pub(super) fn has(&self, verdict: &str) -> bool {
        self.simple.contains_key(verdict)
            || (self.edit.as_ref()).is_some_and(|edit| edit.verdicts.contains_key(verdict))
    }
}

impl<'s> Field<'s> {
    fn new(schema: &'s FieldSchema) -> Self {
        Self {
            schema,
            form: Form::of_field(schema),
            requires: annotations::get(&schema.annotations, "requires")
                .filter_map(|text| {
                    let (field, values) = text.split_once('=')?;
                    let values = values.split('|').map(number).collect::<Option<_>>()?;
                    Some(Requirement {
                        field: field.trim(),
                        values,
                    })
                })
                .collect(),
        }
    }
}

impl<'s> Edit<'s> {
    fn new(action: &'s ActionSchema) -> Option<Self> {
        let mut bits = BTreeMap::new();
        let mut sets = BTreeMap::new();
        let mut args = BTreeMap::new();
        let (mut edits, mut verdict) = (None, None);
        for param in &action.params {
            if annotations::has(&param.annotations, "edits") {
                edits = Some(param);
                bits.extend(annotations::get(&param.annotations, "bit").filter_map(word_and_bit));
            }
            for (field, bit) in annotations::get(&param.annotations, "set").filter_map(word_and_bit)
            {
                sets.insert(field, Set { param, bit });
            }
            for word in annotations::get(&param.annotations, "arg") {
                args.insert(word, param);
            }
            if let Some(text) = annotations::get(&param.annotations, "verdict").next() {
                verdict = Some((param, pairs(text)));
            }
        }
        let (verdict, verdicts) = verdict?;
        Some(Self {
            action,
            edits: edits?,
            bits,
            sets,
            args,
            verdict,
            verdicts: verdicts.into_iter().collect(),
        })
    }
}

/// `pop_vlan` as the API says it: `popVlan`.
pub(super) fn camel(word: &str) -> String {
    let mut parts = word.split('_');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut chars = part.chars();
        text.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        text.push_str(chars.as_str());
    }
    text
}

/// `WORD=V,WORD=V`.
pub(super) fn pairs(text: &str) -> Vec<(&str, u128)> {
    annotations::split(text)
        .into_iter()
        .filter_map(|pair| {
            let (word, value) = pair.split_once('=')?;
            Some((word.trim(), number(value)?))
        })
        .collect()
}

/// `WORD,N`.
fn word_and_bit(text: &str) -> Option<(&str, u32)> {
    let (word, bit) = text.split_once(',')?;
    let bit: u32 = bit.trim().parse().ok()?;
    (bit < u128::BITS).then_some((word.trim(), bit))
}

/// A decimal number, or a hexadecimal one with `0x`.
pub(super) fn number(text: &str) -> Option<u128> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u128::from_str_radix(digits, 16).ok(),
        None if !text.starts_with('+') => text.parse().ok(),
        _ => None,
    }
}
