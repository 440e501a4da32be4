//! Settings of codes and links by mail (login methods reference §5).

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::error::Violation;

/// Seconds that a code or link may be valid by the environment's settings.
const VALIDITY: RangeInclusive<u32> = 60..=3_600;
/// Characters of a code.
const CODE_LENGTH: RangeInclusive<u32> = 5..=6;

/// What a mail carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Delivery {
    /// A code.
    Otp,
    /// A link.
    Link,
    /// Both.
    LinkOtp,
}

impl Delivery {
    /// Whether there is a code.
    pub const fn has_code(self) -> bool {
        matches!(self, Self::Otp | Self::LinkOtp)
    }

    /// Whether there is a link.
    pub const fn has_link(self) -> bool {
        matches!(self, Self::Link | Self::LinkOtp)
    }
}

/// What codes are made of (`scalekit.v1.connections.CodeChallengeType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CodeType {
    /// Digits.
    Numeric = 1,
    /// Digits and letters.
    Alphanumeric = 2,
}

impl CodeType {
    /// The type of a number on the wire.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Numeric, Self::Alphanumeric].into_iter().find(|&kind| kind as i32 == number)
    }
}

/// How addresses are proven by mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PasswordlessConfig {
    /// What a mail carries.
    #[serde(rename = "type")]
    pub delivery: Delivery,
    /// Kept for who set it; its meaning is documented nowhere.
    pub frequency: u32,
    /// Seconds that a code or link is good for.
    pub validity: u32,
    /// Whether a link must be opened in the browser that asked for it.
    pub enforce_same_browser_origin: bool,
    /// Characters of a code.
    pub code_challenge_length: u32,
    /// What a code is made of.
    pub code_challenge_type: CodeType,
    /// Whether a second mail has a new code and link, and ends the earlier ones.
    pub regenerate_on_resend: bool,
}

impl Default for PasswordlessConfig {
    fn default() -> Self {
        Self {
            delivery: Delivery::Otp,
            frequency: 1,
            validity: 300,
            enforce_same_browser_origin: false,
            code_challenge_length: 6,
            code_challenge_type: CodeType::Numeric,
            regenerate_on_resend: false,
        }
    }
}

/// A change of [`PasswordlessConfig`]: what is None stays.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the settings under their own names
pub struct PasswordlessChange {
    pub delivery: Option<Delivery>,
    pub frequency: Option<u32>,
    pub validity: Option<u32>,
    pub enforce_same_browser_origin: Option<bool>,
    pub code_challenge_length: Option<u32>,
    pub code_challenge_type: Option<CodeType>,
    pub regenerate_on_resend: Option<bool>,
}

impl PasswordlessChange {
    /// Broken rules, by field.
    pub(super) fn violations(&self) -> Vec<Violation> {
        let between = |field: &str, value: Option<u32>, range: RangeInclusive<u32>, unit: &str| {
            value.filter(|value| !range.contains(value)).map(|_| {
                let (from, to) = range.into_inner();
                let field = format!("connection.passwordless_config.{field}");
                Violation::new(field, "uint32.gte_lte", format!("must be between {from} and {to} {unit}"))
            })
        };
        [
            between("validity", self.validity, VALIDITY, "seconds"),
            between("code_challenge_length", self.code_challenge_length, CODE_LENGTH, "characters"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    pub(super) fn apply(self, config: &mut PasswordlessConfig) {
        fn set<T>(value: Option<T>, field: &mut T) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(self.delivery, &mut config.delivery);
        set(self.frequency, &mut config.frequency);
        set(self.validity, &mut config.validity);
        set(self.enforce_same_browser_origin, &mut config.enforce_same_browser_origin);
        set(self.code_challenge_length, &mut config.code_challenge_length);
        set(self.code_challenge_type, &mut config.code_challenge_type);
        set(self.regenerate_on_resend, &mut config.regenerate_on_resend);
    }
}
