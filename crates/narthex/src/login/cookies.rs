//! The cookies of the hosted pages. All have the `__Host-` prefix: no sibling domain can set or see them.

use http::{HeaderMap, HeaderValue, header};
use narthex_core::environments::SessionSettings;
use narthex_core::ids::AuthRequestId;
use narthex_core::login::SessionCookie;
use narthex_core::{Timestamp, sessions};

use crate::gate::cookie;

/// Begins the name of the cookie that ties a login to its browser; its number follows.
const LOGIN: &str = "__Host-narthex_req_";
/// How the browser signed in last.
const LAST: &str = "__Host-narthex_last";
/// Seconds that a login may take.
const LOGIN_SECONDS: i64 = 3_600;
/// Seconds that the last method is remembered.
const LAST_SECONDS: i64 = 365 * 86_400;
/// Logins that one browser has under way; the oldest give way.
const MOST_LOGINS: usize = 10;

/// The cookies that a request carries.
#[derive(Debug, Default)]
pub struct Cookies(String);

impl Cookies {
    /// Of these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let values: Vec<&str> =
            headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
        Self(values.join("; "))
    }

    /// Already joined.
    pub fn joined(cookies: &str) -> Self {
        Self(cookies.to_owned())
    }

    /// The value of the browser's session.
    pub fn session(&self) -> Option<&str> {
        cookie(&self.0, sessions::COOKIE)
    }

    /// The secret of a login.
    pub fn login(&self, id: AuthRequestId) -> Option<&str> {
        cookie(&self.0, &name(id))
    }

    /// The logins that the browser has under way, newest first.
    pub fn logins(&self) -> Vec<AuthRequestId> {
        let mut ids: Vec<AuthRequestId> = self
            .0
            .split(';')
            .filter_map(|pair| pair.trim().split_once('=')?.0.strip_prefix(LOGIN))
            .filter_map(|number| AuthRequestId::parse(&format!("{}{number}", AuthRequestId::PREFIX)))
            .collect();
        ids.sort_unstable_by_key(|id| std::cmp::Reverse(id.0));
        ids.dedup();
        ids
    }

    /// How the browser signed in last.
    pub fn last_method(&self) -> Option<&str> {
        cookie(&self.0, LAST)
    }
}

fn name(id: AuthRequestId) -> String {
    format!("{LOGIN}{}", id.0)
}

/// Ties a login to the browser, and lets go of the oldest where there are many.
pub fn set_login(headers: &mut HeaderMap, cookies: &Cookies, id: AuthRequestId, secret: &str) {
    set(headers, &format!("{}={secret}; Max-Age={LOGIN_SECONDS}", name(id)), "Lax");
    for old in cookies.logins().into_iter().skip(MOST_LOGINS - 1) {
        clear_login(headers, old);
    }
}

/// Forgets a login.
pub fn clear_login(headers: &mut HeaderMap, id: AuthRequestId) {
    set(headers, &format!("{}=; Max-Age=0", name(id)), "Lax");
}

/// Binds the browser to its session, as the environment's settings say.
pub fn set_session(headers: &mut HeaderMap, settings: &SessionSettings, new: &SessionCookie, now: Timestamp) {
    let mut text = format!("{}={}", sessions::COOKIE, new.value.expose());
    if settings.cookie_persistence != PERSISTENCE_SESSION {
        let seconds = (new.expires_at.0 - now.0).max(0) / 1_000_000;
        text = format!("{text}; Max-Age={seconds}");
    }
    set(headers, &text, if settings.cookie_same_site == SAME_SITE_NONE { "None" } else { "Lax" });
}

/// `scalekit.v1.environments.CookiePersistenceType`.
const PERSISTENCE_SESSION: i32 = 2;
/// `scalekit.v1.environments.CookieSameSiteSetting`.
const SAME_SITE_NONE: i32 = 2;

/// Forgets the session.
pub fn clear_session(headers: &mut HeaderMap) {
    set(headers, &format!("{}=; Max-Age=0", sessions::COOKIE), "Lax");
}

/// Remembers how the browser signed in.
pub fn set_last_method(headers: &mut HeaderMap, method: &str) {
    set(headers, &format!("{LAST}={method}; Max-Age={LAST_SECONDS}"), "Lax");
}

fn set(headers: &mut HeaderMap, pair: &str, same_site: &str) {
    // Made of base62, digits and the words above.
    if let Ok(value) = HeaderValue::from_str(&format!("{pair}; Path=/; Secure; HttpOnly; SameSite={same_site}")) {
        headers.append(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lgn_13_a_browser_has_ten_logins_under_way_at_most() {
        let text: Vec<String> = (1..=12).map(|number| format!("{LOGIN}{number}=s{number}")).collect();
        let cookies = Cookies(text.join("; "));
        assert_eq!(cookies.logins()[0], AuthRequestId(12));
        assert_eq!(cookies.login(AuthRequestId(3)), Some("s3"));
        let mut headers = HeaderMap::new();
        set_login(&mut headers, &cookies, AuthRequestId(13), "new");
        let set: Vec<&str> = headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(
            set,
            [
                "__Host-narthex_req_13=new; Max-Age=3600; Path=/; Secure; HttpOnly; SameSite=Lax",
                "__Host-narthex_req_3=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax",
                "__Host-narthex_req_2=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax",
                "__Host-narthex_req_1=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax",
            ]
        );
    }

    #[test]
    fn a_cookie_that_is_there_twice_counts_as_none() {
        let cookies = Cookies(format!("{LOGIN}1=a; {LOGIN}1=b; {}=x", sessions::COOKIE));
        assert_eq!(cookies.login(AuthRequestId(1)), None);
        assert_eq!(cookies.session(), Some("x"));
    }
}
