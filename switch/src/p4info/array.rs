//! Meters and counters that belong to no table.

use weft_proto::p4::config::v1 as p4;

use super::{COUNTER, DIRECT_METER, METER, number, preamble};
use crate::ir;

pub(super) fn counters(pipeline: &ir::Pipeline) -> Vec<p4::Counter> {
    (COUNTER + 1..)
        .zip(&pipeline.counters)
        .map(|(id, counter)| p4::Counter {
            preamble: Some(preamble(
                id,
                &counter.name,
                &counter.doc,
                &counter.annotations,
            )),
            spec: Some(p4::CounterSpec {
                unit: p4::counter_spec::Unit::Both.into(),
            }),
            size: counter.size.into(),
            ..p4::Counter::default()
        })
        .collect()
}

pub(super) fn meters(pipeline: &ir::Pipeline) -> Vec<p4::Meter> {
    (METER + 1..)
        .zip(&pipeline.meters)
        .map(|(id, meter)| p4::Meter {
            preamble: Some(preamble(id, &meter.name, &meter.doc, &meter.annotations)),
            spec: Some(spec(meter.unit)),
            size: meter.size.into(),
            ..p4::Meter::default()
        })
        .collect()
}

/// The meter of a table's entries.
pub(super) fn direct_meter(
    index: usize,
    table: &str,
    id: u32,
    meter: &ir::DirectMeter,
) -> p4::DirectMeter {
    let name = format!("{table}_meter");
    p4::DirectMeter {
        preamble: Some(preamble(DIRECT_METER + number(index) + 1, &name, "", &[])),
        spec: Some(spec(meter.unit)),
        direct_table_id: id,
    }
}

/// Two rates, three colours, in one unit.
fn spec(unit: ir::MeterUnit) -> p4::MeterSpec {
    p4::MeterSpec {
        unit: match unit {
            ir::MeterUnit::Bytes => p4::meter_spec::Unit::Bytes,
            ir::MeterUnit::Packets => p4::meter_spec::Unit::Packets,
        }
        .into(),
        r#type: p4::meter_spec::Type::TwoRateThreeColor.into(),
    }
}
