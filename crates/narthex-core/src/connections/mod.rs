//! Connections: the ways to sign in. Here are those of an environment that need nobody else: codes and links by mail, and passkeys.
//! An environment has at most one of each.

mod change;
mod passwordless;
mod store;
mod webauthn;

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_db::Tx;

pub use change::{Change, create, delete, set_enabled, update};
pub use passwordless::{CodeType, Delivery, PasswordlessChange, PasswordlessConfig};
pub use webauthn::{
    Attachment, Attestation, AttestationChange, Authenticators, AuthenticatorsChange, Conveyance, RelyingParty,
    Timeouts, TimeoutsChange, UserVerification, WebauthnChange, WebauthnConfig,
};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, EnvId};

/// Types of connection that are built (`scalekit.v1.connections.ConnectionType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionType {
    /// Codes and links by mail.
    Passwordless = 5,
    /// Passkeys.
    Webauthn = 9,
}

impl ConnectionType {
    fn from_number(number: i32) -> Option<Self> {
        [Self::Passwordless, Self::Webauthn].into_iter().find(|&kind| kind as i32 == number)
    }
}

/// A connection with the settings of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection<C = Config> {
    /// Id.
    pub id: ConnectionId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Whether people can sign in by it.
    pub enabled: bool,
    /// Kept for who set it; without effect on these types, like the next three.
    pub debug_enabled: bool,
    /// Text of its button.
    pub ui_button_title: String,
    /// `scalekit.v1.connections.ConfigurationType`.
    pub configuration_type: i32,
    /// Attributes of the user by claim.
    pub attribute_mapping: BTreeMap<String, String>,
    /// Settings of its type.
    pub config: C,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// Settings of a connection, by its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Config {
    /// Of codes and links by mail.
    Passwordless(PasswordlessConfig),
    /// Of passkeys.
    Webauthn(WebauthnConfig),
}

impl Config {
    /// The type that they are of.
    pub fn kind(&self) -> ConnectionType {
        match self {
            Self::Passwordless(_) => ConnectionType::Passwordless,
            Self::Webauthn(_) => ConnectionType::Webauthn,
        }
    }

    /// What a new connection of a type has.
    fn of(kind: ConnectionType) -> Self {
        match kind {
            ConnectionType::Passwordless => Self::Passwordless(PasswordlessConfig::default()),
            ConnectionType::Webauthn => Self::Webauthn(WebauthnConfig::default()),
        }
    }
}

impl<C> Connection<C> {
    /// The same with other settings.
    fn with<D>(self, config: D) -> Connection<D> {
        let Self {
            id,
            environment,
            enabled,
            debug_enabled,
            ui_button_title,
            configuration_type,
            attribute_mapping,
            config: _,
            created_at,
            updated_at,
        } = self;
        Connection {
            id,
            environment,
            enabled,
            debug_enabled,
            ui_button_title,
            configuration_type,
            attribute_mapping,
            config,
            created_at,
            updated_at,
        }
    }
}

/// The ways to sign in that every organization of an environment shares.
#[derive(Debug, Default)]
pub(crate) struct LoginMethods {
    passwordless: Option<Arc<Connection<PasswordlessConfig>>>,
    webauthn: Option<Arc<Connection<WebauthnConfig>>>,
}

/// The environment's connection for codes and links by mail, enabled or not.
pub async fn passwordless(core: &Core, environment: EnvId) -> Result<Option<Arc<Connection<PasswordlessConfig>>>> {
    Ok(login_methods(core, environment).await?.passwordless.clone())
}

/// The environment's connection for passkeys, enabled or not.
pub async fn webauthn(core: &Core, environment: EnvId) -> Result<Option<Arc<Connection<WebauthnConfig>>>> {
    Ok(login_methods(core, environment).await?.webauthn.clone())
}

async fn login_methods(core: &Core, environment: EnvId) -> Result<Arc<LoginMethods>> {
    let load = async {
        let mut methods = LoginMethods::default();
        for connection in store::list(&mut *core.db.reader().await?, environment).await? {
            match connection.config.clone() {
                Config::Passwordless(config) => methods.passwordless = Some(Arc::new(connection.with(config))),
                Config::Webauthn(config) => methods.webauthn = Some(Arc::new(connection.with(config))),
            }
        }
        Ok(Some(methods))
    };
    Ok(core.caches.login_methods.get(&environment, load).await?.unwrap_or_default())
}

/// A connection of the environment.
pub async fn get(core: &Core, environment: EnvId, id: ConnectionId) -> Result<Connection> {
    store::load(&mut *core.db.reader().await?, environment, id).await?.ok_or_else(not_found)
}

/// Every connection of the environment, oldest first.
pub async fn list(core: &Core, environment: EnvId) -> Result<Vec<Connection>> {
    store::list(&mut *core.db.reader().await?, environment).await
}

/// What a new environment has: codes by mail, and passkeys that wait to be switched on (login methods reference §1).
/// No cache can know of the environment yet.
pub(crate) async fn insert_first(
    tx: &mut Tx,
    environment: EnvId,
    ids: [ConnectionId; 2],
    now: Timestamp,
) -> Result<()> {
    let [passwordless, webauthn] = ids;
    let first = |id, kind| change::new(id, environment, kind, now);
    let enabled = Connection { enabled: true, ..first(passwordless, ConnectionType::Passwordless) };
    store::insert(tx, &enabled).await?;
    store::insert(tx, &first(webauthn, ConnectionType::Webauthn)).await
}

/// Characters of the environment's codes, within a transaction; None without a connection for them.
pub(crate) async fn code_length(tx: &mut Tx, environment: EnvId) -> Result<Option<u32>> {
    Ok(store::list(tx, environment).await?.into_iter().find_map(|connection| match connection.config {
        Config::Passwordless(config) => Some(config.code_challenge_length),
        Config::Webauthn(_) => None,
    }))
}

/// The answer to what is no connection of the environment.
pub fn not_found() -> Error {
    Error::not_found(ConnectionId::NOUN)
}
