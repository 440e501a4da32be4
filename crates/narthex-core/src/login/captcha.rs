//! The captcha before a step that sends a mail or tries a code. It comes before the step itself: who is refused has had nothing sent and
//! no try counted.

use std::net::IpAddr;

use super::{AuthRequest, Problem, Stage};
use crate::captcha::{self, Check};
use crate::core::Core;
use crate::environments::Environment;
use crate::error::Result;

/// What is wrong with the token that came with a step; None: go on. `address` is the browser's.
pub async fn check_captcha(
    core: &Core,
    environment: &Environment,
    request: &AuthRequest,
    token: &str,
    address: Option<IpAddr>,
) -> Result<Option<Problem>> {
    // A step that comes too late does nothing: a form sent twice has used its token up, and goes where the login stands.
    if request.stage > Stage::Verify {
        return Ok(None);
    }
    Ok(match captcha::check(core, environment, token, address).await? {
        Check::Passed => None,
        Check::Refused => Some(Problem::CaptchaRefused),
        Check::Unavailable => Some(Problem::CaptchaUnavailable),
    })
}
