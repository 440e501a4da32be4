//! Administration from the command line: through a running server, and without one.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::Harness;

/// Runs the program on a folder. The server under test runs in this process, so the call must not block its threads.
pub async fn narthex(folder: &Path, arguments: &[&str]) -> Output {
    let folder = folder.join("narthex");
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(arguments)
            .arg("--dir")
            .arg(folder)
            .env_clear()
            .output()
            .expect("the program runs")
    })
    .await
    .unwrap()
}

async fn text(folder: &Path, arguments: &[&str]) -> String {
    let output = narthex(folder, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn data(folder: &Path, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&text(folder, &arguments).await).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_01_an_operator_gets_a_token_before_any_login_exists() {
    let harness = Harness::start().await;
    let folder = harness.folder.clone();
    let token = text(folder.path(), &["admin", "token"]).await.trim().to_owned();
    let reply = harness.rest("GET", "/api/v1/organizations", Some(&token), None).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let prd = harness.running().prd_url.clone();
    let reply =
        harness.rest_at(&prd, crate::harness::Protocol::H2, "GET", "/api/v1/organizations", Some(&token), None).await;
    assert_eq!(reply.status, 200, "operators work in every environment of their workspace: {}", reply.text());

    let viewer = text(folder.path(), &["admin", "token", "--role", "viewer", "--email", "viewer@example.test"]).await;
    let body = json!({"display_name": "Not allowed"});
    let reply = harness.rest("POST", "/api/v1/organizations", Some(viewer.trim()), Some(&body)).await;
    assert_eq!(reply.status, 403, "{}", reply.text());

    let refused = narthex(folder.path(), &["admin", "token", "--role", "emperor"]).await;
    assert!(!refused.status.success());
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("owner") && message.contains("viewer"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_made_disabled_and_given_new_secrets() {
    let harness = Harness::start().await;
    let folder = harness.folder.clone();
    let made = data(folder.path(), &["admin", "client", "create", "--environment", "dev", "CI"]).await;
    let ask = async |made: &Value| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", made["client_id"].as_str().unwrap()),
            ("client_secret", made["client_secret"].as_str().unwrap()),
        ];
        harness.token_request(&[], &form).await.status.as_u16()
    };
    assert_eq!(ask(&made).await, 200);
    let id = made["client_id"].as_str().unwrap();
    let second = data(folder.path(), &["admin", "client", "rotate-secret", "--environment", "dev", id]).await;
    assert_eq!((ask(&made).await, ask(&second).await), (200, 200), "both secrets count while clients change over");
    let third = data(folder.path(), &["admin", "client", "rotate-secret", "--environment", "dev", id]).await;
    assert_eq!((ask(&made).await, ask(&second).await, ask(&third).await), (401, 200, 200), "the oldest goes");
    text(folder.path(), &["admin", "client", "disable", "--environment", "dev", id]).await;
    assert_eq!(ask(&third).await, 401);
    text(folder.path(), &["admin", "client", "enable", "--environment", "dev", id]).await;
    assert_eq!(ask(&third).await, 200);
    let unknown = narthex(folder.path(), &["admin", "client", "disable", "--environment", "staging", id]).await;
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("no environment is `staging`"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disc_03_ctl_45_rotation_keeps_old_tokens_valid_and_withdrawal_ends_them() {
    let harness = Harness::start().await;
    let folder = harness.folder.clone();
    let kids = async || -> Vec<String> {
        let set = harness.get("/keys").await.json();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let works =
        async |token: &str| harness.rest("GET", "/api/v1/organizations", Some(token), None).await.status.as_u16();
    let first = kids().await;
    let old = harness.client_token().await;

    let rotated = data(folder.path(), &["keys", "rotate", "--environment", "dev"]).await;
    let next = rotated["key"].as_str().unwrap().to_owned();
    assert_eq!(rotated["signs_in_seconds"], 7 * 86_400);
    assert_eq!(kids().await.len(), 2, "the next key is published before it signs");
    let states = data(folder.path(), &["keys", "list", "--environment", "dev"]).await;
    let state = |key: &str| states.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap()["state"].clone();
    assert_eq!((state(&first[0]), state(&next)), (json!("current"), json!("next")));

    let base = harness.running().http_url.clone();
    let request = http::Request::post(format!("{base}/dev/clock"));
    harness.send(&base, crate::harness::Protocol::H1, request, r#"{"advance_seconds": 604801}"#).await;
    let new = harness.client_token().await;
    let header = |token: &str| {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["kid"].clone()
    };
    assert_eq!((header(&old), header(&new)), (json!(first[0]), json!(next)));
    assert_eq!((works(&old).await, works(&new).await), (200, 200));
    assert_eq!(kids().await.len(), 2, "the retired key stays published");

    text(folder.path(), &["keys", "withdraw", "--environment", "dev", &first[0]]).await;
    assert_eq!((works(&old).await, works(&new).await), (401, 200));
    assert_eq!(kids().await, [next]);
    text(folder.path(), &["keys", "rotate", "--environment", "dev", "--now"]).await;
    assert_ne!(header(&harness.client_token().await), header(&new), "--now signs at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_commands_take_the_folder_themselves() {
    let harness = Harness::start().await;
    let folder = harness.folder.clone();
    let token_before = text(folder.path(), &["admin", "token"]).await;
    assert_eq!(harness.stop().await, narthex::Exit::Ok);

    let made = data(folder.path(), &["admin", "client", "create", "--environment", "prd", "offline"]).await;
    assert!(made["client_id"].as_str().unwrap().starts_with("prd_skc_"));
    assert_ne!(token_before, text(folder.path(), &["admin", "token"]).await);
    let status = text(folder.path(), &["migrate", "status"]).await;
    assert!(status.lines().count() >= 3 && status.lines().all(|line| line.ends_with("applied")), "{status}");
    assert_eq!(text(folder.path(), &["migrate", "up"]).await, status);

    let lock = narthex::app::FolderLock::take(&folder.path().join("narthex")).unwrap();
    let refused = narthex(folder.path(), &["keys", "list"]).await;
    assert_eq!(refused.status.code(), Some(narthex::Exit::AlreadyRunning as i32));
    drop(lock);
    let nowhere = tempfile::tempdir().unwrap();
    let refused = narthex(nowhere.path(), &["keys", "list"]).await;
    assert_eq!(refused.status.code(), Some(narthex::Exit::Usage as i32), "a mistyped folder is not made");
    assert!(!nowhere.path().join("narthex").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_05_seed_apply_is_idempotent_over_the_socket() {
    let harness = Harness::start().await;
    let folder = harness.folder.clone();
    let file = folder.path().join("seed.toml");
    std::fs::write(&file, "[[workspaces]]\n[[workspaces.operators]]\nemail = \"ada@example.test\"\nrole = \"admin\"\n")
        .unwrap();
    let file = file.display().to_string();
    assert!(text(folder.path(), &["seed", "apply", &file]).await.contains("ada@example.test"));
    assert!(text(folder.path(), &["seed", "apply", &file]).await.contains("exists already"));
    std::fs::write(&file, "[[workspaces]]\nnonsense = 1\n").unwrap();
    let refused = narthex(folder.path(), &["seed", "apply", &file]).await;
    assert!(String::from_utf8(refused.stderr).unwrap().contains("line 2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_05_a_secret_in_a_file_is_read_by_who_applies_the_seed_file_and_not_by_the_server() {
    let harness = Harness::start().await;
    let (folder, caller) = (harness.folder.path().join("narthex"), tempfile::tempdir().unwrap());
    let seed = "[[workspaces]]\n[[workspaces.environments]]\nkind = \"dev\"\n[[workspaces.environments.clients]]\n\
                id = \"skc_77\"\nsecrets = [\"file:one\", \"file:two\"]\n";
    std::fs::write(caller.path().join("seed.toml"), seed).unwrap();
    std::fs::write(caller.path().join("one"), "test_first\\\"0123456789\n").unwrap();
    let apply = async || {
        let (folder, caller) = (folder.clone(), caller.path().to_owned());
        let run = move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
            let command = command.args(["seed", "apply", "seed.toml", "--dir"]).arg(folder);
            command.current_dir(caller).env_clear().output().expect("the program runs")
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    let refused = apply().await;
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("cannot read two"), "{message}");
    std::fs::write(caller.path().join("two"), "test_second0123456789\n").unwrap();
    let applied = apply().await;
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    for secret in ["test_first\\\"0123456789", "test_second0123456789"] {
        let form = [("grant_type", "client_credentials"), ("client_id", "skc_77"), ("client_secret", secret)];
        assert_eq!(harness.token_request(&[], &form).await.status, 200, "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_19_doctor_finds_nothing_in_a_fresh_folder_and_sees_a_wrong_counter() {
    let harness = Harness::start().await;
    let folder = harness.folder.clone();
    let token = harness.client_token().await;
    harness.rest("POST", "/api/v1/organizations", Some(&token), Some(&json!({"display_name": "Counted"}))).await;
    let level = |findings: &Value, check: &str| -> Vec<String> {
        let rows = findings.as_array().unwrap().iter().filter(|row| row["check"] == check);
        rows.map(|row| row["level"].as_str().unwrap().to_owned()).collect()
    };
    let findings = data(folder.path(), &["doctor"]).await;
    for check in ["database", "migrations", "clock", "master key", "counters", "audit chain"] {
        let levels = level(&findings, check);
        assert!(!levels.is_empty() && levels.iter().all(|level| level == "ok"), "{check}: {findings:#}");
    }

    let id = harness.env_id();
    harness
        .core()
        .db
        .write(async move |tx| {
            narthex_core::counters::add(tx, id, "organizations", 1, 5).await?;
            tx.execute(
                "UPDATE events SET body = replace(body, 'Counted', 'Forged') WHERE environment_id = $1",
                &narthex_db::p![id],
            )
            .await?;
            Ok::<_, narthex_core::Error>(())
        })
        .await
        .unwrap();
    narthex_core::jobs::drain(harness.core()).await.unwrap();
    let output = narthex(folder.path(), &["doctor", "--json"]).await;
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(level(&findings, "counters").contains(&"warning".to_owned()), "{findings:#}");
    let again = data_of(&narthex(folder.path(), &["doctor", "--json"]).await);
    assert!(!level(&again, "counters").contains(&"warning".to_owned()), "it was corrected: {again:#}");
}

fn data_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}
