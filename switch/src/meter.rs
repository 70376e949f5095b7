//! Meters: two rates, three colours (RFC 2698 §3, colour-blind).
//!
//! A policer has two buckets, peak and committed. A bucket is one number, the *token time* at which it would be full
//! again (the virtual scheduling form of the generic cell rate algorithm, ITU-T I.371): token time is how many tokens
//! have come since the start, `now · rate` without its fraction. So tokens come whole and at fixed instants, as the
//! RFC has it, nothing is rounded, no timer runs, and what a packet does to a bucket is one compare and one add.
//!
//! A packet first asks the peak bucket: without tokens there it is red and takes none. Then it asks the committed one:
//! green if it has the tokens, else yellow. Each bucket decides alone, so workers need nothing but an atomic each.
//!
//! A super-packet has the colour of its first segment, and pays for all: it cannot be cut where the colour would
//! change. A bucket may so be in debt for one super-packet, which must be paid back before the next may pass; over
//! time the rate is exact, and a burst smaller than a super-packet does not stop everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weft_proto::vocab::{CounterValue, MeterConfig, MeterCounters};

use crate::ir::MeterUnit;
use crate::state::Counter;

/// Rates from here on do not limit: 137 Gb/s, and token time still fits its number for 30 years.
const MAX_RATE: u64 = 1 << 34;
const SECOND: u64 = 1_000_000_000;

/// What a meter says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Color {
    Green = 0,
    Yellow = 1,
    Red = 2,
}

/// What a packet wants of a meter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// Tokens that must be there: those of the first segment.
    pub(crate) need: u64,
    /// Tokens that are taken then: those of all segments.
    pub(crate) take: u64,
}

impl Demand {
    /// What a packet of so many wire segments and bytes wants.
    pub(crate) fn new(unit: MeterUnit, packets: u64, bytes: u64) -> Self {
        match unit {
            MeterUnit::Packets => Self {
                need: packets.min(1),
                take: packets,
            },
            MeterUnit::Bytes => Self {
                need: bytes.div_ceil(packets.max(1)),
                take: bytes,
            },
        }
    }
}

/// A configured meter, full at first. It belongs to one configuration: another one has a policer of its own.
#[derive(Debug)]
pub(crate) struct Policer {
    config: MeterConfig,
    committed: Bucket,
    peak: Bucket,
}

impl Policer {
    pub(crate) fn new(config: MeterConfig) -> Self {
        Self {
            config,
            committed: Bucket::new(config.cir, config.cburst),
            peak: Bucket::new(config.pir, config.pburst),
        }
    }

    pub(crate) fn config(&self) -> MeterConfig {
        self.config
    }

    /// The colour of a packet, whose tokens are taken.
    pub(crate) fn pass(&self, now_ns: u64, demand: Demand) -> Color {
        if !self.peak.take(now_ns, demand) {
            Color::Red
        } else if self.committed.take(now_ns, demand) {
            Color::Green
        } else {
            Color::Yellow
        }
    }

    /// The colour that a packet would have; nothing is taken.
    pub(crate) fn peek(&self, now_ns: u64, demand: Demand) -> Color {
        if self.peak.after(now_ns, demand).is_none() {
            Color::Red
        } else if self.committed.after(now_ns, demand).is_some() {
            Color::Green
        } else {
            Color::Yellow
        }
    }
}

/// A bucket that is shared by all workers.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    burst: u64,
    full_at: AtomicU64,
}

impl Bucket {
    fn new(rate: u64, burst: u64) -> Self {
        Self {
            rate,
            burst,
            full_at: AtomicU64::new(0),
        }
    }

    fn take(&self, now_ns: u64, demand: Demand) -> bool {
        let now = token_time(self.rate, now_ns);
        let taken = |full_at| drawn(full_at, now, self.burst, demand);
        // Nothing else is read or written because of this number.
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        self.full_at.fetch_update(success, failure, taken).is_ok()
    }

    fn after(&self, now_ns: u64, demand: Demand) -> Option<u64> {
        let now = token_time(self.rate, now_ns);
        drawn(
            self.full_at.load(Ordering::Relaxed),
            now,
            self.burst,
            demand,
        )
    }
}

/// Tokens that have come until now. Above [`MAX_RATE`] time is always later than any bucket's.
fn token_time(rate: u64, now_ns: u64) -> u64 {
    if rate >= MAX_RATE {
        return u64::MAX;
    }
    // Both products fit: a rate below 2^34 times less than 10^9, and times the seconds of 34 years.
    let (seconds, rest) = (now_ns / SECOND, now_ns % SECOND);
    (rate.saturating_mul(seconds)).saturating_add(rate * rest / SECOND)
}

/// When a bucket will be full once the demand is met, or `None` where it lacks the tokens.
fn drawn(full_at: u64, now: u64, burst: u64, demand: Demand) -> Option<u64> {
    let full_at = full_at.max(now);
    let missing = (full_at - now).saturating_add(demand.need);
    (missing <= burst).then(|| match now {
        u64::MAX => 0,
        _ => full_at.saturating_add(demand.take),
    })
}

/// The meter of one entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntryMeter {
    policer: Option<Arc<Policer>>,
    colors: Arc<Colors>,
}

impl EntryMeter {
    /// The same with another configuration; the bucket goes on where nothing changes.
    pub(crate) fn configured(self, config: Option<MeterConfig>) -> Self {
        match self.view().0 == config {
            true => self,
            false => Self {
                policer: config.map(|config| Arc::new(Policer::new(config))),
                ..self
            },
        }
    }

    /// Its configuration, and what has passed it.
    pub(crate) fn view(&self) -> (Option<MeterConfig>, MeterCounters) {
        let config = self.policer.as_ref().map(|policer| policer.config());
        (config, self.colors.values())
    }

    /// Passes a packet of so many wire segments and bytes.
    pub(crate) fn pass(&self, now_ns: u64, demand: Demand, (packets, bytes): (u64, u64)) -> Color {
        let policer = self.policer.as_ref();
        let color = policer.map_or(Color::Green, |policer| policer.pass(now_ns, demand));
        self.colors.add(color, packets, bytes);
        color
    }

    /// What a packet's colour would be; nothing is changed.
    pub(crate) fn peek(&self, now_ns: u64, demand: Demand) -> Color {
        let policer = self.policer.as_ref();
        policer.map_or(Color::Green, |policer| policer.peek(now_ns, demand))
    }

    pub(crate) fn clear(&self) {
        self.colors.clear();
    }
}

/// Packets and bytes of each colour.
#[derive(Debug, Default)]
pub(crate) struct Colors([Counter; 3]);

impl Colors {
    pub(crate) fn add(&self, color: Color, packets: u64, bytes: u64) {
        self.0[color as usize].add(packets, bytes);
    }

    pub(crate) fn values(&self) -> MeterCounters {
        let [green, yellow, red] = &self.0;
        MeterCounters {
            green: green.value(),
            yellow: yellow.value(),
            red: red.value(),
        }
    }

    pub(crate) fn clear(&self) {
        for counter in &self.0 {
            counter.set(CounterValue::default());
        }
    }
}

#[cfg(test)]
mod tests;
