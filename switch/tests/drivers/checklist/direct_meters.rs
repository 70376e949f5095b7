//! §9.1.7 Direct resources, §9.4.1 Direct meters.

use tonic::Code;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::entity::Entity as Wire;
use weft_proto::p4::v1::update::Type::{Delete, Insert, Modify};

use super::{change, codes, entry, entry_update, outcome, read_entries, send};
use crate::client::{A_WHILE, Lab, SOON, Stream, at, frame, switches};
use crate::pipeline;

/// No rate: the bursts are all that ever passes.
const CONFIG: wire::MeterConfig = wire::MeterConfig {
    cir: 0,
    cburst: 2,
    pir: 0,
    pburst: 3,
    eburst: 0,
};

async fn metered() -> (Lab, Stream) {
    let lab = Lab::start(switches(1, 2)).await;
    let config = pipeline::config_of(pipeline::with_direct_meters(), 1);
    let primary = lab.own_with(1, config).await;
    (lab, primary)
}

fn with(config: Option<wire::MeterConfig>) -> wire::TableEntry {
    wire::TableEntry {
        meter_config: config,
        ..send(1, 2)
    }
}

fn meter(entry: wire::TableEntry, config: Option<wire::MeterConfig>) -> Wire {
    Wire::DirectMeterEntry(wire::DirectMeterEntry {
        table_entry: Some(wire::TableEntry {
            action: None,
            ..entry
        }),
        config,
        counter_data: None,
    })
}

async fn config(lab: &Lab, entry: wire::TableEntry) -> Option<wire::MeterConfig> {
    let filter = wire::TableEntry {
        action: None,
        meter_config: Some(wire::MeterConfig::default()),
        ..entry
    };
    read_entries(lab, filter).await[0].meter_config
}

/// §9.1.7: INSERT and MODIFY configure the meter, unset as the default, in which every packet is green; a read has it
/// where the request has, and where it is not the default.
#[tokio::test]
async fn a_meter_is_configured_with_its_entry_and_reset_without() {
    let (lab, _primary) = metered().await;
    let other = wire::MeterConfig {
        pburst: 9,
        ..CONFIG
    };
    let steps = [
        (Insert, with(Some(CONFIG)), Some(CONFIG)),
        (Modify, with(Some(other)), Some(other)),
        (Modify, with(None), None),
    ];
    for (kind, entry, expected) in steps {
        let done = outcome(&lab, vec![entry_update(kind, entry)]).await;
        assert_eq!(done, [Code::Ok]);
        assert_eq!(config(&lab, send(1, 2)).await, expected);
    }
    let plain = read_entries(&lab, entry("forward", &[], 0, None)).await;
    assert_eq!(plain, [send(1, 2)]);
}

/// §9.4.1: only MODIFY, of an entry that exists in a table with meters; unset is the default. Default entries have
/// meters, too.
#[tokio::test]
async fn a_direct_meter_is_modified_where_its_entry_is() {
    let (lab, _primary) = metered().await;
    let default = wire::TableEntry {
        is_default_action: true,
        ..entry("forward", &[], 0, None)
    };
    let wrong = wire::MeterConfig {
        eburst: 1,
        ..CONFIG
    };
    let updates = vec![
        entry_update(Insert, send(1, 2)),
        change(Modify, meter(send(1, 2), Some(CONFIG))),
        change(Modify, meter(default.clone(), Some(CONFIG))),
        change(Modify, meter(send(3, 2), Some(CONFIG))),
        change(Insert, meter(send(1, 2), Some(CONFIG))),
        change(Delete, meter(send(1, 2), None)),
        change(Modify, meter(send(1, 2), Some(wrong))),
        change(Modify, meter(entry("deny", &[], 1, None), Some(CONFIG))),
    ];
    let (done, invalid) = (Code::Ok, Code::InvalidArgument);
    let expected = [
        done,
        done,
        done,
        Code::NotFound,
        invalid,
        invalid,
        invalid,
        invalid,
    ];
    assert_eq!(outcome(&lab, updates).await, expected);
    assert_eq!(config(&lab, send(1, 2)).await, Some(CONFIG));
    assert_eq!(config(&lab, default).await, Some(CONFIG));
    let reset = vec![change(Modify, meter(send(1, 2), None))];
    assert_eq!(outcome(&lab, reset).await, [done]);
    assert_eq!(config(&lab, send(1, 2)).await, None);
    let no_meter = wire::TableEntry {
        meter_config: Some(CONFIG),
        ..entry("deny", &[], 1, Some(("pass", &[])))
    };
    assert_eq!(
        outcome(&lab, vec![entry_update(Insert, no_meter)]).await,
        [invalid]
    );
}

