//! What events say about users (events reference §4), and which events say something about whom.

use narthex_db::{Tx, p};
use serde_json::{Value, json};

use super::{ExternalIdentity, User};
use crate::error::Result;
use crate::events::{self, NewEvent};
use crate::ids::UserId;
use crate::organizations::{self, Organization};

/// Writes an event that holds personal data of a user, so that it can be taken out when the user goes.
pub(crate) async fn append(tx: &mut Tx, event: NewEvent, user: UserId) -> Result<()> {
    let (id, expires_at) = (event.id, event.occurred_at.plus(events::RETENTION));
    events::append(tx, event).await?;
    tx.execute(
        "INSERT INTO event_subjects (user_id, event_id, expires_at) VALUES ($1, $2, $3)",
        &p![user, id, expires_at.0],
    )
    .await?;
    Ok(())
}

/// `data` of the events of a membership.
pub(crate) fn member_data(organization: &Organization, user: &User, identities: &[ExternalIdentity]) -> Value {
    json!({ "organization": organizations::data(organization, None), "user": data(user, identities) })
}

/// `user` in the data of events.
pub(crate) fn data(user: &User, identities: &[ExternalIdentity]) -> Value {
    let profile = &user.profile;
    let list = |groups: &Vec<String>| if groups.is_empty() { Value::Null } else { json!(groups) };
    let identities: Vec<Value> = identities.iter().map(identity).collect();
    let mut data = json!({
        "create_time": user.created_at.rfc3339(),
        "email": user.email,
        "external_id": user.external_id.as_deref().unwrap_or_default(),
        "id": user.id.to_string(),
        "metadata": user.metadata,
        "update_time": user.updated_at.rfc3339(),
        "user_profile": {
            "custom_attributes": if profile.custom_attributes.is_empty() { Value::Null } else { json!(profile.custom_attributes) },
            "email_verified": profile.email_verified,
            "external_identities": if identities.is_empty() { Value::Null } else { Value::Array(identities) },
            "family_name": profile.family_name,
            "gender": profile.gender,
            "given_name": profile.given_name,
            "groups": list(&profile.groups),
            "id": profile.id.to_string(),
            "locale": profile.locale,
            "metadata": profile.metadata,
            "name": profile.name,
            "phone_number": profile.phone_number,
            "phone_number_verified": profile.phone_number_verified,
            "picture": profile.picture,
            "preferred_username": profile.preferred_username,
        },
    });
    if let (Some(at), Some(members)) = (user.last_login_at, data.as_object_mut()) {
        members.insert("last_login_time".to_owned(), Value::String(at.rfc3339()));
    }
    data
}

fn identity(identity: &ExternalIdentity) -> Value {
    let time = |at: Option<crate::Timestamp>| at.map_or(Value::Null, |at| Value::String(at.rfc3339()));
    json!({
        "connection_id": format!("conn_{}", identity.connection),
        "connection_provider": identity.provider,
        "connection_type": identity.connection_type,
        "connection_user_id": identity.subject,
        "created_time": identity.created_at.rfc3339(),
        "is_social": identity.is_social,
        "last_login_time": time(identity.last_login_at),
        "last_synced_time": time(identity.last_synced_at),
    })
}
