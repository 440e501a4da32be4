//! Logins on two nodes of one PostgreSQL database: begun on one, they go on at the other; what one takes away, the other refuses.

use http::Request;
use serde_json::{Value, json};

use crate::browser::{CODE, Page};
use crate::programs::Site;
use crate::two_nodes::{Pair, within_a_second};
use crate::visitor::{Visitor, exchange, refresh};

const ANN: &str = "ann+sktest@example.com";

/// Two nodes, an application of theirs, and Ann, who is a member of Acme and of Beta.
struct Stage {
    pair: Pair,
    client: (String, String),
    token: String,
    ann: String,
    acme: String,
    beta: String,
}

impl Stage {
    /// `None` without a PostgreSQL to run on.
    async fn start() -> Option<Self> {
        let pair = Pair::start().await?;
        let made =
            pair.a.json(&["admin", "client", "create", "--environment", "dev", "--kind", "web", "two nodes"]).await;
        let text = |key: &str| made[key].as_str().expect("a text").to_owned();
        let client = (text("client_id"), text("client_secret"));
        let token = pair.a.site.token(&client.0, &client.1).await;
        let sql = "SELECT id FROM environments WHERE origin = 'https://dev.auth.example'";
        let environment: Vec<(i64,)> = pair.rows(sql).await;
        let mut stage = Self { pair, client, token, ann: String::new(), acme: String::new(), beta: String::new() };
        let users = json!({ "test_user": { "enabled": true, "emails": [ANN] } });
        let path = format!("/api/v1/environments/env_{}/settings/test-user", environment[0].0);
        stage.ok("PATCH", &path, Some(users)).await;
        let callbacks = json!({ "post_login_uris": [crate::browser::CALLBACK] });
        stage.ok("PATCH", &format!("/api/v1/clients/{}", stage.client.0), Some(callbacks)).await;
        stage.acme = stage.organization("Acme").await;
        stage.beta = stage.organization("Beta").await;
        stage.ann = stage.member().await;
        Some(stage)
    }

