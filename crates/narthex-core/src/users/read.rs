//! Users as they are shown: with their memberships and with who they are elsewhere. What a page of users needs is read at once for
//! all of them, not user by user.

use std::collections::HashMap;

use narthex_db::{DbError, FromRow, Row, Tx, Value, p};

use super::{Identity, User, not_found, store};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::Result;
use crate::ids::{EnvId, OrganizationId, UserId};
use crate::memberships;

/// The same person at an identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// Number of the connection (`conn_…`).
    pub connection: i64,
    /// `OIDC`, `SAML`, `OAUTH`, …
    pub connection_type: String,
    /// `scalekit.v1.commons.IdentityProviderType`.
    pub provider: i32,
    /// Subject there.
    pub subject: String,
    /// Whether it is one of the social providers.
    pub is_social: bool,
    /// When the two were linked.
    pub created_at: Timestamp,
    /// Last login through it.
    pub last_login_at: Option<Timestamp>,
    /// When the profile was last taken from it.
    pub last_synced_at: Option<Timestamp>,
}

/// A user as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The user.
    pub user: User,
    /// All memberships, or that of the organization asked about; oldest organization first.
    pub memberships: Vec<memberships::View>,
    /// Oldest first.
    pub identities: Vec<ExternalIdentity>,
}

/// A user of the environment with all memberships.
pub async fn get(core: &Core, environment: EnvId, identity: Identity) -> Result<View> {
    let now = core.clock.now();
    core.db
        .read(async move |tx| {
            let user = store::load(tx, environment, &identity).await?.ok_or_else(not_found)?;
            view(tx, user, now).await
        })
        .await
}

/// Whether a user has a membership of any state in an organization.
pub async fn of_organization(
    core: &Core,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
) -> Result<bool> {
    let sql = "SELECT user_id FROM memberships WHERE organization_id = $1 AND user_id = $2 AND environment_id = $3";
    let found: Option<(i64,)> = core.db.reader().await?.opt(sql, &p![organization, user, environment]).await?;
    Ok(found.is_some())
}

/// One user with all memberships.
pub(crate) async fn view(tx: &mut Tx, user: User, now: Timestamp) -> Result<View> {
    let environment = user.environment;
    let mut views = views(tx, environment, vec![user], None, now).await?;
    views.pop().ok_or_else(not_found)
}

/// Users, at most some hundred, with their memberships in all organizations or in one.
pub(crate) async fn views(
    tx: &mut Tx,
    environment: EnvId,
    users: Vec<User>,
    organization: Option<OrganizationId>,
    now: Timestamp,
) -> Result<Vec<View>> {
    let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
    let mut memberships = memberships::of_users(tx, environment, &ids, organization, now).await?;
    let mut identities = identities(tx, environment, &ids).await?;
    Ok(users
        .into_iter()
        .map(|user| View {
            memberships: memberships.remove(&user.id).unwrap_or_default(),
            identities: identities.remove(&user.id).unwrap_or_default(),
            user,
        })
        .collect())
}

struct Identified(UserId, ExternalIdentity);

impl FromRow for Identified {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let identity = ExternalIdentity {
            connection: row.get(1)?,
            connection_type: row.get(2)?,
            provider: row.get(3)?,
            subject: row.get(4)?,
            is_social: row.get(5)?,
            created_at: row.get(6)?,
            last_login_at: row.get(7)?,
            last_synced_at: row.get(8)?,
        };
        Ok(Self(row.get(0)?, identity))
    }
}

async fn identities(
    tx: &mut Tx,
    environment: EnvId,
    users: &[UserId],
) -> Result<HashMap<UserId, Vec<ExternalIdentity>>> {
    let mut found: HashMap<UserId, Vec<ExternalIdentity>> = HashMap::new();
    if users.is_empty() {
        return Ok(found);
    }
    let sql = format!(
        "SELECT user_id, connection_id, connection_type, connection_provider, connection_user_id, is_social, created_at, \
         last_login_at, last_synced_at FROM external_identities WHERE environment_id = $1 AND user_id IN {} ORDER BY user_id, id",
        list_of(2, users.len())
    );
    let rows: Vec<Identified> = tx.all(&sql, &with_ids(p![environment].to_vec(), users)).await?;
    for Identified(user, identity) in rows {
        found.entry(user).or_default().push(identity);
    }
    Ok(found)
}

/// `($from, $from+1, …)`
pub(crate) fn list_of(from: usize, count: usize) -> String {
    let list: Vec<String> = (from..from + count).map(|number| format!("${number}")).collect();
    format!("({})", list.join(", "))
}

pub(crate) fn with_ids(mut params: Vec<Value>, users: &[UserId]) -> Vec<Value> {
    params.extend(users.iter().map(Value::from));
    params
}
