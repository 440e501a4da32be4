//! Read-mostly rows kept in the process, and how the nodes keep them true: the transaction that changes a row raises the version of
//! its scope in `cache_epoch`, every node polls the versions, and an entry counts only as long as its scope has the version it was
//! loaded under. A node that has not polled well for a second reads through.

mod epochs;
mod generations;
mod rows;

pub(crate) use epochs::bump_all;
pub use epochs::{Bump, Epochs, bump};
pub(crate) use generations::Generations;
pub use generations::Lookups;
pub(crate) use rows::RowCache;

use std::sync::Arc;

use aws_lc_rs::rsa;

use crate::api_tokens::Known;
use crate::branding::Settings;
use crate::clients::{Client, Origins};
use crate::connections::LoginMethods;
use crate::environments::Environment;
use crate::environments::test_users::TestUsers;
use crate::ids::{DataKeyId, EnvId, GrantId, MemberId, OrganizationId, RoleId, SessionId, SigningKeyId, UserId};
use crate::keys::KeySet;
use crate::members::Member;
use crate::memberships::Held;
use crate::roles::Allowed;
use crate::seal::{DataKey, MacKey};
use crate::sessions::Session;
use crate::tokens::Verified;
use crate::users::UserManagement;

/// Scope of environments, their settings and hosts.
pub const ENVIRONMENTS: &str = "environments";
/// Scope of clients and their secrets.
pub const CLIENTS: &str = "clients";
/// Scope of connections.
pub const CONNECTIONS: &str = "connections";
/// Scope of signing keys.
pub const SIGNING_KEYS: &str = "signing_keys";
/// Scope of data keys.
pub const DATA_KEYS: &str = "data_keys";
/// Scope of operators and their roles.
pub const MEMBERS: &str = "members";
/// Scope of roles and of what they allow.
pub const ROLES: &str = "roles";

/// Sessions end all the time, so they are spread over this many scopes: one logout drops one sixty-fourth of them.
const SESSION_SCOPES: u64 = 64;

/// The scope of a session.
pub fn session_scope(session: SessionId) -> String {
    format!("sessions/{}", session_slot(session))
}

fn session_slot(session: SessionId) -> usize {
    slot(session.0, SESSION_SCOPES)
}

fn slot(id: i64, scopes: u64) -> usize {
    // The low bits of an id are its place within a millisecond, mostly 0; the milliseconds above them spread.
    usize::try_from((id >> 22 ^ id).unsigned_abs() % scopes).unwrap_or(0)
}

/// Who is a member of what changes with every sign-up of an application: spread by user.
const MEMBERSHIP_SCOPES: u64 = 64;

/// The scope of the memberships of a user.
pub(crate) fn membership_scope(user: UserId) -> String {
    format!("memberships/{}", slot(user.0, MEMBERSHIP_SCOPES))
}

/// The scope of an organization's being there at all; it shares those of memberships.
pub(crate) fn organization_scope(organization: OrganizationId) -> String {
    format!("memberships/{}", slot(organization.0, MEMBERSHIP_SCOPES))
}

/// Grants end one by one as well.
const GRANT_SCOPES: u64 = 64;

/// The scope of a grant.
pub(crate) fn grant_scope(grant: GrantId) -> String {
    format!("grants/{}", grant_slot(grant))
}

fn grant_slot(grant: GrantId) -> usize {
    slot(grant.0, GRANT_SCOPES)
}

/// API tokens are changed one by one too, and are spread likewise.
const API_TOKEN_SCOPES: usize = 64;

/// The scope of the API tokens whose hashes begin alike.
pub(crate) fn api_token_scope(hash: &[u8; 32]) -> String {
    format!("api_tokens/{}", api_token_slot(hash))
}

/// Every scope of API tokens.
pub(crate) fn api_token_scopes() -> impl Iterator<Item = String> {
    (0..API_TOKEN_SCOPES).map(|slot| format!("api_tokens/{slot}"))
}

fn api_token_slot(hash: &[u8; 32]) -> usize {
    usize::from(hash[0]) % API_TOKEN_SCOPES
}

/// The row caches of one process; each is bounded by its number of rows.
pub struct Caches {
    epochs: Arc<Epochs>,
    pub(crate) environments: RowCache<EnvId, Environment>,
    pub(crate) hosts: RowCache<String, EnvId>,
    /// Hosts that no environment has, apart from those that one has: guessed names push no real ones out.
    pub(crate) unknown_hosts: RowCache<String, ()>,
    pub(crate) system_environment: RowCache<(), EnvId>,
    pub(crate) user_management: RowCache<EnvId, UserManagement>,
    pub(crate) branding: RowCache<EnvId, Settings>,
    pub(crate) clients: RowCache<String, Client>,
    pub(crate) origins: RowCache<EnvId, Origins>,
    pub(crate) login_methods: RowCache<EnvId, LoginMethods>,
    pub(crate) test_users: RowCache<EnvId, TestUsers>,
    pub(crate) key_sets: RowCache<EnvId, KeySet>,
    pub(crate) sessions: RowCache<SessionId, Session>,
    /// Grants that count, with their environments.
    pub(crate) grants: RowCache<GrantId, EnvId>,
    pub(crate) members: RowCache<MemberId, Member>,
    /// Organizations that exist, with their environments.
    pub(crate) organizations: RowCache<OrganizationId, EnvId>,
    /// Memberships that are active.
    pub(crate) memberships: RowCache<(OrganizationId, UserId), Held>,
    pub(crate) roles: Arc<RowCache<RoleId, Allowed>>,
    pub(crate) api_tokens: RowCache<[u8; 32], Known>,
    pub(crate) active_data_keys: RowCache<EnvId, DataKeyId>,
    /// Opened data keys: what an id stands for never changes.
    pub(crate) data_keys: Generations<DataKeyId, Arc<DataKey>>,
    /// Opened keys for low-entropy secrets: likewise.
    pub(crate) mac_keys: Generations<EnvId, Arc<MacKey>>,
    /// Parsed private keys: likewise.
    pub(crate) private_keys: Generations<SigningKeyId, Arc<rsa::KeyPair>>,
    /// Access tokens whose signature has been verified, by SHA-256. They hold claims, never decisions.
    pub(crate) tokens: Generations<[u8; 32], Arc<Verified>>,
}

