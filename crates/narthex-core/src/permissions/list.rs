//! The list of permissions, newest first.

use narthex_db::{Tx, p};

use super::store::{self, select};
use super::{Permission, change};
use crate::core::Core;
use crate::counters;
use crate::error::Result;
use crate::ids::EnvId;
use crate::pages::{Limits, Page, PageRequest, Position, Scope, edges};

/// Sizes of pages.
pub const LIST: Limits = Limits { default: 30, max: 100 };

/// Which permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// All.
    All,
    /// Those that came with the environment.
    BuiltIn,
    /// Those that were made since.
    Own,
}

impl Filter {
    /// What `built_in` must be.
    fn built_in(self) -> Option<bool> {
        match self {
            Self::All => None,
            Self::BuiltIn => Some(true),
            Self::Own => Some(false),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::All => "",
            Self::BuiltIn => "built-in",
            Self::Own => "own",
        }
    }
}

/// Permissions of an environment.
pub async fn list(core: &Core, environment: EnvId, request: &PageRequest, filter: Filter) -> Result<Page<Permission>> {
    let scope = Scope::new(environment, "permissions", filter.name());
    let size = LIST.size(request.size);
    let position = scope.position(&request.token, size)?;
    core.db.read(async move |tx| page(tx, environment, &scope, position, size, filter).await).await
}

async fn page(
    tx: &mut Tx,
    environment: EnvId,
    scope: &Scope,
    position: Position,
    size: usize,
    filter: Filter,
) -> Result<Page<Permission>> {
    let (bound, offset) = position.bound();
    let rows = near(tx, environment, filter, position.is_backward(), bound, size + 1, offset).await?;
    let beyond = match position {
        Position::Start => false,
        Position::Offset(_) => true,
        Position::After(_) | Position::Before(_) => {
            let shown = &rows[..rows.len().min(size)];
            let (first, last) = (shown.first().map(|row| row.id.0), shown.last().map(|row| row.id.0));
            // Rows that were read upwards: the first one read is the last one shown.
            let edge =
                if position.is_backward() { edges(position, last, first).1 } else { edges(position, first, last).0 };
            !near(tx, environment, filter, !position.is_backward(), edge, 1, 0).await?.is_empty()
        }
    };
    let total = total(tx, environment, filter).await?;
    Ok(scope.page(position, size, rows, |row| row.id.0, beyond, total))
}

/// Up to `limit` permissions above or below an id, nearest first.
async fn near(
    tx: &mut Tx,
    environment: EnvId,
    filter: Filter,
    upwards: bool,
    bound: i64,
    limit: usize,
    offset: i64,
) -> Result<Vec<Permission>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let Some(built_in) = filter.built_in() else {
        let sql = if upwards {
            select!("WHERE p.environment_id = $1 AND p.id > $2 ORDER BY p.id LIMIT $3 OFFSET $4")
        } else {
            select!("WHERE p.environment_id = $1 AND p.id < $2 ORDER BY p.id DESC LIMIT $3 OFFSET $4")
        };
        return Ok(tx.all(sql, &p![environment, bound, limit, offset]).await?);
    };
    let sql = if upwards {
        select!("WHERE p.environment_id = $1 AND p.built_in = $5 AND p.id > $2 ORDER BY p.id LIMIT $3 OFFSET $4")
    } else {
        select!("WHERE p.environment_id = $1 AND p.built_in = $5 AND p.id < $2 ORDER BY p.id DESC LIMIT $3 OFFSET $4")
    };
    Ok(tx.all(sql, &p![environment, bound, limit, offset, built_in]).await?)
}

async fn total(tx: &mut Tx, environment: EnvId, filter: Filter) -> Result<u64> {
    // A dozen come with an environment, and no more ever.
    let built_in = if filter == Filter::Own { 0 } else { store::count(tx, environment, true).await? };
    let own = if filter == Filter::BuiltIn { 0 } else { counters::total(tx, environment, change::NOUN).await? };
    Ok(built_in + own)
}
