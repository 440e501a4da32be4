//! Session and token lifetimes of an environment.

use std::time::Duration;

/// Unit in which a length of time was given (`scalekit.v1.environments.TimeUnit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the wire's names
pub enum TimeUnit {
    Minutes = 1,
    Hours = 2,
    Days = 3,
}

impl TimeUnit {
    /// Reads the wire's number; unspecified is minutes.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            0 | 1 => Some(Self::Minutes),
            2 => Some(Self::Hours),
            3 => Some(Self::Days),
            _ => None,
        }
    }

    /// Minutes in one.
    pub const fn minutes(self) -> i64 {
        match self {
            Self::Minutes => 1,
            Self::Hours => 60,
            Self::Days => 1_440,
        }
    }
}

/// A length of time, kept in minutes, and the unit to read it back in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Minutes.
    pub minutes: i64,
    /// Unit for reading back.
    pub unit: TimeUnit,
}

impl Span {
    /// So many minutes.
    pub const fn of_minutes(minutes: i64) -> Self {
        Self { minutes, unit: TimeUnit::Minutes }
    }

    /// The value in its unit.
    pub const fn in_unit(self) -> i64 {
        self.minutes / self.unit.minutes()
    }

    /// The same as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::try_from(self.minutes).unwrap_or(0) * 60)
    }
}

/// Session settings of an environment (control plane reference §4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// Lifetime of end users' access tokens.
    pub access_token_expiry: Span,
    /// Lifetime of API clients' access tokens.
    pub client_access_token_expiry: Span,
    /// Longest life of a session.
    pub absolute_timeout: Span,
    /// Whether idle sessions end.
    pub idle_enabled: bool,
    /// After how long, if so.
    pub idle_timeout: Span,
    /// Whether the product manages sessions at all.
    pub management_enabled: bool,
    /// `scalekit.v1.environments.CookiePersistenceType`: 1 persistent, 2 session.
    pub cookie_persistence: i32,
    /// `scalekit.v1.environments.CookieSameSiteSetting`: 1 lax, 2 none.
    pub cookie_same_site: i32,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            access_token_expiry: Span::of_minutes(5),
            client_access_token_expiry: Span::of_minutes(1_440),
            absolute_timeout: Span::of_minutes(43_200),
            idle_enabled: false,
            idle_timeout: Span::of_minutes(10_080),
            management_enabled: true,
            cookie_persistence: 1,
            cookie_same_site: 1,
        }
    }
}
