//! Meters and counters that belong to no table, as packets see them.

use weft_proto::vocab::{CounterId, CounterValue, MeterConfig, MeterId};

use super::*;
use crate::ir::{BinaryOp, CounterArray, Meter, MeterUnit, Node, NodeKind, Op};
use crate::state::WriteError;
use crate::testing::*;
use crate::vnet::{GSO_TCPV4, NEEDS_CSUM, VnetHdr};

const METER: MeterId = MeterId(0x1400_0001);
const COUNTER: CounterId = CounterId(0x1200_0001);
const PACKETS: MeterConfig = MeterConfig {
    cir: 1,
    cburst: 2,
    pir: 1,
    pburst: 3,
};

/// The router, behind a meter and a counter at the port of entry: what is red is dropped as `red`, what is yellow as
/// `yellow`.
fn metered(unit: MeterUnit) -> Bench {
    let mut pipeline = router();
    pipeline.meters = vec![Meter {
        name: "police".into(),
        doc: String::new(),
        size: 100,
        unit,
        annotations: Vec::new(),
    }];
    pipeline.counters = vec![CounterArray {
        name: "seen".into(),
        doc: String::new(),
        size: 3,
        annotations: Vec::new(),
    }];
    let refuse = |color: u128, reason: &str| Op::If {
        cond: op(BinaryOp::Eq, field("meta.reason"), number(color, 8)),
        then: vec![Op::Drop(reason.into()), Op::Exit],
        otherwise: Vec::new(),
    };
    let ops = vec![
        Op::Count {
            counter: "seen".into(),
            index: field("std.in_port"),
        },
        Op::Meter {
            meter: "police".into(),
            index: field("std.in_port"),
            dst: "meta.reason".into(),
        },
        refuse(1, "yellow"),
        refuse(2, "red"),
    ];
    let next = pipeline.ingress.start.replace("police".into());
    pipeline.ingress.nodes.push(Node {
        name: "police".into(),
        kind: NodeKind::Run { ops, next },
    });
    let mut bench = Bench::with(pipeline);
    bench.bridge_to(2);
    bench
}

fn small() -> Packet {
    Packet::from_bytes(&tcp4(HOST_MAC, &[0; 6]))
}

fn counted(packets: u64, bytes: u64) -> CounterValue {
    CounterValue { packets, bytes }
}

#[test]
fn a_cell_says_green_until_it_is_configured_and_again_when_that_is_taken_back() {
    let mut bench = metered(MeterUnit::Packets);
    for _ in 0..5 {
        bench.forwarded(1, small());
    }
    let state = &mut bench.datapath.state;
    state.set_meter(METER, Some(1), Some(PACKETS)).unwrap();
    bench.forwarded(1, small());
    bench.forwarded(1, small());
    assert_eq!(bench.dropped(1, small()), "yellow");
    assert_eq!(bench.dropped(1, small()), "red");
    // Another port is another cell.
    bench.forwarded(3, small());
    let seen = bench.datapath.state.meter(METER, Some(1)).next().unwrap();
    assert_eq!(seen.cell.config, Some(PACKETS));
    assert_eq!(seen.counters.green, counted(7, 7 * 60));
    assert_eq!(seen.counters.yellow, counted(1, 60));
    assert_eq!(seen.counters.red, counted(1, 60));
    let state = &mut bench.datapath.state;
    // The same again changes nothing; anything else begins with full buckets.
    state.set_meter(METER, Some(1), Some(PACKETS)).unwrap();
    assert_eq!(bench.dropped(1, small()), "red");
    let more = MeterConfig { cir: 0, ..PACKETS };
    let state = &mut bench.datapath.state;
    state.set_meter(METER, None, Some(more)).unwrap();
    bench.forwarded(1, small());
    bench.datapath.state.set_meter(METER, None, None).unwrap();
    for _ in 0..9 {
        bench.forwarded(1, small());
    }
}

#[test]
fn clones_share_what_packets_change_and_not_the_configuration() {
    let mut bench = metered(MeterUnit::Packets);
    let before = bench.datapath.state.clone();
    let state = &mut bench.datapath.state;
    state.set_meter(METER, Some(1), Some(PACKETS)).unwrap();
    let after = bench.datapath.state.clone();
    bench.forwarded(1, small());
    bench.forwarded(1, small());
    let green = |state: &State| state.meter(METER, Some(1)).next().unwrap().counters.green;
    assert_eq!(green(&before), green(&after));
    assert_eq!(green(&after).packets, 2);
    assert_eq!(
        before.meter(METER, Some(1)).next().unwrap().cell.config,
        None
    );
    bench.datapath.state = after;
    assert_eq!(bench.dropped(1, small()), "yellow");
    bench.datapath.state = before;
    bench.forwarded(1, small());
}

