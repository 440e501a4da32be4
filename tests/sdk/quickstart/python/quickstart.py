import os

from scalekit import ScalekitClient
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization

env = os.environ
client = ScalekitClient(env["SCALEKIT_ENVIRONMENT_URL"], env["SCALEKIT_CLIENT_ID"], env["SCALEKIT_CLIENT_SECRET"])
client.organization.create_organization(CreateOrganization(display_name="Acme from Python"))
for organization in client.organization.list_organizations(page_size=10)[0].organizations:
    print(organization.id, organization.display_name)
