//! `DIR/dev.env`: what an SDK program needs to talk to this server, as lines of `KEY=value` for `set -a; . DIR/dev.env; set +a`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::ca::write_private;
use crate::exit::Failure;

/// Client id and secret of one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`.
    pub secret: String,
}

/// The content of the file.
#[derive(Debug)]
pub struct EnvFile<'a> {
    /// Origin of the DEV environment.
    pub dev_url: &'a str,
    /// Origin of the PRD environment.
    pub prd_url: &'a str,
    /// The plain listener.
    pub http_url: &'a str,
    /// API client of the DEV environment.
    pub dev: &'a Credentials,
    /// API client of the PRD environment.
    pub prd: &'a Credentials,
    /// CA certificate in PEM, absolute.
    pub ca: &'a Path,
    /// CA certificate for the JVM, absolute.
    pub trust_store: &'a Path,
}

impl EnvFile<'_> {
    /// Writes the file, readable by its owner only: it holds secrets.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let (ca, trust_store) = (self.ca.display().to_string(), self.trust_store.display().to_string());
        let lines = [
            ("SCALEKIT_ENVIRONMENT_URL", self.dev_url),
            ("SCALEKIT_ENV_URL", self.dev_url),
            ("SCALEKIT_CLIENT_ID", &self.dev.client_id),
            ("SCALEKIT_CLIENT_SECRET", &self.dev.secret),
            // One variable per TLS stack: Node; Go and OpenSSL; Python requests; gRPC core (sdk-clients reference §3.1).
            ("NODE_EXTRA_CA_CERTS", &ca),
            ("SSL_CERT_FILE", &ca),
            ("REQUESTS_CA_BUNDLE", &ca),
            ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", &ca),
            ("NARTHEX_CA_FILE", &ca),
            ("NARTHEX_TRUSTSTORE", &trust_store),
            ("NARTHEX_HTTP_URL", self.http_url),
            ("NARTHEX_DEV_URL", self.dev_url),
            ("NARTHEX_PRD_URL", self.prd_url),
            ("NARTHEX_PRD_CLIENT_ID", &self.prd.client_id),
            ("NARTHEX_PRD_CLIENT_SECRET", &self.prd.secret),
        ];
        let mut text = String::new();
        for (key, value) in lines {
            // Writing to a String cannot fail.
            writeln!(text, "{key}={}", quote(value)).ok();
        }
        write_private(path, text.as_bytes())
    }
}

/// Credentials that an earlier start wrote: of secrets the database keeps only hashes. DEV first.
pub fn read_credentials(path: &Path) -> [Option<Credentials>; 2] {
    let text = fs::read_to_string(path).unwrap_or_default();
    let values: BTreeMap<&str, String> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key, unquote(value))).collect();
    let pair =
        |id, secret| Some(Credentials { client_id: values.get(id)?.clone(), secret: values.get(secret)?.clone() });
    [pair("SCALEKIT_CLIENT_ID", "SCALEKIT_CLIENT_SECRET"), pair("NARTHEX_PRD_CLIENT_ID", "NARTHEX_PRD_CLIENT_SECRET")]
}

/// Plain words stay plain, since some programs read the file without a shell; a path with other characters is quoted for one.
fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:@%+,=".contains(c);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

fn unquote(value: &str) -> String {
    match value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inside) => inside.replace(r"'\''", "'"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_what_was_written_whatever_the_folder_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("it's a $HOME dir");
        fs::create_dir(&odd).unwrap();
        let path = odd.join("dev.env");
        let credentials = Credentials { client_id: "skc_1".into(), secret: "s3cret-_".into() };
        let file = EnvFile {
            dev_url: "https://localhost:8443",
            prd_url: "https://localhost:8444",
            http_url: "http://127.0.0.1:8080",
            dev: &credentials,
            prd: &credentials,
            ca: &odd.join("ca.pem"),
            trust_store: &odd.join("t.p12"),
        };
        file.write(&path).unwrap();
        let shown = std::process::Command::new("sh")
            .arg("-c")
            .arg("set -a; . \"$1\"; set +a; printf %s \"$NODE_EXTRA_CA_CERTS\"")
            .arg("sh")
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(shown.stdout).unwrap(), odd.join("ca.pem").display().to_string());
        assert_eq!(read_credentials(&path), [Some(credentials.clone()), Some(credentials)]);
        assert_eq!(read_credentials(&folder.path().join("absent")), [None, None]);
    }
}
