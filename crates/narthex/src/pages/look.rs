//! How an environment's hosted pages look: branding as it was configured, turned into values that can stand in a page and its stylesheet
//! as they are. A value that is not what its key calls for is never shown: the default takes its place, so that no branding can break a
//! login, and none can smuggle anything into a stylesheet.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::color::{BLACK, Color, WHITE};

/// Longest text that is shown of a name.
const LONGEST_NAME: usize = 200;
/// Longest URL and longest background style.
const LONGEST_VALUE: usize = 2_048;

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the words of the settings
pub enum Alignment {
    Left,
    Center,
    Right,
}

impl Alignment {
    /// CSS class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Center => "center",
            Self::Right => "right",
        }
    }
}

/// An organization whose own logo and name stand on the page in place of the application's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationLook {
    /// Its name.
    pub name: String,
    /// Its logo, if it has one that can be shown.
    pub logo_url: Option<String>,
}

/// The branding of the pages of one environment, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Name of the application.
    pub app_name: Option<String>,
    /// The organization that the login is for, when organizations show their own branding.
    pub organization: Option<OrganizationLook>,
    /// Logo.
    pub logo_url: Option<String>,
    /// Logo for those who prefer dark pages; without one, the logo stands on a light plate there.
    pub logo_dark_url: Option<String>,
    /// Icon of the browser tab.
    pub favicon_url: Option<String>,
    /// Whether the logo stands above the box, not in it.
    pub logo_outside: bool,
    /// Of the logo.
    pub logo_alignment: Alignment,
    /// Of the heading.
    pub header_alignment: Alignment,
    /// Whether social logins stand below the email field.
    pub social_at_bottom: bool,
    /// Terms of service.
    pub terms_url: Option<String>,
    /// Privacy policy.
    pub privacy_url: Option<String>,
    /// Mail address of the application's support.
    pub support_email: Option<String>,
    /// What the application calls an organization, e.g. `Workspace`.
    pub organization_word: String,
    /// Whether the note on the product is shown.
    pub powered_by: bool,
    css: String,
    css_hash: String,
    background_origins: Vec<String>,
    font_origin: Option<String>,
}

impl Default for Look {
    fn default() -> Self {
        Self::new(&Map::new())
    }
}

/// A setting that is not shown, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Key.
    pub key: &'static str,
    /// What it must be.
    pub must_be: &'static str,
}

impl Look {
    /// The look that settings ask for; what is unusable in them is left out.
    pub fn new(settings: &Map<String, Value>) -> Self {
        Self::read(settings).0
    }

    /// What of the settings would not be shown. For whoever saves them: these are mistakes that should be refused.
    pub fn unusable(settings: &Map<String, Value>) -> Vec<Unusable> {
        Self::read(settings).1
    }

    /// The same look, with an organization's own name and logo; an unusable logo counts as none.
    #[must_use]
    pub fn of_organization(mut self, name: &str, logo_url: Option<&str>) -> Self {
        let logo_url = logo_url.and_then(image_url);
        self.organization = text(name).map(|name| OrganizationLook { name, logo_url });
        self
    }

