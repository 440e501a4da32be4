//! The law of lists: a row that was there before page one and is not deleted stands on exactly one page, whatever else comes and goes.

use std::collections::HashSet;

use narthex_db::Engine;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::harness::Harness;
use crate::roles::Client;

/// A paged list, and what makes and deletes its rows. `{o}` stands for an organization, `{id}` for the row.
struct List {
    rows: &'static Rows,
    /// Path and query.
    path: &'static str,
    /// Where the rows stand in a page, and the id in each.
    items: (&'static str, &'static str),
}

/// How rows come and go.
struct Rows {
    create: &'static str,
    /// The n-th one.
    body: fn(u32) -> Value,
    /// Where its id stands in the answer.
    id: &'static str,
    delete: Delete,
}

/// How one goes.
enum Delete {
    /// By DELETE of this path.
    At(&'static str),
    /// By POST to this path, with its id as the token.
    Invalidate(&'static str),
}

const ORGANIZATIONS: Rows = Rows {
    create: "/api/v1/organizations",
    body: |n| json!({ "display_name": format!("Listed {n}") }),
    id: "/organization/id",
    delete: Delete::At("/api/v1/organizations/{id}"),
};
const MEMBERS: Rows = Rows {
    create: "/api/v1/organizations/{o}/users",
    body: |n| json!({ "email": format!("listed-{n}@example.com") }),
    id: "/user/id",
    delete: Delete::At("/api/v1/users/{id}"),
};
const APPLICATIONS: Rows = Rows {
    create: "/api/v1/clients",
    body: |n| json!({ "name": format!("Listed {n}"), "client_type": "WEB_APP" }),
    id: "/client/id",
    delete: Delete::At("/api/v1/clients/{id}"),
};
const MACHINES: Rows = Rows {
    create: "/api/v1/organizations/{o}/clients",
    body: |n| json!({ "name": format!("Listed {n}") }),
    id: "/client/client_id",
    delete: Delete::At("/api/v1/organizations/{o}/clients/{id}"),
};
const RESOURCES: Rows = Rows {
    create: "/api/v1/resources",
    body: |n| json!({ "name": format!("Listed {n}"), "resource_type": "MCP_SERVER" }),
    id: "/resource/id",
    delete: Delete::At("/api/v1/resources/{id}"),
};
const PERMISSIONS: Rows = Rows {
    create: "/api/v1/permissions",
    body: |n| json!({ "name": format!("listed:{n}"), "description": "Listed" }),
    id: "/permission/name",
    delete: Delete::At("/api/v1/permissions/{id}"),
};
const TOKENS: Rows = Rows {
    create: "/api/v1/tokens",
    body: |n| json!({ "organization_id": "{o}", "description": format!("Listed {n}") }),
    id: "/token_id",
    delete: Delete::Invalidate("/api/v1/tokens:invalidate"),
};

const fn list(rows: &'static Rows, path: &'static str, items: (&'static str, &'static str)) -> List {
    List { rows, path, items }
}

const LISTS: [List; 11] = [
    list(&ORGANIZATIONS, "/api/v1/organizations?", ("organizations", "id")),
    list(&ORGANIZATIONS, "/api/v1/organizations:search?query=Listed&", ("organizations", "id")),
    list(&MEMBERS, "/api/v1/users?", ("users", "id")),
    list(&MEMBERS, "/api/v1/users:search?query=listed-&", ("users", "id")),
    list(&MEMBERS, "/api/v1/organizations/{o}/users?", ("users", "id")),
    list(&MEMBERS, "/api/v1/organizations/{o}/users:search?query=listed-&", ("users", "id")),
    list(&APPLICATIONS, "/api/v1/clients?filter.client_type=ALL&", ("clients", "id")),
    list(&MACHINES, "/api/v1/organizations/{o}/clients?", ("clients", "client_id")),
    list(&RESOURCES, "/api/v1/resources?resource_type=MCP_SERVER&", ("resources", "id")),
    list(&PERMISSIONS, "/api/v1/permissions?", ("permissions", "name")),
    list(&TOKENS, "/api/v1/tokens?organization_id={o}&", ("tokens", "token_id")),
];

/// A list with rows of its own.
struct Walk<'a> {
    client: &'a Client,
    list: &'a List,
    organization: String,
}

impl Walk<'_> {
    fn filled(&self, text: &str, id: &str) -> String {
        text.replace("{o}", &self.organization).replace("{id}", id)
    }

