//! Roles: made, extended, shown, held, defaulted, deleted.

use narthex_core::events::Actor;
use narthex_core::ids::{EnvId, OrganizationId, RoleId, UserId};
use narthex_core::organizations;
use narthex_core::roles::{self, Defaults, Include, NewRole, Reference, Role, RolePatch, Scope, View};
use narthex_core::schema::Schema;
use narthex_core::testing::TestCore;
use narthex_core::{Error, Kind, Result, permissions};
use narthex_db::p;
use narthex_db::testing::TestDb;

use crate::fixture::{Fixture, assert_invalid, assert_not_found};

const ENVIRONMENT: Scope = Scope::Environment;

pub fn new(name: &str) -> NewRole {
    NewRole { name: name.into(), display_name: name.to_uppercase(), ..NewRole::default() }
}

/// A fixture whose environment has a row, and another one, [`ELSEWHERE`], too: roles and permissions refer to theirs.
pub async fn fixture(db: TestDb) -> Fixture {
    seeded(Fixture::on(db).await).await
}

/// The same for a fixture that stands.
pub async fn seeded(f: Fixture) -> Fixture {
    let rows = [f.env(), ELSEWHERE];
    f.in_tx(async move |tx| {
        tx.execute("INSERT INTO workspaces (id, display_name, created_at, updated_at) VALUES (1, 'Test', 0, 0)", &[]).await?;
        for id in rows {
            tx.execute(
                "INSERT INTO environments (id, workspace_id, kind, is_system, display_name, domain, origin, custom_domain_status, \
                 authentication_mode, access_token_expiry, access_token_expiry_unit, client_access_token_expiry, \
                 absolute_session_timeout, absolute_session_timeout_unit, idle_session_enabled, idle_session_timeout, \
                 idle_session_timeout_unit, session_management_enabled, cookie_persistence, cookie_same_site, features, \
                 created_at, updated_at) \
                 VALUES ($1, 1, 1, 0, '', '', '', 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, '{}', 0, 0)",
                &p![id],
            )
            .await?;
        }
        Ok(())
    })
    .await
    .expect("environments");
    f
}

/// Another environment.
pub const ELSEWHERE: EnvId = EnvId(7);

pub fn extending(name: &str, base: &str) -> NewRole {
    NewRole { base: Some(base.into()), ..new(name) }
}

pub fn granting(name: &str, permissions: &[&str]) -> NewRole {
    NewRole { permissions: permissions.iter().map(|&name| name.to_owned()).collect(), ..new(name) }
}

pub fn named(name: &str) -> Reference {
    Reference::Name(name.into())
}

#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(result: Result<T>, message: &str) {
    let error = result.expect_err("refused");
    assert_eq!((error.kind(), error.message()), (Kind::FailedPrecondition, message));
}

impl Fixture {
    pub async fn role(&self, new: NewRole) -> Role {
        self.make_role(ENVIRONMENT, new).await.expect("a role")
    }

    pub async fn make_role(&self, scope: Scope, new: NewRole) -> Result<Role> {
        roles::create(&self.core, self.env(), scope, &self.by, new, None).await
    }

    pub async fn permission(&self, name: &str) -> permissions::Permission {
        permissions::create(&self.core, self.env(), &self.by, name.into(), String::new(), None)
            .await
            .expect("a permission")
    }

    pub async fn get_role(&self, scope: Scope, name: &str, include: Include) -> Result<View> {
        roles::get(&self.core, self.env(), scope, name.into(), include).await
    }

    pub async fn update_role(&self, scope: Scope, name: &str, patch: RolePatch) -> Result<Role> {
        roles::update(&self.core, self.env(), scope, &self.by, name.into(), patch).await
    }

    pub async fn set_base(&self, scope: Scope, name: &str, base: &str) -> Result<Role> {
        self.update_role(scope, name, RolePatch { base: Some(base.into()), ..RolePatch::default() }).await
    }

    pub async fn delete_role(&self, scope: Scope, name: &str, replacement: Option<&str>) -> Result<()> {
        roles::delete(&self.core, self.env(), scope, &self.by, name.into(), replacement.map(named)).await
    }

    pub async fn role_names(&self, scope: Scope) -> Vec<String> {
        let views = roles::list(&self.core, self.env(), scope, Include::Nothing).await.expect("roles");
        views.into_iter().map(|view| view.role.name).collect()
    }

    pub async fn hold(&self, organization: OrganizationId, user: i64, role: RoleId) {
        let environment = self.env();
        let held = self
            .core
            .db
            .write(async move |tx| roles::assign(tx, environment, organization, UserId(user), &[role]).await);
        assert!(held.await.expect("assigned"), "held already");
    }

