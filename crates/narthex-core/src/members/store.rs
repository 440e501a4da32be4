//! The table of members.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::Member;
use crate::cache::{self, Bump};
use crate::error::{Error, Result};
use crate::ids::{EnvId, MemberId, WorkspaceId};
use crate::memberships::State;

/// Columns of a [`Member`], in the order in which it is read.
pub(super) const COLUMNS: &str = "id, workspace_id, email, given_name, family_name, status, role, user_id, metadata, inviter_email, \
     invited_at, invited_count, expires_at, joined_at, created_at, updated_at";

impl FromRow for Member {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get(0)?,
            workspace: row.get(1)?,
            email: row.get(2)?,
            given_name: row.get(3)?,
            family_name: row.get(4)?,
            state: match row.get::<i32>(5)? {
                1 => State::Active,
                2 => State::Inactive,
                3 => State::Invited,
                _ => return Err(DbError::Data("members.status has an unknown value".into())),
            },
            role: row.get(6)?,
            environment_roles: Vec::new(),
            user: row.get(7)?,
            metadata: serde_json::from_str(row.cell(8)?.text()?)
                .map_err(|_| DbError::Data("members.metadata is not a map of texts".into()))?,
            inviter_email: row.get(9)?,
            invited_at: row.get(10)?,
            invited_count: row.get(11)?,
            expires_at: row.get(12)?,
            joined_at: row.get(13)?,
            created_at: row.get(14)?,
            updated_at: row.get(15)?,
        })
    }
}

pub(super) async fn load(tx: &mut Tx, id: MemberId) -> Result<Option<Member>> {
    let sql = format!("SELECT {COLUMNS} FROM members WHERE id = $1");
    let found = tx.opt(&sql, &p![id]).await?;
    with_environment_roles(tx, found).await
}

pub(super) async fn by_email(tx: &mut Tx, workspace: WorkspaceId, email: &str) -> Result<Option<Member>> {
    let sql = format!("SELECT {COLUMNS} FROM members WHERE workspace_id = $1 AND email = $2");
    let found = tx.opt(&sql, &p![workspace, email]).await?;
    with_environment_roles(tx, found).await
}

/// Every member with an address, in whatever workspace, without their roles in environments.
pub(super) async fn of_address(tx: &mut Tx, email: &str) -> Result<Vec<Member>> {
    let sql = format!("SELECT {COLUMNS} FROM members WHERE email = $1 ORDER BY id");
    Ok(tx.all(&sql, &p![email]).await?)
}

async fn with_environment_roles(tx: &mut Tx, found: Option<Member>) -> Result<Option<Member>> {
    let Some(mut member) = found else { return Ok(None) };
    let sql = "SELECT environment_id, role FROM member_environment_roles WHERE member_id = $1 ORDER BY environment_id";
    member.environment_roles = tx.all(sql, &p![member.id]).await?;
    Ok(Some(member))
}

/// The roles in environments of some members of a workspace.
pub(super) async fn add_environment_roles(tx: &mut Tx, workspace: WorkspaceId, members: &mut [Member]) -> Result<()> {
    let sql = "SELECT r.member_id, r.environment_id, r.role FROM member_environment_roles r \
               JOIN members m ON m.id = r.member_id WHERE m.workspace_id = $1 ORDER BY r.environment_id";
    let rows: Vec<(MemberId, EnvId, String)> = tx.all(sql, &p![workspace]).await?;
    for (id, environment, role) in rows {
        if let Some(member) = members.iter_mut().find(|member| member.id == id) {
            member.environment_roles.push((environment, role));
        }
    }
    Ok(())
}

pub(super) async fn insert(tx: &mut Tx, member: &Member) -> Result<()> {
    let sql = format!(
        "INSERT INTO members ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
    );
    let metadata = serde_json::to_string(&member.metadata).map_err(Error::internal)?;
    tx.execute(
        &sql,
        &p![
            member.id,
            member.workspace,
            &member.email,
            &member.given_name,
            &member.family_name,
            member.state as i32,
            &member.role,
            member.user,
            &metadata,
            &member.inviter_email,
            member.invited_at,
            member.invited_count,
            member.expires_at,
            member.joined_at,
            member.created_at,
            member.updated_at,
        ],
    )
    .await?;
    Ok(())
}

/// Writes what may change; the caller hands the bump out of the transaction.
pub(super) async fn update(tx: &mut Tx, member: &Member) -> Result<Bump> {
    let metadata = serde_json::to_string(&member.metadata).map_err(Error::internal)?;
    tx.execute(
        "UPDATE members SET given_name = $2, family_name = $3, status = $4, role = $5, user_id = $6, metadata = $7, \
         inviter_email = $8, invited_at = $9, invited_count = $10, expires_at = $11, joined_at = $12, updated_at = $13 WHERE id = $1",
        &p![
            member.id,
            &member.given_name,
            &member.family_name,
            member.state as i32,
            &member.role,
            member.user,
            &metadata,
            &member.inviter_email,
            member.invited_at,
            member.invited_count,
            member.expires_at,
            member.joined_at,
            member.updated_at,
        ],
    )
    .await?;
    bump(tx).await
}

pub(super) async fn bump(tx: &mut Tx) -> Result<Bump> {
    cache::bump(tx, cache::MEMBERS).await.map_err(Error::from)
}
