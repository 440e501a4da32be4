//! What the language of templates means.

use std::collections::BTreeMap;

use super::{Format, RenderError, Template};

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn rendered(source: &str, format: Format) -> Result<String, RenderError> {
    let known = variables(&[
        ("name", "Ada"),
        ("otp", "012345"),
        ("html", "<b a=\"1\" b='2'>&`"),
        ("zero", "0"),
        ("list", "a,b,c"),
    ]);
    Template::parse(source).unwrap_or_else(|error| panic!("{source}: {error}")).render(&known, format)
}

#[track_caller]
fn prints(source: &str, expected: &str) {
    assert_eq!(rendered(source, Format::Text).as_deref(), Ok(expected), "{source}");
}

#[track_caller]
fn refused(source: &str, line: usize, problem: &str) {
    let error = Template::parse(source).expect_err(source);
    assert!(error.line == line && error.problem.contains(problem), "{source}: {error}");
}

#[test]
fn eml_06_ctl_51_conditions_loops_and_pipes_print_what_they_say() {
    for (source, expected) in [
        ("plain { text } with } and {", "plain { text } with } and {"),
        ("Hello {{ name }}!", "Hello Ada!"),
        ("{{name}}{{ name|upper }}{{ upper(name) }}{{ upper: name }}", "AdaADAADAADA"),
        ("{{ nobody }}", ""),
        ("{{ if name }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if nobody }}yes{{ else }}no{{ end }}", "no"),
        ("{{ if nobody }}1{{ else if name == \"Bob\" }}2{{ else if name == `Ada` }}3{{ else }}4{{ end }}", "3"),
        ("{{ if !nobody && name != \"Bob\" || false }}yes{{ end }}", "yes"),
        ("{{ if not_there == \"\" }}empty{{ end }}", "empty"),
        ("{{ if (name == \"Ada\") == true }}yes{{ end }}", "yes"),
        ("{{ zero }}{{ if zero }} is text{{ end }}{{ if zero == 0 }} and a number{{ end }}", "0 is text and a number"),
        ("{{ if otp < 12346 && otp >= 12345 }}in{{ end }}", "in"),
        ("{{ name ? name : \"you\" }}, {{ nobody ? nobody : \"you\" }}", "Ada, you"),
        (
            "{{ \"a\" + name + 1 }} {{ 1 + 2 * 3 - 4 }} {{ 7 / 2 }} {{ 7 % 2 }} {{ (1 + 2) * 3 }} {{ -1 }} {{ 1 / 0 }}",
            "aAda1 3 3 1 9 -1 ",
        ),
        ("{{ range split(list, \",\") }}[{{ . }}]{{ end }}", "[a][b][c]"),
        ("{{ range i := split(list, \",\") }}{{ i }}{{ . }} {{ end }}", "0a 1b 2c "),
        ("{{ range i, item := split(list, \",\") }}{{ i + 1 }}{{ item | upper }} {{ end }}", "1A 2B 3C "),
        ("{{ range nobody }}x{{ else }}none{{ end }}", "none"),
        ("{{ range name }}{{ . }}{{ end }}", "Ada"),
        ("{{ range ints(1, 4) }}{{ . }}{{ end }}", "123"),
        ("{{ range slice(\"x\", \"y\") }}{{ range ints(0, 2) }}{{ . }}{{ end }}{{ . }}{{ end }}", "01x01y"),
        (
            "{{ range i, outer := slice(1, 2) }}{{ range i, inner := slice(3) }}{{ i }}{{ outer }}{{ inner }} {{ end }}{{ i }} {{ end }}",
            "013 0 023 1 ",
        ),
        (
            "{{ \"a-b\" | replace: \"-\", \"+\" }} {{ replace(\"aaa\", \"a\", \"b\", 2) }} {{ \"ab\" | repeat: 2 }}",
            "a+b bba abab",
        ),
        ("{{ 2 | repeat(\"foo\", _) }} {{ list | split: \",\" | len }} {{ len(name) }}", "foofoo 3 3"),
        (
            "{{ hasPrefix(name, \"A\") }} {{ hasSuffix(name, \"A\") }} {{ \" x \" | trimSpace }}|{{ isset(name) }}{{ isset(nobody) }}",
            "true false x|truefalse",
        ),
        ("{{ \"a b&ü/\" | url }}", "a%20b%26%C3%BC%2F"),
        ("a {* a comment {{ with }} anything *}b", "a b"),
        ("a \n {{- name -}} \n b", "aAdab"),
        ("{{ name }} -}}", "Ada -}}"),
        ("{{ \"}}\" }}{{ `{{` }}{{ \"\\\"\\n\\\\\" }}", "}}{{\"\n\\"),
        ("{{ if name }}\n  {{ name }}\n{{ end }}", "\n  Ada\n"),
        ("{{ list }} {{ split(list, \",\") }} {{ nil }}{{ true }}", "a,b,c a, b, c true"),
    ] {
        prints(source, expected);
    }
}

