//! The link engine against plain references, and what must hold whatever the profile.

#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

use proptest::prelude::*;

use super::*;
use crate::packet::Packet;
use crate::segment::{validate, without_offloads};
use crate::testing::{HOST_MAC, tcp4, udp4};
use crate::vnet::{GSO_TCPV4, NEEDS_CSUM, VnetHdr};

const L2: Framing = Framing {
    is_l2: true,
    uncounted: 0,
};
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

fn key() -> StreamKey {
    StreamKey::new(5, "a--b", 0)
}

fn direction(profile: Profile) -> LinkDirection<()> {
    LinkDirection::new(key(), profile).unwrap()
}

/// A datagram with a number in it.
fn datagram(number: u32, len: usize) -> Packet {
    let mut payload = vec![0; len.max(4)];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    Packet::from_bytes(&udp4(HOST_MAC, &payload))
}

fn number(packet: &Packet) -> u32 {
    let mut bytes = [0; 4];
    packet.copy_range(42, 4, |at, part| {
        bytes[at..at + part.len()].copy_from_slice(part)
    });
    u32::from_be_bytes(bytes)
}

/// A super-packet of `segments` segments.
fn super_packet(segments: usize, size: u16) -> Packet {
    let payload: Vec<u8> = (0..segments * usize::from(size))
        .map(|at| (at % 251) as u8)
        .collect();
    let mut packet = Packet::from_bytes(&tcp4(HOST_MAC, &payload));
    packet.vnet = VnetHdr {
        flags: NEEDS_CSUM,
        gso_type: GSO_TCPV4,
        hdr_len: 0,
        gso_size: size,
        csum_start: 34,
        csum_offset: 16,
    };
    validate(&mut packet, true).unwrap();
    packet
}

/// Runs a direction until nothing is left; what arrives, with the time of its arrival.
fn drain(link: &mut LinkDirection<()>, pool: &mut Pool) -> Vec<(u64, Packet)> {
    let mut arrived = Vec::new();
    let mut out = Vec::new();
    while let Some(at) = link.next_event() {
        link.poll(at, pool, &mut out);
        arrived.extend(out.drain(..).map(|(packet, ())| (at.0, packet)));
    }
    arrived
}

fn conserves(counters: &LinkCounters) -> bool {
    let dropped: u64 = counters.dropped.iter().sum();
    counters.entered + counters.copies == counters.left + dropped + counters.on_link()
}

#[test]
fn a_wire_delivers_at_once_and_in_order() {
    let (mut link, mut pool) = (direction(Profile::default()), Pool::default());
    for index in 0..3 {
        link.offer(datagram(index, 100), (), L2, Nanos(7), &mut pool);
    }
    let arrived = drain(&mut link, &mut pool);
    let seen: Vec<_> = arrived
        .iter()
        .map(|(at, packet)| (*at, number(packet)))
        .collect();
    assert_eq!(seen, [(7, 0), (7, 1), (7, 2)]);
}

#[test]
fn a_rate_and_a_delay_add_up_to_the_nanosecond() {
    let profile = Profile {
        rate: Some(8_000_000),
        delay_ns: 2 * MILLISECOND,
        ..Profile::default()
    };
    let (mut link, mut pool) = (direction(profile), Pool::default());
    // 42 bytes of headers; a byte takes a microsecond.
    for index in 0..3 {
        link.offer(datagram(index, 958), (), L2, Nanos(500), &mut pool);
    }
    let times: Vec<u64> = drain(&mut link, &mut pool)
        .iter()
        .map(|(at, _)| *at)
        .collect();
    let first = 500 + MILLISECOND + 2 * MILLISECOND;
    assert_eq!(times, [first, first + MILLISECOND, first + 2 * MILLISECOND]);
}

#[test]
fn a_rate_does_not_drift() {
    // 3 Gbit/s: a packet of 100 bytes takes 266 2/3 ns.
    let profile = Profile {
        rate: Some(3 * SECOND),
        queue: QueueProfile {
            limit: QueueLimit::Packets(10_000),
            ..QueueProfile::default()
        },
        ..Profile::default()
    };
    let (mut link, mut pool) = (direction(profile), Pool::default());
    for index in 0..3000 {
        link.offer(datagram(index, 58), (), L2, Nanos(0), &mut pool);
    }
    let arrived = drain(&mut link, &mut pool);
    assert_eq!(arrived.len(), 3000);
    assert_eq!(arrived[2999].0, 800_000);
}

