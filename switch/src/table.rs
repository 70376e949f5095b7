//! Table lookup: tuple space search over packed keys.
//!
//! A key is packed into 64-bit words ([`KeyLayout`]). Entries that look at the same bits form a *tuple*: one mask and
//! one hash table of the values under it. What kind of table it is decides only how the tuples are ordered and when
//! the search ends:
//!
//! * exact: there is one tuple, whose mask is full; one probe.
//! * longest prefix (with exact companions): one tuple for each prefix length, longest first; the first hit ends it.
//! * by priority (ternary, optional, range): tuples by their highest priority; the search ends when no tuple that is
//!   left can beat the hit at hand (Srinivasan, Suri, Varghese 1999, with the early end of Open vSwitch's
//!   classifier). Ranges take no part in the mask; they are verified on the entries of a bucket.
//!
//! Among entries of equal priority that match one packet the least [`EntryKey`] wins, so that the result depends on
//! the entries only and not on the order in which they were written.

#![expect(
    clippy::cast_possible_truncation,
    reason = "keys are cut to words on purpose, and widths are at most 128"
)]

mod buckets;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weft_proto::vocab::{EntryKey, FieldMatch, MatchKind, TableEntry};

use self::buckets::{Bucket, Buckets};
use crate::bits::{max_value, mix};
use crate::meter::EntryMeter;
use crate::selector::Group;
use crate::state::Counter;

/// Where a table's key fields stand in its packed key.
#[derive(Clone, Debug)]
pub(crate) struct KeyLayout {
    fields: Box<[PackedField]>,
    words: usize,
    order: Order,
}

/// Which of the matching entries wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// There is one at most.
    Exact,
    /// The longest prefix.
    Prefix,
    /// The highest priority.
    Priority,
}

#[derive(Clone, Copy, Debug)]
struct PackedField {
    bits: u16,
    /// The low 64 bits, or all of a narrower field.
    low: Piece,
    /// The bits above 64.
    high: Option<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    word: u16,
    shift: u8,
    bits: u8,
}

impl KeyLayout {
    /// Packs fields, given by kind and width, into as few words as first fit by falling width needs.
    pub(crate) fn new(fields: &[(MatchKind, u16)]) -> Self {
        let pieces = |&(_, bits): &(MatchKind, u16)| match bits {
            65.. => [64, (bits - 64).min(64) as u8],
            _ => [bits as u8, 0],
        };
        let mut sizes: Vec<(u8, usize, usize)> = fields
            .iter()
            .map(pieces)
            .enumerate()
            .flat_map(|(field, [low, high])| [(low, field, 0), (high, field, 1)])
            .filter(|&(bits, _, _)| bits > 0)
            .collect();
        sizes.sort_by_key(|&(bits, field, part)| (Reverse(bits), field, part));
        let mut used: Vec<u8> = Vec::new();
        let mut places = vec![[None; 2]; fields.len()];
        for (bits, field, part) in sizes {
            let free = used.iter().position(|used| used + bits <= 64);
            let word = free.unwrap_or_else(|| {
                used.push(0);
                used.len() - 1
            });
            let shift = used[word];
            used[word] += bits;
            let word = word as u16;
            places[field][part] = Some(Piece { word, shift, bits });
        }
        let packed = fields.iter().zip(places).map(|(&(_, bits), [low, high])| {
            let low = low.unwrap_or(Piece {
                word: 0,
                shift: 0,
                bits: 0,
            });
            PackedField { bits, low, high }
        });
        let order = if fields.iter().any(|(kind, _)| kind.needs_priority()) {
            Order::Priority
        } else if fields.iter().any(|(kind, _)| *kind == MatchKind::Lpm) {
            Order::Prefix
        } else {
            Order::Exact
        };
        Self {
            fields: packed.collect(),
            words: used.len(),
            order,
        }
    }

    /// Words of a key.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// The fields' widths.
    pub(crate) fn widths(&self) -> impl Iterator<Item = u16> {
        self.fields.iter().map(|field| field.bits)
    }

    /// Stores a field's value into a key whose words are zero there.
    #[inline]
    pub(crate) fn put(&self, field: usize, value: u128, key: &mut [u64]) {
        let field = &self.fields[field];
        key[usize::from(field.low.word)] |= (value as u64) << field.low.shift;
        if let Some(high) = field.high {
            key[usize::from(high.word)] |= ((value >> 64) as u64) << high.shift;
        }
    }

    fn get(&self, field: usize, key: &[u64]) -> u128 {
        let field = &self.fields[field];
        let value = field.low.get(key);
        match field.high {
            Some(high) => value | high.get(key) << 64,
            None => value,
        }
    }