#[test]
fn a_super_packet_counts_as_its_segments() {
    let mut bench = metered(MeterUnit::Packets);
    let state = &mut bench.datapath.state;
    state.set_meter(METER, Some(1), Some(PACKETS)).unwrap();
    let mut large = Packet::from_bytes(&tcp4(HOST_MAC, &[0; 4000]));
    large.vnet = VnetHdr {
        flags: NEEDS_CSUM,
        gso_type: GSO_TCPV4,
        hdr_len: 54,
        gso_size: 1000,
        csum_start: 34,
        csum_offset: 16,
    };
    bench.forwarded(1, large);
    assert_eq!(bench.dropped(1, small()), "red");
    let seen = bench.datapath.state.meter(METER, Some(1)).next().unwrap();
    assert_eq!(seen.counters.green, counted(4, 4 * 54 + 4000));
    let count = bench.datapath.state.counter(COUNTER, Some(1)).next();
    assert_eq!(count, Some((1, counted(5, 4 * 54 + 4000 + 60))));
    // Two segments of debt are paid after two seconds, and then there is one token.
    bench.now = Nanos(2_000_000_000);
    assert_eq!(bench.dropped(1, small()), "yellow");
}

#[test]
fn counters_are_set_one_by_one_or_together_and_read_so() {
    let mut bench = metered(MeterUnit::Bytes);
    bench.forwarded(1, small());
    bench.forwarded(1, small());
    // Port 3 has no cell.
    bench.forwarded(3, small());
    let read =
        |bench: &Bench, index| -> Vec<_> { bench.datapath.state.counter(COUNTER, index).collect() };
    let zero = counted(0, 0);
    assert_eq!(
        read(&bench, None),
        [(0, zero), (1, counted(2, 120)), (2, zero)]
    );
    let state = &bench.datapath.state;
    state.set_counter(COUNTER, Some(2), counted(9, 99)).unwrap();
    assert_eq!(read(&bench, Some(2)), [(2, counted(9, 99))]);
    let refused = bench.datapath.state.set_counter(COUNTER, Some(3), zero);
    assert!(matches!(refused, Err(WriteError::NoCell { .. })));
    assert_eq!(read(&bench, Some(3)), []);
    bench
        .datapath
        .state
        .set_counter(COUNTER, None, zero)
        .unwrap();
    assert_eq!(read(&bench, None), [(0, zero), (1, zero), (2, zero)]);
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    let mut bench = metered(MeterUnit::Bytes);
    let state = &mut bench.datapath.state;
    let slow_peak = MeterConfig { pir: 0, ..PACKETS };
    let no_burst = MeterConfig {
        cburst: 0,
        ..PACKETS
    };
    for wrong in [slow_peak, no_burst] {
        let refused = state.set_meter(METER, Some(1), Some(wrong));
        assert!(matches!(refused, Err(WriteError::Invalid { .. })));
    }
    let refused = state.set_meter(METER, Some(100), Some(PACKETS));
    assert!(matches!(refused, Err(WriteError::NoCell { .. })));
    let refused = state.set_meter(MeterId(0x1400_0002), None, None);
    assert!(matches!(refused, Err(WriteError::Invalid { .. })));
    assert!(
        state
            .meter(METER, None)
            .all(|view| view.cell.config.is_none())
    );
}

#[test]
fn mistakes_in_meters_and_counters_are_found() {
    let mistakes = |change: &dyn Fn(&mut crate::ir::Pipeline)| {
        let mut pipeline = metered(MeterUnit::Bytes)
            .datapath
            .state
            .program()
            .pipeline()
            .clone();
        change(&mut pipeline);
        Program::new(pipeline).unwrap_err()
    };
    let twice = mistakes(&|pipeline| pipeline.meters.push(pipeline.meters[0].clone()));
    assert!(twice.iter().any(|m| m.problem == "is declared twice"));
    let empty = mistakes(&|pipeline| pipeline.counters[0].size = 0);
    assert!(empty[0].problem.contains("1 to"), "{empty:?}");
    let gone = mistakes(&|pipeline| pipeline.meters.clear());
    assert_eq!(gone[0].problem, "there is no meter police");
    let header = mistakes(&|pipeline| {
        let node = pipeline.ingress.nodes.last_mut().unwrap();
        if let NodeKind::Run { ops, .. } = &mut node.kind {
            ops[1] = Op::Meter {
                meter: "police".into(),
                index: number(0, 32),
                dst: "ipv4.ttl".into(),
            };
        }
    });
    assert!(header[0].problem.contains("no metadata"), "{header:?}");
}
