use std::net::{IpAddr, Ipv4Addr};

use narthex_core::ids::{OrganizationId, SessionId};
use narthex_core::organizations::{self, NewOrganization};
use narthex_core::testing::TestCore;
use narthex_db::Engine;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_is_told_of_no_other_organizations_roles() {
    let node = TestCore::new(Engine::Sqlite).await.expect("a node");
    let context = |caller| Context {
        caller,
        environment: Arc::clone(&node.dev),
        request_id: "req".into(),
        idempotency_key: None,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        deadline: None,
        browser: narthex_rpc::Browser::default(),
    };
    let client = || context(Caller::Client { environment: node.dev.id, client_id: "skc_1".into() });
    let portal = |organization: OrganizationId| {
        let (environment, session) = (node.dev.id, SessionId(1));
        context(Caller::Portal { environment, organization, session, features: vec!["sso".into()] })
    };
    let mut organizations = Vec::new();
    for name in ["Acme", "Bolt"] {
        let new = NewOrganization::named(name);
        organizations.push(organizations::create(&node, node.dev.id, &Actor::SYSTEM, new, None).await.unwrap().id);
    }
    for (organization, name, base) in [
        (organizations[0], "acme_admin", "admin"),
        (organizations[1], "bolt_admin", "admin"),
        (organizations[1], "bolt_aide", "deputy"),
    ] {
        if base == "deputy" {
            let role = wire::CreateRole {
                name: "deputy".into(),
                display_name: "Deputy".into(),
                extends: Some("admin".into()),
                ..Default::default()
            };
            create(Arc::clone(&node.core), client(), wire::CreateRoleRequest { role: Some(role) }).await.unwrap();
        }
        let role = wire::CreateOrganizationRole {
            name: name.into(),
            display_name: name.into(),
            extends: Some(base.into()),
            ..Default::default()
        };
        let request = wire::CreateOrganizationRoleRequest { org_id: organization.to_string(), role: Some(role) };
        create_of_organization(Arc::clone(&node.core), client(), request).await.unwrap();
    }
    let seen = async |context| {
        let request = wire::ListDependentRolesRequest { role_name: "admin".into() };
        let answer = dependents(Arc::clone(&node.core), context, request).await.unwrap();
        let roles = answer.roles.into_iter().map(|role| (role.name, role.dependent_roles_count));
        let mut roles: Vec<_> = roles.collect();
        roles.sort();
        roles
    };
    let named =
        |roles: &[(&str, i32)]| roles.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>();
    assert_eq!(seen(client()).await, named(&[("acme_admin", 0), ("bolt_admin", 0), ("deputy", 1)]));
    assert_eq!(seen(portal(organizations[0])).await, named(&[("acme_admin", 0), ("deputy", 0)]));
    assert_eq!(seen(portal(organizations[1])).await, named(&[("bolt_admin", 0), ("deputy", 1)]));
    let request = wire::ListDependentRolesRequest { role_name: "bolt_admin".into() };
    let refused = dependents(Arc::clone(&node.core), portal(organizations[0]), request).await.unwrap_err();
    assert_eq!(refused.kind(), narthex_core::Kind::NotFound);
}
