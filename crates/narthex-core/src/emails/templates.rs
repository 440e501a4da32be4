//! Templates of customers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::switch::{Switched, switch};
use super::template::{Format, Template};
use super::{RESERVED, UseCase, servers};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Kind, Result, Violation};
use crate::idempotency::{self, IdempotencyKey};
use crate::ids::{EmailTemplateId, EnvId, OrganizationId};
use crate::organizations::{self, Identity, share};

/// Templates of one environment or organization, and their bytes.
const MOST: i64 = 100;
const BYTES: i64 = 16 * 1024 * 1024;

/// What a template says, in the language of [`super::template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The subject.
    pub subject: String,
    /// The HTML part.
    pub html: String,
    /// The text part.
    pub plain: String,
}

/// A template of a customer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailTemplate {
    /// Id.
    pub id: EmailTemplateId,
    /// Environment that it belongs to.
    pub environment: EnvId,
    /// Organization that it is for; none for the whole environment.
    pub organization: Option<OrganizationId>,
    /// What its mails are for.
    pub use_case: UseCase,
    /// Whether it is used: one at most of a use case, in the environment and in each organization.
    pub enabled: bool,
    /// What it says.
    pub content: Content,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

const SELECT: &str = "SELECT id, environment_id, organization_id, use_case, enabled, subject, html, plain, created_at, updated_at \
     FROM email_templates";

impl FromRow for EmailTemplate {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let unknown = || DbError::Data("email_templates.use_case has an unknown value".to_owned());
        Ok(Self {
            id: row.get(0)?,
            environment: row.get(1)?,
            organization: Some(OrganizationId(row.get(2)?)).filter(|id| id.0 != 0),
            use_case: UseCase::from_number(row.get(3)?).ok_or_else(unknown)?,
            enabled: row.get(4)?,
            content: Content { subject: row.get(5)?, html: row.get(6)?, plain: row.get(7)? },
            created_at: row.get(8)?,
            updated_at: row.get(9)?,
        })
    }
}

/// The template that a mail is written by: the organization's, else the environment's.
pub(super) async fn chosen(
    tx: &mut Tx,
    environment: EnvId,
    organization: Option<OrganizationId>,
    use_case: UseCase,
) -> Result<Option<EmailTemplate>> {
    let sql = format!(
        "{SELECT} WHERE environment_id = $1 AND organization_id IN (0, $2) AND use_case = $3 AND enabled = 1 \
         ORDER BY organization_id DESC LIMIT 1"
    );
    let organization = organization.map_or(0, |id| id.0);
    Ok(tx.opt(&sql, &p![environment, organization, use_case as i32]).await?)
}

/// What a template is for: the whole environment, or one organization.
pub type Scope = Option<OrganizationId>;

impl Content {
    /// Every variable that it names, in the order of the alphabet.
    pub fn variables(&self) -> BTreeSet<String> {
        self.parts().flat_map(|template| template.variables().clone()).collect()
    }

    fn required(&self) -> BTreeSet<String> {
        self.parts().flat_map(|template| template.required().clone()).collect()
    }

    fn parts(&self) -> impl Iterator<Item = Template> {
        [&self.subject, &self.html, &self.plain].into_iter().filter_map(|text| Template::parse(text).ok())
    }

    fn patch(&self) -> TemplatePatch {
        let Self { subject, html, plain } = self.clone();
        TemplatePatch { subject: Some(subject), html: Some(html), plain: Some(plain) }
    }
}

/// Adds a template, which is not used until it is enabled. INVALID_ARGUMENT names the line of what is no template.
pub async fn create_template(
    core: &Core,
    environment: EnvId,
    scope: Scope,
    use_case: UseCase,
    content: Content,
    key: Option<IdempotencyKey>,
) -> Result<EmailTemplate> {
    content.patch().check()?;
    let now = core.clock.now();
    let template = EmailTemplate {
        id: EmailTemplateId::new(&core.ids),
        environment,
        organization: scope,
        use_case,
        enabled: false,
        content,
        created_at: now,
        updated_at: now,
    };
    let creation = Arc::new((template, key));
    idempotency::past_twins(creation.1.as_ref(), || {
        let (id, creation) = (creation.0.id, Arc::clone(&creation));
        core.db.write_checked(
            share(environment),
            async move |tx| Ok(load(tx, environment, scope, id).await?.is_some()),
            async move |tx| {
                let (template, key) = &*creation;
                exists(tx, environment, scope).await?;
                if let Some(key) = key
                    && let Some(earlier) = idempotency::find(tx, key, now).await?
                {
                    let earlier = load(tx, environment, scope, EmailTemplateId(earlier)).await?;
                    return earlier.ok_or_else(template_not_found);
                }
                insert(tx, template).await?;
                bounded(tx, environment, scope).await?;
                if let Some(key) = key {
                    idempotency::remember(tx, key, template.id.0, now).await?;
                }
                Ok::<_, Error>(template.clone())
            },
        )
    })
    .await
}

