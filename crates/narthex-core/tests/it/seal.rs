//! Secrets at rest: sealed values, the master key, and what a copy of the database gives away.

use std::os::unix::fs::PermissionsExt;

use narthex_core::ids::EnvId;
use narthex_core::schema::Schema;
use narthex_core::seal::{self, MasterKey, MasterKeySource, Place, Secret};
use narthex_core::testing::{self, MASTER_KEY, TestCore};
use narthex_core::{Core, CoreOptions, Error, Kind, keys};
use narthex_db::testing::TestDb;
use narthex_db::{DbError, Engine};

use crate::node::{api_token, caller, node};

fn place(environment: EnvId, table: &'static str, column: &'static str, row: i64) -> Place<'static> {
    Place { environment, table, column, row }
}

/// Starts another process on the database; the first one keeps running, which the master key does not care about.
async fn start(node: &TestCore, master_key: MasterKeySource) -> Result<std::sync::Arc<Core>, Error> {
    let options = CoreOptions { master_key, ..testing::options(&node.database, MASTER_KEY) };
    Core::start(node.database.db(), options).await
}

/// Everything that the database holds, as text, with bytes in the spellings that a search might meet.
async fn dump(node: &TestCore) -> String {
    match node.db.engine() {
        Engine::Sqlite => {
            let folder = node.database.folder().expect("a folder");
            let mut all = String::new();
            for file in std::fs::read_dir(folder).unwrap() {
                let bytes = std::fs::read(file.unwrap().path()).unwrap();
                all.extend(bytes.iter().map(|&byte| char::from(byte)));
            }
            all
        }
        Engine::Postgres => {
            let tables: Vec<(String,)> = read(
                node,
                "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'",
            )
            .await;
            assert!(tables.len() > 15, "{}", tables.len());
            let mut all = String::new();
            for (table,) in tables {
                let sql: &'static str =
                    Box::leak(format!("SELECT CAST(row AS TEXT) FROM {table} AS row").into_boxed_str());
                let rows: Vec<(String,)> = read(node, sql).await;
                all.extend(rows.into_iter().map(|(row,)| row));
            }
            all
        }
    }
}

async fn read<T: narthex_db::FromRow + Send + 'static>(node: &TestCore, sql: &'static str) -> Vec<T> {
    node.db.read(async move |tx| tx.all(sql, &[]).await).await.map_err(|error: DbError| error).unwrap()
}

