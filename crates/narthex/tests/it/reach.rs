//! How far an end user reaches: every RPC that sessions may call, asked about the user's own organization and own things, then about
//! another organization's and another user's.

use narthex_api::METHODS;
use narthex_api::contract::EndUsers;
use narthex_core::caller::kind;
use narthex_core::ids::{OrganizationId, UserId};
use narthex_core::sessions::{self, NewSession};
use narthex_core::testing;
use narthex_core::tokens;
use narthex_rpc::Rpcs;
use serde_json::{Value, json};

use crate::roles::Client;

const HOUR: std::time::Duration = std::time::Duration::from_hours(1);

/// Everything that comes with an environment to be given to the administrators of an organization.
const ALL: [&str; 12] = [
    "sk_org_settings_read",
    "sk_org_settings_manage",
    "sk_org_users_read",
    "sk_org_users_invite",
    "sk_org_users_delete",
    "sk_org_users_role_change",
    "sk_org_sso_read",
    "sk_org_sso_manage",
    "sk_org_scim_read",
    "sk_org_scim_manage",
    "sk_org_session_policy_read",
    "sk_org_session_policy_manage",
];

/// One organization and what is in it.
struct Place {
    organization: String,
    /// An administrator, who is signed in.
    admin: String,
    session: String,
    /// Another member.
    member: String,
    /// Somebody who is invited.
    invited: String,
    domain: String,
}

