//! Session and token lifetimes of an environment (control plane reference §4.3).

use std::time::Duration;

use crate::error::{Error, Result, Violation};

/// Longest values, in minutes.
const TOKEN: i64 = 43_200;
const ABSOLUTE: i64 = 525_600;
const IDLE: i64 = 10_080;

/// Unit in which a length of time was given (`scalekit.v1.environments.TimeUnit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the wire's names
pub enum TimeUnit {
    Minutes = 1,
    Hours = 2,
    Days = 3,
}

impl TimeUnit {
    /// Reads the wire's number; unspecified is minutes.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            0 | 1 => Some(Self::Minutes),
            2 => Some(Self::Hours),
            3 => Some(Self::Days),
            _ => None,
        }
    }

    /// Minutes in one.
    pub const fn minutes(self) -> i64 {
        match self {
            Self::Minutes => 1,
            Self::Hours => 60,
            Self::Days => 1_440,
        }
    }
}

/// A length of time, kept in minutes, and the unit to read it back in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Minutes.
    pub minutes: i64,
    /// Unit for reading back.
    pub unit: TimeUnit,
}

impl Span {
    /// So many minutes.
    pub const fn of_minutes(minutes: i64) -> Self {
        Self { minutes, unit: TimeUnit::Minutes }
    }

    /// The value in its unit.
    pub const fn in_unit(self) -> i64 {
        self.minutes / self.unit.minutes()
    }

    /// The same as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::try_from(self.minutes).unwrap_or(0) * 60)
    }
}

/// Session settings of an environment (control plane reference §4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// Lifetime of end users' access tokens.
    pub access_token_expiry: Span,
    /// Lifetime of API clients' access tokens.
    pub client_access_token_expiry: Span,
    /// Longest life of a session.
    pub absolute_timeout: Span,
    /// Whether idle sessions end.
    pub idle_enabled: bool,
    /// After how long, if so.
    pub idle_timeout: Span,
    /// Whether the product manages sessions at all.
    pub management_enabled: bool,
    /// `scalekit.v1.environments.CookiePersistenceType`: 1 persistent, 2 session.
    pub cookie_persistence: i32,
    /// `scalekit.v1.environments.CookieSameSiteSetting`: 1 lax, 2 none.
    pub cookie_same_site: i32,
    /// The customer's domain that the session cookie is set for; without one it is the environment's host's alone.
    pub cookie_custom_domain: Option<String>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            access_token_expiry: Span::of_minutes(5),
            client_access_token_expiry: Span::of_minutes(1_440),
            absolute_timeout: Span::of_minutes(43_200),
            idle_enabled: false,
            idle_timeout: Span::of_minutes(10_080),
            management_enabled: true,
            cookie_persistence: 1,
            cookie_same_site: 1,
            cookie_custom_domain: None,
        }
    }
}

/// A change of a length of time: a value counts in the unit beside it, in minutes without one.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpanPatch {
    /// Value.
    pub value: Option<i32>,
    /// Unit; without a value, the one to read the present length back in.
    pub unit: Option<TimeUnit>,
}

/// A change of session settings. What is absent stays.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the fields of `SessionSettings`
pub struct SessionSettingsPatch {
    pub access_token_expiry: SpanPatch,
    /// In minutes.
    pub client_access_token_expiry: Option<i32>,
    pub absolute_timeout: SpanPatch,
    pub idle_enabled: Option<bool>,
    pub idle_timeout: SpanPatch,
    pub management_enabled: Option<bool>,
    pub cookie_persistence: Option<i32>,
    pub cookie_same_site: Option<i32>,
    /// An empty one is none.
    pub cookie_custom_domain: Option<String>,
}

