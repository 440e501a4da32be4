//! The table of user attributes: custom ones, and standard ones that were changed.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::{Catalogue, Datatype, Definition, UserAttribute};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::ids::EnvId;

/// A SELECT of a key and its definition, in the order in which they are read.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT key, enabled, required, label, datatype, saml_mapping, oidc_mapping FROM user_attributes ",
            $rest
        )
    };
}

struct Stored(String, Definition);

impl FromRow for Stored {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let datatype =
            Datatype::from_number(row.get(4)?).ok_or_else(|| DbError::Data("unknown type of attribute".into()))?;
        let definition = Definition {
            enabled: row.get(1)?,
            required: row.get(2)?,
            label: row.get(3)?,
            datatype,
            saml_mapping: row.get(5)?,
            oidc_mapping: row.get(6)?,
        };
        Ok(Self(row.get(0)?, definition))
    }
}

pub(super) async fn all(tx: &mut Tx, environment: EnvId, catalogue: Catalogue) -> Result<Vec<(String, Definition)>> {
    let sql = select!("WHERE environment_id = $1 AND catalogue = $2 ORDER BY id");
    let rows: Vec<Stored> = tx.all(sql, &p![environment, catalogue as i32]).await?;
    Ok(rows.into_iter().map(|Stored(key, definition)| (key, definition)).collect())
}

pub(super) async fn find(
    tx: &mut Tx,
    environment: EnvId,
    catalogue: Catalogue,
    key: &str,
) -> Result<Option<Definition>> {
    let sql = select!("WHERE environment_id = $1 AND catalogue = $2 AND key = $3");
    let row: Option<Stored> = tx.opt(sql, &p![environment, catalogue as i32, key]).await?;
    Ok(row.map(|Stored(_, definition)| definition))
}

pub(super) async fn by_id(
    tx: &mut Tx,
    environment: EnvId,
    catalogue: Catalogue,
    id: i64,
) -> Result<Option<(String, Definition)>, DbError> {
    let sql = select!("WHERE environment_id = $1 AND catalogue = $2 AND id = $3");
    let row: Option<Stored> = tx.opt(sql, &p![environment, catalogue as i32, id]).await?;
    Ok(row.map(|Stored(key, definition)| (key, definition)))
}

pub(super) async fn insert(
    tx: &mut Tx,
    id: i64,
    environment: EnvId,
    catalogue: Catalogue,
    attribute: &UserAttribute,
    now: Timestamp,
) -> Result<()> {
    let UserAttribute { key, definition, .. } = attribute;
    tx.execute(
        "INSERT INTO user_attributes (id, environment_id, catalogue, key, enabled, required, label, datatype, saml_mapping, \
         oidc_mapping, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)",
        &p![
            id,
            environment,
            catalogue as i32,
            key,
            definition.enabled,
            definition.required,
            &definition.label,
            definition.datatype as i32,
            &definition.saml_mapping,
            &definition.oidc_mapping,
            now.0
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut Tx,
    environment: EnvId,
    catalogue: Catalogue,
    attribute: &UserAttribute,
    now: Timestamp,
) -> Result<()> {
    let UserAttribute { key, definition, .. } = attribute;
    tx.execute(
        "UPDATE user_attributes SET enabled = $4, required = $5, label = $6, datatype = $7, saml_mapping = $8, oidc_mapping = $9, \
         updated_at = $10 WHERE environment_id = $1 AND catalogue = $2 AND key = $3",
        &p![
            environment,
            catalogue as i32,
            key,
            definition.enabled,
            definition.required,
            &definition.label,
            definition.datatype as i32,
            &definition.saml_mapping,
            &definition.oidc_mapping,
            now.0
        ],
    )
    .await?;
    Ok(())
}

/// Whether there was one.
pub(super) async fn delete(tx: &mut Tx, environment: EnvId, catalogue: Catalogue, key: &str) -> Result<bool> {
    let sql = "DELETE FROM user_attributes WHERE environment_id = $1 AND catalogue = $2 AND key = $3";
    Ok(tx.execute(sql, &p![environment, catalogue as i32, key]).await? > 0)
}
