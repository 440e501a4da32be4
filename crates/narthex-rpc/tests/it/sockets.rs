//! The pipeline behind a real hyper server: what HTTP itself makes of the responses.

use std::sync::Arc;

use crate::world::{World, frame};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use narthex_api::rpc::organization_service::{GET_ORGANIZATION, LIST_ORGANIZATION};
use narthex_api::scalekit::v1::organizations::{GetOrganizationResponse, ListOrganizationsResponse, Organization};
use narthex_rpc::Rpcs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A server on a free port; it takes HTTP/1.1 and h2c.
async fn serve() -> (std::net::SocketAddr, Arc<World>) {
    let mut rpcs = Rpcs::new();
    rpcs.add(GET_ORGANIZATION, |_, _| async {
        Ok(GetOrganizationResponse { organization: Some(Organization::default()) })
    });
    rpcs.add(LIST_ORGANIZATION, |_, _| async { Ok(ListOrganizationsResponse::default()) });
    let world = Arc::new(World::new(rpcs));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let of_server = Arc::clone(&world);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let world = Arc::clone(&of_server);
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let world = Arc::clone(&world);
                    async move { world.pipeline.handle(request, &crate::world::connection()).await.map_err(|_| "no route") }
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    (address, world)
}

/// What comes back on a raw HTTP/1.1 connection that is closed afterwards.
async fn raw(address: std::net::SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}\r\nhost: env.test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

const LIST: &str = "/scalekit.v1.organizations.OrganizationService/ListOrganization";

/// Go over plain HTTP (sdk-clients reference §3.3).
#[tokio::test]
async fn grpc_inside_http_1_1_has_chunked_trailers() {
    let (address, _) = serve().await;
    let head = |bearer: &str| {
        format!(
            "POST {LIST} HTTP/1.1\r\ncontent-type: application/grpc\r\nTe: trailers\r\nauthorization: Bearer {bearer}"
        )
    };
    let answer = raw(address, &head("client"), &frame(&[])).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let lower = answer.to_ascii_lowercase();
    assert!(lower.contains("\r\ntrailer: grpc-status, grpc-message, grpc-status-details-bin\r\n"), "{answer}");
    assert!(lower.contains("\r\ntransfer-encoding: chunked\r\n") && !lower.contains("content-length"), "{answer}");
    assert!(lower.contains("\r\n0\r\ngrpc-status: 0\r\n"), "{answer}");
    // An error needs no trailers: everything is in the header block.
    let answer = raw(address, &head("nobody"), &frame(&[])).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200 ok\r\n") && answer.contains("\r\ngrpc-status: 16\r\n"), "{answer}");
    assert!(
        answer.contains("\r\ngrpc-status-details-bin: ") && answer.contains("\r\ncontent-length: 0\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn grpc_on_h2_has_trailers_or_none_but_headers() {
    let (address, _) = serve().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut call = async |bearer: &str| {
        let request = Request::builder()
            .version(Version::HTTP_2)
            .method("POST")
            .uri(format!("http://env.test{LIST}"))
            .header("content-type", "application/grpc+proto")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {bearer}"))
            .body(Full::new(frame(&[])))
            .unwrap();
        sender.send_request(request).await.unwrap()
    };
    let response = call("client").await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("grpc-status") && !response.headers().contains_key("trailer"));
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(collected.to_bytes(), Bytes::from_static(&[0; 5]));
    let response = call("nobody").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["grpc-status"]),
        (200, &http::HeaderValue::from_static("16"))
    );
    assert!(hyper::body::Body::is_end_stream(response.body()), "trailers-only: the stream ends with the headers");
}

#[tokio::test]
async fn rest_has_a_length_and_survives_a_body_that_nobody_reads() {
    let (address, world) = serve().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    // Refused before its body is read: the connection goes on.
    for _ in 0..3 {
        let request = Request::builder()
            .method("POST")
            .uri("/api/v1/organizations")
            .header("host", "env.test")
            .body(http_body_util::Either::Left(Full::new(Bytes::from(vec![b' '; 50_000]))))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 401);
        drop(response.into_body().collect().await.unwrap());
        sender.ready().await.unwrap();
    }
    let request = Request::builder()
        .uri("//api/v1/organizations/org_1")
        .header("host", "env.test")
        .header("authorization", "Bearer client")
        .body(http_body_util::Either::Right(Empty::new()))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), length);
    assert!(body.starts_with(b"{\"organization\":{"));
    assert_eq!(world.gate.seen.lock().unwrap().len(), 4);
}

/// A client that goes away while it sends takes nothing with it.
#[tokio::test]
async fn a_broken_request_breaks_nothing_else() {
    let (address, world) = serve().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {LIST} HTTP/1.1\r\nhost: env.test\r\ncontent-type: application/grpc\r\nte: trailers\r\nauthorization: Bearer client\r\ncontent-length: 100\r\n\r\nabc"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    let answer = raw(
        address,
        &format!(
            "POST {LIST} HTTP/1.1\r\ncontent-type: application/grpc\r\nte: trailers\r\nauthorization: Bearer client"
        ),
        &frame(&[]),
    )
    .await;
    assert!(answer.contains("grpc-status: 0"), "{answer}");
    assert!(world.gate.seen.lock().unwrap().iter().any(|seen| seen.status == 200));
}