/// §9.4, §9.1.7: packets that hit the entry are coloured by its meter, and counted by colour; the counters are read
/// where asked for, and can be set to zero only.
#[tokio::test]
async fn packets_of_an_entry_are_coloured_and_counted() {
    let (lab, _primary) = metered().await;
    let one = lab.host.attach_memory(at(1, 1)).unwrap();
    let two = lab.host.attach_memory(at(1, 2)).unwrap();
    lab.write_wire(1, vec![entry_update(Insert, with(Some(CONFIG)))])
        .await
        .unwrap();
    for _ in 0..5 {
        one.send(&frame(0x0800, &[0; 46]));
    }
    for _ in 0..3 {
        two.receive(SOON).unwrap();
    }
    assert_eq!(two.receive(A_WHILE), None);
    let read = async || {
        let query = wire::DirectMeterEntry {
            table_entry: Some(wire::TableEntry::default()),
            config: None,
            counter_data: Some(wire::MeterCounterData::default()),
        };
        let query = wire::Entity {
            entity: Some(Wire::DirectMeterEntry(query)),
        };
        let read = lab.read_wire(1, vec![query]).await.1.unwrap();
        match read[0].entity.clone().unwrap() {
            Wire::DirectMeterEntry(meter) => {
                let counters = meter.counter_data.unwrap();
                let colors = [counters.green, counters.yellow, counters.red];
                (meter.config, colors.map(|data| data.unwrap().packet_count))
            }
            other => panic!("expected a direct meter, not {other:?}"),
        }
    };
    assert_eq!(read().await, (Some(CONFIG), [2, 1, 2]));
    let set = |red| wire::TableEntry {
        meter_counter_data: Some(wire::MeterCounterData {
            red: Some(wire::CounterData {
                packet_count: red,
                byte_count: 0,
            }),
            ..wire::MeterCounterData::default()
        }),
        ..with(Some(CONFIG))
    };
    let refused = outcome(&lab, vec![entry_update(Modify, set(1))]).await;
    assert_eq!(refused, [Code::InvalidArgument]);
    assert_eq!(
        outcome(&lab, vec![entry_update(Modify, set(0))]).await,
        [Code::Ok]
    );
    assert_eq!(read().await, (Some(CONFIG), [0, 0, 0]));
    // The same configuration again: the buckets go on, and are empty.
    one.send(&frame(0x0800, &[0; 46]));
    assert_eq!(two.receive(A_WHILE), None);
}

/// §9.4.1: a read of one meter wants its entry, and a table that has meters.
#[tokio::test]
async fn a_direct_meter_is_read_where_its_entry_is() {
    let (lab, _primary) = metered().await;
    let read = async |entry| {
        let query = wire::Entity {
            entity: Some(meter(entry, None)),
        };
        lab.read_wire(1, vec![query]).await.1
    };
    let missing = read(send(1, 2)).await.unwrap_err();
    assert_eq!(codes(&missing), [Code::NotFound]);
    let none = read(entry("deny", &[], 0, None)).await.unwrap_err();
    assert_eq!(codes(&none), [Code::InvalidArgument]);
    assert_eq!(read(wire::TableEntry::default()).await.unwrap(), []);
}
