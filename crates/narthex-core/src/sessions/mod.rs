//! Sessions: what a token names with `sid`, so that it can be ended before it expires.

mod activity;
mod cookie;
mod details;
mod device;
mod end;
mod enter;
mod list;
mod notice;
mod policy;

use std::sync::Arc;
use std::time::Duration;

pub use activity::extend;
pub(crate) use activity::{enter_client, live};
pub use cookie::{COOKIE, NewCookie, by_cookie};
pub use details::{AuthenticatedClient, Description, Details, Device, Location, Status, describe};
pub(crate) use end::{RUN_OUT, Whose, end_of_member, end_some, expire, ids as farewells};
pub use end::{end, end_all, log_out};
pub use enter::{Entered, Entry, NewEntry, enter};
pub use list::{Filter, LIST, list, of_browser};
pub use notice::{ENDED, NOTIFY, ended, notify};
pub use policy::{Lifetimes, policy_for};

use narthex_db::{DbError, FromRow, Row, Tx, p};

use crate::cache::{self, Bump};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{ConnectedAccountId, ConnectionId, EnvId, MemberId, OrganizationId, PortalLinkId, SessionId, UserId};

/// Ended sessions are listed for this long.
const KEPT: Duration = Duration::from_hours(30 * 24);

const COLUMNS: &str = "id, environment_id, kind, user_id, organization_id, connected_account_id, portal_link_id, member_id, features, \
     created_at, expires_at, revoked_at, idle_expires_at, cookie_hash, authenticated_at, connection_id";

/// Whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// An end user's browser, and the applications signed in through it.
    Browser = 1,
    /// The admin portal, opened by a link.
    Portal = 2,
    /// The page of a connected account.
    ConnectedAccount = 3,
    /// An operator.
    Operator = 4,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Id.
    pub id: SessionId,
    /// Environment; the product's own for operators.
    pub environment: EnvId,
    /// Whose it is.
    pub kind: SessionKind,
    /// The end user.
    pub user: Option<UserId>,
    /// Current organization of a user; the one organization of a portal session.
    pub organization: Option<OrganizationId>,
    /// The one account of a connected-account session.
    pub connected_account: Option<ConnectedAccountId>,
    /// The link that opened a portal session.
    pub portal_link: Option<PortalLinkId>,
    /// The operator.
    pub member: Option<MemberId>,
    /// What the portal link lets in (`sso`, `dir_sync`, …).
    pub features: Vec<String>,
    /// Creation.
    pub created_at: Timestamp,
    /// End, if nothing ends it before.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub revoked_at: Option<Timestamp>,
    /// End, if it is not used before.
    pub idle_expires_at: Option<Timestamp>,
    /// SHA-256 of the secret in the browser's cookie; none where no browser holds it.
    pub cookie_hash: Option<[u8; 32]>,
    /// When the user last proved who they are.
    pub authenticated_at: Timestamp,
    /// What they proved it with.
    pub connection: Option<ConnectionId>,
}

impl Session {
    /// Whether it counts.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at && self.idle_expires_at.is_none_or(|end| now < end)
    }
}

impl Session {
    /// Whether nothing but its idle time has run out.
    fn looks_idle(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at && self.idle_expires_at.is_some_and(|end| now >= end)
    }
}

/// A session to be opened; make one with a function named after its kind.
#[derive(Debug, Clone)]
pub struct NewSession {
    kind: SessionKind,
    lifetime: Duration,
    user: Option<UserId>,
    organization: Option<OrganizationId>,
    connected_account: Option<ConnectedAccountId>,
    portal_link: Option<PortalLinkId>,
    member: Option<MemberId>,
    features: Vec<String>,
}

impl NewSession {
    fn new(kind: SessionKind, lifetime: Duration) -> Self {
        Self {
            kind,
            lifetime,
            user: None,
            organization: None,
            connected_account: None,
            portal_link: None,
            member: None,
            features: Vec::new(),
        }
    }

    /// A user's browser session. What it may do is what the user may at the moment of each call.
    pub fn browser(user: UserId, organization: Option<OrganizationId>, lifetime: Duration) -> Self {
        Self { user: Some(user), organization, ..Self::new(SessionKind::Browser, lifetime) }
    }

