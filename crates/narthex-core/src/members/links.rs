//! One-time links that sign an operator in without a login: for the first start, and for whoever is locked out. Only somebody who owns
//! the data folder can make one.

use std::time::Duration;

use narthex_db::{Tx, p};

use super::{Member, store};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::ids::MemberId;
use crate::seal::{Secret, sha256};

/// Life of a link.
pub const LINK: Duration = Duration::from_mins(15);
/// Characters of its secret: about 256 bits.
const LENGTH: usize = 43;

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
        let secret = core.random.base62(LENGTH);
        let (hash, now) = (sha256(secret.as_bytes()), core.clock.now());
        let expires_at = now.plus(LINK);
        core.db
            .write(async move |tx| {
                let active = store::load(tx, member).await?.filter(Member::is_active);
                if active.is_none() {
                    return Err(Error::new(Kind::FailedPrecondition, "the member is not active"));
                }
                tx.execute("DELETE FROM operator_links WHERE member_id = $1", &p![member]).await?;
                let sql =
                    "INSERT INTO operator_links (token_hash, member_id, created_at, expires_at) VALUES ($1, $2, $3, $4)";
                tx.execute(sql, &p![hash, member, now, expires_at]).await?;
                Ok(())
            })
            .await?;
        Ok(Self { secret: Secret::new(secret), expires_at })
    }
}

/// The member that a link stands for, while it is good. Nothing is used up: programs that look at links before people do must not.
pub async fn link_target(core: &Core, secret: &str) -> Result<Option<Member>> {
    if secret.len() != LENGTH {
        return Ok(None);
    }
    let now = core.clock.now();
    target(&mut *core.db.reader().await?, sha256(secret.as_bytes()), now).await
}

async fn target(tx: &mut Tx, hash: [u8; 32], now: Timestamp) -> Result<Option<Member>> {
    let sql = "SELECT member_id FROM operator_links WHERE token_hash = $1 AND expires_at > $2";
    match tx.opt::<(MemberId,)>(sql, &p![hash, now]).await? {
        Some((id,)) => Ok(store::load(tx, id).await?.filter(Member::is_active)),
        None => Ok(None),
    }
}

/// Uses a link up, within the transaction that opens the session. `None` if it is not good.
pub async fn follow_link(tx: &mut Tx, secret: &str, now: Timestamp) -> Result<Option<Member>> {
    if secret.len() != LENGTH {
        return Ok(None);
    }
    let hash = sha256(secret.as_bytes());
    let found = target(tx, hash, now).await?;
    let used = tx.execute("DELETE FROM operator_links WHERE token_hash = $1", &p![hash]).await?;
    Ok(found.filter(|_| used == 1))
}
