//! Decoding what was encoded gives the same value back, for any pipeline and any value.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::fixture;
use crate::bytes::{self, ByteStringError, max_value};
use crate::codec::*;
use crate::p4::config::v1 as info;
use crate::p4::v1 as wire;
use crate::p4::v1::field_match::{FieldMatchType, Optional};
use crate::schema::Schema;
use crate::vocab::*;

const KINDS: [info::match_field::MatchType; 5] = [
    info::match_field::MatchType::Exact,
    info::match_field::MatchType::Lpm,
    info::match_field::MatchType::Ternary,
    info::match_field::MatchType::Range,
    info::match_field::MatchType::Optional,
];

/// The table of the fixture whose key and parameters are replaced by random ones.
const TABLE: TableId = TableId(fixture::FDB);
const CALL: ActionId = ActionId(fixture::OUTPUT);

/// A pipeline with random fields in one table, and random parameters in one action.
fn schemas() -> impl Strategy<Value = Schema> {
    let fields = vec((0..KINDS.len(), 1..=128_i32), 1..6);
    let params = vec(1..=128_i32, 0..5);
    (fields, params).prop_map(|(fields, params)| {
        let mut p4info = fixture::p4info();
        p4info.tables[0].match_fields = (1..)
            .zip(fields)
            .map(|(id, (kind, bitwidth))| info::MatchField {
                id,
                name: format!("f{id}"),
                bitwidth,
                r#match: Some(info::match_field::Match::MatchType(KINDS[kind].into())),
                ..info::MatchField::default()
            })
            .collect();
        p4info.actions[1].params = (1..)
            .zip(params)
            .map(|(id, bitwidth)| info::action::Param {
                id,
                name: format!("p{id}"),
                bitwidth,
                ..info::action::Param::default()
            })
            .collect();
        Schema::new(&p4info).unwrap()
    })
}

/// A match of this kind and width, or don't-care.
fn matches(kind: MatchKind, bits: u16) -> BoxedStrategy<Option<FieldMatch>> {
    let max = max_value(bits);
    match kind {
        MatchKind::Exact => (0..=max)
            .prop_map(|value| Some(FieldMatch::Exact(value)))
            .boxed(),
        MatchKind::Optional => option::of((0..=max).prop_map(FieldMatch::Optional)).boxed(),
        MatchKind::Lpm => (0..=max, 0..=bits)
            .prop_map(move |(value, prefix_len)| {
                let value = value & !max_value(bits - prefix_len);
                (prefix_len > 0).then_some(FieldMatch::Lpm { value, prefix_len })
            })
            .boxed(),
        MatchKind::Ternary => (0..=max, 0..=max)
            .prop_map(|(value, mask)| {
                let value = value & mask;
                (mask != 0).then_some(FieldMatch::Ternary { value, mask })
            })
            .boxed(),
        MatchKind::Range => (0..=max, 0..=max)
            .prop_map(move |(a, b)| {
                let (low, high) = (a.min(b), a.max(b));
                (low != 0 || high != max).then_some(FieldMatch::Range { low, high })
            })
            .boxed(),
    }
}

fn calls(schema: &Schema) -> BoxedStrategy<ActionCall> {
    let params = &schema.action(CALL).unwrap().params;
    let values: Vec<_> = params
        .iter()
        .map(|param| 0..=max_value(param.bits))
        .collect();
    let ids: Vec<_> = params.iter().map(|param| param.id).collect();
    values
        .prop_map(move |values| ActionCall {
            action: CALL,
            params: ids.iter().copied().zip(values).collect(),
        })
        .boxed()
}

fn keys(schema: &Schema) -> BoxedStrategy<EntryKey> {
    let table = schema.table(TABLE).unwrap();
    let needs_priority = table.needs_priority();
    let ids: Vec<_> = table.fields.iter().map(|field| field.id).collect();
    let each: Vec<_> = table
        .fields
        .iter()
        .map(|field| matches(field.kind, field.bits))
        .collect();
    (each, 1..i32::MAX)
        .prop_map(move |(each, priority)| EntryKey {
            table: TABLE,
            matches: ids
                .iter()
                .zip(each)
                .filter_map(|(&id, field)| Some((id, field?)))
                .collect(),
            priority: if needs_priority { priority } else { 0 },
        })
        .boxed()
}

