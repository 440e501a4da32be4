//! Which pages may embed a portal that a link opens. Anybody may ask, before any login, so that only who holds the secret of a live
//! link is told anything: an id, of a link or of anything else, opens nothing.

use aws_lc_rs::digest::{SHA256, digest};
use narthex_db::p;

use crate::core::Core;
use crate::environments::Environment;
use crate::error::Result;

/// Characters of the secret in a link's location.
const SECRET: usize = 36;

/// The host of `origin`, if `link` is the secret of a live portal link and the environment's applications are registered at that
/// origin; else nothing.
pub async fn authorized(core: &Core, environment: &Environment, origin: &str, link: &str) -> Result<Vec<String>> {
    let Some((scheme, authority)) = split(origin) else { return Ok(Vec::new()) };
    // What follows the secret says what kind of link it is: `_p`, `_pc`.
    let secret = link.split('_').next().unwrap_or_default();
    if secret.len() != SECRET {
        return Ok(Vec::new());
    }
    let hash = digest(&SHA256, secret.as_bytes());
    let now = core.clock.now();
    let mut reader = core.db.reader().await?;
    let sql = "SELECT id FROM portal_links WHERE token_hash = $1 AND environment_id = $2 AND expires_at > $3";
    let live: Option<(i64,)> = reader.opt(sql, &p![hash.as_ref(), environment.id, now]).await?;
    if live.is_none() {
        return Ok(Vec::new());
    }
    let sql = "SELECT post_login_uris FROM clients WHERE environment_id = $1 AND enabled = 1 AND kind < 5";
    let registered: Vec<(String,)> = reader.all(sql, &p![environment.id]).await?;
    let is_registered = registered.iter().any(|(uris,)| {
        let uris: Vec<String> = serde_json::from_str(uris).unwrap_or_default();
        uris.iter().filter_map(|uri| split(uri)).any(|(s, pattern)| s == scheme && covers(&pattern, &authority))
    });
    Ok(if is_registered { vec![host(&authority).to_owned()] } else { Vec::new() })
}

/// Scheme and authority of a web address, in lower case.
fn split(uri: &str) -> Option<(String, String)> {
    let (scheme, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let plain = !authority.is_empty() && !authority.contains('@') && !authority.contains(char::is_whitespace);
    let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    (plain && is_web).then(|| (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase()))
}

/// Whether a registered authority, whose port may be `*` and whose first label may hold one, covers another.
fn covers(pattern: &str, authority: &str) -> bool {
    let (pattern_host, pattern_port) = (host(pattern), port(pattern));
    if pattern_port != Some("*") && pattern_port != port(authority) {
        return false;
    }
    let name = host(authority);
    match pattern_host.split_once('*') {
        None => pattern_host == name,
        Some((before, after)) => name
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|label| !label.is_empty() && !label.contains('.')),
    }
}

fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

fn port(authority: &str) -> Option<&str> {
    authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_address_covers_its_own_origin_and_no_other() {
        let is = |uri: &str, origin: &str| {
            let ((s, pattern), (t, authority)) = (split(uri).unwrap(), split(origin).unwrap());
            s == t && covers(&pattern, &authority)
        };
        for (uri, origin) in [
            ("https://app.acme.com/cb", "https://app.acme.com"),
            ("https://app.acme.com/cb", "HTTPS://APP.acme.com/"),
            ("http://localhost:*/*", "http://localhost:3000"),
            ("https://*.acme.com/cb", "https://eu.acme.com"),
            ("https://app-*.acme.com/cb", "https://app-17.acme.com"),
            ("http://[::1]:3000/cb", "http://[::1]:3000"),
        ] {
            assert!(is(uri, origin), "{uri} {origin}");
        }
        for (uri, origin) in [
            ("https://app.acme.com/cb", "http://app.acme.com"),
            ("https://app.acme.com/cb", "https://app.acme.com:8443"),
            ("https://app.acme.com/cb", "https://app.acme.com.evil.com"),
            ("https://*.acme.com/cb", "https://acme.com"),
            ("https://*.acme.com/cb", "https://a.b.acme.com"),
            ("https://*.acme.com/cb", "https://evil.com/.acme.com"),
        ] {
            assert!(!is(uri, origin), "{uri} {origin}");
        }
        for bad in ["app.acme.com", "javascript://x", "https://", "https://u@acme.com"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
