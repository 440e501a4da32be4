//! A mail, written: whose server and template it takes, and what the variables stand for.

use std::collections::BTreeMap;

use narthex_db::{Tx, p};
use serde_json::Value;

use super::template::{Format, Template};
use super::templates::{self, Content};
use super::{Mail, RESERVED, servers, stock};
use crate::branding;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::mailer::{Message, SmtpServer};
use crate::organizations::{self, Identity};
use crate::users;

/// Characters of a subject, and of somebody's name in a mail.
const SUBJECT: usize = 255;
const NAME: usize = 100;

/// A mail, and the server that takes it: the customer's, or the installation's own.
pub(super) struct Composed {
    pub(super) message: Message,
    pub(super) via: Option<SmtpServer>,
}

/// Writes a mail. `id` is the left half of its `Message-ID`.
pub(super) async fn compose(
    core: &Core,
    environment: &Environment,
    mail: Mail,
    id: Option<String>,
) -> Result<Composed> {
    // The environment's own settings: what an application is called is not for the administrators of an organization to say.
    let branding = branding::settings(core, environment.id).await?;
    let (server, template, variables) = {
        let mut reader = core.db.reader().await?;
        let server = servers::enabled(&mut reader, environment.id).await?;
        // A customer's own words go out under the customer's own name only (login-methods reference, open point 26).
        let template = match &server {
            Some(_) => templates::chosen(&mut reader, environment.id, mail.organization, mail.use_case).await?,
            None => None,
        };
        (server, template, look_up(&mut reader, environment, &mail, &branding, core.clock.now()).await?)
    };
    let (from_name, from, via) = match server {
        Some(server) => {
            let via = server.connect(core).await?;
            (server.settings.from_name, server.settings.from_email, Some(via))
        }
        None => (super::from_name(core, environment).await?, core.mailer.address(), None),
    };
    let custom = template.and_then(|template| match write(&template.content, &variables) {
        Ok(written) => Some(written),
        // Who signs in must not suffer from a template that worked with other values.
        Err(problem) => {
            tracing::warn!(template = %template.id, problem, "a template was not used, but the built-in one");
            None
        }
    });
    let written = match custom {
        Some(written) => written,
        None => write(&stock(mail.use_case), &variables).map_err(Error::internal)?,
    };
    let id = id.unwrap_or_else(|| core.random.base62(24));
    let message = Message {
        environment: environment.id,
        use_case: mail.use_case,
        id,
        date: core.clock.real_now(),
        from_name: clean(&from_name),
        from,
        to: mail.to,
        subject: written.subject,
        text: written.plain,
        html: written.html,
        link: mail.variables.link,
        otp: mail.variables.otp,
    };
    Ok(Composed { message, via })
}

