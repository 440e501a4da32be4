//! Lists and searches of users, newest first: by id, which rises with time on every node.

use narthex_db::{Engine, Tx, p};

use super::read::with_ids;
use super::store::select;
use super::{NOUN, User, View, views};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::Result;
use crate::ids::{EnvId, OrganizationId, UserId};
use crate::organizations::{self, normalise};
use crate::pages::{Limits, Page, PageRequest, Position, Scope, edges};
use crate::trigrams::{self, Question};
use crate::{counters, memberships};

/// Page sizes of the lists.
pub const LIST: Limits = Limits { default: 10, max: 100 };
/// Page sizes of the searches.
pub const SEARCH: Limits = Limits { default: 10, max: 30 };

/// Where the counting of hits stops.
const MOST_HITS: i64 = 10_000;
/// Characters of a trigram: a shorter query cannot use the index.
const TRIGRAM: usize = 3;
/// Members of an organization that a search in it reads one by one. Of a larger one, the index is asked first.
const SCANNED: u64 = 20_000;

/// Users of an environment.
pub async fn list(core: &Core, environment: EnvId, request: &PageRequest) -> Result<Page<View>> {
    let scope = Scope::new(environment, "users", "");
    let (size, now) = (LIST.size(request.size), core.clock.now());
    let position = scope.position(&request.token, size)?;
    core.db
        .read(async move |tx| {
            let total = counters::total(tx, environment, NOUN).await?;
            let rows = Rows { environment, organization: None, query: None, source: Source::Table };
            rows.page(tx, &scope, position, size, total, now).await
        })
        .await
}

/// Users with a membership of any state in an organization, and only that one of their memberships.
pub async fn list_of_organization(
    core: &Core,
    environment: EnvId,
    organization: OrganizationId,
    request: &PageRequest,
) -> Result<Page<View>> {
    let scope = Scope::new(environment, "organization.users", &organization.to_string());
    let (size, now) = (LIST.size(request.size), core.clock.now());
    let position = scope.position(&request.token, size)?;
    core.db
        .read(async move |tx| {
            exists(tx, environment, organization).await?;
            let total = memberships::count(tx, organization).await?;
            let rows = Rows { environment, organization: Some(organization), query: None, source: Source::Table };
            rows.page(tx, &scope, position, size, total, now).await
        })
        .await
}

/// Users whose address, id or external id contains `query` (3 to 100 characters, checked at the edge), in any case; all of an
/// environment, or those of one organization.
pub async fn search(
    core: &Core,
    environment: EnvId,
    organization: Option<OrganizationId>,
    query: &str,
    request: &PageRequest,
) -> Result<Page<View>> {
    let query = normalise(query);
    let filter = organization.map(|id| format!("{id}\n")).unwrap_or_default() + &query;
    let scope = Scope::new(environment, "users.search", &filter);
    let (size, now) = (SEARCH.size(request.size), core.clock.now());
    let position = scope.position(&request.token, size)?;
    core.db
        .read(async move |tx| {
            tx.plan_for_values().await?;
            let mut is_read_through = false;
            if let Some(organization) = organization {
                exists(tx, environment, organization).await?;
                if memberships::count(tx, organization).await? <= SCANNED {
                    is_read_through = true;
                }
            }
            let source = if is_read_through || query.chars().count() < TRIGRAM {
                Source::Table
            } else {
                match tx.engine() {
                    Engine::Sqlite => Source::Trigrams(trigrams::question(tx, "user_search", &query).await?),
                    Engine::Postgres => Source::Index,
                }
            };
            let rows = Rows { environment, organization, query: Some(query.clone()), source };
            let total = rows.total(tx).await?;
            rows.page(tx, &scope, position, size, total, now).await
        })
        .await
}

async fn exists(tx: &mut Tx, environment: EnvId, organization: OrganizationId) -> Result<()> {
    let id = organizations::Identity::Id(organization);
    organizations::load(tx, environment, &id).await?.ok_or_else(organizations::not_found)?;
    Ok(())
}

