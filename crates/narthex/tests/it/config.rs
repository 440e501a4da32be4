//! Configuration of `narthex serve`, without any process environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use narthex::Exit;
use narthex::config::{Config, MailTls, Settings, Sources};

fn sources(file: Option<(&tempfile::TempDir, &str)>, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let own =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    let file = file.map(|(folder, text)| {
        let path: PathBuf = folder.path().join("narthex.toml");
        std::fs::write(&path, text).unwrap();
        path
    });
    Sources { file, variables: own(variables).into_iter().collect::<BTreeMap<_, _>>(), flags: own(flags) }
}

#[test]
fn ops_04_flag_over_variable_over_file_over_default() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[server]\nbase_domain = \"file.example\"\nmax_connections = 1\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n[limits]\napi_per_minute = 1\n";
    let sources = sources(
        Some((&folder, text)),
        &[
            ("NARTHEX_SERVER__BASE_DOMAIN", "variable.example"),
            ("NARTHEX_LIMITS__API_PER_MINUTE", "2"),
            ("PATH", "/bin"),
        ],
        &[("limits.api_per_minute", "3")],
    );
    let settings = Settings::load(&sources).unwrap();
    let config = Config::from_settings(&settings).unwrap();
    assert_eq!((config.limits.api, config.limits.token_per_client), (3, 600));
    assert_eq!(config.base_domain, "variable.example");
    assert_eq!(config.max_connections, 1);
    assert_eq!(config.proxies.trusted.len(), 2);
    assert_eq!(config.proxies.family, narthex::listen::proxies::Family::XForwarded);

    let shown = settings.redacted();
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("limits.api_per_minute").ends_with("# --set"));
    assert!(line("server.base_domain").ends_with("# NARTHEX_SERVER__BASE_DOMAIN"));
    assert!(line("server.max_connections").ends_with("narthex.toml"));
    assert!(line("tls.mode").ends_with("# default"));
}

#[test]
fn ops_04_an_unknown_key_is_an_error_that_names_it_and_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |sources: Sources| {
        let failure = Settings::load(&sources).expect_err("a refused configuration");
        assert_eq!(failure.exit, Exit::Config);
        failure.to_string()
    };
    let file = refused(sources(Some((&folder, "[server]\nlisten_adress = \":1\"\n")), &[], &[]));
    assert!(file.contains("`server.listen_adress`") && file.contains("narthex.toml"), "{file}");
    let near = refused(sources(Some((&folder, "[server]\nbase_domian = \"x\"\n")), &[], &[]));
    assert!(near.contains("did you mean `server.base_domain`?"), "{near}");
    let variable = refused(sources(None, &[("NARTHEX_LOG__LEVLE", "debug")], &[]));
    assert!(variable.contains("`log.levle`") && variable.contains("NARTHEX_LOG__LEVLE"), "{variable}");
    let single = refused(sources(None, &[("NARTHEX_SERVER_LISTEN", ":1")], &[]));
    assert!(single.contains("NARTHEX_SERVER__LISTEN is meant"), "one underscore is a mistake: {single}");
    let flag = refused(sources(None, &[], &[("log.color", "red")]));
    assert!(flag.contains("`log.color` from --set"), "{flag}");
}

#[test]
fn a_shell_that_sourced_dev_env_can_run_any_command() {
    let names = [
        "CA_FILE",
        "TRUSTSTORE",
        "HTTP_URL",
        "DEV_URL",
        "PRD_URL",
        "PRD_CLIENT_ID",
        "PRD_CLIENT_SECRET",
        "TEST_POSTGRES_URL",
    ];
    let variables: Vec<(String, String)> =
        names.iter().map(|name| (format!("NARTHEX_{name}"), "x".to_owned())).collect();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    Settings::load(&sources(None, &variables, &[])).unwrap();
}

