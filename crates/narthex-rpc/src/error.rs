//! Errors on the wire: `google.rpc.Status` with `ErrorInfo` first for gRPC, the same as JSON for REST (control plane reference §15).

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use narthex_api::scalekit::v1::errdetails::validation_error_info::FieldViolation;
use narthex_api::scalekit::v1::errdetails::{
    DebugInfo, ErrorInfo, LocalizedMessageInfo, RequestInfo, ResourceInfo, ValidationErrorInfo,
};
use narthex_core::{Caller, Error, Kind};
use prost::Message as _;

use crate::body::{RpcBody, TOO_LARGE};
use crate::json::{self, Emit};
use crate::wire::put_text;
use crate::{grpc, locale};

const TYPE_URL: &str = "type.googleapis.com/scalekit.v1.errdetails.ErrorInfo";

/// Longest public message in bytes. It stands in a gRPC header twice, and grpc-java and grpc-core give up above 8 KiB of headers.
const MAX_MESSAGE: usize = 800;

/// Longest encoded status in a gRPC header, before base64, for the same reason.
const MAX_STATUS: usize = 3_500;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// English text.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Exactly one `ErrorInfo`.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<prost_types::Any>,
}

/// What an error is rendered with.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Id of the request.
    pub request_id: &'a str,
    /// Who was refused, if known.
    pub caller: Option<&'a Caller>,
    /// The header `Accept-Language`.
    pub accept_language: Option<&'a str>,
    /// Whether `debug_info` shows the private cause (`debug.errors`; never in production).
    pub debug: bool,
}

/// A refusal that HTTP has more to say about than its kind.
pub(crate) struct Refusal {
    pub error: Error,
    /// Status on REST instead of that of the kind.
    pub status: Option<StatusCode>,
    /// Verbs that the path has.
    pub allow: Option<String>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = (error.code() == TOO_LARGE).then_some(StatusCode::PAYLOAD_TOO_LARGE);
        Self { error, status, allow: None }
    }
}

/// HTTP status of a kind (control plane reference §15.2).
pub fn http_status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidArgument | Kind::FailedPrecondition | Kind::OutOfRange => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::PermissionDenied => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::AlreadyExists | Kind::Aborted => StatusCode::CONFLICT,
        Kind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Kind::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// The public message, cut to what headers can carry.
fn message(error: &Error) -> String {
    let text = error.message();
    if text.len() <= MAX_MESSAGE {
        return text.to_owned();
    }
    let mut end = MAX_MESSAGE;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

fn info(error: &Error, scene: &Scene<'_>) -> ErrorInfo {
    let violations = error.field_violations();
    let required = error.required_permissions();
    let user = (error.kind() == Kind::PermissionDenied).then_some(scene.caller).flatten().and_then(subject);
    ErrorInfo {
        error_code: error.code().to_owned(),
        debug_info: scene.debug.then(|| debug(error)).flatten(),
        help_info: None,
        localized_message_info: scene
            .accept_language
            .and_then(|header| locale::localized(header, error.kind()))
            .map(|(locale, message)| LocalizedMessageInfo { locale: locale.to_owned(), message: message.to_owned() }),
        resource_info: (!required.is_empty() || user.is_some()).then(|| ResourceInfo {
            required_permissions: required.to_vec(),
            user: user.unwrap_or_default(),
            ..ResourceInfo::default()
        }),
        request_info: Some(RequestInfo { request_id: scene.request_id.to_owned(), serving_data: String::new() }),
        validation_error_info: (!violations.is_empty()).then(|| ValidationErrorInfo {
            field_violations: violations
                .iter()
                .map(|violation| FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                    constraint: violation.constraint.clone(),
                })
                .collect(),
        }),
        tool_error_info: None,
    }
}

/// Who a caller is, for `resource_info.user`: it is told to that caller alone.
fn subject(caller: &Caller) -> Option<String> {
    Some(match caller {
        Caller::Anonymous => return None,
        Caller::Client { client_id, .. } | Caller::OrganizationClient { client_id, .. } => client_id.clone(),
        Caller::User { user, .. } | Caller::Session { user, .. } => user.to_string(),
        Caller::Member { member, .. } => member.to_string(),
        Caller::Portal { session, .. } | Caller::ConnectedAccount { session, .. } => session.to_string(),
    })
}

fn debug(error: &Error) -> Option<DebugInfo> {
    let cause = error.cause()?;
    let mut stack_entries = Vec::new();
    let mut source = cause.source();
    while let Some(inner) = source {
        stack_entries.push(inner.to_string());
        source = inner.source();
    }
    Some(DebugInfo { stack_entries, detail: cause.to_string() })
}

/// The encoded `google.rpc.Status`, and its message.
fn status(error: &Error, scene: &Scene<'_>) -> (String, Vec<u8>) {
    let message = message(error);
    let mut info = info(error, scene);
    loop {
        let status = Status {
            code: error.kind() as i32,
            message: message.clone(),
            details: vec![prost_types::Any { type_url: TYPE_URL.to_owned(), value: info.encode_to_vec() }],
        };
        let encoded = status.encode_to_vec();
        if encoded.len() <= MAX_STATUS {
            return (message, encoded);
        }
        // Too many violations for a header: REST tells all, gRPC the first ones.
        let violations = info.validation_error_info.as_mut().map(|info| &mut info.field_violations);
        match violations {
            Some(violations) if !violations.is_empty() => violations.truncate(violations.len() / 2),
            _ if info.debug_info.is_some() => info.debug_info = None,
            _ => return (message, encoded),
        }
    }
}

/// The error as a gRPC reply.
pub(crate) fn grpc_error(error: &Error, scene: &Scene<'_>) -> Response<RpcBody> {
    let (message, status) = status(error, scene);
    let mut response = grpc::failure(error.kind(), &message, &status);
    retry_after(error, &mut response);
    response
}

/// The error as a REST reply: `{"code":…,"message":…,"details":[…]}`.
pub fn rest_error(error: &Error, scene: &Scene<'_>) -> Response<RpcBody> {
    let mut body = Vec::with_capacity(256);
    put_text(&mut body, format_args!("{{\"code\":{},\"message\":\"", error.kind() as i32));
    json::put_escaped(&message(error), &mut body);
    body.extend_from_slice(b"\",\"details\":[{\"@type\":\"");
    body.extend_from_slice(TYPE_URL.as_bytes());
    body.extend_from_slice(b"\"");
    let start = body.len();
    let descriptor = narthex_api::descriptor("scalekit.v1.errdetails.ErrorInfo");
    let encoded = info(error, scene).encode_to_vec();
    // `error_code` is never empty, so the object has members and its brace becomes the comma after `@type`.
    let rendered = descriptor.is_some_and(|it| json::encode_into(it, &encoded, Emit::Set, &mut body).is_ok());
    if rendered {
        body[start] = b',';
    } else {
        body.truncate(start);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");

    let mut response = Response::new(RpcBody::full(body));
    *response.status_mut() = http_status(error.kind());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if error.kind() == Kind::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    retry_after(error, &mut response);
    response
}

/// The same with what HTTP adds.
pub(crate) fn rest_refusal(refusal: &Refusal, scene: &Scene<'_>) -> Response<RpcBody> {
    let mut response = rest_error(&refusal.error, scene);
    if let Some(status) = refusal.status {
        *response.status_mut() = status;
    }
    if let Some(allow) = refusal.allow.as_ref().and_then(|allow| HeaderValue::try_from(allow.as_str()).ok()) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

fn retry_after(error: &Error, response: &mut Response<RpcBody>) {
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}