fn entries(schema: &Schema) -> BoxedStrategy<TableEntry> {
    let metadata = vec(any::<u8>(), 0..20);
    (keys(schema), calls(schema), metadata, 0..i64::MAX)
        .prop_map(|(key, call, metadata, idle_timeout_ns)| TableEntry {
            key,
            action: Some(TableAction::Call(call)),
            metadata,
            is_default: false,
            idle_timeout_ns,
        })
        .boxed()
}

fn with<T: std::fmt::Debug + 'static>(
    strategy: fn(&Schema) -> BoxedStrategy<T>,
) -> impl Strategy<Value = (Schema, T)> {
    schemas().prop_flat_map(move |schema| {
        let values = strategy(&schema);
        (Just(schema), values)
    })
}

fn counters() -> impl Strategy<Value = Option<CounterValue>> {
    let value = 0..=u64::from(u32::MAX) << 31;
    option::of((value.clone(), value).prop_map(|(packets, bytes)| CounterValue { packets, bytes }))
}

/// Any message in the shape of an entry, most of them wrong.
fn messages() -> impl Strategy<Value = wire::TableEntry> {
    let value = || vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..6);
    let field =
        (1..4_u32, 0..5, value(), value(), -1..40).prop_map(
            |(id, kind, a, b, length)| match kind {
                0 => fixture::exact(id, &a),
                1 => fixture::lpm(id, &a, length),
                2 => fixture::ternary(id, &a, &b),
                3 => fixture::range(id, &a, &b),
                _ => fixture::field(id, FieldMatchType::Optional(Optional { value: a.into() })),
            },
        );
    let actions = fixture::DROP - 1..=fixture::TABLE_ONLY;
    let tables = fixture::FDB..=fixture::MEMBERS;
    let call = (actions, vec((0..3_u32, value()), 0..3));
    let flags = (any::<bool>(), -1..3_i64, -1..3_i32);
    (tables, vec(field, 0..4), call, flags).prop_map(|(table_id, r#match, call, flags)| {
        let (action, params) = call;
        let params: Vec<_> = params
            .iter()
            .map(|(id, value)| (*id, value.as_slice()))
            .collect();
        let (is_default_action, idle_timeout_ns, priority) = flags;
        wire::TableEntry {
            table_id,
            r#match,
            action: Some(fixture::call(action, &params)),
            is_default_action,
            idle_timeout_ns,
            priority,
            ..wire::TableEntry::default()
        }
    })
}

