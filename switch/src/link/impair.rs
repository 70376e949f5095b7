//! What happens to a packet after it was sent: loss, delay, and what else goes wrong on the way.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "delays are far below the 2^53 nanoseconds that a fraction holds exactly"
)]

use super::profile::{Distribution, Jitter, Loss};
use super::random::{Correlated, Purpose, StreamKey, cumulative};

/// Decides losses.
#[derive(Clone, Debug)]
pub(super) struct Losses {
    source: Correlated,
    is_bad: bool,
    place: usize,
}

impl Losses {
    pub(super) fn new(key: StreamKey) -> Self {
        Self {
            source: Correlated::new(key.stream(Purpose::Loss)),
            is_bad: false,
            place: 0,
        }
    }

    /// Whether the next packet is lost.
    pub(super) fn next(&mut self, loss: &Loss) -> bool {
        match loss {
            Loss::None => false,
            Loss::Random { share, correlation } => self.source.happens(*share, *correlation),
            Loss::GilbertElliott {
                to_bad,
                to_good,
                good,
                bad,
            } => {
                let (leave, share) = if self.is_bad {
                    (*to_good, *bad)
                } else {
                    (*to_bad, *good)
                };
                let is_lost = self.source.happens(share, 0);
                if self.source.happens(leave, 0) {
                    self.is_bad = !self.is_bad;
                }
                is_lost
            }
            Loss::Trace(losses) => {
                let is_lost = losses.get(self.place % losses.len().max(1)) == Some(&true);
                self.place = self.place.wrapping_add(1);
                is_lost
            }
        }
    }
}

/// Decides delays.
#[derive(Clone, Debug)]
pub(super) struct Delays {
    source: Correlated,
    place: usize,
}

impl Delays {
    pub(super) fn new(key: StreamKey) -> Self {
        Self {
            source: Correlated::new(key.stream(Purpose::Jitter)),
            place: 0,
        }
    }

    /// The next packet's time on the way, in nanoseconds.
    pub(super) fn next(&mut self, delay_ns: u64, jitter: &Jitter) -> u64 {
        if let Distribution::Trace(values) = &jitter.distribution {
            let value = values.get(self.place % values.len().max(1)).copied();
            self.place = self.place.wrapping_add(1);
            return delay_ns.saturating_add_signed(value.unwrap_or_default());
        }
        if jitter.spread_ns == 0 {
            return delay_ns;
        }
        let normal = self.source.normal(jitter.correlation);
        let offset = standard(&jitter.distribution, normal) * jitter.spread_ns as f64;
        delay_ns.saturating_add_signed(offset as i64)
    }
}

/// A standard normal value, moved to the distribution that is wanted.
fn standard(distribution: &Distribution, normal: f64) -> f64 {
    /// Index of the Pareto distribution; its mean and its standard deviation follow.
    const INDEX: f64 = 3.0;
    const MEAN: f64 = INDEX / (INDEX - 1.0);
    const DEVIATION: f64 = 0.866_025_403_784_438_6;
    match distribution {
        Distribution::Uniform | Distribution::Trace(_) => 2.0 * cumulative(normal) - 1.0,
        Distribution::Normal => normal,
        Distribution::Pareto => (1.0 / libm::cbrt(cumulative(-normal)) - MEAN) / DEVIATION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::random::WHOLE;

    const SAMPLES: usize = 100_000;

    fn key() -> StreamKey {
        StreamKey::new(11, "a--b", 0)
    }

    fn share(loss: &Loss) -> f64 {
        let mut losses = Losses::new(key());
        (0..SAMPLES).filter(|_| losses.next(loss)).count() as f64 / SAMPLES as f64
    }

    #[test]
    fn bad_stretches_have_the_share_and_the_length_of_the_model() {
        let loss = Loss::GilbertElliott {
            to_bad: WHOLE / 100,
            to_good: WHOLE / 4,
            good: 0,
            bad: WHOLE,
        };
        // Stationary share of the bad state: 0.01 / (0.01 + 0.25).
        assert!((share(&loss) - 0.01 / 0.26).abs() < 0.004);
        let mut losses = Losses::new(key());
        let fates: Vec<bool> = (0..SAMPLES).map(|_| losses.next(&loss)).collect();
        let lost = fates.iter().filter(|lost| **lost).count();
        let runs = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        let length = lost as f64 / runs as f64;
        assert!((length - 4.0).abs() < 0.4, "{length}");
    }

    #[test]
    fn a_trace_is_followed_and_begins_again() {
        let loss = Loss::Trace([true, false, false].into());
        let mut losses = Losses::new(key());
        let fates: Vec<bool> = (0..6).map(|_| losses.next(&loss)).collect();
        assert_eq!(fates, [true, false, false, true, false, false]);
    }

    #[test]
    fn each_distribution_has_its_mean_and_its_spread() {
        const DELAY: u64 = 50_000_000;
        const SPREAD: f64 = 2_000_000.0;
        for (distribution, deviation) in [
            (Distribution::Uniform, SPREAD / libm::sqrt(3.0)),
            (Distribution::Normal, SPREAD),
        ] {
            for correlation in [0, WHOLE / 4] {
                let jitter = Jitter {
                    spread_ns: 2_000_000,
                    distribution: distribution.clone(),
                    correlation,
                };
                let mut delays = Delays::new(key());
                let values: Vec<f64> = (0..SAMPLES)
                    .map(|_| delays.next(DELAY, &jitter) as f64)
                    .collect();
                let mean = values.iter().sum::<f64>() / SAMPLES as f64;
                let squares = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
                let measured = libm::sqrt(squares / SAMPLES as f64);
                assert!((mean - DELAY as f64).abs() < SPREAD / 50.0, "{mean}");
                assert!((measured / deviation - 1.0).abs() < 0.02, "{measured}");
            }
        }
    }

    #[test]
    fn pareto_waits_are_rarely_long() {
        let jitter = Jitter {
            spread_ns: 1_000_000,
            distribution: Distribution::Pareto,
            correlation: 0,
        };
        let mut delays = Delays::new(key());
        let mut values: Vec<u64> = (0..SAMPLES)
            .map(|_| delays.next(10_000_000, &jitter))
            .collect();
        values.sort_unstable();
        let mean = values.iter().sum::<u64>() as f64 / SAMPLES as f64;
        assert!((mean / 10_000_000.0 - 1.0).abs() < 0.01, "{mean}");
        // The median is below the mean, the tail far above it.
        assert!(values[SAMPLES / 2] < 9_900_000);
        assert!(values[SAMPLES * 999 / 1000] > 18_000_000);
    }

    #[test]
    fn a_delay_is_never_negative() {
        let jitter = Jitter {
            spread_ns: 5_000_000,
            distribution: Distribution::Normal,
            correlation: 0,
        };
        let mut delays = Delays::new(key());
        assert!((0..1000).all(|_| delays.next(1_000, &jitter) < 60_000_000));
        let mut delays = Delays::new(key());
        assert!((0..1000).any(|_| delays.next(1_000, &jitter) == 0));
    }
}
