//! `application/x-www-form-urlencoded` parameters, as RFC 6749 wants them: no parameter twice, and an empty one counts as absent.

use percent_encoding::percent_decode_str;

/// Each parameter is compared with all before it, and a body is long enough for tens of thousands: a stranger would buy seconds of CPU.
const MOST: usize = 64;

/// The parameters of a request body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

/// What is wrong with a form; for `error_description`.
pub type Problem = &'static str;

/// Decoded parameters in order; a name may stand several times.
pub fn pairs(text: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let text = std::str::from_utf8(text).map_err(|_| "the body is not form-encoded")?;
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == MOST {
            return Err("there are too many parameters");
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((decode(name)?, decode(value)?));
    }
    Ok(pairs)
}

impl Form {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let pairs = pairs(body)?;
        // Which of two would count is what parser-differential attacks are made of (RFC 6749 §3.2).
        for (at, (name, _)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(known, _)| known == name) {
                return Err("a parameter stands twice");
            }
        }
        Ok(Self(pairs))
    }

    /// The value, unless it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

/// Decodes `%XX` and `+`.
pub fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| "a parameter is not UTF-8")?;
    // U+0000 ends a text in some stores and not in others.
    if decoded.contains('\0') { Err("a parameter holds a forbidden character") } else { Ok(decoded.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_empty_ones_are_absent() {
        let form = Form::parse(b"grant_type=client_credentials&scope=a+b%20c&client_secret=&x").unwrap();
        assert_eq!(form.get("grant_type"), Some("client_credentials"));
        assert_eq!(form.get("scope"), Some("a b c"));
        assert_eq!((form.get("client_secret"), form.get("x"), form.get("y")), (None, None, None));
    }

    #[test]
    fn a_form_has_at_most_64_parameters() {
        let form = |count: usize| (0..count).map(|i| format!("p{i}=1")).collect::<Vec<_>>().join("&");
        assert!(Form::parse(form(MOST).as_bytes()).is_ok());
        assert!(Form::parse(form(MOST + 1).as_bytes()).is_err());
    }

    #[test]
    fn doubtful_forms_are_refused() {
        for bad in [&b"a=1&a=2"[..], b"a=&a=2", b"a=1&%61=2", b"a=%00", b"a=%ff", b"\xff=1"] {
            assert!(Form::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
