//! `narthex admin token`: a way in for operators before any login exists.

use std::time::Duration;

use narthex_core::ids::WorkspaceId;
use narthex_core::members::{self, FixedRole, NewMember};
use narthex_core::{Core, Error, Kind, tokens};
use narthex_db::p;
use serde_json::json;

use super::Answer;

/// Makes the operator if there is none with this address, and signs a token for them.
pub(super) async fn mint(
    core: &Core,
    role: &str,
    workspace: Option<&str>,
    email: &str,
    seconds: u64,
) -> Result<Answer, Error> {
    let role = FixedRole::from_name(role).ok_or_else(|| {
        let known: Vec<&str> = FixedRole::ALL.iter().map(|role| role.name()).collect();
        Error::new(Kind::InvalidArgument, format!("no role is `{role}`; there are {}", known.join(", ")))
    })?;
    let workspace = find_workspace(core, workspace).await?;
    let member = match members::by_email(core, workspace, email).await? {
        Some(member) if member.role != role.name() => {
            let message = format!("{email} has the role {}; this command does not change it", member.role);
            return Err(Error::new(Kind::FailedPrecondition, message));
        }
        Some(member) => (*member).clone(),
        None => {
            let new =
                NewMember { email: email.to_owned(), given_name: String::new(), family_name: String::new(), role };
            members::create(core, workspace, new).await?
        }
    };
    let minted = tokens::mint_member(core, &member, Duration::from_secs(seconds)).await?;
    let data =
        json!({"access_token": minted.access_token, "expires_in": minted.expires_in, "member": member.id.to_string()});
    // Only the token, so that `$(narthex admin token)` is usable as it is.
    Ok(Answer::new(format!("{}\n", minted.access_token), data))
}

async fn find_workspace(core: &Core, name: Option<&str>) -> Result<WorkspaceId, Error> {
    let all: Vec<(WorkspaceId,)> =
        core.db.reader().await?.all("SELECT id FROM workspaces ORDER BY id LIMIT 2", &p![]).await?;
    match (name, all.as_slice()) {
        (Some(name), _) => WorkspaceId::parse(name).ok_or_else(|| Error::not_found("workspace")),
        (None, [(one,)]) => Ok(*one),
        (None, []) => Err(Error::new(Kind::FailedPrecondition, "the database is empty: start the server once")),
        (None, _) => Err(Error::new(Kind::InvalidArgument, "there are several workspaces: give --workspace")),
    }
}
