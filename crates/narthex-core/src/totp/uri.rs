//! What an app reads from a QR code: `otpauth://totp/Issuer:account?secret=…&issuer=Issuer`.

use std::fmt::Write as _;

/// Longest URI (`TOTPRegistration.qr_code_uri`).
const LONGEST: usize = 1_024;
/// Longest name of an issuer in it, in characters.
const LONGEST_ISSUER: usize = 40;

/// The URI. Names that would make it too long are cut: they are for people.
pub(super) fn of(issuer: &str, account: &str, secret: &[u8]) -> String {
    // The colon is what separates the two.
    let issuer: String = issuer.chars().filter(|c| *c != ':').take(LONGEST_ISSUER).collect();
    let issuer = escaped(&issuer);
    let rest = format!("?secret={}&issuer={issuer}", base32(secret));
    let mut uri = format!("otpauth://totp/{issuer}:");
    for c in account.chars() {
        let c = escaped(c.encode_utf8(&mut [0; 4]));
        if uri.len() + c.len() + rest.len() > LONGEST {
            break;
        }
        uri.push_str(&c);
    }
    uri + &rest
}

/// RFC 3986 §2.3: everything but the unreserved characters, and `@`, which every app reads.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a String takes everything");
        }
    }
    escaped
}

/// RFC 4648 §6, without padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut padded = [0; 8];
        padded[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(padded);
        for at in 0..(chunk.len() * 8).div_ceil(5) {
            let index = usize::try_from(bits >> (35 - 5 * at) & 31).unwrap_or(0);
            text.push(char::from(ALPHABET[index]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totp_01_secrets_are_in_the_base32_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn totp_01_the_uri_is_what_apps_read() {
        assert_eq!(
            of("Acme: Co", "ann+x@example.com", b"12345678901234567890"),
            "otpauth://totp/Acme%20Co:ann%2Bx@example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme%20Co"
        );
        let long = of(&"é".repeat(300), &"ü".repeat(355), &[0; 20]);
        assert!(long.len() <= LONGEST && long.ends_with(&"%C3%A9".repeat(LONGEST_ISSUER)), "{long}");
        assert!(long.contains("%C3%BC?secret="), "cut between characters: {long}");
    }
}
