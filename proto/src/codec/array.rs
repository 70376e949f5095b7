//! Meters and counters that belong to no table (P4Runtime §9.3, §9.4).

use super::update::UpdateKind;
use super::{EntryError, counter_data};
use crate::p4::v1 as wire;
use crate::schema::Schema;
use crate::vocab::{CounterId, CounterValue, MeterCell, MeterConfig, MeterCounters, MeterId};

/// Cells of arrays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cells<I> {
    /// The array; `None` for all of them, in reads only.
    pub array: Option<I>,
    /// The cell; `None` for all of them.
    pub index: Option<u32>,
}

/// Decodes a meter's cell of a read's answer.
///
/// # Errors
///
/// A meter or a cell that does not exist, or a configuration that is none.
pub fn decode_meter(schema: &Schema, entry: &wire::MeterEntry) -> Result<MeterCell, EntryError> {
    let cells = meter_cells(schema, entry)?;
    match (cells.array, cells.index) {
        (Some(meter), Some(index)) => Ok(MeterCell {
            meter,
            index,
            config: entry.config.as_ref().map(meter_config).transpose()?,
        }),
        _ => Err(EntryError::NoEntity),
    }
}

/// Encodes a meter's cell, with counters where they were asked for.
pub fn encode_meter(cell: &MeterCell, counters: Option<MeterCounters>) -> wire::MeterEntry {
    wire::MeterEntry {
        meter_id: cell.meter.0,
        index: Some(index(cell.index)),
        config: cell.config.map(encode_meter_config),
        counter_data: counters.map(encode_meter_counters),
    }
}

/// Decodes the value of a counter's cell of a read's answer.
///
/// # Errors
///
/// A counter or a cell that does not exist, or a value that is none.
pub fn decode_counter_cell(
    schema: &Schema,
    entry: &wire::CounterEntry,
) -> Result<(CounterId, u32, CounterValue), EntryError> {
    let cells = counter_cells(schema, entry)?;
    match (cells.array, cells.index, &entry.data) {
        (Some(counter), Some(index), Some(data)) => Ok((counter, index, value(data)?)),
        _ => Err(EntryError::NoEntity),
    }
}

/// Encodes a counter's cell.
pub fn encode_counter_cell(
    counter: CounterId,
    cell: u32,
    value: CounterValue,
) -> wire::CounterEntry {
    wire::CounterEntry {
        counter_id: counter.0,
        index: Some(index(cell)),
        data: Some(counter_data(value)),
    }
}

/// A meter's configuration on the wire; above 2^63-1 a number stays there.
pub fn encode_meter_config(config: MeterConfig) -> wire::MeterConfig {
    let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
    wire::MeterConfig {
        cir: number(config.cir),
        cburst: number(config.cburst),
        pir: number(config.pir),
        pburst: number(config.pburst),
        eburst: 0,
    }
}

/// A meter's counters on the wire.
pub fn encode_meter_counters(counters: MeterCounters) -> wire::MeterCounterData {
    wire::MeterCounterData {
        green: Some(counter_data(counters.green)),
        yellow: Some(counter_data(counters.yellow)),
        red: Some(counter_data(counters.red)),
    }
}

/// Decodes a meter's configuration (§9.4, RFC 2698 §2).
///
/// # Errors
///
/// A number is negative, the peak rate is below the committed one, a burst is zero, or there is an excess burst.
pub fn meter_config(config: &wire::MeterConfig) -> Result<MeterConfig, EntryError> {
    let refuse = |problem| EntryError::MeterConfig { problem };
    let number = |number| u64::try_from(number).map_err(|_| refuse("has a negative number"));
    let found = MeterConfig {
        cir: number(config.cir)?,
        cburst: number(config.cburst)?,
        pir: number(config.pir)?,
        pburst: number(config.pburst)?,
    };
    if config.eburst != 0 {
        return Err(refuse("has an excess burst, which is for single rates"));
    }
    if found.pir < found.cir {
        return Err(refuse("has a peak rate below its committed rate"));
    }
    if found.cburst == 0 || found.pburst == 0 {
        return Err(refuse("has a burst of 0, so that nothing would pass"));
    }
    Ok(found)
}

/// Whether a write resets a meter's counters: to set them to zero is all that it can do.
pub(super) fn clears(counters: Option<&wire::MeterCounterData>) -> Result<bool, EntryError> {
    let Some(counters) = counters else {
        return Ok(false);
    };
    let colors = [&counters.green, &counters.yellow, &counters.red];
    let zero = |data: &wire::CounterData| data.byte_count == 0 && data.packet_count == 0;
    match colors.into_iter().flatten().all(zero) {
        true => Ok(true),
        false => Err(EntryError::MeterCounters),
    }
}

pub(super) fn only_modified(kind: UpdateKind, what: &'static str) -> Result<(), EntryError> {
    match kind {
        UpdateKind::Modify => Ok(()),
        UpdateKind::Insert | UpdateKind::Delete => Err(EntryError::OnlyModified { what }),
    }
}

pub(super) fn meter_cells(
    schema: &Schema,
    entry: &wire::MeterEntry,
) -> Result<Cells<MeterId>, EntryError> {
    let id = MeterId(entry.meter_id);
    let size = schema
        .meter(id)
        .map(|meter| (meter.name.as_str(), meter.size));
    let index = cell("meter", entry.meter_id, entry.index.as_ref(), size)?;
    Ok(Cells {
        array: Some(id).filter(|id| id.0 != 0),
        index,
    })
}

pub(super) fn counter_cells(
    schema: &Schema,
    entry: &wire::CounterEntry,
) -> Result<Cells<CounterId>, EntryError> {
    let id = CounterId(entry.counter_id);
    let size = schema
        .counter(id)
        .map(|counter| (counter.name.as_str(), counter.size));
    let index = cell("counter", entry.counter_id, entry.index.as_ref(), size)?;
    Ok(Cells {
        array: Some(id).filter(|id| id.0 != 0),
        index,
    })
}

/// The index of a cell; id 0 stands for all arrays, and has none.
fn cell(
    kind: &'static str,
    id: u32,
    index: Option<&wire::Index>,
    array: Option<(&str, u64)>,
) -> Result<Option<u32>, EntryError> {
    let Some((name, size)) = array else {
        return match (id, index) {
            (0, None) => Ok(None),
            (0, Some(_)) => Err(EntryError::IndexWithoutArray { kind }),
            _ => Err(EntryError::UnknownArray { kind, id }),
        };
    };
    let Some(index) = index else {
        return Ok(None);
    };
    let array = || format!("{kind} `{name}`");
    let wanted =
        u64::try_from(index.index).map_err(|_| EntryError::NegativeIndex { array: array() })?;
    match u32::try_from(wanted) {
        Ok(wanted) if u64::from(wanted) < size => Ok(Some(wanted)),
        _ => Err(EntryError::NoCell {
            array: array(),
            index: wanted,
            size,
        }),
    }
}

pub(super) fn value(data: &wire::CounterData) -> Result<CounterValue, EntryError> {
    let number = |number| u64::try_from(number).map_err(|_| EntryError::NegativeValue);
    Ok(CounterValue {
        packets: number(data.packet_count)?,
        bytes: number(data.byte_count)?,
    })
}

pub(super) fn index(index: u32) -> wire::Index {
    wire::Index {
        index: index.into(),
    }
}
