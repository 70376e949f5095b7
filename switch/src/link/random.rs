//! Randomness of a link direction: counter-based streams, one for each purpose.
//!
//! The n-th value of a stream is a function of (seed, link, direction, purpose, n) and of nothing else, so neither
//! another link nor another impairment of the same link shifts it (the generator is SplitMix64: Steele, Lea, Flood,
//! "Fast splittable pseudorandom number generators", 2014).

/// One whole in the unit of [`super::Profile`]'s shares: parts per billion.
pub const WHOLE: u32 = 1_000_000_000;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a stream's values decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Purpose {
    Loss = 1,
    Jitter = 2,
    Reorder = 3,
    Duplicate = 4,
    Corrupt = 5,
    Queue = 6,
}

/// The key of all streams of one direction of one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamKey(u64);

impl StreamKey {
    /// The key for a run's seed, a link's name and one of its two directions.
    pub fn new(seed: u64, link: &str, direction: u8) -> Self {
        // FNV-1a, then a mix: names that differ in one letter give unrelated keys.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in link.bytes().chain([0xff, direction]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(mix(seed.wrapping_add(GOLDEN) ^ mix(hash)))
    }

    pub(super) fn stream(self, purpose: Purpose) -> Stream {
        Stream {
            key: mix(self.0 ^ (purpose as u64).wrapping_mul(GOLDEN)),
            count: 0,
        }
    }
}

/// A stream of random values.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    key: u64,
    count: u64,
}

impl Stream {
    /// The stream that belongs to a number.
    pub(super) fn fixed(number: u64) -> Self {
        Self {
            key: mix(number),
            count: 0,
        }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.count = self.count.wrapping_add(1);
        mix(self.key.wrapping_add(self.count.wrapping_mul(GOLDEN)))
    }

    /// A number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Whether an event of this share happens; draws a value whatever the share is, so that changing it shifts nothing.
    pub(super) fn happens(&mut self, share: u32) -> bool {
        self.below(WHOLE.into()) < u64::from(share)
    }

    /// A fraction in `(0, 1)`.
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits of a number make a fraction, on purpose"
    )]
    pub(super) fn fraction(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

/// Values whose neighbours depend on each other: a first-order autoregressive process on the normal scale, so that
/// every value by itself has exactly the distribution that was asked for. (netem blends uniform values, which makes
/// them less spread the more they are correlated.)
#[derive(Clone, Debug)]
pub(super) struct Correlated {
    stream: Stream,
    last: Option<f64>,
}

impl Correlated {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, last: None }
    }

    /// Whether an event of this share happens.
    pub(super) fn happens(&mut self, share: u32, correlation: u32) -> bool {
        if correlation == 0 {
            return self.stream.happens(share);
        }
        cumulative(self.normal(correlation)) < f64::from(share) / f64::from(WHOLE)
    }

    /// The next value of the standard normal distribution.
    pub(super) fn normal(&mut self, correlation: u32) -> f64 {
        let rho = f64::from(correlation) / f64::from(WHOLE);
        let fresh = quantile(self.stream.fraction());
        let value = match self.last {
            Some(last) => rho * last + libm::sqrt(1.0 - rho * rho) * fresh,
            None => fresh,
        };
        self.last = Some(value);
        value
    }
}

/// The standard normal distribution function.
pub(super) fn cumulative(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// Its inverse, for `0 < p < 1`: a start by Hastings (Abramowitz and Stegun 26.2.23), refined by two Newton steps.
fn quantile(p: f64) -> f64 {
    let tail = p.min(1.0 - p);
    let t = libm::sqrt(-2.0 * libm::log(tail));
    let numerator = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let denominator = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    // In the lower tail, where the distribution function is exact however small it is.
    let mut z = numerator / denominator - t;
    for _ in 0..2 {
        let density = libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * std::f64::consts::PI);
        if density > 0.0 {
            z -= (cumulative(z) - tail) / density;
        }
    }
    if p < 0.5 { z } else { -z }
}

/// The finalizer of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: u32 = 200_000;

    #[test]
    fn a_stream_depends_on_each_part_of_its_key() {
        let first = |seed, link, direction, purpose| {
            StreamKey::new(seed, link, direction).stream(purpose).next()
        };
        let base = first(1, "a--b", 0, Purpose::Loss);
        assert_eq!(base, first(1, "a--b", 0, Purpose::Loss));
        assert_ne!(base, first(2, "a--b", 0, Purpose::Loss));
        assert_ne!(base, first(1, "a--c", 0, Purpose::Loss));
        assert_ne!(base, first(1, "a--b", 1, Purpose::Loss));
        assert_ne!(base, first(1, "a--b", 0, Purpose::Jitter));
    }

    #[test]
    fn an_event_happens_in_its_share() {
        // Five standard deviations of the binomial distribution.
        let mut stream = StreamKey::new(7, "x", 0).stream(Purpose::Loss);
        let share = WHOLE / 100;
        let count = (0..SAMPLES).filter(|_| stream.happens(share)).count() as f64;
        let (mean, spread) = (2000.0, 5.0 * libm::sqrt(2000.0 * 0.99));
        assert!((count - mean).abs() < spread, "{count}");
        assert!((0..1000).all(|_| !stream.happens(0)));
        assert!((0..1000).all(|_| stream.happens(WHOLE)));
    }

    #[test]
    fn correlation_joins_neighbours_and_keeps_the_share() {
        for correlation in [0, WHOLE / 4, WHOLE / 2] {
            let mut source = Correlated::new(StreamKey::new(3, "x", 1).stream(Purpose::Loss));
            let events: Vec<bool> = (0..SAMPLES)
                .map(|_| source.happens(WHOLE / 10, correlation))
                .collect();
            let share = events.iter().filter(|lost| **lost).count() as f64 / f64::from(SAMPLES);
            assert!((share - 0.1).abs() < 0.01, "{correlation}: {share}");
            let pairs = events.windows(2).filter(|pair| pair[0] && pair[1]).count() as f64;
            let after = pairs / (share * f64::from(SAMPLES));
            // Independent events follow one another in a tenth of the cases.
            let joined = after > 0.13;
            assert_eq!(joined, correlation > 0, "{correlation}: {after}");
        }
    }

    #[test]
    fn the_quantile_is_the_inverse_of_the_distribution_function() {
        for p in [1e-12, 1e-6, 0.001, 0.1, 0.5, 0.7, 0.999, 1.0 - 1e-9] {
            let back = cumulative(quantile(p));
            assert!((back - p).abs() <= 1e-9 * p.max(1e-3), "{p}: {back}");
        }
    }
}
