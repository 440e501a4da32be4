//! Sending codes and links, and sending them again.

use std::sync::Arc;

use super::code::{self, Seed};
use super::store::{self, Request};
use super::{Begin, Challenge, Delivery, Headless, Purpose, Refusal, sends};
use crate::auth_log;
use crate::connections::{self, Connection, PasswordlessConfig};
use crate::core::Core;
use crate::emails;
use crate::environments::{Environment, test_users};
use crate::error::{Error, Kind, Result, Violation};
use crate::ids::EnvId;
use crate::organizations::share;
use crate::seal::{MacKey, Secret, mac_key};
use crate::users;

/// Characters of a request's id: about 190 bits.
const ID: usize = 32;
/// Longest life of a code or link that an application may ask for, in seconds (login methods reference, open point 2).
const LONGEST: u32 = 86_400;

/// Sends a code, a link or both to an address, whether or not it is anybody's.
///
/// FAILED_PRECONDITION: the environment's connection for them is not enabled. INVALID_ARGUMENT names what is wrong with the request.
/// RESOURCE_EXHAUSTED: two mails have gone to the address within the minute. If the mail cannot be sent, the error says so and nothing is
/// left of the request.
pub async fn begin(core: &Core, environment: &Environment, begin: Begin) -> Result<Challenge> {
    let connection = enabled(core, environment.id).await?;
    let config = &connection.config;
    check(&begin, config.delivery)?;
    let key = mac_key(core, environment.id).await?;
    let (now, id, seed) = (core.clock.now(), core.random.base62(ID), core.random.bytes());
    let suppressed = is_suppressed(core, environment.id, config, &begin.email).await?;
    let Begin { email, intent, purpose } = begin;
    let (auth_request, link_base, headless) = match purpose {
        Purpose::Hosted { auth_request, link_base } => (Some(auth_request), Some(link_base), Headless::default()),
        Purpose::Headless(mut headless) => (None, headless.magiclink_auth_uri.take(), headless),
    };
    let lifetime = headless.expires_in.filter(|seconds| *seconds != 0).unwrap_or(config.validity);
    let request = Arc::new(Request {
        link_hash: link_hash(&key, &id, &seed, config.delivery),
        id,
        environment: environment.id,
        login: auth_request,
        email,
        kind: config.delivery,
        intent,
        template: headless.template,
        state: headless.state,
        link_base: link_base.filter(|_| config.delivery.has_link()),
        variables: headless.variables,
        lifetime,
        code_length: config.code_challenge_length,
        code_type: config.code_challenge_type,
        same_browser: config.enforce_same_browser_origin,
        suppressed,
        seed,
        wrong_codes: Vec::new(),
        locked: false,
        used_at: None,
        valid_until: now.plus_seconds(lifetime),
        created_at: now,
    });
    let (new, number) = (Arc::clone(&request), core.ids.next());
    core.db
        .write_for(share(environment.id), async move |tx| {
            store::insert(tx, &new).await?;
            if new.suppressed {
                auth_log::append(tx, new.environment, &new.subject(), number, auth_log::MAIL_SUPPRESSED, now).await
            } else {
                sends::count(tx, new.environment, &new.email, number, now).await
            }
        })
        .await?;
    if !suppressed && let Err(error) = mail(core, environment, &request, &key).await {
        let id = request.id.clone();
        let undone = core
            .db
            .write_for(share(environment.id), async move |tx| {
                store::delete(tx, &id).await?;
                sends::take_back(tx, number).await
            })
            .await;
        return Err(failed(error, undone));
    }
    Ok(request.challenge())
}

