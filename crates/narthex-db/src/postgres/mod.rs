//! PostgreSQL: not yet.

use crate::tx::Fault;
use crate::{Cell, DbError, FromRow, Value};

pub(crate) struct Pg {}

impl Pg {
    pub(crate) async fn execute(&mut self, _sql: &str, _params: &[Value]) -> Result<u64, Fault> {
        std::future::ready(Err(DbError::Unavailable("PostgreSQL".into()).into())).await
    }

    pub(crate) async fn query<T: FromRow>(&mut self, _: &str, _: &[Value], _: usize) -> Result<Vec<T>, Fault> {
        std::future::ready(Err(DbError::Unavailable("PostgreSQL".into()).into())).await
    }
}

pub(crate) fn cell<'a>(_row: &'a tokio_postgres::Row, _i: usize) -> Result<Cell<'a>, DbError> {
    Err(DbError::Unavailable("PostgreSQL".into()))
}
