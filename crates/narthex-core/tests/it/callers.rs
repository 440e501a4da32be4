//! Every kind of caller, the tokens that make none, and which of several tokens counts.

use std::sync::Arc;
use std::time::Duration;

use narthex_core::clients::{self, ClientKind, NewClient};
use narthex_core::environments::{self, Environment, EnvironmentKind, NewEnvironment};
use narthex_core::ids::{ConnectedAccountId, EnvId, OrganizationId, UserId, WorkspaceId};
use narthex_core::members::{self, FixedRole, Member, NewMember};
use narthex_core::schema::Schema;
use narthex_core::seed::{EnvironmentSeed, SeedClient};
use narthex_core::sessions::{self, NewSession, Session};
use narthex_core::testing::{self, TestCore, sign_raw};
use narthex_core::tokens::{mint_member, mint_session, mint_user};
use narthex_core::{Caller, Kind, caller::kind, tokens};
use serde_json::json;

use crate::node::{api_token, assert_denied, assert_unauthenticated, caller, credentials, issue, node};

const HOUR: Duration = Duration::from_hours(1);

async fn member(node: &TestCore, workspace: WorkspaceId, role: FixedRole) -> Member {
    let new = NewMember {
        email: format!("{}@acme.test", role.name()),
        given_name: "Ada".into(),
        family_name: "Operator".into(),
        role,
    };
    members::create(node, workspace, new).await.expect("a member")
}

async fn member_token(node: &TestCore, member: &Member) -> String {
    mint_member(node, member, HOUR).await.expect("a token").access_token
}

async fn browser(node: &TestCore, organization: Option<OrganizationId>) -> Session {
    let session = NewSession::browser(UserId::new(&node.ids), organization, HOUR);
    sessions::open(node, node.dev.id, session).await.expect("a session")
}

async fn portal(node: &TestCore, organization: OrganizationId) -> Session {
    let session = NewSession::portal(organization, None, vec!["sso".into()], HOUR);
    sessions::open(node, node.dev.id, session).await.expect("a session")
}

async fn ui_token(node: &TestCore, session: &Session) -> String {
    mint_session(node, &node.dev, session, HOUR).await.expect("a token").access_token
}

async fn user_token(node: &TestCore, session: &Session, client_id: &str) -> String {
    mint_user(node, &node.dev, session, client_id, HOUR).await.expect("a token").access_token
}