#[test]
fn a_marked_packet_has_a_right_header_checksum() {
    let mut packet = datagram(1, 100);
    packet.head_mut()[15] = 2;
    let fixed = {
        let head = packet.head_mut();
        head[24..26].fill(0);
        let sum = crate::checksum::finish(crate::checksum::sum(&head[14..34]));
        head[24..26].copy_from_slice(&sum.to_be_bytes());
        packet
    };
    let red = Red {
        min: 1,
        max: 1_000_000,
        share: WHOLE,
        weight_log2: 0,
        ecn: true,
    };
    let profile = Profile {
        rate: Some(1_000_000),
        queue: QueueProfile {
            discipline: Discipline::Red(red),
            ..QueueProfile::default()
        },
        ..Profile::default()
    };
    let (mut link, mut pool) = (direction(profile), Pool::default());
    for _ in 0..900 {
        link.offer(fixed.clone(), (), L2, Nanos(0), &mut pool);
    }
    let arrived = drain(&mut link, &mut pool);
    assert_eq!(arrived.len(), 900);
    let marked = arrived
        .iter()
        .filter(|(_, packet)| packet.head()[15] & 3 == 3);
    for (_, packet) in marked.clone() {
        assert_eq!(
            crate::checksum::finish(crate::checksum::sum(&packet.head()[14..34])),
            0
        );
    }
    assert!(marked.count() > 10);
    assert_eq!(link.counters().dropped, [0; 5]);
}

#[test]
fn a_corrupt_packet_differs_in_one_bit_and_fails_its_checksum() {
    let profile = Profile {
        corrupt: WHOLE,
        ..Profile::default()
    };
    let (mut link, mut pool) = (direction(profile), Pool::default());
    let packet = super_packet(4, 1000);
    let mut good = Vec::new();
    without_offloads(packet.clone(), true, &mut pool, &mut good);
    link.offer(packet, (), L2, Nanos(0), &mut pool);
    let arrived = drain(&mut link, &mut pool);
    assert_eq!(arrived.len(), 4);
    for ((_, bad), good) in arrived.iter().zip(&good) {
        assert!(!bad.vnet.is_partial() && !bad.vnet.is_gso());
        let bits: u32 = bad
            .to_vec()
            .iter()
            .zip(good.to_vec())
            .map(|(a, b)| (a ^ b).count_ones())
            .sum();
        assert_eq!(bits, 1);
    }
    assert_eq!(link.counters().corrupted, 4);
}

#[test]
fn reordered_packets_are_spared_the_delay() {
    let profile = Profile {
        delay_ns: 10 * MILLISECOND,
        reorder: WHOLE / 4,
        ..Profile::default()
    };
    let (mut link, mut pool) = (direction(profile), Pool::default());
    for index in 0..400 {
        link.offer(
            datagram(index, 60),
            (),
            L2,
            Nanos(u64::from(index) * 1000),
            &mut pool,
        );
    }
    let arrived = drain(&mut link, &mut pool);
    let early = arrived
        .iter()
        .filter(|(at, packet)| *at == u64::from(number(packet)) * 1000)
        .count();
    assert_eq!(early as u64, link.counters().reordered);
    assert!((60..140).contains(&early), "{early}");
    assert_eq!(arrived.len(), 400);
}

#[test]
fn jitter_alone_keeps_the_order() {
    let profile = Profile {
        delay_ns: 10 * MILLISECOND,
        jitter: Jitter {
            spread_ns: 5 * MILLISECOND,
            ..Jitter::default()
        },
        ..Profile::default()
    };
    let (mut link, mut pool) = (direction(profile), Pool::default());
    for index in 0..500 {
        link.offer(
            datagram(index, 60),
            (),
            L2,
            Nanos(u64::from(index) * 10_000),
            &mut pool,
        );
    }
    let numbers: Vec<u32> = drain(&mut link, &mut pool)
        .iter()
        .map(|(_, p)| number(p))
        .collect();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
}

#[test]
fn a_link_that_goes_down_loses_what_is_on_it() {
    let profile = Profile {
        rate: Some(1_000_000),
        delay_ns: MILLISECOND,
        ..Profile::default()
    };
    let (mut link, mut pool) = (direction(profile), Pool::default());
    for index in 0..10 {
        link.offer(datagram(index, 60), (), L2, Nanos(0), &mut pool);
    }
    link.set_up(false, Nanos(MILLISECOND), &mut pool);
    link.offer(datagram(10, 60), (), L2, Nanos(MILLISECOND), &mut pool);
    assert_eq!(link.next_event(), None);
    assert_eq!(link.counters().dropped_by(DropCause::Down), 11);
    link.set_up(true, Nanos(2 * MILLISECOND), &mut pool);
    link.offer(datagram(11, 60), (), L2, Nanos(2 * MILLISECOND), &mut pool);
    assert_eq!(drain(&mut link, &mut pool).len(), 1);
    assert!(conserves(&link.counters()));
}

