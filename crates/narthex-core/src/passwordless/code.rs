//! Codes and links, made from a request's seed.

use aws_lc_rs::constant_time;

use crate::connections::CodeType;
use crate::portal_links::uuid;
use crate::seal::{MacKey, Secret, sha256};

/// Characters of codes with letters: none that is taken for another.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// What says that a link is for signing in.
const SUFFIX: &str = "_l";

/// Random bytes that code and link follow from.
pub(super) type Seed = [u8; 16];

/// The code of a request. Never all zeros, which test suites take for one that is always wrong.
pub(super) fn code(key: &MacKey, id: &str, seed: &Seed, kind: CodeType, length: u32) -> Secret<String> {
    let tag = key.tag("passwordless code", &[id.as_bytes(), seed]);
    let mut number = u64::from_be_bytes(tag[..8].try_into().unwrap_or_default());
    let length = length as usize;
    Secret::new(match kind {
        CodeType::Numeric => {
            // 2^64 is so much more than 10^6 that no code is likelier than another by more than one in 10^13.
            let codes = 10_u64.saturating_pow(u32::try_from(length).unwrap_or(u32::MAX)).saturating_sub(1).max(1);
            format!("{:0length$}", number % codes + 1)
        }
        CodeType::Alphanumeric => (0..length)
            .map(|_| {
                let letter = ALPHABET[usize::try_from(number % 32).unwrap_or_default()];
                number /= 32;
                char::from(letter)
            })
            .collect(),
    })
}

/// The token of a request's link.
pub(super) fn link_token(key: &MacKey, id: &str, seed: &Seed) -> Secret<String> {
    let tag = key.tag("passwordless link", &[id.as_bytes(), seed]);
    Secret::new(format!("{}{SUFFIX}", uuid(tag[..16].try_into().unwrap_or_default())))
}

/// What a link is found by. The suffix says what kind of link it is and is no part of the secret; some samples have none.
pub(super) fn link_hash(token: &str) -> [u8; 32] {
    let token = token.trim();
    sha256(token.strip_suffix(SUFFIX).unwrap_or(token).as_bytes())
}

/// Whether what was typed is the code, whatever the case of its letters and the spaces around it.
pub(super) fn is_code(typed: &str, code: &str) -> bool {
    let typed = typed.trim().to_ascii_uppercase();
    constant_time::verify_slices_are_equal(typed.as_bytes(), code.as_bytes()).is_ok()
}

/// The address of a link in a mail to an application's page: the token in its query, which may have other members, and before its
/// fragment.
pub(super) fn link_to(page: &str, token: &str) -> String {
    let (page, fragment) = page.split_once('#').map_or((page, None), |(page, fragment)| (page, Some(fragment)));
    let join = match page.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{page}{join}link_token={token}{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pwl_03_a_link_keeps_the_query_and_the_fragment_of_its_page() {
        for (page, link) in [
            ("https://a.test/cb", "https://a.test/cb?link_token=T"),
            ("https://a.test/cb?x=1", "https://a.test/cb?x=1&link_token=T"),
            ("https://a.test/cb?", "https://a.test/cb?link_token=T"),
            ("https://a.test/cb?x=1&", "https://a.test/cb?x=1&link_token=T"),
            ("https://a.test/cb#part", "https://a.test/cb?link_token=T#part"),
            ("https://a.test/cb?x=1#part?y", "https://a.test/cb?x=1&link_token=T#part?y"),
            ("https://a.test", "https://a.test?link_token=T"),
        ] {
            assert_eq!(link_to(page, "T"), link);
        }
    }

    #[test]
    fn codes_have_their_length_and_are_spread_and_never_all_zeros() {
        let key = MacKey::of(&[7; 32]);
        let mut seen = std::collections::HashSet::new();
        for turn in 0..20_000_u64 {
            let mut seed = Seed::default();
            seed[..8].copy_from_slice(&turn.to_be_bytes());
            let digits = code(&key, "id", &seed, CodeType::Numeric, 6);
            assert!(
                digits.expose().len() == 6 && digits.expose().bytes().all(|b| b.is_ascii_digit()),
                "{}",
                digits.expose()
            );
            assert_ne!(digits.expose(), "000000");
            seen.insert(digits.expose().clone());
            let letters = code(&key, "id", &seed, CodeType::Alphanumeric, 5);
            assert!(letters.expose().len() == 5 && letters.expose().bytes().all(|b| ALPHABET.contains(&b)));
        }
        // Of a million, 20,000 draws hit about 198 twice.
        assert!((19_700..19_900).contains(&seen.len()), "{}", seen.len());
        let (one, other) =
            (code(&key, "a", &[0; 16], CodeType::Numeric, 6), code(&key, "b", &[0; 16], CodeType::Numeric, 6));
        assert_ne!(one.expose(), other.expose(), "a seed that is put into another row gives another code");
    }

    #[test]
    fn a_token_is_a_uuid_with_the_mark_of_a_login_and_is_found_without_it_too() {
        let token = link_token(&MacKey::of(&[7; 32]), "id", &[1; 16]);
        let (bare, mark) = token.expose().split_at(36);
        assert_eq!(mark, "_l");
        assert_eq!(link_hash(bare), link_hash(token.expose()));
        assert_ne!(link_hash(&bare.to_uppercase()), link_hash(bare));
        assert!(is_code(" ab2c3 ", "AB2C3") && !is_code("AB2C", "AB2C3") && !is_code("", "AB2C3"));
    }
}
