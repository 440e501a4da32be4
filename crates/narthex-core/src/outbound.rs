//! HTTP requests to servers of the customers', handed in: a guarded client in production, one that remembers in tests.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// An answer that takes its time.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, OutboundError>> + Send + 'a>>;

/// Who sends requests to addresses that a customer has named.
pub trait Outbound: fmt::Debug + Send + Sync + 'static {
    /// Sends a request and waits for the answer. A redirect is an answer like any other.
    fn send(&self, request: Request) -> Answering<'_>;
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// An absolute http or https URL.
    pub url: String,
    /// Headers beside those of the transport, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// For the whole of it.
    pub timeout: Duration,
    /// Longest body of the answer, in bytes; a longer one is a failure.
    pub most: usize,
    /// Whether it is sent for a DEV environment: then, and only on a developer's own machine, it may go to that machine.
    pub for_development: bool,
}

impl Request {
    /// A form, sent by POST.
    pub fn form(url: impl Into<String>, body: String) -> Self {
        Self {
            method: "POST",
            url: url.into(),
            headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
            body: body.into_bytes(),
            timeout: Duration::from_secs(10),
            most: 64 * 1024,
            for_development: false,
        }
    }
}

/// Bodies carry tokens, and URLs tell of customers.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).finish_non_exhaustive()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Any 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A request that got no answer; what it says may be shown to the customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundError {
    /// The URL is none that may be called.
    Refused(&'static str),
    /// Nobody has answered, or not well.
    Failed(String),
}

impl fmt::Display for OutboundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) => f.write_str(text),
            Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for OutboundError {}

/// Nobody: for programs that call nobody. Every request fails.
#[derive(Debug, Clone, Copy)]
pub struct NoOutbound;

impl Outbound for NoOutbound {
    fn send(&self, _request: Request) -> Answering<'_> {
        Box::pin(async { Err(OutboundError::Failed("no HTTP client is configured".to_owned())) })
    }
}
