//! Databases that earlier versions left behind (tests/make_fixture) are opened, upgraded and go on working.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::Harness;

/// `fixtures/NNNN`, named after the newest migration of the version that wrote it.
fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<_> =
        std::fs::read_dir(folder).expect("the fixtures").map(|entry| entry.expect("an entry").path()).collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_landed_schema_is_upgraded_and_keeps_what_it_holds() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    for fixture in fixtures {
        let harness = Harness::start_with(|dev| {
            std::fs::create_dir_all(&dev.dir).expect("a folder");
            for file in ["narthex.db", "master.key", "dev.env"] {
                std::fs::copy(fixture.join(file), dev.dir.join(file)).expect("a copy");
            }
        })
        .await;
        // The secret in dev.env is the one that the database knows: nothing was seeded anew.
        let token = harness.client_token().await;
        let get = async |path: &str| harness.rest("GET", path, Some(&token), None).await.json();
        let found = get("/api/v1/organizations:external/fixture").await;
        assert_eq!(found["organization"]["display_name"], "Fixture", "{fixture:?}: {found}");
        assert_eq!(found["organization"]["metadata"], json!({"tier": "gold"}));
        assert_eq!(found["organization"]["settings"]["features"][0], json!({"name": "sso", "enabled": true}));
        let id = found["organization"]["id"].as_str().expect("an id").to_owned();
        assert_eq!(get("/api/v1/organizations:search?query=fixtu").await["total_size"], 1, "{fixture:?}");
        let users = get(&format!("/api/v1/organizations/{id}/users")).await;
        assert_eq!(users["users"][0]["email"], "ada@example.net", "{fixture:?}: {users}");
        let ways = get("/api/v1/connections").await;
        assert_eq!(ways["connections"][0]["type"], "PASSWORDLESS", "{fixture:?}: {ways}");
        let path = format!("/api/v1/organizations/{id}");
        let change = json!({"display_name": "Upgraded"});
        let changed = harness.rest("PATCH", &path, Some(&token), Some(&change)).await;
        assert_eq!(changed.json()["organization"]["display_name"], "Upgraded", "{fixture:?}");
        harness.stop().await;
    }
}
