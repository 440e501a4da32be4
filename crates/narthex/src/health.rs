//! Is it alive, is it ready: for load balancers, orchestrators and gRPC health clients. Public answers carry no details.

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use narthex_api::METHODS;
use prost::Message;
use serde_json::{Value, json};

use crate::gate::State;
use crate::reply::{self, Body};

/// `GET /healthz`: the process answers.
pub fn healthz() -> Response<Body> {
    reply::json(StatusCode::OK, "{\"status\":\"ok\"}")
}

/// `GET /readyz`: requests are welcome here.
pub async fn readyz(state: &State, details: bool) -> Response<Body> {
    let checks = checks(state).await;
    let ready = checks.iter().all(|(_, problem)| problem.is_none());
    let mut body = json!({"status": if ready { "ready" } else { "not ready" }});
    if details {
        body["checks"] = checks
            .into_iter()
            .map(|(name, problem)| (name.to_owned(), problem.map_or(Value::from("ok"), Value::from)))
            .collect();
    }
    reply::value(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &body)
}

/// `GET /version`.
pub fn version() -> Response<Body> {
    reply::value(StatusCode::OK, &json!({"name": "narthex", "version": env!("CARGO_PKG_VERSION")}))
}

/// What must hold for this node to be sent traffic; the problem where it does not.
async fn checks(state: &State) -> Vec<(&'static str, Option<String>)> {
    let database = state.core.db.health().await;
    vec![
        ("running", state.drain.is_draining().then(|| "draining".to_owned())),
        ("database_reads", database.read.clone()),
        ("database_writes", database.write.clone()),
        (
            "cache_epochs",
            (!state.core.caches.epochs().fresh()).then(|| "the last poll is over a second old".to_owned()),
        ),
    ]
}

/// Path of the gRPC health service.
pub const GRPC_PREFIX: &str = "/grpc.health.v1.Health/";

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct HealthCheckRequest {
    /// Full service name; empty asks for the whole server.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct HealthCheckResponse {
    /// 1 is SERVING, 2 is NOT_SERVING.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// The gRPC health protocol: `Check`; `Watch` is UNIMPLEMENTED, as the protocol allows.
pub async fn grpc(state: &State, request: Request<Incoming>) -> Response<Body> {
    const NOT_FOUND: u32 = 5;
    const UNIMPLEMENTED: u32 = 12;
    if request.uri().path() != "/grpc.health.v1.Health/Check" {
        return grpc_error(UNIMPLEMENTED, "only Check is implemented");
    }
    let http1 = request.version() < http::Version::HTTP_2;
    let Ok(body) = Limited::new(request.into_body(), 4_096).collect().await else {
        return grpc_error(3, "the request is too large");
    };
    let Some(asked) = unframe(body.to_bytes()) else {
        return grpc_error(3, "the request is malformed");
    };
    let known = asked.service.is_empty() || METHODS.iter().any(|method| method.service == asked.service);
    if !known {
        return grpc_error(NOT_FOUND, "unknown service");
    }
    let ready = checks(state).await.iter().all(|(_, problem)| problem.is_none());
    let message = HealthCheckResponse { status: if ready { 1 } else { 2 } }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut response =
        Response::new(Body::Framed { data: Some(Bytes::from(frame)), trailers: Some(Box::new(trailers)) });
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if http1 {
        // hyper writes HTTP/1.1 trailers only if they are announced.
        response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("grpc-status"));
    }
    response
}

fn unframe(mut body: Bytes) -> Option<HealthCheckRequest> {
    if body.remaining() < 5 || body.get_u8() != 0 {
        return None;
    }
    let length = usize::try_from(body.get_u32()).ok()?;
    if body.remaining() == length { HealthCheckRequest::decode(body).ok() } else { None }
}

/// A trailers-only answer.
fn grpc_error(status: u32, message: &'static str) -> Response<Body> {
    let mut response = reply::empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(status));
    headers.insert("grpc-message", HeaderValue::from_static(message));
    response
}