impl Caches {
    pub(crate) fn new(epochs: &Arc<Epochs>) -> Self {
        let sessions: Vec<String> = (0..SESSION_SCOPES).map(|slot| format!("sessions/{slot}")).collect();
        let memberships: Vec<String> = (0..MEMBERSHIP_SCOPES).map(|slot| format!("memberships/{slot}")).collect();
        let grants: Vec<String> = (0..GRANT_SCOPES).map(|slot| format!("grants/{slot}")).collect();
        let api_tokens: Vec<String> = api_token_scopes().collect();
        Self {
            epochs: Arc::clone(epochs),
            environments: RowCache::new(epochs, ENVIRONMENTS, 1_024),
            hosts: RowCache::new(epochs, ENVIRONMENTS, 2_048),
            unknown_hosts: RowCache::new(epochs, ENVIRONMENTS, 1_024),
            system_environment: RowCache::new(epochs, ENVIRONMENTS, 1),
            user_management: RowCache::new(epochs, ENVIRONMENTS, 1_024),
            branding: RowCache::new(epochs, ENVIRONMENTS, 1_024),
            clients: RowCache::new(epochs, CLIENTS, 8_192),
            origins: RowCache::new(epochs, CLIENTS, 1_024),
            login_methods: RowCache::new(epochs, CONNECTIONS, 1_024),
            test_users: RowCache::new(epochs, ENVIRONMENTS, 1_024),
            key_sets: RowCache::new(epochs, SIGNING_KEYS, 1_024),
            sessions: RowCache::spread(epochs, &sessions, |session| session_slot(*session), 8_192),
            grants: RowCache::spread(epochs, &grants, |grant| grant_slot(*grant), 8_192),
            members: RowCache::new(epochs, MEMBERS, 1_024),
            organizations: RowCache::spread(epochs, &memberships, |id| slot(id.0, MEMBERSHIP_SCOPES), 8_192),
            memberships: RowCache::spread(epochs, &memberships, |(_, user)| slot(user.0, MEMBERSHIP_SCOPES), 8_192),
            roles: Arc::new(RowCache::new(epochs, ROLES, 8_192)),
            api_tokens: RowCache::spread(epochs, &api_tokens, api_token_slot, 8_192),
            active_data_keys: RowCache::new(epochs, DATA_KEYS, 1_024),
            data_keys: Generations::new(2_048),
            mac_keys: Generations::new(1_024),
            private_keys: Generations::new(1_024),
            tokens: Generations::new(8_192),
        }
    }

    /// Makes a committed change visible on this node. Every transaction that bumped calls it before it answers.
    pub fn apply(&self, bump: Bump) {
        self.epochs.apply(bump);
    }

    /// The same for several.
    pub(crate) fn apply_all(&self, bumps: impl IntoIterator<Item = Bump>) {
        bumps.into_iter().for_each(|bump| self.apply(bump));
    }

    /// How often each cache had what was asked for, by its name.
    pub fn lookups(&self) -> Vec<(&'static str, Lookups)> {
        vec![
            ("environments", self.environments.lookups()),
            ("hosts", self.hosts.lookups()),
            ("unknown_hosts", self.unknown_hosts.lookups()),
            ("system_environment", self.system_environment.lookups()),
            ("user_management", self.user_management.lookups()),
            ("branding", self.branding.lookups()),
            ("clients", self.clients.lookups()),
            ("origins", self.origins.lookups()),
            ("login_methods", self.login_methods.lookups()),
            ("test_users", self.test_users.lookups()),
            ("key_sets", self.key_sets.lookups()),
            ("sessions", self.sessions.lookups()),
            ("grants", self.grants.lookups()),
            ("members", self.members.lookups()),
            ("organizations", self.organizations.lookups()),
            ("memberships", self.memberships.lookups()),
            ("roles", self.roles.lookups()),
            ("api_tokens", self.api_tokens.lookups()),
            ("active_data_keys", self.active_data_keys.lookups()),
            ("data_keys", self.data_keys.lookups()),
            ("mac_keys", self.mac_keys.lookups()),
            ("private_keys", self.private_keys.lookups()),
            ("tokens", self.tokens.lookups()),
        ]
    }

    /// The versions behind the caches.
    pub fn epochs(&self) -> &Arc<Epochs> {
        &self.epochs
    }
}
