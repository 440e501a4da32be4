//! Every key that exists, in one table: what the loader accepts, what `config check` prints and what the documentation lists.

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Any text.
    Text,
    /// A file or folder; relative to the process's working directory.
    Path,
    /// `HOST:PORT`, `:PORT` (all addresses), or empty for "not at all".
    Address,
    /// Addresses or networks, `10.0.0.0/8`; in a variable or flag separated by commas.
    Networks,
    /// `true` or `false`.
    Bool,
    /// A whole number, not negative.
    Integer,
    /// A number with a unit: `250ms`, `30s`, `5m`, `12h`, `90d`.
    Duration,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// A configuration key.
#[derive(Debug)]
pub struct Key {
    /// Dotted name, e.g. `server.listen`.
    pub name: &'static str,
    /// Type of the value.
    pub kind: Type,
    /// Default, as it would be written in a variable.
    pub default: &'static str,
    /// Never printed; also accepts `file:PATH` and `env:NAME` references.
    pub secret: bool,
    /// One line for people.
    pub meaning: &'static str,
}

const fn key(name: &'static str, kind: Type, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default, secret: false, meaning }
}

const fn secret(name: &'static str, kind: Type, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default, secret: true, meaning }
}

/// All keys (control plane reference §19.2, as far as built), sorted.
pub static KEYS: &[Key] = &[
    key(
        "captcha.provider",
        Type::OneOf(&["none", "recaptcha", "hcaptcha", "turnstile"]),
        "none",
        "who tells people from programs where an environment has bot detection on; `recaptcha` is v2 with the checkbox",
    ),
    key("captcha.script_url", Type::Text, "", "the widget's script, if not where captcha.provider has it"),
    secret("captcha.secret", Type::Text, "", "secret half of captcha.site_key; `file:PATH` or `env:NAME` too"),
    key("captcha.site_key", Type::Text, "", "public half of the key, on the pages"),
    key("captcha.verify_url", Type::Text, "", "where tokens are verified, if not at captcha.provider"),
    secret("database.url", Type::Text, "", "`sqlite:PATH` or `postgres://…`; empty is `narthex.db` in server.data_dir"),
    secret(
        "keys.master",
        Type::Text,
        "",
        "`file:PATH` or `env:NAME` of the master key; empty is `master.key` in server.data_dir, made on first start",
    ),
    key("limits.api_per_minute", Type::Integer, "6000", "management requests per environment; 0 is no limit"),
    key(
        "limits.public_per_ip_per_minute",
        Type::Integer,
        "120",
        "requests to RPCs open to anyone, per address; 0 is no limit",
    ),
    key("limits.token_per_client_per_minute", Type::Integer, "600", "token requests per client; 0 is no limit"),
    key("limits.token_per_ip_per_minute", Type::Integer, "600", "token requests per address; 0 is no limit"),
    key("log.format", Type::OneOf(&["json", "pretty"]), "json", "one JSON object per line, or text for people"),
    key("log.level", Type::Text, "info", "`info`, or directives such as `info,narthex_db=debug`"),
    key(
        "login.totp",
        Type::Bool,
        "false",
        "`true`: a login by code or link asks users with an enabled authenticator app for a code of it, too",
    ),
    key(
        "mail.from_email",
        Type::Text,
        "",
        "address that mails come from where an environment has no server of its own",
    ),
    key(
        "mail.host",
        Type::Text,
        "",
        "mail server of the installation; empty: mails need a server of their environment",
    ),
    secret("mail.password", Type::Text, "", "password of mail.username; `file:PATH` or `env:NAME` too"),
    key("mail.port", Type::Integer, "587", "port of mail.host"),
    key(
        "mail.tls",
        Type::OneOf(&["starttls", "implicit", "none"]),
        "starttls",
        "`implicit`: TLS from the first byte (port 465); `none` is for a relay on this machine, and sends no password",
    ),
    key("mail.username", Type::Text, "", "who signs in at mail.host; empty: nobody"),
    key("seed.file", Type::Path, "", "seed file (TOML) applied at every start (idempotent)"),
    key("server.admin_listen", Type::Address, "127.0.0.1:9090", "health, version and metrics"),
    key("server.base_domain", Type::Text, "localhost", "domain under which environments live"),
    key(
        "server.data_dir",
        Type::Path,
        "data",
        "folder with the lock, the admin socket and, by default, database and master key",
    ),
    key("server.drain_delay", Type::Duration, "5s", "time between readiness going red and the listeners closing"),
    key(
        "server.forwarded_headers",
        Type::OneOf(&["x-forwarded", "forwarded"]),
        "x-forwarded",
        "the headers that server.trusted_proxies write: `X-Forwarded-*`, or `Forwarded` (RFC 7239); the others are ignored",
    ),
    key(
        "server.http_listen",
        Type::Address,
        "",
        "plain listener; serves everything only with tls.mode=external, else redirects to https",
    ),
    key("server.listen", Type::Address, ":443", "TLS listener; unused with tls.mode=external"),
    key(
        "server.max_connections",
        Type::Integer,
        "10000",
        "open connections per listener; more wait in the kernel's queue",
    ),
    key("server.public_scheme", Type::OneOf(&["https", "http"]), "https", "scheme of the environments' origins"),
    key(
        "server.trusted_proxies",
        Type::Networks,
        "",
        "addresses whose forwarding headers count, see server.forwarded_headers",
    ),
    key("tls.cert_file", Type::Path, "", "PEM chain, leaf first; reloaded on SIGHUP"),
    key("tls.key_file", Type::Path, "", "PEM private key; reloaded on SIGHUP"),
    key(
        "tls.mode",
        Type::OneOf(&["selfsigned", "files", "external"]),
        "selfsigned",
        "`external`: a proxy in front ends TLS",
    ),
];

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that a mistyped name most likely means.
pub fn nearest(name: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    KEYS.iter()
        .map(|key| (distance(key.name, name).min(1 + distance(&last(key.name), &last(name))), key.name))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