#[test]
fn ops_04_wrong_values_are_refused_with_the_key() {
    for (key, value) in [
        ("server.listen", "nonsense"),
        ("server.listen", ":70000"),
        ("server.trusted_proxies", "10.0.0.0/64"),
        ("server.forwarded_headers", "both"),
        ("server.drain_delay", "5 parsecs"),
        ("limits.api_per_minute", "-1"),
        ("log.format", "xml"),
        ("tls.mode", "acme"),
        ("mail.tls", "sometimes"),
        ("mail.port", "smtp"),
    ] {
        let failure = Settings::load(&sources(None, &[], &[(key, value)])).expect_err(value);
        assert!(failure.to_string().contains(&format!("`{key}`")), "{failure}");
    }
    for flags in [
        &[("tls.mode", "files")][..],
        &[("tls.mode", "external")],
        &[("server.base_domain", "https://x.example")],
        &[("server.base_domain", "x.example:8443")],
        &[("keys.master", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")],
        &[("keys.master", "env:NARTHEX_NO_SUCH")],
        &[("mail.from_email", "hi@auth.example")],
        &[("mail.host", "mail.example")],
        &[("mail.host", "mail.example"), ("mail.from_email", "auth.example")],
        &[("mail.host", "mail.example"), ("mail.from_email", "hi@auth.example"), ("mail.port", "0")],
        &[("mail.host", "mail.example"), ("mail.from_email", "hi@auth.example"), ("mail.port", "70000")],
        &[("mail.host", "mail.example"), ("mail.from_email", "hi@auth.example"), ("mail.username", "narthex")],
        &[("mail.host", "mail.example"), ("mail.from_email", "hi@auth.example"), ("mail.password", "hunter2")],
        &[
            ("mail.host", "mail.example"),
            ("mail.from_email", "hi@auth.example"),
            ("mail.username", "narthex"),
            ("mail.password", "hunter2"),
            ("mail.tls", "none"),
        ],
    ] {
        let settings = Settings::load(&sources(None, &[], flags)).unwrap();
        let failure = Config::from_settings(&settings).expect_err("a refused configuration");
        assert_eq!(failure.exit, Exit::Config, "{failure}");
    }
}

#[test]
fn ops_04_the_mail_server_comes_from_file_variable_and_flag_and_its_password_by_reference() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    let text = format!(
        "[mail]\nhost = \"mail.example\"\nport = 465\ntls = \"implicit\"\npassword = \"file:{}\"\n",
        password.display()
    );
    let variables = [("NARTHEX_MAIL__USERNAME", "narthex")];
    let sources = sources(Some((&folder, &text)), &variables, &[("mail.from_email", "hi@auth.example")]);
    let settings = Settings::load(&sources).unwrap();
    let mail = Config::from_settings(&settings).unwrap().mail.expect("a mail server");
    assert_eq!((mail.host.as_str(), mail.port, mail.tls), ("mail.example", 465, MailTls::Implicit));
    let (username, secret) = mail.login.expect("a login");
    assert_eq!((username.as_str(), secret.expose().as_str()), ("narthex", "hunter2"));
    assert_eq!(mail.from_email, "hi@auth.example");
    assert!(!settings.redacted().contains("hunter2"));
}

#[test]
fn ops_04_secrets_come_by_reference_and_are_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, "postgres://narthex:fromfile@db.example/narthex?password=again\n").unwrap();
    let reference = format!("file:{}", path.display());
    for (variables, flags) in [
        (
            &[("DB", "postgres://narthex:fromfile@db.example/narthex?password=again")][..],
            &[("database.url", "env:DB")][..],
        ),
        (&[], &[("database.url", &*reference)]),
        (&[("NARTHEX_DATABASE__URL", "postgres://narthex:fromfile@db.example/narthex?password=again")], &[]),
    ] {
        let settings = Settings::load(&sources(None, variables, flags)).unwrap();
        let config = Config::from_settings(&settings).unwrap();
        assert_eq!(config.database_url, "postgres://narthex:fromfile@db.example/narthex?password=again");
        let shown = settings.redacted();
        assert!(shown.contains("postgres://[redacted]@db.example/narthex"), "{shown}");
        assert!(!shown.contains("fromfile") && !shown.contains("again"), "{shown}");
    }
}

#[test]
fn ops_04_operations_lists_every_key_with_its_default_and_meaning() {
    let document = include_str!("../../../../OPERATIONS.md");
    for key in narthex::config::keys::KEYS {
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        let row = format!("| `{}` | {default} | {} |", key.name, key.meaning);
        assert!(document.contains(&row), "OPERATIONS.md lacks the line: {row}");
    }
}
