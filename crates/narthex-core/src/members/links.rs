//! One-time links that sign an operator in without a login: for the first start, and for whoever is locked out. Only somebody who owns
//! the data folder can make one.

use std::time::Duration;

use narthex_db::{Tx, p};

use super::{Member, store};
use crate::auth_log;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::environments;
use crate::error::{Error, Kind, Result};
use crate::ids::{EnvId, MemberId};
use crate::seal::{Secret, sha256};

/// Life of a link.
pub const LINK: Duration = Duration::from_mins(15);
/// Characters of its secret: about 256 bits.
const LENGTH: usize = 43;
/// Refusals of one link that are written down.
const TRACES: i32 = 10;

/// A link that was just made.
pub struct NewLink {
    /// What it has to carry; shown this once.
    pub secret: Secret<String>,
    /// When it is worthless.
    pub expires_at: Timestamp,
}

impl NewLink {
    /// Makes a link for a member. Those made for them before are worthless from now on.
    pub async fn make(core: &Core, member: MemberId) -> Result<Self> {
        let made = Self::make_if(core, member, async |_, _| Ok(true)).await?;
        made.ok_or_else(|| Error::internal("a link was not wanted"))
    }

    /// The same at a start, for as long as nobody has signed in as an operator; None where that has happened, or where the link of an
    /// earlier start or another node may still be used.
    pub async fn make_first(core: &Core, member: MemberId) -> Result<Option<Self>> {
        Self::make_if(core, member, async |tx, now| is_first_due(tx, now).await).await
    }

    async fn make_if<F>(core: &Core, member: MemberId, is_wanted: F) -> Result<Option<Self>>
    where
        F: AsyncFn(&mut Tx, Timestamp) -> Result<bool> + Send + Sync + 'static,
    {
        let secret = core.random.base62(LENGTH);
        let (hash, now) = (sha256(secret.as_bytes()), core.clock.now());
        let expires_at = now.plus(LINK);
        let is_made = core
            .db
            .write(async move |tx| {
                if !is_wanted(tx, now).await? {
                    return Ok(false);
                }
                let active = store::load(tx, member).await?.filter(Member::is_active);
                if active.is_none() {
                    return Err(Error::new(Kind::FailedPrecondition, "the member is not active"));
                }
                // Kept until they are swept: whoever still opens one of them leaves a trace.
                let sql = "UPDATE operator_links SET expires_at = $2 WHERE member_id = $1 AND expires_at > $2";
                tx.execute(sql, &p![member, now]).await?;
                let sql =
                    "INSERT INTO operator_links (token_hash, member_id, created_at, expires_at) VALUES ($1, $2, $3, $4)";
                tx.execute(sql, &p![hash, member, now, expires_at]).await?;
                Ok(true)
            })
            .await?;
        Ok(is_made.then(|| Self { secret: Secret::new(secret), expires_at }))
    }
}

/// Whether [`NewLink::make_first`] would make a link.
pub async fn awaits_first_link(core: &Core) -> Result<bool> {
    is_first_due(&mut *core.db.reader().await?, core.clock.now()).await
}

/// Whoever signs in as an operator becomes a user of the product's own environment.
async fn is_first_due(tx: &mut Tx, now: Timestamp) -> Result<bool> {
    let sql = "SELECT 1 FROM users u JOIN environments e ON e.id = u.environment_id WHERE e.is_system = 1 LIMIT 1";
    if tx.opt::<(i64,)>(sql, &[]).await?.is_some() {
        return Ok(false);
    }
    let sql = "SELECT 1 FROM operator_links WHERE used_at IS NULL AND expires_at > $1 LIMIT 1";
    Ok(tx.opt::<(i64,)>(sql, &p![now]).await?.is_none())
}

/// The member that a link stands for, while it is good. Nothing is used up: programs that look at links before people do must not. One
/// that is no longer good leaves a trace.
pub async fn link_target(core: &Core, secret: &str) -> Result<Option<Member>> {
    let Some(hash) = hash(secret) else { return Ok(None) };
    let (now, line) = (core.clock.now(), core.ids.next());
    {
        let mut reader = core.db.reader().await?;
        let Some(link) = Link::load(&mut reader, &hash).await? else { return Ok(None) };
        if let Some(member) = link.target(&mut reader, now).await? {
            return Ok(Some(member));
        }
    }
    let Some(system) = environments::system(core).await? else { return Ok(None) };
    core.db
        .write(async move |tx| match Link::load(tx, &hash).await? {
            Some(link) => link.refuse(tx, system.id, &hash, line, now).await,
            None => Ok(()),
        })
        .await?;
    Ok(None)
}

/// Uses a link up, within the transaction that opens the session. `None` if it is not good; the transaction has to be committed then as
/// well, for the trace. `line` is a number made outside.
pub async fn follow_link(
    tx: &mut Tx,
    system: EnvId,
    secret: &str,
    line: i64,
    now: Timestamp,
) -> Result<Option<Member>> {
    let Some(hash) = hash(secret) else { return Ok(None) };
    let Some(link) = Link::load(tx, &hash).await? else { return Ok(None) };
    let Some(member) = link.target(tx, now).await? else {
        link.refuse(tx, system, &hash, line, now).await?;
        return Ok(None);
    };
    tx.execute("UPDATE operator_links SET used_at = $2 WHERE token_hash = $1", &p![hash, now]).await?;
    auth_log::append(tx, system, &member.id.to_string(), line, auth_log::OPERATOR_LINK_USED, now).await?;
    Ok(Some(member))
}

fn hash(secret: &str) -> Option<[u8; 32]> {
    (secret.len() == LENGTH).then(|| sha256(secret.as_bytes()))
}

struct Link {
    member: MemberId,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
    refused: i32,
}

impl Link {
    async fn load(tx: &mut Tx, hash: &[u8; 32]) -> Result<Option<Self>> {
        let sql = "SELECT member_id, expires_at, used_at, refused FROM operator_links WHERE token_hash = $1";
        let row: Option<(MemberId, Timestamp, Option<Timestamp>, i32)> = tx.opt(sql, &p![*hash]).await?;
        Ok(row.map(|(member, expires_at, used_at, refused)| Self { member, expires_at, used_at, refused }))
    }

    async fn target(&self, tx: &mut Tx, now: Timestamp) -> Result<Option<Member>> {
        if self.used_at.is_some() || self.expires_at <= now {
            return Ok(None);
        }
        Ok(store::load(tx, self.member).await?.filter(Member::is_active))
    }

    /// Writes down that the link was opened in vain. Whoever goes on with it writes no more: storage is bounded.
    async fn refuse(&self, tx: &mut Tx, system: EnvId, hash: &[u8; 32], line: i64, now: Timestamp) -> Result<()> {
        if self.refused >= TRACES {
            return Ok(());
        }
        tx.execute("UPDATE operator_links SET refused = refused + 1 WHERE token_hash = $1", &p![*hash]).await?;
        auth_log::append(tx, system, &self.member.to_string(), line, auth_log::OPERATOR_LINK_REFUSED, now).await
    }
}
