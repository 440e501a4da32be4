//! Domains that are nobody's in particular. The lists are files beside this one: well-known names, not all that exist. A list is short
//! and seldom asked, so it is walked.

const PUBLIC: &str = include_str!("public.txt");
const DISPOSABLE: &str = include_str!("disposable.txt");
const SUFFIXES: &str = include_str!("suffixes.txt");

fn entries(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Whether a name in its kept form is that of a provider where anybody can have an address, or lies below one.
pub fn is_public(name: &str) -> bool {
    is_at_or_below(PUBLIC, name)
}

/// Whether a name in its kept form is that of a provider of addresses to throw away, or lies below one.
pub fn is_disposable(name: &str) -> bool {
    is_at_or_below(DISPOSABLE, name)
}

/// Whether anybody can register a name below this one.
pub(super) fn is_suffix(name: &str) -> bool {
    entries(SUFFIXES).any(|entry| entry == name)
}

fn is_at_or_below(list: &'static str, name: &str) -> bool {
    entries(list).any(|entry| name.strip_suffix(entry).is_some_and(|above| above.is_empty() || above.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domains::name::fold;

    #[test]
    fn every_entry_is_a_name_in_its_kept_form() {
        for list in [PUBLIC, DISPOSABLE, SUFFIXES] {
            assert!(entries(list).count() > 50);
            for entry in entries(list) {
                assert_eq!(fold(entry), Ok(entry.to_owned()));
            }
        }
    }
}
