//! Which URIs may be registered (oauth-oidc reference §14.2, control plane reference §5, mcp-auth reference §4.1). Pure: a browser is
//! sent to these with codes and tokens, so each rule stops somebody from receiving what is not theirs.

use std::net::Ipv6Addr;

use crate::environments::EnvironmentKind;

/// Characters of a URI of an application (oauth-oidc reference OP-21).
pub const LONGEST: usize = 256;
/// Characters of a URI of a client of a resource.
const LONGEST_OF_RESOURCE: usize = 2_048;

/// Schemes that run or show what a URI holds, or read files: never a place to send a user to.
const REFUSED_SCHEMES: [&str; 13] = [
    "javascript",
    "data",
    "vbscript",
    "file",
    "blob",
    "about",
    "filesystem",
    "view-source",
    "ws",
    "wss",
    "ftp",
    "mailto",
    "tel",
];

/// The list that a URI is registered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriList {
    /// Callbacks, which receive codes.
    Callback,
    /// Where a logout ends.
    PostLogout,
    /// Where a login begins.
    InitiateLogin,
    /// Endpoints that the server itself calls.
    BackChannel,
}

/// Stands for a placeholder while the rest is checked: no URI holds it.
const PLACEHOLDER: char = '\u{1}';

/// Whether an application may register `uri`; what is wrong with it, if not.
pub fn check(kind: EnvironmentKind, list: UriList, uri: &str) -> Result<(), &'static str> {
    if uri.chars().count() > LONGEST {
        return Err("must have at most 256 characters");
    }
    if list == UriList::BackChannel {
        return back_channel(kind, uri);
    }
    let text = replace_placeholders(uri)?;
    let parts = split(&text)?;
    if parts.rest.contains('?') {
        return Err("must not have a query");
    }
    match parts.scheme.as_str() {
        "https" => {}
        "http" if kind == EnvironmentKind::Dev => {}
        "http" => return Err("must use https or a scheme of its own in production"),
        _ => return custom(&parts),
    }
    let (authority, path) = web(&parts)?;
    let (host, port) = split_port(authority)?;
    if is_local(host) {
        if kind == EnvironmentKind::Prd {
            return Err("must not be on localhost in production");
        }
        // Any port and path of the developer's own machine, as a new DEV environment has them.
        if port == Some("*") {
            return if path == "/*" { Ok(()) } else { self::path(path) };
        }
    }
    self::port(port)?;
    self::path(path)?;
    if authority.contains('*') {
        if kind == EnvironmentKind::Prd {
            return Err("must not have a wildcard in production");
        }
        return wildcard(host, path);
    }
    self::host(host)
}

/// Whether a client of a resource may register `uri`; what is wrong with it, if not.
pub fn check_of_resource(uri: &str) -> Result<(), &'static str> {
    if uri.chars().count() > LONGEST_OF_RESOURCE {
        return Err("must have at most 2048 characters");
    }
    let parts = split(uri)?;
    if uri.contains('*') {
        return Err("must not have a wildcard");
    }
    match parts.scheme.as_str() {
        "https" | "http" => {
            let (authority, path) = web(&parts)?;
            let (host, port) = split_port(authority)?;
            if parts.scheme == "http" && !is_loopback(host) {
                return Err("must use https, or http on a loopback address, or a scheme of its own");
            }
            self::port(port)?;
            self::path(path.split('?').next().unwrap_or_default())?;
            self::host(host)
        }
        _ => custom(&parts),
    }
}

fn back_channel(kind: EnvironmentKind, uri: &str) -> Result<(), &'static str> {
    let parts = split(uri)?;
    match parts.scheme.as_str() {
        "https" => {}
        "http" if kind == EnvironmentKind::Dev => {}
        _ => return Err("must use https"),
    }
    if uri.contains('*') {
        return Err("must not have a wildcard");
    }
    let (authority, path) = web(&parts)?;
    let (host, port) = split_port(authority)?;
    if kind == EnvironmentKind::Prd && is_local(host) {
        return Err("must not be on localhost in production");
    }
    self::port(port)?;
    self::path(path.split('?').next().unwrap_or_default())?;
    self::host(host)
}

struct Parts<'a> {
    /// In lower case.
    scheme: String,
    /// What follows the colon.
    rest: &'a str,
}

