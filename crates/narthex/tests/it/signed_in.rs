//! A user who has signed in to an application of the DEV environment, made in process: what the tests of the endpoints behind a login
//! start from.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use narthex_core::Core;
use narthex_core::clients::{self, ClientKind, NewClient};
use narthex_core::environments::EnvironmentKind;
use narthex_core::grants::{self, Authorization, NewCode, Subject};
use narthex_core::ids::{AuthRequestId, ConnectionId, OrganizationId, SessionId, UserId};
use narthex_core::sessions::{self, NewCookie, NewSession};
use narthex_core::testing;
use narthex_db::Engine;
use serde_json::Value;

use crate::harness::{Harness, Protocol, Reply, encode};

pub const REDIRECT: &str = "https://app.example/callback";
/// Of RFC 7636, Appendix B, with its challenge.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A server with somebody in it.
pub struct SignedIn {
    pub harness: Harness,
    pub organization: OrganizationId,
    pub user: UserId,
    pub session: SessionId,
    /// Value of the session's cookie.
    pub cookie: String,
    /// A web application.
    pub app: (String, String),
}

impl SignedIn {
    pub async fn start() -> Self {
        Self::on(Engine::Sqlite).await.expect("SQLite")
    }

    pub async fn on(engine: Engine) -> Option<Self> {
        let harness = Harness::start_on(engine).await?;
        let environment = harness.environment(harness.env_id()).await;
        let core = harness.core().clone();
        let organization = testing::organization(&core, environment.id).await.expect("an organization");
        let user = testing::member(&core, &environment, organization, &[]).await.expect("a member");
        let app = Self::client(&harness, ClientKind::WebApp).await;
        let (session, cookie) = Self::session(&harness, user, organization).await;
        Some(Self { harness, organization, user, session, cookie, app: (app.0, app.1.expect("a secret")) })
    }

    pub fn core(&self) -> &Arc<Core> {
        self.harness.core()
    }

    /// A session with its cookie.
    pub async fn session(harness: &Harness, user: UserId, organization: OrganizationId) -> (SessionId, String) {
        let core = harness.core();
        let new = NewCookie::new(core);
        let day = Duration::from_hours(24);
        let mut session = NewSession::browser(user, Some(organization), day).build(core, harness.env_id());
        session.cookie_hash = Some(new.hash());
        let (row, value) = (session.clone(), new.value(session.id).expose().clone());
        core.db.write(async move |tx| sessions::insert(tx, &row).await).await.expect("a session");
        (session.id, format!("{}={value}", sessions::COOKIE))
    }

    /// A client of a kind; its id, and its secret where the kind has one.
    pub async fn client(harness: &Harness, kind: ClientKind) -> (String, Option<String>) {
        let (core, environment) = (harness.core(), harness.env_id());
        let new = NewClient { post_login_uris: vec![REDIRECT.to_owned()], ..NewClient::new(kind, "App") };
        let client = clients::create(core, environment, EnvironmentKind::Dev, new).await.expect("a client");
        if kind.is_public() {
            return (client.client_id, None);
        }
        let secret = clients::add_secret(core, environment, EnvironmentKind::Dev, &client.client_id, "test").await;
        (client.client_id, Some(secret.expect("a secret").plain.expose().clone()))
    }

    /// What the login allows a client.
    pub fn authorization(&self, client_id: &str, scopes: &str) -> Authorization {
        Authorization {
            client_id: client_id.to_owned(),
            redirect_uri: REDIRECT.to_owned(),
            scopes: scopes.split_whitespace().map(str::to_owned).collect(),
            nonce: None,
            code_challenge: None,
            subject: Subject::User { user: self.user, organization: Some(self.organization), session: self.session },
            connection: Some(ConnectionId(77)),
            auth_time: self.core().clock.now(),
            auth_request: AuthRequestId(1),
            resource: None,
        }
    }

    /// A code as a login would send it.
    pub async fn code(&self, authorization: Authorization) -> String {
        let (core, environment) = (self.core(), self.harness.env_id());
        let (new, now) = (NewCode::new(core), core.clock.now());
        let text = new.code().to_owned();
        core.db
            .write(async move |tx| grants::issue_code(tx, environment, &authorization, &new, now).await)
            .await
            .expect("a grant");
        text
    }

    /// A code for the web application.
    pub async fn code_for(&self, scopes: &str) -> String {
        self.code(self.authorization(&self.app.0, scopes)).await
    }

    /// Exchanges a code as the web application.
    pub async fn exchange(&self, code: &str) -> Reply {
        let (id, secret) = &self.app;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("client_id", id),
            ("client_secret", secret),
        ];
        self.harness.token_request(&[], &form).await
    }

    /// The token answer of a fresh login.
    pub async fn tokens(&self, scopes: &str) -> Value {
        let code = self.code_for(scopes).await;
        let reply = self.exchange(&code).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Uses a refresh token as the web application.
    pub async fn refresh(&self, token: &str) -> Reply {
        let (id, secret) = &self.app;
        let form =
            [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", id), ("client_secret", secret)];
        self.harness.token_request(&[], &form).await
    }

    /// A form for an endpoint of the DEV environment.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Reply {
        let base = self.harness.running().http_url.clone();
        let mut request =
            Request::post(format!("{base}{path}")).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.harness.send(&base, Protocol::H1, request, encode(form)).await
    }

    /// Any other request.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let base = self.harness.running().http_url.clone();
        let mut request = Request::builder().method(method).uri(format!("{base}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.harness.send(&base, Protocol::H1, request, "").await
    }

    /// Changes the web application.
    pub async fn set(&self, settings: clients::applications::Settings) {
        let environment = self.harness.environment(self.harness.env_id()).await;
        clients::applications::update(self.core(), &environment, &self.app.0, settings).await.expect("settings");
    }
}