proptest! {
    #[test]
    fn a_message_that_is_accepted_has_one_canonical_form(message in messages()) {
        let schema = fixture::schema();
        if let Ok(entry) = decode_entry(&schema, &message) {
            let canonical = encode_entry(&schema, &entry);
            prop_assert_eq!(decode_entry(&schema, &canonical), Ok(entry));
        }
    }

    #[test]
    fn byte_strings(value: u128, padding in 0..40_usize) {
        let encoded = bytes::encode(value);
        prop_assert!(encoded.len() == 1 || encoded[0] != 0);
        let mut padded = vec![0; padding];
        padded.extend_from_slice(&encoded);
        prop_assert_eq!(bytes::decode(&padded, 128), Ok(value));
        let bits = u16::try_from(128 - value.leading_zeros()).unwrap();
        prop_assert_eq!(bytes::decode(&padded, bits.max(1)), Ok(value));
        if bits > 1 {
            let bits = bits - 1;
            prop_assert_eq!(bytes::decode(&padded, bits), Err(ByteStringError::TooWide { bits }));
        }
    }

    #[test]
    fn any_bytes_decode_without_panic(given: Vec<u8>, bits in 0..200_u16) {
        if let Ok(value) = bytes::decode(&given, bits) {
            prop_assert!(bytes::fits(value, bits));
        }
    }

    #[test]
    fn table_entries((schema, entry) in with(entries)) {
        let wire = encode_entry(&schema, &entry);
        let decoded = decode_entry(&schema, &wire);
        prop_assert_eq!(decoded.as_ref(), Ok(&entry));
        prop_assert_eq!(encode_entry(&schema, &decoded.unwrap()), wire);
    }

    #[test]
    fn updates((schema, entry) in with(entries), counter in counters()) {
        for kind in [UpdateKind::Insert, UpdateKind::Modify] {
            let entity = Entity::Entry { entry: entry.clone(), counter, meter: None, clear: false };
            let update = Update { kind, entity };
            prop_assert_eq!(decode_update(&schema, &encode_update(&schema, &update)), Ok(update));
        }
        let entity = Entity::Entry {
            entry: TableEntry {
                action: None,
                metadata: Vec::new(),
                idle_timeout_ns: 0,
                ..entry.clone()
            },
            counter: None,
            meter: None,
            clear: false,
        };
        let update = Update { kind: UpdateKind::Delete, entity };
        prop_assert_eq!(decode_update(&schema, &encode_update(&schema, &update)), Ok(update));
        let entity = Entity::Counter { key: entry.key, is_default: false, value: counter };
        let update = Update { kind: UpdateKind::Modify, entity };
        prop_assert_eq!(decode_update(&schema, &encode_update(&schema, &update)), Ok(update));
    }

    #[test]
    fn one_shot_sets(
        members in vec((1..=4_u32, option::of(1..=u32::MAX), 0..=u32::MAX, 0..1_u128 << 20), 0..4),
    ) {
        let schema = fixture::schema();
        let members = members.into_iter().map(|(weight, port, a, b)| WeightedAction {
            call: ActionCall {
                action: CALL,
                params: vec![(ParamId(1), u128::from(a)), (ParamId(2), b)],
            },
            weight,
            watch_port: port.map(PortNo),
        });
        let entry = TableEntry {
            key: EntryKey {
                table: TableId(fixture::PATHS),
                matches: BTreeMap::from([(FieldId(1), FieldMatch::Exact(16))]),
                priority: 0,
            },
            action: Some(TableAction::OneShot(members.collect())),
            metadata: Vec::new(),
            is_default: false,
            idle_timeout_ns: 0,
        };
        prop_assert_eq!(decode_entry(&schema, &encode_entry(&schema, &entry)), Ok(entry));
    }

    #[test]
    fn filters((schema, entry) in with(entries), counters: bool, last_hit: bool, narrow: bool) {
        let mut filter = EntryFilter {
            table: Some(TABLE),
            counters,
            last_hit,
            ..EntryFilter::default()
        };
        prop_assert!(filter.accepts(&entry));
        if narrow {
            filter.matches.clone_from(&entry.key.matches);
            filter.priority = entry.key.priority;
            filter.metadata.clone_from(&entry.metadata);
            filter.action = Some(CALL);
        }
        prop_assert!(filter.accepts(&entry));
        let query = Query::Entries(filter.clone());
        prop_assert_eq!(decode_query(&schema, &encode_query(&query)), Ok(query));
        let query = Query::Counters(filter);
        prop_assert_eq!(decode_query(&schema, &encode_query(&query)), Ok(query));
    }

    #[test]
    fn packet_metadata(port: u32, reason: u8) {
        let schema = fixture::schema();
        let values = [u128::from(port), u128::from(reason)];
        let wire = encode_packet_metadata(schema.packet_in(), &values);
        prop_assert_eq!(decode_packet_metadata(schema.packet_in(), &wire), Ok(values.to_vec()));
    }

    #[test]
    fn mac_addresses(bits in 0..1_u64 << 48) {
        let mac = MacAddr::from_bits(bits);
        prop_assert_eq!(mac.to_string().parse(), Ok(mac));
        prop_assert_eq!(mac.to_bits(), bits);
    }
}

#[test]
fn default_entries() {
    let schema = fixture::schema();
    for action in [
        None,
        Some(ActionCall {
            action: ActionId(fixture::DROP),
            params: vec![],
        }),
    ] {
        let entry = TableEntry {
            key: EntryKey {
                table: TABLE,
                ..EntryKey::default()
            },
            action: action.map(TableAction::Call),
            metadata: vec![1, 2],
            is_default: true,
            idle_timeout_ns: 0,
        };
        assert_eq!(
            decode_entry(&schema, &encode_entry(&schema, &entry)),
            Ok(entry.clone())
        );
        let filter = EntryFilter {
            default_entry: true,
            ..EntryFilter::default()
        };
        assert!(filter.accepts(&entry));
        assert!(!EntryFilter::default().accepts(&entry));
    }
}

#[test]
fn text_that_is_no_mac_address() {
    for text in [
        "",
        "02:00:00:00:00",
        "02:00:00:00:00:00:00",
        "2:0:0:0:0:0",
        "02:00:00:00:00:+1",
    ] {
        assert_eq!(text.parse::<MacAddr>(), Err(ParseMacError), "{text}");
    }
    assert_eq!(
        "02-00-5E-00-00-01".parse(),
        Ok(MacAddr([2, 0, 0x5e, 0, 0, 1]))
    );
}
