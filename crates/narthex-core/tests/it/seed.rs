//! The first start, and seed files.

use narthex_core::organizations::{self, Identity};
use narthex_core::schema::Schema;
use narthex_core::seed::{self, FirstStart, SeedClient, first_start};
use narthex_core::testing::{self, MASTER_KEY, TestCore};
use narthex_core::tokens::OAuthCode;
use narthex_core::{Core, Kind, clients, environments, members};
use narthex_db::{DbError, Engine, FromRow, p};

use crate::node::{caller, credentials, issue, node};

const SEED: &str = r#"
[[workspaces.operators]]
email = "Ada@Acme.test"
given_name = "Ada"
role = "owner"

[[workspaces]]
id = "wks_100000000000001"
name = "Fixed"

[[workspaces.environments]]
id = "env_100000000000002"
kind = "prd"
origin = "https://fixed.test"

[[workspaces.environments.organizations]]
id = "org_100000000000003"
name = "Acme"

[[workspaces.environments.clients]]
id = "prd_skc_8573429015935040"
secrets = ["prod_0123456789abcdefghijklmnopqrstuvwxyz0123456789ab"]
"#;

/// The same with what belongs to the existing DEV environment.
fn seed_text() -> String {
    let dev = r#"
[[workspaces]]
[[workspaces.operators]]
email = "Ada@Acme.test"
given_name = "Ada"
role = "owner"

[[workspaces.environments]]
kind = "dev"

[[workspaces.environments.clients]]
id = "skc_8573429015935040"
name = "SDK tests"
secrets = ["test_0123456789abcdefghijklmnopqrstuvwxyz0123456789ab", "test_zyxwvutsrqponmlkjihgfedcba9876543210zyxwvutsrqpon"]

[[workspaces.environments.organizations]]
external_id = "acme-1"
name = "Acme Dev"

"#;
    format!("{dev}{}", &SEED[SEED.find("[[workspaces]]").unwrap()..])
}

fn start_at(origins: [&str; 3]) -> FirstStart {
    FirstStart {
        workspace_name: "Again".into(),
        system_origin: origins[0].into(),
        dev_origin: origins[1].into(),
        prd_origin: origins[2].into(),
        dev_client: SeedClient::default(),
        prd_client: SeedClient::default(),
    }
}

async fn rows<T: FromRow + Send + 'static>(core: &Core, sql: &'static str) -> Vec<T> {
    core.db.read(async move |tx| tx.all(sql, &[]).await).await.map_err(|error: DbError| error).unwrap()
}

