//! The certificate authority of one data folder, for `narthex dev` and `tls.mode=selfsigned`. Its certificate is constrained to the
//! DNS names it is made for, so that trusting it gives its key no power over any other named site.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;
use narthex_core::{Clock, Random};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use super::pkcs12;
use crate::exit::{Exit, Failure, io_failure};
use crate::listen::tls::Certificates;

/// Password of the trust store: not a secret, the JVM wants one.
pub const TRUST_STORE_PASSWORD: &str = "narthex";

const CA_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);
/// A leaf is made at each start and lives in memory only; a year is longer than any such process.
const LEAF_LIFETIME: Duration = Duration::from_hours(397 * 24);

/// The files of the authority, and a fresh server certificate.
#[derive(Debug)]
pub struct Authority {
    /// The CA certificate in PEM.
    pub certificate: PathBuf,
    /// The same as a PKCS #12 trust store with password [`TRUST_STORE_PASSWORD`].
    pub trust_store: PathBuf,
    /// For the TLS listeners.
    pub server: Certificates,
}

/// Opens the authority in this folder, or makes it, and issues a server certificate for these names (DNS names or addresses), and for
/// more DNS names `below` them.
pub fn open(
    folder: &Path,
    names: &[&str],
    below: &[&str],
    clock: &Clock,
    random: &Random,
) -> Result<Authority, Failure> {
    let certificate = folder.join("ca.pem");
    let key_file = folder.join("ca-key.pem");
    let trust_store = folder.join("truststore.p12");
    let names_file = folder.join("ca-names");
    // Constrained to other names, the authority would issue what every client refuses.
    let listed = names.join("\n");
    let fits = fs::read_to_string(&names_file).map_or(true, |kept| kept == listed);
    let key = match (fs::read_to_string(&certificate), fs::read_to_string(&key_file)) {
        (Ok(_), Ok(pem)) if fits => KeyPair::from_pem(&pem)
            .map_err(|error| Failure::new(Exit::Failure, format!("{}: {error}", key_file.display())))?,
        _ => make(&certificate, &key_file, names, clock, random)?,
    };
    fs::write(&names_file, listed).map_err(io_failure(names_file.display()))?;
    let der = CertificateDer::from_pem_file(&certificate)
        .map_err(|error| Failure::new(Exit::Failure, format!("{}: {error}", certificate.display())))?;
    if !trust_store.exists() {
        let store = pkcs12::trust_store(&der, "narthex", TRUST_STORE_PASSWORD, random.bytes());
        fs::write(&trust_store, store).map_err(io_failure(trust_store.display()))?;
    }
    let server = issue(key, der, &[names, below].concat(), clock, random)
        .map_err(|error| Failure::new(Exit::Failure, format!("certificate: {error}")))??;
    Ok(Authority { certificate, trust_store, server })
}

/// Makes key and certificate. Whoever trusted an older CA of this folder must trust the new one.
fn make(
    certificate: &Path,
    key_file: &Path,
    names: &[&str],
    clock: &Clock,
    random: &Random,
) -> Result<KeyPair, Failure> {
    let failed = |error: rcgen::Error| Failure::new(Exit::Failure, format!("certificate authority: {error}"));
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = ca_params(&key, clock);
    params.serial_number = Some(serial(random));
    params.name_constraints = Some(NameConstraints { permitted_subtrees: permitted(names), excluded_subtrees: vec![] });
    let pem = params.self_signed(&key).map_err(failed)?.pem();
    write_private(key_file, key.serialize_pem().as_bytes())?;
    fs::write(certificate, pem).map_err(io_failure(certificate.display()))?;
    let store = certificate.with_file_name("truststore.p12");
    if store.exists() {
        fs::remove_file(&store).map_err(io_failure(store.display()))?;
    }
    Ok(key)
}

