//! The table of memberships.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{Membership, Provisioning, State};
use crate::counters;
use crate::error::{Error, Result};
use crate::ids::{EnvId, OrganizationId, RoleId, UserId};
use crate::roles::{self, Role};
use crate::users::{list_of, with_ids};

/// Name of the total of an organization's users.
const NOUN: &str = "organization_users";

/// A SELECT of the columns of a [`Membership`], in the order in which it is read.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.organization_id, m.user_id, m.environment_id, m.state, m.metadata, m.inviter_email, m.provisioning, \
             m.invited_at, m.expires_at, m.accepted_at, m.joined_at, m.resent_at, m.resent_count, m.created_at, m.updated_at",
            $rest
        )
    };
}

impl FromRow for Membership {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            organization: row.get(0)?,
            user: row.get(1)?,
            environment: row.get(2)?,
            state: match row.get::<i32>(3)? {
                1 => State::Active,
                2 => State::Inactive,
                3 => State::Invited,
                _ => return Err(DbError::Data("memberships.state has an unknown value".into())),
            },
            metadata: serde_json::from_str(row.cell(4)?.text()?)
                .map_err(|_| DbError::Data("metadata is not a map of texts".into()))?,
            inviter_email: row.get(5)?,
            provisioning: Provisioning::named(row.cell(6)?.text()?)
                .ok_or_else(|| DbError::Data("memberships.provisioning has an unknown value".into()))?,
            invited_at: row.get(7)?,
            expires_at: row.get(8)?,
            accepted_at: row.get(9)?,
            joined_at: row.get(10)?,
            resent_at: row.get(11)?,
            resent_count: row.get(12)?,
            created_at: row.get(13)?,
            updated_at: row.get(14)?,
        })
    }
}

/// A membership with the name of its organization.
struct Named(Membership, String);

impl FromRow for Named {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self(Membership::from_row(row)?, row.get(15)?))
    }
}

pub(crate) async fn load(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
) -> Result<Option<Membership>> {
    let sql = select!(" FROM memberships m WHERE m.organization_id = $2 AND m.user_id = $3 AND m.environment_id = $1");
    Ok(tx.opt(sql, &p![environment, organization, user]).await?)
}

/// Inserts a membership and counts it. `id` is a fresh number.
pub(super) async fn insert(tx: &mut Tx, membership: &Membership, id: i64) -> Result<()> {
    tx.execute(
        "INSERT INTO memberships (organization_id, user_id, environment_id, state, metadata, inviter_email, inviter_key, \
         provisioning, invited_at, expires_at, accepted_at, joined_at, resent_at, resent_count, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        &values(membership)?,
    )
    .await?;
    counters::add(tx, counted_as(membership.organization), NOUN, id, 1).await
}

pub(crate) async fn update(tx: &mut Tx, membership: &Membership) -> Result<()> {
    tx.execute(
        "UPDATE memberships SET state = $4, metadata = $5, inviter_email = $6, inviter_key = $7, provisioning = $8, \
         invited_at = $9, expires_at = $10, accepted_at = $11, joined_at = $12, resent_at = $13, resent_count = $14, \
         created_at = $15, updated_at = $16 WHERE organization_id = $1 AND user_id = $2 AND environment_id = $3",
        &values(membership)?,
    )
    .await?;
    Ok(())
}

fn values(membership: &Membership) -> Result<[narthex_db::Value; 16]> {
    let time = |at: Option<crate::Timestamp>| at.map(|at| at.0);
    Ok(p![
        membership.organization,
        membership.user,
        membership.environment,
        membership.state as i32,
        serde_json::to_string(&membership.metadata).map_err(Error::internal)?,
        &membership.inviter_email,
        membership.inviter_email.as_deref().map(crate::users::key_of),
        membership.provisioning.name(),
        time(membership.invited_at),
        time(membership.expires_at),
        time(membership.accepted_at),
        time(membership.joined_at),
        time(membership.resent_at),
        membership.resent_count,
        membership.created_at.0,
        membership.updated_at.0
    ])
}

