//! Rules that the contract's field options cannot express. What they do express (lengths, patterns, sizes of maps) is checked once,
//! at the edge.

use crate::error::{Error, Result, Violation};

use super::{NewOrganization, OrganizationPatch, Patch};

/// Longest external id, in characters (orgs-users-rbac reference §2.1; the contract has no rule).
const EXTERNAL_ID: usize = 255;

pub(super) fn new(new: &NewOrganization) -> Result<()> {
    let mut broken = Vec::new();
    text("display_name", &new.display_name, &mut broken);
    optional(new.external_id.as_deref(), new.slug.as_deref(), new.logo_url.as_deref(), &mut broken);
    metadata(&new.metadata, &mut broken);
    finish(broken)
}

pub(super) fn patch(patch: &OrganizationPatch) -> Result<()> {
    let mut broken = Vec::new();
    if let Some(name) = &patch.display_name {
        if name.is_empty() {
            broken.push(Violation::new("organization.display_name", "string.min_len", "cannot be cleared"));
        }
        text("display_name", name, &mut broken);
    }
    optional(set(&patch.external_id), set(&patch.slug), set(&patch.logo_url), &mut broken);
    metadata(patch.metadata.as_ref().unwrap_or(&std::collections::BTreeMap::new()), &mut broken);
    finish(broken)
}

fn set(patch: &Patch<String>) -> Option<&str> {
    match patch {
        Patch::Set(value) => Some(value),
        Patch::Keep | Patch::Clear => None,
    }
}

fn finish(broken: Vec<Violation>) -> Result<()> {
    if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
}

fn optional(external_id: Option<&str>, slug: Option<&str>, logo_url: Option<&str>, broken: &mut Vec<Violation>) {
    if let Some(external_id) = external_id {
        text("external_id", external_id, broken);
        if external_id.chars().count() > EXTERNAL_ID {
            let description = format!("must be at most {EXTERNAL_ID} characters");
            broken.push(Violation::new("organization.external_id", "string.max_len", description));
        }
    }
    if let Some(slug) = slug {
        text("slug", slug, broken);
    }
    if let Some(url) = logo_url
        && !is_https(url)
    {
        broken.push(Violation::new("organization.logo_url", "logo_url.https", "must be an https:// URL"));
    }
}

fn metadata(metadata: &std::collections::BTreeMap<String, String>, broken: &mut Vec<Violation>) {
    for (key, value) in metadata {
        if has_nul(key) || has_nul(value) {
            broken.push(Violation::new("organization.metadata", "string.nul", "must not contain U+0000"));
        }
    }
}

/// U+0000 cannot be stored by PostgreSQL and is cut off by half of what reads SQLite.
fn text(field: &str, text: &str, broken: &mut Vec<Violation>) {
    if has_nul(text) {
        broken.push(Violation::new(format!("organization.{field}"), "string.nul", "must not contain U+0000"));
    }
}

fn has_nul(text: &str) -> bool {
    text.contains('\0')
}

/// An absolute https URL with a host and without anything that could break out of an attribute or a style. Whether an image stands
/// there is not asked.
fn is_https(url: &str) -> bool {
    let scheme = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let rest = url.get(8..).unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let odd = |c: char| {
        c.is_control() || c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '\\' | '`' | '{' | '}' | '|' | '^')
    };
    let host_ok = host.chars().any(char::is_alphanumeric) && !host.contains('@');
    scheme && host_ok && !url.chars().any(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn org_08_a_logo_is_an_https_url() {
        for good in [
            "https://cdn.example.com/logo.png",
            "https://x/a",
            "HTTPS://cdn.example.com:8443/a?b=c#d",
            "https://bücher.example/l",
        ] {
            assert!(is_https(good), "{good}");
        }
        for bad in [
            "http://cdn.example.com/logo.png",
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "//cdn.example.com",
            "https:/x",
            "https://a b",
            "https://a\"onload=",
            "https://u@evil.example/",
            "data:image/png;base64,AA",
            "https://a/\n",
            "",
        ] {
            assert!(!is_https(bad), "{bad}");
        }
    }
}
