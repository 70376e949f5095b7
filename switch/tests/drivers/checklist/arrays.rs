//! §9.3.2 Counters and §9.4 meters that belong to no table.

use tonic::Code;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::entity::Entity as Wire;
use weft_proto::p4::v1::update::Type::{Delete, Insert, Modify};

use super::{change, codes, entry_update, outcome, send};
use crate::client::{A_WHILE, Lab, SOON, at, frame, switches};
use crate::pipeline;

const CONFIG: wire::MeterConfig = wire::MeterConfig {
    cir: 0,
    cburst: 2,
    pir: 0,
    pburst: 3,
    eburst: 0,
};

fn meter(index: Option<i64>, config: Option<wire::MeterConfig>) -> wire::MeterEntry {
    wire::MeterEntry {
        meter_id: pipeline::schema().meters().next().unwrap().id.0,
        index: index.map(|index| wire::Index { index }),
        config,
        counter_data: None,
    }
}

fn counter(index: Option<i64>, packets: Option<i64>) -> wire::CounterEntry {
    wire::CounterEntry {
        counter_id: pipeline::schema().counters().next().unwrap().id.0,
        index: index.map(|index| wire::Index { index }),
        data: packets.map(|packet_count| wire::CounterData {
            packet_count,
            byte_count: packet_count * 100,
        }),
    }
}

async fn read(lab: &Lab, entity: Wire) -> Result<Vec<wire::Entity>, tonic::Status> {
    let entity = wire::Entity {
        entity: Some(entity),
    };
    lab.read_wire(1, vec![entity]).await.1
}

async fn meters(lab: &Lab, filter: wire::MeterEntry) -> Vec<wire::MeterEntry> {
    let read = read(lab, Wire::MeterEntry(filter)).await.unwrap();
    let meters = read.into_iter().map(|entity| match entity.entity.unwrap() {
        Wire::MeterEntry(meter) => meter,
        other => panic!("expected a meter, not {other:?}"),
    });
    meters.collect()
}

async fn counters(lab: &Lab, filter: wire::CounterEntry) -> Vec<(i64, i64)> {
    let read = read(lab, Wire::CounterEntry(filter)).await.unwrap();
    let counters = read.into_iter().map(|entity| match entity.entity.unwrap() {
        Wire::CounterEntry(counter) => (
            counter.index.unwrap().index,
            counter.data.unwrap().packet_count,
        ),
        other => panic!("expected a counter, not {other:?}"),
    });
    counters.collect()
}

/// §9.3.2, §9.4.2: cells are modified, never inserted or deleted.
#[tokio::test]
async fn cells_are_modified_only() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let both = |kind| {
        vec![
            change(kind, Wire::MeterEntry(meter(Some(1), Some(CONFIG)))),
            change(kind, Wire::CounterEntry(counter(Some(1), Some(1)))),
        ]
    };
    for kind in [Insert, Delete] {
        let codes = outcome(&lab, both(kind)).await;
        assert_eq!(codes, [Code::InvalidArgument; 2]);
    }
    assert_eq!(outcome(&lab, both(Modify)).await, [Code::Ok; 2]);
}

/// §9.3.2, §9.4.2: a negative index is invalid, one beyond the array out of range; an unknown array is invalid.
#[tokio::test]
async fn an_index_is_a_cell_of_the_array() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    for (index, code) in [
        (-1, Code::InvalidArgument),
        (8, Code::OutOfRange),
        (7, Code::Ok),
    ] {
        let updates = vec![
            change(Modify, Wire::MeterEntry(meter(Some(index), None))),
            change(Modify, Wire::CounterEntry(counter(Some(index), None))),
        ];
        assert_eq!(outcome(&lab, updates).await, [code; 2]);
        if code != Code::Ok {
            let filters = [
                Wire::MeterEntry(meter(Some(index), None)),
                Wire::CounterEntry(counter(Some(index), None)),
            ];
            for filter in filters {
                assert_eq!(codes(&read(&lab, filter).await.unwrap_err()), [code]);
            }
        }
    }
    let unknown = wire::MeterEntry {
        meter_id: 0x1400_0063,
        ..meter(Some(1), None)
    };
    let nobody = wire::CounterEntry {
        counter_id: 0,
        ..counter(Some(1), None)
    };
    let updates = vec![
        change(Modify, Wire::MeterEntry(unknown)),
        change(Modify, Wire::CounterEntry(nobody)),
    ];
    assert_eq!(outcome(&lab, updates).await, [Code::InvalidArgument; 2]);
}

/// §9.4: a configuration has no negative number, no excess burst, and a peak rate that is not below the committed one.
#[tokio::test]
async fn a_meter_takes_configurations_of_two_rates_only() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let wrong = [
        wire::MeterConfig {
            eburst: 1,
            ..CONFIG
        },
        wire::MeterConfig { cir: -1, ..CONFIG },
        wire::MeterConfig { cir: 1, ..CONFIG },
        wire::MeterConfig {
            pburst: 0,
            ..CONFIG
        },
    ];
    let updates = wrong.map(|config| {
        let entry = meter(Some(1), Some(config));
        change(Modify, Wire::MeterEntry(entry))
    });
    assert_eq!(
        outcome(&lab, updates.into()).await,
        [Code::InvalidArgument; 4]
    );
    assert!(meters(&lab, meter(Some(1), None)).await[0].config.is_none());
}

