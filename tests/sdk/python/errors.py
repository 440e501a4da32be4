"""Every class of error that the server can be brought to give, as the SDK's exceptions show it."""

import os

import requests
from scalekit import ScalekitClient
from scalekit.common.exceptions import (
    ScalekitBadRequestException,
    ScalekitConflictException,
    ScalekitForbiddenException,
    ScalekitNotFoundException,
    ScalekitNotImplementedException,
    ScalekitTooManyRequestsException,
    ScalekitUnauthorizedException,
)
from scalekit.v1.clients import clients_pb2
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization, GetPortalLinkRequest, UpdateOrganization

from organizations import HAS_LOGO, unique
from report import equal, holds, refused


def not_built_yet(client, organization_id):
    """An RPC of the SDK that the server does not offer yet. Take another one when this one is built."""
    return client.directory.list_directories(organization_id)


def violations(error):
    return {
        violation.field: violation.constraint
        for info in error._unpacked_details
        for violation in info.validation_error_info.field_violations
    }


def run(report, client, environment_url, client_id, client_secret):
    orgs = client.organization
    external_id = unique("dup")
    org = orgs.create_organization(CreateOrganization(display_name="Errors", external_id=external_id))[0].organization
    try:
        with report.check("[ORG-02 ERR-03] an empty display name is a bad request that names the field and the rule"):
            error = refused(
                lambda: orgs.create_organization(CreateOrganization(display_name="")),
                ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
            )
            named = [field for field in violations(error) if field.endswith("display_name")]
            holds(named, f"no violation of display_name in {violations(error)}")
            equal(violations(error)[named[0]], "string.min_len", "constraint")

        with report.check("[ORG-02 ORG-06] a name of 201 characters and metadata beyond its limits are bad requests"):
            insecure_logo = [{"display_name": "Logo", "logo_url": "http://cdn.example.com/logo.png"}] if HAS_LOGO else []
            for fields in (
                {"display_name": "x" * 201},
                {"display_name": "Meta", "metadata": {f"key{number}": "v" for number in range(11)}},
                {"display_name": "Meta", "metadata": {"ab": "short key"}},
                {"display_name": "Meta", "metadata": {"empty": ""}},
                {"display_name": "Meta", "metadata": {"long": "x" * 257}},
                {"display_name": "Slug", "slug": "Not A Slug"},
                *insecure_logo,
            ):
                refused(
                    lambda: orgs.create_organization(CreateOrganization(**fields)),
                    ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
                )

        with report.check("[ORG-04] a duplicate external id is a bad request that says already exists, and leaves nothing behind"):
            before = orgs.list_organizations(page_size=1)[0].total_size
            refused(
                lambda: orgs.create_organization(CreateOrganization(display_name="Twin", external_id=external_id)),
                ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT", says="already exists",
            )
            # SDK 2.10.0 has sent that create three times.
            equal(orgs.list_organizations(page_size=1)[0].total_size, before, "total_size after the refused create")
            equal(orgs.get_organization_by_external_id(external_id)[0].organization.id, org.id, "owner of the external id")

        with report.check("[ORG-08] a slug that another organization has is a bad request that says already exists"):
            slug = unique("taken")
            orgs.update_organization(org.id, UpdateOrganization(slug=slug))
            refused(
                lambda: orgs.create_organization(CreateOrganization(display_name="Twin", slug=slug)),
                ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT", says="already exists",
            )

        with report.check("[ERR-01] an unknown organization is not found"):
            for call in (
                lambda: orgs.get_organization("org_100000000000000000"),
                lambda: orgs.update_organization("org_100000000000000000", UpdateOrganization(display_name="x")),
                lambda: orgs.get_organization_by_external_id(unique("nobody")),
            ):
                refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")

        with report.check("[MGMT-04] an RPC for workspace members refuses an API client with PERMISSION_DENIED"):
            refused(
                lambda: client.core_client.grpc_exec(
                    orgs.organization_service.GetPortalLinks.with_call, GetPortalLinkRequest(id=org.id)
                ),
                ScalekitForbiddenException, "PERMISSION_DENIED", "PERMISSION_DENIED",
            )

        if hasattr(clients_pb2, "AddEnvironmentRedirectUriRequest"):  # SDK 2.10.0 does not know the RPC
            with report.check("[ERR-01 APP-09] a callback that the default application has already is a conflict: ALREADY_EXISTS"):
                # No method of the SDK: an RPC of its generated client.
                service, execute = client.m2m_client.client_service, client.core_client.grpc_exec
                uri = f"https://{unique('twin')}.example.com/callback"
                added = clients_pb2.AddEnvironmentRedirectUriRequest(redirect_uri=uri)
                execute(service.AddEnvironmentRedirectUri.with_call, added)
                refused(
                    lambda: execute(service.AddEnvironmentRedirectUri.with_call, added),
                    ScalekitConflictException, "ALREADY_EXISTS", "ALREADY_EXISTS",
                )
                removed = clients_pb2.RemoveEnvironmentRedirectUriRequest(redirect_uri=uri)
                execute(service.RemoveEnvironmentRedirectUri.with_call, removed)

        with report.check("an RPC that is not built yet is not implemented, with details"):
            refused(lambda: not_built_yet(client, org.id), ScalekitNotImplementedException, "UNIMPLEMENTED", "UNIMPLEMENTED")

        with report.check("[OAUTH-02] a wrong client secret is refused when the client is made"):
            error = refused(
                lambda: ScalekitClient(environment_url, client_id, client_secret + "x"),
                ScalekitUnauthorizedException, "UNAUTHENTICATED", "Unauthorized",
            )
            holds("invalid_client" in error.err_details, error.err_details)
    finally:
        orgs.delete_organization(org.id)


