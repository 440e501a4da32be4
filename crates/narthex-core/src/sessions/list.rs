//! Reading users' sessions.

use narthex_db::{Value, p};

use super::details::{COLUMNS, Details, Status, Stored, load};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EnvId, SessionId, UserId};
use crate::listing::Rows;
use crate::pages::{Limits, Page, PageRequest, Scope};
use crate::users;

/// Page sizes of a user's sessions.
pub const LIST: Limits = Limits { default: 10, max: 30 };

/// Which sessions of a user are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// With any of these; with any at all if there is none.
    pub statuses: Vec<Status>,
    /// Opened at this time or later.
    pub from: Option<Timestamp>,
    /// Opened at this time or before (oauth-oidc reference OP-22).
    pub to: Option<Timestamp>,
}

/// A user's session of the environment, live or not; of one user, if one is named.
pub async fn of_browser(core: &Core, environment: EnvId, id: SessionId, owner: Option<UserId>) -> Result<Details> {
    let stored = load(&mut *core.db.reader().await?, environment, id).await?;
    let stored = stored.filter(|session| owner.is_none_or(|owner| owner == session.user));
    Ok(stored.ok_or_else(|| Error::not_found(SessionId::NOUN))?.at(core.clock.now()))
}

/// The sessions of a user, newest first. NOT_FOUND if the environment has no such user.
pub async fn list(
    core: &Core,
    environment: EnvId,
    user: UserId,
    filter: Filter,
    asked: &PageRequest,
) -> Result<Page<Details>> {
    let now = core.clock.now();
    let scope = Scope::new(environment, "sessions", &format!("{user} {filter:?}"));
    let size = LIST.size(asked.size);
    let position = scope.position(&asked.token, size)?;
    let mut values = p![environment, user].to_vec();
    let from = condition(&filter, now, &mut values);
    core.db
        .read(async move |tx| {
            users::load(tx, environment, &users::Identity::Id(user)).await?.ok_or_else(users::not_found)?;
            let rows = Rows { columns: COLUMNS, from: &from, key: "id", values: values.clone() };
            let page: Page<Stored> = rows.page(tx, &scope, position, size, |session: &Stored| session.id.0).await?;
            let items = page.items.into_iter().map(|session| session.at(now)).collect();
            Ok(Page { items, next: page.next, prev: page.prev, total: page.total })
        })
        .await
}

/// Table and condition of a filter; its values come after the two that are there.
fn condition(filter: &Filter, now: Timestamp, values: &mut Vec<Value>) -> String {
    let mut sql = "sessions WHERE environment_id = $1 AND user_id = $2 AND kind = 1".to_owned();
    let mut add = |text: &str, value: Timestamp| {
        values.push(Value::from(value));
        sql.push_str(&text.replace("$n", &format!("${}", values.len())));
    };
    if let Some(from) = filter.from {
        add(" AND created_at >= $n", from);
    }
    if let Some(to) = filter.to {
        add(" AND created_at <= $n", to);
    }
    if !filter.statuses.is_empty() {
        let statuses: Vec<&str> = filter.statuses.iter().map(|status| of_status(*status)).collect();
        let either = format!(" AND ({})", statuses.join(" OR "));
        // A value that no condition names would be refused.
        if either.contains("$n") { add(&either, now) } else { sql.push_str(&either) }
    }
    sql
}

/// The condition of a status at the time `$n`.
const fn of_status(status: Status) -> &'static str {
    match status {
        Status::Active => {
            "(revoked_at IS NULL AND expires_at > $n AND (idle_expires_at IS NULL OR idle_expires_at > $n))"
        }
        // By itself, or as its row says.
        Status::Expired => {
            "((revoked_at IS NULL AND (expires_at <= $n OR idle_expires_at <= $n)) OR (revoked_at IS NOT NULL AND ended_as = 3))"
        }
        Status::Revoked => "(revoked_at IS NOT NULL AND ended_as < 2)",
        Status::LoggedOut => "(revoked_at IS NOT NULL AND ended_as = 2)",
    }
}
