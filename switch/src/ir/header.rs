//! Header types, instances and metadata.

use serde::{Deserialize, Serialize};

/// A header type: fields in wire order, whole bytes in total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderType {
    /// Its name.
    pub name: String,
    /// Fixed fields, 1 to 128 bits each.
    pub fields: Vec<Bits>,
    /// Most bytes of the variable part after the fixed fields; 0 for none.
    #[serde(default)]
    pub max_varbytes: u16,
}

/// A name and a width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bits {
    /// The name.
    pub name: String,
    /// The width in bits, 1 to 128.
    pub bits: u16,
}

/// A metadata field.
pub type MetaField = Bits;

/// A header instance, or a stack of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its header type.
    pub header: String,
    /// Number of elements where this is a stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<u8>,
}
