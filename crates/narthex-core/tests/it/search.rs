//! Search by any part of name, id or external id.

use std::collections::HashSet;

use narthex_core::ids::{EnvId, OrganizationId};
use narthex_core::jobs;
use narthex_core::organizations::{self, Identity, NewOrganization, OrganizationPatch};
use narthex_core::pages::PageRequest;
use narthex_core::schema::Schema;

use crate::fixture::Fixture;

async fn hits(f: &Fixture, query: &str) -> Vec<String> {
    let request = PageRequest { size: 30, ..PageRequest::default() };
    let page = organizations::search(&f.core, f.env(), query, &request).await.unwrap();
    assert_eq!(page.total, page.items.len() as u64);
    page.items.into_iter().map(|organization| organization.display_name).collect()
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn org_11_any_part_of_name_id_or_external_id_in_any_case(db: TestDb) {
        let f = Fixture::on(db).await;
        let named = |name: &str, external_id: &str| NewOrganization {
            external_id: Some(external_id.into()),
            ..NewOrganization::named(name)
        };
        let acme = f.create(named("Test Org ACME", "Customer-0815")).await.unwrap();
        f.create(named("Müller & Söhne \"Bau\" 100%_a\\b", "b2")).await.unwrap();
        f.create(named("Straße Org", "c3")).await.unwrap();
        organizations::create(&f.core, EnvId(3), &f.by, NewOrganization::named("Test Org Foreign"), None).await.unwrap();
        // Before and after the rows are indexed: the same answers.
        for _ in 0..2 {
            assert_eq!(hits(&f, "org").await[..2], ["Straße Org", "Müller & Söhne \"Bau\" 100%_a\\b"], "every id holds org_");
            assert_eq!(hits(&f, "acme").await, ["Test Org ACME"]);
            assert_eq!(hits(&f, "est org ac").await, ["Test Org ACME"]);
            assert_eq!(hits(&f, "OMER-08").await, ["Test Org ACME"]);
            assert_eq!(hits(&f, &acme.id.to_string()[6..]).await, ["Test Org ACME"]);
            assert_eq!(hits(&f, "MÜLLER").await.len(), 1);
            assert_eq!(hits(&f, "Mu\u{308}ller").await.len(), 1, "decomposed");
            assert_eq!(hits(&f, "strasse").await, ["Straße Org"]);
            for literal in ["\"bau\"", "0%_a", "a\\b", "& s", "hne \"", "%_a\\"] {
                assert_eq!(hits(&f, literal).await.len(), 1, "{literal}");
            }
            for nothing in ["acme2", "a%e", "a_me", "\"acme", "acme*", "acme OR org", "text:acme", "NEAR(acme)", "acme\norg"] {
                assert_eq!(hits(&f, nothing).await, Vec::<String>::new(), "{nothing}");
            }
            jobs::drain(&f.core).await.unwrap();
        }
    }

    async fn org_11_a_name_with_all_trigrams_of_a_query_but_not_the_query_is_no_hit(db: TestDb) {
        let f = Fixture::on(db).await;
        f.organization("xabcdefgx yefghijky").await;
        f.organization("abcdefghijk").await;
        for _ in 0..2 {
            assert_eq!(hits(&f, "abcdefghijk").await, ["abcdefghijk"]);
            assert_eq!(hits(&f, "bcdefg").await.len(), 2);
            assert_eq!(hits(&f, &"abcdefghijk".repeat(9)).await.len(), 0);
            jobs::drain(&f.core).await.unwrap();
        }
    }

    async fn org_11_a_search_follows_updates_and_deletions_at_once(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Before").await;
        jobs::drain(&f.core).await.unwrap();
        let patch = OrganizationPatch { display_name: Some("Afterwards".into()), ..OrganizationPatch::default() };
        organizations::update(&f.core, f.env(), &f.by, Identity::Id(made.id), patch).await.unwrap();
        for _ in 0..2 {
            assert_eq!((hits(&f, "before").await.len(), hits(&f, "afterw").await.len()), (0, 1));
            f.core.clock.advance(std::time::Duration::from_secs(10));
            jobs::drain(&f.core).await.unwrap();
        }
        organizations::delete(&f.core, f.env(), &f.by, Identity::Id(made.id)).await.unwrap();
        for _ in 0..2 {
            assert_eq!(hits(&f, "afterw").await.len(), 0);
            f.core.clock.advance(std::time::Duration::from_secs(10));
            jobs::drain(&f.core).await.unwrap();
        }
    }

    async fn org_11_pages_of_hits_go_forth_and_back_over_indexed_and_new_rows(db: TestDb) {
        let f = Fixture::on(db).await;
        let mut expected: Vec<OrganizationId> = Vec::new();
        for i in 0..25 {
            let name = if i % 5 == 4 { "Nobody" } else { "Acme" };
            let id = f.organization(name).await.id;
            if name == "Acme" {
                expected.insert(0, id);
            }
            if i == 12 {
                jobs::drain(&f.core).await.unwrap();
            }
        }
        let page = async |token: &str| {
            let request = PageRequest { size: 6, token: token.into() };
            organizations::search(&f.core, f.env(), "acme", &request).await.unwrap()
        };
        let mut pages = vec![page("").await];
        while let Some(next) = pages.last().map(|page| page.next.clone()).filter(|next| !next.is_empty()) {
            pages.push(page(&next).await);
        }
        let ids = |page: &narthex_core::pages::Page<organizations::Organization>| -> Vec<OrganizationId> {
            page.items.iter().map(|organization| organization.id).collect()
        };
        assert_eq!(pages.iter().flat_map(ids).collect::<Vec<_>>(), expected);
        assert!(pages.iter().all(|page| page.total == 20));
        let mut back = pages.last().unwrap().clone();
        for forth in pages.iter().rev().skip(1) {
            back = page(&back.prev).await;
            assert_eq!(ids(&back), ids(forth));
        }
        assert_eq!(back.prev, "");
        assert_eq!(ids(&page("2").await), expected[6..12]);
        let all: HashSet<_> = pages.iter().flat_map(ids).collect();
        assert_eq!(all.len(), 20);
    }

    async fn org_11_a_size_above_thirty_is_clamped(db: TestDb) {
        let f = Fixture::on(db).await;
        for i in 0..35 {
            f.organization(&format!("Acme {i}")).await;
        }
        let request = PageRequest { size: 1_000, ..PageRequest::default() };
        let page = organizations::search(&f.core, f.env(), "acme", &request).await.unwrap();
        assert_eq!((page.items.len(), page.total), (30, 35));
    }
}
