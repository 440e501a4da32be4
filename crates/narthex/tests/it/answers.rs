//! What a caller sees of a refusal, read the same way from both transports.

use narthex_api::contract::{Http, Method};
use prost::Message as _;

use crate::harness::{GrpcReply, Reply};

/// A decision. `code` 0 is success; everything else is then empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    pub code: i32,
    pub message: String,
    pub error_code: String,
    pub request_id: String,
    /// `resource_info.required_permissions`
    pub permissions: Vec<String>,
    /// `resource_info.user`
    pub user: String,
    /// `field` of every violation.
    pub fields: Vec<String>,
}

impl Decision {
    /// What both transports must agree on.
    pub fn alike(&self) -> (i32, &str, &str, &[String], Vec<&str>) {
        let mut fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        fields.sort_unstable();
        (self.code, &self.message, &self.error_code, &self.permissions, fields)
    }
}

/// The REST bindings of an RPC that answer in the form of the contract. Registration answers in that of RFC 7591: `registration.rs`.
pub fn bindings(method: &'static Method) -> impl Iterator<Item = &'static Http> {
    let own_form = method.path == narthex_api::rpc::client_service::REGISTER_CLIENT.method.path;
    method.http.iter().filter(move |_| !own_form)
}

/// The HTTP status of a gRPC code (control plane reference §15.2).
pub fn http_status(code: i32) -> u16 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// The default `error_code` of a gRPC code.
pub fn name(code: i32) -> &'static str {
    match code {
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RATE_LIMITED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        12 => "UNIMPLEMENTED",
        14 => "UNAVAILABLE",
        16 => "UNAUTHENTICATED",
        _ => "INTERNAL",
    }
}

/// A gRPC answer. Every rule of the error's form is checked on the way.
pub fn grpc(reply: Reply, place: &str) -> Decision {
    use narthex_api::scalekit::v1::errdetails::ErrorInfo;
    let reply = GrpcReply::read(reply);
    if reply.status == 0 {
        return Decision::default();
    }
    let status = reply.details.as_ref().unwrap_or_else(|| panic!("{place}: an error without details"));
    assert_eq!((status.code, &status.message), (reply.status, &reply.text), "{place}: header and details");
    assert_eq!(status.details.len(), 1, "{place}");
    assert_eq!(status.details[0].type_url, "type.googleapis.com/scalekit.v1.errdetails.ErrorInfo", "{place}");
    let info = ErrorInfo::decode(&*status.details[0].value).unwrap_or_else(|error| panic!("{place}: {error}"));
    let resource = info.resource_info.unwrap_or_default();
    let decision = Decision {
        code: reply.status,
        message: reply.text,
        error_code: info.error_code,
        request_id: info.request_info.unwrap_or_default().request_id,
        permissions: resource.required_permissions,
        user: resource.user,
        fields: info
            .validation_error_info
            .map(|info| info.field_violations.into_iter().map(|violation| violation.field).collect())
            .unwrap_or_default(),
    };
    assert_eq!(reply.http.header("x-request-id"), Some(&*decision.request_id), "{place}");
    decision
}

/// A REST answer, checked like a gRPC one.
pub fn rest(reply: &Reply, place: &str) -> Decision {
    if reply.status.is_success() {
        assert!(reply.json().is_object(), "{place}: {}", reply.text());
        return Decision::default();
    }
    assert_eq!(reply.header("content-type"), Some("application/json"), "{place}");
    let body = reply.json();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &serde_json::Value| -> Vec<serde_json::Value> { value.as_array().cloned().unwrap_or_default() };
    let code = i32::try_from(body["code"].as_i64().unwrap_or_else(|| panic!("{place}: {body}"))).unwrap();
    let details = list(&body["details"]);
    assert_eq!(details.len(), 1, "{place}: {body}");
    let info = &details[0];
    assert_eq!(info["@type"], "type.googleapis.com/scalekit.v1.errdetails.ErrorInfo", "{place}");
    let decision = Decision {
        code,
        message: text(&body["message"]),
        error_code: text(&info["error_code"]),
        request_id: text(&info["request_info"]["request_id"]),
        permissions: list(&info["resource_info"]["required_permissions"]).iter().map(text).collect(),
        user: text(&info["resource_info"]["user"]),
        fields: list(&info["validation_error_info"]["field_violations"]).iter().map(|it| text(&it["field"])).collect(),
    };
    assert_eq!(reply.header("x-request-id"), Some(&*decision.request_id), "{place}");
    decision
}