/// What the variables of a template stand for. Who waits for a link or a code is sent those of this mail, whatever a caller says.
async fn look_up(
    tx: &mut Tx,
    environment: &Environment,
    mail: &Mail,
    branding: &branding::Settings,
    now: Timestamp,
) -> Result<BTreeMap<String, String>> {
    let organization = match mail.organization {
        Some(id) => organizations::load(tx, environment.id, &Identity::Id(id)).await?,
        None => None,
    };
    let user = users::load_by_email(tx, environment.id, &mail.to).await?;
    let user_name = user.map(|user| users::name_of(&user)).unwrap_or_default();
    let [app_name, app_logo_url, app_support_email, app_organization_meta_name] =
        application(tx, environment, branding).await?;
    let mut variables: BTreeMap<String, String> = [
        ("app_name", app_name),
        ("app_logo_url", app_logo_url),
        ("app_support_email", app_support_email),
        ("app_organization_meta_name", app_organization_meta_name),
        ("organization_name", clean(&organization.map(|organization| organization.display_name).unwrap_or_default())),
        ("user_name", clean(&user_name)),
        ("user_email", mail.to.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let own = mail.custom.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str()));
    variables.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    let expires_at = mail.variables.expires_at;
    let contextual = [
        ("link", mail.variables.link.clone()),
        ("otp", mail.variables.otp.clone()),
        ("expiry_time_relative", expires_at.map(|at| relative(at, now))),
        ("expiry_time", expires_at.map(Timestamp::rfc3339)),
        ("expire_time", expires_at.map(Timestamp::rfc3339)),
    ];
    variables.extend(contextual.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok(variables)
}

/// What mails say of the application; its workspace stands for one without a name.
async fn application(tx: &mut Tx, environment: &Environment, branding: &branding::Settings) -> Result<[String; 4]> {
    let text =
        |key: &str| branding.values.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let name = match text("app_name") {
        Some(name) => name.to_owned(),
        None => workspace_name(tx, environment).await?,
    };
    let is_web = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
    Ok([
        clean(&name),
        text("logo_url").filter(is_web).unwrap_or_default().to_owned(),
        clean(text("support_email").unwrap_or_default()),
        clean(text("organization_meta_name").unwrap_or("Organization")),
    ])
}

/// Name of the workspace that an environment belongs to.
pub(super) async fn workspace_name(tx: &mut Tx, environment: &Environment) -> Result<String> {
    let sql = "SELECT display_name FROM workspaces WHERE id = $1";
    let name: Option<(String,)> = tx.opt(sql, &p![environment.workspace_id]).await?;
    Ok(name.map(|(name,)| name).unwrap_or_default())
}

/// Renders the three texts of a template.
fn write(content: &Content, variables: &BTreeMap<String, String>) -> Result<Content, String> {
    let part = |source: &str, format| {
        let template = Template::parse(source).map_err(|error| error.to_string())?;
        template.render(variables, format).map_err(|error| error.to_string())
    };
    Ok(Content {
        subject: one_line(&part(&content.subject, Format::Text)?, SUBJECT),
        html: part(&content.html, Format::Html)?,
        plain: part(&content.plain, Format::Text)?,
    })
}

/// Somebody's name as a mail shows it.
fn clean(name: &str) -> String {
    one_line(name, NAME)
}

/// Without line breaks, which would end a header, and other control characters; spaces count once.
fn one_line(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most * 4));
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(most) {
        Some((at, _)) => line[..at].trim_end().to_owned(),
        None => line,
    }
}

/// How long until then, up to the minute: "14 days, 6 hours, 50 min".
fn relative(at: Timestamp, now: Timestamp) -> String {
    // A code for five minutes is for five minutes, though some of the first has passed.
    let minutes = at.0.saturating_sub(now.0).max(0).saturating_add(59_999_999) / 60_000_000;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    let several = |count: i64, one: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {one}s")),
    };
    let minutes = match (minutes, days, hours) {
        (0, 0, 0) => Some("1 min".to_owned()),
        (0, ..) => None,
        _ => Some(format!("{minutes} min")),
    };
    [several(days, "day"), several(hours, "hour"), minutes].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn eml_06_the_time_left_is_told_in_days_hours_and_minutes() {
        for (seconds, text) in [
            (0, "1 min"),
            (1, "1 min"),
            (60, "1 min"),
            (61, "2 min"),
            (299, "5 min"),
            (300, "5 min"),
            (3_600, "1 hour"),
            (3_660, "1 hour, 1 min"),
            (86_400, "1 day"),
            (15 * 86_400, "15 days"),
            (15 * 86_400 - 1, "15 days"),
            (14 * 86_400 + 6 * 3_600 + 50 * 60, "14 days, 6 hours, 50 min"),
        ] {
            let now = Timestamp(1_000_000_000_000);
            assert_eq!(relative(now.plus(Duration::from_secs(seconds)), now), text, "{seconds}");
        }
        assert_eq!(relative(Timestamp(0), Timestamp(5_000_000)), "1 min", "past");
    }

    #[test]
    fn mistake_13_a_subject_is_one_line_and_no_longer_than_a_header_may_be() {
        assert_eq!(one_line("Acme\r\nBcc: all@example.com\r\n\r\nbody", 255), "Acme Bcc: all@example.com body");
        assert_eq!(one_line(" a\t\u{2028}b\u{0}c\u{7f} ", 255), "a b c");
        assert_eq!(one_line(&"é".repeat(300), 255), "é".repeat(255));
    }
}
