//! How a browser session comes to be, goes on, and enters organizations: within the transaction of a login.

use narthex_db::{Tx, p};
use serde_json::{Value, json};

use super::details::{Details, Device, Status, Stored, data, load};
use super::{Lifetimes, NewCookie, NewSession, Session, bump, insert, notice};
use crate::cache::Bump;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::{self, Actor, NewEvent};
use crate::ids::{ConnectionId, EnvId, EventId, OrganizationId, SessionId, UserId};
use crate::users;

/// What a login brings that is made outside of its transaction.
pub struct NewEntry {
    id: SessionId,
    cookie: NewCookie,
    login: EventId,
    logout: EventId,
    device: Device,
    now: Timestamp,
}

impl NewEntry {
    /// For a login from `device`.
    pub fn new(core: &Core, device: Device) -> Self {
        Self {
            id: SessionId::new(&core.ids),
            cookie: NewCookie::new(core),
            logout: EventId::new(&core.ids),
            login: EventId::new(&core.ids),
            device,
            now: core.clock.now(),
        }
    }

    /// The moment of the login.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The value of the cookie that an [`Entered`] with a new one needs.
    pub fn cookie_value(&self, session: SessionId) -> crate::seal::Secret<String> {
        self.cookie.value(session)
    }
}

/// Who enters, and how.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Environment.
    pub environment: EnvId,
    /// The user.
    pub user: UserId,
    /// The organization.
    pub organization: Option<OrganizationId>,
    /// The session that the browser holds now.
    pub current: Option<SessionId>,
    /// What the user has just proven who they are with; `None` goes on with the current session.
    pub proof: Option<ConnectionId>,
    /// Whether there was a proof at all: an invitation has no connection.
    pub is_proven: bool,
    /// How long the session lives.
    pub lifetimes: Lifetimes,
}

/// A session that was entered.
#[derive(Debug)]
pub struct Entered {
    /// The session.
    pub session: SessionId,
    /// When the user proved who they are.
    pub authenticated_at: Timestamp,
    /// With what.
    pub connection: Option<ConnectionId>,
    /// Whether the browser must get the cookie of the [`NewEntry`], and until when it is good.
    pub new_cookie: Option<Timestamp>,
    /// To be applied after the commit.
    pub bumps: Vec<Bump>,
}