def counted(report, client, executions):
    """How often one failing call reaches the server: old SDKs resend on every error, none may loop."""
    service = client.organization.organization_service
    original = service.GetOrganization

    class Counting:
        calls = 0

        def with_call(self, *arguments, **options):
            Counting.calls += 1
            return original.with_call(*arguments, **options)

    with report.check(f"[ERR-01] a call that is not found is executed {executions} time(s), not in a loop"):
        service.GetOrganization = Counting()
        try:
            refused(
                lambda: client.organization.get_organization("org_100000000000000000"),
                ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND",
            )
        finally:
            service.GetOrganization = original
        equal(Counting.calls, executions, "executions")


def limits(report, client):
    """Against a server that was started with a small API limit per minute."""
    limit = int(os.environ["NARTHEX_LIMIT_PER_MINUTE"])
    with report.check("[ERR-10 EVT-69] over the limit: too many requests, RATE_LIMITED, within one minute's allowance"):
        answered = 0
        try:
            while answered <= limit * 3:
                client.organization.list_organizations(page_size=1)
                answered += 1
        except ScalekitTooManyRequestsException as error:
            equal((error.grpc_status.name, error.error_code), ("RESOURCE_EXHAUSTED", "RATE_LIMITED"))
            holds(answered <= limit * 2, f"{answered} answered before the limit of {limit}")
        else:
            raise AssertionError(f"{answered} requests answered although the limit is {limit} per minute")

    with report.check("[ERR-10] over REST the same limit is 429 with Retry-After and RATE_LIMITED"):
        headers = {"authorization": f"Bearer {client.core_client.access_token}"}
        for _ in range(3):  # the bucket leaks: one request may have become free just now
            response = requests.get(client.core_client.env_url + "/api/v1/organizations", headers=headers, timeout=10)
            if response.status_code != 200:
                break
        equal(response.status_code, 429, "status")
        holds(int(response.headers["retry-after"]) >= 1, "Retry-After")
        equal(response.json()["details"][0]["error_code"], "RATE_LIMITED", "error_code")
