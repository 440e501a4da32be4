//! Lists and searches, newest first.
//!
//! The order is that of the ids, which rise with time on every node; `create_time` comes from the same moment. One key is enough,
//! cannot tie, and is the order of the search index too.

use narthex_db::{Engine, Tx, p};

use super::search::normalise;
use super::store::{self, select};
use super::{Identity, Organization};
use crate::core::Core;
use crate::counters;
use crate::error::Result;
use crate::ids::EnvId;
use crate::pages::{Limits, Page, PageRequest, Position, Scope, edges};
use crate::trigrams;

/// Page sizes of the list.
pub const LIST: Limits = Limits { default: 10, max: 100 };
/// Page sizes of the search.
pub const SEARCH: Limits = Limits { default: 10, max: 30 };

/// Where the counting of hits stops.
const MOST_HITS: i64 = 10_000;
/// Characters of a trigram: a shorter query cannot use the index.
const TRIGRAM: usize = 3;

/// Organizations of an environment; with `external_id`, the one that has it.
pub async fn list(
    core: &Core,
    environment: EnvId,
    request: &PageRequest,
    external_id: Option<&str>,
) -> Result<Page<Organization>> {
    let external_id = external_id.filter(|external_id| !external_id.is_empty()).map(str::to_owned);
    let scope = Scope::new(environment, "organizations", external_id.as_deref().unwrap_or_default());
    let size = LIST.size(request.size);
    let position = scope.position(&request.token, size)?;
    core.db
        .read(async move |tx| match &external_id {
            Some(external_id) => one(tx, environment, &scope, position, size, external_id).await,
            None => page(tx, environment, &scope, position, size).await,
        })
        .await
}

async fn page(
    tx: &mut Tx,
    environment: EnvId,
    scope: &Scope,
    position: Position,
    size: usize,
) -> Result<Page<Organization>> {
    let sql = if position.is_backward() {
        select!("FROM organizations o WHERE o.environment_id = $1 AND o.id > $2 ORDER BY o.id LIMIT $3 OFFSET $4")
    } else {
        select!("FROM organizations o WHERE o.environment_id = $1 AND o.id < $2 ORDER BY o.id DESC LIMIT $3 OFFSET $4")
    };
    let (bound, offset) = position.bound();
    let rows: Vec<Organization> = tx.all(sql, &p![environment, bound, one_more(size), offset]).await?;
    let total = counters::total(tx, environment, super::change::NOUN).await?;
    let beyond = match position {
        Position::Start => false,
        Position::Offset(_) => true,
        Position::After(_) | Position::Before(_) => {
            let shown = &rows[..rows.len().min(size)];
            let (first, last) = (shown.first().map(|row| row.id.0), shown.last().map(|row| row.id.0));
            let (edge, sql) = if position.is_backward() {
                // Rows were read upwards: the first one read is the last one shown.
                (
                    edges(position, last, first).1,
                    "SELECT id FROM organizations WHERE environment_id = $1 AND id < $2 LIMIT 1",
                )
            } else {
                (
                    edges(position, first, last).0,
                    "SELECT id FROM organizations WHERE environment_id = $1 AND id > $2 LIMIT 1",
                )
            };
            tx.opt::<(i64,)>(sql, &p![environment, edge]).await?.is_some()
        }
    };
    Ok(scope.page(position, size, rows, |row| row.id.0, beyond, total))
}

/// The list filtered by an external id: at most one row, so no page before or after it.
async fn one(
    tx: &mut Tx,
    environment: EnvId,
    scope: &Scope,
    position: Position,
    size: usize,
    external_id: &str,
) -> Result<Page<Organization>> {
    let found = store::load(tx, environment, &Identity::ExternalId(external_id.to_owned())).await?;
    let total = u64::from(found.is_some());
    let (bound, offset) = position.bound();
    let rows: Vec<Organization> = found
        .into_iter()
        .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        .filter(|row| if position.is_backward() { row.id.0 > bound } else { row.id.0 < bound })
        .collect();
    Ok(scope.page(position, size, rows, |row| row.id.0, false, total))
}

fn one_more(size: usize) -> i64 {
    i64::try_from(size + 1).unwrap_or(i64::MAX)
}

/// Hits among the rows that SQLite's index is up to date with.
macro_rules! indexed {
    ($select:literal, $bound:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM organization_search s CROSS JOIN organizations o ON o.id = s.rowid WHERE s.text MATCH $2 \
             AND instr(o.search_text, $3) > 0 AND ",
            $bound,
            " AND o.environment_id = $1 AND NOT EXISTS \
             (SELECT 1 FROM organization_search_pending p WHERE p.organization_id = o.id) ",
            $rest
        )
    };
}

/// Hits among the others, read one by one.
macro_rules! pending {
    ($select:literal, $bound:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM organization_search_pending p CROSS JOIN organizations o ON o.id = p.organization_id \
             WHERE instr(o.search_text, $2) > 0 AND ",
            $bound,
            " AND o.environment_id = $1 ",
            $rest
        )
    };
}

