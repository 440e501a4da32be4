//! `narthex dev`: what a newcomer gets, and what stays when they come back.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use http::Request;
use narthex::{App, Exit, Mode};
use narthex_core::{clients, environments};
use narthex_db::Engine;
use serde_json::json;

use crate::harness::{Harness, Protocol, app_options, dev_options};

fn variables(harness: &Harness) -> BTreeMap<String, String> {
    let path = &harness.running().dev.as_ref().unwrap().env_file;
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_01_first_start_writes_every_variable_that_an_sdk_program_needs() {
    let harness = Harness::start().await;
    let values = variables(&harness);
    let running = harness.running();
    let expected = [
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "NARTHEX_CA_FILE",
        "NARTHEX_DEV_URL",
        "NARTHEX_HTTP_URL",
        "NARTHEX_PRD_CLIENT_ID",
        "NARTHEX_PRD_CLIENT_SECRET",
        "NARTHEX_PRD_URL",
        "NARTHEX_TRUSTSTORE",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
        "SCALEKIT_CLIENT_ID",
        "SCALEKIT_CLIENT_SECRET",
        "SCALEKIT_ENVIRONMENT_URL",
        "SCALEKIT_ENV_URL",
        "SSL_CERT_FILE",
    ];
    assert_eq!(values.keys().collect::<Vec<_>>(), expected);
    assert_eq!(values["SCALEKIT_ENVIRONMENT_URL"], running.dev_url);
    assert_eq!(values["SCALEKIT_ENV_URL"], running.dev_url);
    assert_eq!(values["NARTHEX_PRD_URL"], running.prd_url);
    assert_eq!(values["NARTHEX_HTTP_URL"], running.http_url);
    for file in ["NODE_EXTRA_CA_CERTS", "NARTHEX_TRUSTSTORE"] {
        assert!(
            std::path::Path::new(&values[file]).is_absolute() && std::fs::metadata(&values[file]).is_ok(),
            "{file}"
        );
    }
    for secret in ["dev.env", "master.key", "ca-key.pem", "admin.sock"] {
        let mode = std::fs::metadata(harness.folder.path().join("narthex").join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{secret} is nobody else's");
    }

    // The credentials work, each in its own environment only.
    for (id, secret, own, other) in [
        ("SCALEKIT_CLIENT_ID", "SCALEKIT_CLIENT_SECRET", &running.dev_url, &running.prd_url),
        ("NARTHEX_PRD_CLIENT_ID", "NARTHEX_PRD_CLIENT_SECRET", &running.prd_url, &running.dev_url),
    ] {
        let form = format!("grant_type=client_credentials&client_id={}&client_secret={}", values[id], values[secret]);
        for (base, status) in [(own, 200), (other, 401)] {
            let request = Request::post(format!("{base}/oauth/token"))
                .header("content-type", "application/x-www-form-urlencoded");
            let reply = harness.send(base, Protocol::H2, request, form.clone()).await;
            assert_eq!(reply.status, status, "{id} at {base}: {}", reply.text());
        }
    }
    assert_eq!(harness.stop().await, Exit::Ok);
}

async fn second_start_keeps_everything(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let before = variables(&harness);
    let token = harness.client_token().await;
    let made =
        harness.rest("POST", "/api/v1/organizations", Some(&token), Some(&json!({"display_name": "Kept"}))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let keys = harness.get("/keys").await.text();
    let (dev, prd) = (harness.env_id(), harness.prd_id());

    let harness = harness.restart(|_| {}).await.unwrap();
    let after = variables(&harness);
    for kept in ["SCALEKIT_CLIENT_ID", "SCALEKIT_CLIENT_SECRET", "NARTHEX_PRD_CLIENT_ID", "NARTHEX_PRD_CLIENT_SECRET"] {
        assert_eq!(before[kept], after[kept]);
    }
    assert_eq!((dev, prd), (harness.env_id(), harness.prd_id()));
    assert_eq!(harness.get("/keys").await.text(), keys);
    // The ports are new ones (`:0`), so the issuer is too, and tokens of the old one are not valid any more; new ones are.
    assert_ne!(before["NARTHEX_DEV_URL"], after["NARTHEX_DEV_URL"]);
    let token = harness.client_token().await;
    let list = harness.rest("GET", "/api/v1/organizations", Some(&token), None).await.json();
    let names: Vec<_> =
        list["organizations"].as_array().unwrap().iter().map(|row| row["display_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Kept", "Test Organization"]);
    assert_eq!(harness.stop().await, Exit::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_keeps_everything_sqlite() {
    second_start_keeps_everything(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_keeps_everything_postgres() {
    second_start_keeps_everything(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_credentials_are_replaced_and_the_other_environments_stay() {
    let harness = Harness::start().await;
    let before = variables(&harness);
    let path = harness.running().dev.as_ref().unwrap().env_file.clone();
    // Two times: the client then has as many secrets as it may have.
    let mut harness = harness;
    for _ in 0..3 {
        let text = std::fs::read_to_string(&path).unwrap();
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("SCALEKIT_CLIENT_SECRET")).collect();
        std::fs::write(&path, kept.join("\n")).unwrap();
        harness = harness.restart(|_| {}).await.unwrap();
        let after = variables(&harness);
        assert_eq!(before["SCALEKIT_CLIENT_ID"], after["SCALEKIT_CLIENT_ID"]);
        assert_ne!(before["SCALEKIT_CLIENT_SECRET"], after["SCALEKIT_CLIENT_SECRET"]);
        assert_eq!(before["NARTHEX_PRD_CLIENT_SECRET"], after["NARTHEX_PRD_CLIENT_SECRET"]);
        harness.client_token().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environments_may_swap_their_ports() {
    let harness = Harness::start().await;
    let port = |url: &str| url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let (dev, prd) = (port(&harness.running().dev_url), port(&harness.running().prd_url));
    let harness = harness
        .restart(|options| {
            let Mode::Dev(mode) = &mut options.mode else { panic!("dev") };
            mode.listen.set_port(prd);
            mode.prd_listen.set_port(dev);
        })
        .await
        .unwrap();
    let environment = environments::by_host(harness.core(), &format!("localhost:{prd}")).await.unwrap().unwrap();
    assert_eq!(environment.id, harness.env_id());
    assert_eq!(environment.origin, harness.running().dev_url);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_port_is_the_dev_environment_and_issues_as_the_https_origin() {
    let harness = Harness::start().await;
    let discovery = harness.get("/.well-known/openid-configuration").await.json();
    assert_eq!(discovery["issuer"], harness.running().dev_url);
    let token = harness.client_token().await;
    let base = harness.running().dev_url.clone();
    let reply = harness.rest_at(&base, Protocol::H1, "GET", "/api/v1/organizations", Some(&token), None).await;
    assert_eq!(reply.status, 200, "a token from the plain port is good on the TLS port: {}", reply.text());
    let prd = harness.running().prd_url.clone();
    let reply = harness.rest_at(&prd, Protocol::H2, "GET", "/api/v1/organizations", Some(&token), None).await;
    assert_eq!(reply.status, 401, "and not in the other environment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dns_rebinding_finds_nothing_at_any_path() {
    let harness = Harness::start().await;
    let base = harness.running().http_url.clone();
    for host in ["evil.example", "localhost.evil.example:8080", "127.0.0.1.nip.io", "169.254.169.254", ""] {
        for path in [
            "/healthz",
            "/keys",
            "/.well-known/openid-configuration",
            "/dev",
            "/dev/events",
            "/dev/clock",
            "/metrics",
            "/nowhere",
            "/api/v1/organizations",
        ] {
            let reply =
                harness.send(&base, Protocol::H1, Request::get(format!("{base}{path}")).header("host", host), "").await;
            assert_eq!(reply.status, 404, "{host} {path}: {}", reply.text());
        }
        let request = Request::post(format!("{base}/oauth/token")).header("host", host);
        assert_eq!(harness.send(&base, Protocol::H1, request, "grant_type=client_credentials").await.status, 404);
    }
    for host in ["localhost", "LocalHost:1", "127.0.0.1:9", "[::1]:8443"] {
        let reply =
            harness.send(&base, Protocol::H1, Request::get(format!("{base}/keys")).header("host", host), "").await;
        assert_eq!(reply.status, 200, "{host}");
    }
    let token = harness.client_token().await;
    let mut connection = crate::http::Connection::open(&base, Protocol::H2, None).await.unwrap();
    let request = Request::post("http://evil.example/scalekit.v1.organizations.OrganizationService/ListOrganization")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"))
        .body(crate::harness::frame(&[]).into())
        .unwrap();
    let reply = connection.send(request).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.header("grpc-status")), (200, Some("5")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_moves_forward_and_stays_moved_over_a_restart() {
    let harness = Harness::start().await;
    let base = harness.running().dev_url.clone();
    let post = |body: &'static str| harness.send(&base, Protocol::H2, Request::post(format!("{base}/dev/clock")), body);
    assert_eq!(post(r#"{"advance_seconds": 86400}"#).await.json()["offset_seconds"], 86_400);
    for bad in
        [r#"{"advance_seconds": -1}"#, r#"{"advance_seconds": 1e30}"#, "{}", r#"{"advance_seconds": 1, "x": 1}"#, "no"]
    {
        assert_eq!(post(bad).await.status, 400, "{bad}");
    }
    assert_eq!(harness.clock.offset().as_secs(), 86_400);
    // A token is stamped and checked on real time, so a moved clock makes none from the future.
    let token = harness.client_token().await;
    assert_eq!(harness.rest("GET", "/api/v1/organizations", Some(&token), None).await.status, 200);

    let harness = harness.restart(|options| options.clock = narthex_core::Clock::new()).await.unwrap();
    assert_eq!(harness.get("/dev/clock").await.json()["offset_seconds"], 86_400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helpers_serve_the_developer_and_no_page_of_another_site() {
    let harness = Harness::start().await;
    let token = harness.client_token().await;
    harness.rest("POST", "/api/v1/organizations", Some(&token), Some(&json!({"display_name": "Seen"}))).await;
    let events = harness.get("/dev/events").await.json();
    assert_eq!(events[0]["type"], "organization.created");
    assert_eq!(events[0]["data"]["display_name"], "Seen");
    assert_eq!(harness.get("/dev/mail?to=a@b.c").await.json(), json!([]));
    assert!(harness.get("/dev/mailbox").await.text().contains("No mail yet"));
    assert!(harness.get("/dev").await.text().contains("/dev/clock"));
    assert_eq!(harness.get("/dev/nothing").await.status, 404);

    let base = harness.running().http_url.clone();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let request = Request::post(format!("{base}/dev/clock")).header(name, value);
        assert_eq!(
            harness.send(&base, Protocol::H1, request, r#"{"advance_seconds": 1}"#).await.status,
            404,
            "{name}: {value}"
        );
    }
    assert_eq!(harness.clock.offset().as_secs(), 0);
    let own =
        Request::post(format!("{base}/dev/clock")).header("origin", &base).header("sec-fetch-site", "same-origin");
    assert_eq!(harness.send(&base, Protocol::H1, own, r#"{"advance_seconds": 1}"#).await.status, 200);
    let prd = harness.running().prd_url.clone();
    assert_eq!(harness.send(&prd, Protocol::H2, Request::get(format!("{prd}/dev/events")), "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_05_a_seed_file_fixes_ids_and_secrets_and_may_be_applied_again() {
    const SEED: &str = r#"
        [[workspaces]]
        [[workspaces.environments]]
        kind = "dev"
        [[workspaces.environments.clients]]
        id = "skc_100000000000000001"
        secrets = ["test_fixed_secret_that_is_long_enough_for_the_rules_0001"]
    "#;
    let folder = tempfile::tempdir().unwrap();
    let seed = folder.path().join("seed.toml");
    std::fs::write(&seed, SEED).unwrap();
    let mut harness = Harness::start_with(|dev| dev.seed = Some(seed)).await;
    for _ in 0..2 {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "skc_100000000000000001"),
            ("client_secret", "test_fixed_secret_that_is_long_enough_for_the_rules_0001"),
        ];
        let reply = harness.token_request(&[], &form).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let client = clients::get(harness.core(), harness.env_id(), "skc_100000000000000001").await.unwrap().unwrap();
        assert_eq!(client.secrets.len(), 1);
        harness = harness.restart(|_| {}).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stops_a_start_has_an_exit_code_of_its_own() {
    let harness = Harness::start().await;
    let failure = |mode| async { App::start(app_options(Mode::Dev(mode))).await.err().expect("a refused start") };

    let same_folder = failure(dev_options(&harness.folder)).await;
    assert_eq!(same_folder.exit, Exit::AlreadyRunning, "{same_folder}");

    let other = tempfile::tempdir().unwrap();
    let mut taken = dev_options(&other);
    taken.listen.set_port(harness.running().dev_url.rsplit(':').next().unwrap().parse().unwrap());
    let taken = failure(taken).await;
    assert_eq!(taken.exit, Exit::AddressInUse, "{taken}");

    let mut unreachable = dev_options(&other);
    unreachable.database_url = Some("postgres://nobody@127.0.0.1:1/none?connect_timeout=1".to_owned());
    let unreachable = failure(unreachable).await;
    assert_eq!(unreachable.exit, Exit::Database, "{unreachable}");

    let mut bad_seed = dev_options(&other);
    bad_seed.seed = Some(other.path().join("absent.toml"));
    let bad_seed = failure(bad_seed).await;
    assert_eq!(bad_seed.exit, Exit::Config, "{bad_seed}");

    let folder = harness.folder.clone();
    assert_eq!(harness.stop().await, Exit::Ok);
    std::fs::write(folder.path().join("narthex/master.key"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let wrong_key = failure(dev_options(&folder)).await;
    assert_eq!(wrong_key.exit, Exit::MasterKey, "{wrong_key}");
}
