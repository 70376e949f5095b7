//! Each kind of table against a plain scan over its entries.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weft_proto::vocab::{FieldId, TableId};

use super::*;

/// A small domain, so that entries collide, overlap and hit.
const FIELDS: &[(MatchKind, u16)] = &[
    (MatchKind::Exact, 3),
    (MatchKind::Lpm, 100),
    (MatchKind::Ternary, 70),
    (MatchKind::Optional, 12),
    (MatchKind::Range, 66),
];

/// Values of few bits at both ends of a field, so that its upper word counts.
fn value(bits: u16) -> impl Strategy<Value = u128> {
    (0_u128..4, 0_u128..4).prop_map(move |(low, high)| {
        let high = if bits > 4 { high << (bits - 2) } else { 0 };
        (low | high) & max_value(bits)
    })
}

/// A match as the checks let it through; `None` is don't-care.
fn found(kind: MatchKind, bits: u16) -> BoxedStrategy<Option<FieldMatch>> {
    match kind {
        MatchKind::Exact => value(bits).prop_map(|v| Some(FieldMatch::Exact(v))).boxed(),
        MatchKind::Optional => {
            proptest::option::of(value(bits).prop_map(FieldMatch::Optional)).boxed()
        }
        MatchKind::Lpm => (value(bits), prop_oneof![0_u16..3, bits - 3..=bits])
            .prop_map(move |(value, prefix_len)| {
                let mask = max_value(bits) ^ max_value(bits - prefix_len);
                let value = value & mask;
                (prefix_len > 0).then_some(FieldMatch::Lpm { value, prefix_len })
            })
            .boxed(),
        MatchKind::Ternary => (value(bits), value(bits))
            .prop_map(|(value, mask)| {
                let value = value & mask;
                (mask > 0).then_some(FieldMatch::Ternary { value, mask })
            })
            .boxed(),
        MatchKind::Range => (value(bits), value(bits))
            .prop_map(move |(a, b)| {
                let (low, high) = (a.min(b), a.max(b));
                let whole = low == 0 && high == max_value(bits);
                (!whole).then_some(FieldMatch::Range { low, high })
            })
            .boxed(),
    }
}

/// Kinds that one table can have, as a choice among [`FIELDS`].
fn shape() -> impl Strategy<Value = Vec<(MatchKind, u16)>> {
    proptest::collection::vec(any::<bool>(), FIELDS.len())
        .prop_map(|chosen| {
            let fields = FIELDS.iter().zip(chosen);
            fields
                .filter(|(_, chosen)| *chosen)
                .map(|(field, _)| *field)
                .collect()
        })
        .prop_filter("a key has fields", |fields: &Vec<_>| !fields.is_empty())
}

#[derive(Clone, Debug)]
enum Change {
    Put(EntryKey),
    /// Removes the entry that was put so many changes ago.
    Remove(usize),
}

fn key(fields: &[(MatchKind, u16)]) -> impl Strategy<Value = EntryKey> + use<> {
    let needs_priority = fields.iter().any(|(kind, _)| kind.needs_priority());
    let matches: Vec<_> = fields
        .iter()
        .map(|&(kind, bits)| found(kind, bits))
        .collect();
    (matches, 1_i32..4).prop_map(move |(matches, priority)| EntryKey {
        table: TableId(1),
        matches: (1..)
            .map(FieldId)
            .zip(matches)
            .filter_map(|(id, found)| Some((id, found?)))
            .collect(),
        priority: if needs_priority { priority } else { 0 },
    })
}

/// A table's fields, changes of its entries, and keys of packets.
type Case = (Vec<(MatchKind, u16)>, Vec<Change>, Vec<Vec<u128>>);

fn case() -> impl Strategy<Value = Case> {
    shape().prop_flat_map(|fields| {
        let change = prop_oneof![
            3 => key(&fields).prop_map(Change::Put),
            1 => (0_usize..20).prop_map(Change::Remove),
        ];
        let packet: Vec<_> = fields.iter().map(|&(_, bits)| value(bits)).collect();
        (
            Just(fields),
            proptest::collection::vec(change, 0..60),
            proptest::collection::vec(packet, 1..40),
        )
    })
}

fn installed(layout: &KeyLayout, key: &EntryKey, serial: u128) -> Arc<Installed> {
    Arc::new(Installed {
        entry: TableEntry {
            key: key.clone(),
            action: None,
            metadata: Vec::new(),
            is_default: false,
            idle_timeout_ns: 0,
        },
        key: layout.pack(key),
        act: Act::Call(Bound {
            action: 0,
            args: [serial].into(),
        }),
        is_const: false,
        since_ns: 0,
        meter: None,
        stats: Arc::default(),
    })
}

