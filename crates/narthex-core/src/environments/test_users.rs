//! Addresses of browser tests: they get no mail and have one code (login methods reference §14).

use std::sync::Arc;

use narthex_db::{Tx, p};

use crate::cache;
use crate::connections;
use crate::core::Core;
use crate::error::{Error, Kind, Result, Violation};
use crate::ids::EnvId;
use crate::organizations::share;
use crate::seal::{self, Place, Sealed};
use crate::users;

/// Characters of the code.
pub const CODE_LENGTH: u32 = 6;
/// The code until another is set.
pub const DEFAULT_CODE: &str = "424242";
/// What marks an address, in the part before the `@`.
const MARK: &str = "+sktest";

/// The test users of an environment.
#[derive(Clone, PartialEq, Eq)]
pub struct TestUsers {
    /// Whether they count.
    pub enabled: bool,
    /// Their code: whoever knows it signs in as one of them.
    pub code: String,
    /// Their addresses, in lower case.
    pub emails: Vec<String>,
}

impl Default for TestUsers {
    fn default() -> Self {
        Self { enabled: false, code: DEFAULT_CODE.to_owned(), emails: Vec::new() }
    }
}

impl TestUsers {
    /// The code of an address, if it is one of them and they count.
    pub fn code_of(&self, email: &str) -> Option<&str> {
        let key = users::key_of(email);
        (self.enabled && self.emails.contains(&key)).then_some(self.code.as_str())
    }
}

/// A change of [`TestUsers`]: what is None stays.
#[derive(Clone, Default)]
pub struct TestUsersChange {
    /// Whether they count.
    pub enabled: Option<bool>,
    /// Another code.
    pub code: Option<String>,
    /// Other addresses, in place of those that are there.
    pub emails: Option<Vec<String>>,
}

fn place(environment: EnvId) -> Place<'static> {
    Place { environment, table: "test_users", column: "code", row: environment.0 }
}

type Stored = (bool, Option<Sealed>, String);

async fn load(tx: &mut Tx, environment: EnvId) -> Result<Option<Stored>> {
    let sql = "SELECT enabled, code, emails FROM test_users WHERE environment_id = $1";
    Ok(tx.opt(sql, &p![environment]).await?)
}

async fn opened(core: &Core, environment: EnvId, stored: Option<Stored>) -> Result<TestUsers> {
    let Some((enabled, sealed, emails)) = stored else { return Ok(TestUsers::default()) };
    let number = match sealed {
        Some(sealed) => {
            let opened = seal::open(core, place(environment), &sealed).await?;
            String::from_utf8(opened.expose().clone()).map_err(Error::internal)?
        }
        None => DEFAULT_CODE.to_owned(),
    };
    let emails = serde_json::from_str(&emails).map_err(Error::internal)?;
    Ok(TestUsers { enabled, code: number, emails })
}

/// The test users of an environment.
pub async fn get(core: &Core, environment: EnvId) -> Result<Arc<TestUsers>> {
    let load = async {
        let stored = load(&mut *core.db.reader().await?, environment).await?;
        opened(core, environment, stored).await.map(Some)
    };
    Ok(core.caches.test_users.get(&environment, load).await?.unwrap_or_default())
}

/// Whether there are test users, within a transaction.
pub(crate) async fn are_enabled(tx: &mut Tx, environment: EnvId) -> Result<bool> {
    Ok(load(tx, environment).await?.is_some_and(|(enabled, ..)| enabled))
}

/// Changes the test users of an environment, all of it or nothing. Every address and the code that break a rule are INVALID_ARGUMENT, and
/// FAILED_PRECONDITION says that the environment's codes have another length than theirs.
pub async fn update(core: &Core, environment: EnvId, change: TestUsersChange) -> Result<TestUsers> {
    let mut broken = Vec::new();
    if let Some(code) = &change.code
        && !(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()))
    {
        let field = "test_user.static_confirmation_code";
        broken.push(Violation::new(field, "string.pattern", "must be exactly 6 digits"));
    }
    let emails = change.emails.as_ref().map(|emails| folded(emails, core.test_user_limit, &mut broken));
    if !broken.is_empty() {
        return Err(Error::violations(broken));
    }
    let emails = match emails {
        Some(emails) => Some(serde_json::to_string(&emails).map_err(Error::internal)?),
        None => None,
    };
    let sealed = match &change.code {
        Some(number) => Some(seal::seal(core, place(environment), number.as_bytes()).await?),
        None => None,
    };
    let (enabled, now) = (change.enabled, core.clock.now());
    let (stored, bump) = core
        .db
        .write_for(share(environment), async move |tx| {
            let (was_enabled, old_code, old_emails) =
                load(tx, environment).await?.unwrap_or_else(|| (false, None, "[]".to_owned()));
            let enabled = enabled.unwrap_or(was_enabled);
            if enabled && !was_enabled && connections::code_length(tx, environment).await?.is_some_and(|n| n != CODE_LENGTH) {
                return Err(Error::new(
                    Kind::FailedPrecondition,
                    "test users have a code of 6 digits, and the environment's codes have another length",
                ));
            }
            let sealed = sealed.clone().or(old_code);
            let emails = emails.clone().unwrap_or(old_emails);
            tx.execute(
                "INSERT INTO test_users (environment_id, enabled, code, emails, updated_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (environment_id) DO UPDATE SET enabled = $2, code = $3, emails = $4, updated_at = $5",
                &p![environment, enabled, &sealed, &emails, now],
            )
            .await?;
            Ok(((enabled, sealed, emails), cache::bump(tx, cache::ENVIRONMENTS).await?))
        })
        .await?;
    core.caches.apply(bump);
    opened(core, environment, Some(stored)).await
}

/// The addresses in their kept form, each once; what is wrong with them.
fn folded(emails: &[String], limit: usize, broken: &mut Vec<Violation>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for (i, email) in emails.iter().enumerate() {
        let field = format!("test_user.emails[{i}]");
        if let Some(violation) = users::validate_email(&field, email) {
            broken.push(violation);
        } else if !is_marked(email) {
            let text = format!("{email:?} must have {MARK} after the name, as in john{MARK}@acmecorp.com");
            broken.push(Violation::new(field, "test_user.marker", text));
        } else if !kept.contains(&users::key_of(email)) {
            kept.push(users::key_of(email));
        }
    }
    if kept.len() > limit {
        let text = format!("must be at most {limit} addresses");
        broken.push(Violation::new("test_user.emails", "repeated.max_items", text));
    }
    kept
}

/// Whether the mark follows a name and is followed by nothing else or by another `+`.
fn is_marked(email: &str) -> bool {
    let key = users::key_of(email);
    let local = key.rsplit_once('@').map_or("", |(local, _)| local);
    local.match_indices(MARK).any(|(at, _)| {
        let rest = &local[at + MARK.len()..];
        at > 0 && (rest.is_empty() || rest.starts_with('+'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tst_01_the_mark_follows_a_name_and_ends_a_word() {
        for good in [
            "john+sktest@acmecorp.com",
            "bob+sktest@anything.example",
            "JOHN+SkTest@acme.com",
            "a+x+sktest@b.c",
            "a+sktest+1@b.c",
        ] {
            assert!(is_marked(good), "{good}");
        }
        for bad in [
            "john@acmecorp.com",
            "john+test@acmecorp.com",
            "sktest+john@acmecorp.com",
            "+sktest@acmecorp.com",
            "john+sktests@acmecorp.com",
            "johnsktest@acmecorp.com",
            "john@acme+sktest.com",
        ] {
            assert!(!is_marked(bad), "{bad}");
        }
    }
}
