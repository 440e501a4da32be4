//! The table of domains.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{Domain, DomainType, Method, Status};
use crate::error::Result;
use crate::ids::{DomainId, EnvId, OrganizationId};

const SELECT: &str = "SELECT id, environment_id, organization_id, name, type, status, method, txt_key, txt_secret, window_ends_at, checks, \
     created_at, updated_at FROM domains";

impl FromRow for Domain {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let unknown = |column: &str| DbError::Data(format!("domains.{column} has an unknown value"));
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            organization: row.get(2)?,
            name: row.get(3)?,
            kind: DomainType::from_number(row.get(4)?).ok_or_else(|| unknown("type"))?,
            status: Status::from_number(row.get(5)?).ok_or_else(|| unknown("status"))?,
            method: Method::from_number(row.get(6)?).ok_or_else(|| unknown("method"))?,
            txt_key: row.get(7)?,
            txt_secret: row.get(8)?,
            window_ends_at: row.get(9)?,
            checks: row.get(10)?,
            created_at: row.get(11)?,
            updated_at: row.get(12)?,
        })
    }
}

pub(super) async fn insert(tx: &mut Tx, domain: &Domain) -> Result<()> {
    tx.execute(
        "INSERT INTO domains (id, environment_id, organization_id, name, type, status, method, txt_key, txt_secret, window_ends_at, \
         checks, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        &p![
            domain.id,
            domain.environment,
            domain.organization,
            &domain.name,
            domain.kind as i32,
            domain.status as i32,
            domain.method as i32,
            &domain.txt_key,
            &domain.txt_secret,
            domain.window_ends_at,
            domain.checks,
            domain.created_at,
            domain.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// A domain of an organization.
pub(super) async fn load(
    tx: &mut Tx,
    environment: EnvId,
    organization: OrganizationId,
    id: DomainId,
) -> Result<Option<Domain>> {
    let sql = format!("{SELECT} WHERE id = $1 AND environment_id = $2 AND organization_id = $3");
    Ok(tx.opt(&sql, &p![id, environment, organization]).await?)
}

/// A domain of the environment, whosever it is: for jobs.
pub(super) async fn load_any(tx: &mut Tx, environment: EnvId, id: DomainId) -> Result<Option<Domain>> {
    Ok(tx.opt(&format!("{SELECT} WHERE id = $1 AND environment_id = $2"), &p![id, environment]).await?)
}

/// Who has proven a name in the environment.
pub(super) async fn holder(tx: &mut Tx, environment: EnvId, name: &str) -> Result<Option<DomainId>> {
    let sql = "SELECT id FROM domains WHERE environment_id = $1 AND name = $2 AND type = 2 AND status = 2";
    let found: Option<(DomainId,)> = tx.opt(sql, &p![environment, name]).await?;
    Ok(found.map(|(id,)| id))
}

/// Writes status and counter; nothing else of a domain changes.
pub(super) async fn update(tx: &mut Tx, domain: &Domain) -> Result<()> {
    tx.execute(
        "UPDATE domains SET status = $2, checks = $3, updated_at = $4 WHERE id = $1",
        &p![domain.id, domain.status as i32, domain.checks, domain.updated_at],
    )
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, id: DomainId) -> Result<()> {
    tx.execute("DELETE FROM domains WHERE id = $1", &p![id]).await?;
    Ok(())
}

/// Domains of an organization, oldest first.
pub(super) async fn list(
    tx: &mut Tx,
    organization: OrganizationId,
    kind: Option<DomainType>,
    limit: i64,
    offset: i64,
) -> Result<Vec<Domain>> {
    let found = match kind {
        None => {
            let sql = format!("{SELECT} WHERE organization_id = $1 ORDER BY id LIMIT $2 OFFSET $3");
            tx.all(&sql, &p![organization, limit, offset]).await?
        }
        Some(kind) => {
            let sql = format!("{SELECT} WHERE organization_id = $1 AND type = $4 ORDER BY id LIMIT $2 OFFSET $3");
            tx.all(&sql, &p![organization, limit, offset, kind as i32]).await?
        }
    };
    Ok(found)
}
