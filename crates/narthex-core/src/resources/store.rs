//! The table of resources.

use narthex_db::{DbError, FromRow, Row, Tx, Value, p};

use super::{Connection, LIST, Resource, ResourceKind, not_found};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, EnvId, ResourceId};
use crate::listing::Rows;
use crate::pages::{Page, PageRequest, Scope};
use crate::scopes;

const COLUMNS: &str = "id, environment_id, kind, name, description, uri, logo_uri, provider, access_token_expiry, \
     refresh_token_expiry, registration_disabled, scopes, intersect_scopes, scope_selection, cimd_enabled, cimd_allowlist, \
     cimd_allowlist_enabled, xaa_enabled, connection_id, authorize_uri, created_at, updated_at";

impl FromRow for Resource {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let json = |column: usize| DbError::Data(format!("resources, column {column}, is no list"));
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            kind: ResourceKind::from_number(row.get(2)?)
                .ok_or_else(|| DbError::Data("resources.kind has an unknown value".into()))?,
            name: row.get(3)?,
            description: row.get(4)?,
            uri: row.get(5)?,
            logo_uri: row.get(6)?,
            provider: row.get(7)?,
            access_token_expiry: row.get(8)?,
            refresh_token_expiry: row.get(9)?,
            registration_disabled: row.get(10)?,
            scopes: serde_json::from_str(row.cell(11)?.text()?).map_err(|_| json(11))?,
            intersect_scopes: row.get(12)?,
            scope_selection: row.get(13)?,
            cimd_enabled: row.get(14)?,
            cimd_allowlist: serde_json::from_str(row.cell(15)?.text()?).map_err(|_| json(15))?,
            cimd_allowlist_enabled: row.get(16)?,
            xaa_enabled: row.get(17)?,
            connection: match row.get::<Option<ConnectionId>>(18)? {
                Some(id) => Some(Connection { id, authorize_uri: row.get(19)? }),
                None => None,
            },
            created_at: row.get(20)?,
            updated_at: row.get(21)?,
            meanings: Vec::new(),
        })
    }
}

/// A resource of an environment. NOT_FOUND for another environment's.
pub async fn get(core: &Core, environment: EnvId, id: ResourceId) -> Result<Resource> {
    core.db.read(async move |tx| load(tx, environment, id).await).await
}

/// Resources of one kind, newest first.
pub async fn list(
    core: &Core,
    environment: EnvId,
    kind: ResourceKind,
    request: &PageRequest,
) -> Result<Page<Resource>> {
    let scope = Scope::new(environment, "resources", &(kind as i32).to_string());
    let size = LIST.size(request.size);
    let position = scope.position(&request.token, size)?;
    core.db
        .read(async move |tx| {
            let rows = Rows {
                columns: COLUMNS,
                from: "resources WHERE environment_id = $1 AND kind = $2",
                key: "id",
                values: p![environment, kind as i32].to_vec(),
            };
            let mut page = rows.page(tx, &scope, position, size, |resource: &Resource| resource.id.0).await?;
            for resource in &mut page.items {
                explain(tx, resource).await?;
            }
            Ok(page)
        })
        .await
}

/// A resource within a transaction.
pub async fn load(tx: &mut Tx, environment: EnvId, id: ResourceId) -> Result<Resource> {
    let sql = format!("SELECT {COLUMNS} FROM resources WHERE environment_id = $1 AND id = $2");
    let mut resource: Resource = tx.opt(&sql, &p![environment, id]).await?.ok_or_else(not_found)?;
    explain(tx, &mut resource).await?;
    Ok(resource)
}

/// Finds out what its scopes stand for now.
pub(super) async fn explain(tx: &mut Tx, resource: &mut Resource) -> Result<()> {
    resource.meanings.clear();
    for name in &resource.scopes {
        if let Some(meaning) = scopes::meaning(tx, resource.environment, name).await? {
            resource.meanings.push((name.clone(), meaning));
        }
    }
    Ok(())
}

/// The values of the columns, in their order.
fn values(resource: &Resource) -> Result<Vec<Value>> {
    let list = |items: serde_json::Result<String>| items.map_err(Error::internal);
    let connection = resource.connection.as_ref();
    Ok(p![
        resource.id,
        resource.environment,
        resource.kind as i32,
        &resource.name,
        &resource.description,
        &resource.uri,
        &resource.logo_uri,
        &resource.provider,
        resource.access_token_expiry,
        resource.refresh_token_expiry,
        resource.registration_disabled,
        list(serde_json::to_string(&resource.scopes))?,
        resource.intersect_scopes,
        resource.scope_selection,
        resource.cimd_enabled,
        list(serde_json::to_string(&resource.cimd_allowlist))?,
        resource.cimd_allowlist_enabled,
        resource.xaa_enabled,
        connection.map(|connection| connection.id.0),
        connection.map_or("", |connection| connection.authorize_uri.as_str()),
        resource.created_at,
        resource.updated_at
    ]
    .to_vec())
}

pub(super) async fn insert(tx: &mut Tx, resource: &Resource) -> Result<()> {
    let sql = format!(
        "INSERT INTO resources ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         $19, $20, $21, $22)"
    );
    tx.execute(&sql, &values(resource)?).await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, resource: &Resource) -> Result<()> {
    let mut values = values(resource)?;
    // Kind and creation never change.
    values.remove(20);
    values.remove(2);
    tx.execute(
        "UPDATE resources SET name = $3, description = $4, uri = $5, logo_uri = $6, provider = $7, access_token_expiry = $8, \
         refresh_token_expiry = $9, registration_disabled = $10, scopes = $11, intersect_scopes = $12, scope_selection = $13, \
         cimd_enabled = $14, cimd_allowlist = $15, cimd_allowlist_enabled = $16, xaa_enabled = $17, connection_id = $18, \
         authorize_uri = $19, updated_at = $20 WHERE id = $1 AND environment_id = $2",
        &values,
    )
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, environment: EnvId, id: ResourceId) -> Result<bool> {
    let sql = "DELETE FROM resources WHERE environment_id = $1 AND id = $2";
    Ok(tx.execute(sql, &p![environment, id]).await? > 0)
}
