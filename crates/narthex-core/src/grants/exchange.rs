//! `grant_type=authorization_code` (RFC 6749 §4.1.3, RFC 7636 §4.6; oauth-oidc reference §6.3).

use std::sync::Arc;

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::client::{self, Presented, Proven, invalid_grant};
use super::issue::{Issue, Signed};
use super::person;
use super::scope;
use super::store::{self, Grant, Spent};
use super::token::NewRefresh;
use super::{Authorization, Subject};
use crate::cache::Bump;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::Error;
use crate::ids::GrantId;
use crate::organizations::share;
use crate::resources::Resource;
use crate::seal::{Secret, sha256};
use crate::sessions;
use crate::tokens::{IssuedToken, OAuthCode, TokenError};

/// Any failed way to spend a code that is known looks the same to who has only stolen it.
const SPENT: &str = "the authorization code is invalid, has expired or was used";

const SESSION: &str = "the session has ended";

/// A token request with a code.
pub struct CodeExchange {
    /// Who asks.
    pub client: Presented,
    /// `code`.
    pub code: Secret<String>,
    /// `redirect_uri`, empty if absent.
    pub redirect_uri: String,
    /// `code_verifier`.
    pub code_verifier: Option<Secret<String>>,
    /// `resource` (RFC 8707).
    pub resource: Option<String>,
}

/// What a request says that the grant must agree with.
struct Attempt {
    number: i64,
    client_id: String,
    client_made_at: Timestamp,
    redirect_uri: String,
    verifier: Verifier,
    must_prove: bool,
}

/// `code_verifier` of a request.
enum Verifier {
    Absent,
    /// Not of the form that RFC 7636 §4.1 asks for.
    Malformed,
    /// Its S256.
    Challenge(String),
}

