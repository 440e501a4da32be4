//! The mail settings of an environment as one form.

use narthex_db::{Tx, p};

use super::from_name;
use super::servers::{self, Change, EmailServer, NewServer, Provider, Settings};
use super::switch::switch;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::ids::{EmailServerId, EnvId};
use crate::seal::{Sealed, Secret};

/// Characters of a sender's name.
const NAME: usize = 255;

/// Whose server the mails of an environment go through, and who they come from.
#[derive(Clone)]
pub struct Configuration {
    /// The sender's name where the installation's own server is used.
    pub from_name: String,
    /// The sender's address there.
    pub from_address: String,
    /// The environment's enabled server; else the one that was changed last, which a form can show.
    pub server: Option<EmailServer>,
}

impl Configuration {
    /// Whether mails go through the environment's own server.
    pub fn is_custom(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.enabled)
    }
}

/// A server as the form has it.
#[derive(Clone)]
pub struct FormServer {
    /// The server to be changed; without one a new server is made.
    pub id: Option<EmailServerId>,
    /// Whose it is.
    pub provider: Provider,
    /// Whether mails go through it.
    pub enabled: bool,
    /// How it is reached.
    pub settings: Settings,
    /// With what one signs in; an empty one keeps the stored one.
    pub password: Secret<String>,
}

/// The mail settings of an environment.
pub async fn configuration(core: &Core, environment: &Environment) -> Result<Configuration> {
    let mut reader = core.db.reader().await?;
    let server = match servers::enabled(&mut reader, environment.id).await? {
        Some(server) => Some(server),
        None => servers::newest(&mut reader, environment.id).await?,
    };
    drop(reader);
    Ok(Configuration { from_name: from_name(core, environment).await?, from_address: core.mailer.address(), server })
}

/// Sets the sender's name (an empty one is the built-in one) and, where the form has one, a server: all of it or nothing.
pub async fn configure(
    core: &Core,
    environment: &Environment,
    from_name: &str,
    server: Option<FormServer>,
) -> Result<Configuration> {
    let from_name = from_name.trim().to_owned();
    if from_name.chars().any(char::is_control) || from_name.chars().count() > NAME {
        let text = format!("must be at most {NAME} characters, none of them a control character");
        return Err(Error::invalid("default_from_name", "email_settings.from_name", text));
    }
    let server = match server {
        Some(form) => Some(FormWrite::new(core, environment.id, form).await?),
        None => None,
    };
    let (id, now) = (environment.id, core.clock.now());
    switch(core, id, async move |tx| {
        tx.execute(
            "INSERT INTO email_settings (environment_id, from_name, updated_at) VALUES ($1, $2, $3) \
             ON CONFLICT (environment_id) DO UPDATE SET from_name = excluded.from_name, updated_at = excluded.updated_at",
            &p![id, &from_name, now],
        )
        .await?;
        match &server {
            Some(server) => server.write(tx, id, now).await,
            None => Ok(()),
        }
    })
    .await?;
    configuration(core, environment).await
}

/// A form's server, its password sealed.
#[derive(Clone)]
struct FormWrite {
    /// The server to be changed, and its new password.
    known: Option<(EmailServerId, Option<Sealed>)>,
    new: Option<EmailServer>,
    provider: Provider,
    enabled: bool,
    settings: Settings,
}

impl FormWrite {
    async fn new(core: &Core, environment: EnvId, form: FormServer) -> Result<Self> {
        let FormServer { id, provider, enabled, mut settings, password } = form;
        settings.validate(Some(password.expose()), "server.settings")?;
        let (known, new) = match id {
            Some(id) if password.expose().is_empty() => (Some((id, None)), None),
            Some(id) => (Some((id, Some(servers::seal_password(core, environment, id, &password).await?))), None),
            None if password.expose().is_empty() => {
                let text = "is required for a new server";
                return Err(Error::invalid("server.settings.password", "email_server.password", text));
            }
            None => {
                let new = NewServer { provider, settings: settings.clone(), password };
                (None, Some(servers::seal_new(core, environment, &new).await?))
            }
        };
        Ok(Self { known, new, provider, enabled, settings })
    }

    async fn write(&self, tx: &mut Tx, environment: EnvId, now: Timestamp) -> Result<()> {
        let id = match (&self.new, &self.known) {
            (Some(new), _) => {
                servers::insert(tx, new).await?;
                new.id
            }
            (None, Some((id, password))) => {
                let settings = self.settings.clone();
                let change = Change { provider: Some(self.provider), settings, password: password.clone() };
                change.write(tx, environment, *id, "server.settings", now).await?;
                *id
            }
            (None, None) => return Ok(()),
        };
        if self.enabled {
            servers::enable(tx, environment, id, now).await?;
            Ok(())
        } else {
            servers::set_enabled(tx, id, false, now).await
        }
    }
}
