//! A store of values by id, each with a fixed place.

use std::collections::BTreeMap;

/// Values by id that keep their place for as long as they are there.
#[derive(Clone, Debug)]
pub(super) struct Slab<K, T> {
    places: BTreeMap<K, u32>,
    values: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<K, T> Default for Slab<K, T> {
    fn default() -> Self {
        Self {
            places: BTreeMap::new(),
            values: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<K: Ord + Copy, T> Slab<K, T> {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn place(&self, key: K) -> Option<u32> {
        self.places.get(&key).copied()
    }

    pub(super) fn at(&self, place: u32) -> Option<&T> {
        self.values.get(place as usize)?.as_ref()
    }

    pub(super) fn get(&self, key: K) -> Option<&T> {
        self.at(self.place(key)?)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let place = self.place(key)?;
        self.values.get_mut(place as usize)?.as_mut()
    }

    /// Adds a value under a key that is not there.
    pub(super) fn insert(&mut self, key: K, value: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            u32::try_from(self.values.len() - 1).unwrap_or(u32::MAX)
        });
        self.places.insert(key, place);
        self.values[place as usize] = Some(value);
    }

    pub(super) fn remove(&mut self, key: K) -> Option<T> {
        let place = self.places.remove(&key)?;
        self.free.push(place);
        self.values.get_mut(place as usize)?.take()
    }

    /// In order of the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.values().filter_map(|&place| self.at(place))
    }
}
