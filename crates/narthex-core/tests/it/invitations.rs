//! Invitations: sent again, run out, renewed.

use std::time::Duration;

use narthex_core::environments::{AuthenticationMode, Environment};
use narthex_core::ids::{OrganizationId, UserId};
use narthex_core::invitations::{self, Invitation};
use narthex_core::memberships::Status;
use narthex_core::organizations;
use narthex_core::pages::PageRequest;
use narthex_core::schema::Schema;
use narthex_core::users::{self, Identity, UserManagement};
use narthex_core::{Error, Kind, jobs};

use crate::fixture::{assert_invalid, assert_not_found};
use crate::people::{People, direct, existing, invited};

const DAY: Duration = Duration::from_hours(24);

async fn resend(f: &People, organization: OrganizationId, user: UserId) -> Result<Invitation, Error> {
    invitations::resend(f.core(), f.environment(), &f.by, organization, user).await
}

narthex_db::on_each_engine! { &Schema::new().migrations();
    async fn inv_03_a_running_invitation_is_sent_again_with_the_same_end(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let made = f.add(invited(acme, "ann@example.com")).await.unwrap();
        let before = &made.memberships[0].membership;
        f.node.clock.advance(DAY);
        let first = resend(&f, acme, made.user.id).await.unwrap();
        assert_eq!((first.status.name(), first.resent_count), ("PENDING_INVITE", 1));
        assert_eq!((Some(first.expires_at), Some(first.created_at)), (before.expires_at, before.invited_at));
        assert!(first.resent_at.unwrap() > first.created_at);
        for count in 2..=50 {
            assert_eq!(resend(&f, acme, made.user.id).await.unwrap().resent_count, count);
        }
        assert_eq!(f.number("SELECT COUNT(*) FROM invitation_tokens").await, 5, "only the newest links work");
        assert_eq!(f.number("SELECT COUNT(*) FROM invitation_tokens WHERE length(token_hash) = 32").await, 5);
        assert_eq!(resend(&f, acme, made.user.id).await.unwrap_err().kind(), Kind::FailedPrecondition);
        assert_eq!(f.event_types().await, ["organization_invitation"], "a reminder is no invitation");
    }

    async fn inv_04_inv_06_an_invitation_that_has_run_out_frees_its_seat_and_can_be_renewed(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        organizations::set_max_allowed_users(f.core(), f.env(), &f.by, acme, Some(1)).await.unwrap();
        let made = f.add(invited(acme, "ann@example.com")).await.unwrap();
        let ended = made.memberships[0].membership.expires_at.unwrap();
        f.node.clock.advance(DAY * 15);
        let status = async |user| f.get(user).await.unwrap().memberships[0].status;
        assert_eq!(status(made.user.id).await, Status::InviteExpired);
        let page = users::list_of_organization(f.core(), f.env(), acme, &PageRequest::default()).await.unwrap();
        assert_eq!((page.total, page.items[0].memberships[0].status), (1, Status::InviteExpired));
        // The seat is free; while another has it the invitation cannot be renewed.
        let bob = f.add(direct(acme, "bob@example.com")).await.unwrap().user.id;
        assert_eq!(resend(&f, acme, made.user.id).await.unwrap_err().kind(), Kind::FailedPrecondition);
        assert_eq!(status(made.user.id).await, Status::InviteExpired);
        f.delete(Identity::Id(bob)).await.unwrap();
        let renewed = resend(&f, acme, made.user.id).await.unwrap();
        assert_eq!((renewed.status, renewed.resent_count), (Status::PendingInvite, 1));
        assert!(renewed.expires_at.0 - ended.0 >= i64::try_from((DAY * 15).as_micros()).unwrap());
        assert_eq!(Some(renewed.created_at), made.memberships[0].membership.invited_at);
        assert_eq!(f.number("SELECT COUNT(*) FROM invitation_tokens").await, 1, "the old link stays worthless");
        assert_eq!(f.event_types().await.iter().filter(|kind| *kind == "organization_invitation").count(), 2);
        // Inviting anew does the same as sending again.
        f.node.clock.advance(DAY * 15);
        let again = f.add(invited(acme, "ann@example.com")).await.unwrap();
        assert_eq!((again.user.id, again.memberships[0].status), (made.user.id, Status::PendingInvite));
        assert_eq!(again.memberships[0].membership.resent_count, 0);
        f.node.clock.advance(DAY * 15);
        jobs::drain(f.core()).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM invitation_tokens").await, 0, "swept");
    }

    async fn inv_05_who_is_a_member_already_or_unknown_is_not_invited_again(db: TestDb) {
        let f = People::on(db).await;
        let (acme, bolt) = (f.organization("Acme").await, f.organization("Bolt").await);
        let ann = f.add(direct(acme, "ann@example.com")).await.unwrap().user.id;
        assert_eq!(resend(&f, acme, ann).await.unwrap_err().kind(), Kind::FailedPrecondition);
        assert_not_found(resend(&f, bolt, ann).await);
        assert_not_found(resend(&f, acme, UserId(1)).await);
        assert_not_found(resend(&f, OrganizationId(1), ann).await);
        let prd = invitations::resend(f.core(), &f.node.prd, &f.by, acme, ann).await;
        assert_not_found(prd);
        let modular = Environment { authentication_mode: AuthenticationMode::Modular, ..(**f.environment()).clone() };
        let bob = f.add(invited(acme, "bob@example.com")).await.unwrap().user.id;
        let refused = invitations::resend(f.core(), &modular, &f.by, acme, bob).await;
        assert_eq!(refused.unwrap_err().kind(), Kind::FailedPrecondition);
        assert_eq!(f.number("SELECT CAST(SUM(resent_count) AS BIGINT) FROM memberships").await, 0);
    }

    async fn inv_07_an_environment_says_how_long_its_invitations_last(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let settings = UserManagement { invitation_expiry_minutes: 60, ..UserManagement::default() };
        users::set_user_management(f.core(), f.env(), settings).await.unwrap();
        let made = f.add(invited(acme, "ann@example.com")).await.unwrap();
        let membership = &made.memberships[0].membership;
        assert_eq!(membership.expires_at.unwrap().0 - membership.invited_at.unwrap().0, 3_600_000_000);
        f.node.clock.advance(Duration::from_hours(1));
        assert_eq!(f.get(made.user.id).await.unwrap().memberships[0].status, Status::InviteExpired);
    }

    async fn inv_03_an_invitation_of_a_membership_that_ended_is_worthless(db: TestDb) {
        let f = People::on(db).await;
        let acme = f.organization("Acme").await;
        let ann = f.add(invited(acme, "ann@example.com")).await.unwrap().user.id;
        assert_invalid(f.add(existing(acme, Identity::Id(ann))).await, "membership");
        narthex_core::memberships::remove(f.core(), f.env(), &f.by, acme, Identity::Id(ann), true).await.unwrap();
        assert_eq!(f.number("SELECT COUNT(*) FROM invitation_tokens").await, 0);
        assert_not_found(resend(&f, acme, ann).await);
    }
}