    /// An entry's key in packed form; its field ids are positions from 1 and its matches fit their fields.
    pub(crate) fn pack(&self, key: &EntryKey) -> PackedKey {
        let mut packed = PackedKey {
            value: vec![0; self.words].into(),
            mask: vec![0; self.words].into(),
            ranges: Box::default(),
            rank: 0,
        };
        let mut ranges = Vec::new();
        for (id, found) in &key.matches {
            let index = id.0 as usize - 1;
            let bits = self.fields[index].bits;
            let (value, mask) = match *found {
                FieldMatch::Exact(value) | FieldMatch::Optional(value) => (value, max_value(bits)),
                FieldMatch::Ternary { value, mask } => (value, mask),
                FieldMatch::Lpm { value, prefix_len } => {
                    if self.order == Order::Prefix {
                        packed.rank = i32::from(prefix_len);
                    }
                    (
                        value,
                        max_value(bits) ^ max_value(bits - prefix_len.min(bits)),
                    )
                }
                FieldMatch::Range { low, high } => {
                    ranges.push(RangeCheck {
                        field: index,
                        low,
                        high,
                    });
                    continue;
                }
            };
            self.put(index, value, &mut packed.value);
            self.put(index, mask, &mut packed.mask);
        }
        packed.ranges = ranges.into();
        if self.order == Order::Priority {
            packed.rank = key.priority;
        }
        packed
    }
}

impl Piece {
    #[inline]
    fn get(self, key: &[u64]) -> u128 {
        let value = key[usize::from(self.word)] >> self.shift;
        u128::from(value) & max_value(self.bits.into())
    }
}

/// An entry's key: value and mask, ranges, and its rank (priority or prefix length).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackedKey {
    value: Box<[u64]>,
    mask: Box<[u64]>,
    ranges: Box<[RangeCheck]>,
    rank: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RangeCheck {
    field: usize,
    low: u128,
    high: u128,
}

/// What an entry does, resolved.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Call(Bound),
    Select(Group),
    /// A member of the table's profile, by where it is kept.
    Member(u32),
    /// A group of the table's profile, by where it is kept.
    Group(u32),
}

/// An action with its arguments by position.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) action: u16,
    pub(crate) args: Box<[u128]>,
}

/// An installed entry.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    pub(crate) entry: TableEntry,
    pub(crate) key: PackedKey,
    pub(crate) act: Act,
    pub(crate) is_const: bool,
    /// When it was written.
    pub(crate) since_ns: u64,
    /// Where the table has meters.
    pub(crate) meter: Option<EntryMeter>,
    /// Shared with what this entry replaced.
    pub(crate) stats: Arc<Stats>,
}

/// What is counted for one entry.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) counter: Counter,
    pub(crate) last_hit_ns: AtomicU64,
    /// When the controller was last told that it is idle.
    pub(crate) notified_ns: AtomicU64,
}

impl Stats {
    /// Those of an entry that is inserted now.
    pub(crate) fn new(now_ns: u64) -> Self {
        Self {
            last_hit_ns: AtomicU64::new(now_ns),
            ..Self::default()
        }
    }

    /// Takes over what another entry's are.
    pub(crate) fn continue_from(&self, other: &Self) {
        self.counter.set(other.counter.value());
        let hit = other.last_hit_ns.load(Ordering::Relaxed);
        self.last_hit_ns.store(hit, Ordering::Relaxed);
    }

    /// Notes when the entry was used.
    pub(crate) fn touch(&self, now_ns: u64) {
        self.last_hit_ns.store(now_ns, Ordering::Relaxed);
    }
}

/// The entries of one table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// In the order of search: by the largest rank, falling.
    tuples: Vec<Arc<Tuple>>,
    count: usize,
    /// How many entries look at each key field.
    users: Vec<usize>,
    /// Fields that any entry looks at, as a set; not empty unless the table is.
    used: u128,
}

/// All entries that look at the same bits.
#[derive(Clone, Debug)]
struct Tuple {
    mask: Box<[u64]>,
    /// The largest rank among the entries.
    rank: i32,
    /// How many entries have each rank.
    ranks: BTreeMap<i32, usize>,
    buckets: Buckets,
}

impl Index {
    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Key fields that a lookup needs, as a set; the others may be left zero. 0 means that nothing can be found.
    pub(crate) fn used_fields(&self) -> u128 {
        self.used
    }

