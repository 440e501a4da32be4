//! Questions to the domain name system, handed in: a resolver in production, records in the test's hand.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// An answer that takes its time.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<String>, DnsError>> + Send + 'a>>;

/// Who is asked for DNS records.
pub trait Dns: fmt::Debug + Send + Sync + 'static {
    /// The TXT records of a name, the character strings of each joined (RFC 7208 §3.3). A name without any, or that does not exist,
    /// has none: that is no error.
    fn txt<'a>(&'a self, name: &'a str) -> Answer<'a>;
}

/// A question that got no answer: it says nothing about the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsError(pub String);

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DnsError {}

/// Nobody: for programs that verify no domains. Every question fails.
#[derive(Debug, Clone, Copy)]
pub struct NoDns;

impl Dns for NoDns {
    fn txt<'a>(&'a self, _name: &'a str) -> Answer<'a> {
        Box::pin(async { Err(DnsError("no DNS resolver is configured".to_owned())) })
    }
}
