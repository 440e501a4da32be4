//! Users' sessions as they are shown.

use narthex_db::{DbError, FromRow, Row, Tx, p};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, EnvId, OrganizationId, SessionId, UserId};

/// Columns of [`Stored`], in the order in which it is read.
pub(super) const COLUMNS: &str = "id, user_id, organization_id, created_at, updated_at, last_active_at, expires_at, idle_expires_at, \
     revoked_at, ended_as, organizations, clients, device, authenticated_at, connection_id";

/// Whether a session counts, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It counts.
    Active,
    /// Its time ran out, or it was not used for too long.
    Expired,
    /// It was ended for the user.
    Revoked,
    /// The user ended it.
    LoggedOut,
}

impl Status {
    /// The word for it in answers; events have it in upper case (events reference OP-9).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::LoggedOut => "logout",
        }
    }

    /// The status of a word, in whatever case.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Active, Self::Expired, Self::Revoked, Self::LoggedOut]
            .into_iter()
            .find(|status| status.name().eq_ignore_ascii_case(name))
    }
}

/// What a browser says of itself, and where it is. Empty texts where nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the wire's names
pub struct Device {
    pub user_agent: String,
    pub os: String,
    pub os_version: String,
    pub browser: String,
    pub browser_version: String,
    pub device_type: String,
    pub ip: String,
    pub location: Location,
}

/// A place; empty texts without geographical data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the wire's names
pub struct Location {
    pub region: String,
    pub region_subdivision: String,
    pub city: String,
    pub latitude: String,
    pub longitude: String,
}

/// An application that was signed in to with a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthenticatedClient {
    /// Its client id.
    pub client_id: String,
    /// For which organization.
    pub organization_id: String,
}

/// What a login knows of a session beyond whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// The browser.
    pub device: Device,
    /// Organizations that were entered with it, in that order.
    pub organizations: Vec<OrganizationId>,
    /// Applications that were entered with it.
    pub clients: Vec<AuthenticatedClient>,
    /// End, if it is not used before.
    pub idle_expires_at: Option<Timestamp>,
    /// Last use.
    pub last_active_at: Option<Timestamp>,
}

/// Describes a session, within the transaction of the login or of its next use. `now` becomes its time of change. The caller bumps
/// the session's cache scope where the session was known before.
pub async fn describe(tx: &mut Tx, session: SessionId, description: &Description, now: Timestamp) -> Result<()> {
    let text = |value: Value| value.to_string();
    let organizations: Vec<String> = description.organizations.iter().map(ToString::to_string).collect();
    tx.execute(
        "UPDATE sessions SET device = $2, organizations = $3, clients = $4, idle_expires_at = $5, last_active_at = $6, updated_at = $7 \
         WHERE id = $1",
        &p![
            session,
            text(json!(description.device)),
            text(json!(organizations)),
            text(json!(description.clients)),
            description.idle_expires_at,
            description.last_active_at,
            now
        ],
    )
    .await?;
    Ok(())
}

/// A user's session as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The organization that was entered last.
    pub organization: Option<OrganizationId>,
    /// All that were entered.
    pub organizations: Vec<OrganizationId>,
    /// Applications that were entered.
    pub clients: Vec<AuthenticatedClient>,
    /// The browser.
    pub device: Device,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Last use.
    pub last_active_at: Timestamp,
    /// End, if it is not used before.
    pub idle_expires_at: Option<Timestamp>,
    /// End in any case.
    pub absolute_expires_at: Timestamp,
    /// When it expired or was revoked.
    pub expired_at: Option<Timestamp>,
    /// When the user ended it.
    pub logout_at: Option<Timestamp>,
    /// Whether it counts.
    pub status: Status,
}

/// A row: what it says depends on the time.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) id: SessionId,
    pub(super) user: UserId,
    organization: Option<OrganizationId>,
    created_at: Timestamp,
    updated_at: Option<Timestamp>,
    last_active_at: Option<Timestamp>,
    expires_at: Timestamp,
    idle_expires_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    ended_as: i32,
    organizations: Option<Vec<OrganizationId>>,
    clients: Vec<AuthenticatedClient>,
    device: Device,
    authenticated_at: Option<Timestamp>,
    connection: Option<ConnectionId>,
}

impl FromRow for Stored {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Self::read(row, 0)
    }
}

