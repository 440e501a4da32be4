use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use narthex_core::environments::{Environment, SessionSettings};
use narthex_core::ids::{MemberId, SessionId, UserId, WorkspaceId};
use narthex_core::testing::TestCore;
use narthex_db::Engine;
use prost_types::FieldMask;
use wire::get_organization_request::Identities as GetIdentity;
use wire::update_organization_request::Identities as UpdateIdentity;

use super::*;

/// The service on an empty database.
struct Service {
    node: TestCore,
}

impl Service {
    async fn new() -> Self {
        Self { node: TestCore::new(Engine::Sqlite).await.expect("a node") }
    }

    fn core(&self) -> Arc<Core> {
        Arc::clone(&self.node.core)
    }

    fn as_caller(&self, caller: Caller) -> Context {
        Context {
            caller,
            environment: Arc::clone(&self.node.dev),
            request_id: "req".into(),
            idempotency_key: None,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            deadline: None,
            browser: narthex_rpc::Browser::default(),
        }
    }

    fn as_client(&self) -> Context {
        self.as_caller(Caller::Client { environment: self.node.dev.id, client_id: "skc_1".into() })
    }

    fn as_session(&self, organization: &wire::Organization) -> Context {
        self.as_caller(Caller::Session {
            environment: self.node.dev.id,
            user: UserId(1),
            organization: OrganizationId::parse(&organization.id),
            session: SessionId(1),
            permissions: vec!["organizations_read".into(), "organizations_write".into()],
        })
    }

    fn as_portal(&self, organization: &wire::Organization) -> Context {
        self.as_caller(Caller::Portal {
            environment: self.node.dev.id,
            organization: OrganizationId::parse(&organization.id).unwrap(),
            session: SessionId(2),
            features: vec!["sso".into()],
        })
    }

    async fn create(&self, given: wire::CreateOrganization) -> wire::Organization {
        let request = wire::CreateOrganizationRequest { organization: Some(given) };
        create(self.core(), self.as_client(), request).await.expect("created").organization.expect("an organization")
    }

    async fn named(&self, name: &str) -> wire::Organization {
        self.create(wire::CreateOrganization { display_name: name.into(), ..Default::default() }).await
    }

    async fn full(&self) -> wire::Organization {
        self.create(wire::CreateOrganization {
            display_name: "Acme".into(),
            external_id: Some("acme".into()),
            metadata: HashMap::from([("plan".into(), "pro".into())]),
            slug: Some("acme".into()),
            logo_url: Some("https://acme.example/l".into()),
            ..Default::default()
        })
        .await
    }

    async fn update(
        &self,
        id: &str,
        given: wire::UpdateOrganization,
        mask: Option<&[&str]>,
    ) -> Result<wire::Organization> {
        let update_mask = mask.map(|paths| FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() });
        let identities = Some(UpdateIdentity::Id(id.to_owned()));
        let request = wire::UpdateOrganizationRequest { organization: Some(given), update_mask, identities };
        Ok(update(self.core(), self.as_client(), request).await?.organization.expect("an organization"))
    }

    async fn get(&self, context: Context, identity: GetIdentity) -> Result<wire::Organization> {
        let request = wire::GetOrganizationRequest { identities: Some(identity) };
        Ok(get(self.core(), context, request).await?.organization.expect("an organization"))
    }
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T>, kind: Kind) -> Error {
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), kind, "{error:?}");
    error
}

#[tokio::test]
async fn org_07_with_a_mask_exactly_the_masked_fields_change_and_absent_ones_are_cleared() {
    let service = Service::new().await;
    let made = service.full().await;
    let given = || wire::UpdateOrganization {
        display_name: Some("Acme Inc".into()),
        external_id: Some("other".into()),
        ..Default::default()
    };
    let renamed = service.update(&made.id, given(), Some(&["display_name"])).await.unwrap();
    assert_eq!((renamed.display_name.as_str(), renamed.external_id.as_deref()), ("Acme Inc", Some("acme")));
    assert_eq!((&renamed.metadata, &renamed.slug, &renamed.logo_url), (&made.metadata, &made.slug, &made.logo_url));

    let cleared =
        service.update(&made.id, given(), Some(&["metadata", "slug", "logo_url", "external_id"])).await.unwrap();
    assert_eq!((cleared.slug, cleared.logo_url, cleared.external_id.as_deref()), (None, None, Some("other")));
    assert!(cleared.metadata.is_empty());

    for (path, constraint) in [
        ("id", "field_mask.read_only"),
        ("create_time", "field_mask.read_only"),
        ("region_code", "field_mask.read_only"),
        ("settings", "field_mask.read_only"),
        ("settings.features", "field_mask.unknown"),
        ("metadata.plan", "field_mask.unknown"),
        ("environment_id", "field_mask.unknown"),
        ("", "field_mask.unknown"),
    ] {
        let error = assert_kind(service.update(&made.id, given(), Some(&[path])).await, Kind::InvalidArgument);
        let violation = &error.field_violations()[0];
        assert_eq!((violation.field.as_str(), violation.constraint.as_str()), ("update_mask", constraint), "{path}");
        assert!(violation.description.contains(path));
    }
    let nameless = wire::UpdateOrganization::default();
    let error =
        assert_kind(service.update(&made.id, nameless, Some(&["slug", "display_name"])).await, Kind::InvalidArgument);
    assert_eq!(error.field_violations()[0].field, "organization.display_name");
}

