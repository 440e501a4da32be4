"""Domains of an organization as the Python SDK drives them."""

from scalekit.common.exceptions import ScalekitBadRequestException, ScalekitNotFoundException
from scalekit.v1.domains.domains_pb2 import DomainType
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization

from organizations import unique
from people import NOWHERE
from report import equal, holds, refused

UNKNOWN = "dom_100000000000000000"


def run(report, client):
    org = client.organization.create_organization(CreateOrganization(display_name="Domains"))[0].organization.id
    domains = client.domain
    try:
        with report.check("domains: create of both types, get, list by type, delete"):
            names = {kind: f"{unique('d')}.example.org" for kind in ("ORGANIZATION_DOMAIN", "ALLOWED_EMAIL_DOMAIN")}
            made = {kind: domains.create_domain(org, name, kind)[0].domain for kind, name in names.items()}
            for kind, domain in made.items():
                holds(domain.id.startswith("dom_"), domain.id)
                equal((domain.domain, DomainType.Name(domain.domain_type)), (names[kind], kind))
                found = domains.get_domain(org, domain.id)[0].domain
                equal((found.id, found.organization_id), (domain.id, org))
                equal([one.id for one in domains.list_domains(org, kind)[0].domains], [domain.id], f"list of {kind}")
            equal(len(domains.list_domains(org)[0].domains), 2, "domains of any type")
            for domain in made.values():
                domains.delete_domain(org, domain.id)
            equal(len(domains.list_domains(org)[0].domains), 0, "domains after delete")

        with report.check("[DOM-02] a public or disposable name is no allowed email domain"):
            for name in ("gmail.com", "mailinator.com"):
                refused(
                    lambda name=name: domains.create_domain(org, name, "ALLOWED_EMAIL_DOMAIN"),
                    ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
                )

        with report.check("an unknown domain and an unknown organization are not found; a name that is none is a bad request"):
            for call in (
                lambda: domains.get_domain(org, UNKNOWN),
                lambda: domains.delete_domain(org, UNKNOWN),
                lambda: domains.create_domain(NOWHERE, f"{unique('d')}.example.org"),
            ):
                refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
            refused(
                lambda: domains.create_domain(org, "not a domain"), ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT"
            )
    finally:
        client.organization.delete_organization(org)