    fn read(settings: &Map<String, Value>) -> (Self, Vec<Unusable>) {
        let mut from = Settings { settings, unusable: Vec::new() };
        let background = from.get(
            "background_style",
            "one value of the CSS property `background`; URLs in it are https",
            background,
        );
        let font_url = from.get("font_url", AN_IMAGE_URL, font_url);
        let css = Css {
            button: from.color("primary_button_color"),
            button_text: from.color("primary_button_text_color"),
            background_color: from.color("background_color"),
            background: background.as_ref().map(|(value, _)| value.as_str()),
            radius: from.get("border_radius", "`small`, `medium` or `large`", |value| match value {
                "small" => Some("4px"),
                "medium" => Some("8px"),
                "large" => Some("14px"),
                _ => None,
            }),
            font_url: font_url.as_deref(),
            scheme: from.get("color_scheme", "`light`, `dark` or `auto`", |value| match value {
                "light" => Some(Scheme::Light),
                "dark" => Some(Scheme::Dark),
                "auto" => Some(Scheme::Auto),
                _ => None,
            }),
        }
        .text();
        let look = Self {
            app_name: from.get("app_name", A_NAME, text),
            organization: None,
            logo_url: from.get("logo_url", AN_IMAGE_URL, image_url),
            logo_dark_url: from.get("logo_dark_url", AN_IMAGE_URL, image_url),
            favicon_url: from.get("favicon_url", AN_IMAGE_URL, image_url),
            logo_outside: from.get("logo_position", "`inside` or `outside`", |value| match value {
                "inside" => Some(false),
                "outside" => Some(true),
                _ => None,
            }) == Some(true),
            logo_alignment: from.get("logo_alignment", AN_ALIGNMENT, alignment).unwrap_or(Alignment::Center),
            header_alignment: from.get("header_text_alignment", AN_ALIGNMENT, alignment).unwrap_or(Alignment::Center),
            social_at_bottom: from.get("social_login_placement", "`top` or `bottom`", |value| match value {
                "top" => Some(false),
                "bottom" => Some(true),
                _ => None,
            }) == Some(true),
            terms_url: from.get("tos_url", A_URL, web_url),
            privacy_url: from.get("privacy_url", A_URL, web_url),
            support_email: from.get("support_email", "a mail address", mail_address),
            organization_word: from
                .get("organization_meta_name", "a name of at most 200 characters", text)
                .unwrap_or_else(|| "Organization".to_owned()),
            powered_by: from.flag("powered_by").unwrap_or(true),
            css_hash: if css.is_empty() { String::new() } else { STANDARD.encode(digest(&SHA256, css.as_bytes())) },
            css,
            background_origins: background.map(|(_, origins)| origins).unwrap_or_default(),
            font_origin: font_url.as_deref().map(origin),
        };
        (look, from.unusable)
    }

    /// The stylesheet of what differs from the default look; empty if nothing does. Safe to stand between `<style>` and `</style>`.
    pub fn css(&self) -> &str {
        &self.css
    }

    /// The `style-src` source that lets this stylesheet, and no other, stand in the page.
    pub fn css_source(&self) -> Option<String> {
        (!self.css.is_empty()).then(|| format!("'sha256-{}'", self.css_hash))
    }

    /// The origin of the font, for `font-src`.
    pub fn font_origin(&self) -> Option<&str> {
        self.font_origin.as_deref()
    }

    /// The origins of every image of this look, for `img-src`.
    pub fn image_origins(&self) -> Vec<String> {
        let organization_logo = self.organization.as_ref().and_then(|organization| organization.logo_url.as_ref());
        let images = [&self.logo_url, &self.logo_dark_url, &self.favicon_url];
        let images = images.into_iter().flatten().chain(organization_logo);
        images.map(|url| origin(url)).chain(self.background_origins.iter().cloned()).collect()
    }
}

const A_NAME: &str = "a text of at most 200 characters";
const A_URL: &str = "an http or https URL";
const AN_IMAGE_URL: &str = "an https URL";
const AN_ALIGNMENT: &str = "`left`, `center` or `right`";

struct Settings<'a> {
    settings: &'a Map<String, Value>,
    unusable: Vec<Unusable>,
}