/// How many rows each table has that a seed writes.
async fn counts(node: &TestCore) -> Vec<i64> {
    let mut counts = Vec::new();
    for sql in [
        "SELECT COUNT(*) FROM workspaces",
        "SELECT COUNT(*) FROM environments",
        "SELECT COUNT(*) FROM environment_hosts",
        "SELECT COUNT(*) FROM members",
        "SELECT COUNT(*) FROM clients",
        "SELECT COUNT(*) FROM client_secrets",
        "SELECT COUNT(*) FROM organizations",
        "SELECT COUNT(*) FROM events",
        "SELECT COUNT(*) FROM signing_keys",
        "SELECT COUNT(*) FROM data_keys",
        "SELECT COUNT(*) FROM roles",
        "SELECT COUNT(*) FROM permissions",
        "SELECT COUNT(*) FROM role_permissions",
    ] {
        counts.push(rows::<(i64,)>(node, sql).await[0].0);
    }
    counts
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn the_first_start_makes_what_every_environment_has(db: TestDb) {
        let node = node(db).await;
        assert_eq!(counts(&node).await, [1, 3, 3, 0, 3, 3, 1, 1, 3, 3, 6, 36, 42]);
        let roles: Vec<(String, i64, i64, i64)> = rows(
            &node,
            "SELECT roles.name, MAX(default_creator), MAX(default_member), COUNT(*) FROM roles JOIN role_permissions ON role_id = roles.id \
             JOIN environments ON environments.id = roles.environment_id WHERE kind = 2 GROUP BY roles.name ORDER BY roles.name",
        )
        .await;
        assert_eq!(roles, [("admin".into(), 1, 0, 12), ("member".into(), 0, 1, 2)]);
        let held: Vec<(String,)> = rows(
            &node,
            "SELECT permissions.name FROM permissions JOIN role_permissions ON permission_id = permissions.id JOIN roles ON roles.id = role_id \
             JOIN environments ON environments.id = roles.environment_id WHERE kind = 2 AND roles.name = 'member' ORDER BY permissions.name",
        )
        .await;
        assert_eq!(held, [("sk_org_settings_read".into(),), ("sk_org_users_read".into(),)]);
        let organizations: Vec<(String, i64)> = rows(&node, "SELECT display_name, environment_id FROM organizations").await;
        assert_eq!(organizations, [("Test Organization".to_owned(), node.dev.id.0)]);
        let client = async |environment, id: &str| clients::get(&node, environment, id).await.unwrap().unwrap();
        let (dev, prd) =
            (client(node.dev.id, &node.dev_client.client_id).await, client(node.prd.id, &node.prd_client.client_id).await);
        assert_eq!(dev.post_login_uris, ["http://localhost:*/*", "http://127.0.0.1:*/*"]);
        assert_eq!(dev.post_logout_redirect_uris, dev.post_login_uris);
        assert!(prd.post_login_uris.is_empty() && prd.post_logout_redirect_uris.is_empty());
        for (environment, client) in [(&node.dev, &node.dev_client), (&node.prd, &node.prd_client)] {
            let issued = issue(&node, environment, credentials(&client.client_id, client.secret.expose())).await.unwrap();
            assert!(caller(&node, environment, &issued.access_token).await.is_ok());
        }
        assert!(node.dev.has_feature("session_policy") && !node.dev.has_feature("teleport"));
        assert_eq!(node.dev.session.access_token_expiry.minutes, 5);
        assert_eq!(node.dev.session.client_access_token_expiry.minutes, 1_440);
    }

    async fn a_second_start_keeps_all_of_it(db: TestDb) {
        let node = node(db).await;
        let before = counts(&node).await;
        let again = first_start(&node, start_at(["https://x.test", "https://y.test", "https://z.test"])).await.unwrap();
        assert_eq!((again.dev, again.prd, again.system), (node.dev.id, node.prd.id, node.system.id));
        assert!(again.clients.is_none(), "a secret is shown once");
        assert_eq!(counts(&node).await, before);
        assert_eq!(environments::by_id(&node, node.dev.id).await.unwrap().unwrap().origin, "https://dev.test");
    }

    async fn ops_05_a_seed_file_waits_for_the_first_start(db: TestDb) {
        let core = Core::start(db.db(), testing::options(&db, MASTER_KEY)).await.unwrap();
        let error = seed::apply(&core, &seed_text()).await.expect_err("nothing is there yet");
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        let origins = ["https://auth.test", "https://dev.test", "https://prd.test"];
        assert!(first_start(&core, start_at(origins)).await.unwrap().clients.is_some(), "and it is not in the way");
    }

    async fn two_nodes_that_start_at_once_seed_one_database_once(db: TestDb) {
        if db.engine() == Engine::Sqlite {
            return;
        }
        let one = Core::start(db.db(), testing::options(&db, MASTER_KEY)).await.unwrap();
        let two = Core::start(db.db(), testing::options(&db, MASTER_KEY)).await.unwrap();
        let origins = ["https://auth.test", "https://dev.test", "https://prd.test"];
        let (one, two) = tokio::join!(first_start(&one, start_at(origins)), first_start(&two, start_at(origins)));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!((one.workspace, one.dev, one.prd), (two.workspace, two.dev, two.prd));
        assert_eq!([one.clients, two.clients].iter().filter(|clients| clients.is_some()).count(), 1);
    }

    async fn ops_05_a_seed_file_fixes_ids_and_secrets_and_applying_it_twice_changes_nothing(db: TestDb) {
        let node = node(db).await;
        let text = seed_text();
        let report = seed::apply(&node, &text).await.unwrap();
        assert_eq!(report.created.len(), 9, "{:?}", report.created);
        let fixed = environments::by_host(&node, "fixed.test").await.unwrap().expect("the environment");
        assert_eq!(fixed.id.to_string(), "env_100000000000002");
        for (environment, id, secret) in [
            (&fixed, "prd_skc_8573429015935040", "prod_0123456789abcdefghijklmnopqrstuvwxyz0123456789ab"),
            (&node.dev, "skc_8573429015935040", "test_0123456789abcdefghijklmnopqrstuvwxyz0123456789ab"),
            (&node.dev, "skc_8573429015935040", "test_zyxwvutsrqponmlkjihgfedcba9876543210zyxwvutsrqpon"),
        ] {
            let issued = issue(&node, environment, credentials(id, secret)).await.expect("the supplied credentials work");
            assert!(caller(&node, environment, &issued.access_token).await.is_ok());
        }
        let organization = narthex_core::ids::OrganizationId::parse("org_100000000000003").unwrap();
        assert_eq!(organizations::get(&node, fixed.id, &Identity::Id(organization)).await.unwrap().display_name, "Acme");
        assert!(organizations::get(&node, node.dev.id, &Identity::ExternalId("acme-1".into())).await.is_ok());
        let ada = members::by_email(&node, node.dev.workspace_id, "ada@acme.test").await.unwrap().expect("the operator");
        assert_eq!(ada.role, "owner");

        let before = counts(&node).await;
        let again = seed::apply(&node, &text).await.unwrap();
        assert_eq!(again.created, [] as [String; 0]);
        assert_eq!(counts(&node).await, before);
    }

    async fn ops_05_the_default_client_of_a_new_environment_has_the_settings_of_the_file(db: TestDb) {
        let node = node(db).await;
        let settings = "name = \"Portal\"\ncallbacks = [\"https://app.fixed.test/callback\"]\nscopes = [\"read\"]\naccess_token_expiry = 600\n";
        seed::apply(&node, &format!("{}{settings}", &SEED[SEED.find("[[workspaces]]").unwrap()..])).await.unwrap();
        let fixed = environments::by_host(&node, "fixed.test").await.unwrap().expect("the environment");
        let client = clients::get(&node, fixed.id, "prd_skc_8573429015935040").await.unwrap().expect("the client");
        assert!(client.is_default);
        assert_eq!((client.name.as_str(), client.access_token_expiry), ("Portal", Some(600)));
        assert_eq!((&*client.post_login_uris, &*client.scopes), (&["https://app.fixed.test/callback".to_owned()][..], &["read".to_owned()][..]));
    }

    async fn ops_05_a_seed_file_does_not_undo_what_people_have_changed(db: TestDb) {
        let node = node(db).await;
        seed::apply(&node, &seed_text()).await.unwrap();
        let client = clients::get(&node, node.dev.id, "skc_8573429015935040").await.unwrap().unwrap();
        let secret = client.secrets[0].id;
        clients::set_secret_status(&node, node.dev.id, &client.client_id, secret, clients::SecretStatus::Inactive).await.unwrap();
        assert_eq!(seed::apply(&node, &seed_text()).await.unwrap().created, [] as [String; 0]);
        let request = credentials(&client.client_id, "test_0123456789abcdefghijklmnopqrstuvwxyz0123456789ab");
        let refused = issue(&node, &node.dev, request).await.map(|_| ()).expect_err("revoked by a person");
        assert_eq!(refused.code, OAuthCode::InvalidClient);
    }

    async fn ops_05_a_bad_seed_file_is_refused_without_repeating_its_secrets(db: TestDb) {
        let node = node(db).await;
        let cases = [
            ("an unknown key", "[[workspaces]]\nnaem = \"test_verysecret\"\n"),
            ("a broken string", "[[workspaces]]\nname = \"test_verysecret\n"),
            ("no TOML", "{\"workspaces\": \"test_verysecret\"}"),
            ("a wrong type", "workspaces = \"test_verysecret\""),
            ("an unknown role", "[[workspaces]]\n[[workspaces.operators]]\nemail = \"a@b.test\"\nrole = \"root\"\n"),
            ("an id of another kind", "[[workspaces]]\nid = \"env_1\"\n"),
            ("an environment without origin", "[[workspaces]]\nname = \"New\"\n[[workspaces.environments]]\nkind = \"dev\"\n"),
            ("an origin with a path", "[[workspaces]]\n[[workspaces.environments]]\nkind = \"dev\"\norigin = \"https://a.test/x\"\n"),
            ("a guessable secret", "[[workspaces]]\n[[workspaces.environments]]\nkind = \"dev\"\n[[workspaces.environments.clients]]\nid = \"skc_5\"\nsecrets = [\"verysecret\"]\n"),
            ("a missing file", "[[workspaces]]\n[[workspaces.environments]]\nkind = \"dev\"\n[[workspaces.environments.clients]]\nid = \"skc_6\"\nsecrets = [\"file:/nowhere/at/all\"]\n"),
            ("a client of another form", "[[workspaces]]\n[[workspaces.environments]]\nkind = \"dev\"\n[[workspaces.environments.clients]]\nid = \"webc_5\"\n"),
            ("an organization that nothing finds again", "[[workspaces]]\n[[workspaces.environments]]\nkind = \"dev\"\n[[workspaces.environments.organizations]]\nname = \"X\"\n"),
        ];
        for (case, text) in cases {
            let error = seed::apply(&node, text).await.expect_err(case);
            assert_eq!(error.kind(), Kind::InvalidArgument, "{case}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("verysecret"), "{case}: {error}");
        }
        let error = seed::apply(&node, "\n\n[[workspaces]]\nnaem = \"x\"\n").await.expect_err("refused");
        assert!(error.message().contains("line 4") && error.message().contains("naem"), "{error}");
    }

    async fn ops_05_secrets_may_stand_in_files_of_their_own(db: TestDb) {
        let node = node(db).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "test_fromafile0123456789\n").unwrap();
        let text = format!(
            "[[workspaces]]\n[[workspaces.environments]]\nkind = \"dev\"\n[[workspaces.environments.clients]]\nid = \"skc_77\"\nsecrets = [\"file:{}\"]\n",
            path.display()
        );
        let error = seed::apply(&node, &text).await.expect_err("the server reads no file of the caller's");
        assert_eq!(error.kind(), Kind::InvalidArgument);
        seed::apply(&node, seed::with_secrets(&text).unwrap().expose()).await.unwrap();
        assert!(issue(&node, &node.dev, credentials("skc_77", "test_fromafile0123456789")).await.is_ok());
        let hashes: Vec<(Vec<u8>,)> = node.db
            .read(async |tx| tx.all("SELECT hash FROM client_secrets WHERE client_id = $1", &p!["skc_77"]).await)
            .await
            .map_err(|error: DbError| error)
            .unwrap();
        assert_eq!(hashes.len(), 1);
    }
}
