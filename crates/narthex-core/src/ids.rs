//! Identifiers: a prefix that names the noun, and the decimal of a time-ordered 63-bit number. Public: knowing one opens nothing.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use narthex_db::{Cell, DbError, FromValue, Value};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Clock;
use crate::error::{Error, Result};

/// Milliseconds of 2024-01-01T00:00:00Z: the epoch of the 41 time bits, which end in 2093.
pub const EPOCH_MILLIS: i64 = 1_704_067_200_000;

/// Ids per millisecond and node.
const SEQUENCE_BITS: u32 = 12;
/// Nodes that may issue ids at once.
const NODE_BITS: u32 = 10;
const SEQUENCES: i64 = 1 << SEQUENCE_BITS;

/// An id later than the reservation would collide with those of the node that takes the number over, so ids stop this long before
/// its end: a request that was let in has this long to draw its ids.
const RESERVE_MARGIN_MILLIS: i64 = 60_000;

/// Issues numbers of 41 bits of milliseconds, 10 bits of node and 12 bits of sequence. Never goes below the high-water mark it was
/// started with, nor back when the clock does; a full sequence takes the next millisecond. Clones share the sequence.
#[derive(Clone)]
pub struct Ids {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

struct State {
    node: u16,
    millis: i64,
    sequence: i64,
    /// No id carries a later time: that much is reserved in the database.
    reserved_until: i64,
}

impl Ids {
    /// A generator for a node number (0..=1023) that is nobody else's. `high_water_millis` is in Unix milliseconds: every id carries a
    /// later time.
    pub fn new(clock: Clock, node: u16, high_water_millis: i64) -> Self {
        let ids = Self {
            clock,
            state: Arc::new(Mutex::new(State { node: 0, millis: 0, sequence: -1, reserved_until: i64::MAX })),
        };
        ids.adopt(node, high_water_millis, i64::MAX);
        ids
    }

    /// Takes a leased number over: ids are later than `high_water_millis` and not later than `reserved_until_millis`.
    pub(crate) fn adopt(&self, node: u16, high_water_millis: i64, reserved_until_millis: i64) {
        assert!(node < 1 << NODE_BITS, "node number out of range");
        let mut state = self.state();
        state.node = node;
        state.millis = state.millis.max(high_water_millis);
        state.sequence = SEQUENCES - 1;
        state.reserved_until = reserved_until_millis;
    }

    /// More time has been reserved in the database.
    pub(crate) fn extend(&self, reserved_until_millis: i64) {
        let mut state = self.state();
        state.reserved_until = state.reserved_until.max(reserved_until_millis);
    }

    /// The lease is lost: no further id.
    pub(crate) fn stop(&self) {
        self.state().reserved_until = i64::MIN;
    }

    /// Whether ids may be issued; asked once per request, before any work. UNAVAILABLE while this node has no lease.
    pub fn check(&self) -> Result<()> {
        let state = self.state();
        let soonest = state.millis.max(self.clock.real_now().0 / 1_000);
        if soonest < state.reserved_until.saturating_sub(RESERVE_MARGIN_MILLIS) {
            Ok(())
        } else {
            Err(Error::unavailable("this node holds no lease on a node number, or its reserved time is used up"))
        }
    }

    /// The next number.
    ///
    /// # Panics
    /// When nothing is reserved any more, which [`Ids::check`] reports a minute earlier: a duplicate id would be worse.
    pub fn next(&self) -> i64 {
        let now = self.clock.real_now().0 / 1_000;
        let mut state = self.state();
        if now > state.millis {
            (state.millis, state.sequence) = (now, 0);
        } else if state.sequence + 1 < SEQUENCES {
            state.sequence += 1;
        } else {
            (state.millis, state.sequence) = (state.millis + 1, 0);
        }
        assert!(
            state.millis <= state.reserved_until,
            "no time is reserved for ids: the lease of the node number is lost"
        );
        (state.millis - EPOCH_MILLIS) << (NODE_BITS + SEQUENCE_BITS)
            | i64::from(state.node) << SEQUENCE_BITS
            | state.sequence
    }

    /// The time of the newest id, in Unix milliseconds.
    pub fn high_water_millis(&self) -> i64 {
        self.state().millis
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
            fn from_cell(cell: Cell<'_>) -> Result<Self, DbError> {
                cell.int().map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'_, str>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| D::Error::custom(concat!("no id of a ", $noun)))
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
id!(/// What is known of a user.
    UserProfileId, "user profile", "usp_");
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
id!(/// A key that encrypts an environment's secrets.
    DataKeyId, "data key", "dek_");
id!(/// A connected account.
    ConnectedAccountId, "connected account", "ca_");
id!(/// A client's signing-key record (`Client.keyId`).
    KeyId, "key", "key_");
id!(/// An API token.
    ApiTokenId, "token", "apit_");
id!(/// A domain of an organization.
    DomainId, "domain", "dom_");
id!(/// A resource (MCP server).
    ResourceId, "resource", "res_", "app_");
id!(/// A scope of an environment.
    ScopeId, "scope", "scp_", "scope_");
id!(/// A user's consent to a client of a resource.
    ConsentId, "consent", "usrcnst_");
id!(/// A connection: a way to sign in at somebody else's.
    ConnectionId, "connection", "conn_");
id!(/// A login that is under way.
    AuthRequestId, "auth request", "req_");
id!(/// A login at the customer's own page.
    LoginRequestId, "login request", "lri_");
id!(/// What went wrong in a login, kept for the error page.
    AuthErrorId, "auth error", "err_");
id!(/// A mail server of the customer's.
    EmailServerId, "email server", "esr_");
id!(/// A mail template of the customer's.
    EmailTemplateId, "email template", "tpl_");
id!(/// An image or font of the hosted pages.
    AssetId, "asset", "ast_");
id!(/// The record of a passkey.
    CredentialId, "passkey", "cred_");
id!(/// The registration of an authenticator app.
    TotpRegistrationId, "TOTP registration", "totp_");
id!(/// What a login has allowed a client.
    GrantId, "grant", "gnt_");

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
            assert!((next >> 22) + EPOCH_MILLIS > future);
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
    fn without_reserved_time_requests_are_refused_before_an_id_is() {
        let clock = Clock::new();
        let now = clock.real_now().0 / 1_000;
        let ids = Ids::new(clock, 1, 0);
        ids.adopt(1, 0, now + RESERVE_MARGIN_MILLIS + 60_000);
        assert!(ids.check().is_ok());
        ids.stop();
        ids.extend(now + RESERVE_MARGIN_MILLIS - 1_000);
        assert_eq!(ids.check().map_err(|error| error.kind()), Err(crate::Kind::Unavailable));
        ids.next(); // what was let in before may still finish
        ids.stop();
        assert!(std::panic::catch_unwind(|| ids.next()).is_err());
    }

    #[test]
    fn one_row_has_one_spelling() {
        for bad in
            ["", "org_", "org_01", "org_-1", "org_+1", "org_1 ", "ORG_1", "env_1", "org_99999999999999999999", "org_1٣"]
        {
            assert_eq!(OrganizationId::parse(bad), None, "{bad}");
        }
    }
}