/// How the bytes of a secret would look in a dump.
fn spellings(engine: Engine, secret: &[u8]) -> Vec<String> {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let hex: String = secret.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    match engine {
        Engine::Sqlite => vec![secret.iter().map(|&byte| char::from(byte)).collect(), hex],
        Engine::Postgres => vec![String::from_utf8_lossy(secret).into_owned(), hex],
    }
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn a_sealed_value_opens_only_where_it_was_sealed_for(db: TestDb) {
        let node = node(db).await;
        let dev = node.dev.id;
        let here = place(dev, "connections", "client_secret", 7);
        let sealed = seal::seal(&node, here, b"hunter2 hunter2").await.unwrap();
        assert_eq!(seal::open(&node, here, &sealed).await.unwrap().expose(), b"hunter2 hunter2");
        let elsewhere = [
            place(dev, "connections", "client_secret", 8),
            place(dev, "connections", "other_secret", 7),
            place(dev, "directories", "client_secret", 7),
            place(dev, "connectionsclient", "_secret", 7),
            place(node.prd.id, "connections", "client_secret", 7),
        ];
        for elsewhere in elsewhere {
            assert!(seal::open(&node, elsewhere, &sealed).await.is_err(), "{elsewhere:?}");
        }
        let again = seal::seal(&node, here, b"hunter2 hunter2").await.unwrap();
        assert!(again != sealed, "equal secrets do not look equal");
        assert!(sealed.key_id().is_some());
    }

    async fn private_keys_swapped_between_two_rows_are_of_no_use(db: TestDb) {
        let node = node(db).await;
        // Whoever can write the database lets PRD sign with the key of DEV, which they know.
        let swap = async |tx: &mut narthex_db::Tx| {
            let sql = "SELECT id, private_key FROM signing_keys WHERE state = 2 ORDER BY id";
            let keys: Vec<(i64, Vec<u8>)> = tx.all(sql, &[]).await?;
            for (own, other) in [(0, 1), (1, 2), (2, 0)] {
                let sql = "UPDATE signing_keys SET private_key = $1 WHERE id = $2";
                tx.execute(sql, &narthex_db::p![&keys[other].1, keys[own].0]).await?;
            }
            Ok::<_, DbError>(())
        };
        node.db.write(swap).await.unwrap();
        let restarted = start(&node, MasterKeySource::Given(Secret::new(MASTER_KEY))).await.unwrap();
        for environment in [node.dev.id, node.prd.id, node.system.id] {
            let error = keys::signer(&restarted, environment, 60).await.map(|_| ()).expect_err("sealed for another row");
            assert_eq!(error.kind(), Kind::Internal);
            assert_eq!(error.message(), "internal error", "and the caller learns nothing");
        }
    }

    async fn an_altered_value_does_not_open(db: TestDb) {
        let node = node(db).await;
        let dev = node.dev.id;
        let alter = async |tx: &mut narthex_db::Tx| {
            let (id, mut key): (i64, Vec<u8>) = tx.one("SELECT id, private_key FROM signing_keys WHERE state = 2 ORDER BY id DESC LIMIT 1", &[]).await?;
            let last = key.len() - 1;
            key[last] ^= 1;
            tx.execute("UPDATE signing_keys SET private_key = $1 WHERE id = $2", &narthex_db::p![key, id]).await
        };
        node.db.write(alter).await.map_err(|error: DbError| error).unwrap();
        let restarted = start(&node, MasterKeySource::Given(Secret::new(MASTER_KEY))).await.unwrap();
        let mut refused = 0;
        for environment in [dev, node.prd.id, node.system.id] {
            refused += usize::from(keys::signer(&restarted, environment, 60).await.is_err());
        }
        assert_eq!(refused, 1);
    }

    async fn a_wrong_master_key_is_refused_at_the_start(db: TestDb) {
        let node = node(db).await;
        let error = start(&node, MasterKeySource::Given(Secret::new([8; 32]))).await.map(|_| ()).expect_err("refused");
        assert_eq!((error.kind(), error.code()), (Kind::FailedPrecondition, "MASTER_KEY_WRONG"));
        assert!(error.message().contains("wrong master key"), "{error}");
        assert!(start(&node, MasterKeySource::Given(Secret::new(MASTER_KEY))).await.is_ok());
    }

    async fn the_master_key_file_is_made_once_and_for_its_owner_only(db: TestDb) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let open = async |database: &TestDb| {
            let options = CoreOptions { master_key: MasterKeySource::File(path.clone()), ..testing::options(database, MASTER_KEY) };
            Core::start(database.db(), options).await
        };
        // A start that was killed while it wrote has left this behind, and nothing in the key's own place.
        let half = folder.path().join("master.key.new");
        std::fs::write(&half, "AAAA").unwrap();
        open(&db).await.expect("made at the first start");
        assert!(!half.exists(), "moved to its place whole");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), 43, "32 bytes in base64url");
        open(&db).await.expect("read at the second");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

        std::fs::write(&path, "not a key\n").unwrap();
        let error = open(&db).await.map(|_| ()).expect_err("unreadable");
        assert_eq!(error.code(), "MASTER_KEY_UNREADABLE");
        assert!(!error.message().contains("not a key"), "what the file holds is not repeated");
        std::fs::remove_file(&path).unwrap();
        let error = open(&db).await.map(|_| ()).expect_err("missing");
        assert_eq!(error.code(), "MASTER_KEY_UNREADABLE");
        assert!(!path.exists(), "a new one could open nothing, so none is made");
    }

    async fn rewrapping_moves_every_data_key_under_a_new_master_key(db: TestDb) {
        let node = node(db).await;
        let token = api_token(&node).await;
        let here = place(node.dev.id, "connections", "client_secret", 7);
        let sealed = seal::seal(&node, here, b"kept").await.unwrap();
        let new = Secret::new([9; 32]);
        assert_eq!(seal::rewrap(&node, &MasterKey::new(&new).unwrap()).await.unwrap(), 3);
        assert_eq!(seal::open(&node, here, &sealed).await.unwrap().expose(), b"kept", "a running node has its data keys");

        let old = start(&node, MasterKeySource::Given(Secret::new(MASTER_KEY))).await.map(|_| ()).expect_err("the old key");
        assert_eq!(old.code(), "MASTER_KEY_WRONG");
        let restarted = start(&node, MasterKeySource::Given(new)).await.expect("the new key");
        assert_eq!(seal::open(&restarted, here, &sealed).await.unwrap().expose(), b"kept");
        assert!(caller(&restarted, &node.dev, &token).await.is_ok());
        keys::signer(&restarted, node.dev.id, 60).await.map(|_| ()).expect("signs as before");
        // The node that still has the old key must not add what nobody could open.
        let toml = "[[workspaces]]\nname = \"Late\"\n[[workspaces.environments]]\nkind = \"dev\"\norigin = \"https://late.test\"\n";
        assert!(narthex_core::seed::apply(&node, toml).await.is_err());
        assert!(narthex_core::seed::apply(&restarted, toml).await.is_ok());
    }

    async fn a_copy_of_the_database_holds_no_secret(db: TestDb) {
        let node = node(db).await;
        let token = api_token(&node).await;
        keys::rotate(&node, node.dev.id, keys::OVERLAP).await.unwrap();
        let place = place(node.dev.id, "connections", "client_secret", 7);
        seal::seal(&node, place, b"a third party's secret").await.unwrap();
        let all = dump(&node).await;
        assert!(all.contains(&node.dev_client.client_id) && all.contains("sk_org_sso_manage"), "the dump holds the rows");

        let mut secrets: Vec<Vec<u8>> = vec![
            MASTER_KEY.to_vec(),
            token.clone().into_bytes(),
            token.rsplit('.').next().unwrap().as_bytes().to_vec(),
            node.dev_client.secret.expose().clone().into_bytes(),
            node.prd_client.secret.expose().clone().into_bytes(),
        ];
        // The heart of each private key: its PKCS#8 text differs from row to row only here.
        for turn in 0..8 {
            secrets.push(testing::rsa_key(turn)[700..764].to_vec());
        }
        for (at, secret) in secrets.iter().enumerate() {
            for spelling in spellings(node.db.engine(), secret) {
                assert!(!all.contains(&spelling), "secret number {at} is in the database");
            }
        }
        let sealed = dump(&node).await;
        assert!(!sealed.contains("third party"));
    }
}