impl Stored {
    /// The columns from this one on.
    pub(super) fn read(row: &Row<'_>, from: usize) -> Result<Self, DbError> {
        let organizations: Option<Vec<String>> = json_of(row, from + 10)?;
        let id = |text: &String| {
            OrganizationId::parse(text).ok_or_else(|| DbError::Data("sessions.organizations holds another id".into()))
        };
        Ok(Self {
            id: row.get(from)?,
            user: row.get(from + 1)?,
            organization: row.get(from + 2)?,
            created_at: row.get(from + 3)?,
            updated_at: row.get(from + 4)?,
            last_active_at: row.get(from + 5)?,
            expires_at: row.get(from + 6)?,
            idle_expires_at: row.get(from + 7)?,
            ended_at: row.get(from + 8)?,
            ended_as: row.get(from + 9)?,
            organizations: match organizations {
                Some(texts) => Some(texts.iter().map(id).collect::<Result<_, _>>()?),
                None => None,
            },
            clients: json_of(row, from + 11)?.unwrap_or_default(),
            device: json_of(row, from + 12)?.unwrap_or_default(),
            authenticated_at: row.get(from + 13)?,
            connection: row.get(from + 14)?,
        })
    }
}

fn json_of<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>, DbError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| DbError::Data(format!("sessions, column {column} of the details: {error}")))
}

impl Stored {
    /// When the user last proved who they are, and with what.
    pub(super) fn proof(&self) -> (Timestamp, Option<ConnectionId>) {
        (self.authenticated_at.unwrap_or(self.created_at), self.connection)
    }

    /// What the row says at a time. A session expires by itself: no row needs to change for it.
    pub(super) fn at(self, now: Timestamp) -> Details {
        let deadline = self.idle_expires_at.map_or(self.expires_at, |idle| idle.min(self.expires_at));
        let status = match (self.ended_at, self.ended_as) {
            (None, _) if now < deadline => Status::Active,
            (None, _) | (Some(_), 3) => Status::Expired,
            (Some(_), 2) => Status::LoggedOut,
            (Some(_), _) => Status::Revoked,
        };
        let changed = self.updated_at.unwrap_or(self.created_at);
        Details {
            id: self.id,
            user: self.user,
            organization: self.organization,
            organizations: self.organizations.unwrap_or_else(|| self.organization.into_iter().collect()),
            clients: self.clients,
            device: self.device,
            created_at: self.created_at,
            updated_at: self.ended_at.map_or(changed, |end| end.max(changed)),
            last_active_at: self.last_active_at.unwrap_or(self.created_at),
            idle_expires_at: self.idle_expires_at,
            absolute_expires_at: self.expires_at,
            expired_at: match status {
                Status::Active | Status::LoggedOut => None,
                Status::Expired => Some(self.ended_at.unwrap_or(deadline)),
                Status::Revoked => self.ended_at,
            },
            logout_at: if status == Status::LoggedOut { self.ended_at } else { None },
            status,
        }
    }
}

/// A user's session of the environment.
pub(super) async fn load(tx: &mut Tx, environment: EnvId, id: SessionId) -> Result<Option<Stored>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions WHERE id = $1 AND environment_id = $2 AND kind = 1 AND user_id IS NOT NULL"
    );
    tx.opt(&sql, &p![id, environment]).await.map_err(Error::from)
}

/// `user_session` in the data of events (events reference §4).
pub(super) fn data(session: &Details) -> Value {
    let time = |at: Option<Timestamp>| at.map_or(Value::Null, |at| Value::String(at.rfc3339()));
    let organizations: Vec<String> = session.organizations.iter().map(ToString::to_string).collect();
    json!({
        "absolute_expires_at": session.absolute_expires_at.rfc3339(),
        "authenticated_organizations": organizations,
        "created_at": session.created_at.rfc3339(),
        "device": session.device,
        "expired_at": time(session.expired_at),
        "idle_expires_at": time(session.idle_expires_at),
        "last_active_at": session.last_active_at.rfc3339(),
        "logout_at": time(session.logout_at),
        "organization_id": session.organization.map(|id| id.to_string()).unwrap_or_default(),
        "session_id": session.id.to_string(),
        "status": session.status.name().to_ascii_uppercase(),
        "updated_at": session.updated_at.rfc3339(),
        "user_id": session.user.to_string(),
    })
}
