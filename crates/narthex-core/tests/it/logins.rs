//! A user who has signed in to an application: what the tests of grants and tokens start from.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use narthex_core::clients::{self, ClientKind, NewClient};
use narthex_core::grants::{self, Authorization, CodeExchange, NewCode, Presented, Refresh, Subject};
use narthex_core::ids::{AuthRequestId, ConnectionId, OrganizationId, SessionId, UserId};
use narthex_core::seal::Secret;
use narthex_core::sessions::{self, NewSession};
use narthex_core::tokens::{IssuedToken, OAuthCode, TokenError};
use narthex_db::testing::TestDb;

use crate::people::People;

pub const REDIRECT: &str = "https://app.example/callback";
/// Of the length and alphabet of RFC 7636, Appendix B, with its challenge.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub const DAY: Duration = Duration::from_hours(24);

/// A client and its secret; no secret for a public one.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub client_id: String,
    pub secret: Option<String>,
}

/// Ann, a member of Acme, with a session, and a web application.
pub struct Login {
    pub f: People,
    pub acme: OrganizationId,
    pub ann: UserId,
    pub session: SessionId,
    pub app: Credentials,
}

impl Login {
    pub async fn on(db: TestDb) -> Self {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.member(acme, "ann@example.com").await.user.id;
        let session = open(&f, ann, acme).await;
        let app = client(&f, ClientKind::WebApp).await;
        Self { f, acme, ann, session, app }
    }

    /// What the login allows the web application.
    pub fn authorization(&self, scopes: &str) -> Authorization {
        self.of(&self.app.client_id, scopes)
    }

    /// What it allows another client.
    pub fn of(&self, client_id: &str, scopes: &str) -> Authorization {
        Authorization {
            client_id: client_id.to_owned(),
            redirect_uri: REDIRECT.to_owned(),
            scopes: scopes.split_whitespace().map(str::to_owned).collect(),
            nonce: Some("n-0S6_WzA2Mj".to_owned()),
            code_challenge: None,
            subject: Subject::User { user: self.ann, organization: Some(self.acme), session: self.session },
            connection: Some(ConnectionId(77)),
            auth_time: self.f.core().clock.now(),
            auth_request: AuthRequestId(1),
            resource: None,
        }
    }

    pub async fn code(&self, authorization: &Authorization) -> String {
        code(&self.f, authorization).await
    }

    /// Exchanges a code as the web application.
    pub async fn exchange(&self, code: &str) -> Result<IssuedToken, TokenError> {
        self.exchange_with(&self.app, code, REDIRECT, None).await
    }

    pub async fn exchange_with(
        &self,
        client: &Credentials,
        code: &str,
        redirect_uri: &str,
        verifier: Option<&str>,
    ) -> Result<IssuedToken, TokenError> {
        let request = CodeExchange {
            client: presented(client),
            code: Secret::new(code.to_owned()),
            redirect_uri: redirect_uri.to_owned(),
            code_verifier: verifier.map(|verifier| Secret::new(verifier.to_owned())),
            resource: None,
        };
        grants::exchange(self.f.core(), self.f.environment(), request).await
    }

    /// Signs in with these scopes and exchanges the code at once.
    pub async fn tokens(&self, scopes: &str) -> IssuedToken {
        let code = self.code(&self.authorization(scopes)).await;
        self.exchange(&code).await.expect("tokens")
    }

    /// Uses a refresh token as the web application.
    pub async fn refresh(&self, token: &str) -> Result<IssuedToken, TokenError> {
        self.refresh_with(&self.app, token, None).await
    }

    pub async fn refresh_with(
        &self,
        client: &Credentials,
        token: &str,
        scope: Option<&str>,
    ) -> Result<IssuedToken, TokenError> {
        let request = Refresh {
            client: presented(client),
            token: Secret::new(token.to_owned()),
            scope: scope.map(str::to_owned),
            resource: None,
        };
        grants::refresh(self.f.core(), self.f.environment(), request).await
    }

    /// A refresh token of a fresh login.
    pub async fn refresh_token(&self) -> String {
        self.tokens("openid offline_access").await.refresh_token.expect("a refresh token")
    }
}

pub fn presented(client: &Credentials) -> Presented {
    Presented {
        client_id: client.client_id.clone(),
        secret: client.secret.clone().map(Secret::new),
        address: None,
        resource: None,
    }
}

/// A session of a user in an organization.
pub async fn open(f: &People, user: UserId, organization: OrganizationId) -> SessionId {
    let new = NewSession::browser(user, Some(organization), 30 * DAY);
    sessions::open(f.core(), f.env(), new).await.expect("a session").id
}

/// A client of a kind, with a secret where its kind has one.
pub async fn client(f: &People, kind: ClientKind) -> Credentials {
    let (core, environment) = (f.core(), f.environment());
    let new = NewClient { post_login_uris: vec![REDIRECT.to_owned()], ..NewClient::new(kind, "App") };
    let client = clients::create(core, environment.id, environment.kind, new).await.expect("a client");
    let secret = if kind.is_public() {
        None
    } else {
        let secret = clients::add_secret(core, environment.id, environment.kind, &client.client_id, "test").await;
        Some(secret.expect("a secret").plain.expose().clone())
    };
    Credentials { client_id: client.client_id, secret }
}

/// A code that a login would send to the client.
pub async fn code(f: &People, authorization: &Authorization) -> String {
    let (core, environment) = (f.core(), f.env());
    let (new, now, authorization) = (NewCode::new(core), core.clock.now(), authorization.clone());
    let text = new.code().to_owned();
    core.db
        .write(async move |tx| grants::issue_code(tx, environment, &authorization, &new, now).await)
        .await
        .expect("a grant");
    text
}

/// The error of a refused token request.
#[track_caller]
pub fn refusal(result: Result<IssuedToken, TokenError>) -> OAuthCode {
    match result {
        Ok(_) => panic!("tokens were issued"),
        Err(error) => {
            assert!(error.cause.is_none(), "{error:?}");
            error.code
        }
    }
}

#[track_caller]
pub fn assert_invalid_grant(result: Result<IssuedToken, TokenError>, case: &str) {
    assert_eq!(refusal(result), OAuthCode::InvalidGrant, "{case}");
}

/// S256 of a verifier.
pub fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes()))
}
