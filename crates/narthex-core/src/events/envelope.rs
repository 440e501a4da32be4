//! The envelope (events reference §2): the same JSON for webhooks, the Events API, log streams and the dashboard.

use super::NewEvent;
use super::json;

/// The bytes that are stored, sent and signed.
pub(super) fn write(event: &NewEvent) -> String {
    let mut out = String::with_capacity(512);
    out.push('{');
    member(&mut out, "spec_version", "1");
    member(&mut out, "id", &event.id.to_string());
    member(&mut out, "type", event.kind.name);
    member(&mut out, "object", event.kind.object);
    member(&mut out, "occurred_at", &event.occurred_at.rfc3339());
    member(&mut out, "environment_id", &event.environment.to_string());
    if let Some(organization) = event.organization {
        member(&mut out, "organization_id", &organization.to_string());
    }
    if !event.kind.label.is_empty() {
        member(&mut out, "display_name", event.kind.label);
    }
    out.push_str(",\"data\":");
    json::write(&event.data, &mut out);
    out.push('}');
    out
}

fn member(out: &mut String, key: &str, text: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    json::write_string(key, out);
    out.push(':');
    json::write_string(text, out);
}
