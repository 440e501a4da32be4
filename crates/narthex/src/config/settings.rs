//! The merged settings: each key's value as text, and where it came from.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{self, KEYS, Key, Type};
use crate::exit::Failure;
use crate::listen::proxies::Network;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Built in.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// `--set KEY=VALUE`.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// What the settings are merged from. Handed in, so that tests need no process environment.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    /// The configuration file; a missing one is an error.
    pub file: Option<PathBuf>,
    /// The process's variables, or a test's.
    pub variables: BTreeMap<String, String>,
    /// `KEY=VALUE` pairs from the command line.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The process's own variables, and its configuration file: the one named, else `NARTHEX_CONFIG`, else `narthex.toml` if there is
    /// one in the working directory.
    pub fn from_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = file
            .or_else(|| variables.get("NARTHEX_CONFIG").map(PathBuf::from))
            .or_else(|| Some(PathBuf::from("narthex.toml")).filter(|path| path.exists()));
        Self { file, variables, flags }
    }
}

/// The effective value of every key.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, (String, Source)>,
    variables: BTreeMap<String, String>,
}

impl Settings {
    /// Merges the sources. An unknown key, a value of the wrong type and an unreadable file are errors that name the culprit.
    pub fn load(sources: &Sources) -> Result<Self, Failure> {
        let values = KEYS.iter().map(|key| (key.name, (key.default.to_owned(), Source::Default))).collect();
        let mut settings = Self { values, variables: sources.variables.clone() };
        if let Some(path) = &sources.file {
            settings.read_file(path)?;
        }
        for (name, value) in &sources.variables {
            settings.read_variable(name, value)?;
        }
        for (name, value) in &sources.flags {
            settings.set(name, value.clone(), Source::Flag)?;
        }
        Ok(settings)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), Failure> {
        let text =
            std::fs::read_to_string(path).map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            // The parser's own text quotes the line, which may hold a password.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Failure::config(format!("{}, line {line}: {}", path.display(), error.message()))
        })?;
        self.read_table("", &table, path)
    }

    fn read_table(&mut self, prefix: &str, table: &toml::Table, path: &Path) -> Result<(), Failure> {
        for (name, value) in table {
            let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let text = match value {
                toml::Value::Table(inner) => {
                    self.read_table(&name, inner, path)?;
                    continue;
                }
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                toml::Value::Array(items) => {
                    let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
                    texts
                        .ok_or_else(|| {
                            Failure::config(format!("`{name}` in {}: must be a list of texts", path.display()))
                        })?
                        .join(",")
                }
                other => {
                    return Err(Failure::config(format!(
                        "`{name}` in {}: {} is no value here",
                        path.display(),
                        other.type_str()
                    )));
                }
            };
            self.set(&name, text, Source::File(path.to_owned()))?;
        }
        Ok(())
    }

    /// `NARTHEX_SERVER__LISTEN` is `server.listen`. Names without `__` belong to others (`narthex dev` writes some for SDK programs),
    /// except where one is clearly meant for a key.
    fn read_variable(&mut self, variable: &str, value: &str) -> Result<(), Failure> {
        let Some(name) = variable.strip_prefix("NARTHEX_") else { return Ok(()) };
        let name = name.to_ascii_lowercase();
        if name.contains("__") {
            return self.set(&name.replace("__", "."), value.to_owned(), Source::Variable(variable.to_owned()));
        }
        match KEYS.iter().find(|key| key.name.replace('.', "_") == name) {
            Some(key) => {
                let right = key.name.to_ascii_uppercase().replace('.', "__");
                Err(Failure::config(format!("{variable} is not a key: NARTHEX_{right} is meant, with two underscores")))
            }
            None => Ok(()),
        }
    }

    fn set(&mut self, name: &str, value: String, source: Source) -> Result<(), Failure> {
        let Some(key) = keys::find(name) else {
            let hint = keys::nearest(name).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Failure::config(format!("unknown key `{name}` from {source}{hint}")));
        };
        let value = self.resolve(key, value, &source)?;
        check(key, &value).map_err(|problem| Failure::config(format!("`{name}` from {source}: {problem}")))?;
        self.values.insert(key.name, (value, source));
        Ok(())
    }

    /// Follows `file:` and `env:` of secret keys, so that secrets need not stand in the file. The master key's reference is kept as it
    /// is: its text is itself the description of a source.
    fn resolve(&self, key: &Key, value: String, source: &Source) -> Result<String, Failure> {
        if !key.secret || key.name == "keys.master" {
            return Ok(value);
        }
        if let Some(path) = value.strip_prefix("file:") {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::config(format!("`{}` from {source}: {path}: {error}", key.name)))?;
            return Ok(text.trim_end().to_owned());
        }
        if let Some(name) = value.strip_prefix("env:") {
            return self
                .variable(name)
                .ok_or_else(|| Failure::config(format!("`{}` from {source}: variable {name} is not set", key.name)));
        }
        Ok(value)
    }

    /// A variable of the environment that the settings were loaded with.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The value as text.
    ///
    /// # Panics
    /// If there is no such key: names are literals of this program.
    pub fn text(&self, name: &str) -> &str {
        &self.values.get(name).expect("a key of the table").0
    }

    /// Where the value came from.
    ///
    /// # Panics
    /// If there is no such key: names are literals of this program.
    pub fn source(&self, name: &str) -> &Source {
        &self.values.get(name).expect("a key of the table").1
    }

    /// An error about this key that names its source.
    pub fn wrong(&self, name: &str, problem: &str) -> Failure {
        Failure::config(format!("`{name}` from {}: {problem}", self.source(name)))
    }

    /// A path, if one is set.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    /// A path that must be set.
    pub fn required_path(&self, name: &str) -> Result<PathBuf, Failure> {
        self.path(name).ok_or_else(|| self.wrong(name, "must be set with this tls.mode"))
    }

    /// A socket address, if one is set.
    pub fn address(&self, name: &str) -> Result<Option<SocketAddr>, Failure> {
        address(self.text(name)).map_err(|problem| self.wrong(name, &problem))
    }

    /// A list of networks.
    pub fn networks(&self, name: &str) -> Result<Vec<Network>, Failure> {
        networks(self.text(name)).map_err(|problem| self.wrong(name, &problem))
    }

    /// A duration.
    pub fn duration(&self, name: &str) -> Result<Duration, Failure> {
        duration(self.text(name)).map_err(|problem| self.wrong(name, &problem))
    }

    /// `true` or `false`.
    pub fn boolean(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// A number.
    pub fn integer(&self, name: &str) -> Result<u32, Failure> {
        self.text(name).parse().map_err(|_| self.wrong(name, "must be a whole number, not negative"))
    }

    /// Every key with value and source, secrets replaced, one per line.
    pub fn redacted(&self) -> String {
        let mut lines = String::new();
        for key in KEYS {
            let (value, source) = &self.values[key.name];
            let shown = match key.name {
                "database.url" | "keys.master" => redact(value),
                _ if key.secret && !value.is_empty() => "[redacted]".to_owned(),
                _ => value.clone(),
            };
            let quoted = format!("\"{shown}\"");
            // Writing to a String cannot fail.
            writeln!(lines, "{:<36} = {quoted:<32} # {source}", key.name).ok();
        }
        lines
    }
}

