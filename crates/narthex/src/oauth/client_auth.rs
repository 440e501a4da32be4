//! How a client authenticates at the OAuth endpoints (RFC 6749 §2.3). Only Basic counts as a header method: SDKs send their last Bearer
//! token along, and it says nothing here (oauth-oidc reference §5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

use super::error::OAuthError;
use super::form::{self, Form};

/// What a client showed of itself.
#[derive(PartialEq, Eq)]
pub struct Presented {
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`; none for public clients.
    pub secret: Option<String>,
    /// Whether it came as Basic: then a refusal carries a challenge.
    pub basic: bool,
}

/// Finds the one method that the request uses.
pub fn present(headers: &HeaderMap, form: &Form) -> Result<Presented, OAuthError> {
    let basic: Vec<&str> = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter_map(basic_credentials)
        .collect();
    if form.get("client_assertion").is_some() || form.get("client_assertion_type").is_some() {
        return Err(OAuthError::invalid_client(
            "client assertions are not accepted for this client",
            !basic.is_empty(),
        ));
    }
    match basic.as_slice() {
        [] => match form.get("client_id") {
            Some(client_id) => Ok(Presented {
                client_id: client_id.to_owned(),
                secret: form.get("client_secret").map(str::to_owned),
                basic: false,
            }),
            None => Err(OAuthError::invalid_client("client authentication is missing", false)),
        },
        [credentials] => {
            if form.get("client_secret").is_some() {
                return Err(OAuthError::invalid_request("more than one client authentication method is used"));
            }
            let (client_id, secret) = decode_basic(credentials)
                .ok_or_else(|| OAuthError::invalid_client("the Basic credentials are malformed", true))?;
            if form.get("client_id").is_some_and(|other| other != client_id) {
                return Err(OAuthError::invalid_request("client_id differs from the authenticated client"));
            }
            Ok(Presented { client_id, secret: Some(secret).filter(|secret| !secret.is_empty()), basic: true })
        }
        _ => Err(OAuthError::invalid_request("more than one client authentication method is used")),
    }
}

/// What follows `Basic `; the scheme is case-insensitive (RFC 9110 §11.1).
fn basic_credentials(value: &str) -> Option<&str> {
    let (scheme, credentials) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| credentials.trim())
}

/// Both halves are form-encoded before they are joined (RFC 6749 §2.3.1).
fn decode_basic(credentials: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (client_id, secret) = text.split_once(':')?;
    let (client_id, secret) = (form::decode(client_id).ok()?, form::decode(secret).ok()?);
    if client_id.is_empty() { None } else { Some((client_id, secret)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        map
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    fn code(headers: &HeaderMap, form: &str) -> &'static str {
        present(headers, &Form::parse(form.as_bytes()).unwrap()).map_or_else(|error| error.code, |_| "ok")
    }

    #[test]
    fn oauth_02_basic_halves_are_url_decoded() {
        let shown = present(&headers(&[&basic("skc%5F1:a%2Bb%3Ac%20d")]), &Form::default()).ok().unwrap();
        assert_eq!((shown.client_id.as_str(), shown.secret.as_deref(), shown.basic), ("skc_1", Some("a+b:c d"), true));
        assert_eq!(code(&headers(&[&basic("skc_1:s").replace("Basic", "bAsIc")]), ""), "ok");
    }

    #[test]
    fn oauth_03_a_bearer_header_says_nothing() {
        assert_eq!(code(&headers(&["Bearer expired"]), "client_id=a&client_secret=b"), "ok");
        assert_eq!(code(&headers(&["Bearer expired", &basic("a:b")]), ""), "ok");
        assert_eq!(code(&headers(&["Bearer expired"]), ""), "invalid_client");
    }

    #[test]
    fn two_methods_in_one_request_are_refused() {
        assert_eq!(code(&headers(&[&basic("a:b")]), "client_id=a&client_secret=b"), "invalid_request");
        assert_eq!(code(&headers(&[&basic("a:b")]), "client_id=other"), "invalid_request");
        assert_eq!(code(&headers(&[&basic("a:b"), &basic("a:b")]), ""), "invalid_request");
        assert_eq!(
            code(&headers(&[&basic("a:b")]), "client_id=a&client_secret="),
            "ok",
            "an empty parameter is an absent one"
        );
    }

    #[test]
    fn malformed_basic_credentials_are_a_failed_authentication() {
        for bad in ["Basic ", "Basic !!!", &basic("no colon"), &basic(":secret"), &basic("a%00:b")] {
            assert_eq!(code(&headers(&[bad]), ""), "invalid_client", "{bad}");
        }
    }
}