/// Removes a membership with its roles and invitation. `id` is a fresh number.
pub(super) async fn delete(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
    id: i64,
) -> Result<()> {
    delete_uncounted(tx, environment, organization, user).await?;
    counters::add(tx, counted_as(organization), NOUN, id, -1).await
}

/// The same where the organization, and so its total, goes as a whole.
pub(super) async fn delete_uncounted(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    user: UserId,
) -> Result<()> {
    roles::unassign_all(tx, environment, organization, user).await?;
    let sql = "DELETE FROM invitation_tokens WHERE organization_id = $1 AND user_id = $2";
    tx.execute(sql, &p![organization, user]).await?;
    let sql = "DELETE FROM memberships WHERE organization_id = $1 AND user_id = $2 AND environment_id = $3";
    tx.execute(sql, &p![organization, user, environment]).await?;
    Ok(())
}

/// Forgets the total of an organization that is gone.
pub(super) async fn forget_count(tx: &mut Tx, organization: OrganizationId) -> Result<()> {
    let scope = counted_as(organization);
    tx.execute("DELETE FROM counter_changes WHERE environment_id = $1 AND noun = $2", &p![scope, NOUN]).await?;
    tx.execute("DELETE FROM counters WHERE environment_id = $1 AND noun = $2", &p![scope, NOUN]).await?;
    Ok(())
}

/// The users of an organization, of any state.
pub(crate) async fn count(tx: &mut Tx, organization: OrganizationId) -> Result<u64> {
    counters::total(tx, counted_as(organization), NOUN).await
}

/// Totals are kept by number and noun. Numbers are unique over all nouns, so an organization's stands where an environment's does.
fn counted_as(organization: OrganizationId) -> EnvId {
    EnvId(organization.0)
}

/// The memberships of users with the names of the organizations. One whose organization is gone, and which waits for its removal, is
/// none.
pub(super) async fn of_users(
    tx: &mut Tx,
    environment: EnvId,
    users: &[UserId],
    organization: Option<OrganizationId>,
) -> Result<Vec<(Membership, String)>> {
    let mut params = p![environment].to_vec();
    let filter = if organization.is_some() { "AND m.organization_id = $2 " } else { "" };
    params.extend(organization.map(Into::into));
    let sql = format!(
        "{}, o.display_name FROM memberships m JOIN organizations o ON o.id = m.organization_id \
         WHERE m.environment_id = $1 {filter}AND m.user_id IN {} ORDER BY m.user_id, m.organization_id",
        select!(""),
        list_of(params.len() + 1, users.len())
    );
    let rows: Vec<Named> = tx.all(&sql, &with_ids(params, users)).await?;
    Ok(rows.into_iter().map(|Named(membership, name)| (membership, name)).collect())
}

/// The roles of users by membership, oldest role first.
pub(super) async fn held_roles(
    tx: &mut Tx,
    environment: EnvId,
    users: &[UserId],
    organization: Option<OrganizationId>,
) -> Result<HashMap<(OrganizationId, UserId), Vec<Role>>> {
    let mut params = p![environment].to_vec();
    let filter = if organization.is_some() { "AND organization_id = $2 " } else { "" };
    params.extend(organization.map(Into::into));
    // `+` keeps SQLite's planner off the index of roles, which covers the query and would be read through for the whole environment.
    let sql = format!(
        "SELECT organization_id, user_id, role_id FROM membership_roles WHERE +environment_id = $1 {filter}AND user_id IN {} \
         ORDER BY role_id",
        list_of(params.len() + 1, users.len())
    );
    let rows: Vec<(OrganizationId, UserId, RoleId)> = tx.all(&sql, &with_ids(params, users)).await?;
    let mut known: HashMap<RoleId, Option<Role>> = HashMap::new();
    let mut held: HashMap<(OrganizationId, UserId), Vec<Role>> = HashMap::new();
    for (organization, user, id) in rows {
        if let Entry::Vacant(unknown) = known.entry(id) {
            unknown.insert(roles::by_id(tx, environment, organization, id).await?);
        }
        if let Some(Some(role)) = known.get(&id) {
            held.entry((organization, user)).or_default().push(role.clone());
        }
    }
    Ok(held)
}