    async fn create(&self, n: u32) -> String {
        let rows = self.list.rows;
        let body: Value = serde_json::from_str(&self.filled(&(rows.body)(n).to_string(), "")).unwrap();
        let reply = self.client.send("POST", &self.filled(rows.create, ""), Some(body)).await;
        assert!(reply.status.is_success(), "{}: {}", rows.create, reply.text());
        let made = reply.json();
        made.pointer(rows.id).and_then(Value::as_str).unwrap_or_else(|| panic!("{} in {made}", rows.id)).to_owned()
    }

    async fn delete(&self, id: &str) {
        let reply = match self.list.rows.delete {
            Delete::At(path) => self.client.send("DELETE", &self.filled(path, id), None).await,
            Delete::Invalidate(path) => self.client.send("POST", path, Some(json!({ "token": id }))).await,
        };
        assert!(reply.status.is_success(), "{id}: {}", reply.text());
    }

    /// The ids of a page, and the token of the next one.
    async fn page(&self, size: u32, token: &str) -> (Vec<String>, String) {
        let path = format!("{}page_size={size}&page_token={token}", self.filled(self.list.path, ""));
        let page = self.client.ok(200, "GET", &path, None).await;
        let (items, id) = self.list.items;
        let items = page[items].as_array().unwrap_or_else(|| panic!("{items} in {page}"));
        let ids = items.iter().map(|item| item[id].as_str().unwrap_or_else(|| panic!("{id} in {item}")).to_owned());
        (ids.collect(), page["next_page_token"].as_str().unwrap_or_default().to_owned())
    }
}

async fn the_law_holds(engine: Engine) {
    let Some(harness) = Harness::start_on(engine).await else { return };
    let token = harness.client_token().await;
    let client = Client { harness, token };
    let mut runner = TestRunner::deterministic();
    // Rows before page one, the size of a page, and what happens while each page is read: inserts, and deletes of the n-th oldest.
    let deletes = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let plan = (3_usize..12, 1_u32..5, prop::collection::vec((0_usize..3, deletes), 12));
    let mut serial = 0;
    for list in &LISTS {
        for _ in 0..3 {
            let organization = client.organization("Around").await;
            let walk = Walk { client: &client, list, organization };
            let (before, size, between) = plan.new_tree(&mut runner).unwrap().current();
            let mut alive = Vec::new();
            for _ in 0..before {
                serial += 1;
                alive.push(walk.create(serial).await);
            }
            let committed: HashSet<String> = alive.iter().cloned().collect();
            let (mut deleted, mut seen, mut token) = (HashSet::new(), Vec::new(), String::new());
            let mut steps = between.into_iter();
            loop {
                let (inserts, deletes) = steps.next().unwrap_or_default();
                // Read and written at once, so that a page may fall before, between and behind the writes.
                let writes = async {
                    let mut made = Vec::new();
                    for _ in 0..inserts {
                        serial += 1;
                        made.push(walk.create(serial).await);
                    }
                    for index in deletes {
                        if !alive.is_empty() {
                            let id = alive.remove(index.index(alive.len()));
                            walk.delete(&id).await;
                            deleted.insert(id);
                        }
                    }
                    made
                };
                let ((ids, next), made) = tokio::join!(walk.page(size, &token), writes);
                alive.extend(made);
                seen.extend(ids);
                if next.is_empty() {
                    break;
                }
                token = next;
            }
            let once: HashSet<_> = seen.iter().cloned().collect();
            assert_eq!(once.len(), seen.len(), "{}: a row twice: {seen:?}", list.path);
            let missed: Vec<_> = committed.difference(&deleted).filter(|id| !once.contains(*id)).collect();
            assert!(missed.is_empty(), "{}: {missed:?} of {committed:?} in {seen:?}", list.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_05_law_every_list_shows_what_stays_once_while_others_come_and_go_sqlite() {
    Box::pin(the_law_holds(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_05_law_every_list_shows_what_stays_once_while_others_come_and_go_postgres() {
    Box::pin(the_law_holds(Engine::Postgres)).await;
}
