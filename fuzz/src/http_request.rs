//! A whole request through the pipeline: paths, queries, headers, framing, compression, bodies, on both transports.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use narthex_api::contract::Method;
use narthex_api::rpc;
use narthex_core::environments::{AuthenticationMode, CustomDomainStatus, EnvironmentKind, SessionSettings};
use narthex_core::ids::{EnvId, WorkspaceId};
use narthex_core::{Caller, Error, Random, Timestamp};
use narthex_rpc::{Connection, Environment, Gate, Limits, Outcome, Pipeline, RateLimitInfo, Rpcs};

/// Lets everyone in: what is fuzzed lies behind the gate.
struct Open(Arc<Environment>);

impl Gate for Open {
    async fn environment(&self, _: &str, _: &Connection) -> Result<Arc<Environment>, Error> {
        Ok(Arc::clone(&self.0))
    }

    async fn authenticate(
        &self,
        environment: &Arc<Environment>,
        _: narthex_rpc::Credentials<'_>,
        _: Option<&str>,
        _: IpAddr,
        _: &mut RateLimitInfo,
    ) -> Result<(Caller, Arc<Environment>), Error> {
        Ok((Caller::Client { environment: environment.id, client_id: "skc_1".to_owned() }, Arc::clone(environment)))
    }

    fn admit(
        &self,
        _: &'static Method,
        _: &Arc<Environment>,
        _: Option<&Caller>,
        _: IpAddr,
        _: &mut RateLimitInfo,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn observe(&self, _: &Outcome<'_>) {}
}

fn environment() -> Environment {
    Environment {
        id: EnvId(1),
        workspace_id: WorkspaceId(1),
        kind: EnvironmentKind::Dev,
        is_system: false,
        display_name: "Fuzz".to_owned(),
        domain: "localhost".to_owned(),
        origin: "https://localhost".to_owned(),
        custom_domain: None,
        custom_domain_status: CustomDomainStatus::Unspecified,
        authentication_mode: AuthenticationMode::FullStack,
        session: SessionSettings::default(),
        features: BTreeMap::new(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

fn pipeline() -> &'static Pipeline<Open> {
    static PIPELINE: OnceLock<Pipeline<Open>> = OnceLock::new();
    PIPELINE.get_or_init(|| {
        let mut rpcs = Rpcs::new();
        rpcs.add(rpc::organization_service::CREATE_ORGANIZATION, |_, _| async { Ok(Default::default()) })
            .add(rpc::organization_service::UPDATE_ORGANIZATION, |_, _| async { Ok(Default::default()) })
            .add(rpc::organization_service::LIST_ORGANIZATION, |_, _| async { Ok(Default::default()) })
            .add(rpc::organization_service::GENERATE_PORTAL_LINK, |_, _| async { Ok(Default::default()) })
            .add(rpc::webhook_service::WEBHOOK_WRAPPER, |_, _| async { Ok(Default::default()) })
            .add(rpc::user_service::CREATE_USER_AND_MEMBERSHIP, |_, _| async { Ok(Default::default()) });
        let limits = Limits { max_message: 1 << 16, ..Limits::default() };
        let environment = Arc::new(environment());
        Pipeline::new(Open(environment), rpcs, limits, Random::seeded(1)).expect("the table is sound")
    })
}

/// The first line is verb and target, header lines follow, and after an empty line the body.
pub fn run(data: &[u8]) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    let Some(request) = parse(data) else { return };
    let grpc = request.headers().get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let connection = Connection { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), tls: true, listener: "dev".into() };
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let Ok(response) = pipeline().handle(request, &connection).await else { return };
            let status = response.status().as_u16();
            assert!(status < 500 || status == 501, "{status}");
            if grpc && response.headers().contains_key("grpc-status") {
                assert!(response.headers().contains_key("grpc-status-details-bin"));
            }
            response.into_body().collect().await.expect("a body");
        });
    });
}

fn parse(data: &[u8]) -> Option<Request<Full<Bytes>>> {
    let end = data.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = (std::str::from_utf8(&data[..end]).ok()?, &data[end + 2..]);
    let mut lines = head.lines();
    let (verb, target) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(verb).uri(target);
    let headers = request.headers_mut()?;
    headers.insert("host", HeaderValue::from_static("localhost"));
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value.trim()).ok()?);
    }
    request.body(Full::new(Bytes::copy_from_slice(body))).ok()
}
