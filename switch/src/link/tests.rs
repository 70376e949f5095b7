//! The link engine against plain references, and what must hold whatever the profile.

#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

mod properties;

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