#[test]
fn a_tag_goes_with_each_part_and_is_given_back_with_each_loss() {
    let profile = Profile {
        loss: Loss::Trace([true, false, false].into()),
        ..Profile::default()
    };
    let mut link = LinkDirection::new(key(), profile).unwrap();
    let (mut pool, mut out) = (Pool::default(), Vec::new());
    link.offer(super_packet(6, 700), 'x', L2, Nanos(0), &mut pool);
    link.poll(Nanos(0), &mut pool, &mut out);
    let parts: Vec<_> = out
        .iter()
        .map(|(packet, tag)| (packet.segments(), *tag))
        .collect();
    assert_eq!(parts, [(2, 'x'), (2, 'x')]);
    let lost: Vec<_> = link.drops().collect();
    assert_eq!(lost, [('x', DropCause::Loss); 2]);
}

#[test]
fn the_mtu_bounds_the_ip_packet_of_each_segment() {
    let profile = Profile {
        mtu: Some(1400),
        ..Profile::default()
    };
    let (mut link, mut pool) = (direction(profile), Pool::default());
    // 28 bytes of IPv4 and UDP, 40 of IPv4 and TCP.
    link.offer(datagram(0, 1372), (), L2, Nanos(0), &mut pool);
    link.offer(datagram(1, 1373), (), L2, Nanos(0), &mut pool);
    link.offer(super_packet(20, 1360), (), L2, Nanos(0), &mut pool);
    link.offer(super_packet(20, 1361), (), L2, Nanos(0), &mut pool);
    assert_eq!(drain(&mut link, &mut pool).len(), 2);
    assert_eq!(link.counters().dropped_by(DropCause::Mtu), 21);
}

#[test]
fn what_labels_and_tags_add_does_not_count() {
    let profile = Profile {
        rate: Some(8_000_000),
        ..Profile::default()
    };
    let (mut link, mut pool) = (direction(profile), Pool::default());
    let framing = Framing {
        is_l2: true,
        uncounted: 26,
    };
    link.offer(datagram(0, 984), (), framing, Nanos(0), &mut pool);
    assert_eq!(drain(&mut link, &mut pool)[0].0, MILLISECOND);
}

#[test]
fn codel_keeps_a_standing_queue_short_and_tail_drop_does_not() {
    // Twice what the line carries, for two seconds, by a sender that does not slow down, at 1000 packets a second.
    let waits = |discipline: Discipline| {
        let profile = Profile {
            rate: Some(4_000_000),
            queue: QueueProfile {
                limit: QueueLimit::Packets(1000),
                discipline,
            },
            ..Profile::default()
        };
        let (mut link, mut pool, mut out) = (direction(profile), Pool::default(), Vec::new());
        let mut waits = Vec::new();
        for index in 0..4000_u32 {
            let now = u64::from(index) * MILLISECOND;
            while let Some(at) = link.next_event().filter(|at| at.0 <= now) {
                link.poll(at, &mut pool, &mut out);
                let came = |packet: &Packet| u64::from(number(packet)) * MILLISECOND;
                waits.extend(out.drain(..).map(|(packet, ())| at.0 - came(&packet)));
            }
            link.offer(datagram(index, 958), (), L2, Nanos(now), &mut pool);
        }
        waits.sort_unstable();
        (waits[waits.len() / 2], link.counters())
    };
    let (tail, counters) = waits(Discipline::TailDrop);
    assert!(tail > 500 * MILLISECOND, "{tail}");
    assert!(counters.dropped_by(DropCause::QueueFull) > 0);
    let (pie, counters) = waits(Discipline::Pie(Pie::default()));
    assert!(pie < 60 * MILLISECOND, "{pie}");
    assert!(counters.dropped_by(DropCause::Aqm) > 1000);
    let (codel, counters) = waits(Discipline::CoDel(CoDel::default()));
    assert!(codel < tail, "{codel}");
    assert!(counters.dropped_by(DropCause::Aqm) > 300);
}