/// Keeps what tells one database from another, and drops what opens it.
fn redact(value: &str) -> String {
    if value.is_empty() || value.starts_with("sqlite:") || value.starts_with("file:") || value.starts_with("env:") {
        return value.to_owned();
    }
    // `?password=…` is another way to put a secret into a URL, and may hold an `@` of its own.
    let place = value.split('?').next().unwrap_or_default();
    match (place.split_once("://"), place.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://[redacted]@{place}"),
        _ => "[redacted]".to_owned(),
    }
}

fn check(key: &Key, value: &str) -> Result<(), String> {
    match key.kind {
        Type::Text | Type::Path => Ok(()),
        Type::Address => address(value).map(drop),
        Type::Networks => networks(value).map(drop),
        Type::Bool => value.parse::<bool>().map(drop).map_err(|_| "must be `true` or `false`".to_owned()),
        Type::Integer => value.parse::<u32>().map(drop).map_err(|_| "must be a whole number, not negative".to_owned()),
        Type::Duration => duration(value).map(drop),
        Type::OneOf(words) if words.contains(&value) => Ok(()),
        Type::OneOf(words) => Err(format!("must be one of {}", words.join(", "))),
    }
}

fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().map_err(|_| format!("`{text}` has no valid port"))?;
        return Ok(Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))));
    }
    let mut found = text.to_socket_addrs().map_err(|error| format!("`{text}` is no address: {error}"))?;
    found.next().map(Some).ok_or_else(|| format!("`{text}` is no address"))
}

fn networks(text: &str) -> Result<Vec<Network>, String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::parse).collect()
}

/// Reads `250ms`, `30s`, `5m`, `12h`, `90d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let problem = || format!("`{text}` is no duration such as 250ms, 30s, 5m, 12h or 90d");
    let number: u64 = number.parse().map_err(|_| problem())?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        "" if number == 0 => Some(0),
        _ => None,
    };
    millis.map(Duration::from_millis).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_04_a_password_in_a_file_that_cannot_be_parsed_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("narthex.toml");
        std::fs::write(&path, "[database]\nurl = \"postgres://narthex:hunter2@db/narthex\nextra = 1\n").unwrap();
        let sources = Sources { file: Some(path), ..Sources::default() };
        let message = Settings::load(&sources).unwrap_err().message;
        assert!(message.contains("line 2") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn ops_04_no_part_of_a_password_of_mail_is_shown_whatever_it_looks_like() {
        for password in ["hunter2", "hunter2://a@hunter2", "sqlite:hunter2", "https://hunter2"] {
            let flags = vec![("mail.password".to_owned(), password.to_owned())];
            let shown = Settings::load(&Sources { flags, ..Sources::default() }).unwrap().redacted();
            assert!(shown.contains("\"[redacted]\"") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn ops_04_what_opens_a_database_is_never_shown() {
        assert_eq!(redact("postgres://narthex:secret@db/narthex?password=x"), "postgres://[redacted]@db/narthex");
        for (url, shown) in [
            ("postgres://db/narthex?password=one@two", "[redacted]"),
            ("postgres://narthex:one?two@db/narthex", "[redacted]"),
            ("postgres://narthex@db/narthex?password=one@two", "postgres://[redacted]@db/narthex"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }
}
