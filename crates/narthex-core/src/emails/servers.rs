//! Mail servers of customers.

use std::net::IpAddr;
use std::sync::Arc;

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::switch::{Switched, switch};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Kind, Result, Violation};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{EmailServerId, EnvId};
use crate::mailer::SmtpServer;
use crate::organizations::share;
use crate::seal::{self, Place, Sealed, Secret};
use crate::users;

/// Servers of one environment.
const MOST: i64 = 20;
/// Characters of a password.
const PASSWORD: usize = 255;

/// Whose server it is (`scalekit.v1.emails.EmailServerProvider`); all speak SMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the wire's names
pub enum Provider {
    Sendgrid = 1,
    Postmark = 2,
    Other = 3,
}

impl Provider {
    /// The provider of a number on the wire.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Sendgrid, Self::Postmark, Self::Other].into_iter().find(|&provider| provider as i32 == number)
    }
}

/// How a server is reached, and who its mails come from. The password is apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who signs in.
    pub username: String,
    /// Address of the sender.
    pub from_email: String,
    /// Name of the sender.
    pub from_name: String,
}

/// A mail server of a customer's. Its password is never shown.
#[derive(Clone)]
pub struct EmailServer {
    /// Id.
    pub id: EmailServerId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Whose it is.
    pub provider: Provider,
    /// Whether the environment's mails go through it: one at most.
    pub enabled: bool,
    /// How it is reached.
    pub settings: Settings,
    password: Sealed,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

const SELECT: &str = "SELECT id, environment_id, provider, enabled, host, port, username, from_email, from_name, password, created_at, \
     updated_at FROM email_servers";

impl FromRow for EmailServer {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let unknown = |column: &str| DbError::Data(format!("email_servers.{column} has an unknown value"));
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            provider: Provider::from_number(row.get(2)?).ok_or_else(|| unknown("provider"))?,
            enabled: row.get(3)?,
            settings: Settings {
                host: row.get(4)?,
                port: u16::try_from(row.get::<i64>(5)?).map_err(|_| unknown("port"))?,
                username: row.get(6)?,
                from_email: row.get(7)?,
                from_name: row.get(8)?,
            },
            password: row.get(9)?,
            created_at: row.get(10)?,
            updated_at: row.get(11)?,
        })
    }
}

impl EmailServer {
    /// What is needed to send through it.
    pub(super) async fn connect(&self, core: &Core) -> Result<SmtpServer> {
        let password = seal::open(core, place(self.environment, self.id), &self.password).await?;
        let password =
            String::from_utf8(password.expose().clone()).map_err(|_| Error::internal("a password that is no text"))?;
        Ok(SmtpServer {
            host: self.settings.host.clone(),
            port: self.settings.port,
            username: self.settings.username.clone(),
            password: Secret::new(password),
        })
    }
}

const fn place(environment: EnvId, id: EmailServerId) -> Place<'static> {
    Place { environment, table: "email_servers", column: "password", row: id.0 }
}

/// The server that an environment's mails go through, if it has one of its own.
pub(super) async fn enabled(tx: &mut Tx, environment: EnvId) -> Result<Option<EmailServer>> {
    Ok(tx.opt(&format!("{SELECT} WHERE environment_id = $1 AND enabled = 1"), &p![environment]).await?)
}

impl Settings {
    /// Checks what the contract does not, under the name that the request has for the settings. The host is in lower case then.
    pub(super) fn validate(&mut self, password: Option<&str>, field: &str) -> Result<()> {
        let mut broken = Vec::new();
        let mut refuse = |name: &str, rule: &str, text: &str| {
            broken.push(Violation::new(format!("{field}.{name}"), format!("email_server.{rule}"), text));
        };
        self.host = self.host.trim().to_ascii_lowercase();
        if !is_host(&self.host) {
            refuse("host", "host", "must be a host name or an address, without a scheme and a port");
        }
        let has_control = |text: &str| text.chars().any(char::is_control);
        if has_control(&self.username) {
            refuse("username", "username", "must not contain control characters");
        }
        // A line break would end the header that the name stands in.
        if has_control(&self.from_name) || self.from_name.trim().is_empty() {
            refuse("from_name", "from_name", "must be a name without control characters");
        }
        if password.is_some_and(|text| text.contains(['\0', '\r', '\n']) || text.chars().count() > PASSWORD) {
            refuse("password", "password", "must be at most 255 characters on one line");
        }
        self.from_email = self.from_email.trim().to_owned();
        broken.extend(users::validate_email(&format!("{field}.from_email"), &self.from_email));
        if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
    }
}

fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.parse::<IpAddr>().is_ok() || host.len() <= 253 && host.split('.').all(is_label)
}