/// Where hits are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// In the rows themselves, in their order.
    Table,
    /// In SQLite's index of trigrams, and in the rows that it does not know yet.
    Trigrams(Question),
    /// In PostgreSQL's, which is part of the table.
    Index,
}

/// The users that a list shows.
struct Rows {
    environment: EnvId,
    organization: Option<OrganizationId>,
    query: Option<String>,
    source: Source,
}

impl Rows {
    async fn page(
        &self,
        tx: &mut Tx,
        scope: &Scope,
        position: Position,
        size: usize,
        total: u64,
        now: Timestamp,
    ) -> Result<Page<View>> {
        let (bound, offset) = position.bound();
        // Hits may come from two places, so an offset is skipped after they are merged.
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut found = self.near(tx, position.is_backward(), bound, skip.saturating_add(size + 1)).await?;
        found.drain(..skip.min(found.len()));
        let shown = &found[..found.len().min(size)];
        let (first, last) = (shown.first().copied(), shown.last().copied());
        let beyond = match position {
            Position::Start => false,
            Position::Offset(_) => true,
            Position::After(_) => !self.near(tx, true, edges(position, first, last).0, 1).await?.is_empty(),
            // Rows were read upwards: the first one read is the last one shown.
            Position::Before(_) => !self.near(tx, false, edges(position, last, first).1, 1).await?.is_empty(),
        };
        let page = scope.page(position, size, found, |id| *id, beyond, total);
        let Page { items, next, prev, total } = page;
        let ids: Vec<UserId> = items.into_iter().map(UserId).collect();
        let items = self.load(tx, &ids, now).await?;
        Ok(Page { items, next, prev, total })
    }

