//! `grant_type=refresh_token` (RFC 6749 §6, RFC 9700 §4.14; oauth-oidc reference §6.4).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time;

use super::client::{self, Presented, Proven, invalid_grant};
use super::exchange::refresh_end;
use super::issue::{Issue, Signed};
use super::person;
use super::scope;
use super::store::{self, Grant};
use super::token::{self, Shown};
use super::{Authorization, Subject};
use crate::cache::Bump;
use crate::clients::Client;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::Error;
use crate::ids::GrantId;
use crate::organizations::share;
use crate::seal::Secret;
use crate::sessions;
use crate::tokens::{IssuedToken, OAuthCode, TokenError};

/// How long after its use a token still gets its successor: tabs of a browser, and requests whose answer was lost, use one twice
/// (oauth-oidc reference OP-6).
const GRACE: Duration = Duration::from_secs(10);

/// What nobody is told more about.
const UNKNOWN: &str = "the refresh token is invalid, has expired or was used";
const SESSION: &str = "the session has ended";

/// A token request with a refresh token.
pub struct Refresh {
    /// Who asks.
    pub client: Presented,
    /// `refresh_token`.
    pub token: Secret<String>,
    /// `scope`: some of those that were granted.
    pub scope: Option<String>,
    /// `resource` (RFC 8707).
    pub resource: Option<String>,
}

/// What a token is to its grant.
#[derive(PartialEq, Eq)]
pub(super) enum Place {
    /// The one that counts.
    Current,
    /// The one before, used a moment ago.
    Previous,
    /// Used before: somebody has a copy.
    Old,
}

pub(super) fn place(grant: &Grant, hash: &[u8; 32], now: Timestamp) -> Place {
    let is = |known: &Option<Vec<u8>>| {
        known.as_ref().is_some_and(|known| constant_time::verify_slices_are_equal(known, hash).is_ok())
    };
    if is(&grant.current_hash) {
        Place::Current
    } else if is(&grant.previous_hash) && grant.rotated_at.is_some_and(|at| now < at.plus(GRACE)) {
        Place::Previous
    } else {
        Place::Old
    }
}

/// Whether a refresh token of the grant can count at all.
pub(super) fn counts(grant: &Grant, client: &Client, now: Timestamp) -> bool {
    grant.revoked_at.is_none()
        && grant.refresh_expires_at.is_some_and(|end| now < end)
        && grant.created_at >= client.created_at
}

/// Gives new tokens for a refresh token, which is replaced. One that was used before ends the grant.
pub async fn refresh(core: &Core, environment: &Arc<Environment>, request: Refresh) -> Result<IssuedToken, TokenError> {
    let Proven { client, .. } = client::authenticate(core, environment, &request.client).await?;
    client::check_grant(&client, "refresh_token")?;
    if request.token.expose().is_empty() {
        return Err(TokenError::new(OAuthCode::InvalidRequest, "refresh_token is missing"));
    }
    let unknown = || invalid_grant(UNKNOWN);
    let shown = Shown::parse(request.token.expose()).ok_or_else(unknown)?;
    let now = core.clock.now();
    let mut reader = core.db.reader().await?;
    let grant = store::by_family(&mut reader, environment.id, &shown.family_hash()).await?.ok_or_else(unknown)?;
    if grant.client_id != client.client_id || !counts(&grant, &client, now) {
        return Err(unknown());
    }
    if place(&grant, shown.hash(), now) == Place::Old {
        drop(reader);
        return Err(end_if_old(core, environment, grant.id, shown).await?);
    }
    let Authorization { subject, scopes, .. } = &grant.authorization;
    let resource = scope::resource_of(&mut reader, environment, &grant.authorization).await?;
    scope::check_target(resource.as_ref(), request.resource.as_deref())?;
    let asked = narrow(scopes, request.scope.as_deref())?;
    // Asked again when the token is replaced; here it spares two signatures for a session that has ended.
    if let Some(session) = subject.session()
        && sessions::live(&mut reader, environment.id, session, now).await?.is_none()
    {
        return Err(invalid_grant(SESSION));
    }
    drop(reader);
    let person = person::load(core, environment.id, subject).await?;
    let person = person.ok_or_else(|| invalid_grant("the user may not sign in any more"))?;
    let given = scope::given(core, environment, &grant.authorization, resource.as_ref(), &person).await?;
    let given = given.ok_or_else(|| invalid_grant("the user has taken their consent back"))?;
    let issue = Issue {
        grant: grant.id,
        authorization: &grant.authorization,
        client: &client,
        resource: resource.as_ref(),
        person: &person,
        scopes: given.into_iter().filter(|scope| asked.contains(scope)).collect(),
        code: None,
    };
    let signed = issue.sign(core, environment).await?;
    let end = refresh_end(resource.as_ref(), now);
    let refresh_token = replace(core, environment, grant.id, shown, end, signed.expires_at).await?;
    let Signed { access_token, id_token, expires_in, scope, .. } = signed;
    Ok(IssuedToken { access_token, expires_in, scope, id_token, refresh_token: Some(refresh_token) })
}