#[tokio::test]
async fn org_07_org_08_without_a_mask_present_fields_change_and_empty_texts_clear() {
    let service = Service::new().await;
    let made = service.full().await;
    for mask in [None, Some(&[][..])] {
        let same = service.update(&made.id, wire::UpdateOrganization::default(), mask).await.unwrap();
        assert_eq!(same, made, "nothing named, nothing changed");
    }
    let given =
        wire::UpdateOrganization { slug: Some(String::new()), logo_url: Some(String::new()), ..Default::default() };
    let cleared = service.update(&made.id, given, None).await.unwrap();
    assert_eq!((cleared.slug, cleared.logo_url), (None, None));
    assert_eq!((&cleared.metadata, &cleared.external_id), (&made.metadata, &made.external_id));
    let given = wire::UpdateOrganization { external_id: Some(String::new()), ..Default::default() };
    assert_eq!(service.update(&made.id, given, None).await.unwrap().external_id, None);
}

#[tokio::test]
async fn org_03_the_external_id_lookup_takes_no_id_and_answers_organization_clients_about_their_own() {
    let service = Service::new().await;
    let own = service.full().await;
    let other = service
        .create(wire::CreateOrganization {
            display_name: "Other".into(),
            external_id: Some("other".into()),
            ..Default::default()
        })
        .await;
    let by_external_id = async |context, identities| {
        get_by_external_id(service.core(), context, wire::GetOrganizationRequest { identities }).await
    };
    let external = |id: &str| Some(GetIdentity::ExternalId(id.to_owned()));
    let found = by_external_id(service.as_client(), external("other")).await.unwrap().organization.unwrap();
    assert_eq!(found.id, other.id);
    for identity in [Some(GetIdentity::Id(own.id.clone())), None] {
        let error = assert_kind(by_external_id(service.as_client(), identity).await, Kind::InvalidArgument);
        assert!(error.message().contains("external id is required"), "{error:?}");
    }
    assert_kind(by_external_id(service.as_client(), external("nobody")).await, Kind::NotFound);

    let client = || {
        service.as_caller(Caller::OrganizationClient {
            environment: service.node.dev.id,
            organization: OrganizationId::parse(&own.id).unwrap(),
            client_id: "m2morg_1".into(),
        })
    };
    assert_eq!(by_external_id(client(), external("acme")).await.unwrap().organization.unwrap().id, own.id);
    let taken = assert_kind(by_external_id(client(), external("other")).await, Kind::InvalidArgument);
    let free = assert_kind(by_external_id(client(), external("nobody")).await, Kind::InvalidArgument);
    assert_eq!(format!("{taken:?}"), format!("{free:?}"), "it does not learn which external ids exist");
}

