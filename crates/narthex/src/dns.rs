//! The resolver of the machine, behind the core's port.

use std::fmt;
use std::sync::Arc;

use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use narthex_core::dns::{Answer, Dns, DnsError, NoDns};

/// Asks the name servers that the machine is configured with. Nothing is kept: a record is looked for because it may be new.
pub struct SystemDns(TokioResolver);

impl SystemDns {
    /// The resolver, as `/etc/resolv.conf` describes it.
    pub fn new() -> Result<Self, DnsError> {
        TokioResolver::builder_tokio().map_err(failure).and_then(Self::of)
    }

    fn of(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<Self, DnsError> {
        builder.options_mut().cache_size = 0;
        builder.build().map(Self).map_err(failure)
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
            // With a dot at the end, so that no search domain of the machine is tried; as it is, since names of records have underscores.
            let name = Name::from_ascii(format!("{name}.")).map_err(failure)?;
            let answer = match self.0.txt_lookup(name).await {
                Ok(answer) => answer,
                Err(error) if error.is_no_records_found() || error.is_nx_domain() => return Ok(Vec::new()),
                Err(error) => return Err(failure(error)),
            };
            let text = |data: &RData| match data {
                RData::TXT(record) => String::from_utf8(record.txt_data.concat()).ok(),
                _ => None,
            };
            Ok(answer.answers().iter().filter_map(|record| text(&record.data)).collect())
        })
    }
}

fn failure(error: impl fmt::Display) -> DnsError {
    DnsError(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use tokio::net::UdpSocket;

    use super::*;

    /// Reads a query's name (RFC 1035 §4.1.2), and how long the question is.
    fn question(query: &[u8]) -> (String, usize) {
        let (mut at, mut labels) = (12, Vec::new());
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(String::from_utf8(query[at + 1..end].to_vec()).expect("ASCII"));
            at = end;
        }
        (labels.join(".").to_lowercase(), at + 5 - 12)
    }

    /// A name server on loopback.
    async fn name_server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        tokio::spawn(async move {
            let mut buffer = [0; 1_500];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let query = &buffer[..length];
                let (name, question_length) = question(query);
                let (code, records): (u8, &[&[&str]]) = match name.as_str() {
                    "acme.test" => (0, &[&["v=spf1 -all"], &["narthex-verify-", "dom_1=secret"]]),
                    "narthex-verify-dom_1.acme.test" => (0, &[&["secret"]]),
                    "empty.test" => (0, &[]),
                    "broken.test" => (2, &[]),
                    _ => (3, &[]),
                };
                let count = u8::try_from(records.len()).expect("few");
                let mut answer = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
                answer.extend(&query[12..12 + question_length]);
                for strings in records {
                    let data: Vec<u8> = strings
                        .iter()
                        .flat_map(|text| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat())
                        .collect();
                    // The name again, TXT, IN, a minute.
                    answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).expect("short")]);
                    answer.extend(data);
                }
                if socket.send_to(&answer, client).await.is_err() {
                    break;
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn sso_53_the_resolver_joins_strings_and_tells_no_record_from_no_answer() {
        let address = name_server().await;
        let mut server = NameServerConfig::udp(address.ip());
        server.connections[0].port = address.port();
        let config = ResolverConfig::from_name_servers(vec![server]);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let dns = SystemDns::of(builder).expect("a resolver");
        let records = dns.txt("acme.test").await.expect("an answer");
        assert_eq!(records, ["v=spf1 -all", "narthex-verify-dom_1=secret"]);
        assert_eq!(dns.txt("narthex-verify-dom_1.acme.test").await, Ok(vec!["secret".to_owned()]));
        for none in ["empty.test", "missing.test"] {
            assert_eq!(dns.txt(none).await, Ok(Vec::new()), "{none}");
        }
        assert!(dns.txt("broken.test").await.is_err(), "it may have records all the same");
    }
}
