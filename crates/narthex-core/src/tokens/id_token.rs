//! ID tokens (OpenID Connect Core §2; oauth-oidc reference §11.2). They have no `jti` and are no bearers of anything.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::jwt;
use crate::core::Core;
use crate::environments::Environment;
use crate::error::Result;
use crate::keys;

/// Claims of an ID token, in the types that every SDK insists on. Absent ones are left out, never null.
#[derive(Default, Serialize)]
pub(crate) struct IdClaims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: Vec<String>,
    pub(crate) azp: String,
    pub(crate) client_id: String,
    /// Seconds since the epoch, real time.
    pub(crate) iat: i64,
    /// Seconds since the epoch, real time.
    pub(crate) exp: i64,
    /// Seconds since the epoch, real time.
    pub(crate) auth_time: i64,
    pub(crate) at_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) c_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<String>,
    /// The connection, where other servers name methods: one SDK reads its first member as such (oauth-oidc reference OP-28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) amr: Option<[String; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) xoid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) xuid: Option<String>,
    /// What is said of the person.
    #[serde(flatten)]
    pub(crate) person: serde_json::Map<String, serde_json::Value>,
}

/// Signs an ID token of the environment: fills in issuer and times (`lifetime` in seconds from now).
pub(crate) async fn sign_id(
    core: &Core,
    environment: &Environment,
    lifetime: i64,
    mut claims: IdClaims,
) -> Result<String> {
    let signer = keys::signer(core, environment.id, lifetime).await?;
    let now = core.clock.real_now().seconds();
    claims.iss.clone_from(&environment.origin);
    (claims.iat, claims.exp) = (now, now + lifetime);
    // The movable clock may be ahead of the real one, and nobody has signed in tomorrow.
    claims.auth_time = claims.auth_time.min(now);
    jwt::sign(&signer, &claims)
}

/// `at_hash` and `c_hash`: the left half of the SHA-256 (OpenID Connect Core §3.1.3.6).
pub(crate) fn half_hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::half_hash;

    #[test]
    fn oidc_02_the_hash_of_the_specifications_example() {
        // OpenID Connect Core, Appendix A.4.
        assert_eq!(half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ");
    }
}
