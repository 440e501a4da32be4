//! Metadata of an environment as an authorization server (OpenID Connect Discovery 1.0, RFC 8414; oauth-oidc reference §2.2). Every URL
//! is built from the registered origin, never from the Host of the request.

use narthex_core::environments::Environment;
use narthex_core::scopes::Scope;
use serde_json::{Value, json};

/// The metadata document; the same body at both well-known paths.
pub fn document(environment: &Environment, own: &[Scope]) -> Value {
    let own = own.iter().filter(|scope| scope.enabled).map(|scope| scope.name.as_str());
    let scopes: Vec<&str> = ["openid", "profile", "email", "offline_access"].into_iter().chain(own).collect();
    let at = |path: &str| format!("{}{path}", environment.origin);
    json!({
        "issuer": environment.origin,
        "authorization_endpoint": at("/oauth/authorize"),
        "token_endpoint": at("/oauth/token"),
        "userinfo_endpoint": at("/userinfo"),
        "revocation_endpoint": at("/revoke"),
        "introspection_endpoint": at("/oauth/introspect"),
        "end_session_endpoint": at("/oidc/logout"),
        "jwks_uri": at("/keys"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": scopes,
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "create", "select_account", "consent"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "azp", "client_id", "at_hash", "c_hash", "amr", "oid", "sid", "nonce", "auth_time",
            "email", "email_verified", "name", "given_name", "family_name", "preferred_username", "picture", "locale", "gender",
            "profile", "zoneinfo", "birthdate", "phone_number", "phone_number_verified", "updated_at", "xoid", "xuid",
        ],
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
    })
}
