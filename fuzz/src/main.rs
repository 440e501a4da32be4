//! Coverage-guided fuzzing of every parser that meets bytes from outside. One program, so that the instrumented code is linked once;
//! `NARTHEX_FUZZ` names the target. `tests/fuzz` builds and runs it.
//!
//! A target asserts laws, not only the absence of panics: what one half writes the other half reads back, what passes a check decodes.
#![no_main]

mod http_request;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use narthex::gate;
use narthex::listen::proxies::{Family, Proxies};
use narthex::oauth::form::{self, Form};
use narthex_api::METHODS;
use narthex_api::contract::Message;
use narthex_core::clients::redirects::{AnyPort, is_registered};
use narthex_core::emails::template::{Format, Template};
use narthex_core::ids::EnvId;
use narthex_core::pages::Scope;
use narthex_core::passkeys::webauthn::{self, ClientData, Party, PublicKey};
use narthex_core::sessions::Device;
use narthex_core::tokens::{IdTokenHint, MAX_TOKEN_BYTES};
use narthex_rpc::json::{self, Emit};
use narthex_rpc::route::Routes;
use narthex_rpc::validate::Validator;
use narthex_rpc::wire;

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("json", json_to_wire),
    ("wire", wire_to_json),
    ("route", route),
    ("request", http_request::run),
    ("form", form),
    ("forwarded", forwarded),
    ("page_token", page_token),
    ("passkey", passkey),
    ("redirect", redirect),
    ("cookie", cookie),
    ("template", template),
    ("hint", hint),
];

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("NARTHEX_FUZZ").expect("NARTHEX_FUZZ names a target");
        TARGETS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no target {name}")).1
    })(data);
});

/// The first two bytes choose a message of the contract, the rest is its input.
fn message(data: &[u8]) -> Option<(&'static Message, &[u8])> {
    let ([high, low], rest) = data.split_first_chunk()?;
    let method = &METHODS[usize::from(u16::from_be_bytes([*high & 0x7f, *low])) % METHODS.len()];
    Some((if high & 0x80 == 0 { method.input } else { method.output }, rest))
}

/// What the JSON decoder writes is sound, and prints as JSON that means the same.
fn json_to_wire(data: &[u8]) {
    let Some((message, text)) = message(data) else { return };
    let Ok(bytes) = json::decode(message, text) else { return };
    wire::check(message, &bytes).expect("the decoder writes sound messages");
    let printed = json::encode(message, &bytes, Emit::Defaults).expect("a sound message prints");
    let again = json::decode(message, printed.as_slice()).expect("what is printed is read");
    let printed_again = json::encode(message, &again, Emit::Defaults).expect("a sound message prints");
    assert_eq!(printed, printed_again);
}

/// What passes the check is validated and printed without a panic.
fn wire_to_json(data: &[u8]) {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let Some((message, bytes)) = message(data) else { return };
    if wire::check(message, bytes).is_err() {
        return;
    }
    let _ = VALIDATOR.get_or_init(|| Validator::new(METHODS).expect("every rule is known")).check(message, bytes);
    let printed = json::encode(message, bytes, Emit::Defaults);
    if let Ok(printed) = printed {
        std::str::from_utf8(&printed).expect("JSON is UTF-8");
    }
}

/// A path finds the same route however often its slashes are doubled.
fn route(data: &[u8]) {
    static ROUTES: OnceLock<Routes> = OnceLock::new();
    let Ok(path) = std::str::from_utf8(data) else { return };
    let routes = ROUTES.get_or_init(|| Routes::new(METHODS).expect("no conflicts"));
    for verb in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let found = routes.find(verb, path).is_some();
        assert_eq!(found, routes.find(verb, &path.replace('/', "//")).is_some(), "{path}");
    }
}

/// A form that is read has no name twice, and every name gives what it holds. An authorization request is read by the same hand.
fn form(data: &[u8]) {
    if let Ok(pairs) = form::pairs(data) {
        assert!(pairs.len() <= 64 && pairs.iter().all(|(name, value)| !name.contains('\0') && !value.contains('\0')));
    }
    let Ok(form) = Form::parse(data) else { return };
    for name in ["grant_type", "client_id", "client_secret", "scope"] {
        assert!(form.get(name).is_none_or(|value| !value.is_empty() && !value.contains('\0')));
    }
}

/// Headers from an address that is not trusted say nothing.
fn forwarded(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..])) {
            headers.append(name, value);
        }
    }
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    for family in [Family::XForwarded, Family::Forwarded] {
        let nobody = Proxies { trusted: Vec::new(), family };
        assert_eq!(nobody.resolve(peer, &headers).client, peer);
        let everyone = ["0.0.0.0/0", "::/0"].map(|network| network.parse().expect("a network"));
        let _ = Proxies { trusted: everyone.into(), family }.resolve(peer, &headers);
    }
}

