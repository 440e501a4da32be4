//! Values that end up in a stylesheet.

/// A CSS `background` value that stays one declaration's value wherever it is put: everything from the first character that could end
/// it is cut off, and a value that could run code or import is dropped.
pub(crate) fn one_declaration(style: &str) -> String {
    let ends = |c: char| matches!(c, ';' | '{' | '}' | '<' | '>' | '\\') || c.is_control();
    let value = style.split(ends).next().unwrap_or_default().trim();
    let compact: String = value.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    // A comment can hide any of the words; none belongs in a background.
    let dangerous =
        ["javascript:", "vbscript:", "expression(", "data:text", "@import", "behavior:", "-moz-binding", "/*", "*/"];
    if dangerous.iter().any(|word| compact.contains(word)) { String::new() } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::one_declaration;

    #[test]
    fn org_19_a_background_style_cannot_leave_its_declaration() {
        for (given, kept) in [
            ("linear-gradient(90deg, #fff, #000)", "linear-gradient(90deg, #fff, #000)"),
            (
                "url(https://cdn.example.com/a.png) no-repeat center / cover",
                "url(https://cdn.example.com/a.png) no-repeat center / cover",
            ),
            ("red; position: fixed", "red"),
            ("red} body { display: none", "red"),
            ("red</style><script>alert(1)</script>", "red"),
            ("url(javascript:alert(1))", ""),
            ("url( JaVa\tScript:alert(1))", "url( JaVa"),
            ("url(java/**/script:alert(1))", ""),
            ("\\75rl(evil)", ""),
        ] {
            assert_eq!(one_declaration(given), kept, "{given}");
        }
    }
}
