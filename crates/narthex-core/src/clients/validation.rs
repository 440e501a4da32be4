//! Rules of a client's settings that hold for several kinds. They collect what is broken, so that one answer names all of it.

use std::collections::HashSet;

use super::CustomClaim;
use super::redirects::{self, UriList};
use crate::environments::EnvironmentKind;
use crate::error::{Error, Result, Violation};

/// Characters of a name.
const NAME: usize = 128;
/// Characters of a description.
const DESCRIPTION: usize = 512;
/// URIs of one list (control plane reference §20.6).
pub(crate) const URIS: usize = 50;
/// Redirect URIs of a client of a resource (mcp-auth reference §4.1).
const RESOURCE_URIS: usize = 20;
/// Scopes and audiences of a client.
const ITEMS: usize = 100;
/// Characters of a scope or an audience.
const ITEM: usize = 512;
/// Bytes of all custom claims of a client: they are in every one of its tokens, which stand in headers.
const CLAIMS: usize = 4_096;
/// Shortest and longest life of a machine's token in seconds (oauth-oidc reference §11.5). Signing keys are kept as long as tokens.
const EXPIRY: std::ops::RangeInclusive<i64> = 300..=31_536_000;

/// What is wrong with a request so far.
#[derive(Default)]
pub(crate) struct Checks(Vec<Violation>);

impl Checks {
    pub(crate) fn add(&mut self, field: impl Into<String>, constraint: &str, text: impl Into<String>) {
        self.0.push(Violation::new(field, constraint, text));
    }

    pub(crate) fn extend(&mut self, violations: Vec<Violation>) {
        self.0.extend(violations);
    }

    pub(crate) fn done(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::violations(self.0)) }
    }

    pub(crate) fn name(&mut self, field: &str, name: &str) {
        if name.trim().is_empty() {
            self.add(field, "required", "must not be empty");
        } else if name.chars().count() > NAME {
            self.add(field, "string.max_len", format!("must have at most {NAME} characters"));
        }
    }

    pub(crate) fn description(&mut self, field: &str, description: &str) {
        if description.chars().count() > DESCRIPTION {
            self.add(field, "string.max_len", format!("must have at most {DESCRIPTION} characters"));
        }
    }

    /// Characters of RFC 6749 §3.3: a scope with a space would be two in a token.
    pub(crate) fn scopes(&mut self, field: &str, scopes: &[String]) {
        self.items(field, scopes, ITEMS);
        for (i, scope) in scopes.iter().enumerate().take(ITEMS) {
            let plain = !scope.is_empty() && scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
            if !plain || scope.len() > ITEM {
                self.add(
                    format!("{field}[{i}]"),
                    "scope",
                    "must be a scope of at most 512 characters without spaces, \" and \\",
                );
            }
        }
    }

    pub(crate) fn audience(&mut self, field: &str, audience: &[String]) {
        self.items(field, audience, ITEMS);
        for (i, item) in audience.iter().enumerate().take(ITEMS) {
            if item.is_empty() || item.chars().count() > ITEM || item.contains(char::is_control) {
                self.add(format!("{field}[{i}]"), "audience", "must be a text of 1 to 512 characters");
            }
        }
    }

    pub(crate) fn claims(&mut self, field: &str, claims: &[CustomClaim]) {
        let mut keys = HashSet::new();
        for (i, claim) in claims.iter().enumerate() {
            if claim.key.is_empty() || claim.key.chars().count() > 128 {
                self.add(format!("{field}[{i}].key"), "string.len", "must have 1 to 128 characters");
            } else if !keys.insert(&claim.key) {
                self.add(format!("{field}[{i}].key"), "unique", "stands twice");
            }
        }
        if claims.iter().map(|claim| claim.key.len() + claim.value.len()).sum::<usize>() > CLAIMS {
            self.add(field, "custom_claims.size", format!("must have at most {CLAIMS} bytes together"));
        }
    }

    pub(crate) fn expiry(&mut self, field: &str, seconds: i64) {
        if !EXPIRY.contains(&seconds) {
            self.add(field, "expiry", format!("must be {} to {} seconds", EXPIRY.start(), EXPIRY.end()));
        }
    }

    /// URIs of an application. Those that are registered already are not asked again: rules may have become stricter.
    pub(crate) fn uris(
        &mut self,
        field: &str,
        kind: EnvironmentKind,
        list: UriList,
        uris: &[String],
        known: &[String],
    ) {
        self.items(field, uris, URIS);
        for (i, uri) in uris.iter().enumerate().take(URIS) {
            if !known.contains(uri)
                && let Err(broken) = redirects::check(kind, list, uri)
            {
                self.add(format!("{field}[{i}]"), "redirect_uri", broken);
            }
        }
    }

    pub(crate) fn resource_uris(&mut self, field: &str, uris: &[String]) {
        self.items(field, uris, RESOURCE_URIS);
        for (i, uri) in uris.iter().enumerate().take(RESOURCE_URIS) {
            if let Err(broken) = redirects::check_of_resource(uri) {
                self.add(format!("{field}[{i}]"), "redirect_uri", broken);
            }
        }
    }

    /// Grants that this kind of client can be given.
    pub(crate) fn grants(&mut self, field: &str, kind: super::ClientKind, grants: &[String]) {
        self.items(field, grants, ITEMS);
        for (i, grant) in grants.iter().enumerate().take(ITEMS) {
            if !kind.grants().contains(&grant.as_str()) {
                let text = format!("must be one of {}", kind.grants().join(", "));
                self.add(format!("{field}[{i}]"), "grant_type", text);
            }
        }
    }

    /// Not too many, and none twice.
    fn items(&mut self, field: &str, items: &[String], most: usize) {
        if items.len() > most {
            self.add(field, "repeated.max_items", format!("must have at most {most} items"));
        }
        let mut seen = HashSet::new();
        if items.iter().take(most).any(|item| !seen.insert(item)) {
            self.add(field, "repeated.unique", "must not have an item twice");
        }
    }
}

/// Seconds as a client keeps them; 0 and less are none.
pub(crate) fn seconds(expiry: i64) -> Option<u32> {
    u32::try_from(expiry).ok().filter(|expiry| *expiry > 0)
}
