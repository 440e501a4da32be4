//! The whole table against the whole server: every RPC, by every way in, with a real token of every kind of caller.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use narthex_api::METHODS;
use narthex_api::contract::{EndUsers, Http, Method};
use narthex_core::Caller;
use narthex_core::caller::kind;
use narthex_core::members::{self, FixedRole, NewMember};
use narthex_core::tokens;
use narthex_db::Engine;
use narthex_rpc::Rpcs;

use crate::answers::{self, Decision};
use crate::harness::{Connection, Harness, Minted, Protocol, frame};

/// A way to call an RPC.
#[derive(Debug, Clone, Copy)]
enum Way {
    Grpc,
    GrpcDoubled,
    GrpcInHttp1,
    Rest(&'static Http, Protocol),
    RestDoubled(&'static Http),
}

impl Way {
    fn all(method: &'static Method) -> Vec<Self> {
        let rest = answers::bindings(method)
            .flat_map(|http| [Self::Rest(http, Protocol::H1), Self::Rest(http, Protocol::H2), Self::RestDoubled(http)]);
        [Self::Grpc, Self::GrpcDoubled, Self::GrpcInHttp1].into_iter().chain(rest).collect()
    }

    fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcDoubled | Self::GrpcInHttp1)
    }
}

/// A path of a binding with made-up values.
fn path(http: &Http) -> String {
    let segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((_, suffix)) => format!("1{suffix}"),
        None => segment.replace("**", "a/b"),
    };
    http.template.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn request(base: &str, method: &'static Method, way: Way, token: Option<&str>) -> Request<Bytes> {
    let (builder, body) = match way {
        Way::Rest(http, _) => (Request::builder().method(http.verb).uri(format!("{base}{}", path(http))), Bytes::new()),
        Way::RestDoubled(http) => {
            (Request::builder().method(http.verb).uri(format!("{base}{}", path(http).replace('/', "//"))), Bytes::new())
        }
        _ => {
            let slash = if matches!(way, Way::GrpcDoubled) { "/" } else { "" };
            let builder = Request::post(format!("{base}{slash}{}", method.path))
                .header("content-type", "application/grpc")
                .header("te", "trailers");
            (builder, frame(&[]).into())
        }
    };
    let builder = match token {
        Some(token) => builder.header("authorization", format!("Bearer {token}")),
        None => builder,
    };
    builder.body(body).expect("a request")
}

/// Two kept connections to the plain port.
struct Lines {
    base: String,
    h1: Connection,
    h2: Connection,
}

impl Lines {
    async fn open(base: &str) -> Self {
        let open = async |protocol| Connection::open(base, protocol, None).await.expect("a connection");
        Self { base: base.to_owned(), h1: open(Protocol::H1).await, h2: open(Protocol::H2).await }
    }

    async fn ask(&mut self, method: &'static Method, way: Way, token: Option<&str>, place: &str) -> Decision {
        let request = request(&self.base, method, way, token);
        let h1 = matches!(way, Way::GrpcInHttp1 | Way::Rest(_, Protocol::H1) | Way::RestDoubled(_));
        let line = if h1 { &mut self.h1 } else { &mut self.h2 };
        let reply = line.send(request).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        if way.is_grpc() {
            return answers::grpc(reply, place);
        }
        let decision = answers::rest(&reply, place);
        let status = if decision.code == 0 && method.created { 201 } else { answers::http_status(decision.code) };
        assert_eq!(reply.status.as_u16(), status, "{place}");
        decision
    }
}

/// Somebody who calls.
struct Who {
    name: String,
    token: Option<String>,
    /// What the server must take them for; `None` is somebody whose credential is no good here.
    caller: Option<Caller>,
}

