//! Logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4). Their `events` tell them from every other token, and they have no `nonce`.

use serde::Serialize;
use serde_json::{Value, json};

use super::jwt;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::Result;
use crate::ids::{SessionId, UserId};
use crate::keys;

/// Seconds for which one is good: as long as it may be on its way.
const LIFETIME: i64 = 120;

#[derive(Serialize)]
struct LogoutClaims<'a> {
    iss: &'a str,
    sub: String,
    aud: [&'a str; 1],
    iat: i64,
    exp: i64,
    jti: String,
    sid: String,
    events: Value,
}

/// Signs a token that tells a client of the end of a session.
pub(crate) async fn sign_logout(
    core: &Core,
    environment: &Environment,
    client_id: &str,
    user: UserId,
    session: SessionId,
) -> Result<String> {
    core.ids.check()?;
    let signer = keys::signer(core, environment.id, LIFETIME).await?;
    let now = core.clock.real_now().seconds();
    let claims = LogoutClaims {
        iss: &environment.origin,
        sub: user.to_string(),
        aud: [client_id],
        iat: now,
        exp: now + LIFETIME,
        // Not the prefix of access tokens: one must not pass for the other.
        jti: format!("lgt_{}", core.ids.next()),
        sid: session.to_string(),
        events: json!({ "http://schemas.openid.net/event/backchannel-logout": {} }),
    };
    jwt::sign(&signer, &claims)
}
