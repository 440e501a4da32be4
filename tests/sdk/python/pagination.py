"""Pages over many organizations: every row once, newest first, backwards as forwards."""

from scalekit.common.exceptions import ScalekitBadRequestException
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization

from report import equal, holds, refused

ROWS = 250


def pages(orgs, size):
    """All pages from the first to the last, following next_page_token."""
    token, found = None, []
    while token != "":
        page = orgs.list_organizations(page_size=size, page_token=token)[0]
        found.append(page)
        token = page.next_page_token
        holds(len(found) < 10_000, "next_page_token never ends")
    return found


def run(report, client):
    orgs = client.organization
    made = [
        orgs.create_organization(CreateOrganization(display_name=f"Page Row {row}"))[0].organization.id for row in range(ROWS)
    ]
    try:
        for size in (100, 30, 1):
            with report.check(f"[ORG-10 API-05] {ROWS} organizations in pages of {size}: each once, newest first, total_size true"):
                found = pages(orgs, size)
                ids = [organization.id for page in found for organization in page.organizations]
                equal(len(ids), len(set(ids)), "distinct rows")
                equal([row for row in ids if row in set(made)], list(reversed(made)), "order of the created rows")
                equal({page.total_size for page in found}, {len(ids)}, "total_size")
                equal({len(page.organizations) for page in found[:-1]}, {size}, "rows on a full page")
                equal(found[0].prev_page_token, "", "prev_page_token of the first page")

        with report.check("[API-05] prev_page_token leads back through the same pages"):
            forward = pages(orgs, 30)
            token, backward = forward[-1].prev_page_token, [forward[-1]]
            while token:
                page = orgs.list_organizations(page_size=30, page_token=token)[0]
                backward.append(page)
                token = page.prev_page_token
                holds(len(backward) <= len(forward), "prev_page_token never ends")
            rows = [[organization.id for organization in page.organizations] for page in forward]
            equal([[organization.id for organization in page.organizations] for page in reversed(backward)], rows, "pages")

        with report.check("[API-05] a decimal page token is the number of a page, the first being 1"):
            rows = [organization.id for page in pages(orgs, 100) for organization in page.organizations]
            for number in (1, 2, 5):
                found = orgs.list_organizations(page_size=30, page_token=str(number))[0].organizations
                equal([organization.id for organization in found], rows[30 * (number - 1) : 30 * number], f"page {number}")

        with report.check("[API-05] no page size means 10; more than 100 is cut to 100; a malformed token is refused"):
            equal(len(orgs.list_organizations()[0].organizations), 10, "default page")
            equal(len(orgs.list_organizations(page_size=1000)[0].organizations), 100, "largest page")
            refused(
                lambda: orgs.list_organizations(page_size=10, page_token="%%% not a token"),
                ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
            )
    finally:
        for organization_id in made:
            orgs.delete_organization(organization_id)
