//! Malformed and hostile requests to the authorization and token endpoints, by the section that says why they are refused: RFC 6749,
//! 7636, 8707, 9700 and OpenID Connect Core.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use narthex_core::clients::applications::Settings;
use narthex_core::clients::{self, ClientKind, NewClient};
use narthex_core::environments::EnvironmentKind;
use narthex_core::grants::Authorization;
use serde_json::{Value, json};

use crate::browser::parameters;
use crate::harness::{Reply, encode};
use crate::signed_in::{CHALLENGE, REDIRECT, SignedIn, VERIFIER};

const DEFAULT_REDIRECT: &str = "http://localhost:3999/callback";

async fn number(login: &SignedIn, sql: &'static str) -> i64 {
    let row = login.core().db.read(async move |tx| tx.one::<(i64,)>(sql, &[]).await).await;
    row.expect("a number").0
}

/// What a request must not have left behind: logins, codes, sessions, live or not.
pub async fn left_behind(login: &SignedIn) -> [i64; 3] {
    [
        number(login, "SELECT COUNT(*) FROM auth_requests").await,
        number(login, "SELECT COUNT(*) FROM grants").await,
        number(login, "SELECT COUNT(*) FROM sessions WHERE revoked_at IS NULL").await,
    ]
}

/// Who is told of a bad authorization request.
pub enum Told {
    /// The user alone, on a page of the environment's: nobody knows whose the `redirect_uri` is.
    Page(&'static str),
    /// The application, at its `redirect_uri`.
    Application(&'static str),
}
use Told::{Application, Page};

/// A parameter in place of the good request's. An empty value leaves it out; of two of one name, both are sent.
pub type Change<'a> = (&'a str, &'a str);

/// A good request of the web application with these changes.
pub fn request<'a>(client_id: &'a str, changes: &[Change<'a>]) -> String {
    let mut all = vec![
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", REDIRECT),
        ("scope", "openid email"),
        ("state", "s-1"),
        ("nonce", "n-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    all.retain(|(name, _)| changes.iter().all(|(other, _)| other != name));
    all.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    encode(&all)
}

/// The same request by GET and by POST (OpenID Connect Core §3.1.2.1), from a browser that is signed in: a good one would get a code.
pub async fn both_ways(login: &SignedIn, query: &str) -> [Reply; 2] {
    let cookie = [("cookie", login.cookie.as_str())];
    let base = login.harness.running().http_url.clone();
    let post = http::Request::post(format!("{base}/oauth/authorize"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("cookie", &login.cookie);
    [
        login.request("GET", &format!("/oauth/authorize?{query}"), &cookie).await,
        login.harness.send(&base, crate::harness::Protocol::H1, post, query.to_owned()).await,
    ]
}

#[track_caller]
pub fn assert_told(reply: &Reply, told: &Told, section: &str) {
    let headers = |name: &str| reply.headers.get_all(name).iter().count();
    assert_eq!(headers("set-cookie"), 0, "{section}: nothing is begun: {:?}", reply.headers);
    match told {
        Page(code) => {
            assert_eq!((reply.status.as_u16(), headers("location")), (400, 0), "{section}: {}", reply.text());
            let html = reply.text();
            assert!(html.contains(code) && html.contains("err_"), "{section}: {html}");
            assert!(!html.contains("evil.example"), "{section}: what was asked for is not shown: {html}");
            let policy = reply.header("content-security-policy").unwrap_or_default();
            assert!(policy.contains("frame-ancestors 'none'"), "rfc9700_4_16 clickjacking: {policy}");
        }
        Application(code) => {
            // RFC 9700 §4.12: never 307, which would send a form on.
            assert_eq!(reply.status, 303, "{section}: {}", reply.text());
            assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{section}: rfc9700_4_2_4");
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{section}");
            let location = reply.header("location").expect("a location");
            assert!(!location.contains('#'), "{section}: nothing in a fragment: {location}");
            let query = location.strip_prefix(REDIRECT).and_then(|rest| rest.strip_prefix('?'));
            let query = parameters(query.unwrap_or_else(|| panic!("{section}: to {location}")));
            assert_eq!(query.get("error").map(String::as_str), Some(*code), "{section}: {query:?}");
            assert!(query.get("error_description").is_some_and(|text| !text.is_empty()), "{section}");
            for name in query.keys() {
                assert!(matches!(&**name, "error" | "error_description" | "state"), "{section}: {name} is told");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines)] // a table
async fn authz_01_authz_09_authz_11_lgn_16_hostile_authorization_requests_section_by_section() {
    let login = SignedIn::start().await;
    let core = login.core().clone();
    let dev = login.harness.environment(login.harness.env_id()).await;
    let (spa, _) = SignedIn::client(&login.harness, ClientKind::Spa).await;
    let (strict, _) = SignedIn::client(&login.harness, ClientKind::WebApp).await;
    clients::applications::update(&core, &dev, &strict, Settings { enforce_pkce: Some(true), ..Settings::default() })
        .await
        .unwrap();
    let (mute, _) = SignedIn::client(&login.harness, ClientKind::WebApp).await;
    let only_machines = Settings { grant_types: Some(vec!["client_credentials".into()]), ..Settings::default() };
    clients::applications::update(&core, &dev, &mute, only_machines).await.unwrap();
    let (off, _) = SignedIn::client(&login.harness, ClientKind::WebApp).await;
    clients::set_enabled(&core, dev.id, &off, false).await.unwrap();
    let machine = NewClient {
        organization: Some(login.organization),
        post_login_uris: vec![REDIRECT.into()],
        ..NewClient::new(ClientKind::Organization, "M2M")
    };
    let machine = clients::create(&core, dev.id, EnvironmentKind::Dev, machine).await.unwrap().client_id;
    let foreign = NewClient { post_login_uris: vec![REDIRECT.into()], ..NewClient::new(ClientKind::WebApp, "PRD") };
    let foreign =
        clients::create(&core, login.harness.prd_id(), EnvironmentKind::Prd, foreign).await.unwrap().client_id;
    let (long, hint) = ("x".repeat(2_049), format!("{}@example.com", "x".repeat(320)));
    let padded = format!("{CHALLENGE}=");
    let alien = CHALLENGE.replace('-', "+").replace('_', "/");
    let rows: Vec<(&str, Vec<Change<'_>>, Told)> = vec![
        // Whoever asks is not known, or not at this address.
        ("rfc6749_4_1_1_client_id_is_required", vec![("client_id", "")], Page("invalid_request")),
        ("rfc6749_4_1_2_1_unknown_client", vec![("client_id", "webc_1")], Page("invalid_client")),
        ("rfc6749_2_2_client_of_another_form", vec![("client_id", "../../keys")], Page("invalid_client")),
        ("rfc6749_4_1_2_1_client_of_another_environment", vec![("client_id", &foreign)], Page("invalid_client")),
        ("rfc6749_4_4_client_that_is_a_machine", vec![("client_id", &machine)], Page("invalid_client")),
        ("rfc6749_4_1_2_1_client_that_is_switched_off", vec![("client_id", &off)], Page("application_not_active")),
        ("rfc6749_3_1_repeated_client_id", vec![("client_id", &spa), ("client_id", &spa)], Page("invalid_request")),
        (
            "rfc6749_3_1_repeated_redirect_uri",
            vec![("redirect_uri", REDIRECT), ("redirect_uri", "https://evil.example/")],
            Page("invalid_request"),
        ),
        ("rfc6749_3_1_2_3_redirect_uri_is_required", vec![("redirect_uri", "")], Page("invalid_redirect_uri")),
        (
            "rfc6749_3_1_2_4_bad_redirect_is_never_followed",
            vec![("redirect_uri", "https://evil.example/callback")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc6749_3_1_2_fragment",
            vec![("redirect_uri", "https://app.example/callback#x")],
            Page("invalid_redirect_uri"),
        ),
        ("rfc6749_3_1_2_relative_redirect", vec![("redirect_uri", "/callback")], Page("invalid_redirect_uri")),
        (
            "rfc6749_3_1_2_scheme_relative",
            vec![("redirect_uri", "//app.example/callback")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_2_1_exact_matching_path",
            vec![("redirect_uri", "https://app.example/callback/x")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_2_1_exact_matching_slash",
            vec![("redirect_uri", "https://app.example/callback/")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_2_1_exact_matching_case",
            vec![("redirect_uri", "https://app.example/Callback")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_2_1_exact_matching_query",
            vec![("redirect_uri", "https://app.example/callback?x=1")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_2_1_exact_matching_scheme",
            vec![("redirect_uri", "http://app.example/callback")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_2_1_exact_matching_port",
            vec![("redirect_uri", "https://app.example:8443/callback")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_2_1_exact_matching_dots",
            vec![("redirect_uri", "https://app.example/x/../callback")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_2_1_exact_matching_encoding",
            vec![("redirect_uri", "https://app.example/%63allback")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_4_1_3_userinfo_before_the_host",
            vec![("redirect_uri", "https://app.example@evil.example/callback")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_4_1_1_longer_host",
            vec![("redirect_uri", "https://app.example.evil.example/callback")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc9700_4_1_3_backslash",
            vec![("redirect_uri", "https://evil.example\\@app.example/callback")],
            Page("invalid_redirect_uri"),
        ),
        ("rfc9700_4_1_1_script", vec![("redirect_uri", "javascript:alert(1)")], Page("invalid_redirect_uri")),
        ("rfc9700_4_11_open_redirector", vec![("redirect_uri", "data:text/html,x")], Page("invalid_redirect_uri")),
        (
            "rfc8252_8_4_other_native_scheme",
            vec![("redirect_uri", "com.app.example:/callback")],
            Page("invalid_redirect_uri"),
        ),
        (
            "rfc6749_4_1_1_a_bad_address_is_worse_than_anything_else",
            vec![("redirect_uri", "https://evil.example/"), ("response_type", "token"), ("prompt", "none login")],
            Page("invalid_redirect_uri"),
        ),
        // The rest goes to the application.
        ("rfc6749_3_1_1_response_type_is_required", vec![("response_type", "")], Application("invalid_request")),
        (
            "rfc6749_3_1_1_unknown_response_type",
            vec![("response_type", "codes")],
            Application("unsupported_response_type"),
        ),
        ("rfc9700_2_1_2_no_implicit_grant", vec![("response_type", "token")], Application("unsupported_response_type")),
        (
            "oidc_core_3_2_no_implicit_flow",
            vec![("response_type", "id_token")],
            Application("unsupported_response_type"),
        ),
        (
            "oidc_core_3_3_no_hybrid_flow",
            vec![("response_type", "code id_token")],
            Application("unsupported_response_type"),
        ),
        (
            "rfc6749_3_1_repeated_parameter_response_type",
            vec![("response_type", "code"), ("response_type", "code")],
            Application("invalid_request"),
        ),
        (
            "rfc6749_3_1_repeated_parameter_scope",
            vec![("scope", "openid"), ("scope", "email")],
            Application("invalid_request"),
        ),
        (
            "rfc6749_3_1_repeated_parameter_nonce",
            vec![("nonce", "n-1"), ("nonce", "n-2")],
            Application("invalid_request"),
        ),
        (
            "rfc6749_3_1_repeated_parameter_prompt",
            vec![("prompt", "login"), ("prompt", "none")],
            Application("invalid_request"),
        ),
        (
            "rfc6749_3_1_repeated_parameter_code_challenge",
            vec![("code_challenge", CHALLENGE), ("code_challenge", CHALLENGE)],
            Application("invalid_request"),
        ),
        (
            "rfc6749_3_1_repeated_parameter_code_challenge_method",
            vec![("code_challenge_method", "S256"), ("code_challenge_method", "plain")],
            Application("invalid_request"),
        ),
        (
            "rfc6749_3_1_repeated_parameter_max_age",
            vec![("max_age", "1"), ("max_age", "100")],
            Application("invalid_request"),
        ),
        ("rfc6749_3_3_no_scope_that_is_known", vec![("scope", "everything")], Application("invalid_scope")),
        ("rfc6749_4_1_2_1_unauthorized_client", vec![("client_id", &mute)], Application("unauthorized_client")),
        ("rfc7636_4_2_short_challenge", vec![("code_challenge", "short")], Application("invalid_request")),
        ("rfc7636_4_2_padded_challenge", vec![("code_challenge", &padded)], Application("invalid_request")),
        ("rfc7636_4_2_challenge_of_another_alphabet", vec![("code_challenge", &alien)], Application("invalid_request")),
        ("rfc7636_4_2_long_challenge", vec![("code_challenge", &long)], Application("invalid_request")),
        ("rfc7636_4_3_plain", vec![("code_challenge_method", "plain")], Application("invalid_request")),
        ("rfc7636_4_3_no_method_means_plain", vec![("code_challenge_method", "")], Application("invalid_request")),
        ("rfc7636_4_3_unknown_method", vec![("code_challenge_method", "S512")], Application("invalid_request")),
        ("rfc7636_4_4_1_method_without_challenge", vec![("code_challenge", "")], Application("invalid_request")),
        (
            "rfc9700_2_1_1_pkce_of_public_clients",
            vec![("client_id", &spa), ("code_challenge", ""), ("code_challenge_method", "")],
            Application("invalid_request"),
        ),
        (
            "rfc9700_2_1_1_pkce_downgrade",
            vec![("client_id", &strict), ("code_challenge", ""), ("code_challenge_method", "")],
            Application("invalid_request"),
        ),
        (
            "rfc8707_2_resource_of_somebody_else",
            vec![("resource", "https://other.example")],
            Application("invalid_target"),
        ),
        ("rfc8707_2_resource_that_is_no_uri", vec![("resource", "x")], Application("invalid_target")),
        ("oidc_core_3_1_2_1_prompt_none_with_others", vec![("prompt", "none login")], Application("invalid_request")),
        ("oidc_core_3_1_2_1_unknown_prompt", vec![("prompt", "maybe")], Application("invalid_request")),
        ("oidc_core_3_1_2_1_prompt_in_capitals", vec![("prompt", "NONE")], Application("invalid_request")),
        ("oidc_core_3_1_2_1_negative_max_age", vec![("max_age", "-1")], Application("invalid_request")),
        ("oidc_core_3_1_2_1_max_age_that_is_no_number", vec![("max_age", "soon")], Application("invalid_request")),
        (
            "oidc_core_3_1_2_1_max_age_without_end",
            vec![("max_age", "99999999999999999999")],
            Application("invalid_request"),
        ),
        ("oidc_core_3_1_2_1_endless_login_hint", vec![("login_hint", &hint)], Application("invalid_request")),
        ("oidc_core_3_1_2_1_endless_nonce", vec![("nonce", &long)], Application("invalid_request")),
        ("oidc_core_3_1_2_1_form_post", vec![("response_mode", "form_post")], Application("invalid_request")),
        ("oidc_core_3_1_2_1_fragment", vec![("response_mode", "fragment")], Application("invalid_request")),
        (
            "oidc_core_3_1_2_6_prompt_none_and_too_old",
            vec![("prompt", "none"), ("max_age", "0")],
            Application("login_required"),
        ),
        (
            "oidc_core_6_1_request_object",
            vec![("request", "eyJhbGciOiJub25lIn0.e30.")],
            Application("request_not_supported"),
        ),
        (
            "oidc_core_6_2_request_object_by_reference",
            vec![("request_uri", "https://evil.example/request")],
            Application("request_uri_not_supported"),
        ),
        (
            "rfc9126_4_pushed_request",
            vec![("request_uri", "urn:ietf:params:oauth:request_uri:x")],
            Application("request_uri_not_supported"),
        ),
    ];
    // `max_age=0` above: the session was proven a moment ago.
    login.harness.clock.advance(Duration::from_secs(2));
    let before = left_behind(&login).await;
    for (section, changes, told) in &rows {
        let query = request(&login.app.0, changes);
        for reply in both_ways(&login, &query).await {
            assert_told(&reply, told, section);
            if matches!(told, Application(_)) {
                let location = reply.header("location").expect("a location");
                assert!(location.ends_with("&state=s-1"), "{section}: state comes back: {location}");
            }
        }
    }
    // What makes `state` itself impossible.
    for changes in [&[("state", "s-1"), ("state", "s-2")][..], &[("state", &long)]] {
        for reply in both_ways(&login, &request(&login.app.0, changes)).await {
            assert_told(&reply, &Application("invalid_request"), "rfc6749_4_1_1_state");
        }
    }
    // What cannot be read at all is told to nobody.
    let good = request(&login.app.0, &[]);
    let many: Vec<String> = (0..64).map(|n| format!("p{n}=1")).collect();
    for (section, query) in [
        ("rfc6749_appendix_b_not_utf8", format!("{good}&x=%ff")),
        ("rfc6749_appendix_a_vschar_nul", format!("{good}&login_hint=a%00b")),
        ("rfc6749_appendix_b_nul_in_a_redirect", good.replace("callback", "callback%00")),
        ("rfc6749_10_parameters_without_end", format!("{good}&{}", many.join("&"))),
    ] {
        for reply in both_ways(&login, &query).await {
            assert_eq!((reply.status.as_u16(), reply.header("location")), (400, None), "{section}: {}", reply.text());
            assert_eq!(reply.header("set-cookie"), None, "{section}");
        }
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        let reply = login.request(method, &format!("/oauth/authorize?{good}"), &[("cookie", &login.cookie)]).await;
        assert_eq!(reply.status, 405, "rfc6749_3_1 {method}");
    }
    assert_eq!(left_behind(&login).await, before, "no login, no code, no session came of any of it");
    assert_eq!(number(&login, "SELECT COUNT(*) FROM sessions WHERE revoked_at IS NOT NULL").await, 0);
    // And the request that each of them was made of is good: it gets a code, at once.
    for reply in both_ways(&login, &good).await {
        let location = reply.header("location").unwrap_or_default().to_owned();
        assert!(location.starts_with(&format!("{REDIRECT}?code=")) && location.ends_with("&state=s-1"), "{location}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authz_09_rfc9700_4_7_state_comes_back_as_it_was_and_does_nothing_else() {
    let login = SignedIn::start().await;
    for state in [
        "a b+c&d=e#f",
        "\r\nSet-Cookie: __Host-narthex_session=evil\r\n",
        "\"><script>alert(1)</script>",
        "&code=evil&error=none",
        "ünïcödé ✓",
        "%2e%2e%2f",
        &"x".repeat(2_048),
    ] {
        for (changes, expected) in
            [(vec![("state", state)], "code"), (vec![("state", state), ("response_type", "token")], "error")]
        {
            for reply in both_ways(&login, &request(&login.app.0, &changes)).await {
                let location = reply.header("location").expect("a location");
                let query = location.strip_prefix(&format!("{REDIRECT}?")).expect("the callback");
                assert_eq!(query.matches("state=").count(), 1, "{location}");
                let said = parameters(query);
                assert!(said.contains_key(expected), "{location}");
                assert_eq!(said.get("state").map(String::as_str), Some(state));
                assert!(said.get("code").is_none_or(|code| code != "evil"));
                assert_eq!(reply.header("set-cookie"), None);
            }
        }
    }
}

/// A row of the token endpoint's table: the section, what is sent, and what must come back.
struct Row {
    section: &'static str,
    headers: Vec<(&'static str, String)>,
    form: Vec<(&'static str, String)>,
    status: u16,
    error: &'static str,
}

fn members(value: &Value) -> Vec<&str> {
    let mut members: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    members.sort_unstable();
    members
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16, error: &str, section: &str) {
    assert_eq!(reply.status, status, "{section}: {}", reply.text());
    let body = reply.json();
    assert_eq!((&body["error"], members(&body)), (&json!(error), vec!["error", "error_description"]), "{section}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{section}");
    assert_eq!(reply.header("pragma"), Some("no-cache"), "{section}");
    assert_eq!((reply.header("set-cookie"), reply.header("location")), (None, None), "{section}");
    let type_ = reply.header("content-type").unwrap_or_default();
    assert!(type_.starts_with("application/json"), "{section}: {type_}");
}

/// The forms that the table is made of.
struct Forms<'a> {
    login: &'a SignedIn,
}

type Form = Vec<(&'static str, String)>;

impl Forms<'_> {
    /// A fresh code of the web application, without a challenge or with one.
    async fn code(&self, challenge: Option<&str>) -> String {
        self.code_of(&self.login.app.0, challenge).await
    }

    async fn code_of(&self, client_id: &str, challenge: Option<&str>) -> String {
        let authorization = Authorization {
            code_challenge: challenge.map(str::to_owned),
            ..self.login.authorization(client_id, "openid offline_access")
        };
        self.login.code(authorization).await
    }

    /// The exchange of a code, without its client.
    fn bare(code: &str) -> Form {
        vec![("grant_type", "authorization_code".into()), ("code", code.into()), ("redirect_uri", REDIRECT.into())]
    }

    /// With the web application's credentials.
    fn as_app(&self, mut form: Form) -> Form {
        form.push(("client_id", self.login.app.0.clone()));
        form.push(("client_secret", self.login.app.1.clone()));
        form
    }

    async fn good(&self, challenge: Option<&str>) -> Form {
        let code = self.code(challenge).await;
        self.as_app(Self::bare(&code))
    }

    fn refresh(&self, token: &str) -> Form {
        self.as_app(vec![("grant_type", "refresh_token".into()), ("refresh_token", token.into())])
    }
}

/// The form with a field in place of the one of its name; an empty one leaves it out.
fn with(mut form: Form, name: &'static str, value: &str) -> Form {
    form.retain(|(known, _)| *known != name);
    if !value.is_empty() {
        form.push((name, value.to_owned()));
    }
    form
}

fn twice(mut form: Form, name: &'static str) -> Form {
    let value = form.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    form.push((name, value.expect("a field")));
    form
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines)] // a table
async fn oauth_05_oauth_06_oauth_07_oauth_10_hostile_token_requests_section_by_section() {
    let login = SignedIn::start().await;
    let f = Forms { login: &login };
    let (id, secret) = login.app.clone();
    let (spa, _) = SignedIn::client(&login.harness, ClientKind::Spa).await;
    let (other, other_secret) = SignedIn::client(&login.harness, ClientKind::WebApp).await;
    let other_secret = other_secret.unwrap();
    let (mute, mute_secret) = SignedIn::client(&login.harness, ClientKind::WebApp).await;
    let mute_secret = mute_secret.unwrap();
    let dev = login.harness.environment(login.harness.env_id()).await;
    let only_machines = Settings { grant_types: Some(vec!["client_credentials".into()]), ..Settings::default() };
    clients::applications::update(login.core(), &dev, &mute, only_machines).await.unwrap();

    let used = f.code(None).await;
    assert_eq!(login.exchange(&used).await.status, 200);
    let tokens = login.tokens("openid profile offline_access").await;
    let text = |name: &str| tokens[name].as_str().expect("a token").to_owned();
    let (refresh, access, id_token) = (text("refresh_token"), text("access_token"), text("id_token"));
    let altered = login.tokens("openid offline_access").await["refresh_token"].as_str().unwrap().to_owned();
    let of_spa = f.code_of(&spa, Some(CHALLENGE)).await;
    let as_other = |form: Form| with(with(form, "client_id", &other), "client_secret", &other_secret);
    let as_mute = |form: Form| with(with(form, "client_id", &mute), "client_secret", &mute_secret);
    let basic = |id: &str, secret: &str| {
        vec![("authorization", format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))))]
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut row = |section, form, status, error| rows.push(Row { section, headers: Vec::new(), form, status, error });

    row("rfc6749_4_1_3_grant_type_is_required", with(f.good(None).await, "grant_type", ""), 400, "invalid_request");
    row("rfc6749_4_1_3_code_is_required", with(f.good(None).await, "code", ""), 400, "invalid_request");
    row("rfc6749_4_1_3_redirect_uri_is_required", with(f.good(None).await, "redirect_uri", ""), 400, "invalid_request");
    row(
        "rfc6749_3_2_a_parameter_without_value_is_absent",
        {
            let mut form = with(f.good(None).await, "code", "");
            form.push(("code", String::new()));
            form
        },
        400,
        "invalid_request",
    );
    for name in ["grant_type", "code", "redirect_uri", "client_id", "client_secret"] {
        row("rfc6749_3_2_repeated_parameter", twice(f.good(None).await, name), 400, "invalid_request");
    }
    row(
        "rfc6749_3_2_repeated_parameter_code_verifier",
        twice(with(f.good(Some(CHALLENGE)).await, "code_verifier", VERIFIER), "code_verifier"),
        400,
        "invalid_request",
    );
    row("rfc6749_3_2_1_a_client_is_named", Forms::bare(&f.code(None).await), 401, "invalid_client");
    row(
        "rfc6749_3_2_1_a_confidential_client_authenticates",
        with(f.good(None).await, "client_secret", ""),
        401,
        "invalid_client",
    );
    row("rfc6749_3_2_1_wrong_secret", with(f.good(None).await, "client_secret", "wrong"), 401, "invalid_client");
    row(
        "rfc6749_3_2_1_secret_of_another_client",
        with(f.good(None).await, "client_secret", &other_secret),
        401,
        "invalid_client",
    );
    row("rfc6749_5_2_unknown_client", with(f.good(None).await, "client_id", "webc_1"), 401, "invalid_client");
    row(
        "rfc7521_4_2_no_client_assertion",
        {
            with(
                with(f.good(None).await, "client_assertion", "x"),
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            )
        },
        401,
        "invalid_client",
    );
    row("rfc6749_5_2_unauthorized_client_code", as_mute(f.good(None).await), 400, "unauthorized_client");
    row("rfc6749_5_2_unauthorized_client_refresh", as_mute(f.refresh(&refresh)), 400, "unauthorized_client");
    row(
        "rfc6749_4_4_a_public_client_has_no_credentials",
        vec![("grant_type", "client_credentials".into()), ("client_id", spa.clone())],
        400,
        "unauthorized_client",
    );
    for (section, grant) in [
        ("rfc6749_5_2_unknown_grant", "magic"),
        ("rfc9700_2_4_no_password_grant", "password"),
        ("rfc9700_2_1_2_no_implicit_grant", "implicit"),
        ("rfc8693_2_1_no_token_exchange", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("rfc8628_3_4_no_device_grant", "urn:ietf:params:oauth:grant-type:device_code"),
        ("rfc6749_3_2_grant_types_in_capitals", "AUTHORIZATION_CODE"),
        ("rfc6749_3_2_grant_types_with_spaces", " authorization_code"),
    ] {
        row(section, with(f.good(None).await, "grant_type", grant), 400, "unsupported_grant_type");
    }
    row("rfc6749_4_1_2_a_code_is_used_once", f.as_app(Forms::bare(&used)), 400, "invalid_grant");
    row("rfc6749_10_10_a_guessed_code", f.as_app(Forms::bare("guess")), 400, "invalid_grant");
    row("rfc6749_10_10_a_code_without_end", f.as_app(Forms::bare(&"x".repeat(10_000))), 400, "invalid_grant");
    row("rfc6749_4_1_3_a_code_belongs_to_its_client", as_other(f.good(None).await), 400, "invalid_grant");
    row(
        "rfc9700_4_5_code_injection_into_another_client",
        {
            with(
                with(with(f.good(Some(CHALLENGE)).await, "client_id", &spa), "client_secret", ""),
                "code_verifier",
                VERIFIER,
            )
        },
        400,
        "invalid_grant",
    );
    for (section, uri) in [
        ("rfc6749_4_1_3_redirect_uri_is_identical", format!("{REDIRECT}/")),
        ("rfc6749_4_1_3_redirect_uri_of_another_registration", DEFAULT_REDIRECT.to_owned()),
        ("rfc9700_4_5_code_injection_by_a_foreign_redirect", "https://evil.example/callback".to_owned()),
    ] {
        row(section, with(f.good(None).await, "redirect_uri", &uri), 400, "invalid_grant");
    }
    row("rfc7636_4_5_the_verifier_is_required", f.good(Some(CHALLENGE)).await, 400, "invalid_grant");
    for (section, verifier) in [
        ("rfc7636_4_6_wrong_verifier", "a".repeat(43)),
        ("rfc7636_4_6_the_challenge_is_no_verifier", CHALLENGE.to_owned()),
        ("rfc7636_4_1_verifier_too_short", VERIFIER[..42].to_owned()),
        ("rfc7636_4_1_verifier_too_long", VERIFIER.repeat(4)),
        ("rfc7636_4_1_verifier_of_another_alphabet", VERIFIER.replace('-', "!")),
        ("rfc7636_4_6_verifier_in_capitals", VERIFIER.to_ascii_uppercase()),
        ("rfc7636_4_6_verifier_with_a_space", format!("{VERIFIER} ")),
        ("rfc9700_4_5_code_injection", "B".repeat(64)),
    ] {
        row(section, with(f.good(Some(CHALLENGE)).await, "code_verifier", &verifier), 400, "invalid_grant");
    }
    row("rfc9700_4_8_2_pkce_downgrade", with(f.good(None).await, "code_verifier", VERIFIER), 400, "invalid_grant");
    row(
        "rfc9700_2_1_1_a_public_client_uses_pkce",
        with(Forms::bare(&f.code_of(&spa, None).await), "client_id", &spa),
        400,
        "invalid_grant",
    );
    row(
        "rfc6749_2_1_a_public_client_has_no_secret",
        {
            let form = with(Forms::bare(&f.code_of(&spa, Some(CHALLENGE)).await), "client_id", &spa);
            with(with(form, "client_secret", "x"), "code_verifier", VERIFIER)
        },
        401,
        "invalid_client",
    );
    row(
        "rfc8707_2_2_resource_that_was_not_authorized",
        with(f.good(None).await, "resource", "https://api.example/"),
        400,
        "invalid_target",
    );
    row("rfc6749_6_refresh_token_is_required", f.refresh(""), 400, "invalid_request");
    row("rfc6749_6_repeated_refresh_token", twice(f.refresh(&refresh), "refresh_token"), 400, "invalid_request");
    row(
        "rfc6749_6_no_scope_beyond_the_grant",
        with(f.refresh(&refresh), "scope", "openid phone"),
        400,
        "invalid_scope",
    );
    row("rfc9700_2_2_2_a_refresh_token_belongs_to_its_client", as_other(f.refresh(&refresh)), 400, "invalid_grant");
    row(
        "rfc6749_6_a_refresh_token_needs_its_clients_secret",
        with(f.refresh(&refresh), "client_secret", ""),
        401,
        "invalid_client",
    );
    row("rfc6749_10_4_a_guessed_refresh_token", f.refresh(&format!("rt_{}", "x".repeat(65))), 400, "invalid_grant");
    row(
        "rfc6749_10_4_an_altered_refresh_token",
        f.refresh(&{
            let last = if altered.ends_with('a') { 'b' } else { 'a' };
            format!("{}{last}", &altered[..altered.len() - 1])
        }),
        400,
        "invalid_grant",
    );
    row("rfc6749_1_5_an_access_token_is_no_refresh_token", f.refresh(&access), 400, "invalid_grant");
    row("rfc6749_1_5_an_id_token_is_no_refresh_token", f.refresh(&id_token), 400, "invalid_grant");
    row("rfc6749_1_5_a_code_is_no_refresh_token", f.refresh(&of_spa), 400, "invalid_grant");
    row("rfc6749_1_3_1_a_refresh_token_is_no_code", f.as_app(Forms::bare(&refresh)), 400, "invalid_grant");
    for (section, headers, form, status, error) in [
        ("rfc6749_2_3_two_methods", basic(&id, &secret), f.good(None).await, 400, "invalid_request"),
        (
            "rfc6749_2_3_another_client_than_the_one_that_authenticates",
            basic(&other, &other_secret),
            with(f.good(None).await, "client_secret", ""),
            400,
            "invalid_request",
        ),
        (
            "rfc6749_2_3_1_basic_without_a_colon",
            vec![("authorization", format!("Basic {}", STANDARD.encode("x")))],
            Forms::bare("x"),
            401,
            "invalid_client",
        ),
        ("rfc6749_2_3_1_wrong_basic", basic(&id, "wrong"), Forms::bare(&f.code(None).await), 401, "invalid_client"),
        (
            "rfc6750_2_1_a_bearer_is_no_client",
            vec![("authorization", format!("Bearer {access}"))],
            Forms::bare("x"),
            401,
            "invalid_client",
        ),
    ] {
        rows.push(Row { section, headers, form, status, error });
    }
    let issued = "SELECT COUNT(*) FROM grants WHERE family_hash IS NOT NULL OR (attempt IS NOT NULL AND denied = 0)";
    let before = number(&login, issued).await;
    for Row { section, headers, form, status, error } in &rows {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = login.harness.token_request(&headers, &form).await;
        assert_refused(&reply, *status, error, section);
        let challenge = reply.header("www-authenticate").is_some_and(|value| value.starts_with("Basic"));
        let by_basic = headers.iter().any(|(_, value)| value.starts_with("Basic"));
        assert_eq!(challenge, *status == 401 && by_basic, "rfc6749_5_2 WWW-Authenticate: {section}");
    }
    // Secrets in an address end in logs (RFC 9700 §4.2): they are not read from there.
    let good: Vec<(&'static str, String)> = f.good(None).await;
    let borrowed: Vec<(&str, &str)> = good.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reply = login.post(&format!("/oauth/token?{}", encode(&borrowed)), &[], &[("x", "y")]).await;
    assert_refused(&reply, 400, "invalid_request", "rfc6749_2_3_1_not_in_the_query");
    assert_eq!(number(&login, issued).await, before, "no token came of any of it");
    let code = f.code(None).await;
    login.harness.clock.advance(Duration::from_secs(601));
    assert_refused(&login.exchange(&code).await, 400, "invalid_grant", "rfc6749_4_1_2_a_code_expires");
    assert_eq!(login.refresh(&refresh).await.status, 200, "rfc6749_6: nothing above has ended the refresh token");
    // A failed attempt spends the code: who has guessed at the verifier does not guess again.
    let code = f.code(Some(CHALLENGE)).await;
    for verifier in ["C".repeat(43), VERIFIER.to_owned()] {
        let form = with(f.as_app(Forms::bare(&code)), "code_verifier", &verifier);
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_refused(&login.harness.token_request(&[], &form).await, 400, "invalid_grant", "rfc9700_4_5_one_attempt");
    }
}
