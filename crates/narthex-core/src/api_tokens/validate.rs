//! Whether a token counts, and what for.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::store::COLUMNS;
use super::{ApiToken, Holder, Reference, View, not_found};
use crate::core::Core;
use crate::error::Result;
use crate::ids::{EnvId, UserId};
use crate::memberships;
use crate::roles;

/// A token as it is kept in memory: it is not revoked, and its organization exists.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    token: ApiToken,
    organization_external_id: Option<String>,
}

impl FromRow for Known {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { token: ApiToken::from_row(row)?, organization_external_id: row.get(9)? })
    }
}

/// The token, by its value or id, if it counts now in this environment; else NOT_FOUND, which does not say why. A token of an
/// organization costs no query while it is in memory, nor does one of an active member; for one of somebody who is only invited the
/// membership and its roles are read each time.
pub async fn validate(core: &Core, environment: EnvId, text: &str) -> Result<View> {
    let now = core.clock.now();
    let known = match Reference::parse(text)? {
        Reference::Value(hash) => {
            let load = async { load(&mut *core.db.reader().await?, "t.hash", hash.as_slice()).await };
            core.caches.api_tokens.get(&hash, load).await?.map(|known| Known::clone(&known))
        }
        Reference::Id(id) => load(&mut *core.db.reader().await?, "t.id", id).await?,
    };
    let known = known.filter(|known| known.token.environment == environment && known.token.is_live(now));
    let Known { token, organization_external_id } = known.ok_or_else(not_found)?;
    let holder = match token.user {
        None => None,
        Some(user) => Some(known_holder(core, &token, user).await?.ok_or_else(not_found)?),
    };
    core.api_tokens_used.note(token.id, now);
    Ok(View { token, organization_external_id, holder })
}

/// The same as [`holder`], from memory where the membership is an active one.
async fn known_holder(core: &Core, token: &ApiToken, user: UserId) -> Result<Option<Holder>> {
    let (environment, organization) = (token.environment, token.organization);
    let Some(held) = memberships::held(core, environment, organization, user).await? else {
        return holder(&mut *core.db.reader().await?, token, user).await;
    };
    if held.created_at > token.created_at {
        return Ok(None);
    }
    let mut roles = Vec::with_capacity(held.roles.len());
    for role in &held.roles {
        let role = roles::allowed(core, environment, organization, *role).await?;
        roles.extend(role.map(|role| role.role.clone()));
    }
    Ok(Some(Holder { external_id: held.external_id.clone(), email: held.email.clone(), roles }))
}

async fn load(tx: &mut Tx, column: &str, value: impl Into<narthex_db::Value>) -> Result<Option<Known>> {
    let sql = format!(
        "SELECT {COLUMNS}, o.external_id FROM api_tokens t JOIN organizations o ON o.id = t.organization_id \
         WHERE {column} = $1 AND t.revoked_at IS NULL"
    );
    Ok(tx.opt(&sql, &[value.into()]).await?)
}

/// The membership that a token of a user rests on. One that was made after the token is another one: who is let in again does not
/// get old tokens back.
pub(super) async fn holder(tx: &mut Tx, token: &ApiToken, user: UserId) -> Result<Option<Holder>> {
    let member: Option<(String, Option<String>)> = tx
        .opt(
            "SELECT u.email, u.external_id FROM memberships m JOIN users u ON u.id = m.user_id \
             WHERE m.organization_id = $1 AND m.user_id = $2 AND m.environment_id = $3 AND m.state <> 2 AND m.created_at <= $4",
            &p![token.organization, user, token.environment, token.created_at],
        )
        .await?;
    let Some((email, external_id)) = member else { return Ok(None) };
    let roles = roles::of_membership(tx, token.environment, token.organization, user).await?;
    Ok(Some(Holder { external_id, email, roles: roles.into_iter().map(|role| role.name).collect() }))
}
