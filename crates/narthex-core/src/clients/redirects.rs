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

/// Whose loopback callbacks have any port (RFC 8252 §7.3). The hosts are compared as they are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnyPort {
    /// Nobody's.
    Never,
    /// Those on `127.0.0.1` and `[::1]`: native applications.
    LoopbackAddresses,
    /// Those on `localhost` too: clients of a resource.
    LoopbackHosts,
}

/// Whether `uri` of a request is one of the `registered` ones: exactly, by the one wildcard that an entry may have, or by an entry's
/// placeholders, which `value_of` fills. An entry with a placeholder that has no value matches nothing.
pub fn is_registered(
    registered: &[String],
    uri: &str,
    any_port: AnyPort,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> bool {
    registered.iter().any(|entry| {
        if entry.contains("{{") {
            return fill(entry, value_of).is_some_and(|filled| filled == uri);
        }
        if entry.contains('*') {
            matches_pattern(entry, uri)
        } else {
            entry == uri || differs_in_port(entry, uri, any_port)
        }
    })
}

/// A registered URI with its placeholders filled; `None` where one has no value, or one that would leave its label or segment.
pub fn fill(entry: &str, value_of: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut text = String::with_capacity(entry.len());
    let mut rest = entry;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, after) = after.split_once("}}")?;
        let (name, default) = match inside.split_once("??") {
            Some((name, default)) => (name.trim(), Some(default.trim().trim_matches('\''))),
            None => (inside.trim(), None),
        };
        let value = value_of(name).filter(|value| !value.is_empty()).or_else(|| default.map(str::to_owned))?;
        let fills_the_host =
            before.ends_with("://") && after.starts_with(['/', ':']) || after.is_empty() && before.ends_with("://");
        let fits = is_label(&value) || fills_the_host && value.contains('.') && host(&value).is_ok();
        if !fits {
            return None;
        }
        text.push_str(before);
        text.push_str(&value);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// An entry with a wildcard: any port and path of the developer's own machine, or one label of a host.
fn matches_pattern(entry: &str, uri: &str) -> bool {
    // What a browser would resolve to another place than it reads is compared with nothing.
    let read = |text: &'_ str| -> Option<(String, String, Option<String>, String)> {
        let parts = split(text).ok()?;
        let (authority, path) = web(&parts).ok()?;
        let (host, port) = split_port(authority).ok()?;
        Some((parts.scheme.clone(), host.to_owned(), port.map(str::to_owned), path.to_owned()))
    };
    let (Some(entry), Some(given)) = (read(entry), read(uri)) else { return false };
    let (scheme, host, port, path) = given;
    let sound = self::host(&host).is_ok() && self::port(port.as_deref()).is_ok() && self::path(&path).is_ok();
    if !sound || path.contains('?') || scheme != entry.0 {
        return false;
    }
    let host_fits = match entry.1.split_once('*') {
        None => entry.1.eq_ignore_ascii_case(&host),
        Some((before, after)) => host
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|label| !label.is_empty() && !label.contains('.')),
    };
    let port_fits = match entry.2.as_deref() {
        Some("*") => true,
        _ => entry.2 == port,
    };
    let path_fits = match entry.3.as_str() {
        "/*" => true,
        exact => exact == path,
    };
    host_fits && port_fits && path_fits
}

/// Whether two loopback callbacks over http differ in nothing but the port.
fn differs_in_port(entry: &str, uri: &str, any_port: AnyPort) -> bool {
    let read = |text: &'_ str| -> Option<(String, String)> {
        let (authority, _) =
            text.strip_prefix("http://")?.split_once('/').unwrap_or((text.strip_prefix("http://")?, ""));
        let (host, port) = split_port(authority).ok()?;
        self::port(port).ok()?;
        let loopback = match any_port {
            AnyPort::Never => false,
            AnyPort::LoopbackAddresses => host == "127.0.0.1" || host == "[::1]",
            AnyPort::LoopbackHosts => is_loopback(host),
        };
        loopback.then(|| (host.to_owned(), text["http://".len() + authority.len()..].to_owned()))
    };
    match (read(entry), read(uri)) {
        (Some(entry), Some(given)) => entry == given,
        _ => false,
    }
}