#[test]
fn eml_06_mistake_13_values_are_escaped_in_html_and_only_there() {
    let escaped = "&lt;b a=&#34;1&#34; b=&#39;2&#39;&gt;&amp;&#96;";
    let html = |source| rendered(source, Format::Html).unwrap();
    assert_eq!(html("<p title=\"{{ html }}\">{{ html }}</p>"), format!("<p title=\"{escaped}\">{escaped}</p>"));
    assert_eq!(html("{{ range slice(html, html) }}{{ . }}{{ end }}"), format!("{escaped}{escaped}"));
    assert_eq!(html("{{ html + html | lower }}"), format!("{escaped}{escaped}"));
    assert_eq!(html("{{ slice(html) }}"), escaped);
    assert_eq!(html("{{ \"<i>\" }}<i>"), "&lt;i&gt;<i>", "only the template's own text is markup");
    prints("{{ html }}", "<b a=\"1\" b='2'>&`");
    // Nothing takes the escapes away.
    for unsafe_ in ["raw", "unsafe", "safeHtml", "safeJs", "writeJson"] {
        refused(&format!("{{{{ html | {unsafe_} }}}}"), 1, "is not available in mail templates");
        refused(&format!("{{{{ {unsafe_}(html) }}}}"), 1, "is not available in mail templates");
    }
}

#[test]
fn mistake_13_a_value_is_never_read_as_a_template() {
    let hostile = variables(&[("name", "{{ otp }}{* *}{{ if }}"), ("otp", "012345")]);
    let template = Template::parse("{{ name }}{{ name | upper }}{{ name + \"{{ otp }}\" }}").unwrap();
    assert_eq!(
        template.render(&hostile, Format::Text).unwrap(),
        "{{ otp }}{* *}{{ if }}{{ OTP }}{* *}{{ IF }}{{ otp }}{* *}{{ if }}{{ otp }}"
    );
}

