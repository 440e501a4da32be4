//! Permissions: made, listed, given to roles, deleted.

use std::collections::HashSet;

use narthex_core::ids::EnvId;
use narthex_core::pages::PageRequest;
use narthex_core::permissions::{self, Filter};
use narthex_core::roles::{self, Include, Scope};
use narthex_core::schema::Schema;
use narthex_core::testing::TestCore;
use narthex_core::{Kind, events, jobs};

use crate::fixture::{assert_invalid, assert_not_found};
use crate::roles::{ELSEWHERE, assert_refused, fixture, new};

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn rbac_13_a_permission_is_made_described_and_deleted(db: TestDb) {
        let f = fixture(db).await;
        let create = async |name: &str| {
            permissions::create(&f.core, f.env(), &f.by, name.into(), "Reads".into(), None).await
        };
        let made = create("docs:read").await.unwrap();
        assert!(made.id.to_string().starts_with("perm_") && !made.is_built_in);
        assert_eq!(permissions::get(&f.core, f.env(), "docs:read").await.unwrap(), made);
        let error = assert_invalid(create("docs:read").await, "name");
        assert_eq!(error.message(), "duplicate key not allowed: name already exists");
        for reserved in ["sk_org_sso_read", "sk_mine"] {
            assert_invalid(create(reserved).await, "permission.name");
        }
        create("Docs:read").await.expect("another name");
        permissions::create(&f.core, ELSEWHERE, &f.by, "docs:read".into(), String::new(), None).await.expect("elsewhere");
        assert_not_found(permissions::get(&f.core, EnvId(1), "docs:read").await);

        let update = async |environment, name: &str, text: &str| {
            permissions::update(&f.core, environment, &f.by, name.into(), text.into()).await
        };
        let changed = update(f.env(), "docs:read", "Reads all").await.unwrap();
        assert_eq!((changed.name.as_str(), changed.description.as_str()), ("docs:read", "Reads all"));
        assert!(changed.updated_at >= made.updated_at && changed.created_at == made.created_at);
        update(f.env(), "docs:read", "Reads all").await.unwrap();
        assert_not_found(update(f.env(), "docs:write", "").await);
        assert_not_found(update(EnvId(1), "docs:read", "").await);

        let delete = async |name: &str| permissions::delete(&f.core, f.env(), &f.by, name.into()).await;
        delete("docs:read").await.unwrap();
        assert_not_found(delete("docs:read").await);
        assert_not_found(permissions::get(&f.core, f.env(), "docs:read").await);
        create("docs:read").await.expect("the name is free again");
    }

    async fn rbac_13_permissions_that_come_with_an_environment_stay(db: TestDb) {
        let node = TestCore::on(db).await.unwrap();
        let (core, environment, by) = (&node.core, node.dev.id, narthex_core::events::Actor::SYSTEM);
        let refusal = "built-in permissions cannot be changed or deleted";
        let name = || "sk_org_sso_read".to_owned();
        assert_refused(permissions::update(core, environment, &by, name(), "Mine".into()).await, refusal);
        assert_refused(permissions::delete(core, environment, &by, name()).await, refusal);
        let admin = roles::get(core, environment, Scope::Environment, "admin".into(), Include::Own).await.unwrap();
        assert_eq!(admin.permissions.len(), 12);
        // They can be given to any role and taken from any.
        roles::create(core, environment, Scope::Environment, &by, new("guest"), None).await.unwrap();
        let held = roles::add_permissions(core, environment, &by, "guest".into(), vec![name()]).await.unwrap();
        assert_eq!(held.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["sk_org_sso_read"]);
        roles::remove_permission(core, environment, &by, "admin".into(), name()).await.unwrap();
    }

    async fn rbac_13_the_list_is_filtered_paged_and_newest_first(db: TestDb) {
        let node = TestCore::on(db).await.unwrap();
        let (core, environment, by) = (&node.core, node.dev.id, narthex_core::events::Actor::SYSTEM);
        for i in 0..25 {
            permissions::create(core, environment, &by, format!("p{i}"), String::new(), None).await.unwrap();
        }
        let list = async |size, token: &str, filter| {
            let request = PageRequest { size, token: token.into() };
            permissions::list(core, environment, &request, filter).await
        };
        let first = list(0, "", Filter::All).await.unwrap();
        assert_eq!((first.items.len(), first.total, first.prev.as_str()), (30, 37, ""));
        assert_eq!(first.items[0].name, "p24", "what was made just before is on the first page");
        let second = list(0, &first.next, Filter::All).await.unwrap();
        assert_eq!((second.items.len(), second.next.as_str()), (7, ""));
        assert_eq!(list(0, &second.prev, Filter::All).await.unwrap().items, first.items);
        let names: HashSet<_> = first.items.iter().chain(&second.items).map(|p| p.name.clone()).collect();
        assert_eq!(names.len(), 37);

        for (filter, total, built_in) in [(Filter::BuiltIn, 12, true), (Filter::Own, 25, false)] {
            let (mut token, mut seen, mut pages) = (String::new(), Vec::new(), 0);
            loop {
                let page = list(10, &token, filter).await.unwrap();
                assert_eq!(page.total, total);
                assert!(page.items.iter().all(|p| p.is_built_in == built_in));
                seen.extend(page.items.into_iter().map(|p| p.id));
                pages += 1;
                if page.next.is_empty() {
                    break;
                }
                token = page.next;
            }
            assert_eq!((seen.len() as u64, pages), (total, if built_in { 2 } else { 3 }));
            assert!(seen.is_sorted_by(|a, b| a > b));
        }
        assert_eq!(list(10, "3", Filter::Own).await.unwrap().items.len(), 5, "by page number");
        assert_invalid(list(10, &first.next, Filter::Own).await, "page_token");
        assert_invalid(list(10, "nonsense", Filter::All).await, "page_token");

        jobs::drain(core).await.unwrap();
        permissions::delete(core, environment, &by, "p3".into()).await.unwrap();
        assert_eq!(list(1, "", Filter::All).await.unwrap().total, 36);
        let id = core.ids.next();
        let difference = core.db.write(async move |tx| permissions::recount(tx, environment, id).await).await.unwrap();
        assert_eq!(difference, 0, "the total has followed");
        let elsewhere = permissions::list(core, node.prd.id, &PageRequest::default(), Filter::Own).await.unwrap();
        assert_eq!((elsewhere.items.len(), elsewhere.total), (0, 0));
    }

    async fn api_05_each_permission_is_listed_once_while_others_come_and_go(db: TestDb) {
        let f = fixture(db).await;
        for i in 0..40 {
            f.permission(&format!("stays{i}")).await;
            f.permission(&format!("goes{i}")).await;
        }
        let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
        let churn = tokio::spawn(async move {
            for i in 0..40 {
                permissions::delete(&core, environment, &by, format!("goes{i}")).await.unwrap();
                permissions::create(&core, environment, &by, format!("new{i}"), String::new(), None).await.unwrap();
            }
        });
        let (mut token, mut seen) = (String::new(), Vec::new());
        loop {
            let request = PageRequest { size: 7, token };
            let page = permissions::list(&f.core, f.env(), &request, Filter::All).await.unwrap();
            seen.extend(page.items.into_iter().map(|p| p.name));
            if page.next.is_empty() {
                break;
            }
            token = page.next;
        }
        churn.await.unwrap();
        let stays: Vec<_> = seen.iter().filter(|name| name.starts_with("stays")).collect();
        assert_eq!(stays.len(), 40);
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len(), "none twice");
    }

    async fn rbac_14_permissions_are_added_and_removed_one_by_one(db: TestDb) {
        let f = fixture(db).await;
        for name in ["a", "b", "c"] {
            f.permission(name).await;
        }
        f.role(new("viewer")).await;
        let organization = f.organization("Acme").await.id;
        f.make_role(Scope::Organization(organization), new("local")).await.unwrap();
        let add = async |role: &str, names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            let held = roles::add_permissions(&f.core, f.env(), &f.by, role.into(), names).await?;
            Ok::<_, narthex_core::Error>(held.into_iter().map(|p| p.name).collect::<Vec<_>>())
        };
        assert_eq!(add("viewer", &["no:such"]).await.unwrap(), [""; 0], "unknown names are passed over");
        assert_eq!(add("viewer", &["b", "no:such", "b"]).await.unwrap(), ["b"]);
        assert_eq!(add("viewer", &["a", "b"]).await.unwrap(), ["a", "b"], "the whole list comes back");
        assert_eq!(f.bodies("role.updated").await.len(), 2, "what changes nothing is no event");
        for unknown in ["nobody", "local"] {
            assert_not_found(add(unknown, &["a"]).await);
        }
        assert_not_found(roles::add_permissions(&f.core, EnvId(1), &f.by, "viewer".into(), vec!["a".into()]).await);

        let remove = async |role: &str, name: &str| {
            roles::remove_permission(&f.core, f.env(), &f.by, role.into(), name.into()).await
        };
        remove("viewer", "a").await.unwrap();
        for (role, name) in [("viewer", "a"), ("viewer", "c"), ("viewer", "no:such"), ("nobody", "b")] {
            assert_not_found(remove(role, name).await);
        }
        let left = roles::permissions(&f.core, f.env(), "viewer".into()).await.unwrap();
        assert_eq!(left.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    async fn rbac_14_a_role_has_at_most_a_hundred_permissions(db: TestDb) {
        let f = fixture(db).await;
        f.role(new("viewer")).await;
        let names: Vec<String> = (0..101).map(|i| format!("p{i}")).collect();
        for name in &names {
            f.permission(name).await;
        }
        let add = async |names: &[String]| {
            roles::add_permissions(&f.core, f.env(), &f.by, "viewer".into(), names.to_vec()).await
        };
        assert_eq!(add(&names[..100]).await.unwrap().len(), 100);
        assert_invalid(add(&names[100..]).await, "permission_names");
        assert_eq!(add(&names[..1]).await.unwrap().len(), 100);
    }

    async fn rbac_13_a_deleted_permission_is_taken_from_every_role(db: TestDb) {
        let f = fixture(db).await;
        f.permission("a").await;
        f.permission("b").await;
        let organization = f.organization("Acme").await.id;
        let local = narthex_core::roles::NewRole { permissions: vec!["a".into(), "b".into()], ..new("local") };
        f.make_role(Scope::Organization(organization), local).await.unwrap();
        let everywhere = narthex_core::roles::NewRole { permissions: vec!["a".into()], ..new("everywhere") };
        f.role(everywhere).await;
        permissions::delete(&f.core, f.env(), &f.by, "a".into()).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM role_permissions").await, 1);
        assert_eq!(f.bodies("permission.deleted").await.len(), 1);
    }

    async fn rbac_13_a_permission_that_a_role_is_getting_goes_with_or_before_it(db: TestDb) {
        let f = fixture(db).await;
        f.role(new("viewer")).await;
        for _ in 0..12 {
            f.permission("contended").await;
            let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
            let given = tokio::spawn(async move {
                roles::add_permissions(&core, environment, &by, "viewer".into(), vec!["contended".into()]).await
            });
            permissions::delete(&f.core, f.env(), &f.by, "contended".into()).await.expect("deleted");
            given.await.unwrap().expect("given, or passed over");
            assert_eq!(f.number("SELECT COUNT(*) FROM role_permissions").await, 0);
        }
    }

    async fn rbac_17_every_change_of_a_permission_is_an_event(db: TestDb) {
        let f = fixture(db).await;
        let made = f.permission("docs:read").await;
        permissions::update(&f.core, f.env(), &f.by, "docs:read".into(), "Reads".into()).await.unwrap();
        permissions::update(&f.core, f.env(), &f.by, "docs:read".into(), "Reads".into()).await.unwrap();
        permissions::create(&f.core, f.env(), &f.by, "docs:read".into(), String::new(), None).await.unwrap_err();
        permissions::delete(&f.core, f.env(), &f.by, "docs:read".into()).await.unwrap();
        assert_eq!(f.event_types().await, ["permission.created", "permission.updated", "permission.deleted"]);
        for (kind, description) in [
            (events::PERMISSION_CREATED, ""), (events::PERMISSION_UPDATED, "Reads"), (events::PERMISSION_DELETED, "Reads"),
        ] {
            let body = &f.bodies(kind.name).await[0];
            assert_eq!(
                body["data"],
                serde_json::json!({"id": made.id.to_string(), "name": "docs:read", "description": description})
            );
            assert_eq!(body["object"], "Permission");
            assert!(body.get("organization_id").is_none());
        }
    }

    async fn of_many_permissions_made_at_once_one_gets_the_name(db: TestDb) {
        let f = fixture(db).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
            tasks.spawn(async move {
                permissions::create(&core, environment, &by, "prize".into(), String::new(), None).await
            });
        }
        let mut won = 0;
        while let Some(result) = tasks.join_next().await {
            match result.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error.kind(), Kind::InvalidArgument, "{error:?}"),
            }
        }
        assert_eq!(won, 1);
        assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 1);
    }
}
