//! Taking personal data out of an event that stays. Who has received it keeps what they got; what is stored here says only that
//! something happened to a user of that number.

use narthex_db::{Tx, p};
use serde_json::{Map, Value};

use super::{audit, json};
use crate::error::{Error, Result};
use crate::ids::EventId;

/// The members of the envelope in their order.
const ENVELOPE: &[&str] = &[
    "spec_version",
    "id",
    "type",
    "object",
    "occurred_at",
    "environment_id",
    "organization_id",
    "display_name",
    "data",
];

/// What is kept of a user: numbers, times and switches.
const KEPT: &[&str] =
    &["id", "create_time", "update_time", "last_login_time", "email_verified", "phone_number_verified"];

/// Rewrites `data.user` without anything personal. The audit chain keeps the digest of what was sealed, so what is left is vouched for
/// by a row of its own. An event that is gone is no error.
pub(crate) async fn redact(tx: &mut Tx, event: EventId) -> Result<()> {
    let stored: Option<(String, i64)> = tx.opt("SELECT body, expires_at FROM events WHERE id = $1", &p![event]).await?;
    let Some((body, expires_at)) = stored else { return Ok(()) };
    let mut envelope: Map<String, Value> = serde_json::from_str(&body).map_err(Error::internal)?;
    if let Some(user) = envelope.get_mut("data").and_then(|data| data.get_mut("user")) {
        blank(user);
    }
    // The session in a login's data tells where the person was.
    if let Some(device) = envelope.get_mut("data").and_then(|data| data.get_mut("user_session")?.get_mut("device")) {
        blank(device);
    }
    let mut text = String::with_capacity(body.len());
    text.push('{');
    for key in ENVELOPE {
        if let Some(value) = envelope.get(*key) {
            if text.len() > 1 {
                text.push(',');
            }
            json::write_string(key, &mut text);
            text.push(':');
            json::write(value, &mut text);
        }
    }
    text.push('}');
    tx.execute("UPDATE events SET body = $2 WHERE id = $1", &p![event, text]).await?;
    let Some(digest) = audit::digest_of(tx, event).await? else { return Ok(()) };
    tx.execute(
        "INSERT INTO event_redactions (event_id, digest, expires_at) VALUES ($1, $2, $3) \
         ON CONFLICT (event_id) DO UPDATE SET digest = excluded.digest",
        &p![event, digest, expires_at],
    )
    .await?;
    Ok(())
}

/// Empties whatever is not known to be harmless, and keeps the shape: a text stays a text, a map a map, a list becomes null as when it
/// is unset.
fn blank(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                match key.as_str() {
                    kept if KEPT.contains(&kept) => {}
                    "metadata" => *member = Value::Object(Map::new()),
                    "custom_attributes" | "raw_attributes" => *member = Value::Null,
                    _ => blank(member),
                }
            }
        }
        Value::String(text) => text.clear(),
        Value::Array(_) => *value = Value::Null,
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
