//! Memberships: a user in an organization, with a state, roles, and data of their own.

mod access;
mod add;
mod change;
mod join;
mod remove;
mod seats;
mod store;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

pub use access::{Access, access};
pub(crate) use access::{Held, bump, held};
pub use add::{Addition, Subject, add};
pub use change::{assign_roles, permissions_of, remove_role, roles_of, update};
pub(crate) use join::{accept, join, of_user};
pub use remove::remove;
pub(crate) use remove::{purge, remove_some};
pub(crate) use seats::take as take_seat;
pub(crate) use store::{count, load, update as store_update};

use narthex_db::Tx;

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::{EnvId, OrganizationId, RoleId, UserId};
use crate::roles::{self, Role};

/// What is stored of a membership's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A member.
    Active = 1,
    /// Put aside by a directory.
    Inactive = 2,
    /// Invited, and not come yet.
    Invited = 3,
}

/// How a membership is shown (`scalekit.v1.commons.MembershipStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the wire's names
pub enum Status {
    Active = 1,
    Inactive = 2,
    PendingInvite = 3,
    InviteExpired = 4,
}

impl Status {
    /// The wire's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::PendingInvite => "PENDING_INVITE",
            Self::InviteExpired => "INVITE_EXPIRED",
        }
    }
}

/// How somebody became a member (orgs-users-rbac reference §4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provisioning {
    /// By an invitation.
    Invitation,
    /// By an API client or a directory.
    Direct,
    /// By a first login through the organization's identity provider.
    Jit,
    /// By choosing to join, at an address of an allowed domain.
    AllowedDomain,
    /// By signing the organization up.
    Creator,
}

impl Provisioning {
    /// The wire's name, which is also the stored one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Direct => "direct_provision",
            Self::Jit => "jit_using_sso",
            Self::AllowedDomain => "allowed_email_domain",
            Self::Creator => "org_creator",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Invitation, Self::Direct, Self::Jit, Self::AllowedDomain, Self::Creator]
            .into_iter()
            .find(|known| known.name() == name)
    }
}

/// A membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The organization.
    pub organization: OrganizationId,
    /// The user.
    pub user: UserId,
    /// Environment of both.
    pub environment: EnvId,
    /// State.
    pub state: State,
    /// The application's own data.
    pub metadata: BTreeMap<String, String>,
    /// Who has invited.
    pub inviter_email: Option<String>,
    /// How it came to be.
    pub provisioning: Provisioning,
    /// When the invitation was made.
    pub invited_at: Option<Timestamp>,
    /// When the invitation runs out.
    pub expires_at: Option<Timestamp>,
    /// When it was accepted.
    pub accepted_at: Option<Timestamp>,
    /// When the user became a member.
    pub joined_at: Option<Timestamp>,
    /// When the invitation was last sent again.
    pub resent_at: Option<Timestamp>,
    /// How often it was.
    pub resent_count: i32,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

impl Membership {
    /// How it is shown at `now`.
    pub fn status(&self, now: Timestamp) -> Status {
        match self.state {
            State::Active => Status::Active,
            State::Inactive => Status::Inactive,
            State::Invited if self.expires_at.is_some_and(|end| end <= now) => Status::InviteExpired,
            State::Invited => Status::PendingInvite,
        }
    }
}

/// A membership as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The membership.
    pub membership: Membership,
    /// What it is at the moment of the answer.
    pub status: Status,
    /// Name of the organization; may be empty.
    pub organization_name: String,
    /// Roles held directly, oldest role first.
    pub roles: Vec<Role>,
    /// Names of what they allow, bases included, in order.
    pub permissions: Vec<String>,
}

/// The answer to a user who is no member there.
pub fn not_found() -> Error {
    Error::not_found("membership")
}

/// The memberships of some users, in all organizations or in one, oldest organization first.
pub(crate) async fn of_users(
    tx: &mut Tx,
    environment: EnvId,
    users: &[UserId],
    organization: Option<OrganizationId>,
    now: Timestamp,
) -> Result<HashMap<UserId, Vec<View>>> {
    let mut views: HashMap<UserId, Vec<View>> = HashMap::new();
    if users.is_empty() {
        return Ok(views);
    }
    let mut held = store::held_roles(tx, environment, users, organization).await?;
    // A page of users holds few roles: what each allows is read once.
    let mut allowed: HashMap<RoleId, Vec<String>> = HashMap::new();
    for (membership, organization_name) in store::of_users(tx, environment, users, organization).await? {
        let roles = held.remove(&(membership.organization, membership.user)).unwrap_or_default();
        let mut permissions = Vec::new();
        for role in &roles {
            if let Entry::Vacant(unknown) = allowed.entry(role.id) {
                let effective = roles::effective_permissions(tx, environment, &[role.id]).await?;
                unknown.insert(effective.into_iter().map(|permission| permission.name).collect());
            }
            permissions.extend(allowed.get(&role.id).into_iter().flatten().cloned());
        }
        permissions.sort_unstable();
        permissions.dedup();
        let (user, status) = (membership.user, membership.status(now));
        views.entry(user).or_default().push(View { membership, status, organization_name, roles, permissions });
    }
    Ok(views)
}
