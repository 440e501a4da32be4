//! Consents: that a user lets a client of a resource act for them, and with which scopes. Sign-in writes them; administrators and the
//! users themselves list and revoke them. A revoked one is gone: the next request asks again.

use narthex_db::{DbError, FromRow, Row, Tx, Value, p};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{ConsentId, EnvId, ResourceId, UserId};
use crate::listing::Rows;
use crate::pages::{Limits, Page, PageRequest, Scope};
use crate::{clients, resources};

/// Page sizes of the lists.
pub const LIST: Limits = Limits { default: 10, max: 30 };
/// Rows that one transaction removes.
pub(crate) const CHUNK: i64 = 200;
/// Consents that are shown with a client.
const SHOWN: i64 = 100;

/// A consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Id.
    pub id: ConsentId,
    /// Resource that the client acts on.
    pub resource: ResourceId,
    /// The client's record id, `m2m_…`.
    pub client_id: String,
    /// The client's name at the moment.
    pub client_name: String,
    /// `sub` of the user's tokens: a user's id, or what the customer's own login posted.
    pub subject: String,
    /// The user, where it is one of the environment's.
    pub user: Option<UserId>,
    /// What the user agreed to.
    pub scopes: Vec<String>,
    /// When it was given or last widened.
    pub granted_at: Timestamp,
}

const COLUMNS: &str = "id, resource_id, client_id, (SELECT name FROM clients WHERE clients.client_id = consents.client_id), subject, \
     user_id, scopes, granted_at";

impl FromRow for Consent {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let scopes = serde_json::from_str(row.cell(6)?.text()?)
            .map_err(|_| DbError::Data("consents.scopes is not a list of texts".into()))?;
        Ok(Self {
            id: row.get(0)?,
            resource: row.get(1)?,
            client_id: row.get(2)?,
            client_name: row.get(3)?,
            subject: row.get(4)?,
            user: row.get(5)?,
            scopes,
            granted_at: row.get(7)?,
        })
    }
}

/// A consent as a user gives it.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The client's record id.
    pub client_id: String,
    /// `sub` of the user's tokens, 1 to 512 characters.
    pub subject: String,
    /// The user, where it is one of the environment's.
    pub user: Option<UserId>,
    /// What the user agreed to.
    pub scopes: Vec<String>,
}

/// Keeps a consent. A user has one per client: agreeing to more widens it.
pub async fn grant(core: &Core, environment: EnvId, grant: Grant) -> Result<Consent> {
    if grant.subject.is_empty() || grant.subject.chars().count() > 512 || grant.subject.contains('\0') {
        return Err(Error::invalid("subject", "string.len", "must have 1 to 512 characters"));
    }
    let (id, now) = (ConsentId::new(&core.ids), core.clock.now());
    core.db
        .write_for(crate::organizations::share(environment), async move |tx| {
            let client = clients::store::load(tx, &grant.client_id).await?;
            let client = client.filter(|client| client.environment == environment && client.enabled);
            let client = client.ok_or_else(clients::not_found)?;
            let resource = client.resource.ok_or_else(clients::not_found)?;
            let sql = format!("SELECT {COLUMNS} FROM consents WHERE client_id = $1 AND resource_id = $2 AND subject = $3");
            let earlier: Option<Consent> = tx.opt(&sql, &p![&client.client_id, resource, &grant.subject]).await?;
            let mut scopes = earlier.as_ref().map(|earlier| earlier.scopes.clone()).unwrap_or_default();
            for scope in &grant.scopes {
                if !scopes.contains(scope) {
                    scopes.push(scope.clone());
                }
            }
            let text = serde_json::to_string(&scopes).map_err(Error::internal)?;
            let consent = Consent {
                id: earlier.as_ref().map_or(id, |earlier| earlier.id),
                resource,
                client_id: client.client_id.clone(),
                client_name: client.name.clone(),
                subject: grant.subject.clone(),
                user: grant.user,
                scopes,
                granted_at: now,
            };
            if earlier.is_some() {
                let sql = "UPDATE consents SET user_id = $2, scopes = $3, granted_at = $4 WHERE id = $1";
                tx.execute(sql, &p![consent.id, consent.user, text, now]).await?;
            } else {
                tx.execute(
                    "INSERT INTO consents (id, environment_id, resource_id, client_id, subject, user_id, search_text, scopes, \
                     granted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                    &p![
                        consent.id,
                        environment,
                        resource,
                        &consent.client_id,
                        &consent.subject,
                        consent.user,
                        normalise(&consent.subject),
                        text,
                        now
                    ],
                )
                .await?;
            }
            Ok(consent)
        })
        .await
}

/// The consent that a user has given to a client of a resource.
pub async fn find(core: &Core, environment: EnvId, client_id: &str, subject: &str) -> Result<Option<Consent>> {
    find_in(&mut *core.db.reader().await?, environment, client_id, subject).await
}

/// [`find`] within a transaction.
pub(crate) async fn find_in(
    tx: &mut Tx,
    environment: EnvId,
    client_id: &str,
    subject: &str,
) -> Result<Option<Consent>> {
    let sql = format!("SELECT {COLUMNS} FROM consents WHERE client_id = $1 AND subject = $2 AND environment_id = $3");
    Ok(tx.opt(&sql, &p![client_id, subject, environment]).await?)
}