#[tokio::test]
async fn a_caller_of_one_organization_finds_no_other() {
    let service = Service::new().await;
    let own = service.full().await;
    let other = service
        .create(wire::CreateOrganization {
            display_name: "Other".into(),
            external_id: Some("other".into()),
            ..Default::default()
        })
        .await;
    for context in [service.as_session(&own), service.as_portal(&own)] {
        let get = async |identity| service.get(context.clone(), identity).await;
        assert_eq!(get(GetIdentity::Id(own.id.clone())).await.unwrap().id, own.id);
        assert_eq!(get(GetIdentity::ExternalId("acme".into())).await.unwrap().id, own.id);
        assert_kind(get(GetIdentity::Id(other.id.clone())).await, Kind::NotFound);
        assert_kind(get(GetIdentity::ExternalId("other".into())).await, Kind::NotFound);
        let request = wire::GetOrganizationUserManagementSettingsRequest { organization_id: other.id.clone() };
        assert_kind(user_management(service.core(), context.clone(), request).await, Kind::NotFound);
    }
    for identity in [UpdateIdentity::Id(other.id.clone()), UpdateIdentity::ExternalId("other".into())] {
        let organization =
            Some(wire::UpdateOrganization { display_name: Some("Taken over".into()), ..Default::default() });
        let request = wire::UpdateOrganizationRequest { organization, update_mask: None, identities: Some(identity) };
        assert_kind(update(service.core(), service.as_session(&own), request).await, Kind::NotFound);
    }
    let unchanged = service.get(service.as_client(), GetIdentity::Id(other.id.clone())).await.unwrap();
    assert_eq!(unchanged, other);
    // Nor does an API client of another environment.
    let mut elsewhere = service.as_client();
    elsewhere.environment = Arc::clone(&service.node.prd);
    assert_kind(service.get(elsewhere, GetIdentity::Id(own.id.clone())).await, Kind::NotFound);
}

#[tokio::test]
async fn administrators_change_neither_what_the_application_knows_them_by_nor_what_it_sells() {
    let service = Service::new().await;
    let own = service.full().await;
    let change = async |organization, mask: Option<&str>| {
        let update_mask = mask.map(|path| FieldMask { paths: vec![path.to_owned()] });
        let identities = Some(UpdateIdentity::Id(own.id.clone()));
        let request = wire::UpdateOrganizationRequest { organization: Some(organization), update_mask, identities };
        update(service.core(), service.as_session(&own), request).await
    };
    for given in [
        wire::UpdateOrganization { external_id: Some("other".into()), ..Default::default() },
        wire::UpdateOrganization { slug: Some("other".into()), ..Default::default() },
        wire::UpdateOrganization {
            metadata: [("plan".to_owned(), "enterprise".to_owned())].into(),
            ..Default::default()
        },
    ] {
        assert_kind(change(given, None).await, Kind::PermissionDenied);
    }
    for cleared in ["external_id", "slug", "metadata"] {
        assert_kind(change(wire::UpdateOrganization::default(), Some(cleared)).await, Kind::PermissionDenied);
    }
    let name = wire::UpdateOrganization { display_name: Some("Acme Inc".into()), ..Default::default() };
    assert_eq!(change(name, None).await.unwrap().organization.unwrap().display_name, "Acme Inc");

    let seats = wire::UpsertUserManagementSettingsRequest {
        organization_id: own.id.clone(),
        settings: Some(wire::OrganizationUserManagementSettings { max_allowed_users: Some(0) }),
    };
    assert_kind(upsert_user_management(service.core(), service.as_portal(&own), seats).await, Kind::PermissionDenied);
}

#[tokio::test]
async fn what_is_no_organization_id_is_not_found() {
    let service = Service::new().await;
    for id in ["org_", "org_abc", "org_012345678901234567", "usr_1", "1", "org_-5", "org_99999999999999999999"] {
        assert_kind(service.get(service.as_client(), GetIdentity::Id(id.into())).await, Kind::NotFound);
        let request = wire::UpdateOrganizationSettingsRequest { id: id.into(), settings: None };
        assert_kind(update_settings(service.core(), service.as_client(), request).await, Kind::NotFound);
    }
    let error = assert_kind(
        get(service.core(), service.as_client(), wire::GetOrganizationRequest::default()).await,
        Kind::InvalidArgument,
    );
    assert_eq!(error.field_violations()[0].field, "id");
}

#[tokio::test]
async fn org_12_settings_take_aliases_and_refuse_unknown_features_by_place() {
    let service = Service::new().await;
    let made = service.named("Acme").await;
    let set = async |features: &[(&str, bool)]| {
        let feature =
            |&(name, enabled): &(&str, bool)| wire::OrganizationSettingsFeature { name: name.to_owned(), enabled };
        let settings = Some(wire::OrganizationSettings { features: features.iter().map(feature).collect() });
        let request = wire::UpdateOrganizationSettingsRequest { id: made.id.clone(), settings };
        update_settings(service.core(), service.as_client(), request).await
    };
    let shown = |answer: wire::GetOrganizationResponse| -> Vec<(String, bool)> {
        let features = answer.organization.unwrap().settings.unwrap().features;
        features.into_iter().map(|feature| (feature.name, feature.enabled)).collect()
    };
    let expected =
        |features: &[(&str, bool)]| features.iter().map(|&(name, on)| (name.to_owned(), on)).collect::<Vec<_>>();
    let answer = set(&[("domain_verification", true), ("scim", true)]).await.unwrap();
    assert_eq!(shown(answer), expected(&[("sso", false), ("dir_sync", true), ("domain_verification", true)]));
    let error = assert_kind(set(&[("sso", true), ("users", true)]).await, Kind::InvalidArgument);
    assert_eq!(error.field_violations()[0].field, "settings.features[1].name");
    let answer = set(&[]).await.unwrap();
    assert_eq!(shown(answer)[0], ("sso".to_owned(), false), "a refused request switches nothing");
}

