//! Active queue management against the plain formulas.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times of a test are small"
)]

use super::pie::PieState;
use super::red::RedState;
use super::*;
use crate::link::profile::{CoDel, Pie, Red};
use crate::link::random::{Purpose, StreamKey, WHOLE};

const MILLISECOND: u64 = 1_000_000;

fn unit(bytes: u32, came: u64) -> Unit {
    Unit {
        parent: 0,
        first: 0,
        count: 1,
        bytes,
        came: Nanos(came),
        flow: 0,
        is_ect: false,
        is_marked: false,
        corrupt: None,
    }
}

fn random() -> Stream {
    StreamKey::new(1, "x", 0).stream(Purpose::Queue)
}

/// RFC 8289: after an interval above the target one packet is dropped, the next after an interval, then after an interval
/// divided by the root of two, of three, …
#[test]
fn codel_drops_at_the_times_of_its_control_law() {
    let codel = CoDel::default();
    let profile = QueueProfile {
        limit: QueueLimit::Packets(100_000),
        discipline: Discipline::CoDel(codel),
    };
    let mut queue = Queue::new(&profile, 1_000_000);
    let mut dropped = Vec::new();
    for _ in 0..20_000 {
        queue.push(unit(1000, 0), Nanos(0), &mut random(), &mut dropped);
    }
    // A packet a millisecond leaves; all have waited from the start.
    let mut times = Vec::new();
    for step in 6..2000 {
        let before = dropped.len();
        assert!(queue.pop(Nanos(step * MILLISECOND), &mut dropped).is_some());
        times.extend((before..dropped.len()).map(|_| step));
    }
    let mut expected = Vec::new();
    // Above the target from 6 ms on, for an interval at 106 ms.
    let mut at = 106.0;
    let mut count = 1.0_f64;
    while at < 2000.0 {
        expected.push(f64::ceil(at - 1e-6) as u64);
        at += 100.0 / count.sqrt();
        count += 1.0;
    }
    assert_eq!(times[..8], expected[..8]);
    assert!(times.len().abs_diff(expected.len()) <= 1);
}

#[test]
fn codel_leaves_a_queue_of_one_packet_alone() {
    let profile = QueueProfile {
        limit: QueueLimit::Packets(10),
        discipline: Discipline::CoDel(CoDel::default()),
    };
    let mut queue = Queue::new(&profile, 1_000_000);
    let mut dropped = Vec::new();
    for step in 0..100 {
        let now = Nanos(step * 50 * MILLISECOND);
        queue.push(unit(1000, 0), now, &mut random(), &mut dropped);
        let later = Nanos(now.0 + 49 * MILLISECOND);
        assert!(queue.pop(later, &mut dropped).is_some());
    }
    assert!(dropped.is_empty());
}

#[test]
fn red_averages_and_forgets_while_idle() {
    let parameters = Red {
        weight_log2: 1,
        ..Red::default()
    };
    let mut red = RedState::new(parameters);
    let judge = |red: &mut RedState, bytes, now| {
        red.judge(
            bytes,
            &unit(1000, now),
            8_000_000,
            Nanos(now),
            &mut random(),
        )
    };
    judge(&mut red, 20_000, 0);
    assert_eq!(red.average(), 10_000.0);
    judge(&mut red, 20_000, 1);
    assert_eq!(red.average(), 15_000.0);
    // A packet of 1000 bytes takes a millisecond: two could have passed.
    red.is_empty_since(Nanos(10 * MILLISECOND));
    judge(&mut red, 0, 12 * MILLISECOND);
    assert_eq!(red.average(), 15_000.0 / 8.0);
}

#[test]
fn red_drops_its_share() {
    let parameters = Red {
        min: 10_000,
        max: 30_000,
        share: WHOLE / 10,
        weight_log2: 0,
        ecn: false,
    };
    // Half way: a base share of 5 %, which even spacing turns into one drop in about 10.5 packets (Floyd 1993, §7).
    let share_at = |bytes: u64| {
        let (mut red, mut random) = (RedState::new(parameters), random());
        let drops = (0..20_000)
            .filter(|now| {
                red.judge(
                    bytes,
                    &unit(100, *now),
                    1_000_000_000,
                    Nanos(*now),
                    &mut random,
                ) == Verdict::Drop
            })
            .count();
        drops as f64 / 20_000.0
    };
    assert_eq!(share_at(9_999), 0.0);
    let half = share_at(20_000);
    assert!((half - 1.0 / 10.5).abs() < 0.01, "{half}");
    assert_eq!(share_at(60_000), 1.0);
}

#[test]
fn pie_steers_its_share_by_the_waiting_time() {
    let pie = Pie {
        burst_ns: 0,
        ..Pie::default()
    };
    let mut state = PieState::new(pie);
    // 8 Mbit/s: a byte a microsecond; 100 kB are 100 ms, far above the target.
    for look in 0..200 {
        state.update(100_000, 8_000_000, Nanos(look * 15 * MILLISECOND));
    }
    let congested = state.share();
    assert!(congested > 0.05, "{congested}");
    for look in 200..2000 {
        state.update(0, 8_000_000, Nanos(look * 15 * MILLISECOND));
    }
    assert!(state.share() < 1e-6);
}

#[test]
fn pie_lets_a_burst_pass() {
    let mut state = PieState::new(Pie::default());
    let mut random = random();
    let drops = (0..140 * 8)
        .filter(|step| {
            let now = Nanos(step * MILLISECOND / 8);
            let verdict = state.judge(100_000, &unit(125, now.0), 8_000_000, now, &mut random);
            verdict != Verdict::Pass
        })
        .count();
    assert_eq!(drops, 0);
}
