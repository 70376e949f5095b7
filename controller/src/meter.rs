//! Meters: the most that may pass, shared by all flows that name the meter.
//!
//! A [`MeterSpec`] is the body of a `PUT`, the stored document and the answer's normal form. It becomes one cell of the
//! pipeline's meters that are annotated `@weft_meters` (RFC 2698 with equal rates, so that nothing is yellow).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use weft_proto::schema::{MeterSchema, MeterUnit, Schema, annotations};
use weft_proto::vocab::{MeterCell, MeterConfig};

use crate::problem::{Code, FieldError};
use crate::quantity::{BitsPerSec, ByteSize};

/// A meter of one switch, as users write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeterSpec {
    /// What passes for as long as it likes; a frame counts from destination MAC to payload.
    pub rate: BitsPerSec,
    /// What may come at once after a pause; what passes in 100 ms, or ten full frames, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<ByteSize>,
    /// What becomes of packets above it.
    #[serde(default)]
    pub exceed: Exceed,
    /// The user's own words, for selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What becomes of packets above a meter's rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exceed {
    /// They are dropped, as `meter`.
    #[default]
    Drop,
}

/// The smallest burst in bytes: one full frame of 1,500 bytes with its header and a tag. With less, none would ever pass.
const MIN_BURST: u64 = 1_518;

/// The largest rate in bits per second.
const MAX_RATE: u64 = 10_000_000_000_000;

/// The meters that flows name.
pub(crate) fn array(schema: &Schema) -> Option<&MeterSchema> {
    let mut all = schema.meters();
    all.find(|meter| {
        meter.unit == MeterUnit::Bytes && annotations::has(&meter.annotations, "weft_meters")
    })
}

/// The cells that meters of a pipeline can have; none where it has no meters.
pub(crate) fn numbers(schema: &Schema) -> Option<RangeInclusive<u32>> {
    let last = array(schema)?.size.checked_sub(1)?;
    Some(0..=u32::try_from(last).unwrap_or(u32::MAX))
}

/// Compiles a meter; also gives the spec in normal form. Compiling the normal form gives the same again.
///
/// # Errors
///
/// Every mistake in the spec, not just the first.
pub(crate) fn compile(
    schema: &Schema,
    switch: &str,
    index: u32,
    spec: &MeterSpec,
) -> Result<(MeterSpec, MeterCell), Vec<FieldError>> {
    let Some(meter) = array(schema) else {
        let detail = format!("the pipeline of {switch} has no meters");
        return Err(vec![FieldError::new("", Code::NotSupported, detail)]);
    };
    let mut errors = Vec::new();
    let BitsPerSec(rate) = spec.rate;
    if !(8..=MAX_RATE).contains(&rate) {
        let largest = BitsPerSec(MAX_RATE);
        let detail = format!("a rate is 8bit to {largest}");
        errors.push(FieldError::new("/rate", Code::OutOfRange, detail));
    }
    let bytes = rate / 8;
    let usual = ByteSize((bytes / 10).max(10 * MIN_BURST));
    let ByteSize(burst) = spec.burst.unwrap_or(usual);
    if burst < MIN_BURST {
        let detail = format!(
            "a burst is {MIN_BURST}b or more; no full frame passes with {}",
            ByteSize(burst)
        );
        errors.push(FieldError::new("/burst", Code::OutOfRange, detail));
    } else if i64::try_from(burst).is_err() {
        let detail = "a burst has at most 63 bits";
        errors.push(FieldError::new("/burst", Code::OutOfRange, detail));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let normalised = MeterSpec {
        burst: Some(ByteSize(burst)),
        ..spec.clone()
    };
    let config = MeterConfig {
        cir: bytes,
        cburst: burst,
        pir: bytes,
        pburst: burst,
    };
    let cell = MeterCell {
        meter: meter.id,
        index,
        config: Some(config),
    };
    Ok((normalised, cell))
}
