//! A hash table of entries that is cheap to clone and to change.
//!
//! A published table is shared with the workers that forward by it, so that a write changes a copy. To copy little,
//! the table is cut into shards of some hundred buckets by bits of the hash, each shared on its own: a write to a
//! table of 100 000 routes copies one shard and a list of pointers.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use weft_proto::vocab::EntryKey;

use super::Installed;

/// Buckets of a shard, on average, before there are twice as many shards. Few in tests, so that they see it happen.
const SHARD_SIZE: usize = if cfg!(test) { 4 } else { 256 };
/// Most shards.
const MAX_SHARDS: usize = 1 << 12;

/// Buckets by the hash of their value.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    /// A power of two of them.
    shards: Vec<Arc<HashTable<Bucket>>>,
    count: usize,
}

/// Entries with equal values under their tuple's mask, in the order of precedence.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    hash: u64,
    pub(super) first: Arc<Installed>,
    rest: Vec<Arc<Installed>>,
}

impl Buckets {
    pub(super) fn new() -> Self {
        Self {
            shards: vec![Arc::default()],
            count: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bucket> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, same: impl Fn(&Installed) -> bool) -> Option<&Bucket> {
        let shard = &self.shards[self.shard(hash)];
        shard.find(hash, |bucket| bucket.hash == hash && same(&bucket.first))
    }

    /// Adds an entry, or replaces the one with the same key; whether it is new.
    pub(super) fn put(&mut self, hash: u64, entry: Arc<Installed>) -> bool {
        let index = self.shard(hash);
        let shard = Arc::make_mut(&mut self.shards[index]);
        let same = |bucket: &Bucket| bucket.first.key.value == entry.key.value;
        match shard.entry(hash, same, |bucket| bucket.hash) {
            Place::Occupied(mut place) => place.get_mut().put(entry),
            Place::Vacant(place) => {
                place.insert(Bucket {
                    hash,
                    first: entry,
                    rest: Vec::new(),
                });
                self.count += 1;
                self.grow();
                true
            }
        }
    }

    /// Removes the entry with this key, whose packed value is `value`.
    pub(super) fn remove(
        &mut self,
        hash: u64,
        value: &[u64],
        key: &EntryKey,
    ) -> Option<Arc<Installed>> {
        let index = self.shard(hash);
        let shard = Arc::make_mut(&mut self.shards[index]);
        let same = |bucket: &Bucket| *bucket.first.key.value == *value;
        let mut place = shard.find_entry(hash, same).ok()?;
        let bucket = place.get_mut();
        if bucket.first.entry.key != *key {
            let at = bucket
                .rest
                .iter()
                .position(|found| found.entry.key == *key)?;
            return Some(bucket.rest.remove(at));
        }
        if !bucket.rest.is_empty() {
            let next = bucket.rest.remove(0);
            return Some(std::mem::replace(&mut bucket.first, next));
        }
        self.count -= 1;
        Some(place.remove().0.first)
    }

    /// Doubles the shards when they are full.
    fn grow(&mut self) {
        if self.count < self.shards.len() * SHARD_SIZE || self.shards.len() >= MAX_SHARDS {
            return;
        }
        let mut shards = vec![HashTable::new(); self.shards.len() * 2];
        let mask = shards.len() - 1;
        for bucket in self.shards.iter().flat_map(|shard| shard.iter()) {
            shards[select(bucket.hash) & mask].insert_unique(
                bucket.hash,
                bucket.clone(),
                |bucket| bucket.hash,
            );
        }
        self.shards = shards.into_iter().map(Arc::new).collect();
    }

    #[inline]
    fn shard(&self, hash: u64) -> usize {
        select(hash) & (self.shards.len() - 1)
    }
}

/// Bits that the hash table itself looks at last: it takes the low ones for the place and the high ones for the tag.
#[inline]
fn select(hash: u64) -> usize {
    usize::from((hash >> 40) as u16)
}

impl Bucket {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Installed>> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// Whether the entry is new and did not replace one.
    fn put(&mut self, entry: Arc<Installed>) -> bool {
        let same = |found: &Arc<Installed>| found.entry.key == entry.entry.key;
        if same(&self.first) {
            self.first = entry;
            return false;
        }
        if let Some(found) = self.rest.iter_mut().find(|found| same(found)) {
            *found = entry;
            return false;
        }
        if entry.precedes(&self.first) {
            let first = std::mem::replace(&mut self.first, entry);
            self.rest.insert(0, first);
        } else {
            let at = self.rest.partition_point(|found| found.precedes(&entry));
            self.rest.insert(at, entry);
        }
        true
    }
}