#[tokio::test]
async fn org_14_policies_are_read_back_in_minutes_with_explicit_switches() {
    let service = Service::new().await;
    let made = service.named("Acme").await;
    let set = async |request: wire::UpdateOrganizationSessionPolicyRequest| {
        let request = wire::UpdateOrganizationSessionPolicyRequest { organization_id: made.id.clone(), ..request };
        update_session_policy(service.core(), service.as_client(), request).await.map(|answer| answer.policy.unwrap())
    };
    let read = async || {
        let request = wire::GetOrganizationSessionPolicyRequest { organization_id: made.id.clone() };
        session_policy(service.core(), service.as_client(), request).await.unwrap().policy.unwrap()
    };
    let application = wire::OrganizationSessionPolicySettings { policy_source: 1, ..Default::default() };
    assert_eq!(read().await, application);

    let custom = wire::UpdateOrganizationSessionPolicyRequest {
        policy_source: 2,
        absolute_session_timeout: Some(2),
        absolute_session_timeout_unit: Some(3),
        idle_session_timeout_enabled: Some(true),
        idle_session_timeout: Some(3),
        idle_session_timeout_unit: Some(2),
        ..Default::default()
    };
    let expected = wire::OrganizationSessionPolicySettings {
        policy_source: 2,
        absolute_session_timeout: Some(2_880),
        absolute_session_timeout_unit: Some(1),
        idle_session_timeout_enabled: Some(true),
        idle_session_timeout: Some(180),
        idle_session_timeout_unit: Some(1),
    };
    assert_eq!(set(custom).await.unwrap(), expected);
    let idle_off = wire::UpdateOrganizationSessionPolicyRequest {
        policy_source: 2,
        idle_session_timeout_enabled: Some(false),
        ..Default::default()
    };
    let expected = wire::OrganizationSessionPolicySettings {
        idle_session_timeout_enabled: Some(false),
        idle_session_timeout: None,
        idle_session_timeout_unit: None,
        ..expected
    };
    assert_eq!(set(idle_off).await.unwrap(), expected);
    assert_eq!(read().await, expected);
    for (source, unit) in [(0, None), (7, None), (2, Some(9))] {
        let request = wire::UpdateOrganizationSessionPolicyRequest {
            policy_source: source,
            absolute_session_timeout_unit: unit,
            ..Default::default()
        };
        assert_kind(set(request).await, Kind::InvalidArgument);
    }
    let huge = wire::UpdateOrganizationSessionPolicyRequest {
        policy_source: 2,
        absolute_session_timeout: Some(i32::MAX),
        absolute_session_timeout_unit: Some(3),
        ..Default::default()
    };
    assert_kind(set(huge).await, Kind::InvalidArgument);
    let back = wire::UpdateOrganizationSessionPolicyRequest { policy_source: 1, ..Default::default() };
    assert_eq!(set(back).await.unwrap(), application);
}

#[tokio::test]
async fn org_14_users_need_the_session_policy_feature_and_the_api_does_not() {
    let service = Service::new().await;
    let made = service.named("Acme").await;
    let read = async |context| {
        let request = wire::GetOrganizationSessionPolicyRequest { organization_id: made.id.clone() };
        session_policy(service.core(), context, request).await
    };
    read(service.as_client()).await.unwrap();
    assert_kind(read(service.as_session(&made)).await, Kind::PermissionDenied);
    let feature = wire::OrganizationSettingsFeature { name: "session_policy".into(), enabled: true };
    let settings = Some(wire::OrganizationSettings { features: vec![feature] });
    let request = wire::UpdateOrganizationSettingsRequest { id: made.id.clone(), settings };
    update_settings(service.core(), service.as_client(), request).await.unwrap();
    read(service.as_session(&made)).await.unwrap();
}

