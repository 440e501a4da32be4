//! Changes of members: what they are called, what they may do, and their going. A workspace always keeps an owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_db::{Tx, p};

use super::{FixedRole, Granter, Member, get, not_found, store};
use crate::cache::Bump;
use crate::core::Core;
use crate::environments;
use crate::error::{Error, Kind, Result, Violation};
use crate::ids::{EnvId, MemberId, WorkspaceId};
use crate::memberships::State;
use crate::sessions;

/// A change of what a member is called. Absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct MemberPatch {
    /// Given name.
    pub given_name: Option<String>,
    /// Family name.
    pub family_name: Option<String>,
    /// All notes, in place of the old.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl MemberPatch {
    fn check(&self) -> Result<()> {
        let texts = [("first_name", &self.given_name), ("last_name", &self.family_name)];
        let mut broken: Vec<Violation> = Vec::new();
        for (field, text) in texts {
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                broken.push(Violation::new(format!("member.{field}"), "string.nul", "must not contain U+0000"));
            }
        }
        let notes = self.metadata.iter().flatten();
        if notes.into_iter().any(|(key, value)| key.contains('\0') || value.contains('\0')) {
            broken.push(Violation::new("member.metadata", "string.nul", "must not contain U+0000"));
        }
        if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
    }
}

/// Changes what a member of a workspace is called. NOT_FOUND for one of another.
pub async fn update(core: &Core, workspace: WorkspaceId, id: MemberId, patch: MemberPatch) -> Result<Arc<Member>> {
    patch.check()?;
    change(core, id, async move |_, member| {
        if member.workspace != workspace {
            return Err(not_found());
        }
        if let Some(name) = &patch.given_name {
            member.given_name.clone_from(name);
        }
        if let Some(name) = &patch.family_name {
            member.family_name.clone_from(name);
        }
        if let Some(metadata) = &patch.metadata {
            member.metadata.clone_from(metadata);
        }
        Ok(())
    })
    .await
}

/// Gives a member of a workspace another role there.
///
/// NOT_FOUND for a member of another workspace. PERMISSION_DENIED where the granter may not do all that the old or the new role allows.
/// FAILED_PRECONDITION for the last owner.
pub async fn assign_role(
    core: &Core,
    workspace: WorkspaceId,
    by: &Granter,
    id: MemberId,
    role: FixedRole,
) -> Result<Arc<Member>> {
    let by = by.clone();
    change(core, id, async move |tx, member| {
        if member.workspace != workspace {
            return Err(not_found());
        }
        by.check(role.name())?;
        by.check(&member.role)?;
        set(tx, member, role).await
    })
    .await
}

/// Gives a member a role in the workspace, whoever asks for it.
pub async fn set_role(core: &Core, id: MemberId, role: FixedRole) -> Result<()> {
    change(core, id, async move |tx, member| set(tx, member, role).await).await.map(drop)
}

async fn set(tx: &mut Tx, member: &mut Member, role: FixedRole) -> Result<()> {
    if role != FixedRole::Owner {
        keep_an_owner(tx, member).await?;
    }
    role.name().clone_into(&mut member.role);
    Ok(())
}

/// Switches a member on or off; off ends what their tokens may do at once.
pub async fn set_active(core: &Core, id: MemberId, active: bool) -> Result<()> {
    change(core, id, async move |tx, member| {
        if !active {
            keep_an_owner(tx, member).await?;
        }
        member.state = if active { State::Active } else { State::Inactive };
        Ok(())
    })
    .await
    .map(drop)
}

/// Refuses to take away the last active owner of a workspace. Asked in the transaction that changes a member: under SERIALIZABLE, of two
/// owners who remove each other one is asked again, and finds themselves the last.
async fn keep_an_owner(tx: &mut Tx, member: &Member) -> Result<()> {
    if !member.is_active() || member.role != FixedRole::Owner.name() {
        return Ok(());
    }
    let sql = "SELECT id FROM members WHERE workspace_id = $1 AND role = $2 AND status = $3 AND id <> $4 LIMIT 1";
    let params = p![member.workspace, FixedRole::Owner.name(), State::Active as i32, member.id];
    match tx.opt::<(MemberId,)>(sql, &params).await? {
        Some(_) => Ok(()),
        None => Err(Error::new(Kind::FailedPrecondition, "a workspace keeps at least one owner: this is the last")),
    }
}

