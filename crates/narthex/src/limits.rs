//! Rate limits: GCRA (a leaky bucket that stores one time per key), in memory, per node. Bounded: under a flood of new keys the ones
//! closest to a full bucket are forgotten first.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use http::{HeaderMap, HeaderValue, header};
use narthex_rpc::RateLimitInfo;

use crate::config::LimitsConfig;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Management requests of an environment.
    Api,
    /// RPCs that are open to anyone, per address.
    PublicPerIp,
    /// The token endpoint, per client.
    TokenPerClient,
    /// The token endpoint, per address.
    TokenPerIp,
}

impl Scope {
    /// Every scope, in the order of its metrics.
    pub const ALL: [Self; 4] = [Self::Api, Self::PublicPerIp, Self::TokenPerClient, Self::TokenPerIp];

    /// A name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::PublicPerIp => "public_per_ip",
            Self::TokenPerClient => "token_per_client",
            Self::TokenPerIp => "token_per_ip",
        }
    }
}

/// The state of a bucket after a request, for `ratelimit-*` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Requests per minute.
    pub limit: u32,
    /// Requests that would be let through now.
    pub remaining: u32,
    /// Seconds until the bucket is full again.
    pub reset_seconds: u32,
}

impl Bucket {
    /// The same for headers.
    pub fn info(self) -> RateLimitInfo {
        let Self { limit, remaining, reset_seconds } = self;
        RateLimitInfo { limit, remaining, reset_seconds }
    }
}

/// Too many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// The bucket.
    pub bucket: Bucket,
    /// Seconds until one request would be let through, at least 1.
    pub retry_after_seconds: u32,
}

impl Exceeded {
    /// Writes `Retry-After` and the `ratelimit-*` headers of the refusal.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after_seconds));
        self.bucket.info().write(headers);
    }
}

const SHARDS: usize = 16;
/// Keys per shard: 16 × 4,096 × 24 bytes stays under 2 MiB.
const KEYS_PER_SHARD: usize = 4_096;
const MINUTE_MICROS: u64 = 60_000_000;
/// How much of a minute may come at once: 10 seconds' worth (events reference §14).
const BURST_FRACTION: u64 = 6;

/// All buckets of this process.
#[derive(Debug)]
pub struct Limiter {
    per_minute: [AtomicU32; 4],
    hasher: RandomState,
    /// Key to theoretical arrival time, in microseconds since `started`.
    shards: [Mutex<HashMap<u64, u64>>; SHARDS],
    started: Instant,
}

impl Limiter {
    /// Empty buckets.
    pub fn new(config: LimitsConfig) -> Self {
        let limiter = Self {
            per_minute: [const { AtomicU32::new(0) }; 4],
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            started: Instant::now(),
        };
        limiter.configure(config);
        limiter
    }

    /// Changes the limits while running.
    pub fn configure(&self, config: LimitsConfig) {
        let limits = [config.api, config.public_per_ip, config.token_per_client, config.token_per_ip];
        for (slot, limit) in self.per_minute.iter().zip(limits) {
            slot.store(limit, Ordering::Relaxed);
        }
    }

    /// Counts a request. `Ok(None)` when the scope has no limit.
    pub fn admit(&self, scope: Scope, key: impl Hash) -> Result<Option<Bucket>, Exceeded> {
        self.admit_at(scope, key, self.now(), true)
    }