/// A page token is read or refused.
fn page_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Scope::new(EnvId(1), "organizations", "").position(text, 10);
}

/// What an authenticator is said to have answered is read or refused. The first byte is the length of the credential's id, the second that of
/// the client data in units of 16.
fn passkey(data: &[u8]) {
    let Some(([id, client], rest)) = data.split_first_chunk() else { return };
    let Some((id, rest)) = rest.split_at_checked(usize::from(*id)) else { return };
    let Some((client, answer)) = rest.split_at_checked(usize::from(*client) * 16) else { return };
    let _ = ClientData::read(client);
    let (ids, origins) = (["localhost".to_owned()], ["https://localhost:8443".to_owned()]);
    let party = Party { ids: &ids, origins: &origins };
    if let Ok(made) = webauthn::register(id, answer, client, &party, false) {
        assert_eq!(made.credential_id, id);
        assert!(made.flags.user_present && (made.flags.backup_eligible || !made.flags.backed_up));
        PublicKey::read(&made.public_key).expect("the key of a credential that is kept can be used");
    }
    // Nobody knows the private half of this key: no answer may count. RFC 8032 §7.1, test 1.
    let key = [
        &[0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20][..],
        &[
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3,
            0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
        ],
    ]
    .concat();
    let key = PublicKey::read(&key).expect("a key");
    let given = webauthn::Assertion { authenticator_data: answer, client_data_json: client, signature: id };
    assert!(webauthn::assert(&given, &key, "localhost", &party, false).is_err());
}

/// Whatever counts as a registered address leads to a host that was registered, as another parser of addresses sees it.
fn redirect(data: &[u8]) {
    let Ok(uri) = std::str::from_utf8(data) else { return };
    let registered =
        ["https://app.example/callback", "https://*.acme.example/callback", "http://127.0.0.1/callback", "https://{{org_slug}}.b.example/callback"]
            .map(str::to_owned);
    let slug = |name: &str| (name == "org_slug").then(|| "acme".to_owned());
    for any_port in [AnyPort::Never, AnyPort::LoopbackAddresses, AnyPort::LoopbackHosts] {
        if !is_registered(&registered, uri, any_port, &slug) {
            continue;
        }
        let parsed: http::Uri = uri.parse().expect("an address");
        let host = parsed.host().expect("a host");
        let known = host == "app.example" || host == "127.0.0.1" || host == "acme.b.example" || host.ends_with(".acme.example");
        assert!(known && parsed.path() == "/callback" && parsed.query().is_none(), "{uri}");
        assert!(!parsed.authority().expect("an authority").as_str().contains('@'), "{uri}");
    }
}

/// A cookie that is found stands there once, and a browser that names itself oddly is only a text.
fn cookie(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(value) = gate::cookie(text, "__Host-narthex_session") {
        assert!(!value.contains(';'));
        assert_eq!(gate::cookie(&format!("{text}; __Host-narthex_session=x"), "__Host-narthex_session"), None, "{text}");
    }
    let _ = Device::of(Some(text), IpAddr::V4(Ipv4Addr::LOCALHOST));
}

/// A template is read or refused; markup in the values of one that is read never becomes markup of the mail.
fn template(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let Ok(template) = Template::parse(source) else { return };
    assert!(template.required().is_subset(template.variables()));
    let variables: BTreeMap<String, String> =
        template.variables().iter().map(|name| (name.clone(), "<mark>{{ otp }}\"'&".to_owned())).collect();
    if let Ok(html) = template.render(&variables, Format::Html) {
        // A template may put its own mark together out of pieces; without a bracket of its own it has none.
        assert!(source.contains('<') || !html.contains('<'), "{source}");
    }
    let _ = template.render(&variables, Format::Text);
}

/// An ID token that is read has one spelling, and says what another reader of JSON finds in it.
fn hint(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else { return };
    let Some(hint) = IdTokenHint::unverified(token) else { return };
    assert!(token.len() <= MAX_TOKEN_BYTES);
    let parts: Vec<&str> = token.split('.').collect();
    let [_, payload, signature] = *parts else { panic!("{token}: three parts") };
    for part in [payload, signature] {
        assert_eq!(URL_SAFE_NO_PAD.encode(URL_SAFE_NO_PAD.decode(part).expect("base64url")), part);
    }
    let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("UTF-8");
    // A reader that keeps everything refuses numbers and characters that one which has no use for them passes over.
    let Ok(said) = serde_json::from_str::<serde_json::Value>(&payload) else { return };
    let text = |name: &str| said.get(name).and_then(serde_json::Value::as_str);
    assert_eq!((text("sub"), text("azp")), (Some(hint.sub.as_str()), Some(hint.azp.as_str())));
    assert_eq!(text("email"), hint.email.as_deref());
    assert!(text("iss").is_some() && text("at_hash").is_some());
}
