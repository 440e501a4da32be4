//! Operators: the people of a workspace, and what the dashboard lets them do.

mod permissions;

use std::sync::Arc;

use narthex_db::{Tx, p};

pub use permissions::{FixedRole, PERMISSIONS, Tier, is_sensitive, tier};

use crate::cache;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, MemberId, WorkspaceId};

/// `members.status` of a member who may act (`scalekit.v1.commons.MembershipStatus`).
const ACTIVE: i64 = 1;
const INACTIVE: i64 = 2;

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Id.
    pub id: MemberId,
    /// Workspace.
    pub workspace: WorkspaceId,
    /// Address, in lower case.
    pub email: String,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// Whether the member may act: neither invited only nor switched off.
    pub is_active: bool,
    /// Role in the workspace, by name.
    pub role: String,
    /// Roles in single environments, in place of the one above.
    pub environment_roles: Vec<(EnvId, String)>,
}

impl Member {
    /// Effective permissions in an environment: those of the override for it if there is one, else of the workspace role. An unknown
    /// role has none.
    pub fn permissions_in(&self, environment: EnvId) -> Vec<String> {
        let role =
            self.environment_roles.iter().find(|(id, _)| *id == environment).map_or(&self.role, |(_, role)| role);
        FixedRole::from_name(role).map(FixedRole::permissions).unwrap_or_default()
    }
}

/// An operator to be made.
#[derive(Debug, Clone)]
pub struct NewMember {
    /// Address.
    pub email: String,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// Role.
    pub role: FixedRole,
}

/// Makes an active member. INVALID_ARGUMENT if the workspace has one with that address.
pub async fn create(core: &Core, workspace: WorkspaceId, new: NewMember) -> Result<Member> {
    let member = Member {
        id: MemberId::new(&core.ids),
        workspace,
        email: new.email.trim().to_lowercase(),
        given_name: new.given_name,
        family_name: new.family_name,
        is_active: true,
        role: new.role.name().to_owned(),
        environment_roles: Vec::new(),
    };
    if !member.email.contains('@') || member.email.len() > 320 {
        return Err(Error::invalid("email", "string.email", "must be an e-mail address"));
    }
    let (row, now) = (member.clone(), core.clock.now());
    core.db.write(async move |tx| insert(tx, &row, now).await).await?;
    Ok(member)
}

async fn insert(tx: &mut Tx, member: &Member, now: Timestamp) -> Result<()> {
    let sql = "SELECT id FROM members WHERE workspace_id = $1 AND email = $2";
    if tx.opt::<(MemberId,)>(sql, &p![member.workspace, &member.email]).await?.is_some() {
        return Err(Error::duplicate("email"));
    }
    tx.execute(
        "INSERT INTO members (id, workspace_id, email, given_name, family_name, status, role, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        &p![
            member.id,
            member.workspace,
            &member.email,
            &member.given_name,
            &member.family_name,
            ACTIVE,
            &member.role,
            now
        ],
    )
    .await?;
    Ok(())
}

/// A member by id.
pub async fn get(core: &Core, id: MemberId) -> Result<Option<Arc<Member>>> {
    core.caches.members.get(&id, async { load(core, id).await }).await
}

/// The member of a workspace with an address, in any letter case.
pub async fn by_email(core: &Core, workspace: WorkspaceId, email: &str) -> Result<Option<Arc<Member>>> {
    let sql = "SELECT id FROM members WHERE workspace_id = $1 AND email = $2";
    let email = email.trim().to_lowercase();
    let row: Option<(MemberId,)> = core.db.reader().await?.opt(sql, &p![workspace, &email]).await?;
    match row {
        Some((id,)) => get(core, id).await,
        None => Ok(None),
    }
}

type MemberRow = (WorkspaceId, String, String, String, i64, String);

async fn load(core: &Core, id: MemberId) -> Result<Option<Member>> {
    let mut reader = core.db.reader().await?;
    let sql = "SELECT workspace_id, email, given_name, family_name, status, role FROM members WHERE id = $1";
    let Some(row): Option<MemberRow> = reader.opt(sql, &p![id]).await? else { return Ok(None) };
    let sql = "SELECT environment_id, role FROM member_environment_roles WHERE member_id = $1 ORDER BY environment_id";
    let environment_roles = reader.all(sql, &p![id]).await?;
    let (workspace, email, given_name, family_name, status, role) = row;
    Ok(Some(Member {
        id,
        workspace,
        email,
        given_name,
        family_name,
        is_active: status == ACTIVE,
        role,
        environment_roles,
    }))
}

/// Switches a member on or off; off ends what their tokens may do at once.
pub async fn set_active(core: &Core, id: MemberId, active: bool) -> Result<()> {
    let status = if active { ACTIVE } else { INACTIVE };
    change(
        core,
        "UPDATE members SET status = $1, updated_at = $2 WHERE id = $3",
        p![status, core.clock.now(), id].to_vec(),
    )
    .await
}

/// Gives a member a role in the workspace.
pub async fn set_role(core: &Core, id: MemberId, role: FixedRole) -> Result<()> {
    let params = p![role.name(), core.clock.now(), id].to_vec();
    change(core, "UPDATE members SET role = $1, updated_at = $2 WHERE id = $3", params).await
}

/// Gives a member another role in one environment of their workspace.
pub async fn set_environment_role(core: &Core, id: MemberId, environment: EnvId, role: FixedRole) -> Result<()> {
    let sql = "INSERT INTO member_environment_roles (member_id, environment_id, role) \
               SELECT members.id, environments.id, $1 FROM members JOIN environments \
               ON environments.workspace_id = members.workspace_id WHERE members.id = $2 AND environments.id = $3 \
               ON CONFLICT (member_id, environment_id) DO UPDATE SET role = excluded.role";
    change(core, sql, p![role.name(), id, environment].to_vec()).await
}

async fn change(core: &Core, sql: &'static str, params: Vec<narthex_db::Value>) -> Result<()> {
    let bump = core
        .db
        .write(async move |tx| {
            if tx.execute(sql, &params).await? == 0 {
                return Err(Error::not_found("member"));
            }
            cache::bump(tx, cache::MEMBERS).await.map_err(Error::from)
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}