#[test]
fn flows_share_a_fair_queue_evenly() {
    let profile = Profile {
        rate: Some(8_000_000),
        queue: QueueProfile {
            limit: QueueLimit::Packets(200),
            discipline: Discipline::FqCoDel {
                codel: CoDel::default(),
                quantum: 1514,
                flows: 1024,
            },
        },
        ..Profile::default()
    };
    let (mut link, mut pool, mut out) = (direction(profile), Pool::default(), Vec::new());
    // One flow sends ten times as much as the other; each could fill half of the line.
    let mut arrived = [0_u32; 2];
    for step in 0..2000_u64 {
        let now = Nanos(step * MILLISECOND);
        for index in 0..11 {
            let flow = u32::from(index == 10);
            let mut packet = datagram(flow, 958);
            packet.head_mut()[37] = flow as u8 + 1;
            if flow == 0 || step % 2 == 0 {
                link.offer(packet, (), L2, now, &mut pool);
            }
        }
        link.poll(now, &mut pool, &mut out);
        for (packet, ()) in out.drain(..) {
            arrived[number(&packet) as usize] += 1;
        }
    }
    // The small flow sends 500 packets a second, half of the line: all of it arrives, less what still waits.
    assert!(arrived[1] > 950, "{arrived:?}");
    assert!(arrived[0] > 900, "{arrived:?}");
}

fn shares() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 1..WHOLE / 2]
}

fn disciplines() -> impl Strategy<Value = Discipline> {
    prop_oneof![
        Just(Discipline::TailDrop),
        any::<bool>().prop_map(|ecn| Discipline::CoDel(CoDel {
            target_ns: MILLISECOND,
            interval_ns: 10 * MILLISECOND,
            ecn
        })),
        Just(Discipline::FqCoDel {
            codel: CoDel {
                target_ns: MILLISECOND,
                interval_ns: 10 * MILLISECOND,
                ecn: false
            },
            quantum: 300,
            flows: 4,
        }),
        any::<bool>().prop_map(|ecn| Discipline::Red(Red {
            min: 2000,
            max: 20_000,
            share: WHOLE / 10,
            weight_log2: 3,
            ecn
        })),
        Just(Discipline::Pie(Pie {
            target_ns: MILLISECOND,
            update_ns: MILLISECOND,
            burst_ns: 0,
            ecn: false
        })),
    ]
}

prop_compose! {
    fn profiles()(
        rate in proptest::option::of(1_000_000_u64..200_000_000),
        limit in prop_oneof![
            (1_u32..60).prop_map(QueueLimit::Packets),
            (2000_u64..100_000).prop_map(QueueLimit::Bytes)
        ],
        discipline in disciplines(),
        loss in prop_oneof![
            Just(Loss::None),
            (shares(), 0..WHOLE / 2).prop_map(|(share, correlation)| Loss::Random { share, correlation }),
            (shares(), shares(), shares(), shares()).prop_map(|(to_bad, to_good, good, bad)| {
                Loss::GilbertElliott { to_bad, to_good, good, bad }
            }),
        ],
        delay_ns in 1_u64..20 * MILLISECOND,
        spread_ns in prop_oneof![Just(0), 1..10 * MILLISECOND],
        reorder in shares(),
        duplicate in shares(),
        corrupt in shares(),
    ) -> Profile {
        Profile {
            rate,
            queue: if rate.is_some() { QueueProfile { limit, discipline } } else { QueueProfile::default() },
            loss,
            delay_ns,
            jitter: Jitter { spread_ns, ..Jitter::default() },
            reorder,
            duplicate,
            corrupt,
            ..Profile::default()
        }
    }
}