/// The scopes that a user lets a client of a resource act with; None without a consent.
pub(crate) async fn given(
    tx: &mut Tx,
    environment: EnvId,
    client_id: &str,
    subject: &str,
) -> Result<Option<Vec<String>>> {
    let sql = "SELECT scopes FROM consents WHERE client_id = $1 AND subject = $2 AND environment_id = $3";
    let Some((text,)) = tx.opt::<(String,)>(sql, &p![client_id, subject, environment]).await? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(Error::internal)
}

/// Consents to the clients of a resource: all, those whose external user id contains `search` in any case, or those of the
/// external users named.
pub async fn of_resource(
    core: &Core,
    environment: EnvId,
    resource: ResourceId,
    search: &str,
    subjects: Vec<String>,
    request: &PageRequest,
) -> Result<Page<Consent>> {
    let search = normalise(search);
    let filter = format!("{resource}\0{search}\0{}", subjects.join("\0"));
    let scope = Scope::new(environment, "consents.resource", &filter);
    let size = LIST.size(request.size);
    let position = scope.position(&request.token, size)?;
    core.db
        .read(async move |tx| {
            resources::load(tx, environment, resource).await?;
            let mut values = p![resource].to_vec();
            let mut from = "consents WHERE resource_id = $1".to_owned();
            if !search.is_empty() {
                // The two engines name the same function differently.
                let position = match tx.engine() {
                    narthex_db::Engine::Sqlite => "instr",
                    narthex_db::Engine::Postgres => "strpos",
                };
                values.push(Value::Text(search.clone()));
                from = format!("{from} AND {position}(search_text, ${}) > 0", values.len());
            }
            if !subjects.is_empty() {
                let first = values.len() + 1;
                let marks: Vec<String> = (0..subjects.len()).map(|i| format!("${}", first + i)).collect();
                values.extend(subjects.iter().cloned().map(Value::Text));
                from = format!("{from} AND subject IN ({})", marks.join(", "));
            }
            let rows = Rows { columns: COLUMNS, from: &from, key: "id", values };
            rows.page(tx, &scope, position, size, |consent: &Consent| consent.id.0).await
        })
        .await
}

/// A user's own consents.
pub async fn of_user(core: &Core, environment: EnvId, user: UserId, request: &PageRequest) -> Result<Page<Consent>> {
    let scope = Scope::new(environment, "consents.user", &user.to_string());
    let size = LIST.size(request.size);
    let position = scope.position(&request.token, size)?;
    core.db
        .read(async move |tx| {
            let rows = Rows {
                columns: COLUMNS,
                from: "consents WHERE environment_id = $1 AND user_id = $2",
                key: "id",
                values: p![environment, user].to_vec(),
            };
            rows.page(tx, &scope, position, size, |consent: &Consent| consent.id.0).await
        })
        .await
}

/// The newest consents to a client, at most 100.
pub(crate) async fn of_client(tx: &mut Tx, client_id: &str) -> Result<Vec<Consent>> {
    let sql = format!("SELECT {COLUMNS} FROM consents WHERE client_id = $1 ORDER BY id DESC LIMIT $2");
    Ok(tx.all(&sql, &p![client_id, SHOWN]).await?)
}

/// Takes a consent to a client back. NOT_FOUND if there is none.
pub async fn revoke(core: &Core, environment: EnvId, client_id: &str, consent: ConsentId) -> Result<()> {
    let client_id = client_id.to_owned();
    core.db
        .write_for(crate::organizations::share(environment), async move |tx| {
            let sql = "DELETE FROM consents WHERE id = $1 AND client_id = $2 AND environment_id = $3";
            let gone = tx.execute(sql, &p![consent, &client_id, environment]).await?;
            if gone == 0 { Err(not_found()) } else { Ok(()) }
        })
        .await
}

/// Takes back a consent that the user has given. Another user's is NOT_FOUND.
pub async fn revoke_own(core: &Core, environment: EnvId, user: UserId, consent: ConsentId) -> Result<()> {
    core.db
        .write_for(crate::organizations::share(environment), async move |tx| {
            let sql = "DELETE FROM consents WHERE id = $1 AND user_id = $2 AND environment_id = $3";
            let gone = tx.execute(sql, &p![consent, user, environment]).await?;
            if gone == 0 { Err(not_found()) } else { Ok(()) }
        })
        .await
}

/// Removes up to 200 consents of a user who is deleted; how many. For the transactions of that deletion.
pub async fn purge_of_user(tx: &mut Tx, environment: EnvId, user: UserId) -> Result<u64> {
    let sql = "DELETE FROM consents WHERE id IN \
               (SELECT id FROM consents WHERE environment_id = $1 AND user_id = $2 ORDER BY id LIMIT $3)";
    Ok(tx.execute(sql, &p![environment, user, CHUNK]).await?)
}

fn normalise(text: &str) -> String {
    text.trim().to_lowercase()
}

/// The answer to an id that is no consent that the caller may see.
pub fn not_found() -> Error {
    Error::not_found(ConsentId::NOUN)
}
