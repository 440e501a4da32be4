//! How long a new session lives: the stricter of its environment and its organization (oauth-oidc reference §13.2).

use std::time::Duration;

use narthex_db::Tx;

use crate::environments::{Environment, SessionSettings};
use crate::error::Result;
use crate::ids::OrganizationId;
use crate::organizations::{self, Identity, SessionPolicy};

/// Lifetimes of a session that is made now. It keeps them, whatever the settings become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// The whole session.
    pub absolute: Duration,
    /// Without use; `None` if idle sessions do not end.
    pub idle: Option<Duration>,
}

impl Lifetimes {
    /// The stricter of both: the shorter whole, and idleness ends it if either side says so, after the shorter time of those that do.
    pub fn of(environment: &SessionSettings, organization: SessionPolicy) -> Self {
        let minutes = |minutes: i32| Duration::from_mins(u64::try_from(minutes).unwrap_or(0));
        let absolute = environment.absolute_timeout.duration();
        let idle = environment.idle_enabled.then(|| environment.idle_timeout.duration());
        match organization {
            SessionPolicy::Application => Self { absolute, idle },
            SessionPolicy::Custom { absolute_minutes, idle_minutes } => Self {
                absolute: absolute.min(minutes(absolute_minutes)),
                idle: idle.into_iter().chain(idle_minutes.map(minutes)).min(),
            },
        }
    }
}

/// The lifetimes of a session that is opened in this transaction. An organization that is gone has no say.
pub async fn policy_for(
    tx: &mut Tx,
    environment: &Environment,
    organization: Option<OrganizationId>,
) -> Result<Lifetimes> {
    let policy = match organization {
        None => SessionPolicy::Application,
        Some(id) => organizations::load(tx, environment.id, &Identity::Id(id))
            .await?
            .map_or(SessionPolicy::Application, |organization| organization.session_policy),
    };
    Ok(Lifetimes::of(&environment.session, policy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environments::Span;

    #[test]
    fn org_15_ses_04_of_environment_and_organization_the_stricter_counts() {
        let lifetimes = |environment: (i64, Option<i64>), organization: Option<(i32, Option<i32>)>| {
            let settings = SessionSettings {
                absolute_timeout: Span::of_minutes(environment.0),
                idle_enabled: environment.1.is_some(),
                idle_timeout: Span::of_minutes(environment.1.unwrap_or(10)),
                ..SessionSettings::default()
            };
            let policy = organization.map_or(SessionPolicy::Application, |(absolute_minutes, idle_minutes)| {
                SessionPolicy::Custom { absolute_minutes, idle_minutes }
            });
            let Lifetimes { absolute, idle } = Lifetimes::of(&settings, policy);
            (absolute.as_secs() / 60, idle.map(|idle| idle.as_secs() / 60))
        };
        for (environment, organization, effective) in [
            ((600, None), None, (600, None)),
            ((600, Some(60)), None, (600, Some(60))),
            ((600, None), Some((300, None)), (300, None)),
            ((600, None), Some((900, None)), (600, None)),
            ((600, None), Some((300, Some(30))), (300, Some(30))),
            ((600, Some(60)), Some((900, None)), (600, Some(60))),
            ((600, Some(60)), Some((900, Some(120))), (600, Some(60))),
            ((600, Some(60)), Some((300, Some(30))), (300, Some(30))),
        ] {
            assert_eq!(lifetimes(environment, organization), effective, "{environment:?} {organization:?}");
        }
    }
}
