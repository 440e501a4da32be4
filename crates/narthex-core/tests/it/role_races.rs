//! Changes of roles that meet, each step placed by the test. PostgreSQL only: SQLite runs one after the other.

use narthex_core::ids::UserId;
use narthex_core::roles::{self, Defaults, Reference, RolePatch, Scope};
use narthex_core::{Error, Kind, permissions};
use tokio::task::JoinHandle;

use crate::fixture::{Fixture, assert_invalid};
use crate::races::{Rival, postgres, until_it_waits};
use crate::roles::{new, seeded};

const ENVIRONMENT: Scope = Scope::Environment;

/// PostgreSQL's code for transactions that cannot both have happened.
const SERIALIZATION_FAILURE: &str = "40001";

async fn start() -> Option<Fixture> {
    Some(seeded(postgres().await?).await)
}

fn named(name: &str) -> Reference {
    Reference::Name(name.to_owned())
}

fn delete(f: &Fixture, name: &'static str) -> JoinHandle<Result<(), Error>> {
    let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
    tokio::spawn(async move { roles::delete(&core, environment, ENVIRONMENT, &by, name.into(), None).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_07_of_two_changes_that_close_a_circle_the_second_to_commit_fails() {
    let Some(f) = start().await else { return };
    let (a, b) = (f.role(new("a")).await, f.role(new("b")).await);
    // The rival has looked along the chain of b, as the product does, and makes a extend it.
    let rival = Rival::begin(
        &f,
        &format!(
            "WITH RECURSIVE chain (id, extends_role_id) AS (SELECT id, extends_role_id FROM roles WHERE id = {b} UNION SELECT r.id, \
             r.extends_role_id FROM roles r JOIN chain c ON r.id = c.extends_role_id) SELECT id FROM chain; \
             UPDATE roles SET extends_role_id = {b} WHERE id = {a}",
            a = a.id.0,
            b = b.id.0
        ),
    )
    .await;
    let patch = RolePatch { base: Some("a".into()), ..RolePatch::default() };
    roles::update(&f.core, f.env(), ENVIRONMENT, &f.by, "b".into(), patch).await.expect("it sees no circle");
    assert_eq!(rival.fails().await, SERIALIZATION_FAILURE);

    // The other way round the product's own transaction meets the rival's, runs again and refuses.
    let (third, fourth) = (f.role(new("c")).await, f.role(new("d")).await);
    let rival =
        Rival::begin(&f, &format!("UPDATE roles SET extends_role_id = {} WHERE id = {}", fourth.id.0, third.id.0))
            .await;
    let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
    let both = tokio::spawn(async move {
        // Touches the rival's row as well, so that it waits.
        let patch = RolePatch { display_name: Some("C".into()), base: Some("d".into()), ..RolePatch::default() };
        roles::update(&core, environment, ENVIRONMENT, &by, "c".into(), patch).await?;
        let patch = RolePatch { base: Some("c".into()), ..RolePatch::default() };
        roles::update(&core, environment, ENVIRONMENT, &by, "d".into(), patch).await
    });
    let waiting = until_it_waits(&f, both).await;
    rival.end("COMMIT").await;
    let error = assert_invalid(waiting.await.unwrap(), "role.extends");
    assert_eq!(error.field_violations()[0].constraint, "role.extends.cycle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_08_a_role_that_is_being_given_does_not_go() {
    let Some(f) = start().await else { return };
    let organization = f.organization("Acme").await.id;
    for (how, name) in [("COMMIT", "given"), ("ROLLBACK", "not_given")] {
        let role = f.role(new(name)).await;
        let rival = Rival::begin(
            &f,
            &format!(
                "INSERT INTO membership_roles (environment_id, organization_id, user_id, role_id) VALUES ({}, {}, 1, {})",
                f.env().0,
                organization.0,
                role.id.0
            ),
        )
        .await;
        let waiting = until_it_waits(&f, delete(&f, name)).await;
        rival.end(how).await;
        let deleted = waiting.await.unwrap();
        if how == "COMMIT" {
            let error = deleted.expect_err("held");
            assert_eq!(error.message(), "role cannot be deleted as it is assigned to users", "{error:?}");
        } else {
            deleted.expect("nobody holds it");
        }
    }
    assert_eq!(f.number("SELECT COUNT(*) FROM roles").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_08_a_role_that_is_going_is_not_given() {
    let Some(f) = start().await else { return };
    let organization = f.organization("Acme").await.id;
    let role = f.role(new("going")).await;
    let rival = Rival::begin(&f, &format!("DELETE FROM roles WHERE id = {}", role.id.0)).await;
    let (core, environment) = (f.core.clone(), f.env());
    let given = tokio::spawn(async move {
        core.db
            .write(async move |tx| {
                let found = roles::resolve(tx, environment, organization, &[named("going")], "roles").await?;
                let ids: Vec<_> = found.iter().map(|role| role.id).collect();
                roles::assign(tx, environment, organization, UserId(1), &ids).await
            })
            .await
    });
    let waiting = until_it_waits(&f, given).await;
    rival.end("COMMIT").await;
    assert_invalid(waiting.await.unwrap(), "roles[0].name");
    assert_eq!(f.number("SELECT COUNT(*) FROM membership_roles").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_07_rbac_09_a_role_that_is_getting_a_dependent_or_becomes_a_default_is_looked_at_again() {
    let Some(f) = start().await else { return };
    let organization = f.organization("Acme").await.id;
    let child = f.role(new("child")).await;
    let base = f.role(new("base")).await;
    let rival =
        Rival::begin(&f, &format!("UPDATE roles SET extends_role_id = {} WHERE id = {}", base.id.0, child.id.0)).await;
    let waiting = until_it_waits(&f, delete(&f, "base")).await;
    rival.end("COMMIT").await;
    let error = waiting.await.unwrap().expect_err("extended");
    assert_eq!(error.message(), "role cannot be deleted as other roles extend it", "{error:?}");

    // An organization's default falls back, so the role goes, with the default that was just set.
    let local = f.role(new("fallback")).await;
    let rival = Rival::begin(
        &f,
        &format!(
            "INSERT INTO organization_default_roles (organization_id, environment_id, member_role_id, updated_at) \
             VALUES ({}, {}, {}, 0)",
            organization.0,
            f.env().0,
            local.id.0
        ),
    )
    .await;
    let waiting = until_it_waits(&f, delete(&f, "fallback")).await;
    rival.end("COMMIT").await;
    waiting.await.unwrap().expect("deleted");
    assert_eq!(f.number("SELECT COUNT(*) FROM organization_default_roles").await, 0);

    // A role that becomes the environment's default stays.
    let other = f.role(new("other")).await;
    let rival = Rival::begin(&f, &format!("UPDATE roles SET default_member = 1 WHERE id = {}", other.id.0)).await;
    let waiting = until_it_waits(&f, delete(&f, "other")).await;
    rival.end("COMMIT").await;
    assert_eq!(waiting.await.unwrap().expect_err("a default").kind(), Kind::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_04_one_name_in_the_environment_and_in_an_organization_cannot_both_commit() {
    let Some(f) = start().await else { return };
    let organization = f.organization("Acme").await.id;
    let (environment, id) = (f.env().0, f.core.ids.next());
    // As the product does it: the look, then the row, which no unique index holds against the environment's.
    let rival = Rival::begin(
        &f,
        &format!(
            "SELECT id FROM roles WHERE environment_id = {environment} AND name = 'prize' \
             AND (organization_id IS NULL OR organization_id = {organization}); \
             INSERT INTO roles (id, environment_id, organization_id, name, display_name, description, default_creator, \
             default_member, created_at, updated_at) VALUES ({id}, {environment}, {organization}, 'prize', 'P', '', 0, 0, 0, 0)",
            organization = organization.0
        ),
    )
    .await;
    f.role(new("prize")).await;
    assert_eq!(rival.fails().await, SERIALIZATION_FAILURE);
    assert_eq!(f.number("SELECT COUNT(*) FROM roles WHERE name = 'prize'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_10_a_default_that_is_being_moved_is_looked_at_again() {
    let Some(f) = start().await else { return };
    let set = |name: &'static str| {
        let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
        tokio::spawn(async move {
            let defaults = Defaults { creator: None, member: Some(named(name)) };
            roles::set_defaults(&core, environment, &by, defaults).await
        })
    };
    for name in ["first", "second", "third"] {
        f.role(new(name)).await;
    }
    set("first").await.unwrap().expect("set");
    let rival = Rival::begin(
        &f,
        "UPDATE roles SET default_member = 0 WHERE name = 'first'; UPDATE roles SET default_member = 1 WHERE name = 'second'",
    )
    .await;
    let waiting = until_it_waits(&f, set("third")).await;
    rival.end("COMMIT").await;
    let (_, member) = waiting.await.unwrap().expect("set");
    assert_eq!(member.unwrap().role.name, "third");
    assert_eq!(f.number("SELECT COUNT(*) FROM roles WHERE default_member = 1").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rbac_13_a_permission_that_is_being_given_goes_from_that_role_too() {
    let Some(f) = start().await else { return };
    let role = f.role(new("viewer")).await;
    let permission = f.permission("docs:read").await;
    let rival = Rival::begin(
        &f,
        &format!("INSERT INTO role_permissions (role_id, permission_id) VALUES ({}, {})", role.id.0, permission.id.0),
    )
    .await;
    let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
    let deleting = tokio::spawn(async move { permissions::delete(&core, environment, &by, "docs:read".into()).await });
    let waiting = until_it_waits(&f, deleting).await;
    rival.end("COMMIT").await;
    waiting.await.unwrap().expect("deleted");
    assert_eq!(f.number("SELECT COUNT(*) FROM role_permissions").await, 0);
    assert_eq!(f.bodies("permission.deleted").await.len(), 1);
}
