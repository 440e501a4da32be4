//! Stylesheet, script and icon of the pages, in the program. Their URLs carry a hash of their content, so that browsers keep them for good.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;

use crate::reply::{self, Body};

/// Path under which they are served.
pub const PREFIX: &str = "/a/assets/";

/// A file.
pub struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static [u8],
    path: &'static str,
}

impl Asset {
    /// Its URL: `/a/assets/<name>.<hash>.<extension>`.
    pub fn path(&self) -> &'static str {
        self.path
    }
}

/// 64-bit FNV-1a: it only has to differ between versions of one file.
const fn hash(content: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < content.len() {
        hash = (hash ^ content[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// `/a/assets/NAME.0123456789abcdef.EXTENSION`, at compile time; `L` is its length.
const fn path_of<const L: usize>(name: &str, extension: &str, content: &[u8]) -> [u8; L] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut path = [0_u8; L];
    let mut end = 0;
    let parts: [&[u8]; 2] = [PREFIX.as_bytes(), name.as_bytes()];
    let mut part = 0;
    while part < parts.len() {
        let mut at = 0;
        while at < parts[part].len() {
            path[end] = parts[part][at];
            end += 1;
            at += 1;
        }
        part += 1;
    }
    path[end] = b'.';
    end += 1;
    let hash = hash(content);
    let mut digit = 0;
    while digit < 16 {
        path[end] = DIGITS[((hash >> (60 - digit * 4)) & 15) as usize];
        end += 1;
        digit += 1;
    }
    path[end] = b'.';
    end += 1;
    let mut at = 0;
    while at < extension.len() {
        path[end] = extension.as_bytes()[at];
        end += 1;
        at += 1;
    }
    path
}

macro_rules! asset {
    ($name:literal, $extension:literal, $content_type:literal) => {{
        const CONTENT: &[u8] = include_bytes!(concat!("assets/", $name, ".", $extension));
        const LENGTH: usize = PREFIX.len() + $name.len() + 18 + $extension.len();
        const PATH: [u8; LENGTH] = path_of::<LENGTH>($name, $extension, CONTENT);
        const TEXT: &str = match std::str::from_utf8(&PATH) {
            Ok(text) => text,
            Err(_) => panic!("paths are ASCII"),
        };
        Asset { name: $name, content_type: $content_type, content: CONTENT, path: TEXT }
    }};
}

/// The stylesheet.
pub const STYLE: Asset = asset!("pages", "css", "text/css; charset=utf-8");
/// The script.
pub const SCRIPT: Asset = asset!("pages", "js", "text/javascript; charset=utf-8");
/// The icon of an environment without one.
pub const ICON: Asset = asset!("icon", "svg", "image/svg+xml");

const ALL: [&Asset; 3] = [&STYLE, &SCRIPT, &ICON];

/// The files, as browsers take them.
pub struct Assets {
    /// Those of [`ALL`] with gzip, made once: nothing secret is in them, so that their length may tell of it. The pages, which do
    /// hold secrets beside what a visitor has typed, are never compressed (BREACH).
    gzipped: [Bytes; ALL.len()],
}

impl Default for Assets {
    fn default() -> Self {
        Self { gzipped: ALL.map(|asset| gzipped(asset.content)) }
    }
}

impl Assets {
    /// Answers a path under [`PREFIX`].
    pub fn serve(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return reply::method_not_allowed("GET, HEAD");
        }
        let Some(index) = named(path) else { return reply::not_found() };
        let mut response = plain(ALL[index], path);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if takes_gzip(headers) {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            *response.body_mut() = Body::Full(Full::new(self.gzipped[index].clone()));
        }
        response
    }
}

/// The place in [`ALL`] of the file that a path names, whatever its hash.
fn named(path: &str) -> Option<usize> {
    let file = path.strip_prefix(PREFIX).unwrap_or_default();
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    let is_named =
        |asset: &&Asset| file.split('.').next() == Some(asset.name) && asset.path.ends_with(&format!(".{extension}"));
    ALL.iter().position(is_named)
}

fn gzipped(content: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Memory takes everything; an empty answer would be seen at once.
    let written = encoder.write_all(content).and_then(|()| encoder.finish());
    written.map(Bytes::from).unwrap_or_default()
}

/// Whether a browser says that it takes gzip (RFC 9110 §12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|list| list.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        is_gzip && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// A file as it is.
fn plain(asset: &Asset, path: &str) -> Response<Body> {
    let mut response = Response::new(Body::Full(Full::new(Bytes::from_static(asset.content))));
    *response.status_mut() = StatusCode::OK;
    // While nodes of two versions run, a page of one may ask the other for its files: it gets what there is, but must not keep it.
    let keep = if asset.path == path { "public, max-age=31536000, immutable" } else { "no-store" };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    // An icon that is opened by itself is a document: it may run nothing.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    response
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use http_body_util::BodyExt as _;

    use super::*;

    fn serve(method: &Method, path: &str) -> Response<Body> {
        Assets::default().serve(method, path, &HeaderMap::new())
    }

    #[tokio::test]
    async fn an_asset_is_compressed_for_whoever_takes_that() {
        let assets = Assets::default();
        for (asked, gzip) in [
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=x", false),
            ("br, xgzip", false),
            ("", false),
        ] {
            for asset in ALL {
                let mut headers = HeaderMap::new();
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(asked));
                let answer = assets.serve(&Method::GET, asset.path(), &headers);
                assert_eq!(answer.headers()[header::VARY], "accept-encoding");
                assert_eq!(answer.headers().contains_key(header::CONTENT_ENCODING), gzip, "{asked}");
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                let mut text = Vec::new();
                if gzip {
                    assert!(body.len() < asset.content.len(), "{}", asset.name);
                    GzDecoder::new(&body[..]).read_to_end(&mut text).unwrap();
                } else {
                    text.extend_from_slice(&body);
                }
                assert_eq!(text, asset.content);
            }
        }
    }

    #[test]
    fn an_asset_is_kept_for_good_under_its_own_hash_only() {
        for asset in ALL {
            let answer = serve(&Method::GET, asset.path());
            assert_eq!(answer.status(), StatusCode::OK, "{}", asset.path());
            assert_eq!(answer.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
            let (stem, extension) = asset.path().rsplit_once('.').unwrap_or_default();
            let (stem, _) = stem.rsplit_once('.').unwrap_or_default();
            let older = serve(&Method::GET, &format!("{stem}.0000000000000000.{extension}"));
            assert_eq!(
                (older.status(), older.headers()[header::CACHE_CONTROL].as_bytes()),
                (StatusCode::OK, &b"no-store"[..])
            );
        }
        for path in [
            "/a/assets/",
            "/a/assets/pages",
            "/a/assets/pages.svg",
            "/a/assets/../pages.css",
            "/a/assets/x.0.css",
            "/a/assets/.css",
        ] {
            assert_eq!(serve(&Method::GET, path).status(), StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(serve(&Method::POST, STYLE.path()).status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_ne!(STYLE.path(), SCRIPT.path());
    }
}