impl Who {
    /// The code of the decision that precedes the handler; `None` if the handler is reached. The rules of control plane reference
    /// §2.3, written here a second time.
    fn expected(&self, method: &Method, built: bool, way: Way) -> Option<i32> {
        let reached = if built { None } else { Some(12) };
        if method.auth.kinds == kind::BLOCKED {
            return Some(if way.is_grpc() { 12 } else { 5 });
        }
        if method.auth.kinds & kind::NONE != 0 {
            return reached;
        }
        let any = |keys: &[&str], held: &[String]| keys.iter().any(|key| held.iter().any(|held| held == key));
        let end_user = |held: &[String]| match method.auth.end_users {
            EndUsers::Permitted(keys) => any(keys, held),
            EndUsers::Themselves | EndUsers::Everybody => true,
            // No environment of these tests but the product's own, which nobody signs in to.
            EndUsers::Operators => false,
        };
        let operator = |held: &[String]| {
            let keys = method.auth.permissions;
            !keys.iter().any(|key| key.contains(':')) || any(keys, held)
        };
        let (bit, permitted) = match &self.caller {
            None | Some(Caller::Anonymous) => return Some(16),
            Some(Caller::Client { .. }) => (kind::CLIENT, true),
            Some(Caller::OrganizationClient { .. }) => {
                (if method.organization_client { method.auth.kinds } else { 0 }, true)
            }
            Some(Caller::Portal { .. }) => (kind::CUSTOMER_PORTAL, true),
            Some(Caller::ConnectedAccount { .. }) => (kind::ACTIONS_PORTAL, true),
            Some(Caller::User { permissions, .. }) => (kind::USER, end_user(permissions)),
            Some(Caller::Session { permissions, .. }) => (kind::SESSION, end_user(permissions)),
            Some(Caller::Member { permissions, .. }) => (kind::WORKSPACE, operator(permissions)),
        };
        if bit & method.auth.kinds == 0 || !permitted { Some(7) } else { reached }
    }
}

async fn operator(harness: &Harness, role: FixedRole) -> Who {
    let environment = harness.environment(harness.env_id()).await;
    let new = NewMember {
        email: format!("{role:?}@example.test").to_lowercase(),
        given_name: String::new(),
        family_name: String::new(),
        role,
    };
    let member = members::create(harness.core(), environment.workspace_id, new).await.expect("a member");
    let token =
        tokens::mint_member(harness.core(), &member, std::time::Duration::from_hours(1)).await.expect("a token");
    let permissions = member.permissions_in(environment.id);
    Who {
        name: format!("an operator who is {role:?}"),
        token: Some(token.access_token),
        caller: Some(Caller::Member { workspace: environment.workspace_id, member: member.id, permissions }),
    }
}

