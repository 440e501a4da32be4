//! Operators: the people of a workspace, and what the dashboard lets them do. They sign in to the product's own environment like any
//! user of any other; who they are there is known by their address, which that login proves.

mod change;
mod invite;
mod links;
mod permissions;
mod sign_in;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use change::{
    MemberPatch, assign_role, clear_environment_role, remove, set_active, set_environment_role, set_role, update,
};
pub use invite::{INVITATION, invite};
pub use links::{LINK, NewLink, awaits_first_link, follow_link, link_target};
pub use permissions::{FixedRole, PERMISSIONS, Tier, is_sensitive, tier};
pub use sign_in::{enter, expected, of_user};

use narthex_db::p;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, MemberId, UserId, WorkspaceId};
use crate::listing::Rows;
use crate::memberships::{State, Status};
use crate::pages::{Limits, Page, PageRequest, Scope};
use crate::users;

/// Page sizes of a workspace's members: the platform's MCP server asks for 500.
pub const LIST: Limits = Limits { default: 30, max: 500 };

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
    /// Whether the member may act, is invited only, or was put aside.
    pub state: State,
    /// Role in the workspace, by name.
    pub role: String,
    /// Roles in single environments, in place of the one above.
    pub environment_roles: Vec<(EnvId, String)>,
    /// The user of the product's own environment who has proven the address.
    pub user: Option<UserId>,
    /// Notes of whoever manages the members.
    pub metadata: BTreeMap<String, String>,
    /// Who has invited.
    pub inviter_email: Option<String>,
    /// When they were last invited, and how often.
    pub invited_at: Option<Timestamp>,
    pub(crate) invited_count: i32,
    /// When the invitation runs out.
    pub expires_at: Option<Timestamp>,
    /// When it was taken up.
    pub joined_at: Option<Timestamp>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

impl Member {
    /// Whether the member may act.
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// The state, with an invitation that has run out told apart.
    pub fn status(&self, now: Timestamp) -> Status {
        match self.state {
            State::Active => Status::Active,
            State::Inactive => Status::Inactive,
            State::Invited if self.expires_at.is_some_and(|end| end <= now) => Status::InviteExpired,
            State::Invited => Status::PendingInvite,
        }
    }

    /// The name of the role in an environment, and whether it is one for that environment alone.
    pub fn role_in(&self, environment: EnvId) -> (&str, bool) {
        let own = self.environment_roles.iter().find(|(id, _)| *id == environment);
        own.map_or((&self.role, false), |(_, role)| (role, true))
    }

    /// Permissions in the workspace. An unknown role has none.
    pub fn permissions(&self) -> Vec<String> {
        granted(&self.role)
    }

    /// Effective permissions in an environment. What is about the workspace comes from the role in the workspace alone: whoever is owner
    /// of one environment must not become owner of all by way of it.
    pub fn permissions_in(&self, environment: EnvId) -> Vec<String> {
        let (role, is_own) = self.role_in(environment);
        if !is_own {
            return self.permissions();
        }
        let of_workspace = self.permissions().into_iter().filter(|permission| tier(permission) == Tier::Workspace);
        let here = granted(role).into_iter().filter(|permission| tier(permission) == Tier::Environment);
        let mut permissions: Vec<String> = of_workspace.chain(here).collect();
        permissions.sort_unstable();
        permissions
    }
}

fn granted(role: &str) -> Vec<String> {
    FixedRole::from_name(role).map(FixedRole::permissions).unwrap_or_default()
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

/// On whose behalf members are changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granter {
    /// The member, unless it is the program itself.
    pub member: Option<MemberId>,
    /// Address, for those who are invited.
    pub email: Option<String>,
    /// What they hold in the workspace: nobody gives or takes away more.
    permissions: Vec<String>,
}

impl Granter {
    /// The program itself, which holds everything.
    pub fn system() -> Self {
        Self { member: None, email: None, permissions: FixedRole::Owner.permissions() }
    }

