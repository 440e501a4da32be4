"""Machine clients of organizations and of resources, and API tokens, as the Python SDK drives them."""

import base64
import hashlib
import pathlib
import sys
import time
import urllib.parse

import jwt
from google.protobuf.timestamp_pb2 import Timestamp
from scalekit import ScalekitClient
from scalekit.common.exceptions import (
    ScalekitBadRequestException, ScalekitForbiddenException, ScalekitNotFoundException, ScalekitUnauthorizedException,
    ScalekitValidateTokenFailureException,
)
from scalekit.common.scalekit import TokenValidationOptions
from scalekit.v1.clients.clients_pb2 import (
    CreateResource, CreateResourceRequest, CustomClaim, DeleteResourceRequest, OrganizationClient, ResourceClient, ResourceType,
)
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization
from scalekit.v1.users.users_pb2 import CreateUser

from organizations import unique
from people import NOBODY, NOWHERE, address
from report import equal, holds, refused

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import login  # noqa: E402  (the browser that all rings share stands a folder above)

CALLBACK = "http://localhost:3999/callback"
LAST = "last client cannot be deleted"


def claims_of(client):
    return {claim.key: claim.value for claim in client.custom_claims}


def run(report, client, environment_url):
    external_id = unique("machines")
    asked = CreateOrganization(display_name="Machines", external_id=external_id)
    org = client.organization.create_organization(asked)[0].organization.id
    try:
        organization_clients(report, client, environment_url, org)
        api_tokens(report, client, org, external_id)
        if hasattr(client, "resources"):  # SDK 2.10.0 has none
            resource_clients(report, client)
    finally:
        client.organization.delete_organization(org)


