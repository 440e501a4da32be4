//! How an environment handles its users (control plane reference §4.3, UserManagement).

use narthex_db::{DbError, FromRow, Row, Tx, p};

use crate::core::Core;
use crate::error::{Error, Result, Violation};
use crate::ids::EnvId;

/// Longest life of an invitation, in minutes, and most seats (ranges of the contract).
const LONGEST_INVITATION: i64 = 43_200;
const MOST_SEATS: i32 = 99_999;

/// Settings of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // the wire's switches
pub struct UserManagement {
    /// Whether one address may belong to several users. Kept for reading back: addresses are unique in any case.
    pub allow_duplicate_user_identities: bool,
    /// Whether a user may be a member of several organizations.
    pub allow_multiple_memberships: bool,
    /// Whether people may sign up and make organizations.
    pub allow_organization_signup: bool,
    /// Whether a user belongs to one organization for good.
    pub single_organization: bool,
    /// Seats of organizations that have no number of their own; None is no limit.
    pub max_users_limit: Option<i32>,
    /// Life of an invitation in minutes.
    pub invitation_expiry_minutes: i64,
    /// Whether throw-away addresses are refused at sign-up and in invitations.
    pub block_disposable_email_domains: bool,
    /// Whether addresses of public providers are.
    pub block_public_email_domains: bool,
    /// Whether a login refreshes the profile.
    pub sync_user_profile_on_signin: bool,
    /// Whether hosted forms ask for a proof of being human.
    pub enable_bot_detection: bool,
    /// Whether they let people through when that proof cannot be checked.
    pub enable_fail_open: bool,
}

impl Default for UserManagement {
    fn default() -> Self {
        Self {
            allow_duplicate_user_identities: false,
            allow_multiple_memberships: true,
            allow_organization_signup: true,
            single_organization: false,
            max_users_limit: None,
            invitation_expiry_minutes: 15 * 24 * 60,
            block_disposable_email_domains: false,
            block_public_email_domains: false,
            sync_user_profile_on_signin: false,
            enable_bot_detection: false,
            enable_fail_open: false,
        }
    }
}

impl UserManagement {
    /// Whether a user may join a second organization.
    pub fn allows_second_organization(&self) -> bool {
        self.allow_multiple_memberships && !self.single_organization
    }
}

impl FromRow for UserManagement {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            allow_duplicate_user_identities: row.get(0)?,
            allow_multiple_memberships: row.get(1)?,
            allow_organization_signup: row.get(2)?,
            single_organization: row.get(3)?,
            max_users_limit: row.get(4)?,
            invitation_expiry_minutes: row.get(5)?,
            block_disposable_email_domains: row.get(6)?,
            block_public_email_domains: row.get(7)?,
            sync_user_profile_on_signin: row.get(8)?,
            enable_bot_detection: row.get(9)?,
            enable_fail_open: row.get(10)?,
        })
    }
}

/// The settings of an environment.
pub async fn user_management(core: &Core, environment: EnvId) -> Result<UserManagement> {
    load(&mut *core.db.reader().await?, environment).await
}

pub(crate) async fn load(tx: &mut Tx, environment: EnvId) -> Result<UserManagement> {
    let found = tx
        .opt(
            "SELECT allow_duplicate_user_identities, allow_multiple_memberships, allow_organization_signup, single_organization, \
             max_users_limit, invitation_expiry_minutes, block_disposable_email_domains, block_public_email_domains, \
             sync_user_profile_on_signin, enable_bot_detection, enable_fail_open FROM user_management WHERE environment_id = $1",
            &p![environment],
        )
        .await?;
    Ok(found.unwrap_or_default())
}

/// Replaces the settings of an environment. Memberships and invitations that exist stay as they are.
pub async fn set_user_management(core: &Core, environment: EnvId, settings: UserManagement) -> Result<()> {
    let mut broken = Vec::new();
    if !(1..=LONGEST_INVITATION).contains(&settings.invitation_expiry_minutes) {
        let text = format!("must be between 1 and {LONGEST_INVITATION} minutes");
        broken.push(Violation::new("settings.invitation_expiry", "user_management.range", text));
    }
    if settings.max_users_limit.is_some_and(|seats| !(1..=MOST_SEATS).contains(&seats)) {
        let text = format!("must be between 1 and {MOST_SEATS}");
        broken.push(Violation::new("settings.max_users_limit", "user_management.range", text));
    }
    if !broken.is_empty() {
        return Err(Error::violations(broken));
    }
    let now = core.clock.now();
    core.db
        .write(async move |tx| {
            tx.execute(
                "INSERT INTO user_management (environment_id, allow_duplicate_user_identities, allow_multiple_memberships, \
                 allow_organization_signup, single_organization, max_users_limit, invitation_expiry_minutes, \
                 block_disposable_email_domains, block_public_email_domains, sync_user_profile_on_signin, enable_bot_detection, \
                 enable_fail_open, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
                 ON CONFLICT (environment_id) DO UPDATE SET \
                 allow_duplicate_user_identities = excluded.allow_duplicate_user_identities, \
                 allow_multiple_memberships = excluded.allow_multiple_memberships, \
                 allow_organization_signup = excluded.allow_organization_signup, \
                 single_organization = excluded.single_organization, max_users_limit = excluded.max_users_limit, \
                 invitation_expiry_minutes = excluded.invitation_expiry_minutes, \
                 block_disposable_email_domains = excluded.block_disposable_email_domains, \
                 block_public_email_domains = excluded.block_public_email_domains, \
                 sync_user_profile_on_signin = excluded.sync_user_profile_on_signin, \
                 enable_bot_detection = excluded.enable_bot_detection, enable_fail_open = excluded.enable_fail_open, \
                 updated_at = excluded.updated_at",
                &p![
                    environment,
                    settings.allow_duplicate_user_identities,
                    settings.allow_multiple_memberships,
                    settings.allow_organization_signup,
                    settings.single_organization,
                    settings.max_users_limit,
                    settings.invitation_expiry_minutes,
                    settings.block_disposable_email_domains,
                    settings.block_public_email_domains,
                    settings.sync_user_profile_on_signin,
                    settings.enable_bot_detection,
                    settings.enable_fail_open,
                    now.0
                ],
            )
            .await?;
            Ok(())
        })
        .await
}