#[tokio::test]
async fn org_16_the_applications_policy_is_read_in_its_own_units() {
    let service = Service::new().await;
    let made = service.named("Acme").await;
    let read = async |id: &str, environment: Environment| {
        let mut context = service.as_client();
        context.environment = Arc::new(environment);
        let request = wire::GetApplicationSessionPolicyRequest { organization_id: id.to_owned() };
        application_session_policy(service.core(), context, request)
            .await
            .map(|answer| answer.application_policy.unwrap())
    };
    let environment = service.node.dev.as_ref().clone();
    let policy = read(&made.id, environment.clone()).await.unwrap();
    assert_eq!((policy.absolute_session_timeout, policy.access_token_expiry), (43_200, 5));
    assert_eq!((policy.idle_session_timeout_enabled, policy.idle_session_timeout), (false, 0));
    assert_eq!((policy.absolute_session_timeout_unit, policy.idle_session_timeout_unit), (Some(1), None));

    let session = SessionSettings {
        absolute_timeout: Span { minutes: 2_880, unit: TimeUnit::Days },
        idle_enabled: true,
        idle_timeout: Span { minutes: 180, unit: TimeUnit::Hours },
        ..environment.session.clone()
    };
    let policy = read(&made.id, Environment { session, ..environment.clone() }).await.unwrap();
    assert_eq!((policy.absolute_session_timeout, policy.absolute_session_timeout_unit), (2, Some(3)));
    assert_eq!((policy.idle_session_timeout, policy.idle_session_timeout_unit), (3, Some(2)));

    assert_kind(read("org_1", environment.clone()).await, Kind::NotFound);
    let modular = Environment { authentication_mode: AuthenticationMode::Modular, ..environment };
    assert_kind(read(&made.id, modular).await, Kind::PermissionDenied);
}

#[tokio::test]
async fn org_13_a_stored_zero_comes_back_as_an_explicit_zero() {
    let service = Service::new().await;
    let made = service.named("Acme").await;
    for seats in [None, Some(0), Some(5), Some(0), None] {
        let settings = Some(wire::OrganizationUserManagementSettings { max_allowed_users: seats });
        let request = wire::UpsertUserManagementSettingsRequest { organization_id: made.id.clone(), settings };
        let answer = upsert_user_management(service.core(), service.as_client(), request).await.unwrap();
        assert_eq!(answer.settings.unwrap().max_allowed_users, seats);
        let request = wire::GetOrganizationUserManagementSettingsRequest { organization_id: made.id.clone() };
        let answer = user_management(service.core(), service.as_client(), request).await.unwrap();
        assert_eq!(answer.settings.expect("present: SDKs raise on its absence").max_allowed_users, seats);
    }
}

#[tokio::test]
async fn org_19_branding_has_a_source_and_free_form_settings() {
    let service = Service::new().await;
    let made = service.named("Acme").await;
    let set = async |source, settings| {
        let request = wire::UpdateOrganizationBrandingRequest {
            organization_id: made.id.clone(),
            source,
            customization_settings: settings,
        };
        update_branding(service.core(), service.as_client(), request).await.map(|answer| answer.branding.unwrap())
    };
    let read = async || {
        let request = wire::GetOrganizationBrandingRequest { organization_id: made.id.clone() };
        branding(service.core(), service.as_client(), request).await.unwrap().branding.unwrap()
    };
    assert_eq!(read().await, wire::OrganizationBranding { source: 1, customization_settings: None, update_time: None });
    let settings =
        serde_json::json!({"primary_button_color": "#123456", "radius": 1.5, "nested": {"list": [true, null]}});
    let settings = structs::from_json(settings.as_object().cloned().unwrap());
    let custom = set(2, Some(settings.clone())).await.unwrap();
    assert_eq!((custom.source, custom.customization_settings.as_ref()), (2, Some(&settings)));
    assert!(custom.update_time.is_some());
    assert_eq!(read().await, custom);
    let inherited = set(1, Some(settings)).await.unwrap();
    assert_eq!((inherited.source, inherited.customization_settings), (1, None), "dropped");
    for source in [0, 3] {
        assert_kind(set(source, None).await, Kind::InvalidArgument);
    }
}