impl SessionSettingsPatch {
    /// The settings after the change. INVALID_ARGUMENT that names every field out of its range; then every one that breaks the order:
    /// the whole session outlives an idle one, and that outlives an access token.
    pub fn apply(&self, current: &SessionSettings) -> Result<SessionSettings> {
        let mut broken = Vec::new();
        let mut span = |field: &str, patch: SpanPatch, now: Span, longest: i64| {
            span(patch, now, longest).unwrap_or_else(|text| {
                broken.push(Violation::new(field_name(field), "session_settings.range", text));
                now
            })
        };
        let access_token_expiry =
            span("access_token_expiry", self.access_token_expiry, current.access_token_expiry, TOKEN);
        let client = SpanPatch { value: self.client_access_token_expiry, unit: None };
        let client_access_token_expiry =
            span("client_access_token_expiry", client, current.client_access_token_expiry, TOKEN);
        let absolute_timeout =
            span("absolute_session_timeout", self.absolute_timeout, current.absolute_timeout, ABSOLUTE);
        let idle_timeout = span("idle_session_timeout", self.idle_timeout, current.idle_timeout, IDLE);
        let mut word = |field: &str, given: Option<i32>, now: i32, words: &str| match given {
            None | Some(0) => now,
            Some(number @ 1..=2) => number,
            Some(_) => {
                broken.push(Violation::new(field_name(field), "enum.defined_only", format!("must be {words}")));
                now
            }
        };
        let cookie_persistence = word(
            "cookie_persistence_type",
            self.cookie_persistence,
            current.cookie_persistence,
            "PERSISTENT or SESSION",
        );
        let cookie_same_site =
            word("cookie_same_site_setting", self.cookie_same_site, current.cookie_same_site, "LAX_MODE or NONE_MODE");
        if !broken.is_empty() {
            return Err(Error::violations(broken));
        }
        let settings = SessionSettings {
            access_token_expiry,
            client_access_token_expiry,
            absolute_timeout,
            idle_enabled: self.idle_enabled.unwrap_or(current.idle_enabled),
            idle_timeout,
            management_enabled: self.management_enabled.unwrap_or(current.management_enabled),
            cookie_persistence,
            cookie_same_site,
            cookie_custom_domain: match &self.cookie_custom_domain {
                None => current.cookie_custom_domain.clone(),
                Some(domain) if domain.trim().is_empty() => None,
                Some(domain) => Some(domain.trim().trim_end_matches('.').to_ascii_lowercase()),
            },
        };
        settings.check_order()?;
        Ok(settings)
    }
}

fn field_name(field: &str) -> String {
    format!("session_settings.{field}")
}

/// The length after a change; what is wrong with it, if it cannot be.
fn span(patch: SpanPatch, now: Span, longest: i64) -> std::result::Result<Span, String> {
    let Some(value) = patch.value else {
        let unit = patch.unit.unwrap_or(now.unit);
        if now.minutes % unit.minutes() != 0 {
            return Err(format!("is {} minutes now, which the new unit cannot express: give a value too", now.minutes));
        }
        return Ok(Span { unit, ..now });
    };
    let unit = patch.unit.unwrap_or(TimeUnit::Minutes);
    let minutes = i64::from(value) * unit.minutes();
    if (1..=longest).contains(&minutes) {
        Ok(Span { minutes, unit })
    } else {
        Err(format!("must be between 1 and {longest} minutes"))
    }
}

