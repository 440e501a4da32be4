//! Reading the domains of an organization.

use super::{Domain, DomainType, not_found, store};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{DomainId, EnvId, OrganizationId};
use crate::organizations::{self, Identity};
use crate::pages::Limits;

/// Page sizes of the list.
pub const LIST: Limits = Limits { default: 30, max: 100 };
/// Highest offset that a page may start at.
const MAX_OFFSET: i64 = 10_000;

/// What is asked of a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listed {
    /// Domains of a page; 0 for the default.
    pub size: u32,
    /// Number of the page, counted from 0.
    pub page: u32,
    /// Of this type only.
    pub kind: Option<DomainType>,
}

/// A domain of an organization.
pub async fn get(core: &Core, environment: EnvId, organization: OrganizationId, id: DomainId) -> Result<Domain> {
    store::load(&mut *core.db.reader().await?, environment, organization, id).await?.ok_or_else(not_found)
}

/// A page of the domains of an organization, oldest first: what is added while somebody reads comes on the last page and shifts none.
pub async fn list(core: &Core, environment: EnvId, organization: OrganizationId, asked: Listed) -> Result<Vec<Domain>> {
    let size = i64::try_from(LIST.size(asked.size)).unwrap_or(i64::MAX);
    let offset = i64::from(asked.page).saturating_mul(size);
    if offset > MAX_OFFSET {
        return Err(Error::invalid("page_number", "page_number", "is too far"));
    }
    core.db
        .read(async move |tx| {
            let owner = organizations::load(tx, environment, &Identity::Id(organization)).await?;
            owner.ok_or_else(organizations::not_found)?;
            store::list(tx, organization, asked.kind, size, offset).await
        })
        .await
}