/// The scopes that are asked for: all that were granted, or some of them (RFC 6749 §6).
fn narrow(granted: &[String], asked: Option<&str>) -> Result<Vec<String>, TokenError> {
    let asked: Vec<&str> = asked.unwrap_or_default().split(' ').filter(|scope| !scope.is_empty()).collect();
    if asked.is_empty() {
        return Ok(granted.to_vec());
    }
    if asked.iter().any(|asked| !granted.iter().any(|granted| granted == asked)) {
        return Err(TokenError::new(OAuthCode::InvalidScope, "more was asked for than was granted"));
    }
    Ok(granted.iter().filter(|scope| asked.contains(&scope.as_str())).cloned().collect())
}

enum Outcome {
    /// The next token counts now.
    Rotated,
    /// Somebody was faster by a moment: the token that counts follows by this salt.
    Twin(Vec<u8>),
    /// A refusal; the bump where it has ended the grant.
    Refused(&'static str, Option<Bump>),
}

/// Ends the grant of a token that was used before, and says so to nobody but the log of its row.
async fn end_if_old(
    core: &Core,
    environment: &Environment,
    grant: GrantId,
    shown: Shown,
) -> Result<TokenError, TokenError> {
    let (environment, now) = (environment.id, core.clock.now());
    let bump = core
        .db
        .write_for(share(environment), async move |tx| {
            let grant = store::load(tx, environment, grant).await?;
            let Some(grant) = grant.filter(|grant| place(grant, shown.hash(), now) == Place::Old) else {
                return Ok(None);
            };
            store::revoke(tx, grant.id, now).await.map(Some)
        })
        .await?;
    if let Some(bump) = bump {
        core.caches.apply(bump);
    }
    Ok(invalid_grant(UNKNOWN))
}

/// Puts the next token in the place of this one; its text.
async fn replace(
    core: &Core,
    environment: &Environment,
    id: GrantId,
    shown: Shown,
    own_end: Option<Timestamp>,
    access_end: Timestamp,
) -> Result<String, TokenError> {
    let salt = token::salt(core);
    let next = shown.successor(&salt);
    let (environment, now) = (environment.id, core.clock.now());
    let (hash, next_hash) = (*shown.hash(), *next.hash());
    let outcome = core
        .db
        .write_checked(
            share(environment),
            async move |tx| {
                let sql = "SELECT id FROM grants WHERE id = $1 AND current_hash = $2";
                Ok(tx.opt::<(i64,)>(sql, &narthex_db::p![id, next_hash]).await?.is_some())
            },
            async move |tx| {
                let refused = |text| Ok(Outcome::Refused(text, None));
                let Some(grant) = store::load(tx, environment, id).await? else { return refused(UNKNOWN) };
                if grant.revoked_at.is_some() || grant.refresh_expires_at.is_none_or(|end| now >= end) {
                    return refused(UNKNOWN);
                }
                let place = place(&grant, &hash, now);
                if place == Place::Old {
                    return Ok(Outcome::Refused(UNKNOWN, Some(store::revoke(tx, id, now).await?)));
                }
                let subject = &grant.authorization.subject;
                if !person::stands(tx, environment, subject).await? {
                    return refused("the user may not sign in any more");
                }
                let mut end = own_end;
                if let Subject::User { user, session, .. } = subject {
                    let live = sessions::live(tx, environment, *session, now).await?;
                    let Some(live) = live.filter(|live| live.user == *user) else { return refused(SESSION) };
                    end = Some(end.unwrap_or(live.expires_at).min(live.expires_at));
                    sessions::extend(tx, *session, now).await?;
                }
                if place == Place::Previous {
                    return Ok(Outcome::Twin(grant.salt.unwrap_or_default()));
                }
                let end = end.or(grant.refresh_expires_at).unwrap_or(now);
                let expires_at = grant.expires_at.max(end).max(access_end);
                store::rotate(tx, &grant, &next_hash, &salt, end, expires_at, now).await?;
                Ok::<_, Error>(Outcome::Rotated)
            },
        )
        .await?;
    match outcome {
        Outcome::Rotated => Ok(next.text().to_owned()),
        Outcome::Twin(salt) => Ok(shown.successor(&salt).text().to_owned()),
        Outcome::Refused(text, bump) => {
            if let Some(bump) = bump {
                core.caches.apply(bump);
            }
            Err(invalid_grant(text))
        }
    }
}
