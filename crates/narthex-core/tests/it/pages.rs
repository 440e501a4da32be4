//! Lists: newest first, every row once.

use std::collections::HashSet;

use narthex_core::ids::{EnvId, OrganizationId};
use narthex_core::organizations::{self, Identity, NewOrganization, Organization};
use narthex_core::pages::{Page, PageRequest};
use narthex_core::schema::Schema;
use narthex_core::{Core, Error};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::fixture::{Fixture, assert_invalid};

async fn page(core: &Core, environment: EnvId, size: u32, token: &str) -> Result<Page<Organization>, Error> {
    organizations::list(core, environment, &PageRequest { size, token: token.into() }, None).await
}

fn ids(page: &Page<Organization>) -> Vec<OrganizationId> {
    page.items.iter().map(|organization| organization.id).collect()
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_10_api_05_pages_go_forth_and_back_newest_first(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut made = Vec::new();
        for i in 0..23 {
            made.insert(0, f.organization(&format!("Acme {i}")).await.id);
        }
        organizations::create(&f.core, EnvId(1), &f.by, NewOrganization::named("Foreign"), None).await.unwrap();

        let whole = page(&f.core, f.env(), 100, "").await.unwrap();
        assert_eq!((ids(&whole), whole.next.as_str(), whole.prev.as_str(), whole.total), (made.clone(), "", "", 23));
        assert_eq!(page(&f.core, f.env(), 0, "").await.unwrap().items.len(), 10, "the default");
        assert_eq!(page(&f.core, f.env(), 1, "").await.unwrap().items.len(), 1);

        let mut pages = vec![page(&f.core, f.env(), 5, "").await.unwrap()];
        while let Some(next) = pages.last().map(|page| page.next.clone()).filter(|next| !next.is_empty()) {
            pages.push(page(&f.core, f.env(), 5, &next).await.unwrap());
        }
        assert_eq!(pages.iter().map(|page| page.items.len()).collect::<Vec<_>>(), [5, 5, 5, 5, 3]);
        assert_eq!(pages.iter().flat_map(ids).collect::<Vec<_>>(), made);
        assert!(pages[0].prev.is_empty() && pages[1..].iter().all(|page| !page.prev.is_empty()));
        // Back again, over the same pages.
        let mut back = pages.last().unwrap().clone();
        for expected in pages.iter().rev().skip(1) {
            back = page(&f.core, f.env(), 5, &back.prev).await.unwrap();
            assert_eq!(ids(&back), ids(expected));
            assert_eq!(back.next.is_empty(), expected.next.is_empty());
        }
        assert!(back.prev.is_empty());
    }

    async fn api_05_page_numbers_work_and_lead_into_tokens(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut made = Vec::new();
        for i in 0..7 {
            made.insert(0, f.organization(&format!("Acme {i}")).await.id);
        }
        let second = page(&f.core, f.env(), 3, "2").await.unwrap();
        assert_eq!(ids(&second), made[3..6]);
        assert_eq!(ids(&page(&f.core, f.env(), 3, &second.next).await.unwrap()), made[6..]);
        assert_eq!(ids(&page(&f.core, f.env(), 3, &second.prev).await.unwrap()), made[..3]);
        assert_eq!(ids(&page(&f.core, f.env(), 3, "1").await.unwrap()), made[..3]);
        let past = page(&f.core, f.env(), 3, "9").await.unwrap();
        assert_eq!((past.items.len(), past.next.as_str(), past.total), (0, "", 7));
        assert_invalid(page(&f.core, f.env(), 10, "1002").await, "page_token");
    }

    async fn api_05_foreign_and_malformed_tokens_are_refused_by_name(db: TestDb) {
        let f = Fixture::on(db).await;
        for i in 0..3 {
            f.organization(&format!("Acme {i}")).await;
        }
        let token = page(&f.core, f.env(), 1, "").await.unwrap().next;
        assert_invalid(page(&f.core, EnvId(f.env().0 + 1), 1, &token).await, "page_token");
        let request = PageRequest { size: 1, token: token.clone() };
        assert_invalid(organizations::search(&f.core, f.env(), "acme", &request).await, "page_token");
        assert_invalid(organizations::list(&f.core, f.env(), &request, Some("acme")).await, "page_token");
        for bad in ["x", "ünïcode", "e30=", "-1", "1e3", "\0", &"9".repeat(40), &format!("{token}x")] {
            assert_invalid(page(&f.core, f.env(), 1, bad).await, "page_token");
        }
    }

    async fn the_external_id_filter_finds_one_or_none(db: TestDb) {
        let f = Fixture::on(db).await;
        f.organization("Other").await;
        let acme = NewOrganization { external_id: Some("acme".into()), ..NewOrganization::named("Acme") };
        let made = f.create(acme).await.unwrap();
        let filtered = async |filter| {
            organizations::list(&f.core, f.env(), &PageRequest::default(), Some(filter)).await.unwrap()
        };
        let found = filtered("acme").await;
        assert_eq!((ids(&found), found.total, found.next.as_str()), (vec![made.id], 1, ""));
        assert_eq!(filtered("acm").await.total, 0);
        assert_eq!(filtered("").await.total, 2, "an empty filter is none");
    }

    async fn an_edge_that_was_deleted_is_still_an_edge(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut made = Vec::new();
        for i in 0..4 {
            made.insert(0, f.organization(&format!("Acme {i}")).await.id);
        }
        let first = page(&f.core, f.env(), 2, "").await.unwrap();
        let second = page(&f.core, f.env(), 2, &first.next).await.unwrap();
        for id in &made[1..] {
            organizations::delete(&f.core, f.env(), &f.by, Identity::Id(*id)).await.unwrap();
        }
        let empty = page(&f.core, f.env(), 2, &first.next).await.unwrap();
        assert_eq!((ids(&empty), empty.next.as_str()), (vec![], ""));
        assert_eq!(ids(&page(&f.core, f.env(), 2, &empty.prev).await.unwrap()), made[..1]);
        let before = page(&f.core, f.env(), 2, &second.prev).await.unwrap();
        assert_eq!((ids(&before), before.next.as_str(), before.prev.as_str()), (made[..1].to_vec(), "", ""));
    }

    async fn api_05_law_a_row_committed_before_page_one_and_not_deleted_appears_exactly_once(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut runner = TestRunner::deterministic();
        // Rows before, page size, and what happens between two pages: inserts, and deletes of the n-th oldest row.
        let plan = (0_usize..30, 1_u32..8, prop::collection::vec((0_usize..4, prop::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..12));
        for round in 0..12 {
            let (before, size, between) = plan.new_tree(&mut runner).unwrap().current();
            let environment = EnvId(1_000 + round);
            let create = async |name: &str| {
                let new = NewOrganization::named(name);
                organizations::create(&f.core, environment, &f.by, new, None).await.unwrap().id
            };
            let mut alive = Vec::new();
            for i in 0..before {
                alive.push(create(&format!("Old {i}")).await);
            }
            let committed: HashSet<_> = alive.iter().copied().collect();
            let mut deleted = HashSet::new();
            let mut seen = Vec::new();
            let mut token = String::new();
            let mut steps = between.into_iter();
            loop {
                let page = page(&f.core, environment, size, &token).await.unwrap();
                assert!(page.items.len() <= size as usize);
                seen.extend(ids(&page));
                if page.next.is_empty() {
                    break;
                }
                token = page.next;
                let Some((inserts, deletes)) = steps.next() else { continue };
                for i in 0..inserts {
                    alive.push(create(&format!("New {i}")).await);
                }
                for index in deletes {
                    if !alive.is_empty() {
                        let id = alive.remove(index.index(alive.len()));
                        organizations::delete(&f.core, environment, &f.by, Identity::Id(id)).await.unwrap();
                        deleted.insert(id);
                    }
                }
            }
            let once: HashSet<_> = seen.iter().copied().collect();
            assert_eq!(once.len(), seen.len(), "no row twice");
            assert!(seen.is_sorted_by(|a, b| a > b), "newest first");
            for id in committed.difference(&deleted) {
                assert!(once.contains(id), "{id} is missing");
            }
        }
    }

    async fn api_05_law_holds_while_others_write(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut committed = HashSet::new();
        for i in 0..40 {
            committed.insert(f.organization(&format!("Old {i}")).await.id);
        }
        let (core, environment, by) = (f.core.clone(), f.env(), f.by.clone());
        let writer = tokio::spawn(async move {
            for i in 0..60 {
                let made = organizations::create(&core, environment, &by, NewOrganization::named(format!("New {i}")), None).await;
                let id = made.unwrap().id;
                if i % 2 == 0 {
                    organizations::delete(&core, environment, &by, Identity::Id(id)).await.unwrap();
                }
            }
        });
        for size in [1, 3, 7] {
            let (mut seen, mut token) = (Vec::new(), String::new());
            loop {
                let page = page(&f.core, f.env(), size, &token).await.unwrap();
                seen.extend(ids(&page));
                if page.next.is_empty() {
                    break;
                }
                token = page.next;
            }
            let once: HashSet<_> = seen.iter().copied().collect();
            assert_eq!(once.len(), seen.len());
            assert!(committed.is_subset(&once));
        }
        writer.await.unwrap();
    }
}