    /// Management calls go to A.
    async fn ok(&self, verb: &str, path: &str, body: Option<Value>) -> Value {
        let reply = self.pair.a.site.rest(verb, path, &self.token, body.as_ref()).await.expect("an answer");
        assert!(reply.status.is_success(), "{verb} {path}: {} {}", reply.status, reply.text());
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    async fn organization(&self, name: &str) -> String {
        let made = self.ok("POST", "/api/v1/organizations", Some(json!({ "display_name": name }))).await;
        made["organization"]["id"].as_str().expect("an id").to_owned()
    }

    /// Ann, new, in both organizations.
    async fn member(&self) -> String {
        let path = format!("/api/v1/organizations/{}/users?send_invitation_email=false", self.acme);
        let made = self.ok("POST", &path, Some(json!({ "email": ANN }))).await;
        let ann = made["user"]["id"].as_str().expect("an id").to_owned();
        self.join(&ann, &self.beta).await;
        ann
    }

    async fn join(&self, ann: &str, organization: &str) {
        let path = format!("/api/v1/memberships/organizations/{organization}/users/{ann}?send_invitation_email=false");
        self.ok("POST", &path, Some(json!({}))).await;
    }

    fn client(&self) -> (&str, &str) {
        (&self.client.0, &self.client.1)
    }

    /// Ann's browser after a login to Acme, and the tokens. The steps go to A and B in turn.
    async fn signed_in(&self) -> (Visitor, Value) {
        let (a, b) = (&self.pair.a.site, &self.pair.b.site);
        let mut browser = Visitor::new(a);
        let page = browser.authorize(&self.client.0, &[("organization_id", &self.acme)]).await.unwrap();
        browser.site = b.clone();
        let page = browser.submit(&page, "/a/auth/login", &[("email", ANN)]).await.unwrap();
        browser.site = a.clone();
        let page = browser.submit(&page, "/a/auth/verify", &[("code", CODE)]).await.unwrap();
        let reply = exchange(b, self.client(), &page.code()).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        (browser, reply.json())
    }
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().expect("a token")
}

async fn user_info(site: &Site, token: &str) -> u16 {
    let request = Request::get(format!("{}/userinfo", site.base)).header("authorization", format!("Bearer {token}"));
    site.send(request, "").await.expect("an answer").status.as_u16()
}

async fn silent(site: &Site, browser: &Visitor, client_id: &str, more: &[(&str, &str)]) -> Page {
    let mut again = Visitor::new(site);
    again.jar.clone_from(&browser.jar);
    let mut all = vec![("prompt", "none")];
    all.extend_from_slice(more);
    again.authorize(client_id, &all).await.expect("an answer")
}

/// 200 with a code, 401 where the user would have to sign in, 403 where access is denied.
async fn silent_status(site: &Site, browser: &Visitor, client_id: &str, more: &[(&str, &str)]) -> u16 {
    let callback = silent(site, browser, client_id, more).await.callback();
    match callback.get("error").map(String::as_str) {
        None => 200,
        Some("login_required") => 401,
        Some("access_denied") => 403,
        Some(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_05_ops_16_a_login_goes_on_at_another_node_and_its_code_counts_once_on_both() {
    let Some(stage) = Stage::start().await else { return };
    let (a, b) = (&stage.pair.a.site, &stage.pair.b.site);
    let (browser, _) = stage.signed_in().await;
    for (first, second) in [(a, b), (b, a)] {
        let page = silent(first, &browser, &stage.client.0, &[]).await;
        let code = page.code();
        let tokens = exchange(second, stage.client(), &code).await.unwrap();
        assert_eq!(tokens.status, 200, "a code of the other node: {}", tokens.text());
        let tokens = tokens.json();
        let access = text(&tokens, "access_token");
        for site in [a, b, a, b] {
            assert_eq!(user_info(site, access).await, 200, "both have it in memory now");
        }
        let again = exchange(first, stage.client(), &code).await.unwrap();
        assert_eq!((again.status.as_u16(), &again.json()["error"]), (400, &json!("invalid_grant")));
        for site in [a, b] {
            let name = "RFC 6749 §4.1.2: what the first use has brought";
            within_a_second(name, 401, async || user_info(site, access).await).await;
            let reply = refresh(site, stage.client(), text(&tokens, "refresh_token")).await.unwrap();
            assert_eq!(reply.status, 400, "{}", reply.text());
        }
        assert_eq!(silent_status(first, &browser, &stage.client.0, &[]).await, 200, "the session goes on");
    }
    // Both at once.
    for round in 0..4 {
        let code = silent(a, &browser, &stage.client.0, &[]).await.code();
        let (one, two) = tokio::join!(exchange(a, stage.client(), &code), exchange(b, stage.client(), &code));
        let good = [one.unwrap(), two.unwrap()].iter().filter(|reply| reply.status == 200).count();
        assert!(good <= 1, "round {round}: {good} of two");
    }
    // A refresh token replaced on one node is dead on the other, and its use there ends the family here.
    let code = silent(a, &browser, &stage.client.0, &[]).await.code();
    let tokens = exchange(a, stage.client(), &code).await.unwrap().json();
    let old = text(&tokens, "refresh_token").to_owned();
    let second = refresh(b, stage.client(), &old).await.unwrap().json();
    let third = refresh(a, stage.client(), text(&second, "refresh_token")).await.unwrap().json();
    assert_eq!(refresh(b, stage.client(), &old).await.unwrap().status, 400, "oauth_08: replaced twice");
    assert_eq!(refresh(a, stage.client(), text(&third, "refresh_token")).await.unwrap().status, 400);
}

/// How Ann loses what she has; the management calls go to A, and B is asked.
const WAYS: [&str; 6] = [
    "she logs out",
    "her session is revoked",
    "all are revoked",
    "her membership ends",
    "she is deleted",
    "the client is disabled",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistake_10_what_is_taken_on_one_node_is_refused_on_the_other_within_a_second() {
    let Some(mut stage) = Stage::start().await else { return };
    for way in WAYS {
        let (a, b) = (&stage.pair.a.site, &stage.pair.b.site);
        let (browser, tokens) = stage.signed_in().await;
        let (id, access, token) =
            (stage.client.0.as_str(), text(&tokens, "access_token"), text(&tokens, "refresh_token"));
        for _ in 0..2 {
            assert_eq!(user_info(b, access).await, 200, "{way}: B has it in memory");
            assert_eq!(silent_status(b, &browser, id, &[]).await, 200, "{way}: and the session");
        }
        let switch = [("organization_id", stage.acme.as_str())];
        assert_eq!(silent_status(b, &browser, id, &switch).await, 200, "{way}");
        let sessions =
            stage.ok("GET", &format!("/api/v1/users/{}/sessions?filter.status=ACTIVE", stage.ann), None).await;
        let session = sessions["sessions"][0]["session_id"].as_str().expect("a session").to_owned();
        match way {
            "she logs out" => {
                let mut there = Visitor::new(a);
                there.jar.clone_from(&browser.jar);
                there.get("/oidc/logout").await.unwrap();
            }
            "her session is revoked" => {
                drop(stage.ok("POST", &format!("/api/v1/sessions/{session}/revoke"), None).await);
            }
            "all are revoked" => {
                stage.ok("POST", &format!("/api/v1/users/{}/sessions/revoke", stage.ann), None).await;
            }
            "her membership ends" => {
                let path = format!("/api/v1/memberships/organizations/{}/users/{}", stage.acme, stage.ann);
                stage.ok("DELETE", &path, None).await;
            }
            "she is deleted" => drop(stage.ok("DELETE", &format!("/api/v1/users/{}", stage.ann), None).await),
            _ => drop(stage.pair.a.json(&["admin", "client", "disable", "--environment", "dev", id]).await),
        }
        within_a_second(&format!("{way}: an access token"), 401, async || user_info(b, access).await).await;
        let reply = refresh(b, stage.client(), token).await.unwrap();
        let expected = if way == "the client is disabled" { (401, "invalid_client") } else { (400, "invalid_grant") };
        assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str().unwrap()), expected, "{way}: refresh");
        if way == "the client is disabled" {
            let mut there = Visitor::new(b);
            there.jar.clone_from(&browser.jar);
            let page = there.authorize(id, &[("prompt", "none")]).await.unwrap();
            assert!(page.status == 400 && page.html.contains("application_not_active"), "{way}: {}", page.html);
        } else {
            let expected = 401;
            within_a_second(&format!("{way}: the cookie"), expected, async || {
                silent_status(b, &browser, id, &[]).await
            })
            .await;
            assert_eq!(silent_status(b, &browser, id, &switch).await, expected, "{way}: a switch");
        }
        // Back to the beginning.
        match way {
            "her membership ends" => stage.join(&stage.ann, &stage.acme).await,
            "she is deleted" => stage.ann = stage.member().await,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistake_10_who_left_the_other_organization_cannot_switch_to_it_on_either_node() {
    let Some(stage) = Stage::start().await else { return };
    let (browser, _) = stage.signed_in().await;
    let switch = [("organization_id", stage.beta.as_str())];
    for site in [&stage.pair.a.site, &stage.pair.b.site] {
        assert_eq!(silent_status(site, &browser, &stage.client.0, &switch).await, 200);
        let back = [("organization_id", stage.acme.as_str())];
        assert_eq!(silent_status(site, &browser, &stage.client.0, &back).await, 200);
    }
    stage.ok("DELETE", &format!("/api/v1/memberships/organizations/{}/users/{}", stage.beta, stage.ann), None).await;
    for site in [&stage.pair.b.site, &stage.pair.a.site] {
        let asked = async || silent_status(site, &browser, &stage.client.0, &switch).await;
        within_a_second("a switch to where she is no member", 403, asked).await;
        assert_eq!(silent_status(site, &browser, &stage.client.0, &[]).await, 200, "the session in Acme goes on");
    }
}