/// A server to be made, or all that is known of one anew.
#[derive(Clone)]
pub struct NewServer {
    /// Whose it is.
    pub provider: Provider,
    /// How it is reached.
    pub settings: Settings,
    /// With what one signs in.
    pub password: Secret<String>,
}

/// Adds a server, which is not used until it is enabled.
pub async fn create_server(
    core: &Core,
    environment: EnvId,
    mut new: NewServer,
    key: Option<IdempotencyKey>,
) -> Result<EmailServer> {
    new.settings.validate(Some(new.password.expose()), "settings")?;
    if new.password.expose().is_empty() {
        return Err(password_missing("settings"));
    }
    let server = seal_new(core, environment, &new).await?;
    let creation = Arc::new((server, key));
    idempotency::past_twins(creation.1.as_ref(), || {
        let (id, creation) = (creation.0.id, Arc::clone(&creation));
        core.db.write_checked(
            share(environment),
            async move |tx| Ok(load(tx, environment, id).await?.is_some()),
            async move |tx| {
                let (server, key) = &*creation;
                if let Some(key) = key
                    && let Some(earlier) = idempotency::find(tx, key, server.created_at).await?
                {
                    return load(tx, environment, EmailServerId(earlier)).await?.ok_or_else(server_not_found);
                }
                insert(tx, server).await?;
                if let Some(key) = key {
                    idempotency::remember(tx, key, server.id.0, server.created_at).await?;
                }
                Ok::<_, Error>(server.clone())
            },
        )
    })
    .await
}

/// A server with its password sealed, outside of the transaction that inserts it.
pub(super) async fn seal_new(core: &Core, environment: EnvId, new: &NewServer) -> Result<EmailServer> {
    let (id, now) = (EmailServerId::new(&core.ids), core.clock.now());
    Ok(EmailServer {
        id,
        environment,
        provider: new.provider,
        enabled: false,
        settings: new.settings.clone(),
        password: seal_password(core, environment, id, &new.password).await?,
        created_at: now,
        updated_at: now,
    })
}

pub(super) async fn seal_password(
    core: &Core,
    environment: EnvId,
    id: EmailServerId,
    password: &Secret<String>,
) -> Result<Sealed> {
    seal::seal(core, place(environment, id), password.expose().as_bytes()).await
}

/// A server.
pub async fn server(core: &Core, environment: EnvId, id: EmailServerId) -> Result<EmailServer> {
    load(&mut *core.db.reader().await?, environment, id).await?.ok_or_else(server_not_found)
}

/// The servers of an environment, oldest first.
pub async fn servers(core: &Core, environment: EnvId) -> Result<Vec<EmailServer>> {
    let sql = format!("{SELECT} WHERE environment_id = $1 ORDER BY id");
    Ok(core.db.reader().await?.all(&sql, &p![environment]).await?)
}

/// Replaces the settings of a server. Without a password the stored one stays, but only for the host that it was given for: whoever may
/// change settings without knowing the password could have it sent to a host of their own.
pub async fn update_server(
    core: &Core,
    environment: EnvId,
    id: EmailServerId,
    mut settings: Settings,
    password: Option<Secret<String>>,
) -> Result<EmailServer> {
    let password = password.filter(|password| !password.expose().is_empty());
    settings.validate(password.as_ref().map(|password| password.expose().as_str()), "settings")?;
    let password = match password {
        Some(password) => Some(seal_password(core, environment, id, &password).await?),
        None => None,
    };
    let now = core.clock.now();
    core.db
        .write_for(share(environment), async move |tx| {
            let change = Change { provider: None, settings: settings.clone(), password: password.clone() };
            change.write(tx, environment, id, "settings", now).await
        })
        .await
}

/// A change of a server.
pub(super) struct Change {
    pub(super) provider: Option<Provider>,
    pub(super) settings: Settings,
    pub(super) password: Option<Sealed>,
}

impl Change {
    pub(super) async fn write(
        self,
        tx: &mut Tx,
        environment: EnvId,
        id: EmailServerId,
        field: &str,
        now: Timestamp,
    ) -> Result<EmailServer> {
        let mut server = load(tx, environment, id).await?.ok_or_else(server_not_found)?;
        if self.password.is_none() && self.settings.host != server.settings.host {
            return Err(password_missing(field));
        }
        server.provider = self.provider.unwrap_or(server.provider);
        server.settings = self.settings;
        server.password = self.password.unwrap_or(server.password);
        server.updated_at = now.max(server.updated_at);
        let settings = &server.settings;
        tx.execute(
            "UPDATE email_servers SET provider = $2, host = $3, port = $4, username = $5, password = $6, from_email = $7, \
             from_name = $8, updated_at = $9 WHERE id = $1",
            &p![
                id,
                server.provider as i32,
                &settings.host,
                i64::from(settings.port),
                &settings.username,
                &server.password,
                &settings.from_email,
                &settings.from_name,
                server.updated_at
            ],
        )
        .await?;
        Ok(server)
    }
}