/// What a grant says to an attempt.
enum Verdict {
    Good,
    /// Used before: whatever the first use has brought ends.
    Replay,
    /// The code is worth nothing from now on.
    Deny(&'static str),
    /// The code is worth nothing anyway.
    Dead,
}

/// Exchanges a code for tokens. A code is good for one attempt: one that fails spends it too, and one that comes after a success ends
/// what that has brought.
pub async fn exchange(
    core: &Core,
    environment: &Arc<Environment>,
    request: CodeExchange,
) -> Result<IssuedToken, TokenError> {
    let Proven { client, public } = client::authenticate(core, environment, &request.client).await?;
    client::check_grant(&client, "authorization_code")?;
    if request.code.expose().is_empty() {
        return Err(TokenError::new(OAuthCode::InvalidRequest, "code is missing"));
    }
    if request.redirect_uri.is_empty() {
        return Err(TokenError::new(OAuthCode::InvalidRequest, "redirect_uri is missing"));
    }
    core.ids.check()?;
    let attempt = Attempt {
        number: core.ids.next(),
        client_id: client.client_id.clone(),
        client_made_at: client.created_at,
        redirect_uri: request.redirect_uri,
        verifier: Verifier::read(request.code_verifier.as_ref().map(Secret::expose)),
        must_prove: public || client.enforce_pkce,
    };
    let hash = sha256(request.code.expose().as_bytes());
    let now = core.clock.now();
    let mut reader = core.db.reader().await?;
    let grant = store::by_code(&mut reader, environment.id, &hash).await?.ok_or_else(|| invalid_grant(SPENT))?;
    let Verdict::Good = judge(&grant, &attempt, now) else {
        drop(reader);
        return Err(refuse(core, environment, grant.id, attempt).await?);
    };
    let resource = scope::resource_of(&mut reader, environment, &grant.authorization).await?;
    scope::check_target(resource.as_ref(), request.resource.as_deref())?;
    drop(reader);
    let Some(person) = person::load(core, environment.id, &grant.authorization.subject).await? else {
        return Err(invalid_grant("the user may not sign in any more"));
    };
    let scopes = scope::given(core, environment, &grant.authorization, resource.as_ref(), &person).await?;
    let refresh = has_refresh(&grant.authorization).then(|| NewRefresh::new(core));
    let mut scopes = scopes.ok_or_else(|| invalid_grant("the user has taken their consent back"))?;
    if refresh.is_none() {
        scopes.retain(|scope| scope != "offline_access");
    }
    let issue = Issue {
        grant: grant.id,
        authorization: &grant.authorization,
        client: &client,
        resource: resource.as_ref(),
        person: &person,
        scopes,
        code: Some(request.code.expose()),
    };
    // Signed before the code is spent: should this fail, the client can try again.
    let signed = issue.sign(core, environment).await?;
    let refresh_token = refresh.as_ref().map(|refresh| refresh.text().to_owned());
    let lasts = Lasts { access: signed.expires_at, refresh: refresh_end(resource.as_ref(), now) };
    spend(core, environment, grant, attempt, refresh, lasts, client.kind.is_application()).await?;
    let Signed { access_token, id_token, expires_in, scope, .. } = signed;
    Ok(IssuedToken { access_token, expires_in, scope, id_token, refresh_token })
}

/// Whether the login gives a refresh token: only what can end, with a session or with time, can be refreshed (oauth-oidc reference
/// OP-29).
fn has_refresh(authorization: &Authorization) -> bool {
    authorization.scopes.iter().any(|scope| scope == "offline_access")
        && (matches!(authorization.subject, Subject::User { .. }) || authorization.resource.is_some())
}

/// When a refresh token that is issued now ends by itself; None leaves it to the session.
pub(super) fn refresh_end(resource: Option<&Resource>, now: Timestamp) -> Option<Timestamp> {
    resource.map(|resource| now.plus(std::time::Duration::from_secs(u64::from(resource.refresh_token_expiry))))
}

/// Ends of what an exchange gives.
#[derive(Clone, Copy)]
struct Lasts {
    access: Timestamp,
    refresh: Option<Timestamp>,
}

impl Verifier {
    fn read(text: Option<&String>) -> Self {
        let Some(text) = text else { return Self::Absent };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if (43..=128).contains(&text.len()) && text.bytes().all(plain) {
            Self::Challenge(URL_SAFE_NO_PAD.encode(sha256(text.as_bytes())))
        } else {
            Self::Malformed
        }
    }
}

fn judge(grant: &Grant, attempt: &Attempt, now: Timestamp) -> Verdict {
    if grant.attempt.is_some() {
        return if grant.denied { Verdict::Dead } else { Verdict::Replay };
    }
    if grant.revoked_at.is_some() || now >= grant.code_expires_at || grant.created_at < attempt.client_made_at {
        return Verdict::Dead;
    }
    if grant.client_id != attempt.client_id {
        return Verdict::Deny(SPENT);
    }
    if grant.authorization.redirect_uri != attempt.redirect_uri {
        return Verdict::Deny("redirect_uri differs from that of the authorization request");
    }
    match (&grant.authorization.code_challenge, &attempt.verifier) {
        (Some(_), Verifier::Malformed) => {
            Verdict::Deny("code_verifier must have 43 to 128 characters of A-Z, a-z, 0-9, -, ., _ and ~")
        }
        (Some(challenge), Verifier::Challenge(shown)) => {
            match constant_time::verify_slices_are_equal(challenge.as_bytes(), shown.as_bytes()) {
                Ok(()) => Verdict::Good,
                Err(_) => {
                    Verdict::Deny("code_verifier does not belong to the code_challenge of the authorization request")
                }
            }
        }
        (Some(_), Verifier::Absent) => {
            Verdict::Deny("code_verifier is missing: the authorization request had a code_challenge")
        }
        // Somebody has taken the challenge out of the request to use a code that they have injected (RFC 9700 §4.8.2).
        (None, Verifier::Malformed | Verifier::Challenge(_)) => {
            Verdict::Deny("code_verifier is given, but the authorization request had no code_challenge")
        }
        (None, Verifier::Absent) if attempt.must_prove => Verdict::Deny("this client has to use PKCE"),
        (None, Verifier::Absent) => Verdict::Good,
    }
}

/// What a transaction has made of an attempt. All but `Spent` are refusals that leave a trace.
enum Outcome {
    Spent,
    Refused(&'static str, Option<Bump>),
}

/// Leaves the trace of an attempt that cannot succeed, and says why.
async fn refuse(
    core: &Core,
    environment: &Environment,
    grant: GrantId,
    attempt: Attempt,
) -> Result<TokenError, TokenError> {
    let (environment, now) = (environment.id, core.clock.now());
    let outcome = core
        .db
        .write_for(share(environment), async move |tx| {
            let Some(grant) = store::load(tx, environment, grant).await? else {
                return Ok(Outcome::Refused(SPENT, None));
            };
            match judge(&grant, &attempt, now) {
                // It has changed since it was read, which is nobody's to rely on.
                Verdict::Good | Verdict::Dead => Ok(Outcome::Refused(SPENT, None)),
                verdict => settle(tx, &grant, &verdict, &attempt, now).await,
            }
        })
        .await?;
    Ok(refused(core, outcome))
}

fn refused(core: &Core, outcome: Outcome) -> TokenError {
    match outcome {
        Outcome::Refused(text, bump) => {
            if let Some(bump) = bump {
                core.caches.apply(bump);
            }
            invalid_grant(text)
        }
        Outcome::Spent => invalid_grant(SPENT),
    }
}

/// Writes the trace of a refusal.
async fn settle(
    tx: &mut narthex_db::Tx,
    grant: &Grant,
    verdict: &Verdict,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<Outcome, Error> {
    match verdict {
        Verdict::Replay => {
            let bump = store::revoke(tx, grant.id, now).await?;
            Ok(Outcome::Refused(SPENT, Some(bump)))
        }
        Verdict::Deny(text) => {
            store::deny(tx, grant.id, attempt.number).await?;
            Ok(Outcome::Refused(text, None))
        }
        Verdict::Good | Verdict::Dead => Ok(Outcome::Refused(SPENT, None)),
    }
}

/// Spends the code of a grant that was judged good, if that is still possible.
async fn spend(
    core: &Core,
    environment: &Environment,
    grant: Grant,
    attempt: Attempt,
    refresh: Option<NewRefresh>,
    lasts: Lasts,
    is_application: bool,
) -> Result<(), TokenError> {
    let (environment, now, id, number) = (environment.id, core.clock.now(), grant.id, attempt.number);
    let outcome = core
        .db
        .write_checked(
            share(environment),
            async move |tx| {
                let sql = "SELECT id FROM grants WHERE id = $1 AND attempt = $2 AND denied = 0";
                Ok(tx.opt::<(i64,)>(sql, &narthex_db::p![id, number]).await?.is_some())
            },
            async move |tx| {
                let Authorization { subject, .. } = &grant.authorization;
                if !person::stands(tx, environment, subject).await? {
                    return Ok(Outcome::Refused("the user may not sign in any more", None));
                }
                let mut end = lasts.refresh;
                let mut entered = None;
                if let Subject::User { user, organization, session } = subject {
                    let live = sessions::live(tx, environment, *session, now).await?;
                    let Some(session) = live.filter(|session| session.user == *user) else {
                        return Ok(Outcome::Refused(SESSION, None));
                    };
                    end = Some(end.unwrap_or(session.expires_at).min(session.expires_at));
                    entered = is_application.then_some((session, *organization));
                }
                let refresh = refresh.as_ref().zip(end);
                let last = refresh.map_or(lasts.access, |(_, end)| end.max(lasts.access));
                let expires_at = last.max(grant.code_expires_at);
                if !store::spend(tx, id, &Spent { attempt: number, refresh, expires_at }).await? {
                    // It was spent or revoked since it was judged.
                    let Some(grant) = store::load(tx, environment, id).await? else {
                        return Ok(Outcome::Refused(SPENT, None));
                    };
                    return settle(tx, &grant, &judge(&grant, &attempt, now), &attempt, now).await;
                }
                if let Some((session, organization)) = &entered {
                    sessions::enter_client(tx, session, &grant.client_id, *organization, now).await?;
                }
                Ok::<_, Error>(Outcome::Spent)
            },
        )
        .await?;
    match outcome {
        Outcome::Spent => Ok(()),
        refusal @ Outcome::Refused(..) => Err(refused(core, refusal)),
    }
}
