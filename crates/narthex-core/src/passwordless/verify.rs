//! Proofs coming back. Each request is proven once; wrong codes are counted, and the counting is committed with the refusal.

use std::sync::Arc;
use std::time::Duration;

use narthex_db::Tx;

use super::code;
use super::store::{self, Request};
use super::{Challenge, Outcome, Refusal};
use crate::auth_log;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::environments::test_users::{self, TestUsers};
use crate::error::Result;
use crate::ids::{AuthRequestId, EnvId};
use crate::organizations::share;
use crate::seal::{MacKey, Secret, mac_key};

/// Wrong codes that close a request …
const WRONG_CODES: usize = 5;
/// … in so much time.
const WINDOW: Duration = Duration::from_mins(10);

/// A code or link that has come back, with what it takes to judge it. Judging and spending it is a part of the transaction of whatever it
/// lets happen: if that fails, it has not been used.
pub(crate) struct Attempt {
    environment: EnvId,
    now: Timestamp,
    given: Given,
}

enum Given {
    Code { id: String, typed: Secret<String>, key: Arc<MacKey>, test_users: Arc<TestUsers>, line: i64 },
    Link { hash: [u8; 32], id: Option<String> },
}

impl Attempt {
    /// With a code. The fifth wrong one within ten minutes closes the request for good.
    pub(crate) async fn by_code(core: &Core, environment: &Environment, id: &str, typed: &str) -> Result<Self> {
        let given = Given::Code {
            id: id.to_owned(),
            typed: Secret::new(typed.to_owned()),
            key: mac_key(core, environment.id).await?,
            test_users: test_users::get(core, environment.id).await?,
            line: core.ids.next(),
        };
        Ok(Self { environment: environment.id, now: core.clock.now(), given })
    }

    /// With a link, by its token. `id` is the request that it was asked for with: given, it must be the link's own; where links must be
    /// opened in the browser that asked for them, it must be given.
    pub(crate) fn by_link(core: &Core, environment: &Environment, token: &str, id: Option<&str>) -> Self {
        let given = Given::Link { hash: code::link_hash(token), id: id.map(str::to_owned) };
        Self { environment: environment.id, now: core.clock.now(), given }
    }

    /// Judges it. What proves the address is used up, and what does not is counted, when the transaction commits.
    pub(crate) async fn take(&self, tx: &mut Tx) -> Result<Outcome> {
        match &self.given {
            Given::Code { id, typed, key, test_users, line } => {
                let Some(mut request) = store::load(tx, self.environment, id).await? else {
                    return Ok(Outcome::Refused(Refusal::Unknown));
                };
                if !request.kind.has_code() {
                    return Ok(Outcome::Refused(Refusal::NoCode));
                }
                if let Some(refusal) = over(&request, self.now) {
                    return Ok(Outcome::Refused(refusal));
                }
                if is_right(&request, typed.expose(), key, test_users) {
                    if request.suppressed {
                        let (subject, what) = (request.subject(), auth_log::TEST_USER_VERIFIED);
                        auth_log::append(tx, self.environment, &subject, *line, what, self.now).await?;
                    }
                    return used(tx, request, self.now).await;
                }
                let since = self.now.0.saturating_sub(i64::try_from(WINDOW.as_micros()).unwrap_or(i64::MAX));
                request.wrong_codes.retain(|at| *at > since);
                request.wrong_codes.push(self.now.0);
                request.locked = request.wrong_codes.len() >= WRONG_CODES;
                store::tried(tx, &request).await?;
                Ok(Outcome::Refused(Refusal::WrongCode))
            }
            Given::Link { hash, id } => {
                let Some(request) = store::by_link(tx, self.environment, hash).await? else {
                    return Ok(Outcome::Refused(Refusal::UnknownLink));
                };
                match id {
                    Some(id) if *id != request.id => return Ok(Outcome::Refused(Refusal::OtherRequest)),
                    None if request.same_browser => return Ok(Outcome::Refused(Refusal::OtherBrowser)),
                    _ => {}
                }
                match over(&request, self.now) {
                    Some(refusal) => Ok(Outcome::Refused(refusal)),
                    None => used(tx, request, self.now).await,
                }
            }
        }
    }

    async fn alone(self, core: &Core) -> Result<Outcome> {
        let share = share(self.environment);
        let attempt = Arc::new(self);
        core.db.write_for(share, async move |tx| attempt.take(tx).await).await
    }
}

/// Tries a code for nothing but the proof: [`Attempt::by_code`].
pub async fn verify_code(core: &Core, environment: &Environment, id: &str, typed: &str) -> Result<Outcome> {
    Attempt::by_code(core, environment, id, typed).await?.alone(core).await
}

/// Tries a link for nothing but the proof: [`Attempt::by_link`].
pub async fn verify_link(core: &Core, environment: &Environment, token: &str, id: Option<&str>) -> Result<Outcome> {
    Attempt::by_link(core, environment, token, id).alone(core).await
}

/// Judged by the row that the transaction has read, since another mail may bring another code at any moment.
fn is_right(request: &Request, typed: &str, key: &MacKey, test_users: &TestUsers) -> bool {
    if request.suppressed {
        // Of an address that is no test user's any more, no code is right.
        return test_users.code_of(&request.email).is_some_and(|code| code::is_code(typed, code));
    }
    let sent = code::code(key, &request.id, &request.seed, request.code_type, request.code_length);
    code::is_code(typed, sent.expose())
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