/// Enters. With a proof, a live session of the same user gets a new cookie and a new life, another user's is logged out, and where
/// there is none a new one is made; without, the current one goes on, and `None` says that there is none that could.
pub async fn enter(tx: &mut Tx, new: &NewEntry, entry: Entry) -> Result<Option<Entered>> {
    let now = new.now;
    let mut bumps = Vec::new();
    let current = match entry.current {
        None => None,
        Some(id) => load(tx, entry.environment, id).await?,
    };
    let proof = current.as_ref().map(Stored::proof);
    let current = current.map(|stored| stored.at(now)).filter(|session| session.status == Status::Active);
    match current {
        Some(session) if session.user == entry.user => {
            let (authenticated_at, connection) = proof.unwrap_or((session.created_at, None));
            let is_there = session.organization == entry.organization
                && entry.organization.is_none_or(|entered| session.organizations.contains(&entered));
            if is_there && !entry.is_proven {
                stay(tx, &session, entry.lifetimes, now).await?;
                let session = session.id;
                return Ok(Some(Entered { session, authenticated_at, connection, new_cookie: None, bumps }));
            }
            let mut organizations = session.organizations.clone();
            if let Some(organization) = entry.organization.filter(|entered| !organizations.contains(entered)) {
                organizations.push(organization);
            }
            let (absolute, idle) = if entry.is_proven {
                (now.plus(entry.lifetimes.absolute), entry.lifetimes.idle.map(|idle| now.plus(idle)))
            } else {
                (
                    session.absolute_expires_at,
                    session.idle_expires_at.and(entry.lifetimes.idle).map(|idle| now.plus(idle)),
                )
            };
            let texts: Vec<String> = organizations.iter().map(ToString::to_string).collect();
            tx.execute(
                "UPDATE sessions SET organization_id = $2, organizations = $3, expires_at = $4, idle_expires_at = $5, last_active_at = $6, \
                 updated_at = $6 WHERE id = $1",
                &p![session.id, entry.organization, json!(texts).to_string(), absolute, idle, now],
            )
            .await?;
            if entry.is_proven {
                tx.execute(
                    "UPDATE sessions SET cookie_hash = $2, authenticated_at = $3, connection_id = $4, device = $5 WHERE id = $1",
                    &p![
                        session.id,
                        new.cookie.hash().to_vec(),
                        now,
                        entry.proof,
                        json!(new.device).to_string()
                    ],
                )
                .await?;
                tell(tx, entry, new.login, events::USER_LOGIN, session.id, now).await?;
            }
            bumps.push(bump(tx, session.id).await?);
            Ok(Some(Entered {
                session: session.id,
                authenticated_at: if entry.is_proven { now } else { authenticated_at },
                connection: if entry.is_proven { entry.proof } else { connection },
                new_cookie: entry.is_proven.then_some(absolute),
                bumps,
            }))
        }
        _ if !entry.is_proven => Ok(None),
        other => {
            if let Some(other) = other {
                // The browser changes hands: what the other user had in it ends.
                tx.execute("UPDATE sessions SET revoked_at = $2, ended_as = 2 WHERE id = $1", &p![other.id, now])
                    .await?;
                let logout = Entry { user: other.user, organization: other.organization, ..entry };
                tell(tx, logout, new.logout, events::USER_LOGOUT, other.id, now).await?;
                bumps.push(bump(tx, other.id).await?);
            }
            let absolute = now.plus(entry.lifetimes.absolute);
            let session = Session {
                id: new.id,
                cookie_hash: Some(new.cookie.hash()),
                idle_expires_at: entry.lifetimes.idle.map(|idle| now.plus(idle)),
                connection: entry.proof,
                ..NewSession::browser(entry.user, entry.organization, entry.lifetimes.absolute).at(
                    entry.environment,
                    new.id,
                    now,
                )
            };
            insert(tx, &session).await?;
            let organizations: Vec<String> = entry.organization.iter().map(ToString::to_string).collect();
            tx.execute(
                "UPDATE sessions SET organizations = $2, clients = '[]', device = $3, last_active_at = $4, updated_at = $4 WHERE id = $1",
                &p![session.id, json!(organizations).to_string(), json!(new.device).to_string(), now],
            )
            .await?;
            tell(tx, entry, new.login, events::USER_LOGIN, session.id, now).await?;
            Ok(Some(Entered {
                session: session.id,
                authenticated_at: now,
                connection: entry.proof,
                new_cookie: Some(absolute),
                bumps,
            }))
        }
    }
}

/// Most logins with a session: nothing changes but the end of the idle time, of which nobody is told. Whoever has the session in memory
/// reads it again before it counts as idle.
async fn stay(tx: &mut Tx, session: &Details, lifetimes: Lifetimes, now: Timestamp) -> Result<()> {
    let idle = session.idle_expires_at.and(lifetimes.idle).map(|idle| now.plus(idle));
    let sql = "UPDATE sessions SET idle_expires_at = $2, last_active_at = $3, updated_at = $3 WHERE id = $1";
    tx.execute(sql, &p![session.id, idle, now]).await?;
    Ok(())
}

/// Writes `user.login` or `user.logout` (events reference §4).
async fn tell(
    tx: &mut Tx,
    entry: Entry,
    id: EventId,
    kind: events::EventKind,
    session: SessionId,
    now: Timestamp,
) -> Result<()> {
    let identity = users::Identity::Id(entry.user);
    let user = users::load(tx, entry.environment, &identity).await?.ok_or_else(users::not_found)?;
    let view = users::view(tx, user, now).await?;
    let details = load(tx, entry.environment, session).await?.ok_or_else(|| Error::internal("a session is gone"))?;
    let details = details.at(now);
    if details.status != Status::Active {
        notice::order(tx, entry.environment, &details, now).await?;
    }
    let data: Value = json!({
        "user": users::data(&view.user, &view.identities),
        "user_session": data(&details),
    });
    let event = NewEvent {
        id,
        environment: entry.environment,
        organization: entry.organization,
        kind,
        occurred_at: now,
        actor: Actor::user(entry.user),
        data,
    };
    users::append(tx, event, entry.user).await
}
