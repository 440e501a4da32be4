//! Rules that the contract's field options cannot express, and how addresses are compared.

use std::collections::BTreeMap;

use super::{NewUser, ProfilePatch, UserPatch};
use crate::error::{Error, Result, Violation};
use crate::organizations::Patch;

/// Longest external id: lookups accept so many characters (orgs-users-rbac reference §3.1).
const EXTERNAL_ID: usize = 510;
/// Longest address (RFC 5321 §4.5.3.1.3, as corrected).
const EMAIL: usize = 254;
/// Longest text of the fields that the contract does not bound.
const TEXT: usize = 1_024;

/// What addresses are compared by. They are ASCII only, so lower case is the whole of it: no two spellings that look alike or fold
/// into each other are one address here and two elsewhere.
pub(crate) fn key_of(email: &str) -> String {
    email.trim().to_ascii_lowercase()
}

pub(crate) fn new(new: &NewUser) -> Result<()> {
    let mut broken = Vec::new();
    if let Some(violation) = email("user.email", &new.email) {
        broken.push(violation);
    }
    external_id(new.external_id.as_deref(), &mut broken);
    map("metadata", &new.metadata, &mut broken);
    profile(&new.profile, &mut broken);
    finish(broken)
}

pub(super) fn patch(patch: &UserPatch) -> Result<()> {
    let mut broken = Vec::new();
    if let Patch::Set(id) = &patch.external_id {
        external_id(Some(id), &mut broken);
    }
    if let Some(metadata) = &patch.metadata {
        map("metadata", metadata, &mut broken);
    }
    profile(&patch.profile, &mut broken);
    finish(broken)
}

fn finish(broken: Vec<Violation>) -> Result<()> {
    if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
}

/// What is wrong with an address. Only ASCII is taken: an address in another script, or one with look-alike letters, would fold into
/// somebody else's in one program and not in another.
pub(crate) fn email(field: &str, email: &str) -> Option<Violation> {
    let email = email.trim();
    let (local, domain) = email.rsplit_once('@').unwrap_or_default();
    let plain = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '"' | '(' | ')' | ',' | ':' | ';' | '<' | '>' | '[' | ']' | '\\' | '@')
    };
    let good = !local.is_empty()
        && !domain.is_empty()
        && local.chars().all(plain)
        && domain.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !domain.contains("..");
    if !good {
        return Some(Violation::new(field, "string.email", "must be an e-mail address"));
    }
    (email.len() > EMAIL)
        .then(|| Violation::new(field, "string.max_len", format!("must be at most {EMAIL} characters")))
}

fn external_id(external_id: Option<&str>, broken: &mut Vec<Violation>) {
    let Some(external_id) = external_id else { return };
    text("external_id", external_id, EXTERNAL_ID, broken);
}

fn profile(profile: &ProfilePatch, broken: &mut Vec<Violation>) {
    // Bounds of the contract stand there; these are for what it leaves open, and for U+0000 everywhere.
    for (field, value) in [
        ("given_name", &profile.given_name),
        ("family_name", &profile.family_name),
        ("name", &profile.name),
        ("locale", &profile.locale),
        ("phone_number", &profile.phone_number),
        ("preferred_username", &profile.preferred_username),
        ("gender", &profile.gender),
    ] {
        if let Some(value) = value {
            text(&format!("user_profile.{field}"), value, TEXT, broken);
        }
    }
    if let Some(picture) = &profile.picture {
        text("user_profile.picture", picture, 2_048, broken);
    }
    for group in profile.groups.iter().flatten() {
        text("user_profile.groups", group, TEXT, broken);
    }
    if let Some(metadata) = &profile.metadata {
        map("user_profile.metadata", metadata, broken);
    }
    if let Some(attributes) = &profile.custom_attributes {
        map("user_profile.custom_attributes", attributes, broken);
    }
}

fn text(field: &str, text: &str, longest: usize, broken: &mut Vec<Violation>) {
    if text.contains('\0') {
        broken.push(Violation::new(format!("user.{field}"), "string.nul", "must not contain U+0000"));
    } else if text.chars().count() > longest {
        let description = format!("must be at most {longest} characters");
        broken.push(Violation::new(format!("user.{field}"), "string.max_len", description));
    }
}

fn map(field: &str, map: &BTreeMap<String, String>, broken: &mut Vec<Violation>) {
    if map.iter().any(|(key, value)| key.contains('\0') || value.contains('\0')) {
        broken.push(Violation::new(format!("user.{field}"), "string.nul", "must not contain U+0000"));
    }
}

#[cfg(test)]
mod tests {
    use super::{email, key_of};

    #[test]
    fn usr_06_an_address_is_plain_ascii_so_that_none_folds_into_another() {
        for good in ["a@b", "Ann.Lee+tag@Example.COM", "o'neil@x.example", "a_b-c/d=e@x-1.example"] {
            assert!(email("email", good).is_none(), "{good}");
        }
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "a b@c",
            "ａ@example.com",
            "a@exámple.com",
            "a@b@c",
            "a@.b",
            "a@b.",
            "a@b..c",
            "a\n@b",
            "\"a\"@b",
            "ann@example.com\0",
            "\u{212a}@example.com",
        ] {
            assert!(email("email", bad).is_some(), "{bad}");
        }
        assert!(email("email", &format!("{}@example.com", "a".repeat(300))).is_some());
        assert_eq!(key_of(" Ann@Example.COM "), "ann@example.com");
    }
}
