//! `GET /oauth/authorize`, and POST, as OpenID Connect Core §3.1.2.1 has it.

use http::{Method, Response, StatusCode};
use narthex_core::Result;
use narthex_core::ids::ResourceId;
use narthex_core::login::{self, Begun, Failure, Params};

use super::steps::page_of;
use super::visit::Visit;
use super::{cookies, look, redirect};
use crate::pages::{self, Page as _};
use crate::reply::{self, Body};

/// An authorization request to one resource: `/resources/{resource_id}/oauth/authorize`.
pub async fn of_resource(visit: &Visit) -> Result<Response<Body>> {
    let id = visit.path.split('/').nth(2).and_then(ResourceId::parse);
    match id {
        Some(id) => serve(visit, Some(id)).await,
        None => Ok(reply::not_found()),
    }
}

/// An authorization request.
pub async fn serve(visit: &Visit, resource: Option<ResourceId>) -> Result<Response<Body>> {
    let params = if visit.method == Method::POST { &visit.form } else { &visit.query };
    let core = &visit.state.core;
    let request = match login::read(core, &visit.environment, resource, &Params(params)).await? {
        Ok(request) => request,
        Err(failure) => return refuse(visit, &failure).await,
    };
    let session = visit.session().await?;
    match login::begin(core, &visit.environment, request, session, &visit.visitor).await? {
        Begun::Done(done) => Ok(redirect(&done.location)),
        Begun::Failed(failure) => refuse(visit, &failure).await,
        Begun::Page(login, secret) => {
            let mut response = redirect(&page_of(&login, login.stage));
            cookies::set_login(response.headers_mut(), &visit.cookies, login.id, secret.expose());
            Ok(response)
        }
    }
}

/// Tells the application, or shows the page for an error that it cannot be told of.
pub async fn refuse(visit: &Visit, failure: &Failure) -> Result<Response<Body>> {
    match failure {
        Failure::Application { location } => Ok(redirect(location)),
        Failure::Page { .. } => {
            let kept = login::keep_error(&visit.state.core, visit.environment.id, failure).await?;
            let look = look(&visit.state, &visit.environment, None).await?;
            let frame = visit.frame(&look, visit.query("ui_locales"), "", None);
            Ok(pages::Failure {
                frame,
                status: StatusCode::BAD_REQUEST,
                title: None,
                description: &kept.description,
                code: Some(&kept.code),
                id: Some(&kept.id.to_string()),
                restart: None,
            }
            .render())
        }
    }
}
