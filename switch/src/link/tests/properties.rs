//! What holds whatever the profile, and plain accounts beside the engine.

use proptest::prelude::*;

use super::*;

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
