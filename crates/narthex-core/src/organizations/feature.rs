//! What an organization's administrators may set up themselves.

use crate::error::{Error, Result};

/// A feature: it gates self-service pages and what a portal link may carry, never the API or a login (orgs-users-rbac reference
/// §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // named below
pub enum Feature {
    Sso = 1,
    DirSync = 2,
    DomainVerification = 4,
    SessionPolicy = 8,
}

impl Feature {
    /// Every feature, in the order of answers: SDK suites look for `sso` and `dir_sync` in the first two places.
    pub const ALL: [Self; 4] = [Self::Sso, Self::DirSync, Self::DomainVerification, Self::SessionPolicy];

    /// The wire's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sso => "sso",
            Self::DirSync => "dir_sync",
            Self::DomainVerification => "domain_verification",
            Self::SessionPolicy => "session_policy",
        }
    }

    /// The feature of a name, also in the spellings that published documents and SDKs use. `field` is named where there is none.
    pub fn named(name: &str, field: &str) -> Result<Self> {
        match name {
            "sso" => Ok(Self::Sso),
            "dir_sync" | "directory_sync" | "scim" => Ok(Self::DirSync),
            "domain_verification" => Ok(Self::DomainVerification),
            "session_policy" => Ok(Self::SessionPolicy),
            _ => Err(Error::invalid(
                field,
                "feature.known",
                "is not a feature: sso, dir_sync, domain_verification, session_policy",
            )),
        }
    }

    const fn bit(self) -> i64 {
        self as i64
    }
}

/// The switches of an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Bits of those that are on.
    pub(crate) enabled: i64,
    /// Bits of those that were ever switched.
    pub(crate) set: i64,
}

impl Features {
    /// The features of stored bits, all on.
    pub(crate) fn of_bits(bits: i64) -> Self {
        Self { enabled: bits, set: bits }
    }

    /// Whether a feature is on.
    pub fn is_enabled(self, feature: Feature) -> bool {
        self.enabled & feature.bit() != 0
    }

    /// Switches one.
    pub fn switch(&mut self, feature: Feature, on: bool) {
        self.set |= feature.bit();
        if on {
            self.enabled |= feature.bit();
        } else {
            self.enabled &= !feature.bit();
        }
    }

    /// Those that answers show: `sso` and `dir_sync` always and first, then the others that were ever switched.
    pub fn shown(self) -> impl Iterator<Item = (Feature, bool)> {
        let always = Feature::Sso.bit() | Feature::DirSync.bit();
        Feature::ALL
            .into_iter()
            .filter(move |feature| (self.set | always) & feature.bit() != 0)
            .map(move |feature| (feature, self.is_enabled(feature)))
    }

    /// Those that are on.
    pub fn enabled(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |feature| self.is_enabled(*feature))
    }
}