/// A template.
pub async fn template(core: &Core, environment: EnvId, scope: Scope, id: EmailTemplateId) -> Result<EmailTemplate> {
    core.db
        .read(async move |tx| {
            exists(tx, environment, scope).await?;
            load(tx, environment, scope, id).await?.ok_or_else(template_not_found)
        })
        .await
}

/// The templates of a scope, oldest first.
pub async fn templates(core: &Core, environment: EnvId, scope: Scope) -> Result<Vec<EmailTemplate>> {
    core.db
        .read(async move |tx| {
            exists(tx, environment, scope).await?;
            let sql = format!("{SELECT} WHERE environment_id = $1 AND organization_id = $2 ORDER BY id");
            Ok(tx.all(&sql, &p![environment, number(scope)]).await?)
        })
        .await
}

/// A change of what a template says. Absent parts stay.
#[derive(Debug, Clone, Default)]
pub struct TemplatePatch {
    /// The subject.
    pub subject: Option<String>,
    /// The HTML part.
    pub html: Option<String>,
    /// The text part.
    pub plain: Option<String>,
}

impl TemplatePatch {
    /// Reads every part and prints it with values and without, so that what cannot be sent is refused before anybody waits for it.
    fn check(&self) -> Result<()> {
        let mut broken = Vec::new();
        for (field, text, format) in [
            ("template.subject", &self.subject, Format::Text),
            ("template.html_content", &self.html, Format::Html),
            ("template.plain_content", &self.plain, Format::Text),
        ] {
            let Some(text) = text else { continue };
            // PostgreSQL cannot store it.
            if text.contains('\0') {
                broken.push(Violation::new(field, "string.nul", "must not contain U+0000"));
                continue;
            }
            match Template::parse(text) {
                Err(error) => broken.push(Violation::new(field, "template.syntax", error.to_string())),
                Ok(template) => {
                    let value = |name: &String| (name.clone(), "value".to_owned());
                    let values: BTreeMap<String, String> = template.variables().iter().map(value).collect();
                    let printed = [values, BTreeMap::new()].map(|values| template.render(&values, format));
                    if let Some(error) = printed.into_iter().find_map(Result::err) {
                        broken.push(Violation::new(field, "template.work", error.to_string()));
                    }
                }
            }
        }
        if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
    }
}

/// Changes what a template says.
pub async fn update_template(
    core: &Core,
    environment: EnvId,
    scope: Scope,
    id: EmailTemplateId,
    patch: TemplatePatch,
) -> Result<EmailTemplate> {
    patch.check()?;
    let now = core.clock.now();
    core.db
        .write_for(share(environment), async move |tx| {
            exists(tx, environment, scope).await?;
            let mut template = load(tx, environment, scope, id).await?.ok_or_else(template_not_found)?;
            let TemplatePatch { subject, html, plain } = patch.clone();
            let content = &mut template.content;
            content.subject = subject.unwrap_or_else(|| content.subject.clone());
            content.html = html.unwrap_or_else(|| content.html.clone());
            content.plain = plain.unwrap_or_else(|| content.plain.clone());
            template.updated_at = now.max(template.updated_at);
            tx.execute(
                "UPDATE email_templates SET subject = $2, html = $3, plain = $4, updated_at = $5 WHERE id = $1",
                &p![
                    id,
                    &template.content.subject,
                    &template.content.html,
                    &template.content.plain,
                    template.updated_at
                ],
            )
            .await?;
            bounded(tx, environment, scope).await?;
            Ok(template)
        })
        .await
}

/// Has the mails of the template's use case written by it, and by no other of its scope. FAILED_PRECONDITION unless the environment's
/// mails go through a server of its own.
pub async fn enable_template(
    core: &Core,
    environment: EnvId,
    scope: Scope,
    id: EmailTemplateId,
) -> Result<Switched<EmailTemplateId>> {
    let now = core.clock.now();
    switch(core, environment, async move |tx| {
        exists(tx, environment, scope).await?;
        let template = load(tx, environment, scope, id).await?.ok_or_else(template_not_found)?;
        if servers::enabled(tx, environment).await?.is_none() {
            let text = "templates are used with an email server of your own: enable one first";
            return Err(Error::new(Kind::FailedPrecondition, text));
        }
        let sql = "SELECT id FROM email_templates WHERE environment_id = $1 AND organization_id = $2 AND use_case = $3 AND enabled = 1";
        let previous: Option<(EmailTemplateId,)> =
            tx.opt(sql, &p![environment, number(scope), template.use_case as i32]).await?;
        let previous = previous.map(|(previous,)| previous).filter(|previous| *previous != id);
        if let Some(previous) = previous {
            set_enabled(tx, previous, false, now).await?;
        }
        set_enabled(tx, id, true, now).await?;
        Ok(Switched { active: id, previous })
    })
    .await
}

async fn set_enabled(tx: &mut Tx, id: EmailTemplateId, enabled: bool, now: Timestamp) -> Result<()> {
    let sql = "UPDATE email_templates SET enabled = $2, updated_at = $3 WHERE id = $1 AND enabled <> $2";
    tx.execute(sql, &p![id, enabled, now]).await?;
    Ok(())
}