/// Scheme and rest, in characters that no parser of URIs reads differently from another.
fn split(uri: &str) -> Result<Parts<'_>, &'static str> {
    let odd = |c: char| {
        !(c.is_ascii_graphic() || c == PLACEHOLDER)
            || matches!(c, '\\' | '"' | '<' | '>' | '^' | '`' | '|' | '{' | '}' | '\'')
    };
    if uri.contains(odd) {
        return Err("holds a character that is not allowed in a URI");
    }
    if uri.contains('#') {
        return Err("must not have a fragment");
    }
    let (scheme, rest) = uri.split_once(':').ok_or("must be an absolute URI")?;
    let mut bytes = scheme.bytes();
    let well_formed = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !well_formed {
        return Err("must be an absolute URI");
    }
    let scheme = scheme.to_ascii_lowercase();
    if REFUSED_SCHEMES.contains(&scheme.as_str()) {
        return Err("has a scheme that is not allowed");
    }
    Ok(Parts { scheme, rest })
}

/// Authority and path of an http URI.
fn web<'a>(parts: &Parts<'a>) -> Result<(&'a str, &'a str), &'static str> {
    let rest = parts.rest.strip_prefix("//").ok_or("must name a host")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("must not have a user name");
    }
    Ok((authority, path))
}

/// Private-use schemes: `myapp://callback`, `com.example.app:/oauth` (RFC 8252 §7.1).
fn custom(parts: &Parts<'_>) -> Result<(), &'static str> {
    if parts.rest.contains('*') {
        return Err("must not have a wildcard with a scheme of its own");
    }
    let path = parts.rest.split('?').next().unwrap_or_default();
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err("must name a place within its scheme");
    }
    if path.contains('@') {
        return Err("must not have a user name");
    }
    self::path(path)
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(end) = authority.strip_prefix('[').and_then(|rest| rest.find(']')) {
        let (host, after) = authority.split_at(end + 2);
        return match after.strip_prefix(':') {
            None if after.is_empty() => Ok((host, None)),
            Some(port) => Ok((host, Some(port))),
            None => Err("has a malformed host"),
        };
    }
    Ok(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
}

fn port(port: Option<&str>) -> Result<(), &'static str> {
    let Some(port) = port else { return Ok(()) };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if digits && port.parse::<u16>().is_ok_and(|port| port > 0) { Ok(()) } else { Err("has a malformed port") }
}

fn host(host: &str) -> Result<(), &'static str> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().map(|_| ()).map_err(|_| "has a malformed host");
    }
    if host.len() > 253 {
        return Err("has a malformed host");
    }
    for label in host.split('.') {
        if label.contains(PLACEHOLDER) {
            if label.chars().count() != 1 {
                return Err("has a placeholder that does not fill a whole label of the host");
            }
        } else if !is_label(label) {
            return Err("has a malformed host");
        }
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// One `*` in the leftmost label, with at least two labels behind it: `https://*.com` would be everybody's.
fn wildcard(host: &str, path: &str) -> Result<(), &'static str> {
    const WHERE: &str = "may have one wildcard, in the leftmost label of a host that has at least three";
    if path.contains('*') || host.matches('*').count() != 1 || host.contains(PLACEHOLDER) {
        return Err(WHERE);
    }
    let (first, rest) = host.split_once('.').ok_or(WHERE)?;
    if !first.contains('*') || rest.split('.').count() < 2 || !rest.bytes().any(|b| b.is_ascii_alphabetic()) {
        return Err(WHERE);
    }
    if !is_label(&first.replace('*', "x")) {
        return Err("has a malformed host");
    }
    self::host(rest)
}

/// No wildcard, and no segment that a browser would resolve away: what is compared must be where it goes.
fn path(path: &str) -> Result<(), &'static str> {
    if path.contains('*') {
        return Err("must not have a wildcard in its path");
    }
    for segment in path.split('/') {
        if segment.contains(PLACEHOLDER) && segment.chars().count() != 1 {
            return Err("has a placeholder that does not fill a whole segment of the path");
        }
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        if plain == "." || plain == ".." {
            return Err("must not have dot segments");
        }
        let mut rest = segment;
        while let Some((_, after)) = rest.split_once('%') {
            if !after.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
                return Err("has a malformed escape");
            }
            rest = after;
        }
    }
    Ok(())
}