async fn callers(harness: &Harness) -> Vec<Who> {
    let nobody = |name: &str, token: &str| Who { name: name.to_owned(), token: Some(token.to_owned()), caller: None };
    let mut all = vec![
        Who { name: "nobody".to_owned(), token: None, caller: Some(Caller::Anonymous) },
        nobody("an unknown token", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"),
    ];
    for kind in Minted::ALL {
        let (token, caller) = harness.mint(kind, harness.env_id()).await;
        all.push(Who { name: format!("{kind:?}"), token: Some(token), caller: Some(caller) });
        if kind != Minted::Member {
            let (token, _) = harness.mint(kind, harness.prd_id()).await;
            all.push(nobody(&format!("{kind:?} of the other environment"), &token));
        }
    }
    for role in [FixedRole::Developer, FixedRole::Member, FixedRole::Viewer] {
        all.push(operator(harness, role).await);
    }
    all
}

/// The contract lets clients call it, but a passkey is made by its user (login methods reference, open point 10).
const IN_PERSON: &str = "/scalekit.v1.auth.webauthn.WebAuthnService/BeginRegistration";

/// Connections that share the work.
const LANES: usize = 8;

async fn walk(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let mut rpcs = Rpcs::new();
    narthex::services::register(&mut rpcs, harness.core());
    let rpcs = Arc::new(rpcs);
    let who_calls = Arc::new(callers(&harness).await);
    let base = harness.running().http_url.clone();

    let mut workers = Vec::new();
    for lane in 0..LANES {
        let (who_calls, base, rpcs) = (who_calls.clone(), base.clone(), rpcs.clone());
        workers.push(tokio::spawn(async move {
            let mut lines = Lines::open(&base).await;
            // Refusals by code, and requests that reached a handler.
            let mut counts = std::collections::BTreeMap::<i32, usize>::new();
            for method in METHODS.iter().skip(lane).step_by(LANES) {
                for who in who_calls.iter() {
                    for way in Way::all(method) {
                        let place = format!("{} as {} by {way:?}", method.path, who.name);
                        // Whoever may do this ends every session that the other lanes work with.
                        let ends_sessions = method.name == "DisableFSAFeature";
                        if ends_sessions && who.expected(method, rpcs.is_built(method.index), way).is_none() {
                            continue;
                        }
                        let got = lines.ask(method, way, who.token.as_deref(), &place).await;
                        let Some(code) = who.expected(method, rpcs.is_built(method.index), way) else {
                            // An ownership rule of the handler may refuse sessions; credentials and kinds have been accepted.
                            let own = matches!(who.caller, Some(Caller::Client { .. } | Caller::Member { .. }))
                                && method.path != IN_PERSON;
                            assert!(!matches!(got.code, 2 | 12..=16) && (got.code != 7 || !own), "{place}: {got:?}");
                            *counts.entry(-1).or_default() += 1;
                            continue;
                        };
                        assert_eq!((got.code, &*got.error_code), (code, answers::name(code)), "{place}: {got:?}");
                        match code {
                            16 if who.token.is_none() => assert_eq!(got.message, "Token empty", "{place}"),
                            7 => {
                                // Those of the contract, unless an end user needs others.
                                let named = match method.auth.end_users {
                                    EndUsers::Permitted(keys) => got.permissions == keys,
                                    _ => false,
                                };
                                assert!(named || got.permissions == method.auth.permissions, "{place}: {got:?}");
                                if let Some(Caller::Member { member, .. }) = &who.caller {
                                    assert_eq!(got.user, member.to_string(), "{place}");
                                }
                            }
                            _ => {}
                        }
                        *counts.entry(code).or_default() += 1;
                    }
                }
            }
            counts
        }));
    }
    let mut total = std::collections::BTreeMap::<i32, usize>::new();
    for worker in workers {
        for (code, count) in worker.await.expect("every decision is as expected") {
            *total.entry(code).or_default() += count;
        }
    }
    // The table is walked: a filter that lets nothing through would otherwise prove everything.
    for (code, least) in [(16, 10_000), (7, 10_000), (12, 5_000), (5, 50), (-1, 500)] {
        assert!(total.get(&code).copied().unwrap_or_default() >= least, "{code}: {total:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_01_ctl_02_ctl_03_ctl_04_ctl_09_every_rpc_decides_alike_for_everybody_by_every_way_sqlite() {
    walk(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_01_ctl_02_ctl_03_ctl_04_ctl_09_every_rpc_decides_alike_for_everybody_by_every_way_postgres() {
    walk(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_10_an_operator_of_another_workspace_is_refused_on_every_rpc() {
    let harness = Harness::start().await;
    let core = harness.core();
    let seed = "[[workspaces]]\nid = \"wks_8573429015935999\"\nname = \"Other\"\n";
    narthex_core::seed::apply(core, seed).await.expect("a second workspace");
    let workspace = narthex_core::ids::WorkspaceId::parse("wks_8573429015935999").expect("an id");
    let new = NewMember {
        email: "mallory@other.test".to_owned(),
        given_name: String::new(),
        family_name: String::new(),
        role: FixedRole::Owner,
    };
    let member = members::create(core, workspace, new).await.expect("a member");
    let token = tokens::mint_member(core, &member, std::time::Duration::from_hours(1)).await.expect("a token");
    let mut lines = Lines::open(&harness.running().http_url).await;
    let mut refused = 0;
    for method in METHODS.iter().filter(|method| method.auth.kinds & !kind::NONE != 0) {
        for way in [Way::Grpc].into_iter().chain(method.http.iter().map(|http| Way::Rest(http, Protocol::H1))) {
            let place = format!("{} by {way:?}", method.path);
            assert_eq!(lines.ask(method, way, Some(&token.access_token), &place).await.code, 7, "{place}");
            refused += 1;
        }
    }
    assert!(refused > 800, "{refused}");
}