/// Another workspace with an environment of its own at `https://other.test`.
async fn foreign_environment(node: &TestCore) -> (WorkspaceId, Arc<Environment>) {
    let (workspace, id) = (WorkspaceId::new(&node.ids), EnvId::new(&node.ids));
    let toml = format!(
        "[[workspaces]]\nid = \"{workspace}\"\nname = \"Other\"\n[[workspaces.environments]]\nid = \"{id}\"\nkind = \"dev\"\n\
         origin = \"https://other.test\"\n"
    );
    narthex_core::seed::apply(node, &toml).await.expect("a second workspace");
    (workspace, environments::by_id(node, id).await.unwrap().expect("its environment"))
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn ctl_03_each_kind_of_token_is_the_caller_that_its_row_says(db: TestDb) {
        let node = node(db).await;
        let organization = testing::organization(&node, node.dev.id).await.unwrap();
        let user = testing::member(&node, &node.dev, organization, &["sk_org_sso_read"]).await.unwrap();
        let session = NewSession::browser(user, Some(organization), HOUR);
        let session = sessions::open(&node, node.dev.id, session).await.unwrap();

        let known = caller(&node, &node.dev, &ui_token(&node, &session).await).await.unwrap();
        assert_eq!(known.kind(), kind::SESSION);
        assert!(known.holds_any(&["connections_read"]) && !known.holds_any(&["connections_write"]));
        assert!(matches!(&known, Caller::Session { user, organization: Some(of), .. }
            if Some(*user) == session.user && *of == organization));

        let known = caller(&node, &node.dev, &user_token(&node, &session, &node.dev_client.client_id).await).await.unwrap();
        assert_eq!(known.kind(), kind::USER);

        let link = portal(&node, organization).await;
        let known = caller(&node, &node.dev, &ui_token(&node, &link).await).await.unwrap();
        assert_eq!(known.kind(), kind::CUSTOMER_PORTAL);
        assert!(matches!(&known, Caller::Portal { organization: of, features, .. } if *of == organization && features == &["sso"]));

        let account = ConnectedAccountId::new(&node.ids);
        let page = sessions::open(&node, node.dev.id, NewSession::connected_account(account, HOUR)).await.unwrap();
        let known = caller(&node, &node.dev, &ui_token(&node, &page).await).await.unwrap();
        assert_eq!(known.kind(), kind::ACTIONS_PORTAL);
        assert!(matches!(known, Caller::ConnectedAccount { connected_account, .. } if connected_account == account));

        let operator = member(&node, node.dev.workspace_id, FixedRole::Viewer).await;
        let known = caller(&node, &node.dev, &member_token(&node, &operator).await).await.unwrap();
        assert_eq!(known.kind(), kind::WORKSPACE);
        assert!(known.holds_any(&["organizations:read"]) && !known.holds_any(&["organizations:write"]));
    }

    async fn a_user_token_has_the_rights_of_the_organization_it_was_issued_for(db: TestDb) {
        let node = node(db).await;
        let acme = testing::organization(&node, node.dev.id).await.unwrap();
        let user = testing::member(&node, &node.dev, acme, &["sk_org_sso_read"]).await.unwrap();
        let session = NewSession::browser(user, Some(acme), HOUR);
        let session = sessions::open(&node, node.dev.id, session).await.unwrap();
        let mut earlier = session.clone();
        for (organization, holds) in [(acme, true), (testing::organization(&node, node.dev.id).await.unwrap(), false)] {
            earlier.organization = Some(organization);
            let token = user_token(&node, &earlier, &node.dev_client.client_id).await;
            let known = caller(&node, &node.dev, &token).await.unwrap();
            assert!(matches!(&known, Caller::User { organization: Some(of), .. } if *of == organization));
            assert_eq!(known.holds_any(&["connections_read"]), holds);
        }
    }

    async fn mgmt_01_without_a_token_the_answer_is_token_empty(db: TestDb) {
        let node = node(db).await;
        for bearers in [&[][..], &[""], &["  ", ""]] {
            let error = tokens::authenticate(&node, &node.dev, bearers, None).await.map(|_| ()).expect_err("refused");
            assert_eq!((error.kind(), error.message()), (Kind::Unauthenticated, "Token empty"));
        }
    }

    async fn mgmt_03_the_first_valid_of_several_tokens_counts_and_they_are_never_merged(db: TestDb) {
        let node = node(db).await;
        let fresh = api_token(&node).await;
        let stale = format!("{}x", &fresh[..fresh.len() - 1]);
        let operator = member(&node, node.dev.workspace_id, FixedRole::Owner).await;
        let operator_token = member_token(&node, &operator).await;
        let who = async |bearers: &[&str]| tokens::authenticate(&node, &node.dev, bearers, None).await.map(|(who, _)| who);
        for bearers in [[fresh.as_str(), stale.as_str()], [stale.as_str(), fresh.as_str()]] {
            assert!(matches!(who(&bearers).await, Ok(Caller::Client { .. })));
        }
        assert!(matches!(who(&[&fresh, &operator_token]).await, Ok(Caller::Client { .. })));
        assert!(matches!(who(&[&operator_token, &fresh]).await, Ok(Caller::Member { .. })));
        assert_unauthenticated(&who(&[&stale, "garbage"]).await, "two bad ones");
    }

    async fn ctl_09_a_token_of_one_environment_is_nobody_in_another(db: TestDb) {
        let node = node(db).await;
        let token = api_token(&node).await;
        assert_unauthenticated(&caller(&node, &node.prd, &token).await, "DEV token on the PRD host");
        assert_unauthenticated(&caller(&node, &node.system, &token).await, "DEV token on the product's own host");
        assert!(caller(&node, &node.dev, &token).await.is_ok(), "and the refusals have changed nothing");
        // x-env-domain is for operators: a client cannot choose with it.
        let chosen = tokens::authenticate(&node, &node.prd, &[&token], Some("dev.test")).await.map(|(who, _)| who);
        assert_unauthenticated(&chosen, "DEV token on the PRD host with x-env-domain");
        let (_, environment) = tokens::authenticate(&node, &node.dev, &[&token], Some("prd.test")).await.unwrap();
        assert_eq!(environment.id, node.dev.id);
        // A session of another environment, named by a token that this one signed.
        let elsewhere = sessions::open(&node, node.prd.id, NewSession::portal(OrganizationId(1), None, vec![], HOUR)).await.unwrap();
        let mut here = elsewhere.clone();
        here.environment = node.dev.id;
        assert_unauthenticated(&caller(&node, &node.dev, &ui_token(&node, &here).await).await, "foreign session");
    }

    async fn ctl_10_x_env_domain_selects_the_environment_of_an_operator(db: TestDb) {
        let node = node(db).await;
        let operator = member(&node, node.dev.workspace_id, FixedRole::Viewer).await;
        members::set_environment_role(&node, node.dev.workspace_id, &members::Granter::system(), operator.id, node.prd.id, FixedRole::Owner).await.unwrap();
        let token = member_token(&node, &operator).await;
        let at = async |host: &Arc<Environment>, domain: Option<&str>| {
            tokens::authenticate(&node, host, &[&token], domain).await
        };
        let (who, environment) = at(&node.dev, None).await.unwrap();
        assert_eq!(environment.id, node.dev.id, "without it, the host decides");
        assert!(!who.holds_any(&["sso:write"]));
        let (who, environment) = at(&node.dev, Some("prd.test")).await.unwrap();
        assert_eq!(environment.id, node.prd.id);
        assert!(who.holds_any(&["sso:write"]), "the role in that environment counts");
        let (_, environment) = at(&node.system, Some("PRD.test:443")).await.unwrap();
        assert_eq!(environment.id, node.prd.id);
        assert_eq!(at(&node.system, None).await.unwrap().1.id, node.system.id, "for requests about the workspace");

        let (other_workspace, other) = foreign_environment(&node).await;
        for refused in [at(&node.dev, Some("other.test")).await, at(&node.dev, Some("nowhere.test")).await, at(&other, None).await] {
            assert_denied(&refused.map(|(who, _)| who), "foreign or unknown environment");
        }
        let stranger = member(&node, other_workspace, FixedRole::Owner).await;
        let token = member_token(&node, &stranger).await;
        let at_home = caller(&node, &node.system, &token).await.unwrap();
        assert!(at_home.holds_any(&["members:write"]), "the product's own host is where workspaces are seen to");
        assert!(!at_home.holds_any(&["organizations:read"]), "but its organizations are the workspaces of others");
        assert_denied(&caller(&node, &node.dev, &token).await, "an owner of another workspace");
        assert!(caller(&node, &other, &token).await.is_ok());
        let error = members::set_environment_role(&node, node.dev.workspace_id, &members::Granter::system(), stranger.id, node.dev.id, FixedRole::Owner).await;
        assert_eq!(error.map_err(|error| error.kind()), Err(Kind::NotFound), "a role in another workspace's environment");
    }

    async fn mgmt_04_id_logout_and_idp_initiated_tokens_are_no_bearers(db: TestDb) {
        let node = node(db).await;
        let session = browser(&node, Some(OrganizationId::new(&node.ids))).await;
        let (user, client) = (session.user.unwrap().to_string(), node.dev_client.client_id.clone());
        let now = node.clock.real_now().seconds();
        let common = json!({"iss": "https://dev.test", "sub": user, "aud": [client], "iat": now, "nbf": now, "exp": now + 300});
        let with = |more: serde_json::Value| {
            let mut claims = common.as_object().unwrap().clone();
            claims.extend(more.as_object().unwrap().clone());
            serde_json::Value::Object(claims).to_string()
        };
        let sid = session.id.to_string();
        let cases = [
            ("ID token", with(json!({"client_id": client, "azp": client, "sid": sid, "at_hash": "x", "email": "a@b.c"}))),
            // A customer's own attribute named jti must not turn an ID token into an access token.
            ("ID token with a jti", with(json!({"client_id": client, "azp": client, "sid": sid, "at_hash": "x", "jti": "tkn_1"}))),
            ("ID token without at_hash", with(json!({"client_id": client, "azp": client, "sid": sid, "jti": "tkn_1"}))),
            ("ID token with a nonce", with(json!({"client_id": client, "sid": sid, "nonce": "n", "jti": "tkn_1"}))),
            ("logout token", with(json!({"sid": sid, "jti": "tkn_1", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}}))),
            ("IdP-initiated login", with(json!({"connection_id": "conn_1", "organization_id": "org_1", "login_hint": "a@b.c", "jti": "tkn_1"}))),
            ("no jti", with(json!({"client_id": client, "sid": sid}))),
            ("foreign jti", with(json!({"client_id": client, "sid": sid, "jti": "lgt_1"}))),
            ("aud no array", with(json!({"client_id": client, "sid": sid, "jti": "tkn_1", "aud": client}))),
        ];
        for (case, payload) in cases {
            let token = sign_raw(&node, node.dev.id, None, &payload).await.unwrap();
            assert_unauthenticated(&caller(&node, &node.dev, &token).await, case);
        }
        let payload = with(json!({"client_id": client, "sid": sid, "jti": "tkn_1"}));
        let token = sign_raw(&node, node.dev.id, None, &payload).await.unwrap();
        assert!(caller(&node, &node.dev, &token).await.is_ok(), "the same as an access token is a caller");
    }

    async fn mgmt_04_tokens_for_other_audiences_are_denied(db: TestDb) {
        let node = node(db).await;
        let session = browser(&node, None).await;
        let now = node.clock.real_now().seconds();
        let mcp = clients::create(&node, node.dev.id, node.dev.kind, NewClient::new(ClientKind::Resource, "MCP")).await.unwrap();
        let sign = async |claims: serde_json::Value| {
            let mut all = json!({"iss": "https://dev.test", "iat": now, "nbf": now, "exp": now + 300, "jti": "tkn_1"});
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            let token = sign_raw(&node, node.dev.id, None, &all.to_string()).await.unwrap();
            caller(&node, &node.dev, &token).await
        };
        let (user, sid) = (session.user.unwrap().to_string(), session.id.to_string());
        let (app, mcp) = (node.dev_client.client_id.clone(), mcp.client_id);
        let resource = "https://mcp.example/";
        let cases = [
            ("MCP client's own token", json!({"sub": mcp, "client_id": mcp, "aud": [resource, "res_1"]})),
            ("user's token for an MCP server", json!({"sub": user, "client_id": mcp, "sid": sid, "aud": [resource]})),
            ("the same with the client as audience", json!({"sub": user, "client_id": mcp, "sid": sid, "aud": [mcp]})),
            ("application's token for a resource", json!({"sub": user, "client_id": app, "sid": sid, "aud": [app, resource]})),
            ("token without a session", json!({"sub": "conn_1;x", "client_id": app, "aud": [app]})),
            ("API client's token for another API", json!({"sub": app, "client_id": app, "aud": ["api.example"]})),
            ("API client's token for another API too", json!({"sub": app, "client_id": app, "aud": [app, "api.example"]})),
            ("API client's token for nobody", json!({"sub": app, "client_id": app, "aud": []})),
            ("API client's token for another client", json!({"sub": app, "client_id": app, "aud": [mcp]})),
        ];
        for (case, claims) in cases {
            assert_denied(&sign(claims).await, case);
        }
    }

    async fn mgmt_04_a_token_cannot_borrow_a_row_of_another_kind(db: TestDb) {
        let node = node(db).await;
        let (ours, theirs) = (OrganizationId::new(&node.ids), OrganizationId::new(&node.ids));
        let (session, link) = (browser(&node, Some(ours)).await, portal(&node, ours).await);
        let operator = member(&node, node.dev.workspace_id, FixedRole::Owner).await;
        let now = node.clock.real_now().seconds();
        let sign = async |environment: &Arc<Environment>, claims: serde_json::Value| {
            let mut all = json!({"iss": environment.origin, "iat": now, "nbf": now, "exp": now + 300, "jti": "tkn_1"});
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            sign_raw(&node, environment.id, None, &all.to_string()).await.unwrap()
        };
        let (user, sid, portal_sid) = (session.user.unwrap().to_string(), session.id.to_string(), link.id.to_string());
        let app = node.dev_client.client_id.clone();
        let workspace = node.dev.workspace_id.to_string();
        let cases = [
            ("user token over a portal session", json!({"sub": user, "client_id": app, "aud": [app], "sid": portal_sid})),
            ("portal without its audience", json!({"sub": portal_sid, "sid": portal_sid, "organization_id": ours.to_string()})),
            ("portal of another organization", json!({"sub": portal_sid, "aud": ["ui"], "sid": portal_sid, "organization_id": theirs.to_string()})),
            ("portal without an organization", json!({"sub": portal_sid, "aud": ["ui"], "sid": portal_sid})),
            ("session of another audience too", json!({"sub": user, "aud": ["ui", "api.example"], "sid": sid})),
            ("portal of another audience too", json!({"sub": portal_sid, "aud": ["ui", "api.example"], "sid": portal_sid, "organization_id": ours.to_string()})),
            ("session of another user", json!({"sub": "usr_1", "aud": ["ui"], "sid": sid})),
            ("unknown session", json!({"sub": user, "aud": ["ui"], "sid": "ses_1"})),
            ("malformed session", json!({"sub": user, "aud": ["ui"], "sid": "ses_01"})),
            ("operator signed by a customer's environment", json!({"sub": operator.id.to_string(), "aud": ["dashboard"], "sid": sid, "workspace_id": workspace})),
            ("unknown client", json!({"sub": "skc_1", "client_id": "skc_1", "aud": ["skc_1"]})),
            ("subject is another client", json!({"sub": app, "client_id": "skc_1", "sid": sid, "aud": ["skc_1"]})),
        ];
        for (case, claims) in cases {
            let token = sign(&node.dev, claims).await;
            assert_unauthenticated(&caller(&node, &node.dev, &token).await, case);
        }
        // The product's own environment signs for operators, and for nobody else elsewhere.
        let cases = [
            ("system client on a customer's host", json!({"sub": app, "client_id": app, "aud": [app]})),
            ("operator without a session", json!({"sub": operator.id.to_string(), "aud": ["dashboard"], "workspace_id": workspace})),
            ("operator over a customer's session", json!({"sub": operator.id.to_string(), "aud": ["dashboard"], "sid": sid, "workspace_id": workspace})),
        ];
        for (case, claims) in cases {
            let token = sign(&node.system, claims).await;
            assert_unauthenticated(&caller(&node, &node.dev, &token).await, case);
        }
        let theirs = sessions::open(&node, node.system.id, NewSession::operator(operator.id, HOUR)).await.unwrap();
        let operator_sid = theirs.id.to_string();
        for (case, claims) in [
            ("another workspace", json!({"sub": operator.id.to_string(), "aud": ["dashboard"], "sid": operator_sid, "workspace_id": "wks_1"})),
            ("another member", json!({"sub": "usr_1", "aud": ["dashboard"], "sid": operator_sid, "workspace_id": workspace})),
            ("another audience too", json!({"sub": operator.id.to_string(), "aud": ["dashboard", "api.example"], "sid": operator_sid, "workspace_id": workspace})),
            ("another audience", json!({"sub": operator.id.to_string(), "aud": ["ui"], "sid": operator_sid, "workspace_id": workspace})),
        ] {
            let token = sign(&node.system, claims).await;
            assert_unauthenticated(&caller(&node, &node.dev, &token).await, case);
        }
    }

    async fn the_client_of_the_products_own_environment_is_a_caller_there_only(db: TestDb) {
        let node = node(db).await;
        let id = node.db
            .read(async |tx| tx.one::<(String,)>("SELECT client_id FROM clients WHERE environment_id = (SELECT id FROM environments WHERE is_system = 1)", &[]).await)
            .await
            .map(|(id,)| id)
            .unwrap();
        let secret = clients::add_secret(&node, node.system.id, EnvironmentKind::Prd, &id, "test").await.unwrap();
        let token = issue(&node, &node.system, credentials(&id, secret.plain.expose())).await.unwrap().access_token;
        assert!(matches!(caller(&node, &node.system, &token).await, Ok(Caller::Client { .. })));
        assert_unauthenticated(&caller(&node, &node.dev, &token).await, "system client on a customer's host");
    }

    async fn supplied_environments_are_kept_apart_by_host(db: TestDb) {
        let node = node(db).await;
        let new = NewEnvironment {
            id: EnvId::new(&node.ids),
            workspace_id: node.dev.workspace_id,
            kind: EnvironmentKind::Dev,
            is_system: false,
            display_name: "Twin".into(),
            origin: "https://dev.test".into(),
        };
        EnvironmentSeed::prepare(&node, new, SeedClient::default()).await.map(|_| ()).unwrap();
        let toml = "[[workspaces]]\nname = \"Squatter\"\n[[workspaces.environments]]\nkind = \"dev\"\norigin = \"https://dev.test\"\n";
        let error = narthex_core::seed::apply(&node, toml).await.expect_err("the host is taken");
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert_eq!(environments::by_host(&node, "dev.test").await.unwrap().unwrap().id, node.dev.id);
    }
}