/// Organizations whose name, id or external id contains `query` (3 to 100 characters, checked at the edge), in any case.
pub async fn search(core: &Core, environment: EnvId, query: &str, request: &PageRequest) -> Result<Page<Organization>> {
    let query = normalise(query);
    let scope = Scope::new(environment, "organizations.search", &query);
    let size = SEARCH.size(request.size);
    let position = scope.position(&request.token, size)?;
    core.db
        .read(async move |tx| {
            tx.plan_for_values().await?;
            let mut hits = Hits { environment, query: &query, expression: String::new() };
            if tx.engine() == Engine::Sqlite && !hits.is_short() {
                hits.expression = trigrams::question(tx, "organization_search", &query).await?.expression;
            }
            let (bound, offset) = position.bound();
            // Hits come from two places in SQLite, so an offset is skipped after they are merged.
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            let mut found = hits.near(tx, position.is_backward(), bound, skip.saturating_add(size + 1)).await?;
            found.drain(..skip.min(found.len()));
            let shown = &found[..found.len().min(size)];
            let (first, last) = (shown.first().copied(), shown.last().copied());
            let beyond = match position {
                Position::Start => false,
                Position::Offset(_) => true,
                Position::After(_) => {
                    let (edge, _) = edges(position, first, last);
                    !hits.near(tx, true, edge, 1).await?.is_empty()
                }
                Position::Before(_) => {
                    let (_, edge) = edges(position, last, first);
                    !hits.near(tx, false, edge, 1).await?.is_empty()
                }
            };
            let total = hits.total(tx).await?;
            let mut rows = Vec::with_capacity(found.len());
            for id in found {
                let sql = select!("FROM organizations o WHERE o.id = $2 AND o.environment_id = $1");
                rows.extend(tx.opt::<Organization>(sql, &p![environment, id]).await?);
            }
            Ok(scope.page(position, size, rows, |row| row.id.0, beyond, total))
        })
        .await
}

/// The ids that match a query.
struct Hits<'a> {
    environment: EnvId,
    query: &'a str,
    /// What SQLite's index is asked; its hits may hold the query or not.
    expression: String,
}

impl Hits<'_> {
    /// Up to `limit` hits above or below an id, nearest first.
    async fn near(&self, tx: &mut Tx, upwards: bool, bound: i64, limit: usize) -> Result<Vec<i64>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut ids = match tx.engine() {
            Engine::Sqlite if self.is_short() => {
                let sql = if upwards {
                    "SELECT id FROM organizations WHERE environment_id = $1 AND id > $3 AND instr(search_text, $2) > 0 \
                     ORDER BY id LIMIT $4"
                } else {
                    "SELECT id FROM organizations WHERE environment_id = $1 AND id < $3 AND instr(search_text, $2) > 0 \
                     ORDER BY id DESC LIMIT $4"
                };
                self.ids(tx, sql, self.query, bound, limit).await?
            }
            Engine::Sqlite => {
                let sql = if upwards {
                    indexed!("SELECT o.id", "s.rowid > $4", "ORDER BY s.rowid LIMIT $5")
                } else {
                    indexed!("SELECT o.id", "s.rowid < $4", "ORDER BY s.rowid DESC LIMIT $5")
                };
                let params = p![self.environment, &self.expression, self.query, bound, limit];
                let hits: Vec<(i64,)> = tx.all(sql, &params).await?;
                let mut ids: Vec<i64> = hits.into_iter().map(|(id,)| id).collect();
                let sql = if upwards {
                    pending!("SELECT o.id", "o.id > $3", "ORDER BY o.id LIMIT $4")
                } else {
                    pending!("SELECT o.id", "o.id < $3", "ORDER BY o.id DESC LIMIT $4")
                };
                ids.extend(self.ids(tx, sql, self.query, bound, limit).await?);
                ids
            }
            Engine::Postgres => {
                let sql = if upwards {
                    "SELECT id FROM organizations WHERE environment_id = $1 AND search_text LIKE $2 AND id > $3 ORDER BY id LIMIT $4"
                } else {
                    "SELECT id FROM organizations WHERE environment_id = $1 AND search_text LIKE $2 AND id < $3 ORDER BY id DESC LIMIT $4"
                };
                self.ids(tx, sql, &self.pattern(), bound, limit).await?
            }
        };
        ids.sort_unstable();
        if !upwards {
            ids.reverse();
        }
        ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(ids)
    }

    /// All hits, as far as 10,000.
    async fn total(&self, tx: &mut Tx) -> Result<u64> {
        let counts = match tx.engine() {
            Engine::Sqlite if self.is_short() => vec![(
                "SELECT COUNT(*) FROM (SELECT 1 FROM organizations WHERE environment_id = $1 AND instr(search_text, $2) > 0 LIMIT $3) h",
                p![self.environment, self.query, MOST_HITS].to_vec(),
            )],
            Engine::Sqlite => vec![
                (
                    indexed!("SELECT COUNT(*) FROM (SELECT 1", "1 = 1", "LIMIT $4) h"),
                    p![self.environment, &self.expression, self.query, MOST_HITS].to_vec(),
                ),
                (
                    pending!("SELECT COUNT(*) FROM (SELECT 1", "1 = 1", "LIMIT $3) h"),
                    p![self.environment, self.query, MOST_HITS].to_vec(),
                ),
            ],
            Engine::Postgres => vec![(
                "SELECT COUNT(*) FROM (SELECT 1 FROM organizations WHERE environment_id = $1 AND search_text LIKE $2 LIMIT $3) h",
                p![self.environment, self.pattern(), MOST_HITS].to_vec(),
            )],
        };
        let mut total = 0;
        for (sql, params) in counts {
            let (count,): (i64,) = tx.one(sql, &params).await?;
            total += count;
        }
        Ok(u64::try_from(total.min(MOST_HITS)).unwrap_or(0))
    }

    async fn ids(&self, tx: &mut Tx, sql: &str, query: &str, bound: i64, limit: i64) -> Result<Vec<i64>> {
        let hits: Vec<(i64,)> = tx.all(sql, &p![self.environment, query, bound, limit]).await?;
        Ok(hits.into_iter().map(|(id,)| id).collect())
    }

    fn is_short(&self) -> bool {
        self.query.chars().count() < TRIGRAM
    }

    /// The query as a LIKE pattern, the only form that pg_trgm's index answers.
    fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.query.len() + 2);
        pattern.push('%');
        for c in self.query.chars() {
            if matches!(c, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('%');
        pattern
    }
}
