//! The resolver of the machine, behind the core's port.

use std::fmt;
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use narthex_core::dns::{Answer, Dns, DnsError, NoDns};

/// Asks the name servers that the machine is configured with. Nothing is kept: a record is looked for because it may be new.
pub struct SystemDns(TokioResolver);

impl SystemDns {
    /// The resolver, as `/etc/resolv.conf` describes it.
    pub fn new() -> Result<Self, DnsError> {
        let mut builder = TokioResolver::builder_tokio().map_err(|error| DnsError(error.to_string()))?;
        builder.options_mut().cache_size = 0;
        builder.build().map(Self).map_err(|error| DnsError(error.to_string()))
    }
}

impl fmt::Debug for SystemDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemDns").finish_non_exhaustive()
    }
}

/// The machine's resolver, or nobody where the machine has none: domains then wait for their proof, and all else works.
pub fn system() -> Arc<dyn Dns> {
    match SystemDns::new() {
        Ok(dns) => Arc::new(dns),
        Err(error) => {
            tracing::warn!(%error, "no DNS resolver: domains cannot be verified by a record");
            Arc::new(NoDns)
        }
    }
}

impl Dns for SystemDns {
    fn txt<'a>(&'a self, name: &'a str) -> Answer<'a> {
        Box::pin(async move {
            // With a dot at the end, so that no search domain of the machine is tried.
            let answer = match self.0.txt_lookup(format!("{name}.")).await {
                Ok(answer) => answer,
                Err(error) if error.is_no_records_found() || error.is_nx_domain() => return Ok(Vec::new()),
                Err(error) => return Err(DnsError(error.to_string())),
            };
            let text = |data: &RData| match data {
                RData::TXT(record) => String::from_utf8(record.txt_data.concat()).ok(),
                _ => None,
            };
            Ok(answer.answers().iter().filter_map(|record| text(&record.data)).collect())
        })
    }
}