def organization_clients(report, client, environment_url, org):
    m2m = client.m2m_client

    with report.check("[M2M-01] an organization's client: m2morg_ id, its secret once, get, update of one field"):
        asked = OrganizationClient(
            name="Importer", description="Nightly", scopes=["deploy:applications", "write"], audience=["https://api.example.com"],
            custom_claims=[CustomClaim(key="tier", value="gold")], expiry=600,
        )
        made = m2m.create_organization_client(org, asked)[0]
        made_id, secret = made.client.client_id, made.plain_secret
        holds(made_id.startswith("m2morg_") and made_id[7:].isdigit(), made_id)
        equal([found.secret_suffix for found in made.client.secrets], [secret[-4:]], "suffix of the secret")
        found = m2m.get_organization_client(org, made_id)[0].client
        equal((found.organization_id, found.name, list(found.scopes)), (org, "Importer", ["deploy:applications", "write"]))
        equal((list(found.audience), claims_of(found), found.expiry), (["https://api.example.com"], {"tier": "gold"}, 600))
        holds(not found.secrets[0].plain_secret, "get shows the secret")
        updated = m2m.update_organization_client(org, made_id, OrganizationClient(description="Hourly"))[0].client
        equal((updated.name, updated.description, list(updated.scopes)), ("Importer", "Hourly", ["deploy:applications", "write"]))

    with report.check("[M2M-03 TOK-03] its token: audience, expiry and custom claims of the client, the scopes asked for, checked against /keys"):
        token = client.generate_client_token(made_id, secret, scopes=["write"])
        options = TokenValidationOptions(issuer=environment_url, audience=["https://api.example.com"])
        equal(client.validate_access_token(token, options), True, "validity")
        claims = client.validate_access_token_and_get_claims(token, options)
        equal((claims["sub"], claims["oid"], claims["aud"]), (made_id, org, ["https://api.example.com"]))
        equal((claims["scopes"], claims["custom_claims"]), (["write"], {"tier": "gold"}))
        holds(claims["exp"] - claims["iat"] in (599, 600), f"lifetime {claims['exp'] - claims['iat']} s")
        every = jwt.decode(client.generate_client_token(made_id, secret), options={"verify_signature": False})
        equal(sorted(every["scopes"]), ["deploy:applications", "write"], "scopes when none are asked for")

    with report.check("[MGMT-04] its token is none for the management API: PERMISSION_DENIED"):
        machine = ScalekitClient(environment_url, made_id, secret)
        refused(lambda: machine.users.list_users(), ScalekitForbiddenException, "PERMISSION_DENIED", "PERMISSION_DENIED")

    with report.check("[M2M-02] a second secret works beside the first; a removed one does not; the last one stays"):
        added = m2m.add_organization_client_secret(org, made_id)[0]
        equal(added.secret.secret_suffix, added.plain_secret[-4:], "suffix")
        for good in (secret, added.plain_secret):
            client.generate_client_token(made_id, good)
        m2m.remove_organization_client_secret(org, made_id, made.client.secrets[0].id)
        client.generate_client_token(made_id, added.plain_secret)
        refused(
            lambda: client.generate_client_token(made_id, secret), ScalekitUnauthorizedException, "UNAUTHENTICATED", "Unauthorized"
        )
        error = refused(
            lambda: m2m.remove_organization_client_secret(org, made_id, added.secret.id),
            ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
        )
        equal(error.message, LAST, "message")

    with report.check("[M2M-04] the list works without a page size, and in pages"):
        others = [m2m.create_organization_client(org, OrganizationClient(name=f"Exporter {n}"))[0].client.client_id for n in range(10)]
        listed = m2m.list_organization_clients(org)[0]
        equal(listed.total_size, 11, "total_size")
        holds(len(listed.clients) >= 10, f"{len(listed.clients)} without a page size")
        holds(not any(found.plain_secret for one in listed.clients for found in one.secrets), "the list shows a secret")
        start = m2m.list_organization_clients(org, page_size=10)[0]
        end = m2m.list_organization_clients(org, page_size=10, page_token=start.next_page_token)[0]
        equal((len(start.clients), len(end.clients), end.next_page_token), (10, 1, ""), "pages")
        equal(sorted(found.client_id for found in (*start.clients, *end.clients)), sorted([made_id, *others]), "ids")

    with report.check("[M2M-01] after delete the client is not found, and neither is one of another organization"):
        elsewhere = client.organization.create_organization(CreateOrganization(display_name="Elsewhere"))[0].organization.id
        try:
            refused(lambda: m2m.get_organization_client(elsewhere, made_id), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
        finally:
            client.organization.delete_organization(elsewhere)
        m2m.delete_organization_client(org, made_id)
        for call in (
            lambda: m2m.get_organization_client(org, made_id),
            lambda: m2m.update_organization_client(org, made_id, OrganizationClient(name="x")),
            lambda: m2m.add_organization_client_secret(org, made_id),
            lambda: m2m.remove_organization_client_secret(org, made_id, added.secret.id),
            lambda: m2m.delete_organization_client(org, made_id),
        ):
            refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")


def invalid(call):
    """The SDK has an exception of its own for this call; the server's answer is its cause."""
    try:
        call()
    except ScalekitValidateTokenFailureException as error:
        equal(error.__cause__.grpc_status.name, "NOT_FOUND", "gRPC code")
        equal(error.__cause__.error_code, "NOT_FOUND", "error_code")
    else:
        raise AssertionError("the token was taken as valid")


def api_tokens(report, client, org, external_id):
    tokens, mail = client.tokens, address()
    user = client.users.create_user_and_membership(org, CreateUser(email=mail, external_id=unique("owner")), False)[0].user

    with report.check("[APIT-01] a token of an organization and one of a user, with claims, expiry and description"):
        plain = tokens.create_token(org)
        holds(plain.token_id.startswith("apit_") and plain.token.isalnum(), plain.token_id)
        holds(not plain.token_info.HasField("expiry") and not plain.token_info.user_id, "expiry or user on a plain token")
        expiry = Timestamp(seconds=int(time.time()) + 3600)
        owned = tokens.create_token(org, user_id=user.id, custom_claims={"env": "ci"}, expiry=expiry, description="CI")
        info = owned.token_info
        equal((info.user_id, dict(info.custom_claims), info.description), (user.id, {"env": "ci"}, "CI"))
        equal((info.expiry.seconds, info.token_suffix), (expiry.seconds, owned.token[-4:]))

    with report.check("[APIT-02] by value and by id the token shows organization, user and roles; any other is not found"):
        for handed_in in (owned.token, owned.token_id):
            info = tokens.validate_token(handed_in).token_info
            equal((info.organization_id, info.organization_external_id), (org, external_id), "organization")
            equal((info.user_id, info.user_external_id, info.email), (user.id, user.external_id, mail), "user")
            equal((list(info.roles), dict(info.custom_claims)), (["member"], {"env": "ci"}))
        for wrong in (owned.token[:-1] + ("A" if owned.token[-1] != "A" else "B"), "apit_100000000000000000", "x"):
            invalid(lambda wrong=wrong: tokens.validate_token(wrong))

    with report.check("claims and description of a token: the SDK merges claims, an empty description clears"):
        updated = tokens.update_token(owned.token, custom_claims={"env": "", "region": "eu"}, description="").token_info
        equal((dict(updated.custom_claims), updated.description), ({"region": "eu"}, ""))
        kept = tokens.update_token(owned.token_id, description="again").token_info
        equal((dict(kept.custom_claims), kept.description), ({"region": "eu"}, "again"))

    with report.check("[APIT-04] lists: of the organization in pages, of the user, active ones only"):
        page = tokens.list_tokens(org, page_size=1)
        rest = tokens.list_tokens(org, page_size=1, page_token=page.next_page_token)
        ids = [token.token_id for token in (*page.tokens, *rest.tokens)]
        equal((sorted(ids), page.total_count), (sorted([plain.token_id, owned.token_id]), 2))
        equal([token.token_id for token in tokens.list_tokens(org, user_id=user.id).tokens], [owned.token_id], "the user's")
        tokens.invalidate_token(plain.token)
        equal([token.token_id for token in tokens.list_tokens(org).tokens], [owned.token_id], "after an invalidation")

    with report.check("[APIT-03] an invalidated token is not found at once; invalidating it again succeeds, an unknown one not"):
        tokens.invalidate_token(owned.token_id)
        invalid(lambda: tokens.validate_token(owned.token))
        tokens.invalidate_token(owned.token)
        refused(lambda: tokens.invalidate_token("apit_100000000000000000"), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")

    with report.check("[APIT-01] no token for an unknown organization or for a user who is no member, nor one that has expired"):
        refused(lambda: tokens.create_token(NOWHERE), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
        for call in (
            lambda: tokens.create_token(org, user_id=NOBODY),
            lambda: tokens.create_token(org, expiry=Timestamp(seconds=int(time.time()) - 60)),
        ):
            refused(call, ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        refused(lambda: tokens.update_token(owned.token_id, description="x"), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
    client.users.delete_user(user.id)


def resource_clients(report, client):
    resources = client.resources
    service = resources.client_service
    asked = CreateResource(
        name="Documents", resource_type=ResourceType.MCP_SERVER, resource_uri=f"https://{unique('docs')}.example.com"
    )
    # The SDK makes no resources; its generated client does.
    made = client.core_client.grpc_exec(service.CreateResource.with_call, CreateResourceRequest(resource=asked))[0].resource
    resource = made.id

    with report.check("resources: get, and the list of their type"):
        equal(resources.get_resource(resource)[0].resource.name, "Documents", "name")
        listed = resources.list_resources(ResourceType.MCP_SERVER, page_size=30)[0].resources
        holds(resource in [found.id for found in listed], "not in the list")
        refused(lambda: resources.get_resource("res_100000000000000000"), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")

    with report.check("a resource's client: create, get, list, masked update"):
        answer = resources.create_resource_client(resource, ResourceClient(name="Agent", description="First", expiry=900))[0]
        client_id = answer.client.client_id
        equal((answer.client.resource_id, answer.client.name), (resource, "Agent"))
        equal(answer.client.secrets[0].secret_suffix, answer.plain_secret[-4:], "suffix")
        equal(resources.get_resource_client(resource, client_id)[0].client.description, "First", "description")
        equal([found.client_id for found in resources.list_resource_clients(resource)[0].clients], [client_id], "list")
        claims = [CustomClaim(key="team", value="blue")]
        updated = resources.update_resource_client(resource, client_id, description="", custom_claims=claims)[0].client
        equal((updated.name, updated.description, claims_of(updated), updated.expiry), ("Agent", "", {"team": "blue"}, 900))

    with report.check(f"a resource client's secrets: add, remove, and {LAST}"):
        added = resources.create_resource_client_secret(resource, client_id)[0]
        equal(added.secret.secret_suffix, added.plain_secret[-4:], "suffix")
        equal(len(resources.get_resource_client(resource, client_id)[0].client.secrets), 2, "secrets")
        resources.delete_resource_client_secret(resource, client_id, added.secret.id)
        error = refused(
            lambda: resources.delete_resource_client_secret(resource, client_id, answer.client.secrets[0].id),
            ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
        )
        equal(error.message, LAST, "message")

    with report.check("[MCP-34] a consent that a user gives in a browser is listed and revoked; an unknown one cannot be revoked"):
        equal(len(resources.list_user_consents(resource)[0].consents), 0, "consents before")
        editor = resources.create_resource_client(resource, ResourceClient(name="Editor", redirect_uris=[CALLBACK]))[0].client.client_id
        challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).rstrip(b"=").decode()
        query = urllib.parse.urlencode({
            "response_type": "code", "client_id": editor, "redirect_uri": CALLBACK, "scope": "openid", "state": "s-1",
            "code_challenge": challenge, "code_challenge_method": "S256",
        })
        page = login.Browser(CALLBACK).sign_in(f"{client.core_client.env_url}/resources/{resource}/oauth/authorize?{query}", address())
        holds("code=" in page.url, page.url)
        (given,) = resources.list_user_consents(resource)[0].consents
        equal((given.client_id, given.client_name, list(given.scopes)), (editor, "Editor", ["openid"]))
        equal([found.id for found in resources.list_user_consents(resource, user_ids=[given.external_user_id])[0].consents], [given.id], "by user")
        resources.revoke_user_consent(editor, given.id)
        equal(len(resources.list_user_consents(resource)[0].consents), 0, "consents left")
        for unknown in (given.id, "usrcnst_100000000000000000"):
            refused(lambda unknown=unknown: resources.revoke_user_consent(editor, unknown), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
        resources.delete_resource_client(resource, editor)
        client.users.delete_user(given.external_user_id)

    with report.check("a deleted resource client is not found"):
        resources.delete_resource_client(resource, client_id)
        refused(lambda: resources.get_resource_client(resource, client_id), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
    client.core_client.grpc_exec(service.DeleteResource.with_call, DeleteResourceRequest(resource_id=resource))
