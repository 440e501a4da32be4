//! Templates of customers.

use narthex_db::{DbError, FromRow, Row, Tx, p};

use super::UseCase;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::ids::{EmailTemplateId, EnvId, OrganizationId};

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
