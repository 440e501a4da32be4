//! Certificates of a CA of the test's own.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

/// PEM files for `tls.mode=files`.
pub struct Files {
    /// Leaf and CA.
    pub chain: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

impl Files {
    /// A new CA and a certificate for one host, good until the first day of a year. Overwrites files of the same folder.
    pub fn write(folder: &Path, host: &str, until_year: i32) -> Self {
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = ca.self_signed(&ca_key).unwrap();
        let mut leaf = CertificateParams::new(vec![host.to_owned()]).unwrap();
        leaf.not_after = date_time_ymd(until_year, 1, 1);
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        let files =
            Self { chain: folder.join("cert.pem"), key: folder.join("key.pem"), ca: folder.join("test-ca.pem") };
        std::fs::write(&files.chain, format!("{}{}", leaf.pem(), root.pem())).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        std::fs::write(&files.ca, root.pem()).unwrap();
        files
    }

    /// The configuration keys that name the files.
    pub fn keys(&self) -> [(&'static str, String); 3] {
        let text = |path: &PathBuf| path.display().to_string();
        [("tls.mode", "files".to_owned()), ("tls.cert_file", text(&self.chain)), ("tls.key_file", text(&self.key))]
    }
}