    /// An admin-portal session for the organization and features of a link.
    pub fn portal(
        organization: OrganizationId,
        portal_link: Option<PortalLinkId>,
        features: Vec<String>,
        lifetime: Duration,
    ) -> Self {
        Self { organization: Some(organization), portal_link, features, ..Self::new(SessionKind::Portal, lifetime) }
    }

    /// A session for the page of one connected account.
    pub fn connected_account(account: ConnectedAccountId, lifetime: Duration) -> Self {
        Self { connected_account: Some(account), ..Self::new(SessionKind::ConnectedAccount, lifetime) }
    }

    /// An operator's session.
    pub fn operator(member: MemberId, lifetime: Duration) -> Self {
        Self { member: Some(member), ..Self::new(SessionKind::Operator, lifetime) }
    }

    /// The row, for a transaction that does more than open a session.
    pub fn build(self, core: &Core, environment: EnvId) -> Session {
        self.at(environment, SessionId::new(&core.ids), core.clock.now())
    }

    fn at(self, environment: EnvId, id: SessionId, now: Timestamp) -> Session {
        Session {
            id,
            environment,
            kind: self.kind,
            user: self.user,
            organization: self.organization,
            connected_account: self.connected_account,
            portal_link: self.portal_link,
            member: self.member,
            features: self.features,
            created_at: now,
            expires_at: now.plus(self.lifetime),
            revoked_at: None,
            idle_expires_at: None,
            cookie_hash: None,
            authenticated_at: now,
            connection: None,
        }
    }
}

impl FromRow for Session {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let list = |column: usize| -> Result<Vec<String>, DbError> {
            serde_json::from_str(&row.get::<String>(column)?)
                .map_err(|error| DbError::Data(format!("sessions, column {column}: {error}")))
        };
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            kind: match row.get::<i32>(2)? {
                1 => SessionKind::Browser,
                2 => SessionKind::Portal,
                3 => SessionKind::ConnectedAccount,
                4 => SessionKind::Operator,
                _ => return Err(DbError::Data("sessions.kind has an unknown value".into())),
            },
            user: row.get(3)?,
            organization: row.get(4)?,
            connected_account: row.get(5)?,
            portal_link: row.get(6)?,
            member: row.get(7)?,
            features: list(8)?,
            created_at: row.get(9)?,
            expires_at: row.get(10)?,
            revoked_at: row.get(11)?,
            idle_expires_at: row.get(12)?,
            cookie_hash: match row.get::<Option<Vec<u8>>>(13)? {
                Some(hash) => {
                    Some(hash.try_into().map_err(|_| DbError::Data("sessions.cookie_hash is no hash".into()))?)
                }
                None => None,
            },
            authenticated_at: row.get::<Option<Timestamp>>(14)?.unwrap_or(row.get(9)?),
            connection: row.get(15)?,
        })
    }
}

/// Opens a session.
pub async fn open(core: &Core, environment: EnvId, new: NewSession) -> Result<Session> {
    let session = new.build(core, environment);
    let row = session.clone();
    core.db.write(async move |tx| insert(tx, &row).await).await?;
    Ok(session)
}

/// Inserts a session within a transaction of the caller's.
pub async fn insert(tx: &mut Tx, session: &Session) -> Result<()> {
    // `permissions` is a column that nothing reads any more: a copy outlives what it was copied from.
    let sql = format!(
        "INSERT INTO sessions ({COLUMNS}, permissions) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
         $15, $16, '[]')"
    );
    tx.execute(
        &sql,
        &p![
            session.id,
            session.environment,
            session.kind as i32,
            session.user,
            session.organization,
            session.connected_account,
            session.portal_link,
            session.member,
            serde_json::to_string(&session.features).map_err(Error::internal)?,
            session.created_at,
            session.expires_at,
            session.revoked_at,
            session.idle_expires_at,
            session.cookie_hash.map(|hash| hash.to_vec()),
            session.authenticated_at,
            session.connection,
        ],
    )
    .await?;
    Ok(())
}

