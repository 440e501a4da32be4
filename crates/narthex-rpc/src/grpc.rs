//! gRPC framing of unary calls (gRPC over HTTP/2 spec; sdk-clients reference §3.3).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, TRAILER};
use http::{HeaderMap, HeaderValue, Response, Version};
use narthex_core::{Error, Kind};

use crate::body::{Coding, RpcBody};

/// Bytes before a message: a flag for compression, and its length.
pub(crate) const PREFIX: usize = 5;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Whether a content type is gRPC with protobuf messages.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let Some((head, rest)) = content_type.split_at_checked("application/grpc".len()) else { return false };
    head.eq_ignore_ascii_case("application/grpc")
        && (rest.is_empty() || rest.starts_with(';') || rest.starts_with("+proto"))
}

/// `grpc-timeout`: up to eight digits and a unit.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    let malformed = || Error::new(Kind::InvalidArgument, "grpc-timeout is malformed");
    let (unit, digits) = value.as_bytes().split_last().ok_or_else(malformed)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let amount = digits.iter().fold(0u64, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    Ok(Some(match unit {
        b'H' => Duration::from_secs(amount * 3_600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return Err(malformed()),
    }))
}

/// The one message of a unary request.
pub(crate) fn unframe(body: &Bytes, headers: &HeaderMap, limit: usize) -> Result<Bytes, Error> {
    let one = || Error::new(Kind::InvalidArgument, "the body must be exactly one gRPC message");
    let Some((&[flag, a, b, c, d], _)) = body.split_first_chunk::<PREFIX>() else { return Err(one()) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if body.len() - PREFIX != length {
        return Err(one());
    }
    let message = body.slice(PREFIX..);
    match flag {
        0 => Ok(message),
        1 => {
            let name = headers.get(GRPC_ENCODING).and_then(|name| name.to_str().ok()).unwrap_or("");
            match Coding::named(name) {
                Some(coding) => coding.decompress(message, limit),
                None => Err(Error::new(Kind::Unimplemented, "grpc-encoding must be identity, gzip or deflate")),
            }
        }
        _ => Err(Error::new(Kind::InvalidArgument, "the compression flag must be 0 or 1")),
    }
}

fn response(body: RpcBody) -> Response<RpcBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A message and the trailers of success. `framed` has [`PREFIX`] bytes of room in front.
pub(crate) fn success(mut framed: Vec<u8>, version: Version) -> Response<RpcBody> {
    let length = u32::try_from(framed.len() - PREFIX).unwrap_or(u32::MAX);
    framed[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let mut response = response(RpcBody::with_trailers(framed.into(), trailers));
    if version < Version::HTTP_2 {
        // hyper sends only those HTTP/1.1 trailers that the header names, and Go's client needs them.
        let names = HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin");
        response.headers_mut().insert(TRAILER, names);
    }
    response
}

/// A failure: everything in the header block (a trailers-only reply). `status` is the encoded `google.rpc.Status`.
pub(crate) fn failure(kind: Kind, message: &str, status: &[u8]) -> Response<RpcBody> {
    let mut response = response(RpcBody::empty());
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS, HeaderValue::from(kind as u16));
    headers.insert(GRPC_MESSAGE, percent_encode(message));
    if let Ok(details) = HeaderValue::try_from(STANDARD_NO_PAD.encode(status)) {
        headers.insert(GRPC_DETAILS, details);
    }
    if kind == Kind::Unimplemented {
        headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,deflate"));
    }
    response
}

/// The message as the gRPC spec has it in a header: printable ASCII but `%` stands for itself.
fn percent_encode(message: &str) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Vec::with_capacity(message.len());
    for &byte in message.as_bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(byte);
        } else {
            encoded.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    HeaderValue::from_bytes(&encoded).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn every_unit_of_grpc_timeout_is_known() {
        for (text, duration) in [
            ("1H", Duration::from_hours(1)),
            ("2M", Duration::from_mins(2)),
            ("20S", Duration::from_secs(20)),
            ("20000m", Duration::from_secs(20)),
            ("9999991u", Duration::from_micros(9_999_991)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("0m", Duration::ZERO),
        ] {
            assert_eq!(timeout(&with(GRPC_TIMEOUT, text)).unwrap(), Some(duration), "{text}");
        }
        assert_eq!(timeout(&HeaderMap::new()).unwrap(), None);
        for text in ["", "1", "S", "123456789S", "1s", "-1S", "1 S", "1.5S"] {
            assert!(timeout(&with(GRPC_TIMEOUT, text)).is_err(), "{text}");
        }
    }

    #[test]
    fn content_types_are_matched_by_prefix() {
        for text in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "Application/gRPC"]
        {
            assert!(is_grpc(&with(CONTENT_TYPE, text)), "{text}");
        }
        for text in [
            "application/json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc+json",
            "text/plain",
        ] {
            assert!(!is_grpc(&with(CONTENT_TYPE, text)), "{text}");
        }
    }

    #[test]
    fn a_message_in_a_header_is_percent_encoded() {
        assert_eq!(percent_encode("100% schön\n\u{1f600}"), "100%25 sch%C3%B6n%0A%F0%9F%98%80");
    }

    #[test]
    fn a_request_is_exactly_one_message() {
        let none = HeaderMap::new();
        let frame = |bytes: &'static [u8]| unframe(&Bytes::from_static(bytes), &none, 100);
        assert_eq!(frame(&[0, 0, 0, 0, 2, 7, 8]).unwrap(), Bytes::from_static(&[7, 8]));
        assert_eq!(frame(&[0, 0, 0, 0, 0]).unwrap(), Bytes::new());
        for bad in [
            &[][..],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0, 3, 1, 2],
            &[0, 0, 0, 0, 1, 1, 2],
            &[2, 0, 0, 0, 0],
            &[0, 255, 255, 255, 255],
        ] {
            assert!(frame(bad).is_err(), "{bad:?}");
        }
    }
}
