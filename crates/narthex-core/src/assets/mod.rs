//! Images and fonts of the hosted pages, which operators send to an address made for one of them.
//!
//! What a file is, its first bytes say: the extension of its address and the type that it is served with are theirs, so that nothing
//! else than an image or a font ever comes from the environment's own origin.

use std::time::Duration;

use narthex_db::p;

use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::ids::{AssetId, EnvId};
use crate::organizations::share;
use crate::seal::{Secret, sha256};

/// Largest file.
pub const LARGEST: usize = 2 * 1024 * 1024;
/// How long an address to send to is good.
const PATIENCE: Duration = Duration::from_mins(15);
/// Assets of one environment.
const MOST: i64 = 500;
/// Characters of the secret in an address: about 256 bits.
const LENGTH: usize = 43;

/// What a file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the formats under their own names
pub enum Format {
    Jpeg,
    Png,
    Woff,
    Woff2,
    Ttf,
}

impl Format {
    /// The format of an extension.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "jpg" | "jpeg" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            "woff" => Some(Self::Woff),
            "woff2" => Some(Self::Woff2),
            "ttf" => Some(Self::Ttf),
            _ => None,
        }
    }

    /// Whether it is an image, rather than a font.
    pub const fn is_image(self) -> bool {
        matches!(self, Self::Jpeg | Self::Png)
    }

    /// Media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Woff => "font/woff",
            Self::Woff2 => "font/woff2",
            Self::Ttf => "font/ttf",
        }
    }

    /// Whether a file begins as its format does.
    fn fits(self, content: &[u8]) -> bool {
        let beginnings: &[&[u8]] = match self {
            Self::Jpeg => &[b"\xff\xd8\xff"],
            Self::Png => &[b"\x89PNG\r\n\x1a\n"],
            Self::Woff => &[b"wOFF"],
            Self::Woff2 => &[b"wOF2"],
            Self::Ttf => &[b"\x00\x01\x00\x00", b"true"],
        };
        beginnings.iter().any(|beginning| content.starts_with(beginning))
    }
}

/// An asset whose file has yet to come.
pub struct NewAsset {
    /// Id.
    pub id: AssetId,
    /// Secret of the address that the file is sent to.
    pub upload: Secret<String>,
}

/// A file as it is served.
pub struct File {
    /// What it is.
    pub format: Format,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Makes room for a file. `extension` is one of a [`Format`]. FAILED_PRECONDITION when the environment has as many as it may have.
pub async fn create(core: &Core, environment: EnvId, extension: &str) -> Result<NewAsset> {
    if Format::of_extension(extension).is_none() {
        return Err(Error::invalid(
            "asset_settings.extension",
            "string.in",
            "must be jpg, jpeg, png, woff, woff2 or ttf",
        ));
    }
    let id = AssetId::new(&core.ids);
    let secret = core.random.base62(LENGTH);
    let (hash, extension, now) = (sha256(secret.as_bytes()), extension.to_owned(), core.clock.now());
    core.db
        .write_for(share(environment), async move |tx| {
            let sql = "SELECT COUNT(*) FROM assets WHERE environment_id = $1";
            let (count,): (i64,) = tx.one(sql, &p![environment]).await?;
            if count >= MOST {
                return Err(Error::new(Kind::FailedPrecondition, format!("the environment has {MOST} assets already")));
            }
            let sql = "INSERT INTO assets (id, environment_id, extension, content, upload_hash, created_at, expires_at) \
                       VALUES ($1, $2, $3, NULL, $4, $5, $6)";
            tx.execute(sql, &p![id, environment, &extension, hash, now, now.plus(PATIENCE)]).await?;
            Ok(())
        })
        .await?;
    Ok(NewAsset { id, upload: Secret::new(secret) })
}

/// Takes the file that was sent to an address. NOT_FOUND for an address that is none, is too old, or was used; INVALID_ARGUMENT for a
/// file that is large or of another format, after which the address is still good.
pub async fn upload(core: &Core, environment: EnvId, secret: &str, content: Vec<u8>) -> Result<()> {
    let not_found = || Error::not_found("upload");
    if secret.len() != LENGTH {
        return Err(not_found());
    }
    let (hash, now) = (sha256(secret.as_bytes()), core.clock.now());
    let sql = "SELECT extension FROM assets WHERE upload_hash = $1 AND environment_id = $2 AND expires_at > $3";
    let found: Option<(String,)> = core.db.reader().await?.opt(sql, &p![hash, environment, now]).await?;
    let (extension,) = found.ok_or_else(not_found)?;
    let format = Format::of_extension(&extension).ok_or_else(|| Error::internal("an asset of an unknown format"))?;
    if content.len() > LARGEST {
        return Err(Error::invalid("content", "asset.size", format!("must be at most {LARGEST} bytes")));
    }
    if !format.fits(&content) {
        return Err(Error::invalid("content", "asset.format", format!("is not a {extension} file")));
    }
    core.db
        .write_for(share(environment), async move |tx| {
            let sql = "UPDATE assets SET content = $1, upload_hash = NULL, expires_at = NULL \
                       WHERE upload_hash = $2 AND environment_id = $3 AND expires_at > $4";
            match tx.execute(sql, &p![&content, hash, environment, now]).await? {
                0 => Err(Error::not_found("upload")),
                _ => Ok(()),
            }
        })
        .await
}

/// The file of an asset; `None` before it has come.
pub async fn file(core: &Core, environment: EnvId, id: AssetId) -> Result<Option<File>> {
    let sql = "SELECT extension, content FROM assets WHERE id = $1 AND environment_id = $2 AND content IS NOT NULL";
    let found: Option<(String, Vec<u8>)> = core.db.reader().await?.opt(sql, &p![id, environment]).await?;
    Ok(found.and_then(|(extension, content)| Some(File { format: Format::of_extension(&extension)?, content })))
}
