//! Names of domains: one spelling for each, and those that no organization can call its own.

use super::lists;
use crate::error::{Error, Result};

const FIELD: &str = "domain.domain";
/// Characters of a name (RFC 1035 §2.3.4, without the dots of the wire form).
const LONGEST: usize = 253;

/// A domain name in the form in which it is kept and compared: lower case, ASCII (IDNA, UTS #46), no dot at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

impl DomainName {
    /// Reads a name from outside. INVALID_ARGUMENT for what is no name below a public suffix, and for names of providers where anybody
    /// can have an address.
    pub fn parse(text: &str) -> Result<Self> {
        let name = fold(text).map_err(|what| Error::invalid(FIELD, "domain.format", what))?;
        if lists::is_suffix(&name) {
            return Err(Error::invalid(
                FIELD,
                "domain.public_suffix",
                "is a name that anybody can register names under",
            ));
        }
        if lists::is_public(&name) {
            return Err(Error::invalid(FIELD, "domain.public", "is a public e-mail provider"));
        }
        if lists::is_disposable(&name) {
            return Err(Error::invalid(FIELD, "domain.disposable", "is a provider of disposable addresses"));
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether this is a name in its kept form that somebody can own, rather than one that anybody can register names under.
pub(crate) fn is_registrable(name: &str) -> bool {
    fold(name).is_ok_and(|kept| kept == name && !lists::is_suffix(&kept))
}

/// The one spelling of a host name of at least two labels; what is wrong, if it is none.
pub(super) fn fold(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.contains('@') {
        return Err("must be a domain, not an address");
    }
    if text.contains("://") || text.contains(['/', ':', '?', '#', '\\', '%']) {
        return Err("must be a domain, not a URL");
    }
    if text.contains('*') {
        return Err("must not have a wildcard");
    }
    // ASCII only from here on: a name that looks like another in some script is still another one.
    let name = idna::domain_to_ascii(text).map_err(|_| "is not a domain name")?;
    let name = name.strip_suffix('.').unwrap_or(&name);
    if name.len() > LONGEST {
        return Err("must have at most 253 characters");
    }
    let mut labels = 0;
    for label in name.split('.') {
        labels += 1;
        let in_alphabet = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if label.is_empty() || label.len() > 63 || !in_alphabet || label.starts_with('-') || label.ends_with('-') {
            return Err("is not a domain name");
        }
    }
    if labels < 2 {
        return Err("must have at least two labels");
    }
    // No top-level domain is a number: this is an IPv4 address in one of its spellings (WHATWG URL, "ends in a number").
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
        return Err("must be a domain, not an IP address");
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sso_50_one_domain_has_one_spelling() {
        for (given, kept) in [
            ("acme.com", "acme.com"),
            ("  ACME.Com ", "acme.com"),
            ("acme.com.", "acme.com"),
            ("mail.acme.co.uk", "mail.acme.co.uk"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("BU\u{308}CHER.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("straße.example", "xn--strae-oqa.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
            ("acme。com", "acme.com"),
            ("run-17.test", "run-17.test"),
        ] {
            assert_eq!(DomainName::parse(given).ok().as_ref().map(DomainName::as_str), Some(kept), "{given}");
        }
    }

    #[test]
    fn sso_51_what_nobody_owns_is_refused() {
        for bad in [
            "acme",
            "localhost",
            ".com",
            "acme..com",
            "-acme.com",
            "acme-.com",
            "ac me.com",
            "a@acme.com",
            "https://acme.com",
            "acme.com/x",
            "acme.com:443",
            "*.acme.com",
            "10.0.0.1",
            "1.2.3",
            "[::1]",
            "0x7f.0x1",
            "acme.123",
            "a_b.com",
            "acme.com\\x",
            "xn--a.com",
            "acme%2ecom",
            "co.uk",
            "github.io",
            "gmail.com",
            "GMAIL.com",
            "gmail.com.",
            "mail.yahoo.com",
            "ｇｍａｉｌ.com",
            "mailinator.com",
            "x.mailinator.com",
            "yopmail.com",
        ] {
            assert!(DomainName::parse(bad).is_err(), "{bad}");
        }
        let long = format!("{}.com", "a".repeat(64));
        assert!(DomainName::parse(&long).is_err());
        let long = format!("{}com", "abcdefg.".repeat(32));
        assert!(DomainName::parse(&long).is_err());
        for good in ["notgmail.com", "acme.co.uk", "acme.github.io", "gmail.com.acme.com"] {
            assert!(DomainName::parse(good).is_ok(), "{good}");
        }
    }
}