/// This machine, or every address of it.
fn is_local(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    is_loopback(&host)
        || host.ends_with(".localhost")
        || host == "0.0.0.0"
        || host.strip_prefix("127.").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        || host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|address| {
            address.parse::<Ipv6Addr>().is_ok_and(|address| {
                let v4 = address.to_ipv4_mapped();
                address.is_loopback()
                    || address.is_unspecified()
                    || v4.is_some_and(|v4| v4.is_loopback() || v4.is_unspecified())
            })
        })
}

/// The hosts of RFC 8252 §7.3 and §8.3, as clients spell them.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1" || host == "[::1]"
}

/// Puts one character in the place of each `{{name}}` or `{{name ?? 'default'}}`.
fn replace_placeholders(uri: &str) -> Result<String, &'static str> {
    if uri.contains(PLACEHOLDER) {
        return Err("holds a character that is not allowed in a URI");
    }
    let mut text = String::with_capacity(uri.len());
    let mut rest = uri;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, after) = after.split_once("}}").ok_or("has a placeholder without an end")?;
        if !is_placeholder(inside.trim()) {
            return Err("has a malformed placeholder");
        }
        text.push_str(before);
        text.push(PLACEHOLDER);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn is_placeholder(inside: &str) -> bool {
    let (name, default) = match inside.split_once("??") {
        Some((name, default)) => (name.trim(), Some(default.trim())),
        None => (inside, None),
    };
    let named =
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    named
        && default.is_none_or(|default| {
            let quoted = default.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            quoted.is_some_and(is_label)
        })
}

#[cfg(test)]
mod tests {
    use EnvironmentKind::{Dev, Prd};

    use super::*;

    fn callback(kind: EnvironmentKind, uri: &str) -> bool {
        check(kind, UriList::Callback, uri).is_ok()
    }

    #[test]
    fn app_04_ctl_42_what_may_be_registered_in_both_environments() {
        for good in [
            "https://app.acme.com/callback",
            "https://app.acme.com",
            "https://app.acme.com:8443/a/b/",
            "https://203.0.113.7/cb",
            "https://[2001:db8::1]:444/cb",
            "https://xn--bcher-kva.example/cb",
            "https://app.acme.com/caf%C3%A9",
            "myapp://callback",
            "com.example.app:/oauth2redirect",
        ] {
            assert!(callback(Dev, good) && callback(Prd, good), "{good}");
        }
        for bad in [
            "",
            "app.acme.com",
            "/callback",
            "https://",
            "https:///cb",
            "https:app.acme.com",
            "https://app.acme.com/cb?x=1",
            "https://app.acme.com/cb?",
            "https://app.acme.com/cb#f",
            "https://app.acme.com/#",
            "https://user@app.acme.com/",
            "https://app.acme.com@evil.example/",
            "https://app.acme.com\\@evil.example/",
            "https://app.acme.com/a b",
            "https://app.acme.com/\n",
            "https://app.acme.com:0/",
            "https://app.acme.com:65536/",
            "https://app.acme.com:x/",
            "https://app.acme.com:/",
            "https://app..acme.com/",
            "https://-a.acme.com/",
            "https://acme.com./",
            "https://[::1",
            "https://[zz]/",
            "https://app.acme.com/a/../b",
            "https://app.acme.com/%2e%2E/b",
            "https://app.acme.com/%zz",
            "https://b\u{fc}cher.example/",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "blob:https://app.acme.com/x",
            "myapp:",
            "myapp://",
            "myapp://callback?x=1",
            "1app://x",
            "https://app.acme.com/\u{1}",
        ] {
            assert!(!callback(Dev, bad) && !callback(Prd, bad), "{bad:?}");
        }
    }

    #[test]
    fn app_04_ctl_42_plain_http_and_localhost_are_for_development() {
        for uri in [
            "http://app.acme.com/cb",
            "http://localhost:3000/cb",
            "https://localhost/cb",
            "http://127.0.0.1:5173/",
            "http://[::1]:80/",
            "http://127.0.0.2/",
            "http://app.localhost/",
            "http://0.0.0.0:3000/",
            "https://[::ffff:127.0.0.1]/",
            "http://localhost:*/*",
            "http://127.0.0.1:*/*",
            "http://localhost:*/callback",
            "https://*.acme.com/cb",
        ] {
            assert!(callback(Dev, uri), "{uri}");
            assert!(!callback(Prd, uri), "{uri}");
        }
        for bad in ["http://app.acme.com:*/*", "http://localhost:*/a*", "http://localhost:3000/*", "myapp://*"] {
            assert!(!callback(Dev, bad), "{bad}");
        }
    }

