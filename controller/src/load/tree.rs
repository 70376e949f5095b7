//! A document as a tree that remembers where each part stood, and that every spec can be read from.
//!
//! YAML and JSON both become a [`Tree`]. Unlike a value of `serde_json` it keeps the order of keys, the place of each key and
//! value, and how a plain scalar was written: `cmd: [sleep, 5]` gives the text `5` where a text is wanted.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de;
use serde_saphyr::{Location, Spanned};

/// Deepest nesting. No spec goes below 12, and the YAML reader takes some 40 KiB of stack for each level.
pub(super) const MAX_DEPTH: usize = 24;

/// Most values, keys included.
pub(super) const MAX_VALUES: usize = 200_000;

/// Most anchors that aliases can name.
pub(super) const MAX_ANCHORS: usize = 1_000;

/// Where something stands in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Length in characters.
    pub len: usize,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    /// The value.
    pub(crate) value: Value,
    /// Its place; `None` for what came from JSON.
    pub(crate) at: Option<Span>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// Anything but a text; `raw` is how YAML wrote it.
    Scalar {
        /// The value.
        value: Scalar,
        /// As written, where it was written as a plain scalar.
        raw: Option<String>,
    },
    /// A text.
    Text(String),
    /// A list; each element with its place in the document, which stays when elements before it are taken out.
    List(Vec<(usize, Tree)>),
    /// A map in the order of the document.
    Map(Vec<(Key, Tree)>),
}

/// A scalar that is not a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar {
    /// A truth value.
    Bool(bool),
    /// A whole number, 0 or more.
    Unsigned(u64),
    /// A whole number below 0.
    Signed(i64),
    /// Any other number.
    Float(f64),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    /// The key.
    pub(crate) text: String,
    /// Its place.
    pub(crate) at: Option<Span>,
}

/// One step of a path into a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a map.
    Key(String),
    /// Into a list, counting what is still there.
    Nth(usize),
}

impl Tree {
    /// Reads one YAML document within the limits of this crate.
    pub(crate) fn from_yaml(text: &str) -> Result<Self, serde_saphyr::Error> {
        let options = serde_saphyr::options! {
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_depth: MAX_DEPTH,
                max_events: 2 * MAX_VALUES,
                max_nodes: MAX_VALUES,
                max_aliases: 10_000,
                max_anchors: MAX_ANCHORS,
                max_documents: 1,
            },
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: 100_000,
                max_replay_stack_depth: 16,
            },
        };
        let spanned: Spanned<Parsed> = serde_saphyr::from_str_with_options(text, options)?;
        Ok(finish(spanned, text))
    }

    /// The lines of a map's keys, by their pointers.
    pub(crate) fn lines_below(&self, pointer: &str) -> BTreeMap<String, usize> {
        let (_, part, found) = self.locate(pointer);
        let entries = match &part.value {
            Value::Map(entries) if found => entries.as_slice(),
            _ => &[],
        };
        let lines = entries.iter().filter_map(|(key, _)| {
            let below = crate::problem::pointer_to(pointer, &key.text);
            Some((below, key.at?.line))
        });
        lines.collect()
    }

    /// The line of a part, or of the nearest part around it that exists.
    pub(crate) fn line(&self, pointer: &str) -> Option<usize> {
        let (key, part, _) = self.locate(pointer);
        let at = key.and_then(|key| key.at).or(part.at)?;
        Some(at.line)
    }

    /// The part at a JSON pointer, or the nearest part around it that exists; with the key that leads to it.
    pub(crate) fn locate(&self, pointer: &str) -> (Option<&Key>, &Self, bool) {
        let (mut key, mut tree) = (None, self);
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let next = match &tree.value {
                Value::Map(entries) => entries
                    .iter()
                    .find(|(key, _)| key.text == token)
                    .map(|(key, tree)| (Some(key), tree)),
                Value::List(items) => token
                    .parse()
                    .ok()
                    .and_then(|index: usize| {
                        let there = items.get(index).filter(|(at, _)| *at == index);
                        there.or_else(|| items.iter().find(|(at, _)| *at == index))
                    })
                    .map(|(_, tree)| (None, tree)),
                Value::Null | Value::Scalar { .. } | Value::Text(_) => None,
            };
            let Some(next) = next else {
                return (key, tree, false);
            };
            (key, tree) = next;
        }
        (key, tree, true)
    }

    /// The pointer, with places as in the document, of a path of steps; steps past the end of the tree are kept.
    pub(crate) fn pointer(&self, steps: &[Step]) -> String {
        let mut pointer = String::new();
        let mut tree = Some(self);
        for step in steps {
            let token;
            (token, tree) = match (step, tree.map(|tree| &tree.value)) {
                (Step::Key(key), Some(Value::Map(entries))) => (
                    key.clone(),
                    entries
                        .iter()
                        .find(|(k, _)| k.text == *key)
                        .map(|(_, tree)| tree),
                ),
                (Step::Nth(n), Some(Value::List(items))) => match items.get(*n) {
                    Some((index, tree)) => (index.to_string(), Some(tree)),
                    None => (n.to_string(), None),
                },
                (Step::Key(key), _) => (key.clone(), None),
                (Step::Nth(n), _) => (n.to_string(), None),
            };
            pointer = crate::problem::pointer_to(&pointer, token);
        }
        pointer
    }

    /// How many values it has, itself included.
    pub(crate) fn size(&self) -> usize {
        let below: usize = match &self.value {
            Value::List(items) => items.iter().map(|(_, tree)| tree.size()).sum(),
            Value::Map(entries) => entries.iter().map(|(_, tree)| tree.size()).sum(),
            Value::Null | Value::Scalar { .. } | Value::Text(_) => 0,
        };
        1 + below
    }

    /// Takes every key that begins with `x-` out of the map that a path leads into; `false` where there is none.
    pub(crate) fn take_out_extensions(&mut self, steps: &[Step]) -> bool {
        let Some((_, parents)) = steps.split_last() else {
            return false;
        };
        let Some(Self {
            value: Value::Map(entries),
            ..
        }) = self.at_mut(parents)
        else {
            return false;
        };
        let before = entries.len();
        entries.retain(|(key, _)| !key.text.starts_with("x-"));
        entries.len() < before
    }

    /// Takes the part at the end of a path out; `false` where there is none, or it is the whole.
    pub(crate) fn take_out(&mut self, steps: &[Step]) -> bool {
        let Some((last, parents)) = steps.split_last() else {
            return false;
        };
        let Some(tree) = self.at_mut(parents) else {
            return false;
        };
        match (last, &mut tree.value) {
            (Step::Key(key), Value::Map(entries)) => {
                let before = entries.len();
                entries.retain(|(k, _)| k.text != *key);
                entries.len() < before
            }
            (Step::Nth(n), Value::List(items)) if *n < items.len() => {
                items.remove(*n);
                true
            }
            _ => false,
        }
    }

    fn at_mut(&mut self, steps: &[Step]) -> Option<&mut Self> {
        let mut tree = self;
        for step in steps {
            tree = match (step, &mut tree.value) {
                (Step::Key(key), Value::Map(entries)) => entries
                    .iter_mut()
                    .find(|(k, _)| k.text == *key)
                    .map(|(_, tree)| tree),
                (Step::Nth(n), Value::List(items)) => items.get_mut(*n).map(|(_, tree)| tree),
                _ => None,
            }?;
        }
        Some(tree)
    }
}