#[test]
fn eml_04_what_is_no_template_is_refused_with_its_line() {
    for (source, line, problem) in [
        ("{{ name", 1, "has no end `}}`"),
        ("a\nb {* c", 2, "has no end `*}`"),
        ("\n\n{{ if name }}x", 3, "has no `{{ end }}`"),
        ("\n{{ range name }}x{{ else }}", 2, "has no `{{ end }}`"),
        ("x\n{{ end }}", 2, "nothing open"),
        ("{{ else }}", 1, "nothing open"),
        ("{{ if name }}{{ else }}\n{{ else }}{{ end }}", 2, "`{{ end }}`"),
        ("{{ range name }}{{ else if name }}{{ end }}", 1, "expected here"),
        ("{{ }}", 1, "a value is expected"),
        ("{{ if }}{{ end }}", 1, "a value is expected"),
        ("{{ name name }}", 1, "`}}` is expected before `name`"),
        ("{{ name | }}", 1, "name of a function is expected"),
        ("\r\n{{ name | shout }}", 2, "there is no function `shout`"),
        ("{{ shout(name) }}", 1, "there is no function `shout`"),
        ("{{ upper }}", 1, "is a function"),
        ("{{ upper(name, name) }}", 1, "is given 2 values"),
        ("{{ name | repeat }}", 1, "is given 1 values"),
        ("{{ user.name }}", 1, "has no fields"),
        ("{{ .name }}", 1, "within `range` only"),
        ("{{ range name }}{{ .name }}{{ end }}", 1, "no fields"),
        ("{{ user.Rename(\"x\") }}", 1, "has no fields"),
        ("{{ x := 1 }}", 1, "variables cannot be set"),
        ("{{ include \"a.jet\" }}", 1, "`include` is not available"),
        ("{{ block a() }}{{ end }}", 1, "`block` is not available"),
        ("{{ extends \"a\" }}", 1, "`extends` is not available"),
        ("{{ range upper := name }}{{ end }}", 1, "cannot be the name of a variable"),
        ("{{ name[0] }}", 1, "`[` has no meaning"),
        ("{{ name; name }}", 1, "`;` has no meaning"),
        ("{{ \"a\nb\" }}", 1, "a text has no end"),
        ("{{ \"\\x\" }}", 1, "a text has `\\`"),
        ("{{ `a }}", 1, "a text has no end"),
        ("{{ 99999999999999999999 }}", 1, "a number is too large"),
        ("{{ _ }}", 1, "`_`"),
        ("{{ upper(_) }}", 1, "`_`"),
        ("{{ name | repeat(_, _) }}", 1, "`_`"),
        ("{{ name ? 1 }}", 1, "`:` is expected"),
        ("{{ (name }}", 1, "`)` is expected"),
    ] {
        refused(source, line, problem);
    }
}

#[test]
fn a_template_cannot_take_the_server_with_it() {
    for (source, error) in [
        ("{{ range ints(0, 1000000000) }}x{{ end }}", RenderError::Work),
        ("{{ range ints(0, 9000) }}{{ range ints(0, 9000) }}x{{ end }}{{ end }}", RenderError::Work),
        ("{{ \"x\" | repeat: 1000000000000 }}", RenderError::Length),
        ("{{ replace(repeat(\"x\", 60000), \"x\", repeat(\"y\", 60000)) }}", RenderError::Length),
        ("{{ range ints(0, 5000) }}{{ if repeat(\"x\", 60000) == 1 }}{{ end }}{{ end }}", RenderError::Work),
        ("{{ range ints(0, 3) }}{{ split(repeat(\"x\", 60000), \"\") | len }}{{ end }}", RenderError::Work),
    ] {
        assert_eq!(rendered(source, Format::Text), Err(error), "{source}");
    }
    let long = "x".repeat(1024 * 1024);
    assert_eq!(
        rendered(&format!("{{{{ range ints(0, 3) }}}}{long}{{{{ end }}}}"), Format::Text),
        Err(RenderError::Length)
    );
    for deep in [
        format!("{{{{ {}name{} }}}}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("{{{{ {}name }}}}", "!".repeat(10_000)),
        format!("{{{{ name{} }}}}", " + name".repeat(100_000)),
        format!("{{{{ name{} }}}}", " | upper".repeat(100_000)),
        format!("{{{{ name{} }}}}", " ? 1 : 2".repeat(100_000)),
        "{{ if name }}".repeat(100_000),
        format!("{}{}", "{{ range name }}".repeat(40), "{{ end }}".repeat(40)),
    ] {
        Template::parse(&deep).expect_err("too deep");
    }
    // Long is not deep.
    prints(&"{{ if name }}{{ end }}".repeat(10_000), "");
    let branches = "{{ else if nobody }}x".repeat(10_000);
    prints(&format!("{{{{ if nobody }}}}{branches}{{{{ else }}}}y{{{{ end }}}}"), "y");
}

#[test]
fn eml_04_a_template_tells_the_variables_that_it_names() {
    let template = Template::parse(
        "{{ name }}{{ if company }}{{ company | upper }}{{ end }}{{ range i, item := split(list, \",\") }}{{ item }}{{ i }}{{ end }}\
         {{ isset(maybe) ? 1 : 2 }}",
    )
    .unwrap();
    let names = |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(template.variables()), "company list maybe name");
    assert_eq!(names(template.required()), "company list name");
}
