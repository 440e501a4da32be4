//! Links that open the admin portal of one organization. A link is a bearer secret: only its hash is kept, and it is never logged.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use narthex_db::{Tx, p};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::events::Actor;
use crate::ids::{EnvId, OrganizationId, PortalLinkId};
use crate::organizations::{self, Feature, Features, Identity};
use crate::sessions;

/// How long a link of an application may wait to be opened, once.
const SINGLE_USE: Duration = Duration::from_mins(1);
/// How long a link of an operator can be opened, again and again.
const REUSABLE: Duration = Duration::from_hours(7 * 24);
/// Live links that a list shows.
const LISTED: i64 = 100;
/// Rows that one transaction removes.
const CHUNK: i64 = 250;
/// Sessions that one transaction ends.
const SESSIONS: i64 = 200;

/// A link, as its maker sees it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPortalLink {
    /// Id, for revoking it.
    pub id: PortalLinkId,
    /// The URL. It cannot be had again.
    pub location: String,
    /// End of its life.
    pub expires_at: Timestamp,
}

/// A link, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalLink {
    /// Id.
    pub id: PortalLinkId,
    /// End of its life.
    pub expires_at: Timestamp,
    /// Whether it can be opened more than once.
    pub is_reusable: bool,
}

/// Who a link is for, which decides how long it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Made by an application that forwards the administrator at once.
    SingleUse,
    /// Made by an operator who sends it to the administrator.
    Reusable,
}

/// Makes a link for `features`, or for all that are enabled where none is named. INVALID_ARGUMENT for one that is not enabled.
pub async fn generate(
    core: &Core,
    environment: &Environment,
    by: &Actor,
    organization: OrganizationId,
    features: Vec<Feature>,
    life: Life,
) -> Result<NewPortalLink> {
    let now = core.clock.now();
    let id = PortalLinkId::new(&core.ids);
    let token = uuid(core.random.bytes());
    let hash = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
    let (lifetime, suffix) = match life {
        Life::SingleUse => (SINGLE_USE, ""),
        Life::Reusable => (REUSABLE, "_p"),
    };
    let link = NewPortalLink {
        id,
        location: format!("{}/magicLink/{token}{suffix}", environment.origin),
        expires_at: now.plus(lifetime),
    };
    let (environment, expires_at, by) = (environment.id, link.expires_at, by.clone());
    core.db
        .write_for(organizations::share(environment), async move |tx| {
            let features = allowed(tx, environment, organization, &features).await?;
            tx.execute(
                "INSERT INTO portal_links (id, environment_id, organization_id, token_hash, features, reusable, created_by, created_at, \
                 expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                &p![
                    id,
                    environment,
                    organization,
                    &hash,
                    features.enabled,
                    life == Life::Reusable,
                    by.as_str(),
                    now.0,
                    expires_at.0
                ],
            )
            .await?;
            Ok::<_, Error>(())
        })
        .await?;
    Ok(link)
}

/// What a link may carry of what was asked for.
async fn allowed(tx: &mut Tx, environment: EnvId, organization: OrganizationId, asked: &[Feature]) -> Result<Features> {
    let organization = organizations::load(tx, environment, &Identity::Id(organization)).await?;
    let organization = organization.ok_or_else(organizations::not_found)?;
    if asked.is_empty() {
        return Ok(Features::of_bits(organization.features.enabled));
    }
    let mut features = Features::default();
    for feature in asked {
        if !organization.features.is_enabled(*feature) {
            let description = format!("{} is not enabled for the organization", feature.name());
            return Err(Error::invalid("features", "feature.enabled", description));
        }
        features.switch(*feature, true);
    }
    Ok(features)
}

/// The live links of an organization, newest first, at most 100. Their locations are not known here.
pub async fn list(core: &Core, environment: EnvId, organization: OrganizationId) -> Result<Vec<PortalLink>> {
    let now = core.clock.now();
    core.db
        .read(async move |tx| {
            organizations::load(tx, environment, &Identity::Id(organization)).await?.ok_or_else(organizations::not_found)?;
            let rows: Vec<(PortalLinkId, i64, bool)> = tx
                .all(
                    "SELECT id, expires_at, reusable FROM portal_links WHERE organization_id = $1 AND environment_id = $2 \
                     AND expires_at > $3 AND used_at IS NULL ORDER BY id DESC LIMIT $4",
                    &p![organization, environment, now.0, LISTED],
                )
                .await?;
            let link = |(id, expires_at, is_reusable)| PortalLink { id, expires_at: Timestamp(expires_at), is_reusable };
            Ok(rows.into_iter().map(link).collect())
        })
        .await
}

/// Revokes all links of an organization; the sessions that they, and earlier ones, opened end.
pub async fn delete_all(core: &Core, environment: EnvId, organization: OrganizationId) -> Result<()> {
    loop {
        let now = core.clock.now();
        let (is_whole, bumps) = core
            .db
            .write_for(organizations::share(environment), async move |tx| {
                organizations::load(tx, environment, &Identity::Id(organization))
                    .await?
                    .ok_or_else(organizations::not_found)?;
                let links = purge(tx, organization).await?;
                let (ended, bumps) =
                    sessions::revoke_of_portal(tx, environment, organization, None, SESSIONS, now).await?;
                Ok::<_, Error>((links < CHUNK.unsigned_abs() && ended < SESSIONS, bumps))
            })
            .await?;
        core.caches.apply_all(bumps);
        if is_whole {
            return Ok(());
        }
    }
}

/// Revokes one link of an organization; the sessions that it opened end. A link that has expired or was used is none any more, so that
/// only its sessions are left to end: NOT_FOUND where there is neither.
pub async fn delete(core: &Core, environment: EnvId, organization: OrganizationId, link: PortalLinkId) -> Result<()> {
    let mut found = false;
    loop {
        let now = core.clock.now();
        let (gone, ended, bumps) = core
            .db
            .write_for(organizations::share(environment), async move |tx| {
                let gone = tx
                    .execute(
                        "DELETE FROM portal_links WHERE id = $1 AND organization_id = $2 AND environment_id = $3 \
                         AND expires_at > $4 AND used_at IS NULL",
                        &p![link, organization, environment, now.0],
                    )
                    .await?;
                let (ended, bumps) =
                    sessions::revoke_of_portal(tx, environment, organization, Some(link), SESSIONS, now).await?;
                Ok::<_, Error>((gone > 0, ended, bumps))
            })
            .await?;
        core.caches.apply_all(bumps);
        found |= gone || ended > 0;
        if ended < SESSIONS {
            return if found { Ok(()) } else { Err(Error::not_found(PortalLinkId::NOUN)) };
        }
    }
}

/// Removes up to 250 links of an organization; how many.
pub(crate) async fn purge(tx: &mut Tx, organization: OrganizationId) -> Result<u64> {
    let sql = "DELETE FROM portal_links WHERE id IN (SELECT id FROM portal_links WHERE organization_id = $1 ORDER BY id LIMIT $2)";
    Ok(tx.execute(sql, &p![organization, CHUNK]).await?)
}

/// A random UUID (RFC 9562 §5.4): 122 bits that nobody guesses.
pub(crate) fn uuid(mut bytes: [u8; 16]) -> String {
    use std::fmt::Write;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn a_token_has_the_form_of_a_random_uuid() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