fn password_missing(field: &str) -> Error {
    let text =
        "is required for a new server and where the host changes: a stored password goes to the host it was given for";
    Error::invalid(format!("{field}.password"), "email_server.password", text)
}

/// Has the mails of the environment go through this server, and no other.
pub async fn enable_server(core: &Core, environment: EnvId, id: EmailServerId) -> Result<Switched<EmailServerId>> {
    let now = core.clock.now();
    switch(core, environment, async move |tx| {
        load(tx, environment, id).await?.ok_or_else(server_not_found)?;
        enable(tx, environment, id, now).await
    })
    .await
}

/// [`enable_server`] in a transaction. Who was enabled before, if another was.
pub(super) async fn enable(
    tx: &mut Tx,
    environment: EnvId,
    id: EmailServerId,
    now: Timestamp,
) -> Result<Switched<EmailServerId>> {
    let previous = enabled(tx, environment).await?.map(|server| server.id).filter(|previous| *previous != id);
    if let Some(previous) = previous {
        set_enabled(tx, previous, false, now).await?;
    }
    set_enabled(tx, id, true, now).await?;
    Ok(Switched { active: id, previous })
}

pub(super) async fn set_enabled(tx: &mut Tx, id: EmailServerId, enabled: bool, now: Timestamp) -> Result<()> {
    let sql = "UPDATE email_servers SET enabled = $2, updated_at = $3 WHERE id = $1 AND enabled <> $2";
    tx.execute(sql, &p![id, enabled, now]).await?;
    Ok(())
}

/// Has the mails of the environment go through the installation's own server again, if they went through this one.
pub async fn disable_server(core: &Core, environment: EnvId, id: EmailServerId) -> Result<()> {
    let now = core.clock.now();
    core.db
        .write_for(share(environment), async move |tx| {
            load(tx, environment, id).await?.ok_or_else(server_not_found)?;
            set_enabled(tx, id, false, now).await
        })
        .await
}

/// Removes a server, with its password. Mails go through the installation's own if it was the enabled one.
pub async fn delete_server(core: &Core, environment: EnvId, id: EmailServerId) -> Result<()> {
    core.db
        .write_for(share(environment), async move |tx| {
            let sql = "DELETE FROM email_servers WHERE id = $1 AND environment_id = $2";
            if tx.execute(sql, &p![id, environment]).await? == 0 { Err(server_not_found()) } else { Ok(()) }
        })
        .await
}

pub(super) async fn load(tx: &mut Tx, environment: EnvId, id: EmailServerId) -> Result<Option<EmailServer>, DbError> {
    tx.opt(&format!("{SELECT} WHERE id = $1 AND environment_id = $2"), &p![id, environment]).await
}

/// The server that was changed last: what a form for one server shows where none is enabled.
pub(super) async fn newest(tx: &mut Tx, environment: EnvId) -> Result<Option<EmailServer>> {
    let sql = format!("{SELECT} WHERE environment_id = $1 ORDER BY updated_at DESC, id DESC LIMIT 1");
    Ok(tx.opt(&sql, &p![environment]).await?)
}

pub(super) async fn insert(tx: &mut Tx, server: &EmailServer) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM email_servers WHERE environment_id = $1";
    let (count,): (i64,) = tx.one(sql, &p![server.environment]).await?;
    if count >= MOST {
        return Err(Error::new(Kind::FailedPrecondition, format!("an environment has at most {MOST} email servers")));
    }
    let settings = &server.settings;
    tx.execute(
        "INSERT INTO email_servers (id, environment_id, provider, enabled, host, port, username, password, from_email, from_name, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        &p![
            server.id,
            server.environment,
            server.provider as i32,
            server.enabled,
            &settings.host,
            i64::from(settings.port),
            &settings.username,
            &server.password,
            &settings.from_email,
            &settings.from_name,
            server.created_at,
            server.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// The answer to an id that is no server of the environment.
pub fn server_not_found() -> Error {
    Error::not_found(EmailServerId::NOUN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eml_03_a_host_is_a_name_or_an_address_and_nothing_else() {
        for good in ["smtp.sendgrid.net", "email-smtp.eu-west-1.amazonaws.com", "localhost", "192.0.2.1", "2001:db8::1"]
        {
            assert!(is_host(good), "{good}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for bad in [
            "",
            ".",
            "smtp..example",
            "-a.example",
            "https://a.example",
            "a.example:25",
            "a b",
            "a.example/",
            "a\r\nb",
            "user@a",
            &long,
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
