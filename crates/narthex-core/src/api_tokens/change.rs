//! Making, changing and ending tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_db::{DbError, Tx, p};

use super::validate::holder;
use super::{ApiToken, Reference, View, not_found, store};
use crate::cache::{self, Bump};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::Actor;
use crate::ids::{ApiTokenId, EnvId, OrganizationId, UserId};
use crate::organizations::{self, Identity, share};
use crate::seal::{Secret, sha256};

/// Letters and digits of a token: 285 bits.
const LENGTH: usize = 48;
/// Tokens that one transaction removes.
const CHUNK: i64 = 100;

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewApiToken {
    /// Organization that it acts for.
    pub organization: OrganizationId,
    /// The member that it acts for.
    pub user: Option<UserId>,
    /// The application's own data.
    pub custom_claims: BTreeMap<String, String>,
    /// When it stops to count; never, if there is none.
    pub expires_at: Option<Timestamp>,
    /// What its maker says of it; an empty text says nothing.
    pub description: String,
}

/// Makes a token. This is the only time that its text is known here. NOT_FOUND for an organization that is none, INVALID_ARGUMENT for
/// a user who is no member and for an expiry that has passed.
pub async fn create(core: &Core, environment: EnvId, by: &Actor, new: NewApiToken) -> Result<(Secret<String>, View)> {
    let now = core.clock.now();
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid("token.expiry", "timestamp.gt_now", "must lie in the future"));
    }
    let plain = core.random.base62(LENGTH);
    let token = ApiToken {
        id: ApiTokenId::new(&core.ids),
        environment,
        organization: new.organization,
        user: new.user,
        suffix: plain[LENGTH - 4..].to_owned(),
        description: Some(new.description).filter(|text| !text.is_empty()),
        custom_claims: new.custom_claims,
        expires_at: new.expires_at,
        created_at: now,
    };
    let (id, hash, by, token) = (token.id, sha256(plain.as_bytes()), by.clone(), Arc::new(token));
    let view = core
        .db
        .write_checked(
            share(environment),
            async move |tx| exists(tx, id).await,
            async move |tx| insert(tx, ApiToken::clone(&token), &hash, &by).await,
        )
        .await?;
    Ok((Secret::new(plain), view))
}

async fn exists(tx: &mut Tx, id: ApiTokenId) -> Result<bool, DbError> {
    Ok(tx.opt::<(i64,)>("SELECT id FROM api_tokens WHERE id = $1", &p![id]).await?.is_some())
}

async fn insert(tx: &mut Tx, mut token: ApiToken, hash: &[u8; 32], by: &Actor) -> Result<View> {
    let organization = organizations::load(tx, token.environment, &Identity::Id(token.organization)).await?;
    let organization_external_id = organization.ok_or_else(organizations::not_found)?.external_id;
    let holder = match token.user {
        None => None,
        Some(user) => {
            // Another node's clock may run ahead: the token must not look older than the membership that it rests on.
            let sql = "SELECT created_at FROM memberships WHERE organization_id = $1 AND user_id = $2 AND environment_id = $3";
            let since: Option<(Timestamp,)> = tx.opt(sql, &p![token.organization, user, token.environment]).await?;
            token.created_at = since.map_or(token.created_at, |(since,)| since.max(token.created_at));
            Some(holder(tx, &token, user).await?.ok_or_else(no_member)?)
        }
    };
    store::insert(tx, &token, hash, by.as_str()).await?;
    Ok(View { token, organization_external_id, holder })
}

fn no_member() -> Error {
    Error::invalid("token.user_id", "user.member", "is no member of the organization")
}