impl From<serde_json::Value> for Tree {
    fn from(value: serde_json::Value) -> Self {
        let scalar = |value| Value::Scalar { value, raw: None };
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => scalar(Scalar::Bool(value)),
            serde_json::Value::Number(number) => scalar(match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Scalar::Unsigned(value),
                (None, Some(value)) => Scalar::Signed(value),
                (None, None) => Scalar::Float(number.as_f64().unwrap_or(f64::NAN)),
            }),
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Array(items) => {
                Value::List(items.into_iter().map(Self::from).enumerate().collect())
            }
            serde_json::Value::Object(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(text, value)| (Key { text, at: None }, Self::from(value)))
                    .collect(),
            ),
        };
        Self { value, at: None }
    }
}

/// What the YAML reader hands over, before places are looked up in the text.
enum Parsed {
    Null,
    Scalar(Scalar),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Parsed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<Parsed, E> {
                Ok(Parsed::Null)
            }

            fn visit_none<E>(self) -> Result<Parsed, E> {
                Ok(Parsed::Null)
            }

            fn visit_some<D: de::Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Parsed, D::Error> {
                Parsed::deserialize(deserializer)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Parsed, E> {
                Ok(Parsed::Scalar(Scalar::Bool(value)))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Parsed, E> {
                Ok(Parsed::Scalar(Scalar::Unsigned(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Parsed, E> {
                Ok(Parsed::Scalar(
                    u64::try_from(value).map_or(Scalar::Signed(value), Scalar::Unsigned),
                ))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Parsed, E> {
                Ok(Parsed::Scalar(Scalar::Float(value)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Parsed, E> {
                Ok(Parsed::Text(text.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Parsed, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Parsed::List(items))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Parsed::Map(entries))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

fn finish(parsed: Spanned<Parsed>, text: &str) -> Tree {
    let at = span(parsed.referenced);
    let value = match parsed.value {
        Parsed::Null => Value::Null,
        Parsed::Scalar(value) => Value::Scalar {
            value,
            raw: plain(parsed.defined, text),
        },
        Parsed::Text(text) => Value::Text(text),
        Parsed::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| finish(item, text))
                .enumerate()
                .collect(),
        ),
        Parsed::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    (
                        Key {
                            at: span(key.referenced),
                            text: key.value,
                        },
                        finish(value, text),
                    )
                })
                .collect(),
        ),
    };
    Tree { value, at }
}

pub(crate) fn span(location: Location) -> Option<Span> {
    let at = |number: u64| usize::try_from(number).ok();
    (location != Location::UNKNOWN).then(|| Span {
        line: at(location.line()).unwrap_or(1),
        column: at(location.column()).unwrap_or(1),
        len: at(location.span().len()).unwrap_or(1),
    })
}

/// The text of a plain scalar as it stands in the document.
fn plain(location: Location, text: &str) -> Option<String> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let len = usize::try_from(span.byte_len()?).ok()?;
    text.get(start..start.checked_add(len)?)
        .map(|raw| raw.trim().to_owned())
}
