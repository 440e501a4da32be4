"""Users, their memberships and invitations as the Python SDK drives them."""

import uuid

from scalekit.common.exceptions import ScalekitBadRequestException, ScalekitNotFoundException
from scalekit.v1.commons.commons_pb2 import MembershipStatus, Role
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization
from scalekit.v1.users.users_pb2 import (
    CreateMembership, CreateUser, CreateUserProfile, UpdateMembership, UpdateUser, UpdateUserProfile,
)

from organizations import unique
from report import equal, holds, refused

NOBODY = "usr_100000000000000000"
NOWHERE = "org_100000000000000000"


def address():
    return f"ada-{uuid.uuid4().hex[:12]}@example.com"


def names(roles):
    return sorted(role.name for role in roles)


def membership_in(user, organization_id):
    found = [membership for membership in user.memberships if membership.organization_id == organization_id]
    equal(len(found), 1, "memberships in the organization")
    return found[0]


def run(report, client):
    first, second = (
        client.organization.create_organization(CreateOrganization(display_name=f"People {name}"))[0].organization.id
        for name in ("One", "Two")
    )
    made = []
    try:
        users(report, client.users, first, made)
        seats(report, client, second, made)
        memberships(report, client.users, first, second, made)
        invitations(report, client.users, first, made)
        end_of_life(report, client.users, first, second)
    finally:
        for user_id in made:
            client.users.delete_user(user_id)
        for organization_id in (first, second):
            client.organization.delete_organization(organization_id)


def create(users, made, organization_id, invite=False, **fields):
    user = users.create_user_and_membership(organization_id, CreateUser(**fields), send_invitation_email=invite)[0].user
    made.append(user.id)
    return user