impl SessionSettings {
    fn check_order(&self) -> Result<()> {
        let (absolute, idle, token) =
            (self.absolute_timeout.minutes, self.idle_timeout.minutes, self.access_token_expiry.minutes);
        let mut broken = Vec::new();
        let mut order = |field: &str, holds: bool, text: String| {
            if !holds {
                broken.push(Violation::new(field_name(field), "session_settings.order", text));
            }
        };
        if self.idle_enabled {
            order(
                "absolute_session_timeout",
                absolute > idle,
                format!("must be longer than the idle timeout of {idle} minutes"),
            );
            order(
                "idle_session_timeout",
                idle > token,
                format!("must be longer than the access token expiry of {token} minutes"),
            );
        } else {
            order(
                "absolute_session_timeout",
                absolute > token,
                format!("must be longer than the access token expiry of {token} minutes"),
            );
        }
        if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(value: i32) -> SpanPatch {
        SpanPatch { value: Some(value), unit: None }
    }

    fn fields(result: Result<SessionSettings>) -> Vec<String> {
        let error = result.expect_err("refused");
        error.field_violations().iter().map(|violation| violation.field.replace("session_settings.", "")).collect()
    }

    #[test]
    fn ses_03_ctl_29_a_value_counts_in_its_unit_and_its_range_in_minutes() {
        let now = SessionSettings::default();
        let days = SpanPatch { value: Some(30), unit: Some(TimeUnit::Days) };
        let patch = SessionSettingsPatch { absolute_timeout: days, ..SessionSettingsPatch::default() };
        let changed = patch.apply(&now).expect("30 days");
        assert_eq!((changed.absolute_timeout.minutes, changed.absolute_timeout.in_unit()), (43_200, 30));
        assert_eq!(changed.access_token_expiry, now.access_token_expiry, "what is absent stays");
        for (value, unit, good) in [
            (1, TimeUnit::Minutes, false), // shorter than the access token's five
            (525_600, TimeUnit::Minutes, true),
            (525_601, TimeUnit::Minutes, false),
            (8_760, TimeUnit::Hours, true),
            (8_761, TimeUnit::Hours, false),
            (365, TimeUnit::Days, true),
            (366, TimeUnit::Days, false),
            (i32::MAX, TimeUnit::Days, false),
            (0, TimeUnit::Days, false),
            (-1, TimeUnit::Days, false),
        ] {
            let absolute_timeout = SpanPatch { value: Some(value), unit: Some(unit) };
            let patch = SessionSettingsPatch { absolute_timeout, ..SessionSettingsPatch::default() };
            assert_eq!(patch.apply(&now).is_ok(), good, "{value} {unit:?}");
        }
        let unit_alone = SpanPatch { value: None, unit: Some(TimeUnit::Hours) };
        let patch = SessionSettingsPatch { absolute_timeout: unit_alone, ..SessionSettingsPatch::default() };
        assert_eq!(patch.apply(&now).expect("720 hours").absolute_timeout.in_unit(), 720);
        let patch = SessionSettingsPatch { access_token_expiry: unit_alone, ..SessionSettingsPatch::default() };
        assert_eq!(fields(patch.apply(&now)), ["access_token_expiry"], "five minutes are no hours");
    }

    #[test]
    fn ses_03_ctl_29_every_field_out_of_range_is_named() {
        let patch = SessionSettingsPatch {
            access_token_expiry: minutes(43_201),
            client_access_token_expiry: Some(0),
            absolute_timeout: minutes(0),
            idle_timeout: minutes(10_081),
            cookie_persistence: Some(3),
            cookie_same_site: Some(-1),
            ..SessionSettingsPatch::default()
        };
        let named = fields(patch.apply(&SessionSettings::default()));
        assert_eq!(
            named,
            [
                "access_token_expiry",
                "client_access_token_expiry",
                "absolute_session_timeout",
                "idle_session_timeout",
                "cookie_persistence_type",
                "cookie_same_site_setting",
            ]
        );
    }

    #[test]
    fn org_15_ctl_29_the_session_outlives_idleness_and_idleness_outlives_the_token() {
        let now = SessionSettings::default();
        let set = |absolute, idle: Option<i32>, token| {
            SessionSettingsPatch {
                access_token_expiry: minutes(token),
                absolute_timeout: minutes(absolute),
                idle_enabled: Some(idle.is_some()),
                idle_timeout: SpanPatch { value: idle, unit: None },
                ..SessionSettingsPatch::default()
            }
            .apply(&now)
        };
        assert!(set(12, Some(11), 10).is_ok() && set(11, None, 10).is_ok());
        assert_eq!(fields(set(11, Some(11), 10)), ["absolute_session_timeout"]);
        assert_eq!(fields(set(12, Some(10), 10)), ["idle_session_timeout"]);
        assert_eq!(fields(set(10, Some(10), 10)), ["absolute_session_timeout", "idle_session_timeout"]);
        assert_eq!(fields(set(10, None, 10)), ["absolute_session_timeout"]);
        let on = SessionSettingsPatch { idle_enabled: Some(true), ..SessionSettingsPatch::default() };
        let week = on.apply(&now).expect("its preset is a week");
        let token = SessionSettingsPatch { access_token_expiry: minutes(10_080), ..SessionSettingsPatch::default() };
        assert_eq!(fields(token.apply(&week)), ["idle_session_timeout"], "the other way round");
    }

    #[test]
    fn a_cookie_domain_is_kept_in_one_spelling_and_an_empty_one_is_none() {
        let now = SessionSettings::default();
        let set = |domain: &str| {
            let patch =
                SessionSettingsPatch { cookie_custom_domain: Some(domain.into()), ..SessionSettingsPatch::default() };
            patch.apply(&now).expect("settings").cookie_custom_domain
        };
        assert_eq!(set(" Acme.COM. ").as_deref(), Some("acme.com"));
        assert_eq!(set(""), None);
    }
}
