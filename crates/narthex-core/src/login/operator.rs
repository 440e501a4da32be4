//! Operators: how they come to the login of the product's own environment, and how they get past it by a one-time link.

use std::sync::Arc;

use narthex_db::Tx;

use super::complete::{Made, SessionCookie, with_session};
use super::organizations::find_or_make;
use super::{Visitor, broken};
use crate::clients;
use crate::core::Core;
use crate::environments::{self, Environment};
use crate::error::{Error, Kind, Result};
use crate::ids::SessionId;
use crate::members::{self, Member};
use crate::organizations::{SessionPolicy, share};
use crate::sessions::{self, Entered, Entry, Lifetimes};
use crate::users;

/// The operators' own page, at the origin of the product's own environment: where its login leads back to.
pub const OPERATOR_PAGE: &str = "/operator";

/// Lets the default application of the product's own environment lead to the operators' page. Asked at each start, since its origin may
/// have moved; without a difference nothing is written.
pub async fn prepare_operators(core: &Core) -> Result<()> {
    let Some(system) = environments::system(core).await? else { return Ok(()) };
    let default = clients::default_application(core, system.id).await?;
    let client = default.ok_or_else(|| Error::internal("the product's own environment has no application"))?;
    let page = format!("{}{OPERATOR_PAGE}", system.origin);
    if client.initiate_login_uri == page && client.post_login_uris.contains(&page) {
        return Ok(());
    }
    let id = client.client_id.clone();
    clients::machines::change(core, system.id, &id, move |client| {
        // What an earlier origin has left behind is nobody's to return to.
        let earlier = client.initiate_login_uri.clone();
        client.post_login_uris.retain(|uri| *uri != earlier && *uri != page);
        client.post_login_uris.push(page.clone());
        client.initiate_login_uri.clone_from(&page);
        Ok(())
    })
    .await
    .map(drop)
}

/// An operator who came by a link.
pub struct OperatorEntered {
    /// Who.
    pub member: Member,
    /// For the browser.
    pub cookie: Option<SessionCookie>,
}

/// Uses a one-time link up and signs its member in. `None` for a link that is not good, or no longer.
pub async fn enter_by_operator_link(
    core: &Arc<Core>,
    system: &Arc<Environment>,
    secret: &str,
    visitor: &Visitor,
    current: Option<SessionId>,
) -> Result<Option<OperatorEntered>> {
    if !system.is_system {
        return Err(Error::new(Kind::NotFound, "operators sign in at the product's own environment"));
    }
    let made = Arc::new(Made::new(core, system, visitor, None).await?);
    let (env, new, secret, line) = (Arc::clone(system), Arc::clone(&made), secret.to_owned(), core.ids.next());
    let entered = core
        .db
        .write_for(share(system.id), async move |tx| {
            // A refusal is committed: it has left a trace.
            let found = members::follow_link(tx, env.id, &secret, line, new.now).await?;
            let Some(member) = found else { return Ok(None) };
            let entered = enter(tx, &env, &new, &member, current).await?;
            Ok::<_, Error>(Some((member, entered)))
        })
        .await?;
    let Some((member, entered)) = entered else { return Ok(None) };
    let cookie = with_session(&made.entry, entered).applied(core).cookie;
    Ok(Some(OperatorEntered { member, cookie }))
}

/// Whoever owns the data folder vouches for the address.
async fn enter(
    tx: &mut Tx,
    environment: &Environment,
    made: &Made,
    member: &Member,
    current: Option<SessionId>,
) -> Result<Entered> {
    let mut user = find_or_make(tx, environment, made, &member.email).await?;
    users::record_login(tx, &mut user, None, made.now).await?;
    let entry = Entry {
        environment: environment.id,
        user: user.id,
        organization: None,
        current,
        proof: None,
        is_proven: true,
        lifetimes: Lifetimes::of(&environment.session, SessionPolicy::default()),
    };
    sessions::enter(tx, &made.entry, entry).await?.ok_or_else(|| broken("a proven operator has entered no session"))
}