    /// A member.
    pub fn member(member: &Member) -> Self {
        Self { member: Some(member.id), email: Some(member.email.clone()), permissions: member.permissions() }
    }

    /// PERMISSION_DENIED for a role that allows what the granter may not do.
    fn check(&self, role: &str) -> Result<()> {
        let lacking: Vec<String> =
            granted(role).into_iter().filter(|permission| !self.permissions.contains(permission)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        Err(Error::permission_denied(&lacking.iter().map(String::as_str).collect::<Vec<_>>()))
    }
}

/// Makes an active member. INVALID_ARGUMENT if the workspace has one with that address.
pub async fn create(core: &Core, workspace: WorkspaceId, new: NewMember) -> Result<Member> {
    let now = core.clock.now();
    let member = Member { joined_at: Some(now), ..draft(core, workspace, new, State::Active, now)? };
    let row = member.clone();
    core.db
        .write(async move |tx| {
            if store::by_email(tx, workspace, &row.email).await?.is_some() {
                return Err(Error::duplicate("email"));
            }
            store::insert(tx, &row).await
        })
        .await?;
    Ok(member)
}

fn draft(core: &Core, workspace: WorkspaceId, new: NewMember, state: State, now: Timestamp) -> Result<Member> {
    let email = users::key_of(&new.email);
    if let Some(violation) = users::validate_email("email", &email) {
        return Err(Error::violations(vec![violation]));
    }
    Ok(Member {
        id: MemberId::new(&core.ids),
        workspace,
        email,
        given_name: new.given_name,
        family_name: new.family_name,
        state,
        role: new.role.name().to_owned(),
        environment_roles: Vec::new(),
        user: None,
        metadata: BTreeMap::new(),
        inviter_email: None,
        invited_at: None,
        invited_count: 0,
        expires_at: None,
        joined_at: None,
        created_at: now,
        updated_at: now,
    })
}

/// A member by id.
pub async fn get(core: &Core, id: MemberId) -> Result<Option<Arc<Member>>> {
    core.caches.members.get(&id, async { store::load(&mut *core.db.reader().await?, id).await }).await
}

/// A member of a workspace. NOT_FOUND for one of another.
pub async fn in_workspace(core: &Core, workspace: WorkspaceId, id: MemberId) -> Result<Arc<Member>> {
    get(core, id).await?.filter(|member| member.workspace == workspace).ok_or_else(not_found)
}

/// The member of a workspace with an address, in any letter case.
pub async fn by_email(core: &Core, workspace: WorkspaceId, email: &str) -> Result<Option<Arc<Member>>> {
    let sql = "SELECT id FROM members WHERE workspace_id = $1 AND email = $2";
    let row: Option<(MemberId,)> = core.db.reader().await?.opt(sql, &p![workspace, users::key_of(email)]).await?;
    match row {
        Some((id,)) => get(core, id).await,
        None => Ok(None),
    }
}

/// The members of a workspace, newest first.
pub async fn list(core: &Core, workspace: WorkspaceId, asked: &PageRequest) -> Result<Page<Member>> {
    let scope = Scope::new(EnvId(0), "members", &workspace.to_string());
    let size = LIST.size(asked.size);
    let position = scope.position(&asked.token, size)?;
    core.db
        .read(async move |tx| {
            let rows = Rows {
                columns: store::COLUMNS,
                from: "members WHERE workspace_id = $1",
                key: "id",
                values: p![workspace].to_vec(),
            };
            let mut page: Page<Member> = rows.page(tx, &scope, position, size, |member: &Member| member.id.0).await?;
            store::add_environment_roles(tx, workspace, &mut page.items).await?;
            Ok(page)
        })
        .await
}

/// The answer to what is no member of the workspace.
pub fn not_found() -> Error {
    Error::not_found(MemberId::NOUN)
}
