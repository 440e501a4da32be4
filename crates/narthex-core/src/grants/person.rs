//! Of whom tokens speak, as the database knows them at this moment: claims are computed anew for each token.

use narthex_db::{Tx, p};
use serde_json::{Map, Value};

use super::Subject;
use crate::core::Core;
use crate::error::Result;
use crate::ids::EnvId;
use crate::memberships::{self, Access};
use crate::users::{self, User};

/// Somebody for whom tokens may be issued now.
pub(super) enum Person {
    /// A user.
    User {
        user: Box<User>,
        /// What they are in the organization that was entered.
        standing: Option<Standing>,
    },
    /// Somebody whom a connection vouches for.
    Guest,
}

/// What a user is in an organization.
pub(super) struct Standing {
    /// The application's own id of the organization.
    pub(super) external_id: Option<String>,
    /// Roles, and what they allow.
    pub(super) access: Access,
}

/// The person as they are now; None for one who may not have tokens any more: a user who is gone, or no active member.
pub(super) async fn load(core: &Core, environment: EnvId, subject: &Subject) -> Result<Option<Person>> {
    let Subject::User { user, organization, .. } = subject else { return Ok(Some(Person::Guest)) };
    let access = match organization {
        Some(organization) => match memberships::access(core, environment, *organization, *user).await? {
            Some(access) => Some((*organization, access)),
            None => return Ok(None),
        },
        None => None,
    };
    let mut reader = core.db.reader().await?;
    let Some(found) = users::load(&mut reader, environment, &users::Identity::Id(*user)).await? else {
        return Ok(None);
    };
    let standing = match access {
        Some((organization, access)) => {
            let sql = "SELECT external_id FROM organizations WHERE id = $1 AND environment_id = $2";
            let row: Option<(Option<String>,)> = reader.opt(sql, &p![organization, environment]).await?;
            let Some((external_id,)) = row else { return Ok(None) };
            Some(Standing { external_id, access })
        }
        None => None,
    };
    Ok(Some(Person::User { user: Box::new(found), standing }))
}

/// Whether the person may still have tokens, for the transaction that spends a code or a refresh token.
pub(super) async fn stands(tx: &mut Tx, environment: EnvId, subject: &Subject) -> Result<bool> {
    let Subject::User { user, organization, .. } = subject else { return Ok(true) };
    let found: Option<(i64,)> = match organization {
        Some(organization) => {
            let sql = "SELECT m.user_id FROM memberships m JOIN organizations o ON o.id = m.organization_id \
                       JOIN users u ON u.id = m.user_id \
                       WHERE m.organization_id = $2 AND m.user_id = $3 AND m.environment_id = $1 AND m.state = 1";
            tx.opt(sql, &p![environment, organization, user]).await?
        }
        None => tx.opt("SELECT id FROM users WHERE environment_id = $1 AND id = $2", &p![environment, user]).await?,
    };
    Ok(found.is_some())
}

/// What the scopes let an ID token or the UserInfo endpoint say of a person, in the types of oauth-oidc reference §11.2. `email` is
/// always said where `always_email`, as SDKs build their users from ID tokens.
pub(super) fn claims(person: &Person, subject: &Subject, scopes: &[String], always_email: bool) -> Map<String, Value> {
    let granted = |scope: &str| scopes.iter().any(|granted| granted == scope);
    let mut said = Map::new();
    let mut say = |claim: &str, text: &str| {
        if !text.is_empty() {
            said.insert(claim.to_owned(), text.into());
        }
    };
    let (email, email_verified) = match (person, subject) {
        (Person::User { user, .. }, _) => {
            let profile = &user.profile;
            if granted("profile") {
                say("name", &profile.name);
                say("given_name", &profile.given_name);
                say("family_name", &profile.family_name);
                say("preferred_username", &profile.preferred_username);
                say("picture", &profile.picture);
                say("locale", &profile.locale);
                say("gender", &profile.gender);
                say("updated_at", &user.updated_at.rfc3339());
                if !user.metadata.is_empty() {
                    say("metadata", &serde_json::json!(user.metadata).to_string());
                }
            }
            if granted("phone") && !profile.phone_number.is_empty() {
                say("phone_number", &profile.phone_number);
                said.insert("phone_number_verified".to_owned(), profile.phone_number_verified.into());
            }
            (user.email.as_str(), profile.email_verified)
        }
        (Person::Guest, Subject::Connection { email, email_verified, .. }) => (email.as_str(), *email_verified),
        (Person::Guest, Subject::User { .. }) => ("", false),
    };
    if (always_email || granted("email")) && !email.is_empty() {
        said.insert("email".to_owned(), email.into());
        said.insert("email_verified".to_owned(), email_verified.into());
    }
    said
}
