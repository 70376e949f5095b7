//! Meters and counters that belong to no table.

use super::Schema;
use super::build::{SchemaError, doc, identity, notes, unique};
use crate::p4::config::v1::{self as wire, meter_spec::Unit};
use crate::vocab::{CounterId, MeterId};

/// An array of meters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterSchema {
    /// Its id.
    pub id: MeterId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub doc: String,
    /// Number of cells.
    pub size: u64,
    /// What it measures.
    pub unit: MeterUnit,
    /// Its annotations, `@…`.
    pub annotations: Vec<String>,
}

/// What a meter measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterUnit {
    /// Bytes.
    Bytes,
    /// Packets.
    Packets,
}

/// An array of counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSchema {
    /// Its id.
    pub id: CounterId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub doc: String,
    /// Number of cells.
    pub size: u64,
    /// Its annotations, `@…`.
    pub annotations: Vec<String>,
}

pub(super) fn read(info: &wire::P4Info, schema: &mut Schema) -> Result<(), SchemaError> {
    for declared in &info.meters {
        let preamble = declared.preamble.as_ref();
        let (id, name) = identity(preamble, "meter")?;
        let meter = MeterSchema {
            id: MeterId(id),
            name: name.to_owned(),
            doc: doc(preamble),
            size: u64::try_from(declared.size).unwrap_or(0),
            unit: unit(declared.spec.as_ref(), name)?,
            annotations: notes(preamble),
        };
        unique("meter", id, schema.meters.insert(meter.id, meter))?;
    }
    for declared in &info.counters {
        let preamble = declared.preamble.as_ref();
        let (id, name) = identity(preamble, "counter")?;
        let counter = CounterSchema {
            id: CounterId(id),
            name: name.to_owned(),
            doc: doc(preamble),
            size: u64::try_from(declared.size).unwrap_or(0),
            annotations: notes(preamble),
        };
        unique("counter", id, schema.counters.insert(counter.id, counter))?;
    }
    Ok(())
}

/// What the meters of a table's entries measure, if it has some.
pub(super) fn direct(info: &wire::P4Info, table: u32) -> Result<Option<MeterUnit>, SchemaError> {
    let mut meters = info.direct_meters.iter();
    let meter = meters.find(|meter| meter.direct_table_id == table);
    let name = |meter: &wire::DirectMeter| {
        let preamble = meter.preamble.as_ref();
        preamble.map_or_else(String::new, |preamble| preamble.name.clone())
    };
    meter
        .map(|meter| unit(meter.spec.as_ref(), &name(meter)))
        .transpose()
}

fn unit(spec: Option<&wire::MeterSpec>, name: &str) -> Result<MeterUnit, SchemaError> {
    match spec.map(wire::MeterSpec::unit) {
        Some(Unit::Bytes) => Ok(MeterUnit::Bytes),
        Some(Unit::Packets) => Ok(MeterUnit::Packets),
        Some(Unit::Unspecified) | None => Err(SchemaError::MeterUnit {
            meter: name.to_owned(),
        }),
    }
}
