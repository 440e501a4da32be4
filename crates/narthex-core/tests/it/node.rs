//! A seeded node, and what tests of callers and tokens keep asking of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use narthex_core::environments::Environment;
use narthex_core::seal::Secret;
use narthex_core::testing::TestCore;
use narthex_core::tokens::{self, ClientCredentials, IssuedToken, TokenError};
use narthex_core::{Caller, Core, Error, Kind};
use narthex_db::testing::TestDb;
use serde_json::Value;

pub async fn node(db: TestDb) -> TestCore {
    TestCore::on(db).await.expect("a seeded node")
}

/// A token request with nothing but credentials.
pub fn credentials(client_id: &str, secret: &str) -> ClientCredentials {
    ClientCredentials {
        client_id: client_id.to_owned(),
        secret: Some(Secret::new(secret.to_owned())),
        scope: None,
        audience: None,
        resource: None,
        address: None,
        at: None,
    }
}

pub async fn issue(
    core: &Core,
    environment: &Arc<Environment>,
    request: ClientCredentials,
) -> Result<IssuedToken, TokenError> {
    tokens::issue_client_credentials(core, environment, request).await
}

/// A token of the DEV environment's API client.
pub async fn api_token(node: &TestCore) -> String {
    let request = credentials(&node.dev_client.client_id, node.dev_client.secret.expose());
    issue(node, &node.dev, request).await.expect("a token").access_token
}

/// Who the token is in an environment.
pub async fn caller(core: &Core, environment: &Arc<Environment>, token: &str) -> Result<Caller, Error> {
    tokens::authenticate(core, environment, &[token], None).await.map(|(caller, _)| caller)
}

/// The token must be refused as a bad bearer.
#[track_caller]
pub fn assert_unauthenticated(result: &Result<Caller, Error>, case: &str) {
    match result {
        Ok(caller) => panic!("{case}: accepted as {caller:?}"),
        Err(error) => assert_eq!(error.kind(), Kind::Unauthenticated, "{case}: {error:?}"),
    }
}

/// The token is good, but not for the management API.
#[track_caller]
pub fn assert_denied(result: &Result<Caller, Error>, case: &str) {
    match result {
        Ok(caller) => panic!("{case}: accepted as {caller:?}"),
        Err(error) => assert_eq!(error.kind(), Kind::PermissionDenied, "{case}: {error:?}"),
    }
}

/// One segment of a token as JSON.
pub fn segment(token: &str, at: usize) -> Value {
    let text = token.split('.').nth(at).expect("a segment");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
}

/// The claims of a token.
pub fn claims(token: &str) -> Value {
    segment(token, 1)
}

/// Waits until another node refuses the token; the design allows a second.
pub async fn assert_refused_within_a_second(core: &Core, environment: &Arc<Environment>, token: &str, case: &str) {
    let began = Instant::now();
    loop {
        match caller(core, environment, token).await {
            Err(error) if error.kind() == Kind::Unauthenticated => return,
            Err(error) => panic!("{case}: {error:?}"),
            Ok(_) if began.elapsed() > Duration::from_secs(1) => panic!("{case}: still accepted after a second"),
            Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
