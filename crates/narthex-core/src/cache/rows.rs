//! A cache of rows that change rarely.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Epochs, Generations, Lookups};
use crate::error::Result;

/// Rows by key, each with the version of its scope from before it was loaded. Absent rows are not remembered: guessed keys would push
/// real ones out.
pub(crate) struct RowCache<K, V> {
    epochs: Arc<Epochs>,
    scopes: Vec<Arc<AtomicI64>>,
    slot: fn(&K) -> usize,
    rows: Generations<K, (Arc<V>, i64)>,
}

impl<K: Hash + Eq + Clone, V> RowCache<K, V> {
    /// All rows in one scope.
    pub(crate) fn new(epochs: &Arc<Epochs>, scope: &str, capacity: usize) -> Self {
        Self::spread(epochs, &[scope.to_owned()], |_| 0, capacity)
    }

    /// Rows spread over scopes; `slot` says which one a key belongs to.
    pub(crate) fn spread(epochs: &Arc<Epochs>, scopes: &[String], slot: fn(&K) -> usize, capacity: usize) -> Self {
        Self {
            epochs: Arc::clone(epochs),
            scopes: scopes.iter().map(|scope| epochs.scope(scope)).collect(),
            slot,
            rows: Generations::new(capacity),
        }
    }

    /// The row, from memory if that is known to be up to date, else through `load`, which is not polled otherwise.
    pub(crate) async fn get(&self, key: &K, load: impl Future<Output = Result<Option<V>>>) -> Result<Option<Arc<V>>> {
        if self.epochs.fresh()
            && let Some((row, _)) = self.rows.get_if(key, |(_, at)| *at == self.version(key))
        {
            return Ok(Some(row));
        }
        self.reload(key, load).await
    }

    /// The row, if it is in memory and known to be up to date: for transactions, whose own reads must not be remembered before they
    /// are committed.
    pub(crate) fn known(&self, key: &K) -> Option<Arc<V>> {
        if !self.epochs.fresh() {
            return None;
        }
        self.rows.get_if(key, |(_, at)| *at == self.version(key)).map(|(row, _)| row)
    }

    /// The row through `load`, whatever is in memory.
    pub(crate) async fn reload(
        &self,
        key: &K,
        load: impl Future<Output = Result<Option<V>>>,
    ) -> Result<Option<Arc<V>>> {
        // Both before the load: a change that commits in between raises the version, and the entry is void at birth.
        let (version, fresh) = (self.version(key), self.epochs.fresh());
        let Some(row) = load.await?.map(Arc::new) else { return Ok(None) };
        if fresh {
            self.rows.put(key.clone(), (Arc::clone(&row), version));
        }
        Ok(Some(row))
    }

    /// All lookups so far.
    pub(crate) fn lookups(&self) -> Lookups {
        self.rows.lookups()
    }

    fn version(&self, key: &K) -> i64 {
        self.scopes[(self.slot)(key)].load(Ordering::Acquire)
    }
}