impl Settings<'_> {
    /// A text under a key, if it is there, not empty, and passes.
    fn get<T>(&mut self, key: &'static str, must_be: &'static str, pass: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = match self.settings.get(key)? {
            Value::Null => return None,
            Value::String(value) if value.trim().is_empty() => return None,
            Value::String(value) => pass(value.trim()),
            _ => None,
        };
        if value.is_none() {
            self.unusable.push(Unusable { key, must_be });
        }
        value
    }

    fn color(&mut self, key: &'static str) -> Option<Color> {
        self.get(key, "a colour as #rgb or #rrggbb", Color::parse)
    }

    fn flag(&mut self, key: &'static str) -> Option<bool> {
        match self.settings.get(key)? {
            Value::Bool(value) => Some(*value),
            Value::Null => None,
            _ => {
                self.unusable.push(Unusable { key, must_be: "true or false" });
                None
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Light,
    Dark,
    Auto,
}

/// What a look changes in the stylesheet.
struct Css<'a> {
    button: Option<Color>,
    button_text: Option<Color>,
    background_color: Option<Color>,
    background: Option<&'a str>,
    radius: Option<&'static str>,
    font_url: Option<&'a str>,
    scheme: Option<Scheme>,
}

/// The box of the dark pages, as in `pages.css`.
const DARK_SURFACE: Color = Color(0x18, 0x18, 0x1b);

impl Css<'_> {
    fn text(&self) -> String {
        let mut css = String::new();
        if let Some(url) = self.font_url {
            put(&mut css, format_args!("@font-face{{font-family:brand;src:url(\"{url}\");font-display:swap}}"));
        }
        let mut light = String::new();
        let mut dark = String::new();
        if let Some(radius) = self.radius {
            put(&mut light, format_args!("--radius:{radius};"));
        }
        if self.font_url.is_some() {
            light.push_str("--font:brand,system-ui,sans-serif;");
        }
        if self.button.is_some() || self.button_text.is_some() {
            let button = self.button.unwrap_or(BLACK);
            // Brand or not, what a button says must be readable (WCAG 1.4.3).
            let text =
                self.button_text.filter(|text| text.contrast(button) >= 4.5).unwrap_or_else(|| button.readable());
            put(&mut light, format_args!("--button:{button};--button-text:{text};"));
            // The accent is the colour of links and focus rings on the box: only where it can be seen.
            if button.contrast(WHITE) >= 4.5 {
                put(&mut light, format_args!("--accent:{button};"));
            }
            // A dark button would vanish on a dark box; there the default, a light one, stands for it.
            if button.contrast(DARK_SURFACE) >= 3.0 {
                put(&mut dark, format_args!("--button:{button};--button-text:{text};"));
            } else {
                dark.push_str("--button:#fafafa;--button-text:#18181b;");
            }
            if button.contrast(DARK_SURFACE) >= 4.5 {
                put(&mut dark, format_args!("--accent:{button};"));
            } else if button.contrast(WHITE) >= 4.5 {
                dark.push_str("--accent:#fafafa;");
            }
        }
        if let Some(color) = self.background_color {
            put(&mut light, format_args!("--page:{color};--page-text:{};", color.readable_soft()));
            // Whoever prefers dark pages gets a dark one, unless the brand's own colour is dark already.
            if color.contrast(WHITE) >= 7.0 {
                put(&mut dark, format_args!("--page:{color};--page-text:{};", color.readable_soft()));
            } else {
                dark.push_str("--page:#09090b;--page-text:#a1a1aa;");
            }
        }
        match self.scheme.unwrap_or(Scheme::Auto) {
            Scheme::Light => css.push_str(":root{color-scheme:light}"),
            Scheme::Dark => {
                light.push_str(DARK);
                light.push_str(&dark);
            }
            Scheme::Auto => {}
        }
        if !light.is_empty() {
            put(&mut css, format_args!(":root{{{light}}}"));
        }
        if self.scheme == Some(Scheme::Light) {
            put(&mut css, format_args!("@media(prefers-color-scheme:dark){{:root{{{LIGHT}{light}}}}}"));
        } else if self.scheme != Some(Scheme::Dark) && !dark.is_empty() {
            put(&mut css, format_args!("@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"));
        }
        if let Some(value) = self.background {
            // On what lies under text nothing is known of a picture: the foot gets a plate of its own.
            put(&mut css, format_args!("body{{background:{value}}}.foot{{background:var(--box);color:var(--soft)}}"));
        }
        css
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    text.write_fmt(arguments).unwrap_or_default();
}

/// The variables of the two schemes of `pages.css`, for a look that wants one of them whatever the browser prefers.
const LIGHT: &str = include_str!("assets/light.css");
const DARK: &str = include_str!("assets/dark.css");

/// A name that can be shown: no control characters, none that turn the direction of what follows, not longer than a name is.
pub fn text(value: &str) -> Option<String> {
    let shown: String = value.chars().filter(|c| !is_invisible(*c)).collect();
    let shown = shown.trim();
    (!shown.is_empty() && shown.chars().count() <= LONGEST_NAME).then(|| shown.to_owned())
}

/// Control characters, and the marks that embed, override or isolate a direction: a name with them could rewrite the line it stands in.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn alignment(value: &str) -> Option<Alignment> {
    match value {
        "left" => Some(Alignment::Left),
        "center" => Some(Alignment::Center),
        "right" => Some(Alignment::Right),
        _ => None,
    }
}

fn mail_address(value: &str) -> Option<String> {
    let (local, domain) = value.split_once('@')?;
    let fits =
        |text: &str, more: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || more.contains(c));
    (value.len() <= 320 && fits(local, "!#$'*+-/=^_`{|}~.") && fits(domain, "-.")).then(|| value.to_owned())
}

