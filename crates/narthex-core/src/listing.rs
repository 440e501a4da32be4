//! One page of the rows of a table that have something in common, newest first.

use narthex_db::{FromRow, Tx, Value};

use crate::error::Result;
use crate::pages::{Page, Position, Scope, edges};

/// Where the counting of filtered rows stops.
const MOST: i64 = 10_000;

/// What a list reads. The texts come from the program, never from a caller.
pub(crate) struct Rows<'a> {
    /// Columns of a row.
    pub columns: &'a str,
    /// Table and condition, e.g. `scopes WHERE environment_id = $1`.
    pub from: &'a str,
    /// The column of the order: a number of time-ordered ids.
    pub key: &'a str,
    /// Values of `$1` and on.
    pub values: Vec<Value>,
}

impl Rows<'_> {
    /// The page at `position`; `id` is the key of a row.
    pub(crate) async fn page<T: FromRow>(
        self,
        tx: &mut Tx,
        scope: &Scope,
        position: Position,
        size: usize,
        id: impl Fn(&T) -> i64,
    ) -> Result<Page<T>> {
        let Self { columns, from, key, values } = &self;
        let next = values.len() + 1;
        let with = |more: &[i64]| -> Vec<Value> {
            values.iter().cloned().chain(more.iter().map(|number| Value::Int(*number))).collect()
        };
        let (sign, order) = if position.is_backward() { (">", "ASC") } else { ("<", "DESC") };
        let (limit, offset) = (next + 1, next + 2);
        let sql = format!(
            "SELECT {columns} FROM {from} AND {key} {sign} ${next} ORDER BY {key} {order} LIMIT ${limit} OFFSET ${offset}"
        );
        let (bound, skipped) = position.bound();
        let rows: Vec<T> = tx.all(&sql, &with(&[bound, i64::try_from(size + 1).unwrap_or(i64::MAX), skipped])).await?;
        let sql = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {from} LIMIT ${next}) h");
        let (total,): (i64,) = tx.one(&sql, &with(&[MOST])).await?;
        let beyond = match position {
            Position::Start => false,
            Position::Offset(_) => true,
            Position::After(_) | Position::Before(_) => {
                let shown = &rows[..rows.len().min(size)];
                let (first, last) = (shown.first().map(&id), shown.last().map(&id));
                let (edge, sign) = if position.is_backward() {
                    // Rows were read upwards: the first one read is the last one shown.
                    (edges(position, last, first).1, "<")
                } else {
                    (edges(position, first, last).0, ">")
                };
                let sql = format!("SELECT {key} FROM {from} AND {key} {sign} ${next} LIMIT 1");
                tx.opt::<(i64,)>(&sql, &with(&[edge])).await?.is_some()
            }
        };
        Ok(scope.page(position, size, rows, id, beyond, u64::try_from(total).unwrap_or(0)))
    }
}
