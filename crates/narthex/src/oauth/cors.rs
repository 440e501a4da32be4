//! Which pages may read answers that hold tokens (Fetch, CORS protocol; oauth-oidc reference §1). Never with credentials: there are no
//! cookies here, so no page can act as the user of another.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use narthex_core::Core;
use narthex_core::clients;
use narthex_core::environments::Environment;

use crate::reply::{self, Body};

/// Who may read an answer.
pub enum Readers {
    /// Pages of the origins of registered callbacks: this one, if it is among them.
    Registered(Option<HeaderValue>),
    /// Every page: what it shows comes from its own client.
    Anyone,
}

impl Readers {
    /// The origin of a request, if the environment knows it.
    pub async fn of(core: &Core, environment: &Environment, headers: &HeaderMap) -> Self {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return Self::Registered(None) };
        let Ok(text) = origin.to_str() else { return Self::Registered(None) };
        match clients::is_allowed_origin(core, environment.id, text).await {
            Ok(true) => Self::Registered(Some(origin.clone())),
            Ok(false) => Self::Registered(None),
            Err(error) => {
                // The answer itself is not worse for it; a page that may not read it will say so.
                tracing::warn!(?error, "the allowed origins cannot be read");
                Self::Registered(None)
            }
        }
    }

    /// Lets them read the answer.
    pub fn admit(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        match self {
            Self::Anyone => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Self::Registered(origin) => {
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
                let Some(origin) = origin else { return response };
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
        }
        let exposed = HeaderValue::from_static("WWW-Authenticate, Retry-After, X-Request-Id");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        response
    }

    /// The answer to a browser that asks before it sends.
    pub fn preflight(&self, methods: &'static str) -> Response<Body> {
        const FIXED: [(HeaderName, &str); 2] = [
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, X-Request-Id"),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ];
        let mut response = self.admit(reply::empty(StatusCode::NO_CONTENT));
        let headers = response.headers_mut();
        if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
            for (name, value) in FIXED {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        response
    }
}