    async fn load(&self, tx: &mut Tx, ids: &[UserId], now: Timestamp) -> Result<Vec<View>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "{} AND u.id IN {} ORDER BY u.id DESC",
            select!("FROM users u WHERE u.environment_id = $1"),
            super::list_of(2, ids.len())
        );
        let users: Vec<User> = tx.all(&sql, &with_ids(p![self.environment].to_vec(), ids)).await?;
        views(tx, self.environment, users, self.organization, now).await
    }

    /// Up to `limit` users above or below an id, nearest first.
    async fn near(&self, tx: &mut Tx, upwards: bool, bound: i64, limit: usize) -> Result<Vec<i64>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (compare, order) = if upwards { (">", "ASC") } else { ("<", "DESC") };
        let mut ids = Vec::new();
        for Part { select, id, from, filter, query, text } in self.parts(tx.engine()) {
            let mut params = self.params(query, text);
            let (b, l) = (params.len() + 1, params.len() + 2);
            params.extend(p![bound, limit]);
            let sql = format!(
                "SELECT {select} {from} WHERE {filter} AND {id} {compare} ${b} ORDER BY {id} {order} LIMIT ${l}"
            );
            ids.extend(tx.all::<(i64,)>(&sql, &params).await?.into_iter().map(|(id,)| id));
        }
        ids.sort_unstable();
        if !upwards {
            ids.reverse();
        }
        ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(ids)
    }

    /// All hits, as far as 10,000.
    async fn total(&self, tx: &mut Tx) -> Result<u64> {
        let mut total = 0;
        for Part { from, filter, query, text, .. } in self.parts(tx.engine()) {
            let mut params = self.params(query, text);
            params.extend(p![MOST_HITS]);
            let limit = params.len();
            let sql = format!("SELECT COUNT(*) FROM (SELECT 1 {from} WHERE {filter} LIMIT ${limit}) h");
            let (count,): (i64,) = tx.one(&sql, &params).await?;
            total += count;
        }
        Ok(u64::try_from(total.min(MOST_HITS)).unwrap_or(0))
    }

    /// Environment, then query, organization and text where there are any.
    fn params(&self, query: Option<String>, text: Option<String>) -> Vec<narthex_db::Value> {
        let mut params = p![self.environment].to_vec();
        params.extend(query.map(Into::into));
        params.extend(self.organization.map(Into::into));
        params.extend(text.map(Into::into));
        params
    }

    /// The queries that together find every row once.
    fn parts(&self, engine: Engine) -> Vec<Part> {
        let member = if self.query.is_some() { "$3" } else { "$2" };
        let Some(query) = &self.query else {
            return match self.organization {
                None => vec![Part::new("u.id", "FROM users u", "u.environment_id = $1", None)],
                Some(_) => vec![Part::new(
                    "m.user_id",
                    "FROM memberships m",
                    format!("m.environment_id = $1 AND m.organization_id = {member}"),
                    None,
                )],
            };
        };
        let contains = match engine {
            Engine::Sqlite => "instr(u.search_text, $2) > 0",
            Engine::Postgres => "strpos(u.search_text, $2) > 0",
        };
        let of_organization = match self.organization {
            None => String::new(),
            Some(_) => format!(
                " AND EXISTS (SELECT 1 FROM memberships m WHERE m.organization_id = {member} AND m.user_id = u.id)"
            ),
        };
        match &self.source {
            Source::Table if self.organization.is_some() => vec![Part::new(
                "m.user_id",
                "FROM memberships m JOIN users u ON u.id = m.user_id",
                format!("m.organization_id = {member} AND u.environment_id = $1 AND {contains}"),
                Some(query.clone()),
            )],
            Source::Table => {
                vec![Part::new(
                    "u.id",
                    "FROM users u",
                    format!("u.environment_id = $1 AND {contains}"),
                    Some(query.clone()),
                )]
            }
            Source::Trigrams(Question { expression, is_exact }) => vec![
                Part {
                    // Without a look at the rows, all that is asked of them is in their index.
                    from: if *is_exact {
                        "FROM user_search s CROSS JOIN users u INDEXED BY users_environment ON u.id = s.rowid"
                    } else {
                        "FROM user_search s CROSS JOIN users u ON u.id = s.rowid"
                    },
                    text: (!is_exact).then(|| query.clone()),
                    ..Part::new(
                        "s.rowid",
                        "",
                        format!(
                            "s.text MATCH $2 AND u.environment_id = $1{} AND NOT EXISTS \
                             (SELECT 1 FROM user_search_pending p WHERE p.user_id = u.id){of_organization}",
                            match (is_exact, self.organization) {
                                (true, _) => "",
                                (false, None) => " AND instr(u.search_text, $3) > 0",
                                (false, Some(_)) => " AND instr(u.search_text, $4) > 0",
                            }
                        ),
                        Some(expression.clone()),
                    )
                },
                Part::new(
                    "u.id",
                    "FROM user_search_pending p CROSS JOIN users u ON u.id = p.user_id",
                    format!("{contains} AND u.environment_id = $1{of_organization}"),
                    Some(query.clone()),
                ),
            ],
            Source::Index => vec![Part::new(
                "u.id",
                "FROM users u",
                format!("u.environment_id = $1 AND u.search_text LIKE $2{of_organization}"),
                Some(pattern(query)),
            )],
        }
    }
}

/// One query.
struct Part {
    select: &'static str,
    /// The column with the user's id, which is also the order.
    id: &'static str,
    from: &'static str,
    filter: String,
    /// How this part spells the query.
    query: Option<String>,
    /// What is looked for in the rows besides.
    text: Option<String>,
}

impl Part {
    fn new(id: &'static str, from: &'static str, filter: impl Into<String>, query: Option<String>) -> Self {
        Self { select: id, id, from, filter: filter.into(), query, text: None }
    }
}

/// The query as a LIKE pattern, the only form that pg_trgm's index answers.
fn pattern(query: &str) -> String {
    let mut pattern = String::with_capacity(query.len() + 2);
    pattern.push('%');
    for c in query.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