/// Gives a member another role in one environment of their workspace. PERMISSION_DENIED where the granter may not do all that the role
/// allows; NOT_FOUND for a member or an environment of another workspace.
pub async fn set_environment_role(
    core: &Core,
    workspace: WorkspaceId,
    by: &Granter,
    id: MemberId,
    environment: EnvId,
    role: FixedRole,
) -> Result<()> {
    by.check(role.name())?;
    let by = by.clone();
    on_environment(core, workspace, id, environment, async move |tx, member| {
        by.check(member.role_in(environment).0)?;
        let sql = "INSERT INTO member_environment_roles (member_id, environment_id, role) VALUES ($1, $2, $3) \
                   ON CONFLICT (member_id, environment_id) DO UPDATE SET role = excluded.role";
        tx.execute(sql, &p![member.id, environment, role.name()]).await?;
        Ok(())
    })
    .await
}

/// Takes such a role away again: the one in the workspace counts. Whoever may not give that one cannot bring it back; NOT_FOUND as above.
pub async fn clear_environment_role(
    core: &Core,
    workspace: WorkspaceId,
    by: &Granter,
    id: MemberId,
    environment: EnvId,
) -> Result<()> {
    let by = by.clone();
    on_environment(core, workspace, id, environment, async move |tx, member| {
        by.check(&member.role)?;
        by.check(member.role_in(environment).0)?;
        let sql = "DELETE FROM member_environment_roles WHERE member_id = $1 AND environment_id = $2";
        tx.execute(sql, &p![member.id, environment]).await?;
        Ok(())
    })
    .await
}

async fn on_environment<F>(core: &Core, workspace: WorkspaceId, id: MemberId, environment: EnvId, edit: F) -> Result<()>
where
    F: AsyncFn(&mut Tx, &Member) -> Result<()> + Send + 'static,
{
    let bump = core
        .db
        .write(async move |tx| {
            let found = store::load(tx, id).await?.filter(|member| member.workspace == workspace);
            let member = found.ok_or_else(not_found)?;
            let sql = "SELECT id FROM environments WHERE id = $1 AND workspace_id = $2";
            if tx.opt::<(EnvId,)>(sql, &p![environment, workspace]).await?.is_none() {
                return Err(environments::not_found());
            }
            edit(tx, &member).await?;
            store::bump(tx).await
        })
        .await?;
    core.caches.apply(bump);
    Ok(())
}

/// Removes a member, or calls an invitation back. What their tokens may do ends at once.
///
/// NOT_FOUND for a member of another workspace. PERMISSION_DENIED for one who may do more than the remover. FAILED_PRECONDITION for the
/// last owner.
pub async fn remove(core: &Core, workspace: WorkspaceId, by: &Granter, id: MemberId) -> Result<()> {
    let (by, now) = (by.clone(), core.clock.now());
    let bumps = core
        .db
        .write(async move |tx| {
            let found = store::load(tx, id).await?.filter(|member| member.workspace == workspace);
            let member = found.ok_or_else(not_found)?;
            if by.member != Some(id) {
                by.check(&member.role)?;
            }
            keep_an_owner(tx, &member).await?;
            tx.execute("DELETE FROM member_environment_roles WHERE member_id = $1", &p![id]).await?;
            tx.execute("DELETE FROM operator_links WHERE member_id = $1", &p![id]).await?;
            tx.execute("DELETE FROM members WHERE id = $1", &p![id]).await?;
            let mut bumps: Vec<Bump> = sessions::end_of_member(tx, id, now).await?;
            bumps.push(store::bump(tx).await?);
            Ok::<_, Error>(bumps)
        })
        .await?;
    core.caches.apply_all(bumps);
    Ok(())
}

/// Runs `edit` on the row; without a difference nothing is written.
async fn change<F>(core: &Core, id: MemberId, edit: F) -> Result<Arc<Member>>
where
    F: AsyncFn(&mut Tx, &mut Member) -> Result<()> + Send + 'static,
{
    let now = core.clock.now();
    let bump = core
        .db
        .write(async move |tx| {
            let before = store::load(tx, id).await?.ok_or_else(not_found)?;
            let mut after = before.clone();
            edit(tx, &mut after).await?;
            if after == before {
                return Ok(None);
            }
            after.updated_at = now.max(before.updated_at);
            store::update(tx, &after).await.map(Some)
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    get(core, id).await?.ok_or_else(not_found)
}
