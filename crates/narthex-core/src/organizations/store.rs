//! The table of organizations.

use narthex_db::{DbError, FromRow, Row, Tx, Value, p};

use super::{Features, Identity, Organization, Region, SessionPolicy};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::{EnvId, OrganizationId};

/// A SELECT of the columns of an [`Organization`], in the order in which it is read.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT o.id, o.environment_id, o.display_name, o.region, o.external_id, o.slug, o.logo_url, o.metadata, o.features, \
             o.features_set, o.max_allowed_users, o.session_absolute_minutes, o.session_idle_minutes, o.created_at, o.updated_at ",
            $rest
        )
    };
}
pub(super) use select;

impl FromRow for Organization {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let region = match row.cell(3)?.text()? {
            "US" => Region::Us,
            "EU" => Region::Eu,
            _ => return Err(DbError::Data("unknown region".into())),
        };
        let metadata = serde_json::from_str(row.cell(7)?.text()?)
            .map_err(|_| DbError::Data("metadata is not a map of texts".into()))?;
        let session_policy = match row.get::<Option<i32>>(11)? {
            None => SessionPolicy::Application,
            Some(absolute_minutes) => SessionPolicy::Custom { absolute_minutes, idle_minutes: row.get(12)? },
        };
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            display_name: row.get(2)?,
            region,
            external_id: row.get(4)?,
            slug: row.get(5)?,
            logo_url: row.get(6)?,
            metadata,
            features: Features { enabled: row.get(8)?, set: row.get(9)? },
            max_allowed_users: row.get(10)?,
            session_policy,
            created_at: Timestamp(row.get(13)?),
            updated_at: Timestamp(row.get(14)?),
        })
    }
}

/// The values of the columns that can change, `$3` and on.
fn changing(organization: &Organization, search_text: &str) -> [Value; 12] {
    let (absolute, idle) = match organization.session_policy {
        SessionPolicy::Application => (None, None),
        SessionPolicy::Custom { absolute_minutes, idle_minutes } => (Some(absolute_minutes), idle_minutes),
    };
    p![
        &organization.display_name,
        &organization.external_id,
        &organization.slug,
        &organization.logo_url,
        serde_json::to_string(&organization.metadata).unwrap_or_default(),
        organization.features.enabled,
        organization.features.set,
        organization.max_allowed_users,
        absolute,
        idle,
        search_text,
        organization.updated_at.0
    ]
}

pub(super) async fn insert(tx: &mut Tx, organization: &Organization, search_text: &str) -> Result<()> {
    let mut values = p![organization.id, organization.environment].to_vec();
    values.extend(changing(organization, search_text));
    values.extend(p![organization.region.name(), organization.created_at.0]);
    tx.execute(
        "INSERT INTO organizations (id, environment_id, display_name, external_id, slug, logo_url, metadata, features, features_set, \
         max_allowed_users, session_absolute_minutes, session_idle_minutes, search_text, updated_at, region, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        &values,
    )
    .await?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, organization: &Organization, search_text: &str) -> Result<()> {
    let mut values = p![organization.id, organization.environment].to_vec();
    values.extend(changing(organization, search_text));
    tx.execute(
        "UPDATE organizations SET display_name = $3, external_id = $4, slug = $5, logo_url = $6, metadata = $7, features = $8, \
         features_set = $9, max_allowed_users = $10, session_absolute_minutes = $11, session_idle_minutes = $12, search_text = $13, \
         updated_at = $14 WHERE id = $1 AND environment_id = $2",
        &values,
    )
    .await?;
    Ok(())
}

pub(crate) async fn load(tx: &mut Tx, environment: EnvId, identity: &Identity) -> Result<Option<Organization>> {
    let found = match identity {
        Identity::Id(id) => {
            let sql = select!("FROM organizations o WHERE o.id = $2 AND o.environment_id = $1");
            tx.opt(sql, &p![environment, id]).await?
        }
        Identity::ExternalId(external_id) => {
            // Nothing that holds U+0000 was ever stored, and the database refuses to be asked for it.
            if external_id.is_empty() || external_id.contains('\0') {
                return Ok(None);
            }
            let sql = select!("FROM organizations o WHERE o.environment_id = $1 AND o.external_id = $2");
            tx.opt(sql, &p![environment, external_id]).await?
        }
    };
    Ok(found)
}

/// Removes the row and what hangs on it by a key of its own; false if there is none.
pub(super) async fn delete(
    tx: &mut Tx,
    organization: &Organization,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<bool> {
    let OrganizationId(id) = organization.id;
    let gone = tx
        .execute("DELETE FROM organizations WHERE id = $1 AND environment_id = $2", &p![id, organization.environment])
        .await?;
    if gone == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM organization_branding WHERE organization_id = $1", &p![id]).await?;
    tx.execute(
        "INSERT INTO deleted_organizations (id, environment_id, deleted_at, expires_at) VALUES ($1, $2, $3, $4)",
        &p![id, organization.environment, now.0, expires_at.0],
    )
    .await?;
    Ok(true)
}

/// The organizations of an environment, counted one by one.
pub(super) async fn count(tx: &mut Tx, environment: EnvId) -> Result<u64> {
    let (count,): (i64,) = tx
        .one("SELECT COUNT(*) FROM organizations WHERE environment_id = $1", &p![environment])
        .await
        .map_err(Error::from)?;
    Ok(u64::try_from(count).unwrap_or(0))
}
