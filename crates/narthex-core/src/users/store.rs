//! The table of users.

use std::collections::BTreeMap;

use narthex_db::{DbError, FromRow, Row, Tx, Value, p};

use super::validation::key_of;
use super::{Identity, Profile, User};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::{EnvId, UserId};

/// A SELECT of the columns of a [`User`], in the order in which it is read.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT u.id, u.environment_id, u.email, u.external_id, u.metadata, u.profile_id, u.given_name, u.family_name, u.name, \
             u.locale, u.email_verified, u.phone_number, u.phone_number_verified, u.preferred_username, u.picture, u.gender, \
             u.user_groups, u.profile_metadata, u.custom_attributes, u.last_login_at, u.created_at, u.updated_at ",
            $rest
        )
    };
}
pub(super) use select;

impl FromRow for User {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            email: row.get(2)?,
            external_id: row.get(3)?,
            metadata: map(row, 4)?,
            profile: Profile {
                id: row.get(5)?,
                given_name: row.get(6)?,
                family_name: row.get(7)?,
                name: row.get(8)?,
                locale: row.get(9)?,
                email_verified: row.get(10)?,
                phone_number: row.get(11)?,
                phone_number_verified: row.get(12)?,
                preferred_username: row.get(13)?,
                picture: row.get(14)?,
                gender: row.get(15)?,
                groups: json(row, 16)?,
                metadata: map(row, 17)?,
                custom_attributes: map(row, 18)?,
            },
            last_login_at: row.get(19)?,
            created_at: row.get(20)?,
            updated_at: row.get(21)?,
        })
    }
}

fn map(row: &Row<'_>, column: usize) -> Result<BTreeMap<String, String>, DbError> {
    json(row, column)
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, DbError> {
    serde_json::from_str(row.cell(column)?.text()?)
        .map_err(|error| DbError::Data(format!("users, column {column}: {error}")))
}

/// The values of the columns that can change, `$3` and on.
fn changing(user: &User, search_text: &str) -> Result<[Value; 18]> {
    fn json<T: serde::Serialize>(value: &T) -> Result<String> {
        serde_json::to_string(value).map_err(Error::internal)
    }
    let profile = &user.profile;
    Ok(p![
        &user.external_id,
        json(&user.metadata)?,
        &profile.given_name,
        &profile.family_name,
        &profile.name,
        &profile.locale,
        profile.email_verified,
        &profile.phone_number,
        profile.phone_number_verified,
        &profile.preferred_username,
        &profile.picture,
        &profile.gender,
        json(&profile.groups)?,
        json(&profile.metadata)?,
        json(&profile.custom_attributes)?,
        search_text,
        user.last_login_at.map(|at| at.0),
        user.updated_at.0
    ])
}

/// Inserts a user. The unique indexes decide who has an address or an external id, not a look before.
pub(crate) async fn insert(tx: &mut Tx, user: &User, search_text: &str) -> Result<()> {
    let mut values = p![user.id, user.environment].to_vec();
    values.extend(changing(user, search_text)?);
    values.extend(p![&user.email, key_of(&user.email), user.profile.id, user.created_at.0]);
    tx.execute(
        "INSERT INTO users (id, environment_id, external_id, metadata, given_name, family_name, name, locale, email_verified, \
         phone_number, phone_number_verified, preferred_username, picture, gender, user_groups, profile_metadata, \
         custom_attributes, search_text, last_login_at, updated_at, email, email_key, profile_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)",
        &values,
    )
    .await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, user: &User, search_text: &str) -> Result<()> {
    let mut values = p![user.id, user.environment].to_vec();
    values.extend(changing(user, search_text)?);
    tx.execute(
        "UPDATE users SET external_id = $3, metadata = $4, given_name = $5, family_name = $6, name = $7, locale = $8, \
         email_verified = $9, phone_number = $10, phone_number_verified = $11, preferred_username = $12, picture = $13, \
         gender = $14, user_groups = $15, profile_metadata = $16, custom_attributes = $17, search_text = $18, \
         last_login_at = $19, updated_at = $20 WHERE id = $1 AND environment_id = $2",
        &values,
    )
    .await?;
    Ok(())
}

/// Notes that somebody trusted vouches for the address.
pub(crate) async fn set_email_verified(tx: &mut Tx, user: &mut User, now: Timestamp) -> Result<()> {
    if user.profile.email_verified {
        return Ok(());
    }
    user.profile.email_verified = true;
    user.updated_at = now.max(user.updated_at);
    tx.execute(
        "UPDATE users SET email_verified = 1, updated_at = $3 WHERE id = $1 AND environment_id = $2",
        &p![user.id, user.environment, user.updated_at.0],
    )
    .await?;
    Ok(())
}

pub(crate) async fn load(tx: &mut Tx, environment: EnvId, identity: &Identity) -> Result<Option<User>> {
    let found = match identity {
        Identity::Id(id) => {
            tx.opt(select!("FROM users u WHERE u.id = $2 AND u.environment_id = $1"), &p![environment, id]).await?
        }
        Identity::ExternalId(external_id) => {
            // Nothing that holds U+0000 was ever stored, and the database refuses to be asked for it.
            if external_id.is_empty() || external_id.contains('\0') {
                return Ok(None);
            }
            let sql = select!("FROM users u WHERE u.environment_id = $1 AND u.external_id = $2");
            tx.opt(sql, &p![environment, external_id]).await?
        }
    };
    Ok(found)
}

pub(crate) async fn load_by_email(tx: &mut Tx, environment: EnvId, email: &str) -> Result<Option<User>> {
    let sql = select!("FROM users u WHERE u.environment_id = $1 AND u.email_key = $2");
    Ok(tx.opt(sql, &p![environment, key_of(email)]).await?)
}

/// Removes the row and what hangs on it by a key of its own; false if there is none.
pub(super) async fn delete(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<bool> {
    let sql = "DELETE FROM users WHERE id = $1 AND environment_id = $2";
    if tx.execute(sql, &p![user, environment]).await? == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM external_identities WHERE user_id = $1", &p![user]).await?;
    tx.execute("DELETE FROM invitation_tokens WHERE user_id = $1", &p![user]).await?;
    Ok(true)
}
