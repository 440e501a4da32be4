//! Server certificates: TLS 1.2 and 1.3, ALPN `h2` and `http/1.1`, replaceable while running.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::exit::Failure;

/// The certificate of a listener. Connections keep the one that they began with.
#[derive(Debug)]
pub struct Certificates {
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Certificates {
    /// Certificates from DER: the chain, leaf first, and its key.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let current = Arc::new(Current(RwLock::new(certified(chain, key, &provider)?)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::config(format!("TLS: {error}")))?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { current, config: Arc::new(config) })
    }

    /// Certificates from PEM files.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, Failure> {
        let (chain, key) = read_files(chain, key)?;
        Self::new(chain, key)
    }

    /// Reads the files again; the old certificate stays in use if they are unreadable or do not fit together.
    pub fn reload(&self, chain: &Path, key: &Path) -> Result<(), Failure> {
        let (chain, key) = read_files(chain, key)?;
        let fresh = certified(chain, key, self.config.crypto_provider())?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// An acceptor for one connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, Failure> {
    CertifiedKey::from_der(chain, key, provider)
        .map(Arc::new)
        .map_err(|error| Failure::config(format!("the TLS certificate and key do not work together: {error}")))
}

fn read_files(chain: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    let unreadable =
        |path: &Path, error: rustls_pki_types::pem::Error| Failure::config(format!("{}: {error}", path.display()));
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(chain, error))?;
    if certificates.is_empty() {
        return Err(Failure::config(format!("{}: no certificate in it", chain.display())));
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    Ok((certificates, key_der))
}
