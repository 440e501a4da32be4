//! The certificate authorities that the machine trusts, read when the first call needs them: most servers make none.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Where systems keep them: Debian, Red Hat, SUSE, Alpine and others.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A TLS configuration that is made once.
#[derive(Default)]
pub struct Roots(OnceLock<Arc<ClientConfig>>);

impl Roots {
    /// The configuration. A failure is not kept: the list may be installed while the server runs.
    pub fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.0.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(load()?);
        Ok(Arc::clone(self.0.get_or_init(|| config)))
    }
}

/// The certificate authorities that the machine trusts, or those of the file that `SSL_CERT_FILE` names.
pub(crate) fn authorities() -> Result<Vec<CertificateDer<'static>>, String> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let path = named.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()));
    let path = path.ok_or(
        "this machine has no list of certificate authorities: install ca-certificates, or name one with SSL_CERT_FILE",
    )?;
    let unusable = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read(&path).map_err(|error| unusable(&error))?;
    let found = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
    // What cannot be read as an authority is left out, as every other program on the machine does.
    let authorities: Vec<_> =
        found.filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok()).collect();
    if authorities.is_empty() {
        return Err(unusable(&"holds no certificate"));
    }
    Ok(authorities)
}

fn load() -> Result<ClientConfig, String> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(authorities()?);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
