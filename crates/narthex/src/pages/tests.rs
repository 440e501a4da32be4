use http_body_util::BodyExt;

use super::gallery::{self, LOOKS, NAMES, WORDS, Words};
use super::*;

async fn html(response: Response<Body>) -> String {
    match response.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(never) => match never {},
    }
}

#[tokio::test]
async fn lgn_14_every_page_refuses_framing_and_its_forms_carry_the_token() {
    for name in NAMES {
        for look in LOOKS {
            let look = gallery::look(look).expect("a look of the gallery");
            let response = gallery::page(name, &look, &WORDS).expect(name);
            let headers = response.headers().clone();
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect(name).to_owned();
            for part in [
                "default-src 'none'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
                "script-src 'self';",
                "form-action 'self' https:;",
            ] {
                assert!(policy.contains(part), "{name}: {part} in {policy}");
            }
            assert!(!policy.contains("unsafe-"), "{name}: {policy}");
            assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY");
            assert_eq!(headers[header::REFERRER_POLICY], "same-origin");
            assert_eq!(headers[header::CACHE_CONTROL], "no-store");
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert!(
                !headers.contains_key("cross-origin-opener-policy"),
                "clients that open a window would lose its handle"
            );
            let html = html(response).await;
            let forms = html.matches("<form ").count();
            assert_eq!(html.matches("name=\"csrf\" value=\"sample\"").count(), forms, "{name}");
            assert!(!html.contains(" style=") && !html.contains(" onclick"), "{name} has what its policy forbids");
            assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"), "{name}");
            assert_eq!(html.matches("<h1").count(), 1, "{name}");
        }
    }
    assert!(gallery::page("unknown", &Look::default(), &WORDS).is_none());
}

#[tokio::test]
async fn mistake_13_a_name_is_text_on_every_page() {
    let hostile = "\"><script>alert(1)</script>'{{x}}&lt;\u{202e}";
    let words = Words {
        name: hostile,
        email: hostile,
        sentence: hostile,
        picture: Some("javascript:alert(1)"),
        url: "javascript:alert(1)",
    };
    let settings = serde_json::json!({"app_name": hostile, "organization_meta_name": hostile});
    let look = Look::new(settings.as_object().expect("an object"));
    for name in NAMES {
        let response = gallery::page(name, &look, &words).expect(name);
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect(name).to_owned();
        assert!(!policy.contains("javascript"), "{name}: {policy}");
        let html = html(response).await;
        assert_eq!(html.matches("<script").count(), 1, "{name}: {html}");
        assert!(!html.contains("\"><script>"), "{name}");
        assert!(!html.contains("javascript:"), "{name}");
    }
}

#[tokio::test]
async fn lgn_05_headings_follow_application_organization_and_intent() {
    let settings = serde_json::json!({"app_name": "Acme"});
    let named = Look::new(settings.as_object().expect("an object"));
    let plain = Look::default();
    let organization = named.clone().of_organization("Globex", None);
    for (look, page, heading) in [
        (&plain, "sign-in", "Login to your account"),
        (&named, "sign-in", "Login to Acme"),
        (&organization, "sign-in", "Login to Globex"),
        (&plain, "sign-up", "Create your account"),
        (&named, "sign-up", "Create your Acme account"),
        (&organization, "sign-up", "Create your Acme account"),
    ] {
        let html = html(gallery::page(page, look, &WORDS).expect(page)).await;
        assert!(html.contains(&format!("<h1><bdi>{heading}</bdi></h1>")), "{page}: {heading}\n{html}");
        assert!(html.contains(&format!("<title>{heading}</title>")), "{page}");
    }
}

#[tokio::test]
async fn lgn_06_documented_selectors_are_in_the_markup() {
    let look = Look::default();
    for page in ["sign-in", "sign-in-every-way", "sign-up", "enter-code"] {
        let html = html(gallery::page(page, &look, &WORDS).expect(page)).await;
        // Whoever looks for a submit button by a part of its name must find this one alone.
        let submits: Vec<_> = html.split("<button ").skip(1).filter(|tag| tag.contains("type=\"submit\"")).collect();
        let continues =
            submits.iter().filter(|tag| tag.split('<').next().is_some_and(|tag| tag.ends_with(">Continue")));
        assert_eq!(continues.count(), 1, "{page}: {html}");
        assert_eq!(submits.iter().filter(|tag| tag.contains("Continue")).count(), 1, "{page}");
        let field =
            if page == "enter-code" { "data-scope=\"pin-input\" data-part=\"input\"" } else { "name=\"email\"" };
        assert_eq!(html.matches(field).count(), 1, "{page}");
    }
}

#[test]
fn a_form_may_end_where_its_transaction_leads() {
    let look = Look::default();
    let forms = |destination| {
        let policy = Frame { destination, ..Frame::new(&look) }.policy(&[]);
        policy.split("; ").find_map(|part| part.strip_prefix("form-action ")).unwrap_or_default().to_owned()
    };
    for (destination, expected) in [
        (None, "'self'"),
        (Some("https://app.example/callback"), "'self' https:"),
        (Some("http://localhost:3000/callback"), "'self' https: http:"),
        (Some("Cursor://anysphere/callback"), "'self' https: cursor:"),
        (Some("com.example.app:/callback"), "'self' https: com.example.app:"),
        (Some("javascript:alert(1)"), "'self' https:"),
        (Some("x; script-src *:/"), "'self' https:"),
        (Some(""), "'self' https:"),
    ] {
        assert_eq!(forms(destination), expected, "{destination:?}");
    }
}

#[test]
fn pictures_are_named_in_the_policy_until_they_are_too_many() {
    let look = Look::default();
    let images = |count: usize| {
        let origins: Vec<String> = (0..count).map(|at| format!("https://cdn{at}.example")).collect();
        let policy = Frame::new(&look).policy(&origins);
        policy.split("; ").find_map(|part| part.strip_prefix("img-src ")).unwrap_or_default().to_owned()
    };
    assert_eq!(images(2), "'self' https://cdn0.example https://cdn1.example");
    assert_eq!(images(200), "'self' https:");
}

#[tokio::test]
async fn a_stranger_s_logo_is_not_fetched() {
    let words = Words { picture: Some("https://tracker.example/pixel.png"), ..WORDS };
    for (page, shown) in [("consent", 1), ("consent-verified", 2)] {
        let html = html(gallery::page(page, &Look::default(), &words).expect(page)).await;
        assert_eq!(html.matches("<img src=\"https://tracker.example").count(), shown, "{page}");
    }
}

#[test]
fn the_stylesheet_has_both_schemes_as_the_looks_know_them() {
    let css = include_str!("assets/pages.css");
    for scheme in [include_str!("assets/light.css"), include_str!("assets/dark.css")] {
        assert!(css.contains(scheme), "{scheme}");
    }
}