/// A session of an environment, live or not.
pub async fn get(core: &Core, environment: EnvId, id: SessionId) -> Result<Option<Arc<Session>>> {
    let load = async || {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = $1");
        Ok(core.db.reader().await?.opt::<Session>(&sql, &p![id]).await?)
    };
    let mut session = core.caches.sessions.get(&id, load()).await?;
    // Use pushes the end of the idle time back and tells nobody: what looks idle here may have been used elsewhere.
    let now = core.clock.now();
    if session.as_ref().is_some_and(|session| session.looks_idle(now)) {
        session = core.caches.sessions.reload(&id, load()).await?;
    }
    Ok(session.filter(|session| session.environment == environment))
}

/// A live browser session as the transaction finds it.
pub(crate) async fn live_in(tx: &mut Tx, environment: EnvId, id: SessionId, now: Timestamp) -> Result<Option<Session>> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = $1 AND environment_id = $2 AND kind = 1");
    let session: Option<Session> = tx.opt(&sql, &p![id, environment]).await?;
    Ok(session.filter(|session| session.is_live(now)))
}

/// Ends a session; its tokens are refused from now on, on other nodes within a second. Ending one twice changes nothing. NOT_FOUND if
/// the environment has none of this id.
pub async fn revoke(core: &Core, environment: EnvId, id: SessionId) -> Result<()> {
    let now = core.clock.now();
    let bump = core
        .db
        .write(async move |tx| {
            let sql = "SELECT id FROM sessions WHERE id = $1 AND environment_id = $2";
            if tx.opt::<(SessionId,)>(sql, &p![id, environment]).await?.is_none() {
                return Err(Error::not_found("session"));
            }
            tx.execute("UPDATE sessions SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL", &p![now, id])
                .await?;
            bump(tx, id).await
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

/// Ends up to `limit` live portal sessions of an organization, of one link or of all, within the transaction that revokes the link; how
/// many. A link of one use is gone long before its session: the session itself knows it. Apply the bumps after the commit.
pub(crate) async fn revoke_of_portal(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    link: Option<PortalLinkId>,
    limit: i64,
    now: Timestamp,
) -> Result<(i64, Vec<Bump>)> {
    let (by_link, mut values) = ("AND portal_link_id = $5 ", p![now, environment, organization, limit].to_vec());
    values.extend(link.map(Into::into));
    let sql = format!(
        "UPDATE sessions SET revoked_at = $1, ended_as = 1 WHERE id IN \
         (SELECT id FROM sessions WHERE environment_id = $2 AND organization_id = $3 AND kind = 2 {}AND revoked_at IS NULL \
         AND expires_at > $1 ORDER BY id LIMIT $4) RETURNING id",
        if link.is_some() { by_link } else { "" }
    );
    let ended: Vec<(SessionId,)> = tx.all(&sql, &values).await?;
    let count = i64::try_from(ended.len()).unwrap_or(i64::MAX);
    Ok((count, end::bump_each(tx, ended.into_iter().map(|(id,)| id)).await?))
}

async fn bump(tx: &mut Tx, id: SessionId) -> Result<Bump> {
    cache::bump(tx, &cache::session_scope(id)).await.map_err(Error::from)
}

/// Deletes sessions that ended long ago, 500 in a transaction and 10,000 at most; returns how many.
pub async fn sweep(core: &Core) -> Result<u64> {
    let before = Timestamp(core.clock.now().0 - i64::try_from(KEPT.as_micros()).unwrap_or(0));
    let sql = "SELECT id FROM sessions WHERE expires_at < $1 LIMIT 1";
    if core.db.reader().await?.opt::<(SessionId,)>(sql, &p![before]).await?.is_none() {
        return Ok(0);
    }
    let mut deleted = 0;
    for _ in 0..20 {
        let chunk: Result<u64> = core
            .db
            .write(async move |tx| {
                let sql = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT 500)";
                Ok(tx.execute(sql, &p![before]).await?)
            })
            .await;
        let chunk = chunk?;
        deleted += chunk;
        if chunk < 500 {
            break;
        }
    }
    Ok(deleted)
}