/// Whether a registered URI is of this origin (RFC 6454 §6.2). A placeholder that fills a label stands for any one label, one that fills
/// the whole host for none: that would be everybody.
pub(crate) fn is_of_origin(entry: &str, origin: &str) -> bool {
    let read = |text: &str| -> Option<(String, String, Option<String>, bool)> {
        let parts = split(text).ok()?;
        let own_port = match parts.scheme.as_str() {
            "https" => "443",
            "http" => "80",
            _ => return None,
        };
        let (authority, path) = web(&parts).ok()?;
        let (host, port) = split_port(authority).ok()?;
        let port = port.filter(|port| *port != own_port).map(str::to_owned);
        Some((parts.scheme.clone(), host.to_ascii_lowercase(), port, path.is_empty()))
    };
    let Some(entry) = replace_placeholders(entry).ok().and_then(|text| read(&text)) else { return false };
    let Some((scheme, host, port, is_bare)) = read(origin).filter(|_| !origin.contains([PLACEHOLDER, '*'])) else {
        return false;
    };
    let label_fits = |(registered, given): (&str, &str)| match registered.split_once('*') {
        Some((before, after)) => {
            given.len() > before.len() + after.len() && given.starts_with(before) && given.ends_with(after)
        }
        None => registered == given || registered.chars().eq([PLACEHOLDER]),
    };
    let host_fits = if entry.1.contains([PLACEHOLDER, '*']) {
        entry.1.contains('.')
            && entry.1.split('.').count() == host.split('.').count()
            && entry.1.split('.').zip(host.split('.')).all(label_fits)
    } else {
        entry.1 == host
    };
    is_bare && scheme == entry.0 && host_fits && (entry.2.as_deref() == Some("*") || entry.2 == port)
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
    fn oauth_13_an_origin_is_that_of_a_registered_uri() {
        for (entry, origin) in [
            ("https://app.acme.com/callback", "https://app.acme.com"),
            ("https://app.acme.com:443/callback", "https://app.acme.com"),
            ("https://APP.acme.com", "https://app.acme.com"),
            ("http://localhost:6274/oauth/callback", "http://localhost:6274"),
            ("http://localhost:*/*", "http://localhost:3000"),
            ("http://localhost:*/*", "http://localhost"),
            ("https://*.acme.com/cb", "https://a.acme.com"),
            ("https://auth-*.acme.com/cb", "https://auth-1.acme.com"),
            ("https://{{org_slug}}.acme.com/cb", "https://umbrella.acme.com"),
            ("https://[2001:db8::1]:444/cb", "https://[2001:db8::1]:444"),
        ] {
            assert!(is_of_origin(entry, origin), "{entry} {origin}");
        }
        for (entry, origin) in [
            ("https://app.acme.com/callback", "http://app.acme.com"),
            ("https://app.acme.com/callback", "https://app.acme.com:8443"),
            ("https://app.acme.com/callback", "https://app.acme.com.evil.example"),
            ("https://app.acme.com/callback", "https://acme.com"),
            ("https://app.acme.com/callback", "https://app.acme.com/"),
            ("https://app.acme.com/callback", "null"),
            ("https://app.acme.com/callback", ""),
            ("http://localhost:*/*", "http://localhost.evil.example:3000"),
            ("https://*.acme.com/cb", "https://acme.com"),
            ("https://*.acme.com/cb", "https://a.b.acme.com"),
            ("https://auth-*.acme.com/cb", "https://auth-.acme.com"),
            ("https://{{external_id}}/cb", "https://evil.example"),
            ("https://{{external_id}}/cb", "https://localhost"),
            ("myapp://callback", "myapp://callback"),
            ("https://*.acme.com/cb", "https://*.acme.com"),
        ] {
            assert!(!is_of_origin(entry, origin), "{entry} {origin}");
        }
    }

    #[test]
    fn app_04_ctl_42_uris_have_at_most_256_characters() {
        let uri = |length: usize| format!("https://acme.com/{}", "a".repeat(length - "https://acme.com/".len()));
        assert!(callback(Prd, &uri(256)));
        assert!(!callback(Prd, &uri(257)));
    }

    fn registered(entries: &[&str], uri: &str, any_port: AnyPort) -> bool {
        let entries: Vec<String> = entries.iter().map(|&entry| entry.to_owned()).collect();
        let values = |name: &str| match name {
            "org_slug" => Some("acme".to_owned()),
            "external_id" => Some("t.acme.example".to_owned()),
            "evil" => Some("x/../evil".to_owned()),
            "empty" => Some(String::new()),
            _ => None,
        };
        is_registered(&entries, uri, any_port, &values)
    }

    #[test]
    fn authz_12_redirects_match_exactly_or_by_their_wildcard() {
        let dev =
            ["http://localhost:*/*", "https://*.acme.com/cb", "https://auth-*.acme.com", "https://app.acme.com/cb"];
        for good in [
            "http://localhost:3000/cb",
            "http://localhost:3000/",
            "http://localhost/a/b",
            "https://x.acme.com/cb",
            "https://auth-eu.acme.com",
            "https://app.acme.com/cb",
        ] {
            assert!(registered(&dev, good, AnyPort::Never), "{good}");
        }
        for bad in [
            "",
            "https://localhost:3000/cb",
            "http://localhost.evil.example:3000/cb",
            "http://localhost:3000@evil.example/cb",
            "http://localhost:3000/cb?x=1",
            "http://localhost:3000/cb#x",
            "http://localhost:3000/a/../b",
            "http://localhost:99999/",
            "http://127.0.0.1:3000/cb",
            "https://a.b.acme.com/cb",
            "https://.acme.com/cb",
            "https://acme.com/cb",
            "https://x.acme.com/cb/",
            "https://x.acme.com:8443/cb",
            "https://evil.example/.acme.com/cb",
            "https://evil.example\\.acme.com/cb",
            "https://x@y.acme.com/cb",
            "https://auth-.acme.com",
            "https://auth-a.b.acme.com",
            "https://app.acme.com/cb/",
            "https://app.acme.com/cb?",
            "http://localhost:*/*",
        ] {
            assert!(!registered(&dev, bad, AnyPort::LoopbackHosts), "{bad}");
        }
    }

    #[test]
    fn authz_12_placeholders_are_filled_by_the_organization() {
        for (entry, uri, expected) in [
            ("https://{{org_slug}}.acme.com/cb", "https://acme.acme.com/cb", true),
            ("https://{{org_slug}}.acme.com/cb", "https://other.acme.com/cb", false),
            ("https://{{external_id}}/cb", "https://t.acme.example/cb", true),
            ("https://app.acme.com/{{org_slug}}/cb", "https://app.acme.com/acme/cb", true),
            ("https://app.acme.com/{{external_id}}/cb", "https://app.acme.com/t.acme.example/cb", false),
            ("https://{{missing}}.acme.com/cb", "https://.acme.com/cb", false),
            ("https://{{missing ?? 'www'}}.acme.com/cb", "https://www.acme.com/cb", true),
            ("https://{{empty ?? 'www'}}.acme.com/cb", "https://www.acme.com/cb", true),
            ("https://app.acme.com/{{evil}}/cb", "https://app.acme.com/x/../evil/cb", false),
            ("https://{{org_slug}}.acme.com/cb", "https://{{org_slug}}.acme.com/cb", false),
        ] {
            assert_eq!(registered(&[entry], uri, AnyPort::Never), expected, "{entry} {uri}");
        }
    }

    #[test]
    fn authz_12_mcp_14_loopback_callbacks_have_any_port_where_the_kind_of_client_says_so() {
        let entries = ["http://127.0.0.1/", "http://localhost:1/cb", "http://[::1]:5/cb", "https://127.0.0.1:1/tls"];
        for (uri, addresses, hosts) in [
            ("http://127.0.0.1:33418/", true, true),
            ("http://127.0.0.1/", true, true),
            ("http://[::1]:80/cb", true, true),
            ("http://localhost:2/cb", false, true),
            ("http://localhost:33418/", false, false),
            ("http://127.0.0.1:1/other", false, false),
            ("http://127.0.0.1:x/", false, false),
            ("http://127.0.0.1:1@evil.example/", false, false),
            ("https://127.0.0.1:2/tls", false, false),
        ] {
            assert_eq!(registered(&entries, uri, AnyPort::LoopbackAddresses), addresses, "{uri}");
            assert_eq!(registered(&entries, uri, AnyPort::LoopbackHosts), hosts, "{uri}");
            assert_eq!(registered(&entries, uri, AnyPort::Never), uri == "http://127.0.0.1/", "{uri}");
        }
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
