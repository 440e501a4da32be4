//! Mails: what they say, whose server they go through, and that they arrive.
//!
//! A mail that somebody waits for (a code, a link) is sent at once by [`send`], and what asked for it fails if that fails. A mail that
//! follows a change (an invitation) is written, sealed, in the transaction of the change by [`enqueue`], and a job delivers it.

mod compose;
mod configuration;
mod outbox;
mod servers;
mod stock;
mod switch;
pub mod template;
mod templates;
mod use_case;

use std::collections::BTreeMap;

use narthex_db::p;
use serde::{Deserialize, Serialize};

pub use configuration::{Configuration, FormServer, configuration, configure};
pub(crate) use outbox::Payload;
pub(crate) use outbox::seal_payload;
pub use outbox::{DELIVER, Prepared, deliver, enqueue, prepare};
pub use servers::{
    EmailServer, NewServer, Provider, Settings, create_server, delete_server, disable_server, enable_server, server,
    server_not_found, servers, update_server,
};
pub use stock::stock;
pub use switch::Switched;
pub use template::escape;
pub(crate) use templates::purge_of_organization;
pub use templates::{
    Content, EmailTemplate, Scope, TemplatePatch, check_variables, create_template, delete_template, disable_template,
    enable_template, template, template_not_found, templates, update_template,
};
pub use use_case::{Placeholder, UseCase};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Kind, Result};
use crate::ids::OrganizationId;
use crate::mailer::{Failure, MailError};

/// Variables that only the product sets: a caller's value would say that a code or link is good when it is not.
pub const RESERVED: [&str; 5] = ["otp", "expiry_time_relative", "link", "expire_time", "expiry_time"];

/// A mail to be written and sent. Has no Debug: it holds a code or a link.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mail {
    /// What it is for.
    pub use_case: UseCase,
    /// Organization that it is about: its name, and its templates.
    #[serde(with = "organization")]
    pub organization: Option<OrganizationId>,
    /// Address that it goes to.
    pub to: String,
    /// What only this mail says.
    pub variables: Variables,
    /// Variables of the caller's own.
    pub custom: BTreeMap<String, String>,
}

/// What only one mail says. Everything else that a template may name is looked up when it is written.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Variables {
    /// Where its button leads.
    pub link: Option<String>,
    /// The code.
    pub otp: Option<String>,
    /// Until when link and code are good.
    #[serde(with = "timestamp")]
    pub expires_at: Option<Timestamp>,
}

mod organization {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::ids::OrganizationId;

    #[allow(clippy::ref_option)] // serde's signature
    pub fn serialize<S: Serializer>(id: &Option<OrganizationId>, serializer: S) -> Result<S::Ok, S::Error> {
        id.map(|id| id.0).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OrganizationId>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(OrganizationId))
    }
}

mod timestamp {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::clock::Timestamp;

    #[allow(clippy::ref_option)] // serde's signature
    pub fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(|at| at.0).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp))
    }
}

/// Writes a mail and hands it to its server, before it returns.
///
/// FAILED_PRECONDITION where there is no server to hand it to. UNAVAILABLE if the server does not take it: nothing was sent, and the
/// message says why without a word of the server's own.
pub async fn send(core: &Core, environment: &Environment, mail: Mail) -> Result<()> {
    let composed = compose::compose(core, environment, mail, None).await?;
    let sent = core.mailer.send(&composed.message, composed.via.as_ref()).await;
    sent.map_err(|error| failed(environment, composed.message.use_case, error))
}

/// What the caller is told. An operator who has no mail server finds it in the log, too: to the log, a refusal is no failure.
fn failed(environment: &Environment, use_case: UseCase, error: MailError) -> Error {
    if error.failure == Failure::NotConfigured {
        tracing::warn!(environment = %environment.id, use_case = use_case.name(), "a mail was not sent: no mail server is configured");
        return Error::new(Kind::FailedPrecondition, error.failure.text())
            .with_code("MAIL_NOT_CONFIGURED")
            .because(error);
    }
    Error::new(Kind::Unavailable, error.failure.text()).with_code("MAIL_NOT_SENT").because(error)
}

/// The name that an environment's mails come from where it has no server of its own.
async fn from_name(core: &Core, environment: &Environment) -> Result<String> {
    let mut reader = core.db.reader().await?;
    let sql = "SELECT from_name FROM email_settings WHERE environment_id = $1";
    let own: Option<(String,)> = reader.opt(sql, &p![environment.id]).await?;
    match own {
        Some((name,)) if !name.is_empty() => Ok(name),
        _ => Ok(format!("Team {}", compose::workspace_name(&mut reader, environment).await?)),
    }
}