def users(report, users, org, made):
    email, external_id = address(), unique("person")

    with report.check("[USR-01] a user without an invitation is active, verified, and provisioned directly"):
        ada = create(
            users, made, org, email=email, external_id=external_id, metadata={"desk": "7"},
            user_profile=CreateUserProfile(first_name="Ada", last_name="Lovelace", locale="en-GB", phone_number="+14155552671"),
        )
        holds(ada.id.startswith("usr_") and ada.id[4:].isdigit() and len(ada.id) >= 19, ada.id)
        equal((ada.email, ada.external_id, dict(ada.metadata)), (email, external_id, {"desk": "7"}))
        equal(ada.user_profile.email_verified, True, "email_verified")
        held = membership_in(ada, org)
        equal((held.membership_status, held.provisioning_method), (MembershipStatus.ACTIVE, "direct_provision"), "membership")

    with report.check("[USR-04] first and last name come back as given and family name too, and the other way round"):
        profile = ada.user_profile
        equal((profile.first_name, profile.last_name), ("Ada", "Lovelace"), "first and last")
        equal((profile.given_name, profile.family_name), ("Ada", "Lovelace"), "given and family")
        changed = UpdateUser(user_profile=UpdateUserProfile(given_name="Augusta", family_name="King"))
        profile = users.update_user(ada.id, changed)[0].user.user_profile
        equal((profile.first_name, profile.last_name), ("Augusta", "King"), "first and last after the update")
        equal((profile.given_name, profile.family_name), ("Augusta", "King"), "given and family after the update")
        equal((profile.locale, profile.phone_number), ("en-GB", "+14155552671"), "fields that the update left out")

    with report.check("[USR-09] get shows the environment and the membership with its role and permissions"):
        found = users.get_user(ada.id)[0].user
        holds(found.environment_id.startswith("env_"), f"environment {found.environment_id!r}")
        held = membership_in(found, org)
        equal(names(held.roles), ["member"], "roles")
        holds("sk_org_users_read" in list(held.permissions), f"permissions {list(held.permissions)}")

    with report.check("[USR-05] get and update by external id; the external id of another user is refused"):
        equal(users.get_user_by_external_id(external_id)[0].user.id, ada.id, "id")
        updated = users.update_user_by_external_id(external_id, UpdateUser(metadata={"desk": "8"}))[0].user
        equal((updated.id, dict(updated.metadata)), (ada.id, {"desk": "8"}))
        refused(
            lambda: create(users, made, org, email=address(), external_id=external_id),
            ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT", says="already exists",
        )

    with report.check("[USR-07] profile fields come back from create and get; an update changes the named one, empty text clears, limits hold"):
        profile = CreateUserProfile(
            given_name="Grace", family_name="Hopper", name="Amazing Grace", locale="en-US", phone_number="+1 415 555 2671",
            preferred_username="grace", picture="https://cdn.example.com/grace", gender="female", groups=["navy", "compilers"],
        )
        grace = create(users, made, org, email=address(), user_profile=profile)
        for field in profile.DESCRIPTOR.fields_by_name:
            if field in ("first_name", "last_name"):
                continue
            equal(getattr(users.get_user(grace.id)[0].user.user_profile, field), getattr(profile, field), field)
        changed = UpdateUserProfile(picture="", groups=["navy"])
        found = users.update_user(grace.id, UpdateUser(user_profile=changed))[0].user.user_profile
        equal((found.picture, list(found.groups), found.name, found.gender), ("", ["navy"], "Amazing Grace", "female"))
        for over in (
            CreateUserProfile(given_name="x" * 256),
            CreateUserProfile(preferred_username="x" * 513),
            CreateUserProfile(picture="https://" + "x" * 2041),
            CreateUserProfile(groups=["same", "same"]),
            CreateUserProfile(groups=[f"group {n}" for n in range(51)]),
        ):
            refused(
                lambda over=over: create(users, made, org, email=address(), user_profile=over),
                ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
            )
        users.delete_user(grace.id)

    with report.check("[USR-08] custom attributes and metadata: 20 pairs, keys of 3 to 25, values of 1 to 256; a map that is sent replaces"):
        full = {f"key{n}": "v" * 256 for n in range(20)}
        rich = create(users, made, org, email=address(), metadata=full, user_profile=CreateUserProfile(custom_attributes=full))
        equal((dict(rich.metadata), dict(rich.user_profile.custom_attributes)), (full, full))
        only = UpdateUser(metadata={"only": "this"}, user_profile=UpdateUserProfile(custom_attributes={"and": "that"}))
        found = users.update_user(rich.id, only)[0].user
        equal((dict(found.metadata), dict(found.user_profile.custom_attributes)), ({"only": "this"}, {"and": "that"}))
        found = users.update_user(rich.id, UpdateUser(user_profile=UpdateUserProfile(name="Rich")))[0].user
        equal((dict(found.metadata), dict(found.user_profile.custom_attributes)), ({"only": "this"}, {"and": "that"}), "when left out")
        for over in (full | {"one_more": "v"}, {"ab": "v"}, {"k" * 26: "v"}, {"key": ""}, {"key": "v" * 257}):
            for user in (UpdateUser(metadata=over), UpdateUser(user_profile=UpdateUserProfile(custom_attributes=over))):
                refused(
                    lambda user=user: users.update_user(rich.id, user),
                    ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
                )
        users.delete_user(rich.id)

    with report.check("[USR-10] lists of users and of an organization's users: newest first, pages, total_size"):
        newest = create(users, made, org, email=address())
        equal(users.list_users(page_size=1)[0].users[0].id, newest.id, "first of all users")
        page = users.list_organization_users(org, page_size=1)[0]
        equal(([user.id for user in page.users], page.total_size), ([newest.id], 2), "first page")
        rest = users.list_organization_users(org, page_size=1, page_token=page.next_page_token)[0]
        equal(([user.id for user in rest.users], rest.next_page_token), ([ada.id], ""), "second page")

    with report.check("a user in an unknown organization is not found; an address without @ is a bad request"):
        refused(lambda: create(users, made, NOWHERE, email=address()), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
        refused(
            lambda: create(users, made, org, email="nobody"), ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT"
        )

    with report.check("an unknown user is not found, by id and by external id"):
        for call in (
            lambda: users.get_user(NOBODY),
            lambda: users.get_user_by_external_id(unique("nobody")),
            lambda: users.update_user(NOBODY, UpdateUser(metadata={"desk": "1"})),
            lambda: users.update_user_by_external_id(unique("nobody"), UpdateUser(metadata={"desk": "1"})),
            lambda: users.list_organization_users(NOWHERE),
        ):
            refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")


def memberships(report, users, first, second, made):
    external_id = unique("person")
    user = create(users, made, first, email=address(), external_id=external_id)

    with report.check("an address that is known: the same user in the second organization, profile untouched; in the first, refused"):
        twin = CreateUser(email=user.email.upper(), user_profile=CreateUserProfile(given_name="Impostor"))
        same = users.create_user_and_membership(second, twin, False)[0].user
        equal((same.id, same.email, same.user_profile.given_name), (user.id, user.email, ""))
        refused(
            lambda: users.create_user_and_membership(first, twin, False),
            ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT", says="already exists",
        )
        users.delete_membership(second, user.id)

    with report.check("[MEM-01] a user joins a second organization by id, leaves it, and joins it by external id"):
        wanted = CreateMembership(roles=[Role(name="admin")], metadata={"team": "blue"})
        joined = users.create_membership(second, user.id, wanted, send_invitation_email=False)[0].user
        held = membership_in(joined, second)
        equal((names(held.roles), dict(held.metadata)), (["admin"], {"team": "blue"}))
        equal(held.membership_status, MembershipStatus.ACTIVE, "status")
        users.delete_membership(second, user.id)
        equal([held.organization_id for held in users.get_user(user.id)[0].user.memberships], [first], "organizations left")
        joined = users.create_membership_by_external_id(second, external_id, wanted, send_invitation_email=False)[0].user
        equal(names(membership_in(joined, second).roles), ["admin"], "roles")

    with report.check("[MEM-02] a membership that exists already is refused"):
        refused(
            lambda: users.create_membership(second, user.id, CreateMembership(), send_invitation_email=False),
            ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT", says="already exists",
        )

    with report.check("[MEM-03] an update replaces roles and metadata; what it leaves empty stays"):
        updated = users.update_membership(second, user.id, UpdateMembership(roles=[Role(name="member")]))[0].user
        held = membership_in(updated, second)
        equal((names(held.roles), dict(held.metadata)), (["member"], {"team": "blue"}), "after new roles")
        metadata = UpdateMembership(metadata={"desk": "9"})
        held = membership_in(users.update_membership_by_external_id(second, external_id, metadata)[0].user, second)
        equal((names(held.roles), dict(held.metadata)), (["member"], {"desk": "9"}), "after new metadata")

    with report.check("the user's roles and permissions in one organization"):
        equal(names(users.list_user_roles(second, user.id)[0].roles), ["member"], "roles")
        permissions = names(users.list_user_permissions(second, user.id)[0].permissions)
        equal(permissions, ["sk_org_settings_read", "sk_org_users_read"], "permissions")

    with report.check("an unknown role is refused; a membership that is not there is not found"):
        unknown = UpdateMembership(roles=[Role(name=f"no_{uuid.uuid4().hex[:8]}")])
        refused(lambda: users.update_membership(second, user.id, unknown), ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        users.delete_membership_by_external_id(second, external_id)
        for call in (
            lambda: users.update_membership(second, user.id, UpdateMembership(metadata={"desk": "1"})),
            lambda: users.delete_membership(second, user.id),
            lambda: users.list_user_roles(second, user.id),
            lambda: users.list_user_permissions(second, user.id),
            lambda: users.create_membership(NOWHERE, user.id, CreateMembership()),
            lambda: users.create_membership(first, NOBODY, CreateMembership()),
        ):
            refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")


def seats(report, client, org, made):
    with report.check("a full organization takes neither a user nor an invitation nor a membership, until the cap is raised"):
        users, orgs = client.users, client.organization
        orgs.upsert_user_management_settings(org, 1)
        create(users, made, org, invite=True, email=address())
        other = orgs.create_organization(CreateOrganization(display_name="Elsewhere"))[0].organization.id
        stranger = create(users, made, other, email=address())
        for call in (
            lambda: create(users, made, org, email=address()),
            lambda: create(users, made, org, invite=True, email=address()),
            lambda: users.create_membership(org, stranger.id, CreateMembership(), send_invitation_email=False),
        ):
            error = refused(call, ScalekitBadRequestException, "FAILED_PRECONDITION", "FAILED_PRECONDITION")
            holds("1" in error.message and "limit" in error.message, error.message)
        orgs.upsert_user_management_settings(org, 2)
        users.create_membership(org, stranger.id, CreateMembership(), send_invitation_email=False)
        orgs.upsert_user_management_settings(org)
        orgs.delete_organization(other)


def invitations(report, users, org, made):
    email = address()
    with report.check("an invited user is pending, unverified, and the invitation runs out later"):
        guest = create(users, made, org, invite=True, email=email)
        held = membership_in(guest, org)
        equal((held.membership_status, held.provisioning_method), (MembershipStatus.PENDING_INVITE, "invitation"), "membership")
        equal(guest.user_profile.email_verified, False, "email_verified")
        holds(held.expires_at.ToSeconds() - held.created_at.ToSeconds() > 86_400, "the invitation runs out within a day")

    with report.check("[INV-03] resending a valid invitation: pending, sent again once, same end"):
        invite = users.resend_invite(org, guest.id)[0].invite
        equal((invite.organization_id, invite.user_id), (org, guest.id))
        equal((invite.status, invite.resent_count), ("PENDING_INVITE", 1))
        equal(invite.expires_at.ToSeconds(), held.expires_at.ToSeconds(), "expires_at")
        holds(invite.HasField("resent_at"), "no resent_at")

    with report.check("[INV-05] no invitation for an active member: bad request; for an unknown user: not found"):
        active = create(users, made, org, email=address())
        try:
            users.resend_invite(org, active.id)
        except ScalekitBadRequestException as error:
            holds(error.grpc_status.name in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"), error.grpc_status.name)
        else:
            raise AssertionError("not refused")
        refused(lambda: users.resend_invite(org, NOBODY), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")


def end_of_life(report, users, first, second):
    with report.check("[USR-12] a deleted user is not found and in no list; a second delete by id succeeds, by external id not"):
        external_id = unique("gone")
        user = users.create_user_and_membership(first, CreateUser(email=address(), external_id=external_id), False)[0].user
        users.delete_user(user.id)
        refused(lambda: users.get_user(user.id), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
        holds(user.id not in [other.id for other in users.list_organization_users(first)[0].users], "still a member")
        users.delete_user(user.id)
        refused(lambda: users.delete_user_by_external_id(external_id), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")

    with report.check("delete by external id"):
        user = users.create_user_and_membership(first, CreateUser(email=address(), external_id=external_id), False)[0].user
        users.delete_user_by_external_id(external_id)
        refused(lambda: users.get_user(user.id), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")

    with report.check("with the last membership the user goes too, as the SDK leaves cascade unset"):
        user = users.create_user_and_membership(second, CreateUser(email=address()), False)[0].user
        users.delete_membership(second, user.id)
        refused(lambda: users.get_user(user.id), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
        users.delete_user(user.id)
