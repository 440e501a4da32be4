//! Answers that are not RPCs: small, complete bodies.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use narthex_rpc::RpcBody;

/// Header with the id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The body of any answer of this server.
pub enum Body {
    /// Of an RPC.
    Rpc(RpcBody),
    /// One chunk, then trailers: gRPC outside the contract.
    Framed {
        /// The chunk, until it is sent.
        data: Option<Bytes>,
        /// The trailers, until they are sent.
        trailers: Option<Box<HeaderMap>>,
    },
    /// Of anything else.
    Full(Full<Bytes>),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Rpc(body) => Pin::new(body).poll_frame(context),
            Self::Framed { data, trailers } => {
                let frame =
                    data.take().map(Frame::data).or_else(|| trailers.take().map(|trailers| Frame::trailers(*trailers)));
                Poll::Ready(frame.map(Ok))
            }
            Self::Full(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Rpc(body) => body.is_end_stream(),
            Self::Framed { data, trailers } => data.is_none() && trailers.is_none(),
            Self::Full(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Rpc(body) => body.size_hint(),
            // Left open: on HTTP/1.1 only a chunked body can carry trailers.
            Self::Framed { .. } => SizeHint::default(),
            Self::Full(body) => body.size_hint(),
        }
    }
}

fn full(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Full(Full::new(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// JSON text.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    full(status, "application/json", body.into())
}

/// A JSON value.
pub fn value(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    json(status, value.to_string())
}

/// Plain text of the given type.
pub fn text(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    full(StatusCode::OK, content_type, body.into())
}

/// No body.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Full(Full::default()));
    *response.status_mut() = status;
    response
}

/// 404 in the shape of the management API's errors (control plane reference §15.1).
pub fn not_found() -> Response<Body> {
    plain_error(StatusCode::NOT_FOUND, 5, "NOT_FOUND", "not found")
}

/// An error of the server itself, kept beside its body until the request's id is known.
#[derive(Clone)]
struct PlainError(serde_json::Value);

/// An error of the server itself, in the shape of the management API's errors.
pub fn plain_error(status: StatusCode, code: u32, error_code: &str, message: &str) -> Response<Body> {
    let error = serde_json::json!({
        "code": code,
        "message": message,
        "details": [{"@type": "type.googleapis.com/scalekit.v1.errdetails.ErrorInfo", "error_code": error_code}],
    });
    let mut response = value(status, &error);
    response.extensions_mut().insert(PlainError(error));
    response
}

/// Gives the answer the id of its request: as a header, and in the body of an error, as every error of the management API has it.
pub fn with_request_id(mut response: Response<Body>, request_id: &str) -> Response<Body> {
    if let Some(PlainError(mut error)) = response.extensions_mut().remove::<PlainError>() {
        error["details"][0]["request_info"] = serde_json::json!({ "request_id": request_id });
        *response.body_mut() = Body::Full(Full::from(error.to_string()));
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// 405 that names what would do.
pub fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = plain_error(StatusCode::METHOD_NOT_ALLOWED, 12, "UNIMPLEMENTED", "method not allowed");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
