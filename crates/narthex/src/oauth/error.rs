//! Errors of the OAuth endpoints: RFC 6749 §5.2 JSON, never the management API's envelope.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use narthex_core::{Error, Kind};
use narthex_rpc::RateLimitInfo;
use serde::Serialize;

use super::no_store;
use crate::limits::Exceeded;
use crate::reply::{self, Body};

/// A refused OAuth request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthError {
    /// The `error` code.
    pub code: &'static str,
    /// `error_description`, for developers.
    pub description: String,
    /// HTTP status.
    pub status: StatusCode,
    /// Whether the client used Basic and failed: the answer then names the scheme (RFC 6749 §5.2).
    pub challenge: bool,
    /// Seconds until a retry makes sense.
    pub retry_after: Option<u32>,
    /// The limit that was exceeded.
    pub rate: RateLimitInfo,
}

impl OAuthError {
    /// An error with this code.
    pub fn new(status: StatusCode, code: &'static str, description: impl Into<String>) -> Self {
        Self {
            code,
            description: description.into(),
            status,
            challenge: false,
            retry_after: None,
            rate: RateLimitInfo::UNLIMITED,
        }
    }

    /// A malformed request.
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// A client that did not authenticate.
    pub fn invalid_client(description: impl Into<String>, basic: bool) -> Self {
        Self { challenge: basic, ..Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description) }
    }

    /// An error of this server's own. What it was goes to the log only.
    pub fn failed(error: &Error) -> Self {
        tracing::error!(?error, "an OAuth request failed");
        if error.kind() == Kind::Unavailable {
            let text = "temporarily unavailable, retry";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", text);
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal error")
    }

    /// Too many requests.
    pub fn rate_limited(retry_after: u32) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", "rate limit exceeded")
        }
    }

    /// Too many requests for one of this server's own limits.
    pub fn exceeded(exceeded: &Exceeded) -> Self {
        Self { rate: exceeded.bucket.info(), ..Self::rate_limited(exceeded.retry_after_seconds) }
    }

    /// The answer.
    pub fn response(&self) -> Response<Body> {
        #[derive(Serialize)]
        struct Shape<'a> {
            error: &'a str,
            error_description: &'a str,
        }
        let body =
            serde_json::to_vec(&Shape { error: self.code, error_description: &self.description }).unwrap_or_default();
        let mut response = reply::json(self.status, Bytes::from(body));
        no_store(response.headers_mut());
        if self.challenge {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"narthex\""));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        self.rate.write(response.headers_mut());
        response
    }
}