/// What the certificate says, from the key alone: the same at each start, so that it need not be parsed to issue under it.
fn ca_params(key: &KeyPair, clock: &Clock) -> CertificateParams {
    let mut params = CertificateParams::default();
    // The name tells the CAs of several folders apart: two with one name and two keys would confuse chain building.
    let digest = digest::digest(&digest::SHA256, key.der_bytes());
    let tag = u32::from_be_bytes(std::array::from_fn(|index| digest.as_ref()[index]));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Narthex");
    params.distinguished_name.push(DnType::CommonName, format!("Narthex development CA {tag:08x}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(clock, CA_LIFETIME);
    params
}

fn issue(
    key: KeyPair,
    ca: CertificateDer<'static>,
    names: &[&str],
    clock: &Clock,
    random: &Random,
) -> Result<Result<Certificates, Failure>, rcgen::Error> {
    let issuer = Issuer::new(ca_params(&key, clock), key);
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names[0]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial(random));
    (params.not_before, params.not_after) = validity(clock, LEAF_LIFETIME);
    let leaf_key = KeyPair::generate()?;
    let leaf = params.signed_by(&leaf_key, &issuer)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    Ok(Certificates::new(vec![leaf.der().clone(), ca], private))
}

/// DNS names only: BoringSSL, and so gRPC in Python, refuses a CA with a constraint on addresses ("unsupported name constraint type").
/// With no DNS name to permit, none is: `.invalid` belongs to nobody (RFC 2606 §2).
fn permitted(names: &[&str]) -> Vec<GeneralSubtree> {
    let dns = names.iter().filter(|name| name.parse::<IpAddr>().is_err());
    let mut subtrees: Vec<_> =
        dns.map(|name| GeneralSubtree::DnsName(name.trim_start_matches("*.").to_owned())).collect();
    if subtrees.is_empty() {
        subtrees.push(GeneralSubtree::DnsName("invalid".to_owned()));
    }
    subtrees
}

/// Real time: clients check certificates on theirs. A day of slack covers clocks that run behind.
fn validity(clock: &Clock, lifetime: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::from_unix_timestamp(clock.real_now().seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    (now - Duration::from_hours(24), now + lifetime)
}

fn serial(random: &Random) -> SerialNumber {
    let mut bytes: [u8; 16] = random.bytes();
    bytes[0] = bytes[0] & 0x7f | 0x40; // positive, and always 16 bytes long
    SerialNumber::from_slice(&bytes)
}

/// Writes a file that only its owner may read, never readable by others in between.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let write = || {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let fresh = path.with_file_name(name);
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(io_failure(path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_start_keeps_the_authority_and_the_jvm_reads_the_trust_store() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["localhost", "127.0.0.1", "::1"];
        let first = open(folder.path(), &names, &[], &Clock::new(), &Random::new()).unwrap();
        let (pem, store) = (fs::read(&first.certificate).unwrap(), fs::read(&first.trust_store).unwrap());
        let second = open(folder.path(), &names, &[], &Clock::new(), &Random::new()).unwrap();
        assert_eq!(pem, fs::read(&second.certificate).unwrap());
        assert_eq!(store, fs::read(&second.trust_store).unwrap());
        let other = open(folder.path(), &["auth.example"], &[], &Clock::new(), &Random::new()).unwrap();
        assert_ne!(pem, fs::read(&other.certificate).unwrap(), "an authority for other names is another one");
        assert_ne!(store, fs::read(&other.trust_store).unwrap());

        let mode = fs::metadata(folder.path().join("ca-key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let listed = std::process::Command::new("keytool")
            .args(["-list", "-storepass", TRUST_STORE_PASSWORD, "-keystore"])
            .arg(&second.trust_store)
            .output();
        // The JDK is part of the CI image; a laptop without one still runs the rest.
        if let Ok(listed) = listed {
            let text = String::from_utf8_lossy(&listed.stdout);
            assert!(text.contains("trustedCertEntry"), "{text}{}", String::from_utf8_lossy(&listed.stderr));
        }
    }
}