/// Packets with the times at which they are sent.
fn traffic() -> impl Strategy<Value = Vec<(u64, usize)>> {
    let packet = (0_u64..3 * MILLISECOND, 4_usize..1400);
    proptest::collection::vec(packet, 1..60).prop_map(|steps| {
        let mut now = 0;
        steps
            .into_iter()
            .map(|(step, len)| {
                now += step;
                (now, len)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn nothing_is_gained_or_lost_unaccounted(profile in profiles(), traffic in traffic()) {
        let (mut link, mut pool, mut out) = (direction(profile), Pool::default(), Vec::new());
        for (index, (at, len)) in traffic.iter().enumerate() {
            if index % 5 == 4 {
                link.offer(super_packet(1 + len / 200, 700), (), L2, Nanos(*at), &mut pool);
            } else {
                link.offer(datagram(index as u32, *len), (), L2, Nanos(*at), &mut pool);
            }
            prop_assert!(conserves(&link.counters()), "{:?}", link.counters());
            link.poll(Nanos(*at), &mut pool, &mut out);
            prop_assert!(conserves(&link.counters()), "{:?}", link.counters());
        }
        drain(&mut link, &mut pool);
        let counters = link.counters();
        prop_assert!(conserves(&counters), "{counters:?}");
        prop_assert_eq!(counters.on_link(), 0);
        prop_assert_eq!(link.pieces.held, 0);
    }

    /// A caller who comes late decides nothing: the same packets arrive, in the same order.
    #[test]
    fn fates_do_not_depend_on_when_it_is_looked(
        profile in profiles(),
        traffic in traffic(),
        looks in proptest::collection::vec(0_u64..5 * MILLISECOND, 1..40),
    ) {
        let run = |looks: &[u64]| {
            let (mut link, mut pool, mut out) = (direction(profile.clone()), Pool::default(), Vec::new());
            let mut next_look = 0;
            let mut steps = looks.iter().cycle();
            for (index, (at, len)) in traffic.iter().enumerate() {
                while !looks.is_empty() && next_look < *at {
                    link.poll(Nanos(next_look), &mut pool, &mut out);
                    next_look += steps.next().unwrap() + 1;
                }
                link.offer(datagram(index as u32, *len), (), L2, Nanos(*at), &mut pool);
            }
            out.extend(drain(&mut link, &mut pool).into_iter().map(|(_, packet)| (packet, ())));
            (out, link.counters())
        };
        prop_assert_eq!(run(&looks), run(&[]));
    }

    /// The oracle of super-packets: the same segments, sent one by one at the same instant, have the same fates.
    #[test]
    fn a_super_packet_fares_as_its_segments(
        profile in profiles(),
        traffic in proptest::collection::vec((0_u64..5 * MILLISECOND, 1_usize..30), 1..12),
    ) {
        let run = |apart: bool| {
            let (mut link, mut pool) = (direction(profile.clone()), Pool::default());
            let mut now = 0;
            for (step, segments) in &traffic {
                now += step;
                let packet = super_packet(*segments, 700);
                let mut frames = vec![packet];
                if apart {
                    let packet = frames.remove(0);
                    without_offloads(packet, true, &mut pool, &mut frames);
                }
                for frame in frames {
                    link.offer(frame, (), L2, Nanos(now), &mut pool);
                }
            }
            let mut arrived = Vec::new();
            for (at, packet) in drain(&mut link, &mut pool) {
                let mut frames = Vec::new();
                without_offloads(packet, true, &mut pool, &mut frames);
                arrived.extend(frames.into_iter().map(|frame| (at, frame.to_vec())));
            }
            (arrived, link.counters())
        };
        prop_assert_eq!(run(false), run(true));
    }

    /// The oracle of the tail-drop queue: each packet's fate from all before it.
    #[test]
    fn a_tail_drop_queue_is_what_a_plain_account_says(
        rate in 1_000_000_u64..50_000_000,
        limit in 1_u32..20,
        traffic in traffic(),
    ) {
        let profile = Profile {
            rate: Some(rate),
            queue: QueueProfile { limit: QueueLimit::Packets(limit), ..QueueProfile::default() },
            ..Profile::default()
        };
        let (mut link, mut pool) = (direction(profile), Pool::default());
        // (begin, end) of each packet's time on the line, in units of 1 / rate nanoseconds.
        let mut account: Vec<(u128, u128, u32)> = Vec::new();
        let mut arrivals = Vec::new();
        for (index, (at, len)) in traffic.iter().enumerate() {
            while let Some(due) = link.next_event().filter(|due| due.0 <= *at) {
                let mut out = Vec::new();
                link.poll(due, &mut pool, &mut out);
                arrivals.extend(out.iter().map(|(packet, ())| number(packet)));
            }
            link.offer(datagram(index as u32, *len), (), L2, Nanos(*at), &mut pool);
            let now = u128::from(*at) * u128::from(rate);
            let waiting = account.iter().filter(|(begin, _, _)| *begin > now).count();
            let begin = account.last().map_or(now, |last| last.1.max(now));
            let end = begin + (*len as u128 + 42) * 8 * 1_000_000_000;
            if begin == now || waiting < limit as usize {
                account.push((begin, end, index as u32));
            }
        }
        arrivals.extend(drain(&mut link, &mut pool).iter().map(|(_, packet)| number(packet)));
        let expected: Vec<u32> = account.iter().map(|(_, _, index)| *index).collect();
        prop_assert_eq!(arrivals, expected);
    }
}
