//! The well-known forms of strings, as protovalidate defines them.

use std::net::Ipv6Addr;

/// An e-mail address of the HTML standard: no quoting, no comments, no Unicode.
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    !local.is_empty() && local.bytes().all(local_byte) && domain.split('.').all(is_label)
}

/// A DNS label: 1 to 63 letters, digits and inner hyphens.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A host name of at most 253 characters, which may end in a dot, whose last label is not all digits.
pub(super) fn is_hostname(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && name.split('.').all(is_label) && !numeric
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, in any case.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A URI with a scheme (RFC 3986 §3).
pub(super) fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(scheme_byte) {
        return false;
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (hierarchy, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !made_of(fragment, b"!$&'()*+,;=:@/?") || !made_of(query, b"!$&'()*+,;=:@/?") {
        return false;
    }
    match hierarchy.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            is_authority(authority) && made_of(path, b"!$&'()*+,;=:@/")
        }
        None => made_of(hierarchy, b"!$&'()*+,;=:@/"),
    }
}

fn is_authority(authority: &str) -> bool {
    let (user, host_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !made_of(user, b"!$&'()*+,;=:") {
        return false;
    }
    let (host_fits, port) = if let Some(literal) = host_port.strip_prefix('[') {
        let Some((address, port)) = literal.split_once(']') else { return false };
        (is_ip_literal(address), port)
    } else {
        let (host, port) = host_port.split_at(host_port.find(':').unwrap_or(host_port.len()));
        (made_of(host, b"!$&'()*+,;="), port)
    };
    host_fits && (port.is_empty() || port.starts_with(':') && port[1..].bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_ip_literal(literal: &str) -> bool {
    if let Some(future) = literal.strip_prefix(['v', 'V']) {
        return future.split_once('.').is_some_and(|(version, rest)| {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !rest.is_empty()
                && !rest.contains('%')
                && made_of(rest, b"!$&'()*+,;=:")
        });
    }
    // RFC 6874: a zone follows an escaped percent sign.
    let (address, zone) = literal.split_once("%25").unwrap_or((literal, "z"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && made_of(zone, b"")
}

/// Whether text consists of unreserved characters, percent escapes and the given others.
fn made_of(text: &str, others: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            if !bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                return false;
            }
            at += 3;
        } else if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || others.contains(&byte) {
            at += 1;
        } else {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses() {
        for good in ["a@b", "first.last+tag@sub.example.com", "!#$%&'*+/=?^_`{|}~-@x.y"] {
            assert!(is_email(good), "{good}");
        }
        for bad in
            ["", "@", "a@", "@b", "a b@c", "a@b c", "a@-b", "a@b-", "a@b..c", "a@b.", "a@b@c", "ä@b", "a@bä", "\"a\"@b"]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn uris_have_a_scheme() {
        for good in [
            "https://example.com",
            "https://user:pw@[::1]:8443/a%20b?c=d#e",
            "urn:a:b",
            "mailto:a@b",
            "x:",
            "http://",
            "https://[v1.a]",
            "https://[fe80::1%25eth0]/",
            "http://h:/",
            "com.example.app:/callback",
        ] {
            assert!(is_uri(good), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "/a",
            ":a",
            "1a:b",
            "https://exa mple.com",
            "https://a/%zz",
            "https://a/%2",
            "https://[::1",
            "https://a:b",
            "https://a/\u{e4}",
            "https://[1.2.3.4]",
            "https://a/<b>",
            "https://a#b#c",
        ] {
            assert!(!is_uri(bad), "{bad}");
        }
    }

    #[test]
    fn host_names_and_uuids() {
        assert!(is_hostname("example.com") && is_hostname("example.com.") && is_hostname("a-b.c1"));
        for bad in ["", ".", "a..b", "-a", "a-", "1.2.3.4", "a_b", &"a.".repeat(127)] {
            assert!(!is_hostname(bad), "{bad}");
        }
        assert!(is_uuid("123e4567-E89b-12d3-a456-426614174000"));
        assert!(!is_uuid("123e4567e89b12d3a456426614174000") && !is_uuid("123e4567-e89b-12d3-a456-42661417400g"));
    }
}