/// An http or https URL that can stand in `href`: `javascript:` and its like are not.
pub fn web_url(value: &str) -> Option<String> {
    absolute_url(value, true)
}

/// A URL of a picture: https, or http on loopback.
pub fn image_url(value: &str) -> Option<String> {
    absolute_url(value, false)
}

fn font_url(value: &str) -> Option<String> {
    image_url(value)
}

/// Takes only what needs no escaping, neither in a stylesheet nor in a header: everything else is percent-encoded in a URL anyway.
fn absolute_url(value: &str, plain: bool) -> Option<String> {
    let uri: http::Uri = value.parse().ok()?;
    let authority = uri.authority()?;
    let host = authority.host();
    let scheme = uri.scheme_str()?;
    let loopback = matches!(host, "localhost" | "127.0.0.1");
    let may = scheme == "https" || scheme == "http" && (plain || loopback);
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&*+,=%".contains(&byte);
    // Userinfo makes a URL look like another's (`https://acme.com@evil.example`).
    let honest = !authority.as_str().contains('@')
        && !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    (may && honest && value.len() <= LONGEST_VALUE && value.bytes().all(safe)).then(|| value.to_owned())
}

/// `scheme://host[:port]` of a URL that has passed.
pub(super) fn origin(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    url[..end].to_owned()
}