    pub async fn holders(&self, scope: Scope, name: &str) -> u32 {
        roles::users_count(&self.core, self.env(), scope, name.into()).await.expect("a count")
    }

    pub async fn in_tx<T: Send + 'static>(
        &self,
        f: impl AsyncFn(&mut narthex_db::Tx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.core.db.write(f).await
    }

    pub async fn bodies(&self, kind: &str) -> Vec<serde_json::Value> {
        let events = self.events().await.into_iter().filter(|event| event.kind == kind);
        events.map(|event| serde_json::from_str(&event.body).expect("JSON")).collect()
    }
}

/// Names of permissions with the role that each comes from.
fn held(view: &View) -> Vec<(&str, &str)> {
    view.permissions.iter().map(|held| (held.permission.name.as_str(), held.role.as_str())).collect()
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn rbac_01_a_new_environment_has_admin_and_member(db: TestDb) {
        let node = TestCore::on(db).await.unwrap();
        let views = roles::list(&node.core, node.dev.id, ENVIRONMENT, Include::Own).await.unwrap();
        let [admin, member] = &views[..] else { panic!("{views:?}") };
        assert_eq!((admin.role.name.as_str(), admin.role.display_name.as_str()), ("admin", "Admin"));
        assert_eq!((admin.role.default_creator, admin.role.default_member), (true, false));
        assert_eq!(admin.permissions.len(), 12);
        assert!(admin.permissions.iter().all(|held| held.permission.is_built_in && held.permission.name.starts_with("sk_org_")));
        assert_eq!((member.role.name.as_str(), member.role.display_name.as_str()), ("member", "Member"));
        assert_eq!((member.role.default_creator, member.role.default_member), (false, true));
        assert_eq!(held(member), [("sk_org_settings_read", "member"), ("sk_org_users_read", "member")]);
        let prd = roles::list(&node.core, node.prd.id, ENVIRONMENT, Include::Nothing).await.unwrap();
        assert_eq!(prd.len(), 2);
        assert!(prd.iter().all(|view| view.role.id != admin.role.id && view.permissions.is_empty()));
    }

    async fn rbac_02_a_role_is_made_shown_and_changed_in_part(db: TestDb) {
        let f = fixture(db).await;
        f.permission("docs:read").await;
        f.permission("docs:write").await;
        let made = f.role(NewRole { description: "Writes".into(), ..granting("editor", &["docs:write", "docs:read", "docs:write"]) }).await;
        assert!(made.id.to_string().starts_with("role_"));
        assert_eq!((made.default_creator, made.default_member, &made.base), (false, false, &None));
        let view = f.get_role(ENVIRONMENT, "editor", Include::Own).await.unwrap();
        assert_eq!(view.role, made);
        assert_eq!(held(&view), [("docs:read", "editor"), ("docs:write", "editor")]);
        assert!(f.get_role(ENVIRONMENT, "editor", Include::Nothing).await.unwrap().permissions.is_empty());
        for name in ["Editor", "editor2", ""] {
            assert_not_found(f.get_role(ENVIRONMENT, name, Include::Nothing).await);
        }
        assert_not_found(roles::get(&f.core, EnvId(1), ENVIRONMENT, "editor".into(), Include::Nothing).await);

        let patch = RolePatch { display_name: Some("Author".into()), ..RolePatch::default() };
        let changed = f.update_role(ENVIRONMENT, "editor", patch.clone()).await.unwrap();
        assert_eq!((changed.display_name.as_str(), changed.description.as_str()), ("Author", "Writes"));
        assert!(changed.updated_at >= made.updated_at && changed.created_at == made.created_at);
        assert_eq!(held(&f.get_role(ENVIRONMENT, "editor", Include::Own).await.unwrap()).len(), 2, "an empty list leaves them");
        let patch = RolePatch { permissions: vec!["docs:read".into()], ..RolePatch::default() };
        f.update_role(ENVIRONMENT, "editor", patch.clone()).await.unwrap();
        assert_eq!(held(&f.get_role(ENVIRONMENT, "editor", Include::Own).await.unwrap()), [("docs:read", "editor")]);
        f.update_role(ENVIRONMENT, "editor", patch).await.unwrap();
        assert_eq!(f.event_types().await.iter().filter(|kind| *kind == "role.updated").count(), 2, "the same again is no event");

        assert_not_found(f.update_role(ENVIRONMENT, "nobody", RolePatch::default()).await);
        let unknown = RolePatch {
            display_name: Some("Never".into()),
            permissions: vec!["docs:read".into(), "no:such".into()],
            ..RolePatch::default()
        };
        assert_invalid(f.update_role(ENVIRONMENT, "editor", unknown).await, "role.permissions[1]");
        assert_eq!(f.get_role(ENVIRONMENT, "editor", Include::Nothing).await.unwrap().role.display_name, "Author");
        assert_invalid(f.make_role(ENVIRONMENT, granting("viewer", &["no:such"])).await, "role.permissions[0]");
        assert_invalid(f.make_role(ENVIRONMENT, extending("viewer", "nobody")).await, "role.extends");
        assert_eq!(f.role_names(ENVIRONMENT).await, ["editor"], "nothing is half-written");
    }

    async fn rbac_03_roles_of_an_organization_are_seen_in_it_alone(db: TestDb) {
        let f = fixture(db).await;
        let acme = Scope::Organization(f.organization("Acme").await.id);
        let other = Scope::Organization(f.organization("Other").await.id);
        f.role(new("everywhere")).await;
        let made = f.make_role(acme, new("here")).await.unwrap();
        assert_eq!(made.scope, acme);
        f.make_role(other, new("here")).await.expect("each organization has its own names");
        f.make_role(other, new("there")).await.unwrap();
        f.role(new("later")).await;
        assert_eq!(f.role_names(ENVIRONMENT).await, ["everywhere", "later"]);
        assert_eq!(f.role_names(acme).await, ["everywhere", "later", "here"]);
        assert_eq!(f.role_names(other).await, ["everywhere", "later", "here", "there"]);
        assert_eq!(f.get_role(acme, "here", Include::Nothing).await.unwrap().role, made);
        assert_eq!(f.get_role(acme, "everywhere", Include::Nothing).await.unwrap().role.scope, ENVIRONMENT);
        assert_not_found(f.get_role(ENVIRONMENT, "here", Include::Nothing).await);
        assert_not_found(f.get_role(acme, "there", Include::Nothing).await);

        // The environment's roles are changed and deleted by the environment's calls alone.
        let patch = RolePatch { display_name: Some("Mine".into()), ..RolePatch::default() };
        assert_not_found(f.update_role(acme, "everywhere", patch.clone()).await);
        assert_not_found(f.delete_role(acme, "everywhere", None).await);
        assert_not_found(f.update_role(ENVIRONMENT, "here", patch.clone()).await);
        assert_not_found(f.delete_role(ENVIRONMENT, "here", None).await);
        assert_not_found(f.update_role(acme, "there", patch.clone()).await);
        assert_eq!(f.update_role(acme, "here", patch).await.unwrap().display_name, "Mine");

        let nowhere = Scope::Organization(OrganizationId(1));
        assert_not_found(f.make_role(nowhere, new("x")).await);
        assert_not_found(roles::list(&f.core, f.env(), nowhere, Include::Nothing).await);
        assert_not_found(roles::list(&f.core, EnvId(1), acme, Include::Nothing).await);
        assert_not_found(roles::create(&f.core, EnvId(1), acme, &f.by, new("x"), None).await);
        assert_eq!(f.number("SELECT COUNT(*) FROM roles WHERE name = 'x'").await, 0);
    }

    async fn rbac_04_a_taken_name_is_refused(db: TestDb) {
        let f = fixture(db).await;
        let acme = Scope::Organization(f.organization("Acme").await.id);
        f.role(new("editor")).await;
        f.make_role(acme, new("local")).await.unwrap();
        for (scope, name) in [(ENVIRONMENT, "editor"), (acme, "local"), (acme, "editor"), (ENVIRONMENT, "local")] {
            let error = assert_invalid(f.make_role(scope, new(name)).await, "name");
            assert_eq!(error.message(), "duplicate key not allowed: name already exists");
            assert_eq!(error.code(), "INVALID_ARGUMENT");
        }
        f.role(new("Editor")).await;
        roles::create(&f.core, ELSEWHERE, ENVIRONMENT, &f.by, new("editor"), None).await.expect("another environment");
        assert_eq!(f.number("SELECT COUNT(*) FROM roles").await, 4);
        assert_eq!(f.number("SELECT COUNT(*) FROM events WHERE type = 'role.created'").await, 4);
    }

    async fn rbac_04_of_many_at_once_one_gets_the_name(db: TestDb) {
        let f = fixture(db).await;
        let acme = Scope::Organization(f.organization("Acme").await.id);
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..16 {
            let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
            let scope = if i % 2 == 0 { ENVIRONMENT } else { acme };
            tasks.spawn(async move { roles::create(&core, environment, scope, &by, new("prize"), None).await });
        }
        let mut won = 0;
        while let Some(result) = tasks.join_next().await {
            match result.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error.message(), "duplicate key not allowed: name already exists", "{error:?}"),
            }
        }
        assert_eq!(won, 1, "one of the environment or one of the organization, never both");
        assert_eq!(f.number("SELECT COUNT(*) FROM roles").await, 1);
    }

    async fn rbac_05_a_role_has_the_permissions_of_its_bases(db: TestDb) {
        let f = fixture(db).await;
        let organization = f.organization("Acme").await.id;
        let acme = Scope::Organization(organization);
        for name in ["a", "b", "c", "d"] {
            f.permission(name).await;
        }
        f.role(granting("viewer", &["a", "b"])).await;
        f.role(NewRole { permissions: vec!["b".into(), "c".into()], ..extending("editor", "viewer") }).await;
        f.make_role(acme, NewRole { permissions: vec!["d".into()], ..extending("owner", "editor") }).await.unwrap();
        f.make_role(acme, extending("deputy", "owner")).await.unwrap();

        let editor = f.get_role(ENVIRONMENT, "editor", Include::Inherited).await.unwrap();
        assert_eq!(held(&editor), [("b", "editor"), ("c", "editor"), ("a", "viewer")], "each once, from the nearest role");
        let deputy = f.get_role(acme, "deputy", Include::Inherited).await.unwrap();
        assert_eq!(held(&deputy), [("d", "owner"), ("b", "editor"), ("c", "editor"), ("a", "viewer")]);
        assert_eq!(deputy.role.base.as_ref().map(|base| base.name.as_str()), Some("owner"));
        assert!(held(&f.get_role(acme, "deputy", Include::Own).await.unwrap()).is_empty());
        // The list says the same.
        for include in [Include::Nothing, Include::Own, Include::Inherited] {
            for view in roles::list(&f.core, f.env(), acme, include).await.unwrap() {
                assert_eq!(f.get_role(acme, &view.role.name, include).await.unwrap(), view);
            }
        }
        let names = |list: Vec<permissions::Permission>| list.into_iter().map(|p| p.name).collect::<Vec<_>>();
        let own = roles::permissions(&f.core, f.env(), "editor".into()).await.unwrap();
        assert_eq!(names(own), ["b", "c"]);
        let all = roles::permissions_with_inherited(&f.core, f.env(), "editor".into()).await.unwrap();
        assert_eq!(names(all), ["b", "c", "a"]);
        assert_not_found(roles::permissions(&f.core, f.env(), "deputy".into()).await);
        assert_not_found(roles::permissions_with_inherited(&f.core, f.env(), "nobody".into()).await);

        // A role of an organization is no base for one of the environment, nor for one of another organization.
        assert_invalid(f.make_role(ENVIRONMENT, extending("x", "owner")).await, "role.extends");
        assert_invalid(f.set_base(ENVIRONMENT, "viewer", "owner").await, "role.extends");
        let other = Scope::Organization(f.organization("Other").await.id);
        assert_invalid(f.make_role(other, extending("x", "owner")).await, "role.extends");
    }

    async fn rbac_06_without_its_base_a_role_keeps_its_own_permissions(db: TestDb) {
        let f = fixture(db).await;
        let acme = Scope::Organization(f.organization("Acme").await.id);
        f.permission("a").await;
        f.permission("b").await;
        f.role(granting("viewer", &["a"])).await;
        f.role(NewRole { permissions: vec!["b".into()], ..extending("editor", "viewer") }).await;
        f.make_role(acme, extending("owner", "viewer")).await.unwrap();
        roles::remove_base(&f.core, f.env(), ENVIRONMENT, &f.by, "editor".into()).await.unwrap();
        let editor = f.get_role(ENVIRONMENT, "editor", Include::Inherited).await.unwrap();
        assert_eq!((editor.role.base.as_ref(), held(&editor)), (None, vec![("b", "editor")]));
        roles::remove_base(&f.core, f.env(), acme, &f.by, "owner".into()).await.unwrap();
        assert_eq!(f.get_role(acme, "owner", Include::Nothing).await.unwrap().role.base, None);
        assert_eq!(f.get_role(ENVIRONMENT, "viewer", Include::Nothing).await.unwrap().dependents, 0);
        let events = f.events().await.len();
        roles::remove_base(&f.core, f.env(), ENVIRONMENT, &f.by, "editor".into()).await.expect("again is no error");
        assert_eq!(f.events().await.len(), events, "and no event");
        assert_not_found(roles::remove_base(&f.core, f.env(), ENVIRONMENT, &f.by, "owner".into()).await);
        assert_not_found(roles::remove_base(&f.core, f.env(), acme, &f.by, "viewer".into()).await);
    }

    async fn rbac_07_dependents_are_counted_and_listed_and_a_circle_is_refused(db: TestDb) {
        let f = fixture(db).await;
        let acme = Scope::Organization(f.organization("Acme").await.id);
        let other = Scope::Organization(f.organization("Other").await.id);
        f.role(new("a")).await;
        f.role(extending("b", "a")).await;
        f.role(extending("c", "b")).await;
        f.make_role(acme, extending("d", "a")).await.unwrap();
        f.make_role(other, extending("e", "a")).await.unwrap();
        let children = async |name: &str| {
            let views = roles::dependents(&f.core, f.env(), name.to_owned()).await.unwrap();
            views.into_iter().map(|view| (view.role.name, view.dependents)).collect::<Vec<_>>()
        };
        assert_eq!(children("a").await, [("b".into(), 1), ("d".into(), 0), ("e".into(), 0)], "direct ones alone");
        assert_eq!(children("c").await, []);
        assert_not_found(roles::dependents(&f.core, f.env(), "d".into()).await);
        assert_eq!(f.get_role(ENVIRONMENT, "a", Include::Nothing).await.unwrap().dependents, 3);
        assert_eq!(f.get_role(acme, "a", Include::Nothing).await.unwrap().dependents, 2, "others' roles are not counted");

        for (name, base) in [("a", "a"), ("a", "b"), ("a", "c"), ("b", "c")] {
            let error = assert_invalid(f.set_base(ENVIRONMENT, name, base).await, "role.extends");
            assert_eq!(error.field_violations()[0].constraint, "role.extends.cycle");
        }
        f.make_role(acme, extending("f", "d")).await.unwrap();
        assert_invalid(f.set_base(acme, "d", "f").await, "role.extends");
        assert_eq!(f.get_role(ENVIRONMENT, "a", Include::Nothing).await.unwrap().role.base, None);
        // Another order of the same roles is no circle.
        f.set_base(ENVIRONMENT, "c", "a").await.unwrap();
        f.set_base(ENVIRONMENT, "b", "c").await.unwrap();
    }

    async fn rbac_07_a_chain_may_have_any_length(db: TestDb) {
        let f = fixture(db).await;
        f.permission("deep").await;
        f.role(granting("r0", &["deep"])).await;
        for i in 1..60 {
            f.role(extending(&format!("r{i}"), &format!("r{}", i - 1))).await;
        }
        let view = f.get_role(ENVIRONMENT, "r59", Include::Inherited).await.unwrap();
        assert_eq!(held(&view), [("deep", "r0")]);
        assert_invalid(f.set_base(ENVIRONMENT, "r0", "r59").await, "role.extends");
    }

    async fn rbac_07_two_changes_that_close_a_circle_together_never_both_stand(db: TestDb) {
        let f = fixture(db).await;
        for round in 0..12 {
            let names = [format!("a{round}"), format!("b{round}"), format!("c{round}")];
            for name in &names {
                f.role(new(name)).await;
            }
            let mut tasks = tokio::task::JoinSet::new();
            for i in 0..3 {
                let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
                let (name, base) = (names[i].clone(), names[(i + 1) % 3].clone());
                tasks.spawn(async move {
                    let patch = RolePatch { base: Some(base), ..RolePatch::default() };
                    roles::update(&core, environment, ENVIRONMENT, &by, name, patch).await
                });
            }
            let mut refused = 0;
            while let Some(result) = tasks.join_next().await {
                if let Err(error) = result.unwrap() {
                    assert_eq!(error.field_violations()[0].constraint, "role.extends.cycle", "{error:?}");
                    refused += 1;
                }
            }
            assert_eq!(refused, 1, "round {round}");
        }
    }

    async fn rbac_10_defaults_of_the_environment_move(db: TestDb) {
        let node = TestCore::on(db).await.unwrap();
        let (core, environment, by) = (&node.core, node.dev.id, Actor::SYSTEM);
        for name in ["owner", "guest"] {
            roles::create(core, environment, ENVIRONMENT, &by, new(name), None).await.unwrap();
        }
        let set = async |creator: Option<&str>, member: Option<&str>| {
            let defaults = Defaults { creator: creator.map(named), member: member.map(named) };
            let (creator, member) = roles::set_defaults(core, environment, &by, defaults).await?;
            Ok::<_, Error>((creator.unwrap().role.name, member.unwrap().role.name))
        };
        let marks = async || {
            let views = roles::list(core, environment, ENVIRONMENT, Include::Nothing).await.unwrap();
            let marked = |of: fn(&Role) -> bool| {
                views.iter().filter(|view| of(&view.role)).map(|view| view.role.name.clone()).collect::<Vec<_>>()
            };
            (marked(|role| role.default_creator), marked(|role| role.default_member))
        };
        let both = |creator: &str, member: &str| (vec![creator.to_owned()], vec![member.to_owned()]);
        assert_eq!(marks().await, both("admin", "member"));
        assert_eq!(set(Some("owner"), Some("guest")).await.unwrap(), ("owner".into(), "guest".into()));
        assert_eq!(marks().await, both("owner", "guest"));
        assert_eq!(set(None, Some("owner")).await.unwrap(), ("owner".into(), "owner".into()), "one alone, and one role for both");
        assert_eq!(marks().await, both("owner", "owner"));
        assert_invalid(set(Some("admin"), Some("nobody")).await, "default_member_role");
        assert_invalid(set(Some("nobody"), Some("member")).await, "default_creator_role");
        assert_invalid(set(None, None).await, "default_creator_role");
        assert_eq!(marks().await, both("owner", "owner"), "nothing has changed");
        let deleted = roles::delete(core, environment, ENVIRONMENT, &by, "owner".into(), Some(named("guest"))).await;
        assert_refused(deleted, "role cannot be deleted as it is a default role of the environment");
        set(Some("guest"), Some("member")).await.unwrap();
        roles::delete(core, environment, ENVIRONMENT, &by, "owner".into(), None).await.expect("no default any more");
        roles::delete(core, environment, ENVIRONMENT, &by, "admin".into(), None).await.expect("built-in roles go like any other");
        let creator = core.db.write(async move |tx| roles::default_creator(tx, environment).await).await.unwrap();
        assert_eq!(creator.unwrap().name, "guest");
        // A role of an organization is no default of the environment.
        let organization = organizations::create(core, environment, &by, organizations::NewOrganization::named("Acme"), None).await.unwrap();
        roles::create(core, environment, Scope::Organization(organization.id), &by, new("local"), None).await.unwrap();
        assert_invalid(set(None, Some("local")).await, "default_member_role");
    }

    async fn rbac_10_of_many_changes_of_a_default_at_once_one_mark_is_left(db: TestDb) {
        let f = fixture(db).await;
        for i in 0..8 {
            f.role(new(&format!("r{i}"))).await;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..8 {
            let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
            tasks.spawn(async move {
                let role = Some(named(&format!("r{i}")));
                roles::set_defaults(&core, environment, &by, Defaults { creator: role.clone(), member: role }).await
            });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap().expect("set");
        }
        assert_eq!(f.number("SELECT COUNT(*) FROM roles WHERE default_creator = 1").await, 1);
        assert_eq!(f.number("SELECT COUNT(*) FROM roles WHERE default_member = 1").await, 1);
    }

    async fn rbac_11_an_organization_has_a_default_of_its_own(db: TestDb) {
        let f = fixture(db).await;
        let (acme, other) = (f.organization("Acme").await, f.organization("Other").await.id);
        let scope = Scope::Organization(acme.id);
        f.role(new("member")).await;
        f.role(new("guest")).await;
        let defaults = Defaults { creator: Some(named("guest")), member: Some(named("member")) };
        roles::set_defaults(&f.core, f.env(), &f.by, defaults).await.unwrap();
        f.make_role(scope, new("local")).await.unwrap();
        f.make_role(Scope::Organization(other), new("foreign")).await.unwrap();
        let set = async |organization, name: &str| {
            roles::set_organization_default(&f.core, f.env(), &f.by, organization, named(name)).await
        };
        let view = set(acme.id, "local").await.unwrap();
        assert_eq!((view.role.name.as_str(), view.role.default_member), ("local", true));
        let marked = async |scope| {
            let views = roles::list(&f.core, f.env(), scope, Include::Nothing).await.unwrap();
            let marked = views.into_iter().filter(|view| view.role.default_member);
            marked.map(|view| view.role.name).collect::<Vec<_>>()
        };
        assert_eq!(marked(scope).await, ["local"]);
        assert_eq!(marked(Scope::Organization(other)).await, ["member"], "for that organization only");
        assert_eq!(marked(ENVIRONMENT).await, ["member"]);
        let environment = f.env();
        let default = async |organization| {
            f.in_tx(async move |tx| roles::default_member(tx, environment, organization).await).await.unwrap().unwrap().name
        };
        assert_eq!((default(acme.id).await, default(other).await), ("local".into(), "member".into()));
        set(acme.id, "guest").await.expect("a role of the environment too");
        assert_eq!(default(acme.id).await, "guest");
        for unknown in ["foreign", "nobody"] {
            assert_invalid(set(acme.id, unknown).await, "default_member_role");
        }
        assert_not_found(set(OrganizationId(1), "guest").await);
        assert_not_found(roles::set_organization_default(&f.core, EnvId(1), &f.by, acme.id, named("guest")).await);
        assert_eq!(default(acme.id).await, "guest");

        // It is a setting of the organization.
        set(acme.id, "guest").await.unwrap();
        let events = f.bodies("organization.updated").await;
        assert_eq!(events.len(), 2, "the same again is no event");
        assert!(events.iter().all(|event| event["organization_id"] == acme.id.to_string()));
    }

    async fn rbac_12_users_are_counted_in_the_environment_and_in_an_organization(db: TestDb) {
        let f = fixture(db).await;
        let (acme, other) = (f.organization("Acme").await.id, f.organization("Other").await.id);
        let role = f.role(new("member")).await;
        let child = f.role(extending("editor", "member")).await;
        let local = f.make_role(Scope::Organization(acme), new("local")).await.unwrap();
        assert_eq!(f.holders(ENVIRONMENT, "member").await, 0);
        for (organization, user) in [(acme, 1), (acme, 2), (other, 1), (other, 3)] {
            f.hold(organization, user, role.id).await;
        }
        f.hold(acme, 9, child.id).await;
        f.hold(acme, 9, local.id).await;
        assert_eq!(f.holders(ENVIRONMENT, "member").await, 3, "users, not memberships, and those who hold it directly");
        assert_eq!(f.holders(Scope::Organization(acme), "member").await, 2);
        assert_eq!(f.holders(Scope::Organization(other), "member").await, 2);
        assert_eq!(f.holders(Scope::Organization(acme), "local").await, 1);
        let count = async |environment, scope, name: &str| roles::users_count(&f.core, environment, scope, name.into()).await;
        assert_not_found(count(f.env(), ENVIRONMENT, "local").await);
        assert_not_found(count(f.env(), Scope::Organization(other), "local").await);
        assert_not_found(count(f.env(), Scope::Organization(OrganizationId(1)), "member").await);
        assert_not_found(count(EnvId(1), ENVIRONMENT, "member").await);
    }

    async fn rbac_15_what_a_membership_amounts_to(db: TestDb) {
        let f = fixture(db).await;
        let (acme, other) = (f.organization("Acme").await.id, f.organization("Other").await.id);
        for name in ["a", "b", "c"] {
            f.permission(name).await;
        }
        f.role(granting("viewer", &["a"])).await;
        let editor = f.role(NewRole { permissions: vec!["b".into()], ..extending("editor", "viewer") }).await;
        let local = f.make_role(Scope::Organization(acme), granting("local", &["c", "b"])).await.unwrap();
        f.make_role(Scope::Organization(other), new("foreign")).await.unwrap();
        let (environment, user) = (f.env(), UserId(1));
        let resolve = async |references: Vec<Reference>| {
            f.in_tx(async move |tx| roles::resolve(tx, environment, acme, &references, "membership.roles").await).await
        };
        let found = resolve(vec![named("local"), named("editor"), Reference::Id(editor.id), named("local")]).await.unwrap();
        assert_eq!(found.iter().map(|role| role.id).collect::<Vec<_>>(), [local.id, editor.id], "each once, in order");
        let refused = resolve(vec![named("editor"), named("foreign"), named("nobody"), Reference::Id(RoleId(1))]).await;
        let fields: Vec<String> = refused.unwrap_err().field_violations().iter().map(|v| v.field.clone()).collect();
        assert_eq!(fields, ["membership.roles[1].name", "membership.roles[2].name", "membership.roles[3].name"]);

        let ids = [local.id, editor.id];
        let (of, with_bases, allowed) = f
            .in_tx(async move |tx| {
                assert!(roles::assign(tx, environment, acme, user, &ids).await?);
                assert!(!roles::assign(tx, environment, acme, user, &ids).await?, "held already");
                let of = roles::of_membership(tx, environment, acme, user).await?;
                let all = roles::with_bases(tx, environment, of.clone()).await?;
                let held: Vec<RoleId> = of.iter().map(|role| role.id).collect();
                Ok((of, all, roles::effective_permissions(tx, environment, &held).await?))
            })
            .await
            .unwrap();
        let names = |roles: &[Role]| roles.iter().map(|role| role.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&of), ["editor", "local"]);
        assert_eq!(names(&with_bases), ["editor", "local", "viewer"], "the roles held, then their bases");
        assert_eq!(allowed.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"], "each once, by name");

        let left = f
            .in_tx(async move |tx| {
                assert!(roles::of_membership(tx, environment, other, user).await?.is_empty(), "of one organization");
                assert!(roles::of_membership(tx, EnvId(1), acme, user).await?.is_empty(), "of one environment");
                assert!(roles::unassign(tx, environment, acme, user, ids[1]).await?);
                assert!(!roles::unassign(tx, environment, acme, user, ids[1]).await?);
                assert!(roles::replace(tx, environment, acme, user, &[ids[1]]).await?);
                assert!(!roles::replace(tx, environment, acme, user, &[ids[1]]).await?);
                let left = roles::of_membership(tx, environment, acme, user).await?;
                assert_eq!(roles::unassign_all(tx, environment, acme, user).await?, 1);
                Ok(left)
            })
            .await
            .unwrap();
        assert_eq!(names(&left), ["editor"]);
        // The database itself refuses a role of another environment.
        let elsewhere = roles::create(&f.core, ELSEWHERE, ENVIRONMENT, &f.by, new("elsewhere"), None).await.unwrap();
        let refused = f.in_tx(async move |tx| roles::assign(tx, environment, acme, user, &[elsewhere.id]).await).await;
        assert_eq!(refused.unwrap_err().kind(), Kind::Internal);
    }

    async fn rbac_17_every_change_of_a_role_is_an_event(db: TestDb) {
        let f = fixture(db).await;
        let organization = f.organization("Acme").await.id;
        let acme = Scope::Organization(organization);
        let by = Actor::from(&narthex_core::Caller::Client { environment: f.env(), client_id: "skc_1".into() });
        f.permission("a").await;
        let base = f.role(NewRole { description: "Bottom".into(), ..new("base") }).await;
        let local = roles::create(&f.core, f.env(), acme, &by, extending("local", "base"), None).await.unwrap();
        let patch = RolePatch { description: Some("Local".into()), ..RolePatch::default() };
        roles::update(&f.core, f.env(), acme, &by, "local".into(), patch).await.unwrap();
        roles::add_permissions(&f.core, f.env(), &by, "base".into(), vec!["a".into()]).await.unwrap();
        roles::remove_permission(&f.core, f.env(), &by, "base".into(), "a".into()).await.unwrap();
        roles::delete(&f.core, f.env(), acme, &by, "local".into(), None).await.unwrap();
        let types: Vec<String> = f.event_types().await.into_iter().filter(|kind| kind.starts_with("role.")).collect();
        assert_eq!(types, ["role.created", "role.created", "role.updated", "role.updated", "role.updated", "role.deleted"]);
        let created = f.bodies("role.created").await;
        assert_eq!(
            created[0]["data"],
            serde_json::json!({
                "id": base.id.to_string(), "name": "base", "display_name": "BASE", "description": "Bottom", "extends": ""
            })
        );
        assert_eq!(created[0]["object"], "Role");
        assert!(created[0].get("organization_id").is_none(), "a role of the environment");
        assert_eq!(created[1]["organization_id"], organization.to_string());
        assert_eq!((&created[1]["data"]["extends"], &created[1]["data"]["id"]), (&"base".into(), &local.id.to_string().into()));
        let deleted = f.bodies("role.deleted").await;
        assert_eq!((&deleted[0]["data"]["description"], &deleted[0]["organization_id"]), (&"Local".into(), &organization.to_string().into()));
        let events = f.events().await;
        let last = events.last().unwrap();
        assert_eq!(last.actor, "client:skc_1");
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs WHERE kind = 'audit'").await, i64::try_from(events.len()).unwrap());

        // A refused change leaves none.
        f.make_role(ENVIRONMENT, new("base")).await.unwrap_err();
        f.set_base(ENVIRONMENT, "base", "base").await.unwrap_err();
        f.delete_role(ENVIRONMENT, "nobody", None).await.unwrap_err();
        assert_eq!(f.events().await.len(), events.len());
    }

    async fn a_role_sent_twice_with_one_key_is_made_once(db: TestDb) {
        use narthex_core::idempotency::IdempotencyKey;
        let f = fixture(db).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
            tasks.spawn(async move {
                let key = IdempotencyKey::new(environment, &by, "k1", &["CreateRole", &new("once").fingerprint()]).unwrap();
                roles::create(&core, environment, ENVIRONMENT, &by, new("once"), Some(key)).await.map(|role| role.id)
            });
        }
        let mut ids = std::collections::HashSet::new();
        while let Some(result) = tasks.join_next().await {
            ids.insert(result.unwrap().expect("the same role"));
        }
        assert_eq!(ids.len(), 1);
        assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 1);
        let key = IdempotencyKey::new(f.env(), &f.by, "k1", &["CreateRole", &new("twice").fingerprint()]).unwrap();
        let reused = roles::create(&f.core, f.env(), ENVIRONMENT, &f.by, new("twice"), Some(key)).await;
        assert_invalid(reused, "idempotency-key");
    }
}