    #[test]
    fn app_04_ctl_42_a_wildcard_stands_in_the_leftmost_label_only() {
        for good in
            ["https://*.acme.com", "https://auth-*.acme.com", "https://*.auth.acme.com/cb", "http://*.acme.com:3000/cb"]
        {
            assert!(callback(Dev, good), "{good}");
        }
        for bad in [
            "https://*",
            "https://*.com",
            "https://*.*.acme.com",
            "https://**.acme.com",
            "https://acme.*.com",
            "https://auth.*.acme.com",
            "https://acme.com/*",
            "https://*.acme.com/*",
            "https://*.acme.com:*/",
            "https://-*.acme.com",
            "https://*.1.2.3",
            "https://*.{{org_slug}}.acme.com",
        ] {
            assert!(!callback(Dev, bad), "{bad}");
        }
    }

    #[test]
    fn app_04_ctl_42_a_placeholder_fills_a_whole_part() {
        for good in [
            "https://{{org_slug}}.acme.com/cb",
            "https://{{external_id}}/cb",
            "https://app.acme.com/{{tenant_key}}/cb",
            "https://{{slug ?? 'default'}}.acme.com/login",
            "https://{{ org_slug }}.acme.com",
        ] {
            assert!(callback(Dev, good) && callback(Prd, good), "{good}");
            assert!(
                check(Prd, UriList::PostLogout, good).is_ok() && check(Prd, UriList::InitiateLogin, good).is_ok(),
                "{good}"
            );
            assert!(check(Dev, UriList::BackChannel, good).is_err(), "{good}");
        }
        for bad in [
            "https://app-{{org_slug}}.acme.com",
            "https://{{a}}{{b}}.acme.com",
            "https://acme.com/x-{{a}}",
            "https://acme.com:{{a}}/",
            "{{a}}://acme.com",
            "https://{{}}.acme.com",
            "https://{{a b}}.acme.com",
            "https://{{a.acme.com",
            "https://{a}.acme.com",
            "https://{{a ?? 'x.evil.example/'}}.acme.com",
            "https://{{a ?? x}}.acme.com",
            "https://a}}.acme.com",
        ] {
            assert!(!callback(Dev, bad), "{bad}");
        }
    }

    #[test]
    fn app_04_ctl_42_uris_have_at_most_256_characters() {
        let uri = |length: usize| format!("https://acme.com/{}", "a".repeat(length - "https://acme.com/".len()));
        assert!(callback(Prd, &uri(256)));
        assert!(!callback(Prd, &uri(257)));
    }

    #[test]
    fn app_05_the_server_calls_back_over_https() {
        let back_channel = |kind, uri| check(kind, UriList::BackChannel, uri).is_ok();
        assert!(back_channel(Prd, "https://app.acme.com/logout?tenant=1"));
        assert!(back_channel(Dev, "http://localhost:3000/logout"));
        for bad in [
            "http://app.acme.com/logout",
            "https://localhost/logout",
            "myapp://logout",
            "https://*.acme.com/x",
            "https://a.b/#f",
        ] {
            assert!(!back_channel(Prd, bad), "{bad}");
        }
    }

    #[test]
    fn mcp_13_clients_of_a_resource_use_https_loopback_or_a_scheme_of_their_own() {
        for good in [
            "https://claude.ai/api/mcp/auth_callback",
            "https://client.example/cb?x=1",
            "http://localhost:33418/",
            "http://127.0.0.1/",
            "http://[::1]:5/cb",
            "cursor://anysphere.cursor-retrieval/oauth/user-x/callback",
            "vscode://vscode.github-authentication/",
            "com.example.app:/cb",
        ] {
            assert_eq!(check_of_resource(good), Ok(()), "{good}");
        }
        for bad in [
            "http://client.example/cb",
            "http://127.0.0.2/",
            "http://localhost.evil.example/",
            "https://*.example.com/",
            "http://localhost:*/*",
            "https://client.example/#f",
            "javascript:alert(1)",
            "https://{{x}}.example/",
            "https://u@client.example/",
            "",
            "x",
        ] {
            assert!(check_of_resource(bad).is_err(), "{bad}");
        }
    }
}
