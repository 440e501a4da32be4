//! What a `User-Agent` says, as far as people want to recognise their own devices by it. It is a claim, never a proof.

use std::net::IpAddr;

use super::details::Device;

/// Longest `User-Agent` that is kept, in characters.
const LONGEST: usize = 512;

/// Browsers by the token that names them with their version. Order matters: most of them also claim to be those further down.
const BROWSERS: [(&str, &str); 9] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
];

impl Device {
    /// The device behind a request.
    pub fn of(user_agent: Option<&str>, address: IpAddr) -> Self {
        let user_agent: String =
            user_agent.unwrap_or_default().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        let (browser, browser_version) = browser(&user_agent);
        let (os, os_version) = os(&user_agent);
        Self {
            device_type: kind(&user_agent, os).to_owned(),
            os: os.to_owned(),
            os_version,
            browser: browser.to_owned(),
            browser_version,
            ip: address.to_string(),
            user_agent,
            ..Self::default()
        }
    }
}

fn browser(user_agent: &str) -> (&'static str, String) {
    for (token, name) in BROWSERS {
        if let Some(version) = after(user_agent, token) {
            return (name, version);
        }
    }
    if user_agent.contains("Safari/") {
        return ("Safari", after(user_agent, "Version/").unwrap_or_default());
    }
    ("", String::new())
}

fn os(user_agent: &str) -> (&'static str, String) {
    let underscored = |version: Option<String>| version.unwrap_or_default().replace('_', ".");
    if user_agent.contains("Windows NT") {
        // Windows 11 says 10.0 as well: the number would mislead.
        return ("Windows", String::new());
    }
    if let Some(version) = after(user_agent, "Android ") {
        return ("Android", version);
    }
    if user_agent.contains("iPhone") {
        return ("iOS", underscored(after(user_agent, "iPhone OS ")));
    }
    if user_agent.contains("iPad") {
        return ("iPadOS", underscored(after(user_agent, "CPU OS ")));
    }
    if user_agent.contains("Mac OS X") {
        // Frozen at 10_15_7 by all browsers.
        return ("macOS", String::new());
    }
    if user_agent.contains("CrOS") {
        return ("ChromeOS", String::new());
    }
    if user_agent.contains("Linux") {
        return ("Linux", String::new());
    }
    ("", String::new())
}

fn kind(user_agent: &str, os: &str) -> &'static str {
    match os {
        "" => "other",
        "iOS" => "mobile",
        "Android" if user_agent.contains("Mobile") => "mobile",
        "iPadOS" | "Android" => "tablet",
        _ => "desktop",
    }
}

/// The version that follows a token: digits, points and underscores.
fn after(text: &str, token: &str) -> Option<String> {
    let (_, rest) = text.split_once(token)?;
    Some(rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | '_')).collect())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn seen(user_agent: &str) -> [String; 5] {
        let device = Device::of(Some(user_agent), Ipv4Addr::LOCALHOST.into());
        [device.browser, device.browser_version, device.os, device.os_version, device.device_type]
    }

    #[test]
    fn ses_01_common_browsers_are_recognised() {
        for (user_agent, expected) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.51",
                ["Edge", "131.0.2903.51", "Windows", "", "desktop"],
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36",
                ["Chrome", "131.0.0.0", "Linux", "", "desktop"],
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
                ["Safari", "18.1", "iOS", "18.1", "mobile"],
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
                ["Chrome", "131.0.0.0", "Android", "14", "mobile"],
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:132.0) Gecko/20100101 Firefox/132.0",
                ["Firefox", "132.0", "macOS", "", "desktop"],
            ),
            ("curl/8.5.0", ["", "", "", "", "other"]),
            ("", ["", "", "", "", "other"]),
        ] {
            assert_eq!(seen(user_agent), expected.map(str::to_owned), "{user_agent}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_has_no_control_characters() {
        let device = Device::of(Some(&format!("a\r\nb\0{}", "x".repeat(10_000))), Ipv4Addr::LOCALHOST.into());
        assert_eq!(device.user_agent.chars().count(), LONGEST);
        assert!(device.user_agent.starts_with("abx"));
    }
}