/// Sends it again, for as long as at first: the same code and link, or new ones where the environment wants that or the old ones have
/// expired. If the mail cannot be sent, everything stays as it was.
pub async fn resend(core: &Core, environment: &Environment, id: &str) -> Result<Challenge> {
    let connection = enabled(core, environment.id).await?;
    let key = mac_key(core, environment.id).await?;
    let env = environment.id;
    let (before, after, number) = loop {
        let now = core.clock.now();
        let found = store::load(&mut *core.db.reader().await?, env, id).await?;
        let Some(before) = found else { return Err(Refusal::Unknown.into()) };
        let fresh = connection.config.regenerate_on_resend || before.valid_until <= now;
        let seed: Seed = if fresh { core.random.bytes() } else { before.seed };
        let after = Request {
            suppressed: is_suppressed(core, env, &connection.config, &before.email).await? && before.kind.has_code(),
            link_hash: link_hash(&key, id, &seed, before.kind),
            seed,
            valid_until: now.plus_seconds(before.lifetime),
            ..before.clone()
        };
        let (old, new, number) = (before.seed, Arc::new(after.clone()), core.ids.next());
        let written = core
            .db
            .write_for(share(env), async move |tx| {
                let Some(current) = store::load(tx, env, &new.id).await? else { return Err(Refusal::Unknown.into()) };
                if current.locked {
                    return Err(Refusal::Locked.into());
                }
                if current.used_at.is_some() {
                    return Err(Refusal::Used.into());
                }
                if current.seed != old {
                    return Ok(false);
                }
                store::sent_again(tx, &new).await?;
                if new.suppressed {
                    auth_log::append(tx, env, &new.subject(), number, auth_log::MAIL_SUPPRESSED, now).await?;
                } else {
                    sends::count(tx, env, &new.email, number, now).await?;
                }
                Ok::<_, Error>(true)
            })
            .await?;
        // Somebody else has sent it again in this very moment.
        if written {
            break (before, after, number);
        }
    };
    if !after.suppressed
        && let Err(error) = mail(core, environment, &after, &key).await
    {
        let new = after.seed;
        let undone = core
            .db
            .write_for(share(env), async move |tx| {
                sends::take_back(tx, number).await?;
                match store::load(tx, env, &before.id).await? {
                    Some(current) if current.seed == new => store::sent_again(tx, &before).await,
                    _ => Ok(()),
                }
            })
            .await;
        return Err(failed(error, undone));
    }
    Ok(after.challenge())
}

/// The error of a mail that was not sent. If what it leaves behind cannot be removed, nobody has its code, and it expires.
fn failed(error: Error, undone: Result<()>) -> Error {
    if let Err(undone) = undone {
        tracing::warn!(error = ?undone, "a request for a code stays although its mail was not sent");
    }
    error
}

/// The environment's connection for codes and links.
async fn enabled(core: &Core, environment: EnvId) -> Result<Arc<Connection<PasswordlessConfig>>> {
    let connection = connections::passwordless(core, environment).await?;
    connection.filter(|connection| connection.enabled).ok_or_else(|| {
        Error::new(Kind::FailedPrecondition, "codes and links by mail are not enabled in this environment")
    })
}

/// What is wrong with a request.
fn check(begin: &Begin, kind: Delivery) -> Result<()> {
    let mut broken = Vec::new();
    // The contract bounds an application's addresses more widely than those of users are.
    let email = users::validate_email("email", &begin.email);
    broken.extend(email.filter(|violation| violation.constraint != "string.max_len"));
    if let Purpose::Headless(headless) = &begin.purpose {
        match &headless.magiclink_auth_uri {
            _ if !kind.has_link() => {}
            None => {
                let text = "is required where the environment sends links";
                broken.push(Violation::new("magiclink_auth_uri", "required", text));
            }
            Some(uri) if !is_page(uri) => {
                let text = "must be an absolute http or https address";
                broken.push(Violation::new("magiclink_auth_uri", "string.uri", text));
            }
            Some(_) => {}
        }
        if headless.expires_in.is_some_and(|seconds| seconds > LONGEST) {
            broken.push(Violation::new("expires_in", "uint32.lte", format!("must be at most {LONGEST} seconds")));
        }
        for name in emails::RESERVED.iter().filter(|name| headless.variables.contains_key(**name)) {
            let text = "is set by the product and cannot be given";
            broken.push(Violation::new(format!("template_variables[\"{name}\"]"), "template_variables.reserved", text));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
}

/// Whether an address can be that of a page: a link in a mail leads there.
fn is_page(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    is_web && !authority.is_empty() && uri.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\'))
}

/// Whether an address gets no mail but the code of test users, who exist only where there are codes of their length.
async fn is_suppressed(core: &Core, environment: EnvId, config: &PasswordlessConfig, email: &str) -> Result<bool> {
    if !config.delivery.has_code() || config.code_challenge_length != test_users::CODE_LENGTH {
        return Ok(false);
    }
    Ok(test_users::get(core, environment).await?.code_of(email).is_some())
}

fn link_hash(key: &MacKey, id: &str, seed: &Seed, kind: Delivery) -> Option<[u8; 32]> {
    kind.has_link().then(|| code::link_hash(code::link_token(key, id, seed).expose()))
}

/// Writes the mail and sends it.
async fn mail(core: &Core, environment: &Environment, request: &Request, key: &MacKey) -> Result<()> {
    let otp = request
        .kind
        .has_code()
        .then(|| code::code(key, &request.id, &request.seed, request.code_type, request.code_length));
    let link = request.link_base.as_deref().map(|base| {
        let token = code::link_token(key, &request.id, &request.seed);
        match request.login {
            Some(_) => Secret::new(format!("{base}{}", token.expose())),
            None => Secret::new(code::link_to(base, token.expose())),
        }
    });
    super::mail::send(core, environment, request, otp, link).await
}