/// Has mails written by the environment's template or the built-in one again, if they were written by this one.
pub async fn disable_template(core: &Core, environment: EnvId, scope: Scope, id: EmailTemplateId) -> Result<()> {
    let now = core.clock.now();
    core.db
        .write_for(share(environment), async move |tx| {
            exists(tx, environment, scope).await?;
            load(tx, environment, scope, id).await?.ok_or_else(template_not_found)?;
            set_enabled(tx, id, false, now).await
        })
        .await
}

/// Removes a template.
pub async fn delete_template(core: &Core, environment: EnvId, scope: Scope, id: EmailTemplateId) -> Result<()> {
    core.db
        .write_for(share(environment), async move |tx| {
            exists(tx, environment, scope).await?;
            let sql = "DELETE FROM email_templates WHERE id = $1 AND environment_id = $2 AND organization_id = $3";
            let gone = tx.execute(sql, &p![id, environment, number(scope)]).await?;
            if gone == 0 { Err(template_not_found()) } else { Ok(()) }
        })
        .await
}

/// Removes up to 50 templates of a deleted organization; how many.
pub(crate) async fn purge_of_organization(tx: &mut Tx, organization: OrganizationId) -> Result<u64> {
    let sql =
        "DELETE FROM email_templates WHERE id IN (SELECT id FROM email_templates WHERE organization_id = $1 LIMIT 50)";
    Ok(tx.execute(sql, &p![organization]).await?)
}

/// Checks the variables that a caller hands over for a mail (login-methods reference §6.1): none has a reserved name, and all that the
/// template of the mail relies on are there. The built-in template relies on none.
pub async fn check_variables(
    core: &Core,
    environment: EnvId,
    scope: Scope,
    use_case: UseCase,
    variables: &BTreeMap<String, String>,
) -> Result<()> {
    const FIELD: &str = "template_variables";
    let mut broken = Vec::new();
    for name in RESERVED.iter().filter(|name| variables.contains_key(**name)) {
        broken.push(Violation::new(FIELD, "template_variables.reserved", format!("`{name}` is reserved")));
    }
    let template = {
        let mut reader = core.db.reader().await?;
        match servers::enabled(&mut reader, environment).await? {
            Some(_) => chosen(&mut reader, environment, scope, use_case).await?,
            None => None,
        }
    };
    for name in template.map(|template| template.content.required()).unwrap_or_default() {
        let is_built_in =
            RESERVED.contains(&name.as_str()) || use_case.placeholders().iter().any(|known| known.name == name);
        if !is_built_in && !variables.contains_key(&name) {
            let text = format!("`{name}` is missing: the template of this mail names it");
            broken.push(Violation::new(FIELD, "template_variables.missing", text));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
}

/// NOT_FOUND for an organization that is none of the environment.
async fn exists(tx: &mut Tx, environment: EnvId, scope: Scope) -> Result<()> {
    match scope {
        Some(id) if organizations::load(tx, environment, &Identity::Id(id)).await?.is_none() => {
            Err(organizations::not_found())
        }
        _ => Ok(()),
    }
}

/// The scope as the table has it.
fn number(scope: Scope) -> i64 {
    scope.map_or(0, |id| id.0)
}

async fn load(
    tx: &mut Tx,
    environment: EnvId,
    scope: Scope,
    id: EmailTemplateId,
) -> Result<Option<EmailTemplate>, DbError> {
    let sql = format!("{SELECT} WHERE id = $1 AND environment_id = $2 AND organization_id = $3");
    tx.opt(&sql, &p![id, environment, number(scope)]).await
}

async fn insert(tx: &mut Tx, template: &EmailTemplate) -> Result<()> {
    let EmailTemplate { id, environment, organization, use_case, enabled, content, created_at, updated_at } = template;
    tx.execute(
        "INSERT INTO email_templates (id, environment_id, organization_id, use_case, enabled, subject, html, plain, created_at, \
         updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &p![
            id,
            environment,
            number(*organization),
            *use_case as i32,
            *enabled,
            &content.subject,
            &content.html,
            &content.plain,
            created_at,
            updated_at
        ],
    )
    .await?;
    Ok(())
}

/// Refuses what has just made a scope too large: its list is one answer.
async fn bounded(tx: &mut Tx, environment: EnvId, scope: Scope) -> Result<()> {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(html) + OCTET_LENGTH(plain)), 0) AS BIGINT) FROM email_templates \
               WHERE environment_id = $1 AND organization_id = $2";
    let (count, bytes): (i64, i64) = tx.one(sql, &p![environment, number(scope)]).await?;
    if count > MOST || bytes > BYTES {
        let text =
            format!("an environment or organization has at most {MOST} templates, of {} MiB in all", BYTES >> 20);
        return Err(Error::new(Kind::FailedPrecondition, text));
    }
    Ok(())
}

/// The answer to an id that is no template of the scope.
pub fn template_not_found() -> Error {
    Error::not_found(EmailTemplateId::NOUN)
}
