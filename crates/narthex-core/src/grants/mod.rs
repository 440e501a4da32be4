//! Grants: what a login has allowed a client, from the code to the last refresh token (oauth-oidc reference §6). A grant is one row;
//! whatever is issued from it can be ended through it.

mod bearer;
mod client;
mod exchange;
mod introspect;
mod issue;
mod logout;
mod person;
mod refresh;
mod scope;
mod store;
mod token;

pub use bearer::{BearerRefusal, user_info};
pub use client::Presented;
pub use exchange::{CodeExchange, exchange};
pub use introspect::{TokenRequest, introspect, revoke};
pub use logout::{LoggedOut, Logout, log_out};
pub use refresh::{Refresh, refresh};

use narthex_db::{Tx, p};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::Result;
use crate::ids::{AuthRequestId, ConnectionId, EnvId, GrantId, OrganizationId, ResourceId, SessionId, UserId};
use crate::seal::{Secret, sha256};

/// Characters of a code: about 256 bits.
const CODE_LENGTH: usize = 43;

/// What a login allows a client. Everything in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The client's record id: that of a client with a metadata document too.
    pub client_id: String,
    /// Where the code was sent, exactly as the authorization request had it.
    pub redirect_uri: String,
    /// Granted scopes, `offline_access` among them where it was asked for.
    pub scopes: Vec<String>,
    /// For the ID token.
    pub nonce: Option<String>,
    /// S256 challenge (RFC 7636 §4.2).
    pub code_challenge: Option<String>,
    /// Who has signed in.
    pub subject: Subject,
    /// What they have proven themselves with.
    pub connection: Option<ConnectionId>,
    /// When they did.
    #[serde(with = "micros")]
    pub auth_time: Timestamp,
    /// The login.
    pub auth_request: AuthRequestId,
    /// The resource that the tokens are for; none for the application itself.
    pub resource: Option<ResourceId>,
}

/// Who has signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A user of the environment, with a session.
    User {
        /// The user.
        user: UserId,
        /// The organization that was entered.
        organization: Option<OrganizationId>,
        /// The session.
        session: SessionId,
    },
    /// Somebody whom a connection vouches for: no user here, and no session.
    Connection {
        /// `sub`: the connection's id, `;` and the id of the person there; or what the customer's own login page has posted.
        sub: String,
        /// Address.
        email: String,
        /// Whether it is known to be theirs.
        email_verified: bool,
        /// The connection.
        connection: ConnectionId,
        /// The organization that the connection belongs to.
        organization: Option<OrganizationId>,
    },
}

impl Subject {
    /// The session behind it.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::User { session, .. } => Some(*session),
            Self::Connection { .. } => None,
        }
    }

    /// The organization that tokens are for.
    pub fn organization(&self) -> Option<OrganizationId> {
        match self {
            Self::User { organization, .. } | Self::Connection { organization, .. } => *organization,
        }
    }
}

/// Times in JSON as the database has them.
mod micros {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::clock::Timestamp;

    #[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde wants
    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp)
    }
}

/// A code that was just drawn: made outside of the transaction that writes its grant.
pub struct NewCode {
    id: GrantId,
    code: Secret<String>,
    hash: [u8; 32],
}

impl NewCode {
    /// A random one.
    pub fn new(core: &Core) -> Self {
        let text = core.random.base62(CODE_LENGTH);
        Self { id: GrantId::new(&core.ids), hash: sha256(text.as_bytes()), code: Secret::new(text) }
    }

    /// The code, for the redirect to the client.
    pub fn code(&self) -> &str {
        self.code.expose()
    }

    /// The grant that it stands for.
    pub const fn id(&self) -> GrantId {
        self.id
    }
}

/// Writes a grant with its code, within the transaction of the login. The code is good once, for ten minutes.
pub async fn issue_code(
    tx: &mut Tx,
    environment: EnvId,
    authorization: &Authorization,
    code: &NewCode,
    now: Timestamp,
) -> Result<()> {
    store::insert(tx, environment, authorization, code.id, &code.hash, now).await
}

/// Whether a grant of the environment still counts: what was issued from it counts no longer than it.
pub(crate) async fn is_live(core: &Core, environment: EnvId, id: GrantId) -> Result<bool> {
    let load = async {
        let sql = "SELECT environment_id FROM grants WHERE id = $1 AND revoked_at IS NULL";
        Ok(core.db.reader().await?.opt::<(EnvId,)>(sql, &p![id]).await?.map(|(environment,)| environment))
    };
    let found = core.caches.grants.get(&id, load).await?;
    Ok(found.is_some_and(|found| *found == environment))
}
