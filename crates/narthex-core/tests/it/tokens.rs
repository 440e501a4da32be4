//! Tokens: getting them, and being refused with them.

use narthex_core::clients;
use narthex_core::seal::Secret;
use narthex_core::testing::TestCore;
use narthex_core::tokens::{self, ClientCredentials, IssuedToken, TokenError};
use narthex_core::{Caller, schema::Schema};
use narthex_db::testing::TestDb;

async fn node(db: TestDb) -> TestCore {
    TestCore::on(db).await.expect("a seeded node")
}

async fn token(node: &TestCore, secret: &str) -> Result<IssuedToken, TokenError> {
    let request = ClientCredentials {
        client_id: node.dev_client.client_id.clone(),
        secret: Some(Secret::new(secret.to_owned())),
        scope: None,
        audience: None,
        resource: None,
    };
    tokens::issue_client_credentials(node, &node.dev, request).await
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn oauth_01_an_api_client_gets_a_token_for_a_day_and_is_a_caller_with_it(db: TestDb) {
        let node = node(db).await;
        let issued = token(&node, node.dev_client.secret.expose()).await.expect("a token");
        assert!((86_399..=86_400).contains(&issued.expires_in), "{}", issued.expires_in);
        assert_eq!(issued.scope, "openid");
        let (caller, environment) =
            tokens::authenticate(&node, &node.dev, &[&issued.access_token], None).await.expect("a caller");
        assert_eq!(caller, Caller::Client { environment: node.dev.id, client_id: node.dev_client.client_id.clone() });
        assert_eq!(environment.id, node.dev.id);
        let client = clients::get(&node, node.dev.id, &node.dev_client.client_id).await.unwrap().unwrap();
        assert_eq!(client.post_login_uris, ["http://localhost:*/*", "http://127.0.0.1:*/*"]);
    }
}
