//! The tokens of an organization.

use narthex_db::p;

use super::store::COLUMNS;
use super::validate::holder;
use super::{ApiToken, View};
use crate::core::Core;
use crate::error::Result;
use crate::ids::{EnvId, OrganizationId, UserId};
use crate::listing::Rows;
use crate::organizations::{self, Identity};
use crate::pages::{Limits, Page, PageRequest, Scope};

/// Page sizes of the list.
pub const LIST: Limits = Limits { default: 10, max: 30 };

/// The tokens of an organization that count, newest first; of one user, if one is named. A token whose user is no member any more
/// does not count.
pub async fn list(
    core: &Core,
    environment: EnvId,
    organization: OrganizationId,
    user: Option<UserId>,
    asked: &PageRequest,
) -> Result<Page<View>> {
    let now = core.clock.now();
    let scope = Scope::new(environment, "api_tokens", &format!("{organization} {user:?}"));
    let size = LIST.size(asked.size);
    let position = scope.position(&asked.token, size)?;
    core.db
        .read(async move |tx| {
            let owner = organizations::load(tx, environment, &Identity::Id(organization)).await?;
            let external_id = owner.ok_or_else(organizations::not_found)?.external_id;
            let (filter, mut values) = ("AND t.user_id = $4", p![environment, organization, now].to_vec());
            values.extend(user.map(narthex_db::Value::from));
            let from = format!(
                "api_tokens t WHERE t.environment_id = $1 AND t.organization_id = $2 AND t.revoked_at IS NULL \
                 AND (t.expires_at IS NULL OR t.expires_at > $3) AND (t.user_id IS NULL OR EXISTS (SELECT 1 FROM memberships m \
                 WHERE m.organization_id = t.organization_id AND m.user_id = t.user_id AND m.state <> 2 \
                 AND m.created_at <= t.created_at)) {}",
                if user.is_some() { filter } else { "" }
            );
            let rows = Rows { columns: COLUMNS, from: &from, key: "t.id", values };
            let page: Page<ApiToken> = rows.page(tx, &scope, position, size, |token: &ApiToken| token.id.0).await?;
            let mut items = Vec::with_capacity(page.items.len());
            for token in page.items {
                let holder = match token.user {
                    Some(user) => holder(tx, &token, user).await?,
                    None => None,
                };
                items.push(View { token, organization_external_id: external_id.clone(), holder });
            }
            Ok(Page { items, next: page.next, prev: page.prev, total: page.total })
        })
        .await
}
