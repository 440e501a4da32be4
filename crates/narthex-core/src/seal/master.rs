//! The master key: 32 bytes that live outside the database and its backups.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use narthex_db::{Db, DbError, p};
use zeroize::Zeroizing;

use super::{Cipher, Secret};
use crate::clock::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::random::Random;

/// What the check value of a master key says.
const CHECK: &[u8] = b"narthex master key check";

const KNOWN: &str = "SELECT id, check_value, active FROM master_keys ORDER BY id";

/// Code of the error for a master key that is not the one that the database is sealed by.
pub const MASTER_KEY_WRONG: &str = "MASTER_KEY_WRONG";
/// Code of the error for a master key that cannot be read or made.
pub const MASTER_KEY_UNREADABLE: &str = "MASTER_KEY_UNREADABLE";

/// Where the master key comes from.
#[derive(Clone)]
pub enum MasterKeySource {
    /// A file with the key in base64url. Made, with mode 0600, if neither it nor a key in the database exists.
    File(PathBuf),
    /// The key itself, for example from a variable or a secret store.
    Given(Secret<[u8; 32]>),
}

/// A master key, ready for use.
pub struct MasterKey {
    cipher: Cipher,
    id: String,
}

impl MasterKey {
    /// Prepares a key.
    pub fn new(bytes: &Secret<[u8; 32]>) -> Result<Self> {
        // The name of a key is a keyed hash of a constant: it tells two keys apart and says nothing about either.
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes.expose()), b"narthex master key id");
        Ok(Self { cipher: Cipher::new(bytes.expose())?, id: URL_SAFE_NO_PAD.encode(&tag.as_ref()[..9]) })
    }

    /// Reads a key as [`MasterKeySource::File`] holds it.
    pub fn parse(text: &str) -> Option<Secret<[u8; 32]>> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim()).ok()?);
        <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Secret::new)
    }

    /// Its name in the database.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn seal(&self, random: &Random, associated: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        self.cipher.seal(random, 0, associated, plaintext)
    }

    pub(super) fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>> {
        self.cipher.open(associated, sealed)
    }
}

/// The keys this process can open the database with.
pub struct Keyring {
    master: MasterKey,
}

impl Keyring {
    /// Gets the master key and compares it with the database, which learns of it if it knows none yet.
    pub(crate) async fn unlock(db: &Db, source: &MasterKeySource, random: &Random, now: Timestamp) -> Result<Self> {
        let known: Vec<(String, Vec<u8>, bool)> = db.reader().await?.all(KNOWN, &[]).await?;
        let bytes = match source {
            MasterKeySource::Given(bytes) => bytes.clone(),
            MasterKeySource::File(path) => read_or_create(path, known.is_empty(), random)?,
        };
        let master = MasterKey::new(&bytes)?;
        let known = if known.is_empty() { introduce(db, &master, random, now).await? } else { known };
        match known.iter().find(|(id, _, active)| *id == master.id && *active) {
            Some((_, check, _)) if master.open(CHECK, check).is_ok_and(|text| text.expose() == CHECK) => {
                Ok(Self { master })
            }
            _ => Err(Error::new(
                Kind::FailedPrecondition,
                format!(
                    "wrong master key: this database is sealed by key {}, the one given is {}",
                    known
                        .iter()
                        .filter(|(.., active)| *active)
                        .map(|(id, ..)| id.as_str())
                        .collect::<Vec<_>>()
                        .join(", "),
                    master.id
                ),
            )
            .with_code(MASTER_KEY_WRONG)),
        }
    }

    /// The master key that new data keys are sealed by.
    pub fn master(&self) -> &MasterKey {
        &self.master
    }
}

/// Registers the first master key. If another node was faster, its key stands and ours will not match.
async fn introduce(
    db: &Db,
    master: &MasterKey,
    random: &Random,
    now: Timestamp,
) -> Result<Vec<(String, Vec<u8>, bool)>> {
    let (id, check) = (master.id.clone(), master.seal(random, CHECK, CHECK)?);
    db.write(async move |tx| {
        let known = tx.all::<(String, Vec<u8>, bool)>(KNOWN, &[]).await?;
        if !known.is_empty() {
            return Ok(known);
        }
        let sql = "INSERT INTO master_keys (id, check_value, active, created_at) VALUES ($1, $2, 1, $3)";
        tx.execute(sql, &p![&id, &check, now]).await?;
        tx.all(KNOWN, &[]).await
    })
    .await
    .map_err(|error: DbError| error.into())
}

/// The check value of a further master key, for the row that introduces it.
pub(super) fn check_value(master: &MasterKey, random: &Random) -> Result<Vec<u8>> {
    master.seal(random, CHECK, CHECK)
}

fn read_or_create(path: &Path, may_create: bool, random: &Random) -> Result<Secret<[u8; 32]>> {
    let refuse = |what: String| Error::new(Kind::FailedPrecondition, what).with_code(MASTER_KEY_UNREADABLE);
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => {
            warn_if_others_may_read(path);
            MasterKey::parse(&text).ok_or_else(|| {
                refuse(format!("{} holds no master key: 32 bytes in base64url are expected", path.display()))
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_create => {
            let key = Secret::new(random.bytes::<32>());
            create(path, &key)
                .map_err(|error| refuse(format!("cannot write the master key to {}: {error}", path.display())))?;
            Ok(key)
        }
        Err(error) => Err(refuse(format!(
            "cannot read the master key from {}: {error}; the database cannot be opened without it",
            path.display()
        ))),
    }
}

/// On disk and flushed, directory entry included, before anything is sealed with it. Written beside its place first: a process that is
/// killed here leaves no half of a key, which the next start would have to refuse.
fn create(path: &Path, key: &Secret<[u8; 32]>) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // What an earlier attempt has left was never the key of anything, whatever its mode is.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(key.expose()));
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn warn_if_others_may_read(path: &Path) {
    // Not an error: secrets mounted into containers are often readable to the group.
    if fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "the master key file can be read by others than its owner");
    }
}
