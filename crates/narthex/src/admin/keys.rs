//! `narthex keys …`: signing keys (control plane reference §6.1, §19.7).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use narthex_core::environments::Environment;
use narthex_core::ids::SigningKeyId;
use narthex_core::keys::{self, KeyState};
use narthex_core::{Core, Error};
use serde_json::{Value, json};

use super::Answer;

pub(super) async fn list(core: &Core, environments: &[Arc<Environment>]) -> Result<Answer, Error> {
    let mut text = String::new();
    let mut data = Vec::new();
    for environment in environments {
        for key in keys::list(core, environment.id).await? {
            let state = match key.state {
                KeyState::Next => "next",
                KeyState::Current => "current",
                KeyState::Retired => "retired",
                KeyState::Removed if key.withdrawn => "withdrawn",
                KeyState::Removed => "removed",
            };
            let created = key.created_at.rfc3339();
            // Writing to a String cannot fail.
            writeln!(text, "{:<24} {:<24} {state:<10} created {created}", environment.domain, key.id.to_string()).ok();
            data.push(json!({
                "environment": environment.id.to_string(),
                "key": key.id.to_string(),
                "state": state,
                "created_at": created,
                "activate_at": key.activate_at.map(narthex_core::Timestamp::rfc3339),
                "remove_at": key.remove_at.map(narthex_core::Timestamp::rfc3339),
            }));
        }
    }
    Ok(Answer::new(text, Value::Array(data)))
}

pub(super) async fn rotate(
    core: &Core,
    environment: &Environment,
    now: bool,
    overlap: Option<u64>,
) -> Result<Answer, Error> {
    let overlap = if now { Duration::ZERO } else { overlap.map_or(keys::OVERLAP, Duration::from_secs) };
    let key = keys::rotate(core, environment.id, overlap).await?;
    if now {
        // An activation that is due happens at the next round of maintenance: have it now.
        keys::tick(core).await?;
    }
    let when = if now { "now".to_owned() } else { format!("in {} s", overlap.as_secs()) };
    let text = format!(
        "{key} is published and signs {when}; the key before it stays published until its last token has expired\n"
    );
    Ok(Answer::new(text, json!({"key": key.to_string(), "signs_in_seconds": overlap.as_secs()})))
}

pub(super) async fn withdraw(core: &Core, environment: &Environment, key: &str) -> Result<Answer, Error> {
    let id = SigningKeyId::parse(key).ok_or_else(|| Error::not_found("signing key"))?;
    keys::withdraw(core, environment.id, id).await?;
    Ok(Answer::new(
        format!("{key} is withdrawn; every token that it signed is refused from now on\n"),
        json!({"key": key}),
    ))
}