/// One value of `background`, and the origins of its pictures. Only functions that draw are let in, only characters that can end neither the
/// declaration nor the stylesheet, and brackets must match.
fn background(value: &str) -> Option<(String, Vec<String>)> {
    const DRAWING: [&str; 11] = [
        "url",
        "linear-gradient",
        "radial-gradient",
        "conic-gradient",
        "repeating-linear-gradient",
        "repeating-radial-gradient",
        "repeating-conic-gradient",
        "rgb",
        "rgba",
        "hsl",
        "hsla",
    ];
    if value.len() > LONGEST_VALUE {
        return None;
    }
    let mut origins = Vec::new();
    let mut depth = 0_u32;
    let mut rest = value;
    let mut kept = String::with_capacity(value.len());
    while let Some(c) = rest.chars().next() {
        match c {
            '(' => {
                let name_at = kept.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).map_or(0, |at| at + 1);
                let name = kept[name_at..].to_ascii_lowercase();
                if !DRAWING.contains(&name.as_str()) {
                    return None;
                }
                if name == "url" {
                    let (inside, after) = rest[1..].split_once(')')?;
                    let url = image_url(inside.trim().trim_matches(['"', '\'']))?;
                    origins.push(origin(&url));
                    kept.extend(["(\"", &url, "\")"]);
                    rest = after;
                    continue;
                }
                depth += 1;
            }
            ')' => depth = depth.checked_sub(1)?,
            ' ' | ',' | '.' | '%' | '#' | '-' | '+' => {}
            '/' if !rest[1..].starts_with(['*', '/']) => {}
            c if c.is_ascii_alphanumeric() => {}
            _ => return None,
        }
        kept.push(c);
        rest = &rest[c.len_utf8()..];
    }
    (depth == 0).then_some((kept, origins))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    #[test]
    fn without_settings_nothing_is_added_to_the_stylesheet() {
        let look = Look::default();
        assert_eq!((look.css(), look.css_source(), look.image_origins()), ("", None, Vec::new()));
        assert_eq!(look.organization_word, "Organization");
        assert!(look.powered_by);
    }

    #[test]
    fn lgn_15_settings_become_variables_of_the_stylesheet() {
        let look = Look::new(&settings(json!({
            "app_name": "Acme", "logo_url": "https://cdn.acme.example/logo.svg", "favicon_url": "https://cdn.acme.example/icon.png",
            "primary_button_color": "#6D28D9", "primary_button_text_color": "#fff", "border_radius": "large",
            "background_color": "#EEF2FF", "background_style": "url('https://img.acme.example/a.png') center / cover, linear-gradient(90deg, #fff 0%, rgb(0 0 0) 100%)",
            "logo_position": "outside", "logo_alignment": "left", "header_text_alignment": "right", "social_login_placement": "bottom",
            "tos_url": "https://acme.example/terms", "privacy_url": "https://acme.example/privacy", "support_email": "help@acme.example",
            "organization_meta_name": "Workspace", "powered_by": false,
        })));
        assert_eq!(Look::unusable(&Map::new()), []);
        assert_eq!(look.app_name.as_deref(), Some("Acme"));
        assert!(look.logo_outside && look.social_at_bottom && !look.powered_by);
        assert_eq!((look.logo_alignment, look.header_alignment), (Alignment::Left, Alignment::Right));
        for part in [
            "--button:#6d28d9;--button-text:#ffffff;",
            "--radius:14px;",
            "--page:#eef2ff;",
            "url(\"https://img.acme.example/a.png\")",
        ] {
            assert!(look.css().contains(part), "{part} in {}", look.css());
        }
        assert_eq!(
            look.image_origins(),
            ["https://cdn.acme.example", "https://cdn.acme.example", "https://img.acme.example"]
        );
        assert!(look.css_source().is_some_and(|source| source.starts_with("'sha256-")));
    }

    #[test]
    fn mistake_13_a_value_that_is_not_what_its_key_says_is_left_out_and_named() {
        for (key, value) in [
            ("primary_button_color", json!("red;}</style><script>")),
            ("background_color", json!("#12345")),
            ("background_color", json!(12)),
            ("background_style", json!("red;} body{display:none")),
            ("background_style", json!("url(javascript:alert(1))")),
            ("background_style", json!("url(http://evil.example/pixel.png)")),
            ("background_style", json!("url('https://a.example/x') , expression(alert(1))")),
            ("background_style", json!("url(\"https://a.example/\\\"){}\")")),
            ("background_style", json!("</style><script>alert(1)</script>")),
            ("background_style", json!("linear-gradient(#fff, #000")),
            ("background_style", json!("#fff) , (")),
            ("background_style", json!("var(--box)")),
            ("background_style", json!("#fff /* ")),
            ("background_style", json!("@import 'x'")),
            ("logo_url", json!("javascript:alert(1)")),
            ("logo_url", json!("https://a.example/\"onerror=alert(1)")),
            ("logo_url", json!("https://acme.example@evil.example/logo.png")),
            ("logo_url", json!("http://evil.example/logo.png")),
            ("favicon_url", json!("data:image/svg+xml,<svg/>")),
            ("tos_url", json!("javascript:alert(1)")),
            ("tos_url", json!("//evil.example")),
            ("privacy_url", json!(["https://a.example"])),
            ("support_email", json!("a@b\r\nBcc: c@d")),
            ("support_email", json!("x?subject=y")),
            ("border_radius", json!("3px;color:red")),
            ("logo_position", json!("middle")),
            ("logo_alignment", json!("justify")),
            ("color_scheme", json!("sepia")),
            ("app_name", json!("x".repeat(201))),
            ("powered_by", json!("no")),
            ("font_url", json!("https://a.example/f.woff2\")}*{color:red")),
        ] {
            let given = settings(json!({ key: value }));
            let names: Vec<_> = Look::unusable(&given).into_iter().map(|unusable| unusable.key).collect();
            assert_eq!(names, [key], "{given:?}");
            assert_eq!(Look::new(&given), Look::default(), "{given:?}");
        }
    }

    #[test]
    fn names_lose_what_cannot_be_seen() {
        assert_eq!(text(" A\u{202e}cme\u{0}\u{200b} ").as_deref(), Some("Acme"));
        assert_eq!(text("\u{202e}\n"), None);
        assert_eq!(text("株式会社 & Söhne <b>").as_deref(), Some("株式会社 & Söhne <b>"));
    }

    #[test]
    fn what_a_button_says_is_readable_whatever_its_colours() {
        let css = |color: &str, text: &str| {
            Look::new(&settings(json!({"primary_button_color": color, "primary_button_text_color": text})))
                .css()
                .to_owned()
        };
        assert!(css("#ffff00", "#ffffff").contains("--button:#ffff00;--button-text:#000000;"));
        assert!(css("#000080", "#ff0000").contains("--button:#000080;--button-text:#ffffff;"));
        assert!(css("#004400", "#ffffff").contains("dark){:root{--button:#fafafa;--button-text:#18181b;"));
    }

    #[test]
    fn an_organization_shows_its_own_name_and_never_a_broken_logo() {
        let look = Look::default().of_organization("Acme", Some("javascript:alert(1)"));
        assert_eq!(look.organization, Some(OrganizationLook { name: "Acme".to_owned(), logo_url: None }));
        assert_eq!(Look::default().of_organization("\u{0}", None).organization, None);
    }
}
