//! Mail servers of customers.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{EmailServerId, EnvId};
use crate::mailer::SmtpServer;
use crate::seal::{self, Place, Sealed, Secret};

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
