//! Meters and counters that belong to no table.

use weft_proto::p4::config::v1 as p4;

use super::{COUNTER, METER, preamble};
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

/// Two rates, three colours, in one unit.
pub(super) fn spec(unit: ir::MeterUnit) -> p4::MeterSpec {
    p4::MeterSpec {
        unit: match unit {
            ir::MeterUnit::Bytes => p4::meter_spec::Unit::Bytes,
            ir::MeterUnit::Packets => p4::meter_spec::Unit::Packets,
        }
        .into(),
        r#type: p4::meter_spec::Type::TwoRateThreeColor.into(),
    }
}
