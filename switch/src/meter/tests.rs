use proptest::prelude::*;
use weft_proto::vocab::MeterConfig;

use super::*;

/// RFC 2698 as it is written: two counters of tokens, each incremented by one at its instants, `rate` times a second,
/// up to its burst. Slow, and exact.
struct Reference {
    committed: Tokens,
    peak: Tokens,
}

struct Tokens {
    rate: u64,
    burst: i128,
    count: i128,
    /// Tokens that have come since the start.
    come: u128,
}

impl Tokens {
    fn new(rate: u64, burst: u64) -> Self {
        Self {
            rate,
            burst: burst.into(),
            count: burst.into(),
            come: 0,
        }
    }

    fn until(&mut self, now_ns: u64) {
        // Token k comes at k / rate seconds.
        while (self.come + 1) * 1_000_000_000 <= u128::from(now_ns) * u128::from(self.rate) {
            self.come += 1;
            self.count = self.burst.min(self.count + 1);
        }
    }

    fn take(&mut self, demand: Demand) -> bool {
        let enough = self.count >= demand.need.into();
        if enough {
            self.count -= i128::from(demand.take);
        }
        enough
    }
}

impl Reference {
    fn new(config: MeterConfig) -> Self {
        Self {
            committed: Tokens::new(config.cir, config.cburst),
            peak: Tokens::new(config.pir, config.pburst),
        }
    }

    fn pass(&mut self, now_ns: u64, demand: Demand) -> Color {
        self.committed.until(now_ns);
        self.peak.until(now_ns);
        match (self.peak.take(demand), &mut self.committed) {
            (false, _) => Color::Red,
            (true, committed) => match committed.take(demand) {
                true => Color::Green,
                false => Color::Yellow,
            },
        }
    }
}

fn config(cir: u64, cburst: u64, pir: u64, pburst: u64) -> MeterConfig {
    MeterConfig {
        cir,
        cburst,
        pir,
        pburst,
    }
}

fn packet(bytes: u64) -> Demand {
    Demand::new(MeterUnit::Bytes, 1, bytes)
}

#[test]
fn a_burst_is_green_then_yellow_then_red_and_time_gives_it_back() {
    let policer = Policer::new(config(1000, 2000, 2000, 3000));
    let colors: Vec<Color> = (0..5).map(|_| policer.pass(0, packet(1000))).collect();
    let (green, yellow, red) = (Color::Green, Color::Yellow, Color::Red);
    assert_eq!(colors, [green, green, yellow, red, red]);
    // Half a second later the peak bucket has 1000 tokens, and the committed one 500.
    assert_eq!(policer.peek(SECOND / 2, packet(1000)), yellow);
    assert_eq!(policer.pass(SECOND / 2 - 1, packet(1000)), red);
    assert_eq!(policer.pass(SECOND / 2, packet(1000)), yellow);
    assert_eq!(policer.pass(SECOND / 2, packet(1)), red);
    assert_eq!(policer.pass(3 * SECOND, packet(2000)), green);
}

#[test]
fn a_packet_larger_than_the_burst_is_red_forever() {
    let policer = Policer::new(config(1000, 1000, 1000, 1000));
    for seconds in 0..100 {
        assert_eq!(policer.pass(seconds * SECOND, packet(1001)), Color::Red);
    }
}

#[test]
fn a_super_packet_has_the_colour_of_its_first_segment_and_pays_for_all() {
    let policer = Policer::new(config(1000, 1500, 1000, 1500));
    let large = Demand::new(MeterUnit::Bytes, 40, 60_000);
    assert_eq!(policer.pass(0, large), Color::Green);
    // 58 500 tokens of debt, then one for the next byte.
    assert_eq!(policer.pass(58 * SECOND, packet(1)), Color::Red);
    assert_eq!(
        policer.pass(58 * SECOND + SECOND / 2, packet(1)),
        Color::Red
    );
    assert_eq!(policer.pass(59 * SECOND, packet(1)), Color::Green);
    let packets = Policer::new(config(10, 5, 10, 5));
    let segments = Demand::new(MeterUnit::Packets, 9, 13_000);
    assert_eq!(packets.pass(0, segments), Color::Green);
    assert_eq!(packets.pass(SECOND / 10, segments), Color::Red);
}

#[test]
fn a_clock_that_went_back_gives_nothing_more() {
    let policer = Policer::new(config(1000, 1000, 1000, 1000));
    assert_eq!(policer.pass(9 * SECOND, packet(1000)), Color::Green);
    assert_eq!(policer.pass(0, packet(1)), Color::Red);
}

#[test]
fn a_rate_that_nothing_reaches_limits_the_size_only() {
    let policer = Policer::new(config(u64::MAX, 1500, u64::MAX, 1500));
    for _ in 0..1000 {
        assert_eq!(policer.pass(7, packet(1500)), Color::Green);
    }
    assert_eq!(policer.pass(7, packet(1501)), Color::Red);
}

#[test]
fn no_time_is_too_late() {
    let policer = Policer::new(config(MAX_RATE - 1, 10_000, MAX_RATE - 1, 10_000));
    for now in [0, 30 * 365 * 24 * 3600 * SECOND, u64::MAX] {
        assert_eq!(policer.pass(now, packet(10_000)), Color::Green);
    }
}

proptest! {
    #[test]
    fn colours_are_those_of_the_plain_bucket(
        (cir, more) in (0..5000_u64, 0..5000_u64),
        (cburst, pburst) in (1..4000_u64, 1..4000_u64),
        unit in prop_oneof![Just(MeterUnit::Bytes), Just(MeterUnit::Packets)],
        packets in proptest::collection::vec((0..SECOND / 3, 1..50_u64, 1..1500_u64), 1..60),
    ) {
        let config = config(cir, cburst, cir + more, pburst);
        let (policer, mut reference) = (Policer::new(config), Reference::new(config));
        let mut now = 0;
        for (step, segments, bytes) in packets {
            now += step;
            let segments = if segments < 40 { 1 } else { segments };
            let demand = Demand::new(unit, segments, bytes * segments);
            let foretold = policer.peek(now, demand);
            let color = policer.pass(now, demand);
            prop_assert_eq!(foretold, color);
            prop_assert_eq!(reference.pass(now, demand), color);
        }
    }
}
