//! Lifetimes of the sessions of an organization's members (orgs-users-rbac reference §2.7).
//!
//! What a session gets is the stricter of environment and organization, decided when it is created. Here only the order is checked:
//! the whole session outlives an idle one, and that outlives an access token.

use crate::environments::SessionSettings;
use crate::error::{Error, Result, Violation};

/// Longest session, in minutes.
const ABSOLUTE: i64 = 525_600;
/// Longest idle time, in minutes.
const IDLE: i64 = 10_080;

/// Where the lifetimes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionPolicy {
    /// From the environment.
    #[default]
    Application,
    /// From the organization.
    Custom {
        /// The whole session, in minutes.
        absolute_minutes: i32,
        /// Without use, in minutes; `None` if the organization sets no idle limit.
        idle_minutes: Option<i32>,
    },
}

/// A change of the policy. What is absent stays as it is.
#[derive(Debug, Clone, Copy)]
pub enum SessionPolicyChange {
    /// Back to the environment's; custom values are dropped.
    Application,
    /// To values of its own, in minutes.
    Custom {
        /// The whole session; must be known by now.
        absolute: Option<i64>,
        /// Whether idle sessions end; giving a time alone switches it on.
        idle_enabled: Option<bool>,
        /// After how long.
        idle: Option<i64>,
    },
}

impl SessionPolicyChange {
    /// The policy after the change.
    pub fn apply(self, current: SessionPolicy, environment: &SessionSettings) -> Result<SessionPolicy> {
        let Self::Custom { absolute, idle_enabled, idle } = self else { return Ok(SessionPolicy::Application) };
        let (old_absolute, old_idle) = match current {
            SessionPolicy::Application => (None, None),
            SessionPolicy::Custom { absolute_minutes, idle_minutes } => {
                (Some(i64::from(absolute_minutes)), idle_minutes.map(i64::from))
            }
        };
        let Some(absolute) = absolute.or(old_absolute) else {
            return Err(Error::invalid("absolute_session_timeout", "required", "is required for a custom policy"));
        };
        let idle_enabled = idle_enabled.unwrap_or(idle.is_some() || old_idle.is_some());
        let idle = match (idle_enabled, idle.or(old_idle)) {
            (false, _) => None,
            (true, Some(idle)) => Some(idle),
            (true, None) => {
                return Err(Error::invalid(
                    "idle_session_timeout",
                    "required",
                    "is required when idle sessions are to end",
                ));
            }
        };
        check(absolute, idle, environment.access_token_expiry.minutes)?;
        Ok(SessionPolicy::Custom {
            absolute_minutes: i32::try_from(absolute).unwrap_or(i32::MAX),
            idle_minutes: idle.map(|idle| i32::try_from(idle).unwrap_or(i32::MAX)),
        })
    }
}

fn check(absolute: i64, idle: Option<i64>, token: i64) -> Result<()> {
    let mut broken = Vec::new();
    let mut range = |field: &str, value: i64, highest: i64| {
        if !(1..=highest).contains(&value) {
            let text = format!("must be between 1 and {highest} minutes");
            broken.push(Violation::new(field, "session_policy.range", text));
        }
    };
    range("absolute_session_timeout", absolute, ABSOLUTE);
    if let Some(idle) = idle {
        range("idle_session_timeout", idle, IDLE);
    }
    if broken.is_empty() {
        let mut order = |field: &str, holds: bool, text: String| {
            if !holds {
                broken.push(Violation::new(field, "session_policy.order", text));
            }
        };
        match idle {
            Some(idle) => {
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
            }
            None => order(
                "absolute_session_timeout",
                absolute > token,
                format!("must be longer than the access token expiry of {token} minutes"),
            ),
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(Error::violations(broken)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(
        absolute: impl Into<Option<i64>>,
        enabled: impl Into<Option<bool>>,
        idle: impl Into<Option<i64>>,
    ) -> SessionPolicyChange {
        SessionPolicyChange::Custom { absolute: absolute.into(), idle_enabled: enabled.into(), idle: idle.into() }
    }

    #[test]
    fn org_14_a_custom_policy_needs_an_absolute_timeout_and_keeps_what_is_not_named() {
        let environment = SessionSettings::default();
        assert!(custom(None, None, None).apply(SessionPolicy::Application, &environment).is_err());
        let first = custom(600, true, 60).apply(SessionPolicy::Application, &environment).unwrap();
        assert_eq!(first, SessionPolicy::Custom { absolute_minutes: 600, idle_minutes: Some(60) });
        let longer = custom(1_200, None, None).apply(first, &environment).unwrap();
        assert_eq!(longer, SessionPolicy::Custom { absolute_minutes: 1_200, idle_minutes: Some(60) });
        let off = custom(None, false, None).apply(longer, &environment).unwrap();
        assert_eq!(off, SessionPolicy::Custom { absolute_minutes: 1_200, idle_minutes: None });
        assert!(custom(None, true, None).apply(off, &environment).is_err(), "on, but after how long?");
        assert_eq!(SessionPolicyChange::Application.apply(off, &environment).unwrap(), SessionPolicy::Application);
    }

    #[test]
    fn org_14_the_session_outlives_idleness_and_idleness_outlives_the_token() {
        let environment = SessionSettings::default(); // access tokens live for 5 minutes
        for (absolute, idle, good) in [
            (10, Some(6), true),
            (10, Some(10), false),
            (10, Some(5), false),
            (6, None, true),
            (5, None, false),
            (0, None, false),
            (-1, None, false),
            (525_600, Some(10_080), true),
            (525_601, None, false),
            (525_600, Some(10_081), false),
            (i64::MAX, None, false),
        ] {
            let result = custom(absolute, idle.is_some(), idle).apply(SessionPolicy::Application, &environment);
            assert_eq!(result.is_ok(), good, "{absolute} {idle:?}");
        }
    }
}
