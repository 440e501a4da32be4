//! Time, handed in. Stored deadlines follow a clock that `narthex dev` and tests can move; JWT times never do, because SDKs refuse
//! tokens from the future.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use narthex_db::{Cell, DbError, FromValue, Value};

/// Microseconds since the Unix epoch, UTC: the form in which times are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// So many seconds later.
    #[must_use]
    pub fn plus_seconds(self, seconds: u32) -> Self {
        self.plus(Duration::from_secs(u64::from(seconds)))
    }

    /// RFC 3339 in UTC with `Z` and as many of six fraction digits as are not trailing zeros (events reference §2).
    pub fn rfc3339(self) -> String {
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
            .unwrap_or_default()
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Value::Int(time.0)
    }
}

impl From<&Timestamp> for Value {
    fn from(time: &Timestamp) -> Self {
        Value::Int(time.0)
    }
}

impl FromValue for Timestamp {
    fn from_cell(cell: Cell<'_>) -> Result<Self, DbError> {
        cell.int().map(Self)
    }
}

/// The movable clock. Clones share the offset.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_micros: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that shows real time until it is moved.
    pub fn new() -> Self {
        Self::default()
    }

    /// Now, as far as stored deadlines are concerned.
    pub fn now(&self) -> Timestamp {
        Timestamp(Self::real().0 + self.offset_micros.load(Ordering::Relaxed))
    }

    /// Real time, for JWTs and ids.
    pub fn real_now(&self) -> Timestamp {
        Self::real()
    }

    /// How far [`Clock::now`] runs ahead of real time.
    pub fn offset(&self) -> Duration {
        Duration::from_micros(self.offset_micros.load(Ordering::Relaxed).unsigned_abs())
    }

    /// Moves the clock forward; it never moves back, since rows already carry its times.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX / 4);
        self.offset_micros.fetch_add(by, Ordering::Relaxed);
    }

    #[allow(clippy::disallowed_methods)] // the one place that reads the process's clock
    fn real() -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}