    /// All entries, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Installed>> {
        self.tuples
            .iter()
            .flat_map(|tuple| tuple.buckets.iter().flat_map(Bucket::iter))
    }

    /// The entry that a packet's key hits.
    #[inline]
    pub(crate) fn lookup(&self, layout: &KeyLayout, key: &[u64]) -> Option<&Installed> {
        match layout.order {
            Order::Exact => {
                let bucket = self.tuples.first()?.find(key)?;
                Some(&bucket.first)
            }
            Order::Prefix => {
                let mut hits = self.tuples.iter().filter_map(|tuple| tuple.find(key));
                Some(&hits.next()?.first)
            }
            Order::Priority => self.best(layout, key),
        }
    }

    fn best(&self, layout: &KeyLayout, key: &[u64]) -> Option<&Installed> {
        let mut best: Option<&Installed> = None;
        for tuple in &self.tuples {
            if best.is_some_and(|best| best.key.rank > tuple.rank) {
                break;
            }
            let Some(bucket) = tuple.find(key) else {
                continue;
            };
            let hit = bucket.iter().find(|entry| entry.in_ranges(layout, key));
            if let Some(hit) = hit
                && best.is_none_or(|best| hit.precedes(best))
            {
                best = Some(hit);
            }
        }
        best
    }

    /// The entry with exactly this key.
    pub(crate) fn get(&self, entry: &EntryKey, key: &PackedKey) -> Option<&Arc<Installed>> {
        let tuple = self.tuples.iter().find(|tuple| tuple.mask == key.mask)?;
        let hash = hash(&key.value, &tuple.mask);
        let bucket = tuple
            .buckets
            .find(hash, |first| first.key.value == key.value)?;
        bucket.iter().find(|found| found.entry.key == *entry)
    }

    /// Adds an entry, or replaces the one with the same key.
    pub(crate) fn put(&mut self, entry: Arc<Installed>) {
        let found = self
            .tuples
            .iter()
            .position(|tuple| tuple.mask == entry.key.mask);
        let at = found.unwrap_or_else(|| {
            self.tuples.push(Arc::new(Tuple {
                mask: entry.key.mask.clone(),
                rank: entry.key.rank,
                ranks: BTreeMap::new(),
                buckets: Buckets::new(),
            }));
            self.tuples.len() - 1
        });
        let tuple = Arc::make_mut(&mut self.tuples[at]);
        let rank = entry.key.rank;
        let fields = fields(&entry.entry.key);
        let hash = hash(&entry.key.value, &tuple.mask);
        let added = tuple.buckets.put(hash, entry);
        if added {
            *tuple.ranks.entry(rank).or_default() += 1;
            self.count += 1;
            tuple.rank = tuple.rank.max(rank);
            self.sort();
            self.count_users(fields, |users| *users += 1);
        }
    }

    /// Removes the entry with exactly this key.
    pub(crate) fn remove(&mut self, entry: &EntryKey, key: &PackedKey) -> Option<Arc<Installed>> {
        let at = self
            .tuples
            .iter()
            .position(|tuple| tuple.mask == key.mask)?;
        let tuple = Arc::make_mut(&mut self.tuples[at]);
        let hash = hash(&key.value, &tuple.mask);
        let removed = tuple.buckets.remove(hash, &key.value, entry)?;
        self.count -= 1;
        tuple.forget(removed.key.rank);
        if tuple.buckets.is_empty() {
            self.tuples.remove(at);
        }
        self.sort();
        self.count_users(fields(entry), |users| *users -= 1);
        Some(removed)
    }

    fn count_users(&mut self, fields: u128, count: impl Fn(&mut usize)) {
        for field in 0..(128 - fields.leading_zeros()) as usize {
            if self.users.len() <= field {
                self.users.push(0);
            }
            if fields & 1 << field != 0 {
                count(&mut self.users[field]);
            }
        }
        let used = self
            .users
            .iter()
            .enumerate()
            .filter(|(_, users)| **users > 0);
        self.used = used.fold(0, |used, (field, _)| used | 1 << field);
        if self.count > 0 {
            // An entry that looks at nothing is found all the same.
            self.used |= 1;
        }
    }

    fn sort(&mut self) {
        // Stable and nearly sorted: a handful of comparisons.
        self.tuples.sort_by_key(|tuple| Reverse(tuple.rank));
    }
}

impl Tuple {
    #[inline]
    fn find(&self, key: &[u64]) -> Option<&Bucket> {
        let hash = hash(key, &self.mask);
        self.buckets
            .find(hash, |first| equal_under(key, &self.mask, &first.key.value))
    }

    /// An entry with this rank is gone.
    fn forget(&mut self, rank: i32) {
        if let Some(count) = self.ranks.get_mut(&rank) {
            *count -= 1;
            if *count == 0 {
                self.ranks.remove(&rank);
            }
        }
        self.rank = self
            .ranks
            .last_key_value()
            .map_or(i32::MIN, |(rank, _)| *rank);
    }
}

impl Installed {
    /// Whether this entry wins over another that matches the same packet.
    fn precedes(&self, other: &Self) -> bool {
        match self.key.rank.cmp(&other.key.rank) {
            std::cmp::Ordering::Equal => self.entry.key < other.entry.key,
            unequal => unequal.is_gt(),
        }
    }

    fn in_ranges(&self, layout: &KeyLayout, key: &[u64]) -> bool {
        self.key.ranges.iter().all(|range| {
            let value = layout.get(range.field, key);
            (range.low..=range.high).contains(&value)
        })
    }
}

/// The key fields that an entry looks at, as a set.
fn fields(key: &EntryKey) -> u128 {
    key.matches
        .keys()
        .fold(0, |set, field| set | 1 << (field.0 - 1))
}

#[inline]
fn hash(key: &[u64], mask: &[u64]) -> u64 {
    let mut hash = 0;
    for (word, mask) in key.iter().zip(mask) {
        hash = mix(hash, word & mask);
    }
    hash
}

#[inline]
fn equal_under(key: &[u64], mask: &[u64], value: &[u64]) -> bool {
    key.iter()
        .zip(mask)
        .zip(value)
        .all(|((word, mask), value)| word & mask == *value)
}

#[cfg(test)]
mod tests;
