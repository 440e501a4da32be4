//! The cookie that binds a session to a browser: `<number of the session>.<secret>`. The row keeps the SHA-256 of the secret only.

use std::sync::Arc;

use aws_lc_rs::constant_time;

use super::{Session, get};
use crate::core::Core;
use crate::error::Result;
use crate::ids::{EnvId, SessionId};
use crate::seal::{Secret, sha256};

/// Its name. The prefix makes browsers refuse it from sibling domains and over plain connections (RFC 6265bis §4.1.3.2).
pub const COOKIE: &str = "__Host-narthex_session";

/// Characters of a secret: about 256 bits.
const LENGTH: usize = 43;

/// A secret for a cookie, made outside of the transaction that binds the session to it.
pub struct NewCookie {
    secret: Secret<String>,
    hash: [u8; 32],
}

impl NewCookie {
    /// A random one.
    pub fn new(core: &Core) -> Self {
        let secret = core.random.base62(LENGTH);
        Self { hash: sha256(secret.as_bytes()), secret: Secret::new(secret) }
    }

    /// What the row keeps.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The value of the cookie of a session.
    pub fn value(&self, session: SessionId) -> Secret<String> {
        Secret::new(format!("{}.{}", session.0, self.secret.expose()))
    }
}

/// The live session that a cookie of this value stands for.
pub async fn by_cookie(core: &Core, environment: EnvId, value: &str) -> Result<Option<Arc<Session>>> {
    let Some((number, secret)) = value.split_once('.') else { return Ok(None) };
    let id = SessionId::parse(&format!("{}{number}", SessionId::PREFIX));
    let Some(id) = id.filter(|_| secret.len() == LENGTH) else { return Ok(None) };
    let Some(session) = get(core, environment, id).await? else { return Ok(None) };
    let bound = session
        .cookie_hash
        .as_ref()
        .is_some_and(|hash| constant_time::verify_slices_are_equal(hash, &sha256(secret.as_bytes())).is_ok());
    Ok((bound && session.is_live(core.clock.now())).then_some(session))
}
