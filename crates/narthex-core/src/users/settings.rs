//! How an environment handles its users (control plane reference §4.3, UserManagement).

use narthex_db::{DbError, FromRow, Row, Tx, p};

use crate::cache;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Kind, Result, Violation};
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
    /// Whether organizations that have no number of seats of their own get that of the environment.
    pub enable_max_users_limit: bool,
    /// That number. Kept while it does not count.
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
            enable_max_users_limit: false,
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

    /// Seats of an organization that has no number of its own; None is no limit.
    pub fn seats(&self) -> Option<i32> {
        self.max_users_limit.filter(|_| self.enable_max_users_limit)
    }

    fn check(&self) -> Result<()> {
        let mut broken = Vec::new();
        if !(1..=LONGEST_INVITATION).contains(&self.invitation_expiry_minutes) {
            let text = format!("must be between 1 and {LONGEST_INVITATION} minutes");
            broken.push(Violation::new("user_management.invitation_expiry", "user_management.range", text));
        }
        let limit = |rule: &str, text: String| Violation::new("user_management.max_users_limit", rule, text);
        match self.max_users_limit {
            Some(seats) if !(1..=MOST_SEATS).contains(&seats) => {
                broken.push(limit("user_management.range", format!("must be between 1 and {MOST_SEATS}")));
            }
            None if self.enable_max_users_limit => {
                broken.push(limit("required", "is required for a limit that is enabled".to_owned()));
            }
            _ => {}
        }
        if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
    }
}

/// A change of the settings. What is absent stays.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the fields of `UserManagement`
pub struct UserManagementPatch {
    pub allow_duplicate_user_identities: Option<bool>,
    pub allow_multiple_memberships: Option<bool>,
    pub allow_organization_signup: Option<bool>,
    pub single_organization: Option<bool>,
    pub enable_max_users_limit: Option<bool>,
    pub max_users_limit: Option<i32>,
    pub invitation_expiry_minutes: Option<i64>,
    pub block_disposable_email_domains: Option<bool>,
    pub block_public_email_domains: Option<bool>,
    pub sync_user_profile_on_signin: Option<bool>,
    pub enable_bot_detection: Option<bool>,
    pub enable_fail_open: Option<bool>,
}

impl UserManagementPatch {
    fn apply(&self, now: &UserManagement) -> UserManagement {
        UserManagement {
            allow_duplicate_user_identities: self
                .allow_duplicate_user_identities
                .unwrap_or(now.allow_duplicate_user_identities),
            allow_multiple_memberships: self.allow_multiple_memberships.unwrap_or(now.allow_multiple_memberships),
            allow_organization_signup: self.allow_organization_signup.unwrap_or(now.allow_organization_signup),
            single_organization: self.single_organization.unwrap_or(now.single_organization),
            enable_max_users_limit: self.enable_max_users_limit.unwrap_or(now.enable_max_users_limit),
            max_users_limit: self.max_users_limit.or(now.max_users_limit),
            invitation_expiry_minutes: self.invitation_expiry_minutes.unwrap_or(now.invitation_expiry_minutes),
            block_disposable_email_domains: self
                .block_disposable_email_domains
                .unwrap_or(now.block_disposable_email_domains),
            block_public_email_domains: self.block_public_email_domains.unwrap_or(now.block_public_email_domains),
            sync_user_profile_on_signin: self.sync_user_profile_on_signin.unwrap_or(now.sync_user_profile_on_signin),
            enable_bot_detection: self.enable_bot_detection.unwrap_or(now.enable_bot_detection),
            enable_fail_open: self.enable_fail_open.unwrap_or(now.enable_fail_open),
        }
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
            enable_max_users_limit: row.get::<bool>(11)? && row.get::<Option<i32>>(4)?.is_some(),
        })
    }
}

/// The settings of an environment, from memory where they are.
pub async fn user_management(core: &Core, environment: EnvId) -> Result<UserManagement> {
    // An environment without a row has the defaults, and those are remembered too.
    let load = async { load(&mut *core.db.reader().await?, environment).await.map(Some) };
    let settings = core.caches.user_management.get(&environment, load).await?;
    Ok(settings.map(|settings| settings.as_ref().clone()).unwrap_or_default())
}

pub(crate) async fn load(tx: &mut Tx, environment: EnvId) -> Result<UserManagement> {
    let found = tx
        .opt(
            "SELECT allow_duplicate_user_identities, allow_multiple_memberships, allow_organization_signup, single_organization, \
             max_users_limit, invitation_expiry_minutes, block_disposable_email_domains, block_public_email_domains, \
             sync_user_profile_on_signin, enable_bot_detection, enable_fail_open, max_users_limit_enabled \
             FROM user_management WHERE environment_id = $1",
            &p![environment],
        )
        .await?;
    Ok(found.unwrap_or_default())
}

/// Replaces the settings of an environment. Memberships and invitations that exist stay as they are.
pub async fn set_user_management(core: &Core, environment: EnvId, settings: UserManagement) -> Result<()> {
    settings.check()?;
    write(core, environment, async move |_| Ok(settings.clone())).await.map(drop)
}

/// Changes the settings of an environment, and answers with all of them. INVALID_ARGUMENT for values out of range, and for a limit
/// that is enabled without a number. FAILED_PRECONDITION for bot detection where no provider of captchas is configured: every login
/// would be held up, or none looked at.
pub async fn update_user_management(
    core: &Core,
    environment: EnvId,
    patch: UserManagementPatch,
) -> Result<UserManagement> {
    let has_captcha = core.captcha.widget().is_some();
    write(core, environment, async move |tx| {
        let before = load(tx, environment).await?;
        let settings = patch.apply(&before);
        settings.check()?;
        // Who sends all settings back changes nothing.
        if settings.enable_bot_detection && !before.enable_bot_detection && !has_captcha {
            let text = "user_management.enable_bot_detection: no provider of captchas is configured (captcha.provider)";
            return Err(Error::new(Kind::FailedPrecondition, text));
        }
        Ok(settings)
    })
    .await
}

async fn write<F>(core: &Core, environment: EnvId, settings: F) -> Result<UserManagement>
where
    F: AsyncFn(&mut Tx) -> Result<UserManagement> + Send + 'static,
{
    let now = core.clock.now();
    let (settings, bump) = core
        .db
        .write(async move |tx| {
            let settings = settings(tx).await?;
            store(tx, environment, &settings, now).await?;
            let bump = cache::bump(tx, cache::ENVIRONMENTS).await?;
            Ok::<_, Error>((settings, bump))
        })
        .await?;
    core.caches.apply(bump);
    Ok(settings)
}

async fn store(tx: &mut Tx, environment: EnvId, settings: &UserManagement, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO user_management (environment_id, allow_duplicate_user_identities, allow_multiple_memberships, \
         allow_organization_signup, single_organization, max_users_limit, invitation_expiry_minutes, \
         block_disposable_email_domains, block_public_email_domains, sync_user_profile_on_signin, enable_bot_detection, \
         enable_fail_open, updated_at, max_users_limit_enabled) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
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
         updated_at = excluded.updated_at, max_users_limit_enabled = excluded.max_users_limit_enabled",
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
            now.0,
            settings.enable_max_users_limit
        ],
    )
    .await?;
    Ok(())
}
