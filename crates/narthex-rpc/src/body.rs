//! Bodies: reading a request's within its limits, and the body of a response.

use std::convert::Infallible;
use std::io::Read as _;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::poll_fn;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use narthex_core::{Error, Kind};

/// `error_code` of a request that is too large.
pub(crate) const TOO_LARGE: &str = "REQUEST_TOO_LARGE";

/// The body of a response: at most one chunk and at most one block of trailers.
#[derive(Debug, Default)]
pub struct RpcBody {
    data: Option<Bytes>,
    trailers: Option<Box<HeaderMap>>,
}

impl RpcBody {
    /// Nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// One chunk.
    pub fn full(data: impl Into<Bytes>) -> Self {
        Self { data: Some(data.into()), trailers: None }
    }

    /// One chunk and trailers.
    pub(crate) fn with_trailers(data: Bytes, trailers: HeaderMap) -> Self {
        Self { data: Some(data), trailers: Some(Box::new(trailers)) }
    }
}

impl Body for RpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(*trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // With trailers the length stays open: on HTTP/1.1 only a chunked body can carry them.
        match &self.trailers {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64)),
        }
    }
}

/// RESOURCE_EXHAUSTED, as gRPC has it for messages over the limit; REST shows 413.
pub(crate) fn too_large(limit: usize) -> Error {
    Error::new(Kind::ResourceExhausted, format!("the request is larger than {limit} bytes")).with_code(TOO_LARGE)
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let frame = frame.map_err(|cause| Error::new(Kind::Cancelled, "the request body broke off").because(cause))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        // Most bodies are one chunk, which needs no copy.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}

/// A compression that requests may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    /// By its name in `content-encoding` or `grpc-encoding`.
    pub fn named(name: &str) -> Option<Self> {
        match name.trim() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// Undoes the compression. The limit holds for what comes out: a bomb is given up as soon as it exceeds it.
    pub fn decompress(self, bytes: Bytes, limit: usize) -> Result<Bytes, Error> {
        let mut out = Vec::new();
        let stop = limit as u64 + 1;
        let read = match self {
            Self::Identity => return Ok(bytes),
            Self::Gzip => flate2::read::MultiGzDecoder::new(&bytes[..]).take(stop).read_to_end(&mut out),
            Self::Deflate => flate2::read::ZlibDecoder::new(&bytes[..]).take(stop).read_to_end(&mut out),
        };
        read.map_err(|cause| Error::new(Kind::InvalidArgument, "the compressed body is damaged").because(cause))?;
        if out.len() > limit { Err(too_large(limit)) } else { Ok(out.into()) }
    }
}
