//! Proofs coming back. Each request is proven once; wrong codes are counted, and the counting is committed with the refusal.

use std::time::Duration;

use narthex_db::Tx;

use super::code;
use super::store::{self, Request};
use super::{Challenge, Outcome, Refusal};
use crate::auth_log;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::{Environment, test_users};
use crate::error::{Error, Result};
use crate::ids::{AuthRequestId, EnvId};
use crate::organizations::share;
use crate::seal::mac_key;

/// Wrong codes that close a request …
const WRONG_CODES: usize = 5;
/// … in so much time.
const WINDOW: Duration = Duration::from_mins(10);

/// Tries a code. The fifth wrong one within ten minutes closes the request for good.
pub async fn verify_code(core: &Core, environment: &Environment, id: &str, typed: &str) -> Result<Outcome> {
    let (key, env) = (mac_key(core, environment.id).await?, environment.id);
    loop {
        let found = store::load(&mut *core.db.reader().await?, env, id).await?;
        let Some(request) = found else { return Ok(Outcome::Refused(Refusal::Unknown)) };
        if !request.kind.has_code() {
            return Ok(Outcome::Refused(Refusal::NoCode));
        }
        let is_right = if request.suppressed {
            // Of an address that is no test user's any more, no code is right.
            let users = test_users::get(core, env).await?;
            users.code_of(&request.email).is_some_and(|code| code::is_code(typed, code))
        } else {
            let sent = code::code(&key, id, &request.seed, request.code_type, request.code_length);
            code::is_code(typed, sent.expose())
        };
        let (id, seed, line, now) = (id.to_owned(), request.seed, core.ids.next(), core.clock.now());
        let outcome = core
            .db
            .write_for(share(env), async move |tx| {
                let Some(mut request) = store::load(tx, env, &id).await? else {
                    return Ok(Some(Outcome::Refused(Refusal::Unknown)));
                };
                if request.seed != seed {
                    return Ok(None);
                }
                if let Some(refusal) = over(&request, now) {
                    return Ok(Some(Outcome::Refused(refusal)));
                }
                if is_right {
                    if request.suppressed {
                        let subject = request.subject();
                        auth_log::append(tx, env, &subject, line, auth_log::TEST_USER_VERIFIED, now).await?;
                    }
                    return used(tx, request, now).await.map(Some);
                }
                let since = now.0.saturating_sub(i64::try_from(WINDOW.as_micros()).unwrap_or(i64::MAX));
                request.wrong_codes.retain(|at| *at > since);
                request.wrong_codes.push(now.0);
                request.locked = request.wrong_codes.len() >= WRONG_CODES;
                store::tried(tx, &request).await?;
                Ok::<_, Error>(Some(Outcome::Refused(Refusal::WrongCode)))
            })
            .await?;
        // None: another mail with another code went out in this very moment.
        if let Some(outcome) = outcome {
            return Ok(outcome);
        }
    }
}

/// Tries a link by its token. `id` is the request that it was asked for with: given, it must be the link's own; where links must be opened
/// in the browser that asked for them, it must be given.
pub async fn verify_link(core: &Core, environment: &Environment, token: &str, id: Option<&str>) -> Result<Outcome> {
    let (env, now, hash) = (environment.id, core.clock.now(), code::link_hash(token));
    let id = id.map(str::to_owned);
    core.db
        .write_for(share(env), async move |tx| {
            let Some(request) = store::by_link(tx, env, &hash).await? else {
                return Ok(Outcome::Refused(Refusal::UnknownLink));
            };
            match &id {
                Some(id) if *id != request.id => return Ok(Outcome::Refused(Refusal::OtherRequest)),
                None if request.same_browser => return Ok(Outcome::Refused(Refusal::OtherBrowser)),
                _ => {}
            }
            match over(&request, now) {
                Some(refusal) => Ok(Outcome::Refused(refusal)),
                None => used(tx, request, now).await,
            }
        })
        .await
}

/// Why a request takes no proof any more.
fn over(request: &Request, now: Timestamp) -> Option<Refusal> {
    if request.locked {
        Some(Refusal::Locked)
    } else if request.used_at.is_some() {
        Some(Refusal::Used)
    } else if request.valid_until <= now {
        Some(Refusal::Expired)
    } else {
        None
    }
}

async fn used(tx: &mut Tx, mut request: Request, now: Timestamp) -> Result<Outcome> {
    request.used_at = Some(now);
    store::tried(tx, &request).await?;
    Ok(Outcome::Verified(request.verified()))
}

/// The login that a link can still prove an address for. Nothing is consumed.
pub async fn peek_link(core: &Core, environment: &Environment, token: &str) -> Result<Option<AuthRequestId>> {
    let (now, hash) = (core.clock.now(), code::link_hash(token));
    let found = store::by_link(&mut *core.db.reader().await?, environment.id, &hash).await?;
    Ok(found.filter(|request| over(request, now).is_none()).and_then(|request| request.login))
}

/// What is asked for by a request, and what came of it: None if there is no such request.
pub async fn describe(core: &Core, environment: EnvId, id: &str) -> Result<Option<(Challenge, Option<Refusal>)>> {
    let now = core.clock.now();
    let found = store::load(&mut *core.db.reader().await?, environment, id).await?;
    Ok(found.map(|request| (request.challenge(), over(&request, now))))
}