#[tokio::test]
#[allow(deprecated)]
async fn ctl_57_links_by_list_and_by_the_older_switches() {
    let service = Service::new().await;
    let made = service.named("Acme").await;
    let generate = async |context, request: wire::GeneratePortalLinkRequest| {
        let request = wire::GeneratePortalLinkRequest { id: made.id.clone(), ..request };
        generate_portal_link(service.core(), context, request)
            .await
            .map(|answer| answer.link.expect("SDKs raise on its absence"))
    };
    let default = wire::GeneratePortalLinkRequest::default;
    let link = generate(service.as_client(), default()).await.unwrap();
    assert!(link.id.starts_with("lnk_") && link.location.starts_with("https://dev.test/magicLink/"), "{link:?}");
    for request in [
        wire::GeneratePortalLinkRequest { features: vec![2], ..default() },
        wire::GeneratePortalLinkRequest { features: vec![99], ..default() },
        wire::GeneratePortalLinkRequest { sso: Some(true), ..default() },
        wire::GeneratePortalLinkRequest { directory_sync: Some(true), ..default() },
    ] {
        assert_kind(generate(service.as_client(), request).await, Kind::InvalidArgument);
    }
    generate(service.as_client(), wire::GeneratePortalLinkRequest { sso: Some(false), ..default() }).await.unwrap();

    let operator = || {
        let member = Caller::Member {
            workspace: WorkspaceId(1),
            member: MemberId(1),
            permissions: vec!["portal_links:manage".into()],
        };
        service.as_caller(member)
    };
    let link = generate(operator(), default()).await.unwrap();
    assert!(link.location.ends_with("_p"), "an operator's link is for sending on: {link:?}");
    let request = wire::GetPortalLinkRequest { id: made.id.clone() };
    let links = portal_links_of(service.core(), operator(), request).await.unwrap().links;
    assert_eq!(links.len(), 3);
    assert!(links.iter().all(|link| link.location.is_empty()), "no list gives a secret away");

    let by_id = wire::DeletePortalLinkByIdRequest { id: made.id.clone(), link_id: link.id.clone() };
    delete_portal_link(service.core(), operator(), by_id.clone()).await.unwrap();
    assert_kind(delete_portal_link(service.core(), operator(), by_id).await, Kind::NotFound);
    delete_portal_links(service.core(), operator(), wire::DeletePortalLinkRequest { id: made.id.clone() })
        .await
        .unwrap();
    let request = wire::GetPortalLinkRequest { id: made.id.clone() };
    assert_eq!(portal_links_of(service.core(), operator(), request).await.unwrap().links, []);
}

#[tokio::test]
async fn org_01_creates_can_be_sent_again_under_a_key() {
    let service = Service::new().await;
    let send = async |key: &str, name: &str| {
        let context = Context { idempotency_key: Some(key.to_owned()), ..service.as_client() };
        let organization = Some(wire::CreateOrganization {
            display_name: name.into(),
            metadata: (0..5).map(|i| (format!("key{i}"), "x".to_owned())).collect(),
            ..Default::default()
        });
        let answer = create(service.core(), context, wire::CreateOrganizationRequest { organization }).await;
        answer.map(|answer| answer.organization.unwrap())
    };
    let first = send("a", "Acme").await.unwrap();
    // Maps arrive in any order; equal ones are equal.
    for _ in 0..5 {
        assert_eq!(send("a", "Acme").await.unwrap(), first);
    }
    assert_ne!(send("b", "Acme").await.unwrap().id, first.id);
    let error = assert_kind(send("a", "Other").await, Kind::InvalidArgument);
    assert_eq!(error.field_violations()[0].field, "idempotency-key");
}

#[tokio::test]
async fn org_01_the_region_is_the_default_or_a_known_one() {
    let service = Service::new().await;
    let send = async |region_code| {
        let organization =
            Some(wire::CreateOrganization { display_name: "Acme".into(), region_code, ..Default::default() });
        create(service.core(), service.as_client(), wire::CreateOrganizationRequest { organization }).await
    };
    assert_eq!(send(0).await.unwrap().organization.unwrap().region_code, 1);
    assert_eq!(send(2).await.unwrap().organization.unwrap().region_code, 2);
    assert_kind(send(3).await, Kind::InvalidArgument);
}

#[tokio::test]
async fn every_rpc_of_the_service_is_built() {
    let service = Service::new().await;
    let mut rpcs = Rpcs::new();
    register(&mut rpcs, &service.core());
    let all =
        narthex_api::METHODS.iter().filter(|method| method.service == "scalekit.v1.organizations.OrganizationService");
    let missing: Vec<&str> = all.filter(|method| !rpcs.is_built(method.index)).map(|method| method.name).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
