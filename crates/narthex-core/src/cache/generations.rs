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
    lookups: Lookups,
}

/// How often a cache had what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lookups {
    /// It had.
    pub hits: u64,
    /// It had not, or something outdated.
    pub misses: u64,
}

impl<K: Hash + Eq, V: Clone> Generations<K, V> {
    /// A map that keeps at least the `capacity / 2` most recently used entries and never more than `capacity`.
    pub(crate) fn new(capacity: usize) -> Self {
        let shards = (0..SHARDS)
            .map(|_| Mutex::new(Shard { young: HashMap::new(), old: HashMap::new(), lookups: Lookups::default() }))
            .collect();
        Self { shards, hasher: RandomState::new(), per_shard: (capacity / 2 / SHARDS).max(1) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.get_if(key, |_| true)
    }

    /// The value, if it is still good; one that is not counts as a miss.
    pub(crate) fn get_if(&self, key: &K, good: impl FnOnce(&V) -> bool) -> Option<V> {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let found = shard.get(key, self.per_shard).filter(good);
        // Counted under the lock that is held anyway: no second cache line is fought over.
        match found {
            Some(_) => shard.lookups.hits += 1,
            None => shard.lookups.misses += 1,
        }
        found
    }

    /// All lookups so far.
    pub(crate) fn lookups(&self) -> Lookups {
        self.shards.iter().fold(Lookups::default(), |sum, shard| {
            let lookups = shard.lock().unwrap_or_else(PoisonError::into_inner).lookups;
            Lookups { hits: sum.hits + lookups.hits, misses: sum.misses + lookups.misses }
        })
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

impl<K: Hash + Eq, V: Clone> Shard<K, V> {
    fn get(&mut self, key: &K, per_shard: usize) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.put(key, value.clone(), per_shard);
        Some(value)
    }

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
        assert_eq!(cache.get_if(&u64::MAX, |value| *value == 7), None);
        assert_eq!(cache.lookups(), Lookups { hits: 100_001, misses: 2 });
    }
}
