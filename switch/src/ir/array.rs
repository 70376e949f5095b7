//! Arrays of state that packets change: meters and counters that belong to no table.

use serde::{Deserialize, Serialize};

use super::FieldRef;

/// An array of meters (RFC 2698, colour-blind). A cell that nobody has configured says that every packet is green.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Meter {
    /// Its name.
    pub name: String,
    /// One sentence for P4Info.
    #[serde(default)]
    pub doc: String,
    /// Number of cells.
    pub size: u32,
    /// What it measures.
    pub unit: MeterUnit,
    /// P4Info annotations.
    #[serde(default)]
    pub annotations: Vec<String>,
}

/// A meter of each entry of a table, its default entry included. It meters the packets that hit the entry; what it says
/// of one is stored before the entry's action runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectMeter {
    /// What it measures.
    pub unit: MeterUnit,
    /// Metadata of 2 bits or more: 0 green, 1 yellow, 2 red.
    pub dst: FieldRef,
}

/// What a meter measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MeterUnit {
    /// Bytes, as counters count them.
    Bytes,
    /// Wire segments.
    Packets,
}

/// An array of counters; each cell counts packets and bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CounterArray {
    /// Its name.
    pub name: String,
    /// One sentence for P4Info.
    #[serde(default)]
    pub doc: String,
    /// Number of cells.
    pub size: u32,
    /// P4Info annotations.
    #[serde(default)]
    pub annotations: Vec<String>,
}