/// Changes the description (an empty text clears it) and replaces all claims where some are given. NOT_FOUND unless the token counts.
pub async fn update(
    core: &Core,
    environment: EnvId,
    text: &str,
    description: Option<String>,
    custom_claims: BTreeMap<String, String>,
) -> Result<View> {
    let (reference, now) = (Reference::parse(text)?, core.clock.now());
    let (view, bump) = core
        .db
        .write_for(share(environment), async move |tx| {
            let stored = store::load(tx, environment, reference).await?.ok_or_else(not_found)?;
            if stored.revoked_at.is_some() || !stored.token.is_live(now) {
                return Err(not_found());
            }
            let mut token = stored.token;
            let organization = organizations::load(tx, environment, &Identity::Id(token.organization)).await?;
            let organization_external_id = organization.ok_or_else(not_found)?.external_id;
            let holder = match token.user {
                Some(user) => Some(holder(tx, &token, user).await?.ok_or_else(not_found)?),
                None => None,
            };
            if let Some(text) = &description {
                token.description = Some(text.clone()).filter(|text| !text.is_empty());
            }
            if !custom_claims.is_empty() {
                token.custom_claims.clone_from(&custom_claims);
            }
            store::update(tx, &token, now).await?;
            let bump = cache::bump(tx, &cache::api_token_scope(&stored.hash)).await?;
            Ok((View { token, organization_external_id, holder }, bump))
        })
        .await?;
    core.caches.apply(bump);
    Ok(view)
}

/// Ends a token: it counts no more, on other nodes within a second. One that has ended already stays as it is; NOT_FOUND for one that
/// was never issued here.
pub async fn invalidate(core: &Core, environment: EnvId, text: &str) -> Result<()> {
    let (reference, now) = (Reference::parse(text)?, core.clock.now());
    let bump = core
        .db
        .write_for(share(environment), async move |tx| {
            let stored = store::load(tx, environment, reference).await?.ok_or_else(not_found)?;
            if stored.revoked_at.is_some() {
                return Ok(None);
            }
            store::revoke(tx, &stored.token, now).await?;
            Ok::<_, Error>(Some(cache::bump(tx, &cache::api_token_scope(&stored.hash)).await?))
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    Ok(())
}

/// Removes up to 100 tokens of an organization, within the transaction that deletes it or follows it. Apply the bumps after the
/// commit; none means that none is left.
pub(crate) async fn purge_of_organization(tx: &mut Tx, organization: OrganizationId) -> Result<Vec<Bump>> {
    let sql = "DELETE FROM api_tokens WHERE id IN (SELECT id FROM api_tokens WHERE organization_id = $1 ORDER BY id LIMIT $2) \
               RETURNING hash";
    let gone: Vec<([u8; 32],)> = tx.all(sql, &p![organization, CHUNK]).await?;
    bump_each(tx, gone).await
}

/// Removes up to 100 tokens of a user, within the transaction that deletes the user: what a token says may be personal.
pub(crate) async fn purge_of_user(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<Vec<Bump>> {
    let sql = "DELETE FROM api_tokens WHERE id IN \
               (SELECT id FROM api_tokens WHERE user_id = $1 AND environment_id = $2 ORDER BY id LIMIT $3) RETURNING hash";
    let gone: Vec<([u8; 32],)> = tx.all(sql, &p![user, environment, CHUNK]).await?;
    bump_each(tx, gone).await
}

async fn bump_each(tx: &mut Tx, gone: Vec<([u8; 32],)>) -> Result<Vec<Bump>> {
    let scopes = gone.iter().map(|(hash,)| cache::api_token_scope(hash)).collect();
    cache::bump_all(tx, scopes).await.map_err(Error::from)
}

/// Voids what is in memory of an organization's tokens, within the transaction that changes its external id. Nothing, if it has no
/// tokens. Apply the bumps after the commit.
pub(crate) async fn void_of_organization(tx: &mut Tx, organization: OrganizationId) -> Result<Vec<Bump>> {
    let sql = "SELECT id FROM api_tokens WHERE organization_id = $1 LIMIT 1";
    if tx.opt::<(i64,)>(sql, &p![organization]).await?.is_none() {
        return Ok(Vec::new());
    }
    cache::bump_all(tx, cache::api_token_scopes().collect()).await.map_err(Error::from)
}
