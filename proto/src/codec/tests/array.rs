//! Cells of meters and counters.

use tonic::Code::{self, InvalidArgument, OutOfRange};

use crate::codec::{
    Cells, Entity, Query, Update, UpdateKind, decode_counter_cell, decode_meter, decode_query,
    decode_update, encode_counter_cell, encode_meter, encode_query, encode_update,
};
use crate::p4::config::v1 as info;
use crate::p4::v1 as wire;
use crate::p4::v1::entity::Entity as Wire;
use crate::p4::v1::update::Type;
use crate::schema::{MeterUnit, Schema};
use crate::vocab::{CounterId, CounterValue, MeterCell, MeterConfig, MeterCounters, MeterId};

const METER: MeterId = MeterId(0x1400_0007);
const COUNTER: CounterId = CounterId(0x1200_0009);
const CONFIG: MeterConfig = MeterConfig {
    cir: 1000,
    cburst: 20,
    pir: 3000,
    pburst: 40,
};

fn schema() -> Schema {
    let preamble = |id, name: &str| {
        Some(info::Preamble {
            id,
            name: name.into(),
            ..info::Preamble::default()
        })
    };
    let info = info::P4Info {
        meters: vec![info::Meter {
            preamble: preamble(METER.0, "rates"),
            spec: Some(info::MeterSpec {
                unit: info::meter_spec::Unit::Packets.into(),
                ..info::MeterSpec::default()
            }),
            size: 8,
            ..info::Meter::default()
        }],
        counters: vec![info::Counter {
            preamble: preamble(COUNTER.0, "seen"),
            size: 8,
            ..info::Counter::default()
        }],
        ..info::P4Info::default()
    };
    Schema::new(&info).unwrap()
}

fn wire_config(config: MeterConfig) -> wire::MeterConfig {
    crate::codec::encode_meter_config(config)
}

fn meter(index: Option<i64>, config: Option<wire::MeterConfig>) -> wire::MeterEntry {
    wire::MeterEntry {
        meter_id: METER.0,
        index: index.map(|index| wire::Index { index }),
        config,
        ..wire::MeterEntry::default()
    }
}

fn write(kind: Type, entity: Wire) -> Result<Update, Code> {
    let update = wire::Update {
        r#type: kind.into(),
        entity: Some(wire::Entity {
            entity: Some(entity),
        }),
    };
    decode_update(&schema(), &update).map_err(|error| error.code)
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    let schema = schema();
    assert_eq!(schema.meter(METER).unwrap().unit, MeterUnit::Packets);
    let value = CounterValue {
        packets: 3,
        bytes: 200,
    };
    for index in [None, Some(0), Some(7)] {
        let entities = [
            Entity::Meter {
                meter: METER,
                index,
                config: Some(CONFIG),
                clear: true,
            },
            Entity::Meter {
                meter: METER,
                index,
                config: None,
                clear: false,
            },
            Entity::CounterCell {
                counter: COUNTER,
                index,
                value: Some(value),
            },
            Entity::CounterCell {
                counter: COUNTER,
                index,
                value: None,
            },
        ];
        for entity in entities {
            let update = Update {
                kind: UpdateKind::Modify,
                entity,
            };
            let wire = encode_update(&schema, &update);
            assert_eq!(decode_update(&schema, &wire), Ok(update));
        }
        let meters = Query::Meters {
            cells: Cells {
                array: Some(METER),
                index,
            },
            counters: index.is_some(),
        };
        let counters = Query::CounterCells(Cells {
            array: Some(COUNTER),
            index,
        });
        for query in [meters, counters] {
            assert_eq!(decode_query(&schema, &encode_query(&query)), Ok(query));
        }
    }
    let cell = MeterCell {
        meter: METER,
        index: 5,
        config: Some(CONFIG),
    };
    let wire = encode_meter(&cell, Some(MeterCounters::default()));
    assert_eq!(decode_meter(&schema, &wire), Ok(cell));
    let wire = encode_counter_cell(COUNTER, 5, value);
    assert_eq!(decode_counter_cell(&schema, &wire), Ok((COUNTER, 5, value)));
}

#[test]
fn all_arrays_and_all_cells_can_be_read() {
    let everything = Cells {
        array: None,
        index: None,
    };
    let query = Query::Meters {
        cells: everything,
        counters: false,
    };
    assert_eq!(decode_query(&schema(), &encode_query(&query)), Ok(query));
    let indexed = wire::MeterEntry {
        meter_id: 0,
        ..meter(Some(3), None)
    };
    let entity = wire::Entity {
        entity: Some(Wire::MeterEntry(indexed)),
    };
    let refused = decode_query(&schema(), &entity).unwrap_err();
    assert_eq!(refused.code(), InvalidArgument);
}

#[test]
fn arrays_are_modified_only() {
    for kind in [Type::Insert, Type::Delete] {
        let refused = write(kind, Wire::MeterEntry(meter(Some(1), None)));
        assert_eq!(refused, Err(InvalidArgument));
        let counter = wire::CounterEntry {
            counter_id: COUNTER.0,
            ..wire::CounterEntry::default()
        };
        let refused = write(kind, Wire::CounterEntry(counter));
        assert_eq!(refused, Err(InvalidArgument));
    }
}

#[test]
fn cells_that_do_not_exist_have_their_codes() {
    let modify = |index| write(Type::Modify, Wire::MeterEntry(meter(Some(index), None)));
    assert!(modify(7).is_ok());
    assert_eq!(modify(8), Err(OutOfRange));
    assert_eq!(modify(i64::MAX), Err(OutOfRange));
    assert_eq!(modify(-1), Err(InvalidArgument));
    for unknown in [0, METER.0 + 1] {
        let entry = wire::MeterEntry {
            meter_id: unknown,
            ..meter(None, None)
        };
        let refused = write(Type::Modify, Wire::MeterEntry(entry));
        assert_eq!(refused, Err(InvalidArgument));
    }
}

#[test]
fn configurations_that_are_none_are_refused() {
    let modify = |config| write(Type::Modify, Wire::MeterEntry(meter(Some(1), Some(config))));
    let good = wire_config(CONFIG);
    assert!(modify(good).is_ok());
    let wrong = [
        wire::MeterConfig { eburst: 1, ..good },
        wire::MeterConfig { cir: -1, ..good },
        wire::MeterConfig { pir: 999, ..good },
        wire::MeterConfig { pburst: 0, ..good },
        wire::MeterConfig::default(),
    ];
    for config in wrong {
        assert_eq!(modify(config), Err(InvalidArgument), "{config:?}");
    }
    let counting = wire::MeterEntry {
        counter_data: Some(wire::MeterCounterData {
            red: Some(wire::CounterData {
                packet_count: 1,
                byte_count: 0,
            }),
            ..wire::MeterCounterData::default()
        }),
        ..meter(Some(1), None)
    };
    let refused = write(Type::Modify, Wire::MeterEntry(counting));
    assert_eq!(refused, Err(InvalidArgument));
    let negative = wire::CounterEntry {
        counter_id: COUNTER.0,
        data: Some(wire::CounterData {
            packet_count: -1,
            byte_count: 0,
        }),
        ..wire::CounterEntry::default()
    };
    let refused = write(Type::Modify, Wire::CounterEntry(negative));
    assert_eq!(refused, Err(InvalidArgument));
}
