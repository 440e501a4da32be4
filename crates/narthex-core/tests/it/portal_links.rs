//! Portal links.

use std::time::Duration;

use narthex_core::ids::{EnvId, PortalLinkId};
use narthex_core::jobs;
use narthex_core::organizations::{self, Feature, Identity};
use narthex_core::portal_links::{self, Life};
use narthex_core::schema::Schema;
use narthex_core::sessions::{self, NewSession};

use crate::fixture::{Fixture, assert_invalid, assert_not_found};

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn ctl_57_a_link_for_a_disabled_feature_is_refused(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Acme").await;
        let generate = async |features| portal_links::generate(&f.core, &f.environment, &f.by, made.id, features, Life::SingleUse).await;
        let error = assert_invalid(generate(vec![Feature::Sso]).await, "features");
        assert_eq!(error.code(), "INVALID_ARGUMENT");
        assert_eq!(f.number("SELECT COUNT(*) FROM portal_links").await, 0);
        generate(vec![]).await.expect("with none named it succeeds although none is enabled");
        assert_eq!(f.number("SELECT features FROM portal_links").await, 0);
        organizations::set_features(&f.core, f.env(), &f.by, made.id, vec![(Feature::Sso, true)]).await.unwrap();
        generate(vec![Feature::Sso]).await.unwrap();
        assert_invalid(generate(vec![Feature::Sso, Feature::DirSync]).await, "features");
        generate(vec![]).await.unwrap();
        assert_eq!(f.number("SELECT features FROM portal_links ORDER BY id DESC").await, 1, "all that are enabled");
        let elsewhere = crate::fixture::environment(EnvId(1));
        assert_not_found(portal_links::generate(&f.core, &elsewhere, &f.by, made.id, vec![], Life::SingleUse).await);
    }

    async fn a_link_lives_for_a_minute_or_for_a_week_and_its_secret_is_nowhere_in_the_database(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Acme").await;
        let generate = async |life| portal_links::generate(&f.core, &f.environment, &f.by, made.id, vec![], life).await.unwrap();
        let now = f.core.clock.now();
        let single = generate(Life::SingleUse).await;
        let reusable = generate(Life::Reusable).await;
        let minute = single.expires_at.0 - now.0;
        assert!((60_000_000..70_000_000).contains(&minute), "{minute}");
        assert_eq!((reusable.expires_at.0 - now.0) / 86_400_000_000, 7);
        let token = single.location.strip_prefix("https://acme.test/magicLink/").expect("under the environment's origin");
        assert_eq!(token.len(), 36);
        assert!(reusable.location.ends_with("_p"));
        assert_ne!(single.location, reusable.location);

        let listed = portal_links::list(&f.core, f.env(), made.id).await.unwrap();
        assert_eq!(listed.iter().map(|link| link.id).collect::<Vec<_>>(), [reusable.id, single.id]);
        f.core.clock.advance(Duration::from_secs(61));
        let listed = portal_links::list(&f.core, f.env(), made.id).await.unwrap();
        assert_eq!(listed.iter().map(|link| link.id).collect::<Vec<_>>(), [reusable.id]);
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM portal_links").await, 1, "the expired one is swept");
        assert_eq!(f.number("SELECT COUNT(*) FROM portal_links WHERE length(token_hash) = 32").await, 1);
    }

    async fn revoking_a_link_ends_what_it_opened(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Acme").await;
        let other = f.organization("Other").await;
        let generate = async |organization| {
            portal_links::generate(&f.core, &f.environment, &f.by, organization, vec![], Life::Reusable).await.unwrap().id
        };
        let open = async |link| {
            let portal = NewSession::portal(made.id, Some(link), vec![], Duration::from_hours(1));
            sessions::open(&f.core, f.env(), portal).await.unwrap().id
        };
        let live = async |session| sessions::get(&f.core, f.env(), session).await.unwrap().unwrap().is_live(f.core.clock.now());
        let (first, second, third) = (generate(made.id).await, generate(made.id).await, generate(made.id).await);
        let foreign = generate(other.id).await;
        let (one, two) = (open(first).await, open(second).await);
        assert!(live(one).await && live(two).await);

        portal_links::delete(&f.core, f.env(), made.id, first).await.unwrap();
        assert!(!live(one).await && live(two).await);
        assert_not_found(portal_links::delete(&f.core, f.env(), made.id, first).await);
        assert_not_found(portal_links::delete(&f.core, f.env(), made.id, foreign).await);
        assert_not_found(portal_links::delete(&f.core, EnvId(1), made.id, second).await);
        assert_not_found(portal_links::delete(&f.core, f.env(), made.id, PortalLinkId(1)).await);

        portal_links::delete_all(&f.core, f.env(), made.id).await.unwrap();
        assert!(!live(two).await);
        assert_eq!(f.event_types().await.len(), 2, "nobody was signed in with them");
        assert_not_found(portal_links::delete(&f.core, f.env(), made.id, third).await);
        assert_eq!(portal_links::list(&f.core, f.env(), other.id).await.unwrap().len(), 1);
        assert_not_found(portal_links::delete_all(&f.core, EnvId(1), made.id).await);
    }

    async fn ctl_56_sessions_end_with_their_link_long_after_the_link_itself_is_gone(db: TestDb) {
        let f = Fixture::on(db).await;
        let (made, other) = (f.organization("Acme").await, f.organization("Other").await);
        let generate = async || {
            portal_links::generate(&f.core, &f.environment, &f.by, made.id, vec![], Life::SingleUse).await.unwrap().id
        };
        let open = async |link| {
            let portal = NewSession::portal(made.id, Some(link), vec![], Duration::from_hours(6));
            sessions::open(&f.core, f.env(), portal).await.unwrap().id
        };
        let live = async |session| sessions::get(&f.core, f.env(), session).await.unwrap().unwrap().is_live(f.core.clock.now());
        let (first, second) = (generate().await, generate().await);
        let (one, two) = (open(first).await, open(second).await);
        f.core.clock.advance(Duration::from_mins(5));
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM portal_links").await, 0, "swept");
        assert!(live(one).await && live(two).await);
        assert_not_found(portal_links::delete(&f.core, f.env(), other.id, first).await);
        assert_not_found(portal_links::delete(&f.core, EnvId(1), made.id, first).await);
        assert!(live(one).await, "of somebody else, nothing ends");
        portal_links::delete(&f.core, f.env(), made.id, first).await.unwrap();
        assert!(!live(one).await && live(two).await);
        assert_not_found(portal_links::delete(&f.core, f.env(), made.id, first).await);
        portal_links::delete_all(&f.core, f.env(), other.id).await.unwrap();
        assert!(live(two).await);
        portal_links::delete_all(&f.core, f.env(), made.id).await.unwrap();
        assert!(!live(two).await);
    }

    async fn org_17_links_go_with_their_organization_however_many(db: TestDb) {
        let f = Fixture::on(db).await;
        let made = f.organization("Acme").await;
        for _ in 0..300 {
            portal_links::generate(&f.core, &f.environment, &f.by, made.id, vec![], Life::Reusable).await.unwrap();
        }
        organizations::delete(&f.core, f.env(), &f.by, Identity::Id(made.id)).await.unwrap();
        jobs::drain(&f.core).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM portal_links").await, 0);
        assert_eq!(f.number("SELECT COUNT(*) FROM jobs").await, 0);
        assert_not_found(portal_links::list(&f.core, f.env(), made.id).await);
    }
}
