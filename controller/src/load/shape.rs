//! Reading specs from a tree by serde, with errors that keep their facts.

use std::fmt;

use serde::de::{self, IntoDeserializer};

use super::tree::{Scalar, Tree, Value};

/// Why a spec cannot be read from a tree, before it is known where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShapeError {
    Unknown { field: String, allowed: Vec<String> },
    Missing(String),
    Type { found: String, expected: String },
    Variant { found: String, allowed: Vec<String> },
    Other(String),
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { field, .. } => write!(f, "unknown key `{field}`"),
            Self::Missing(field) => write!(f, "missing key `{field}`"),
            Self::Type { found, expected } => write!(f, "expected {expected}, found {found}"),
            Self::Variant { found, .. } => write!(f, "unknown value `{found}`"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ShapeError {}

impl de::Error for ShapeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Type {
            found: describe(found),
            expected: plain(&expected.to_string()),
        }
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Other(format!(
            "{} is out of range, expected {}",
            describe(found),
            plain(&expected.to_string())
        ))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown {
            field: field.to_owned(),
            allowed: expected.iter().map(|&s| s.to_owned()).collect(),
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::Variant {
            found: variant.to_owned(),
            allowed: expected.iter().map(|&s| s.to_owned()).collect(),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field.to_owned())
    }
}

/// What serde expects, in the words of people who write files.
fn plain(expected: &str) -> String {
    let text = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a sequence" => "a list",
        "a string" => "a text",
        "a boolean" => "`true` or `false`",
        other => other,
    };
    text.to_owned()
}

/// A struct's form: its keys where they are few.
fn a_map(fields: &[&str]) -> String {
    const FEW: usize = 4;
    if fields.is_empty() || fields.len() > FEW {
        return "a map".to_owned();
    }
    format!("a map of `{}`", fields.join("`, `"))
}

fn describe(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Bool(value) => format!("`{value}`"),
        de::Unexpected::Unsigned(value) => format!("the number {value}"),
        de::Unexpected::Signed(value) => format!("the number {value}"),
        de::Unexpected::Float(value) => format!("the number {value}"),
        de::Unexpected::Str(text) => format!("the text `{text}`"),
        de::Unexpected::Unit | de::Unexpected::Option => "nothing".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}

impl<'de> de::Deserializer<'de> for &'de Tree {
    type Error = ShapeError;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Scalar { value, .. } => match *value {
                Scalar::Bool(value) => visitor.visit_bool(value),
                Scalar::Unsigned(value) => visitor.visit_u64(value),
                Scalar::Signed(value) => visitor.visit_i64(value),
                Scalar::Float(value) => visitor.visit_f64(value),
            },
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(de::value::SeqDeserializer::new(
                items.iter().map(|(_, tree)| tree),
            )),
            Value::Map(entries) => visitor.visit_map(de::value::MapDeserializer::new(
                entries.iter().map(|(key, tree)| (key.text.as_str(), tree)),
            )),
        }
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_str<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match &self.value {
            Value::Scalar { raw: Some(raw), .. } => visitor.visit_str(raw),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: de::Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_map<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match self.value {
            // In YAML a key with nothing behind it is an empty map; JSON has `null` for something else.
            Value::Null if self.at.is_some() => visitor.visit_map(de::value::MapDeserializer::new(
                std::iter::empty::<(&str, &Tree)>(),
            )),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        let found = match &self.value {
            // A struct from a list by position is never meant.
            Value::List(_) => describe(de::Unexpected::Seq),
            Value::Text(text) => describe(de::Unexpected::Str(text)),
            Value::Null | Value::Scalar { .. } | Value::Map(_) => {
                return self.deserialize_map(visitor);
            }
        };
        let expected = a_map(fields);
        Err(ShapeError::Type { found, expected })
    }

    fn deserialize_seq<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match self.value {
            Value::Null if self.at.is_some() => {
                visitor.visit_seq(de::value::SeqDeserializer::new(std::iter::empty::<&Tree>()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        match &self.value {
            Value::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Scalar { raw: Some(raw), .. } => {
                visitor.visit_enum(raw.as_str().into_deserializer())
            }
            Value::Map(entries) => visitor.visit_enum(de::value::MapAccessDeserializer::new(
                de::value::MapDeserializer::new(
                    entries.iter().map(|(key, tree)| (key.text.as_str(), tree)),
                ),
            )),
            Value::Null => Err(de::Error::invalid_type(de::Unexpected::Unit, &"a word")),
            Value::List(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, &"a word")),
            Value::Scalar { .. } => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char
        bytes byte_buf unit unit_struct tuple tuple_struct ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ShapeError> for &'de Tree {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
