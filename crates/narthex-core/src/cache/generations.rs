//! A bounded map that forgets what has not been asked for lately.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::mem;
use std::sync::{Mutex, PoisonError};

const SHARDS: usize = 16;

/// Two generations per shard: a full young one becomes the old one, and what is found in the old one becomes young again. Holds at
/// most twice the capacity, forgets the least recently used half, and costs one hash lookup.
pub(crate) struct Generations<K, V> {
    shards: Vec<Mutex<Shard<K, V>>>,
    hasher: RandomState,
    per_shard: usize,
}

struct Shard<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq, V: Clone> Generations<K, V> {
    /// A map that keeps at least the `capacity / 2` most recently used entries and never more than `capacity`.
    pub(crate) fn new(capacity: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard { young: HashMap::new(), old: HashMap::new() })).collect();
        Self { shards, hasher: RandomState::new(), per_shard: (capacity / 2 / SHARDS).max(1) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = shard.old.remove_entry(key)?;
        shard.put(key, value.clone(), self.per_shard);
        Some(value)
    }

    pub(crate) fn put(&self, key: K, value: V) {
        self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner).put(key, value, self.per_shard);
    }

    fn shard(&self, key: &K) -> &Mutex<Shard<K, V>> {
        &self.shards[usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or(0) % SHARDS]
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let count = |shard: &Mutex<Shard<K, V>>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(count).sum()
    }
}

impl<K: Hash + Eq, V> Shard<K, V> {
    fn put(&mut self, key: K, value: V, per_shard: usize) {
        self.old.remove(&key);
        if self.young.len() >= per_shard && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_keys_do_not_grow_it_and_the_one_in_use_stays() {
        let cache = Generations::new(1_024);
        cache.put(u64::MAX, 7);
        for key in 0..100_000_u64 {
            cache.put(key, 0);
            assert_eq!(cache.get(&u64::MAX), Some(7));
        }
        assert!(cache.len() <= 1_024, "{}", cache.len());
        assert_eq!(cache.get(&0), None);
        cache.put(u64::MAX, 8);
        assert_eq!(cache.get(&u64::MAX), Some(8));
    }
}