/// §9.4.2: without an index all cells are set or read; an unset configuration goes back to "all green" and reads back
/// unset; id 0 reads all meters.
#[tokio::test]
async fn all_cells_of_a_meter_are_one_request() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let modify = |index, config| vec![change(Modify, Wire::MeterEntry(meter(index, config)))];
    lab.write_wire(1, modify(None, Some(CONFIG))).await.unwrap();
    lab.write_wire(1, modify(Some(3), None)).await.unwrap();
    let all = meters(&lab, meter(None, None)).await;
    let configs: Vec<_> = all.iter().map(|meter| meter.config).collect();
    let mut expected = vec![Some(CONFIG); 8];
    expected[3] = None;
    assert_eq!(configs, expected);
    assert!(all.iter().all(|meter| meter.counter_data.is_none()));
    assert_eq!(meters(&lab, wire::MeterEntry::default()).await, all);
    assert_eq!(meters(&lab, meter(Some(5), None)).await, [all[5]]);
    lab.write_wire(1, modify(None, None)).await.unwrap();
    let all = meters(&lab, meter(None, None)).await;
    assert!(all.iter().all(|meter| meter.config.is_none()));
}

/// §9.4: packets get the colour that the configuration gives them, counted by colour; the counters are read where the
/// request has them, and can be set to zero only.
#[tokio::test]
async fn packets_are_coloured_and_counted_by_colour() {
    let lab = Lab::start(switches(1, 2)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let _primary = lab.own(1).await;
    let updates = vec![
        entry_update(Insert, send(1, 2)),
        change(Modify, Wire::MeterEntry(meter(Some(1), Some(CONFIG)))),
    ];
    lab.write_wire(1, updates).await.unwrap();
    // Rates of 0: the bursts are all that ever passes.
    for _ in 0..5 {
        one.send(&frame(0x0800, &[0; 46]));
    }
    for _ in 0..3 {
        two.receive(SOON).unwrap();
    }
    assert_eq!(two.receive(A_WHILE), None);
    let asked = wire::MeterEntry {
        counter_data: Some(wire::MeterCounterData::default()),
        ..meter(Some(1), None)
    };
    let packets = |meter: &wire::MeterEntry| {
        let counters = meter.counter_data.unwrap();
        let count = |data: Option<wire::CounterData>| data.unwrap().packet_count;
        [
            count(counters.green),
            count(counters.yellow),
            count(counters.red),
        ]
    };
    let read = meters(&lab, asked).await;
    assert_eq!(packets(&read[0]), [2, 1, 2]);
    let counted = wire::MeterEntry {
        counter_data: read[0].counter_data,
        ..meter(Some(1), Some(CONFIG))
    };
    let refused = outcome(&lab, vec![change(Modify, Wire::MeterEntry(counted))]).await;
    assert_eq!(refused, [Code::InvalidArgument]);
    let clear = wire::MeterEntry {
        config: Some(CONFIG),
        ..asked
    };
    let done = outcome(&lab, vec![change(Modify, Wire::MeterEntry(clear))]).await;
    assert_eq!(done, [Code::Ok]);
    assert_eq!(packets(&meters(&lab, asked).await[0]), [0, 0, 0]);
}

/// §9.3.2: cells begin with 0, are counted by packets, set one by one or together, left alone without data, and read
/// by index, by array, or all.
#[tokio::test]
async fn counters_are_counted_set_and_read() {
    let lab = Lab::start(switches(1, 2)).await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    let _primary = lab.own(1).await;
    lab.write_wire(1, vec![entry_update(Insert, send(1, 2))])
        .await
        .unwrap();
    one.send(&frame(0x0800, &[0; 46]));
    two.receive(SOON).unwrap();
    let mut expected: Vec<(i64, i64)> = (0..8).map(|index| (index, 0)).collect();
    expected[1].1 = 1;
    assert_eq!(counters(&lab, counter(None, None)).await, expected);
    let modify = |index, packets| change(Modify, Wire::CounterEntry(counter(index, packets)));
    let updates = vec![modify(Some(4), Some(40)), modify(Some(1), None)];
    assert_eq!(outcome(&lab, updates).await, [Code::Ok; 2]);
    expected[4].1 = 40;
    assert_eq!(
        counters(&lab, wire::CounterEntry::default()).await,
        expected
    );
    assert_eq!(counters(&lab, counter(Some(4), None)).await, [(4, 40)]);
    assert_eq!(outcome(&lab, vec![modify(None, Some(2))]).await, [Code::Ok]);
    let all = counters(&lab, counter(None, None)).await;
    assert!(all.iter().all(|&(_, packets)| packets == 2));
    let refused = outcome(&lab, vec![modify(Some(1), Some(-1))]).await;
    assert_eq!(refused, [Code::InvalidArgument]);
}

/// §11.2: what a batch that is undone said of counters and meters is undone as well.
#[tokio::test]
async fn a_batch_that_is_undone_leaves_cells_as_they_were() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    let request = wire::WriteRequest {
        device_id: 1,
        election_id: Some(crate::client::election(1)),
        updates: vec![
            change(Modify, Wire::MeterEntry(meter(Some(1), Some(CONFIG)))),
            change(Modify, Wire::CounterEntry(counter(Some(1), Some(9)))),
            entry_update(Delete, send(1, 1)),
        ],
        atomicity: wire::write_request::Atomicity::DataplaneAtomic.into(),
        ..wire::WriteRequest::default()
    };
    let refused = lab.p4.clone().write(request).await.unwrap_err();
    let aborted = Code::Aborted;
    assert_eq!(codes(&refused), [aborted, aborted, Code::NotFound]);
    assert!(meters(&lab, meter(Some(1), None)).await[0].config.is_none());
    assert_eq!(counters(&lab, counter(Some(1), None)).await, [(1, 0)]);
}
