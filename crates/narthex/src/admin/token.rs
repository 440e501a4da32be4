//! `narthex admin token` and `narthex admin operator-link`: a way in for operators before any login works.

use std::time::Duration;

use narthex_core::ids::{MemberId, WorkspaceId};
use narthex_core::login::OPERATOR_PAGE;
use narthex_core::members::{self, FixedRole, Member, NewLink, NewMember};
use narthex_core::{Core, Error, Kind, Timestamp, environments, tokens};
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
    let member = find_or_make(core, role, workspace, email).await?;
    let minted = tokens::mint_member(core, &member, Duration::from_secs(seconds)).await?;
    let data =
        json!({"access_token": minted.access_token, "expires_in": minted.expires_in, "member": member.id.to_string()});
    // Only the token, so that `$(narthex admin token)` is usable as it is.
    Ok(Answer::new(format!("{}\n", minted.access_token), data))
}

/// Makes a one-time link that signs the operator in; the operator, too, if there is none with this address.
pub(super) async fn link(core: &Core, role: &str, workspace: Option<&str>, email: &str) -> Result<Answer, Error> {
    let member = find_or_make(core, role, workspace, email).await?;
    let (url, expires_at) = link_for(core, &member).await?;
    let data = json!({"url": url, "expires_at": expires_at.rfc3339(), "member": member.id.to_string()});
    Ok(Answer::new(format!("{url}\n"), data))
}

/// The address of a one-time link for a member, and when it ends.
pub(crate) async fn link_for(core: &Core, member: &Member) -> Result<(String, Timestamp), Error> {
    let link = NewLink::make(core, member.id).await?;
    Ok((address_of(core, &link).await?, link.expires_at))
}

async fn address_of(core: &Core, link: &NewLink) -> Result<String, Error> {
    let system = environments::system(core).await?;
    let system =
        system.ok_or_else(|| Error::new(Kind::FailedPrecondition, "the database is empty: start the server once"))?;
    Ok(format!("{}{OPERATOR_PAGE}/link/{}", system.origin, link.secret.expose()))
}

/// A link for whoever is first at an installation: its oldest owner, who is made if a seed file has not named one. None once somebody has
/// signed in, and while an earlier link may still be used: a start that was killed before it could show one is made good by a later one.
pub(crate) async fn first_link(core: &Core, workspace: WorkspaceId) -> Result<Option<String>, Error> {
    if !members::awaits_first_link(core).await? {
        return Ok(None);
    }
    let sql = "SELECT id FROM members WHERE workspace_id = $1 AND role = 'owner' AND status = 1 ORDER BY id LIMIT 1";
    let found: Option<(MemberId,)> = core.db.reader().await?.opt(sql, &p![workspace]).await?;
    let member = match found {
        Some((id,)) => members::get(core, id).await?.ok_or_else(members::not_found)?.as_ref().clone(),
        None => match members::create(core, workspace, new_member(FixedRole::Owner, DEFAULT_EMAIL)).await {
            Ok(member) => member,
            // Another node was faster.
            Err(error) => (*members::by_email(core, workspace, DEFAULT_EMAIL).await?.ok_or(error)?).clone(),
        },
    };
    match NewLink::make_first(core, member.id).await? {
        Some(link) => address_of(core, &link).await.map(Some),
        None => Ok(None),
    }
}

/// The operator who stands for whoever owns the data folder.
pub(crate) const DEFAULT_EMAIL: &str = "operator@localhost";

fn new_member(role: FixedRole, email: &str) -> NewMember {
    NewMember { email: email.to_owned(), given_name: String::new(), family_name: String::new(), role }
}

async fn find_or_make(core: &Core, role: &str, workspace: Option<&str>, email: &str) -> Result<Member, Error> {
    let role = FixedRole::from_name(role).ok_or_else(|| {
        let known: Vec<&str> = FixedRole::ALL.iter().map(|role| role.name()).collect();
        Error::new(Kind::InvalidArgument, format!("no role is `{role}`; there are {}", known.join(", ")))
    })?;
    let workspace = find_workspace(core, workspace).await?;
    match members::by_email(core, workspace, email).await? {
        Some(member) if member.role != role.name() => {
            let message = format!("{email} has the role {}; this command does not change it", member.role);
            Err(Error::new(Kind::FailedPrecondition, message))
        }
        Some(member) => Ok((*member).clone()),
        None => members::create(core, workspace, new_member(role, email)).await,
    }
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
