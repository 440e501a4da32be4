"""The life of an organization as the Python SDK drives it."""

import time
import uuid

from scalekit.common.exceptions import ScalekitBadRequestException, ScalekitNotFoundException
from scalekit.v1.commons.commons_pb2 import TimeUnit
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization, Feature, SessionPolicyType, UpdateOrganization

from report import equal, holds, refused


# The contract that SDK 2.10.0 was generated from has no logo.
HAS_LOGO = "logo_url" in UpdateOrganization.DESCRIPTOR.fields_by_name


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def run(report, client, environment_url):
    made = []
    try:
        life(report, client, made)
        settings(report, client, made, environment_url)
        end_of_life(report, client)
    finally:
        for organization_id in made:
            client.organization.delete_organization(organization_id)


def create(client, made, **fields):
    organization = client.organization.create_organization(CreateOrganization(**fields))[0].organization
    made.append(organization.id)
    return organization


def life(report, client, made):
    orgs = client.organization

    with report.check("[ORG-01 API-06] create with a display name only: org_ id, 15 digits or more, both timestamps"):
        plain = create(client, made, display_name="Plain Organization")
        holds(plain.id.startswith("org_") and plain.id[4:].isdigit() and len(plain.id) >= 19 and len(plain.id) <= 32, plain.id)
        equal(plain.display_name, "Plain Organization", "display name")
        holds(abs(plain.create_time.ToSeconds() - time.time()) < 300, "create_time is not now")
        equal(plain.update_time.ToNanoseconds(), plain.create_time.ToNanoseconds(), "update_time")
        holds(not plain.HasField("external_id") and not plain.HasField("slug"), "unset optional fields came back set")

    external_id = unique("crm")
    with report.check("[ORG-03 ORG-06] external id and metadata come back from create, get and get by external id"):
        full = create(client, made, display_name="Full Organization", external_id=external_id, metadata={"plan": "gold", "tier-2": "ü€"})
        for found in (orgs.get_organization(full.id)[0].organization, orgs.get_organization_by_external_id(external_id)[0].organization):
            equal(found.id, full.id, "id")
            equal(found.external_id, external_id, "external id")
            equal(dict(found.metadata), {"plan": "gold", "tier-2": "ü€"}, "metadata")

    with report.check("[ORG-10] the organization created last is the first of the list"):
        newest = create(client, made, display_name="Newest Organization")
        equal(orgs.list_organizations(page_size=1)[0].organizations[0].id, newest.id, "first id")

    with report.check("[ORG-07] an update of one field leaves the others; an empty metadata map changes nothing"):
        updated = orgs.update_organization(full.id, UpdateOrganization(display_name="Renamed", metadata={}))[0].organization
        equal((updated.display_name, updated.external_id, dict(updated.metadata)), ("Renamed", external_id, {"plan": "gold", "tier-2": "ü€"}))
        holds(updated.update_time.ToNanoseconds() > updated.create_time.ToNanoseconds(), "update_time did not move")

    with report.check("[ORG-07] a non-empty metadata map replaces the stored one"):
        updated = orgs.update_organization(full.id, UpdateOrganization(metadata={"only": "this"}))[0].organization
        equal(dict(updated.metadata), {"only": "this"}, "metadata")

    with report.check("[ORG-09] update by external id, and the new external id finds it"):
        moved = unique("crm")
        updated = orgs.update_organization_by_external_id(external_id, UpdateOrganization(external_id=moved))[0].organization
        equal((updated.id, updated.external_id), (full.id, moved))
        equal(orgs.get_organization_by_external_id(moved)[0].organization.id, full.id, "id")
        refused(lambda: orgs.get_organization_by_external_id(external_id), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")

    slug = unique("acme") + ".example.com"
    with report.check("[ORG-08] slug and logo are set, come back, and are cleared by empty text"):
        logo = {"logo_url": "https://cdn.example.com/logo"} if HAS_LOGO else {}
        updated = orgs.update_organization(full.id, UpdateOrganization(slug=slug, **logo))[0].organization
        equal(updated.slug, slug, "slug")
        cleared = orgs.update_organization(full.id, UpdateOrganization(slug="", **dict.fromkeys(logo, "")))[0].organization
        holds(not cleared.slug, f"slug {cleared.slug!r} still set")
        if HAS_LOGO:
            equal(updated.logo_url, logo["logo_url"], "logo")
            holds(not cleared.logo_url, f"logo {cleared.logo_url!r} still set")


def settings(report, client, made, environment_url):
    orgs = client.organization
    org = create(client, made, display_name="Settings Organization")

    with report.check("[ORG-12] features[0] is sso, features[1] is dir_sync, both off on a new organization"):
        found = orgs.get_organization(org.id)[0].organization.settings.features
        equal([(f.name, f.enabled) for f in found[:2]], [("sso", False), ("dir_sync", False)], "features")

    with report.check("[CTL-57] a portal link for a disabled feature is refused with INVALID_ARGUMENT"):
        refused(
            lambda: orgs.generate_portal_link(org.id, features=[Feature.sso]),
            ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
        )

    with report.check("[ORG-12] a portal link without features is made although nothing is enabled"):
        holds(orgs.generate_portal_link(org.id).id.startswith("lnk_"), "no lnk_ id")

    with report.check("[ORG-12] enabling features: the response lists them in order, and only the named one changes"):
        both = orgs.update_organization_settings(org.id, [{"name": "sso", "enabled": True}, {"name": "dir_sync", "enabled": True}])
        equal([(f.name, f.enabled) for f in both[0].organization.settings.features[:2]], [("sso", True), ("dir_sync", True)])
        one = orgs.update_organization_settings(org.id, [{"name": "dir_sync", "enabled": False}])
        equal([(f.name, f.enabled) for f in one[0].organization.settings.features[:2]], [("sso", True), ("dir_sync", False)])

    with report.check("[ORG-12] directory_sync is taken as dir_sync; an unknown feature is refused"):
        alias = orgs.update_organization_settings(org.id, [{"name": "directory_sync", "enabled": True}])
        equal([(f.name, f.enabled) for f in alias[0].organization.settings.features[:2]], [("sso", True), ("dir_sync", True)])
        refused(
            lambda: orgs.update_organization_settings(org.id, [{"name": "teleport", "enabled": True}]),
            ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
        )

    with report.check("[CTL-57] a portal link for an enabled feature has a location here and expires later"):
        link = orgs.generate_portal_link(org.id, features=[Feature.sso, Feature.dir_sync])
        holds(link.location.startswith(environment_url + "/"), f"location {link.location!r}")
        holds(link.expire_time.ToSeconds() > time.time(), "expires in the past")

    with report.check("seat cap: set, 0 comes back as an explicit 0, nothing clears it"):
        equal(orgs.upsert_user_management_settings(org.id, 25).max_allowed_users.value, 25)
        zero = orgs.upsert_user_management_settings(org.id, 0)
        holds(zero.HasField("max_allowed_users"), "0 came back as absent")
        equal(zero.max_allowed_users.value, 0)
        cleared = orgs.upsert_user_management_settings(org.id)
        holds(not cleared.HasField("max_allowed_users"), "the cap is still set")

    session_policy(report, orgs, org)


def session_policy(report, orgs, org):
    with report.check("[ORG-14] a new organization follows the application's session policy and shows no timeouts"):
        policy = orgs.get_organization_session_policy(org.id)[0].policy
        equal(policy.policy_source, SessionPolicyType.APPLICATION, "source")
        holds(not policy.HasField("absolute_session_timeout") and not policy.HasField("idle_session_timeout"), "timeouts present")

    with report.check("[ORG-14] CUSTOM without an absolute timeout, now or before, is refused"):
        refused(
            lambda: orgs.update_organization_session_policy(org.id, SessionPolicyType.CUSTOM),
            ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
        )

    with report.check("[ORG-14] CUSTOM in DAYS and HOURS comes back in MINUTES, from update and from get"):
        sent = orgs.update_organization_session_policy(
            org.id, SessionPolicyType.CUSTOM,
            absolute_session_timeout=2, absolute_session_timeout_unit=TimeUnit.DAYS,
            idle_session_timeout_enabled=True, idle_session_timeout=5, idle_session_timeout_unit=TimeUnit.HOURS,
        )[0].policy
        for policy in (sent, orgs.get_organization_session_policy(org.id)[0].policy):
            equal(policy.policy_source, SessionPolicyType.CUSTOM, "source")
            equal((policy.absolute_session_timeout.value, policy.absolute_session_timeout_unit), (2880, TimeUnit.MINUTES), "absolute")
            equal((policy.idle_session_timeout.value, policy.idle_session_timeout_unit), (300, TimeUnit.MINUTES), "idle")
            equal(policy.idle_session_timeout_enabled.value, True, "idle enabled")

    with report.check("[ORG-14] a timeout without a unit is taken as minutes; idle off comes back as an explicit false"):
        policy = orgs.update_organization_session_policy(
            org.id, SessionPolicyType.CUSTOM, absolute_session_timeout=600, idle_session_timeout_enabled=False
        )[0].policy
        equal((policy.absolute_session_timeout.value, policy.absolute_session_timeout_unit), (600, TimeUnit.MINUTES), "absolute")
        holds(policy.HasField("idle_session_timeout_enabled"), "idle_session_timeout_enabled is absent")
        equal(policy.idle_session_timeout_enabled.value, False, "idle enabled")
        holds(not policy.HasField("idle_session_timeout"), "idle value present although idle is off")

    with report.check("[ORG-14] an idle timeout that is not below the absolute one is refused, and the old values stay"):
        refused(
            lambda: orgs.update_organization_session_policy(
                org.id, SessionPolicyType.CUSTOM,
                absolute_session_timeout=60, idle_session_timeout_enabled=True, idle_session_timeout=60,
            ),
            ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
        )
        equal(orgs.get_organization_session_policy(org.id)[0].policy.absolute_session_timeout.value, 600, "kept value")

    with report.check("[ORG-14] back to APPLICATION drops the custom values"):
        reverted = orgs.update_organization_session_policy(org.id, SessionPolicyType.APPLICATION)[0].policy
        for policy in (reverted, orgs.get_organization_session_policy(org.id)[0].policy):
            equal(policy.policy_source, SessionPolicyType.APPLICATION, "source")
            holds(not policy.HasField("absolute_session_timeout"), "absolute timeout still there")


def end_of_life(report, client):
    orgs = client.organization
    external_id, slug = unique("gone"), unique("gone")

    with report.check("[ORG-05] after delete: not found by id and external id, a second delete too"):
        doomed = orgs.create_organization(CreateOrganization(display_name="Doomed", external_id=external_id, slug=slug))[0].organization
        orgs.delete_organization(doomed.id)
        for call in (
            lambda: orgs.get_organization(doomed.id),
            lambda: orgs.get_organization_by_external_id(external_id),
            lambda: orgs.update_organization(doomed.id, UpdateOrganization(display_name="Undead")),
            lambda: orgs.delete_organization(doomed.id),
        ):
            refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")

    with report.check("[ORG-05] the external id and slug of a deleted organization are free at once"):
        again = orgs.create_organization(CreateOrganization(display_name="Reborn", external_id=external_id, slug=slug))[0].organization
        holds(again.id != doomed.id, "the same id came back")
        equal(orgs.get_organization_by_external_id(external_id)[0].organization.id, again.id)
        orgs.delete_organization(again.id)