fn matches(key: &EntryKey, packet: &[u128], fields: &[(MatchKind, u16)]) -> bool {
    key.matches.iter().all(|(id, found)| {
        let index = id.0 as usize - 1;
        let value = packet[index];
        match *found {
            FieldMatch::Exact(wanted) | FieldMatch::Optional(wanted) => value == wanted,
            FieldMatch::Ternary {
                value: wanted,
                mask,
            } => value & mask == wanted,
            FieldMatch::Range { low, high } => low <= value && value <= high,
            FieldMatch::Lpm {
                value: wanted,
                prefix_len,
            } => {
                let rest = u32::from(fields[index].1 - prefix_len);
                value.checked_shr(rest) == wanted.checked_shr(rest)
            }
        }
    })
}

/// The winner, by the rules of the module's head and nothing else.
fn scan<'a>(
    entries: &'a BTreeMap<EntryKey, u128>,
    packet: &[u128],
    fields: &[(MatchKind, u16)],
) -> Option<(&'a EntryKey, u128)> {
    let prefix = |key: &EntryKey| {
        let prefixes = key.matches.values().map(|found| match found {
            FieldMatch::Lpm { prefix_len, .. } => i32::from(*prefix_len),
            _ => 0,
        });
        prefixes.max().unwrap_or(0)
    };
    let by_priority = fields.iter().any(|(kind, _)| kind.needs_priority());
    let rank = |key: &EntryKey| {
        if by_priority {
            key.priority
        } else {
            prefix(key)
        }
    };
    entries
        .iter()
        .filter(|(key, _)| matches(key, packet, fields))
        .min_by_key(|(key, _)| (Reverse(rank(key)), *key))
        .map(|(key, serial)| (key, *serial))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_lookup_finds_what_a_scan_finds((fields, changes, packets) in case()) {
        let layout = KeyLayout::new(&fields);
        let mut index = Index::default();
        let mut entries = BTreeMap::new();
        let mut put = Vec::new();
        for (serial, change) in (0_u128..).zip(changes) {
            match change {
                Change::Put(key) => {
                    index.put(installed(&layout, &key, serial));
                    entries.insert(key.clone(), serial);
                    put.push(key);
                }
                Change::Remove(ago) => {
                    let Some(key) = put.len().checked_sub(ago + 1).map(|at| put[at].clone()) else {
                        continue;
                    };
                    let removed = index.remove(&key, &layout.pack(&key));
                    prop_assert_eq!(removed.is_some(), entries.remove(&key).is_some());
                }
            }
            prop_assert_eq!(index.len(), entries.len());
        }
        for packet in packets {
            let mut packed = vec![0; layout.words()];
            for (field, value) in packet.iter().enumerate() {
                layout.put(field, *value, &mut packed);
            }
            for (field, value) in packet.iter().enumerate() {
                prop_assert_eq!(layout.get(field, &packed), *value);
            }
            let hit = index.lookup(&layout, &packed);
            let hit = hit.map(|hit| match &hit.act {
                Act::Call(bound) => (&hit.entry.key, bound.args[0]),
                _ => unreachable!("only calls were installed"),
            });
            prop_assert_eq!(hit, scan(&entries, &packet, &fields));
        }
        let mut left: Vec<_> = index.iter().map(|entry| entry.entry.key.clone()).collect();
        left.sort();
        prop_assert!(left.iter().eq(entries.keys()));
        for key in entries.keys() {
            prop_assert!(index.get(key, &layout.pack(key)).is_some());
        }
    }

    #[test]
    fn a_clone_does_not_see_later_changes((fields, changes, _) in case()) {
        let layout = KeyLayout::new(&fields);
        let mut index = Index::default();
        let keys: Vec<_> = changes
            .into_iter()
            .filter_map(|change| match change {
                Change::Put(key) => Some(key),
                Change::Remove(_) => None,
            })
            .collect();
        let (first, later) = keys.split_at(keys.len() / 2);
        for key in first {
            index.put(installed(&layout, key, 0));
        }
        let before: Vec<_> = index.iter().map(Arc::as_ptr).collect();
        let snapshot = index.clone();
        for key in later {
            index.put(installed(&layout, key, 1));
        }
        for key in first {
            index.remove(key, &layout.pack(key));
        }
        let after: Vec<_> = snapshot.iter().map(Arc::as_ptr).collect();
        prop_assert_eq!(before, after);
    }
}

#[test]
fn narrow_fields_share_words() {
    let layout = KeyLayout::new(&[(MatchKind::Exact, 32); 5]);
    assert_eq!(layout.words(), 3);
    let layout = KeyLayout::new(&[
        (MatchKind::Exact, 128),
        (MatchKind::Exact, 70),
        (MatchKind::Exact, 58),
    ]);
    assert_eq!(layout.words(), 4);
}
