//! What a login writes about a user.

use narthex_db::{Tx, p};

use super::{Profile, User, insert, key_of, mark, search_text, set_email_verified};
use crate::clock::Timestamp;
use crate::counters;
use crate::error::Result;
use crate::ids::{ConnectionId, EnvId, UserId, UserProfileId};

/// `connection_type` of a connection that proves addresses by mail.
pub(crate) const PASSWORDLESS: &str = "PASSWORDLESS";
/// `connection_type` of a connection that knows users by their passkeys.
const WEBAUTHN: &str = "WEBAUTHN";
/// Longest name that is kept, in characters.
const NAME: usize = 128;
/// `connection_provider`: the product itself (`scalekit.v1.commons.IdentityProviderType.SCALEKIT`).
const OWN: i32 = 15;

/// Inserts a user, with all that hangs on a new one.
pub(crate) async fn store_new(tx: &mut Tx, user: &User) -> Result<()> {
    insert(tx, user, &search_text(user)).await?;
    mark(tx, user.id).await?;
    counters::add(tx, user.environment, super::NOUN, user.id.0, 1).await
}

/// Somebody who has just proven to read mail at an address that nobody had.
pub(crate) fn proven(id: UserId, profile: UserProfileId, environment: EnvId, email: &str, now: Timestamp) -> User {
    User {
        id,
        environment,
        email: key_of(email),
        external_id: None,
        metadata: std::collections::BTreeMap::new(),
        profile: Profile { email_verified: true, ..Profile::empty(profile) },
        last_login_at: None,
        created_at: now,
        updated_at: now,
    }
}

/// Writes what somebody says of themselves while they sign up. What is known already stays.
pub(crate) async fn introduce(
    tx: &mut Tx,
    user: &mut User,
    given_name: &str,
    family_name: &str,
    full_name: &str,
    phone_number: &str,
    now: Timestamp,
) -> Result<()> {
    let before = user.profile.clone();
    let profile = &mut user.profile;
    for (said, known) in [
        (given_name, &mut profile.given_name),
        (family_name, &mut profile.family_name),
        (full_name, &mut profile.name),
        (phone_number, &mut profile.phone_number),
    ] {
        let said: String = said.trim().chars().filter(|c| !c.is_control()).take(NAME).collect();
        if known.is_empty() && !said.is_empty() {
            *known = said;
        }
    }
    if user.profile != before {
        user.updated_at = now.max(user.updated_at);
        super::store::update(tx, user, &search_text(user)).await?;
    }
    Ok(())
}

/// The connection that a login was proven by.
pub(crate) enum ProvenBy {
    /// A mail to the user's address.
    Mail(ConnectionId),
    /// A passkey of the user.
    Passkey(ConnectionId),
}

/// Notes a login, and the identity behind it, which is `number` where it is a new one.
pub(crate) async fn record_login(
    tx: &mut Tx,
    user: &mut User,
    by: Option<(ProvenBy, i64)>,
    now: Timestamp,
) -> Result<()> {
    user.last_login_at = Some(now);
    let sql = "UPDATE users SET last_login_at = $3 WHERE id = $1 AND environment_id = $2";
    tx.execute(sql, &p![user.id, user.environment, now.0]).await?;
    let Some((by, number)) = by else { return Ok(()) };
    let (connection, kind, subject) = match by {
        ProvenBy::Mail(connection) => {
            set_email_verified(tx, user, now).await?;
            (connection, PASSWORDLESS, key_of(&user.email))
        }
        // Passkeys are bound to the user, not to an address.
        ProvenBy::Passkey(connection) => (connection, WEBAUTHN, user.id.to_string()),
    };
    tx.execute(
        "INSERT INTO external_identities (id, environment_id, user_id, connection_id, connection_type, connection_provider, \
         connection_user_id, is_social, created_at, last_login_at, last_synced_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $8, NULL) \
         ON CONFLICT (connection_id, connection_user_id) DO UPDATE SET last_login_at = excluded.last_login_at, \
         user_id = excluded.user_id",
        &p![number, user.environment, user.id, connection, kind, OWN, subject, now.0],
    )
    .await?;
    Ok(())
}