impl Place {
    fn fill(&self, text: &str) -> String {
        let Self { organization, admin, session, member, invited, domain } = self;
        let number = organization.replace("org_", "");
        let pairs = [
            ("{number}", &number),
            ("{organization}", organization),
            ("{admin}", admin),
            ("{session}", session),
            ("{member}", member),
            ("{invited}", invited),
            ("{domain}", domain),
        ];
        pairs.into_iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// RPC, verb, path and body; whether it asks about a person rather than an organization.
type Case = (&'static str, &'static str, &'static str, Value);

/// In an order in which each finds what it needs.
fn cases() -> Vec<Case> {
    let none = || Value::Null;
    let custom = json!({"policy_source": "CUSTOM", "absolute_session_timeout": 600});
    let branding = json!({"source": "BRANDING_SOURCE_CUSTOM", "customization_settings": {"app_name": "X"}});
    vec![
        ("GetOrganization", "GET", "/api/v1/organizations/{organization}", none()),
        ("UpdateOrganization", "PATCH", "/api/v1/organizations/{organization}", json!({"display_name": "Changed"})),
        ("GetOrganizationSessionPolicy", "GET", "/api/v1/organizations/{organization}/session-policy", none()),
        ("UpdateOrganizationSessionPolicy", "PATCH", "/api/v1/organizations/{organization}/session-policy", custom),
        (
            "GetApplicationSessionPolicy",
            "GET",
            "/api/v1/organizations/{organization}/application-session-policy",
            none(),
        ),
        ("GetOrganizationBranding", "GET", "/api/v1/organizations/{organization}/portal_customizations", none()),
        ("UpdateOrganizationBranding", "PUT", "/api/v1/organizations/{organization}/portal_customizations", branding),
        ("ListConnections", "GET", "/api/v1/connections?organization_id={organization}", none()),
        (
            "CreateDomain",
            "POST",
            "/api/v1/organizations/{organization}/domains",
            json!({"domain": "made-{number}.example"}),
        ),
        ("GetDomain", "GET", "/api/v1/organizations/{organization}/domains/{domain}", none()),
        ("ListDomains", "GET", "/api/v1/organizations/{organization}/domains", none()),
        ("UpdateDomain", "PATCH", "/api/v1/organizations/{organization}/domains/{domain}", json!({})),
        ("VerifyDomain", "PATCH", "/api/v1/organizations/{organization}/domains/{domain}:verify", json!({})),
        ("ListOrganizationRoles", "GET", "/api/v1/organizations/{organization}/roles", none()),
        ("GetOrganizationRole", "GET", "/api/v1/organizations/{organization}/roles/admin", none()),
        ("ListOrganizationUsers", "GET", "/api/v1/organizations/{organization}/users", none()),
        (
            "CreateUserAndMembership",
            "POST",
            "/api/v1/organizations/{organization}/users",
            json!({"email": "new-{organization}@example.com"}),
        ),
        ("ResendInvite", "PATCH", "/api/v1/invites/organizations/{organization}/users/{invited}/resend", json!({})),
        (
            "UpdateMembership",
            "PATCH",
            "/api/v1/memberships/organizations/{organization}/users/{member}",
            json!({"roles": [{"name": "member"}]}),
        ),
        (
            "AssignUserRoles",
            "POST",
            "/api/v1/organizations/{organization}/users/{member}/roles",
            json!([{"role_name": "admin"}]),
        ),
        ("RemoveUserRole", "DELETE", "/api/v1/organizations/{organization}/users/{member}/roles/admin", none()),
        ("GetUser", "GET", "/api/v1/users/{admin}", none()),
        ("UpdateUser", "PATCH", "/api/v1/users/{admin}", json!({"user_profile": {"given_name": "Changed"}})),
        ("GetUserSessions", "GET", "/api/v1/users/{admin}/sessions", none()),
        ("DeleteDomain", "DELETE", "/api/v1/organizations/{organization}/domains/{domain}", none()),
        ("DeleteMembership", "DELETE", "/api/v1/memberships/organizations/{organization}/users/{member}", none()),
        ("RevokeSession", "POST", "/api/v1/sessions/{session}/revoke", json!({})),
    ]
}

/// What is proven elsewhere, or has nothing of another's to be asked about.
const OTHERWISE: [&str; 10] = [
    // Passkeys: tests of WebAuthnService.
    "BeginRegistration",
    "FinishRegistration",
    "ListCredentials",
    "DeleteCredential",
    "UpdateCredential",
    // Consents of one's own: tests of ClientService.
    "ListCurrentAgentConsents",
    "RevokeCurrentAgentConsent",
    // They name nobody.
    "GetCurrentUser",
    "GetCurrentSession",
    // One catalogue for the environment, which setting up a connection adds to (control plane reference §2.4).
    "CreateSsoUserAttribute",
];

impl Client {
    async fn user(&self, organization: &str, email: &str, invite: bool) -> String {
        let path = format!("/api/v1/organizations/{organization}/users?send_invitation_email={invite}");
        let made = self.ok(201, "POST", &path, Some(json!({"email": email}))).await;
        made["user"]["id"].as_str().expect("an id").to_owned()
    }

    /// An organization with people in it, and the token of its administrator's pages.
    async fn place(&self, name: &str) -> (Place, String) {
        let core = self.harness.core();
        let environment = self.harness.environment(self.harness.env_id()).await;
        let organization = self.organization(name).await;
        let features = json!({"features": [
            {"name": "session_policy", "enabled": true},
            {"name": "domain_verification", "enabled": true},
        ]});
        self.ok(200, "PATCH", &format!("/api/v1/organizations/{organization}/settings"), Some(features)).await;
        let id = OrganizationId::parse(&organization).unwrap();
        let admin: UserId = testing::member(core, &environment, id, &ALL).await.expect("an administrator");
        let new = NewSession::browser(admin, Some(id), HOUR);
        let session = sessions::open(core, environment.id, new).await.expect("a session");
        let token = tokens::mint_session(core, &environment, &session, HOUR).await.expect("a token").access_token;
        // The one that is revoked at the end must not be the one that asks.
        let spare = sessions::open(core, environment.id, NewSession::browser(admin, Some(id), HOUR)).await.unwrap();
        let slug = name.to_lowercase();
        let domain = json!({"domain": format!("{slug}.example"), "domain_type": "ALLOWED_EMAIL_DOMAIN"});
        let domain = self.ok(200, "POST", &format!("/api/v1/organizations/{organization}/domains"), Some(domain)).await;
        let place = Place {
            admin: admin.to_string(),
            session: spare.id.to_string(),
            member: self.user(&organization, &format!("member@{slug}.example"), false).await,
            invited: self.user(&organization, &format!("invited@{slug}.example"), true).await,
            domain: domain["domain"]["id"].as_str().expect("an id").to_owned(),
            organization,
        };
        (place, token)
    }

    async fn status(&self, token: &str, place: &Place, case: &Case) -> (u16, String) {
        let (_, verb, path, body) = case;
        let body = (!body.is_null()).then(|| serde_json::from_str(&place.fill(&body.to_string())).expect("JSON"));
        let reply = self.harness.rest(verb, &place.fill(path), Some(token), body.as_ref()).await;
        (reply.status.as_u16(), reply.text())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_05_ctl_06_an_administrator_of_one_organization_reaches_nothing_of_another() {
    let client = Client::start().await;
    let (own, token) = client.place("Acme").await;
    let (foreign, _) = client.place("Bolt").await;
    for case in cases() {
        let (name, ..) = case;
        let (status, text) = client.status(&token, &foreign, &case).await;
        assert!(matches!(status, 403 | 404), "{name} of another: {status} {text}");
        let (status, text) = client.status(&token, &own, &case).await;
        assert!(matches!(status, 200 | 201), "{name} of one's own: {status} {text}");
    }
    // Every refusal above was about whose it is: the application itself may do all of it there.
    for case in cases() {
        let (status, text) = client.status(&client.token, &foreign, &case).await;
        assert!(matches!(status, 200 | 201), "{} by the application: {status} {text}", case.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_05_without_the_permissions_of_a_role_nothing_of_ones_own_organization_is_reached() {
    let client = Client::start().await;
    let (own, _) = client.place("Acme").await;
    let token = client.session(&own.organization, &[]).await;
    for case in cases() {
        let (status, text) = client.status(&token, &own, &case).await;
        // Of what is about persons, the administrator's things are another's.
        assert!(matches!(status, 403 | 404), "{}: {status} {text}", case.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_05_ctl_06_every_rpc_that_sessions_may_call_is_asked_about_others() {
    let client = Client::start().await;
    let mut rpcs = Rpcs::new();
    narthex::services::register(&mut rpcs, client.harness.core());
    let asked: Vec<&str> = cases().iter().map(|case| case.0).chain(OTHERWISE).collect();
    let open = METHODS.iter().filter(|method| {
        method.auth.kinds & (kind::SESSION | kind::USER) != 0
            && rpcs.is_built(method.index)
            && matches!(method.auth.end_users, EndUsers::Permitted(_) | EndUsers::Themselves)
            && method.auth.end_users != EndUsers::Permitted(&[])
    });
    let missing: Vec<&str> = open.map(|method| method.name).filter(|name| !asked.contains(name)).collect();
    assert_eq!(missing, ["CreateMembership"], "which takes somebody who is no member yet: below");
    let (own, token) = client.place("Acme").await;
    let (foreign, _) = client.place("Bolt").await;
    let join = format!("/api/v1/memberships/organizations/{}/users/{}", foreign.organization, own.member);
    let reply = client.harness.rest("POST", &join, Some(&token), Some(&json!({}))).await;
    assert_eq!(reply.status, 404, "{}", reply.text());
    let drawn = format!("/api/v1/memberships/organizations/{}/users/{}", own.organization, foreign.member);
    let reply = client.harness.rest("POST", &drawn, Some(&token), Some(&json!({}))).await;
    assert_eq!(reply.status, 404, "a stranger's id says nothing: {}", reply.text());
}
