//! How many error messages a switch sends: a token bucket for each port of entry (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f).
//!
//! A bucket is one number, the time at which it would be full again (the virtual scheduling form of the generic cell
//! rate algorithm, ITU-T I.371): exact, without a remainder to carry.

use std::collections::BTreeMap;

use weft_proto::vocab::{DeviceId, PortNo};

/// Time between two tokens: 1000 a second.
const INTERVAL_NS: u64 = 1_000_000;
/// Tokens of a full bucket.
const BURST: u64 = 50;

/// A bucket, full at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TokenBucket {
    full_at_ns: u64,
}

impl TokenBucket {
    /// Takes a token, if there is one.
    fn take(&mut self, now_ns: u64) -> bool {
        let full_at = self.full_at_ns.max(now_ns);
        if full_at - now_ns > (BURST - 1) * INTERVAL_NS {
            return false;
        }
        self.full_at_ns = full_at + INTERVAL_NS;
        true
    }
}

/// The buckets of all ports that needed one.
#[derive(Debug, Default)]
pub(crate) struct Buckets(BTreeMap<(DeviceId, PortNo), TokenBucket>);

impl Buckets {
    /// Takes a token from a port's bucket, if there is one.
    pub(crate) fn take(&mut self, device: DeviceId, port: PortNo, now_ns: u64) -> bool {
        self.0.entry((device, port)).or_default().take(now_ns)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_full_bucket_gives_a_burst_and_then_one_for_each_interval() {
        let mut bucket = TokenBucket::default();
        let burst = (0..1000).filter(|_| bucket.take(SECOND)).count();
        assert_eq!(burst as u64, BURST);
        assert!(!bucket.take(SECOND + INTERVAL_NS - 1));
        assert!(bucket.take(SECOND + INTERVAL_NS));
        assert!(!bucket.take(SECOND + INTERVAL_NS));
        assert!(bucket.take(60 * SECOND));
    }

    #[test]
    fn a_clock_that_went_back_gives_nothing_more() {
        let mut bucket = TokenBucket::default();
        assert!(bucket.take(SECOND));
        assert!(!bucket.take(0));
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_gives_more_than_its_share(steps in proptest::collection::vec(0..3 * INTERVAL_NS, 1..400)) {
            let mut bucket = TokenBucket::default();
            let (mut now, mut taken) = (SECOND, 0);
            for step in steps {
                now += step;
                taken += u64::from(bucket.take(now));
                prop_assert!(taken <= BURST + (now - SECOND) / INTERVAL_NS);
            }
        }
    }
}