    /// Whether a request would be let through and how the bucket would stand then, without counting it.
    pub fn check(&self, scope: Scope, key: impl Hash) -> Result<Option<Bucket>, Exceeded> {
        self.admit_at(scope, key, self.now(), false)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn admit_at(&self, scope: Scope, key: impl Hash, now: u64, count: bool) -> Result<Option<Bucket>, Exceeded> {
        let limit = self.per_minute[scope as usize].load(Ordering::Relaxed);
        if limit == 0 {
            return Ok(None);
        }
        let interval = (MINUTE_MICROS / u64::from(limit)).max(1);
        let burst = (u64::from(limit) / BURST_FRACTION).max(1);
        let tolerance = interval * (burst - 1);
        let key = self.hasher.hash_one((scope, key));
        let mut shard =
            self.shards[usize::try_from(key >> 60).unwrap_or(0)].lock().unwrap_or_else(PoisonError::into_inner);
        let due = shard.get(&key).copied().unwrap_or(0).max(now);
        if due - now > tolerance {
            let bucket = Bucket { limit, remaining: 0, reset_seconds: seconds(due - now) };
            return Err(Exceeded { bucket, retry_after_seconds: seconds(due - now - tolerance).max(1) });
        }
        let next = due + interval;
        if count {
            if shard.len() >= KEYS_PER_SHARD && !shard.contains_key(&key) {
                make_room(&mut shard, now);
            }
            shard.insert(key, next);
        }
        let remaining = (tolerance + interval).saturating_sub(next - now) / interval;
        Ok(Some(Bucket {
            limit,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset_seconds: seconds(next - now),
        }))
    }
}

/// Forgets full buckets, which say nothing; if there are none, the fullest of a few.
fn make_room(shard: &mut HashMap<u64, u64>, now: u64) {
    shard.retain(|_, due| *due > now);
    if shard.len() >= KEYS_PER_SHARD
        && let Some(fullest) = shard.iter().take(16).min_by_key(|(_, due)| **due).map(|(key, _)| *key)
    {
        shard.remove(&fullest);
    }
}

fn seconds(micros: u64) -> u32 {
    u32::try_from(micros.div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// What stands for an address in a bucket: IPv6 clients own a /64, and would otherwise have 2^64 buckets.
pub fn address_key(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(u32::from(v4)),
        IpAddr::V6(v6) => u64::try_from(u128::from(v6) >> 64).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(api: u32) -> Limiter {
        Limiter::new(LimitsConfig { api, ..LimitsConfig::default() })
    }

    #[test]
    fn a_burst_of_ten_seconds_then_the_steady_rate() {
        let limiter = limiter(60);
        for left in (0..10).rev() {
            let bucket = limiter.admit_at(Scope::Api, 1, 0, true).unwrap().unwrap();
            assert_eq!((bucket.remaining, bucket.limit), (left, 60));
        }
        let refused = limiter.admit_at(Scope::Api, 1, 0, true).unwrap_err();
        assert_eq!((refused.retry_after_seconds, refused.bucket.reset_seconds), (1, 10));
        assert!(limiter.admit_at(Scope::Api, 2, 0, true).is_ok(), "another environment has a bucket of its own");
        assert!(limiter.admit_at(Scope::Api, 1, 999_999, true).is_err(), "refused requests do not count, nor help");
        assert!(limiter.admit_at(Scope::Api, 1, 1_000_000, true).is_ok());
        let let_through =
            (0..600).filter(|tenth| limiter.admit_at(Scope::Api, 1, 1_000_000 + tenth * 100_000, true).is_ok()).count();
        assert!((59..=60).contains(&let_through), "{let_through} in a minute");
    }

    #[test]
    fn zero_is_no_limit_and_limits_change_while_running() {
        let limiter = limiter(0);
        assert!((0..10_000).all(|_| limiter.admit_at(Scope::Api, 1, 0, true) == Ok(None)));
        limiter.configure(LimitsConfig { api: 6, ..LimitsConfig::default() });
        assert!(limiter.admit_at(Scope::Api, 1, 0, true).is_ok());
        assert!(limiter.admit_at(Scope::Api, 1, 0, true).is_err());
    }

    #[test]
    fn a_flood_of_addresses_neither_grows_memory_nor_frees_an_offender() {
        let limiter = limiter(600);
        while limiter.admit_at(Scope::Api, "offender", 0, true).is_ok() {}
        for key in 0..200_000_u32 {
            limiter.admit_at(Scope::Api, key, 0, true).ok();
        }
        let kept: usize = limiter.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= SHARDS * KEYS_PER_SHARD, "{kept}");
        assert!(limiter.admit_at(Scope::Api, "offender", 0, true).is_err());
    }

    #[test]
    fn an_ipv6_client_is_its_64_bit_network() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }
}
