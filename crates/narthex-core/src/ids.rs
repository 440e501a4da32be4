//! Identifiers: a prefix that names the noun, and the decimal of a time-ordered 63-bit number. Public: knowing one opens nothing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use narthex_db::{DbError, FromValue, Value};

use crate::clock::Clock;

/// Milliseconds of 2024-01-01T00:00:00Z: the epoch of the 41 time bits, which end in 2093.
pub const EPOCH_MILLIS: i64 = 1_704_067_200_000;

/// Ids per millisecond and node.
const SEQUENCE_BITS: u32 = 12;
/// Nodes that may issue ids at once.
const NODE_BITS: u32 = 10;

/// Issues numbers of 41 bits of milliseconds, 10 bits of node and 12 bits of sequence. Never goes below the high-water mark it was
/// started with, nor back when the clock does; a full sequence takes the next millisecond.
#[derive(Clone)]
pub struct Ids {
    clock: Clock,
    node: u16,
    last: Arc<Mutex<(i64, i64)>>,
}

impl Ids {
    /// A generator for a leased node number (0..=1023). `high_water_millis` is in Unix milliseconds: no id carries an earlier time.
    pub fn new(clock: Clock, node: u16, high_water_millis: i64) -> Self {
        assert!(node < 1 << NODE_BITS, "node number out of range");
        Self { clock, node, last: Arc::new(Mutex::new((high_water_millis, -1))) }
    }

    /// The next number.
    pub fn next(&self) -> i64 {
        let now = self.clock.real_now().0 / 1_000;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = match *last {
            (millis, _) if now > millis => (now, 0),
            (millis, sequence) if sequence + 1 < 1 << SEQUENCE_BITS => (millis, sequence + 1),
            (millis, _) => (millis + 1, 0),
        };
        let (millis, sequence) = *last;
        (millis - EPOCH_MILLIS) << (NODE_BITS + SEQUENCE_BITS) | i64::from(self.node) << SEQUENCE_BITS | sequence
    }

    /// The time of the newest id, in Unix milliseconds; persisted as the high-water mark.
    pub fn high_water_millis(&self) -> i64 {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Declares a typed id: its prefixes (the first one is issued), parsing, and its form in the database (the number).
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $noun:literal, $prefix:literal $(, $alias:literal)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl $name {
            /// The prefix on the wire.
            pub const PREFIX: &'static str = $prefix;
            /// The noun, as error messages name it.
            pub const NOUN: &'static str = $noun;

            /// A new id.
            pub fn new(ids: &Ids) -> Self {
                Self(ids.next())
            }

            /// Reads an id from outside. `None` if it has another prefix or is not a canonical decimal.
            pub fn parse(text: &str) -> Option<Self> {
                let digits = text.strip_prefix($prefix)$(.or_else(|| text.strip_prefix($alias)))*?;
                parse_number(digits).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl From<$name> for Value {
            fn from(id: $name) -> Self {
                Value::Int(id.0)
            }
        }

        impl From<&$name> for Value {
            fn from(id: &$name) -> Self {
                Value::Int(id.0)
            }
        }

        impl FromValue for $name {
            fn from_value(value: Value) -> Result<Self, DbError> {
                i64::from_value(value).map(Self)
            }
        }
    };
}

/// Digits without sign or leading zero, so that one row has exactly one spelling.
fn parse_number(digits: &str) -> Option<i64> {
    let canonical = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if canonical { digits.parse().ok() } else { None }
}

id!(/// A workspace: the tenant that owns environments.
    WorkspaceId, "workspace", "wks_");
id!(/// An environment: nothing below it is shared with another.
    EnvId, "environment", "env_");
id!(/// An operator of a workspace.
    MemberId, "member", "usr_");
id!(/// An organization.
    OrganizationId, "organization", "org_");
id!(/// A user of an environment.
    UserId, "user", "usr_");
id!(/// A session of any kind: browser session, portal session, connected-account session.
    SessionId, "session", "ses_");
id!(/// The record of a client secret.
    ClientSecretId, "secret", "sks_");
id!(/// A signing key; also the `kid` of its tokens.
    SigningKeyId, "signing key", "snk_");
id!(/// A token's `jti`.
    TokenId, "token", "tkn_");
id!(/// An admin-portal link.
    PortalLinkId, "portal link", "lnk_");
id!(/// A domain event.
    EventId, "event", "evt_");
id!(/// A role.
    RoleId, "role", "role_");
id!(/// A permission.
    PermissionId, "permission", "perm_");
id!(/// A connected account.
    ConnectedAccountId, "connected account", "ca_");
id!(/// A client's signing-key record (`Client.keyId`).
    KeyId, "key", "key_");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_never_fall_below_the_high_water_mark() {
        let clock = Clock::new();
        let future = clock.real_now().0 / 1_000 + 60_000;
        let ids = Ids::new(clock, 1023, future);
        let mut last = 0;
        for _ in 0..10_000 {
            let next = ids.next();
            assert!(next > last);
            assert!((next >> 22) + EPOCH_MILLIS >= future);
            assert_eq!(next >> 12 & 1023, 1023);
            last = next;
        }
        assert!(ids.high_water_millis() >= future + 2, "10,000 ids need three milliseconds of 4,096");
    }

    #[test]
    fn api_06_ids_have_a_prefix_and_at_least_15_digits() {
        let ids = Ids::new(Clock::new(), 0, 0);
        let text = OrganizationId::new(&ids).to_string();
        assert!(text.starts_with("org_") && text.len() >= 4 + 15 && text.len() <= 32, "{text}");
        assert_eq!(OrganizationId::parse(&text).map(|id| id.to_string()), Some(text));
    }

    #[test]
    fn one_row_has_one_spelling() {
        for bad in ["", "org_", "org_01", "org_-1", "org_+1", "org_1 ", "ORG_1", "env_1", "org_99999999999999999999", "org_1٣"] {
            assert_eq!(OrganizationId::parse(bad), None, "{bad}");
        }
    }
}
