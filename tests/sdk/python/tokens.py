"""Access tokens: the SDK's check against /keys, refusals by SDK and server, and the rotation of the signing key."""

import base64
import json
import os
import subprocess
import time

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from scalekit import ScalekitClient
from scalekit.common.exceptions import ScalekitNotFoundException, ScalekitUnauthorizedException
from scalekit.common.scalekit import TokenValidationOptions
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization

from report import equal, holds, refused


def segment(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forgeries(token):
    """(what, token): each looks like the given genuine token and must be refused everywhere."""
    header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    signature = token.split(".")[2]
    own_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    stale = claims | {"iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
    yield "signed by a foreign key under the genuine kid", jwt.encode(claims, own_key, "RS256", headers={"kid": header["kid"]})
    yield "genuine signature under changed claims", f"{segment(header)}.{segment(claims | {'sub': 'skc_1'})}.{signature}"
    yield "expired an hour ago", jwt.encode(stale, own_key, "RS256", headers={"kid": header["kid"]})
    yield "alg none without signature", f"{segment(header | {'alg': 'none'})}.{segment(claims)}."
    yield "alg none with the genuine signature", f"{segment(header | {'alg': 'none'})}.{segment(claims)}.{signature}"
    yield "signature cut off", ".".join(token.split(".")[:2]) + "."
    yield "not a JWT", "garbage"


def sdk_accepts(client, token):
    """Old SDKs let some malformed tokens out as an exception instead of False; either is a refusal."""
    try:
        return client.validate_access_token(token)
    except Exception:
        return False


def run(report, client, environment_url, client_id, client_secret):
    with report.check("[OAUTH-01] the SDK gets a token, validates it against /keys and reads the claims"):
        token = client.get_client_access_token()
        equal(client.validate_access_token(token), True, "validity")
        options = TokenValidationOptions(issuer=environment_url)
        claims = client.validate_access_token_and_get_claims(token, options)
        equal((claims["iss"], claims["sub"]), (environment_url, client_id), "iss and sub")
        holds(isinstance(claims["aud"], list) and isinstance(claims["exp"], int) and isinstance(claims["jti"], str), str(claims))
        holds(claims["exp"] - claims["iat"] in (86399, 86400), f"lifetime {claims['exp'] - claims['iat']} s")
        equal(client.validate_access_token(token, TokenValidationOptions(issuer="https://elsewhere.example")), False, "other issuer")

    with report.check("[DISC-02] /keys holds RSA signature keys named snk_, nothing else"):
        keys = requests.get(environment_url + "/keys", timeout=10).json()["keys"]
        holds(keys, "no key")
        for key in keys:
            equal((key["kty"], key["use"], key["alg"]), ("RSA", "sig", "RS256"))
            holds(key["kid"].startswith("snk_") and "d" not in key, key["kid"])

    with report.check("[OAUTH-03] /oauth/token and /keys ignore a bogus bearer"):
        bogus = {"authorization": "Bearer bogus"}
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        equal(requests.post(environment_url + "/oauth/token", data=form, headers=bogus, timeout=10).status_code, 200)
        equal(requests.get(environment_url + "/keys", headers=bogus, timeout=10).status_code, 200)

    with report.check("[OAUTH-02] the client's id and secret may also come as HTTP Basic; a wrong secret may not"):
        url, form = environment_url + "/oauth/token", {"grant_type": "client_credentials"}
        equal(requests.post(url, data=form, auth=(client_id, client_secret), timeout=10).status_code, 200)
        wrong = requests.post(url, data=form, auth=(client_id, client_secret + "x"), timeout=10)
        equal((wrong.status_code, wrong.json()["error"]), (401, "invalid_client"))

    for what, forged in forgeries(token):
        with report.check(f"[MGMT-02] a token {what}: refused by the SDK, and by the server with 401 and code 16"):
            equal(sdk_accepts(client, forged), False, "SDK's verdict")
            answer = requests.get(
                environment_url + "/api/v1/organizations", headers={"authorization": f"Bearer {forged}"}, timeout=10
            )
            body = answer.json()
            equal((answer.status_code, body["code"], body["details"][0]["error_code"]), (401, 16, "UNAUTHENTICATED"))

    with report.check("[MGMT-03 MGMT-02] a client whose own token went stale carries on"):
        held = client.core_client.access_token
        client.core_client.access_token = "stale"
        client.organization.list_organizations(page_size=1)
        client.core_client.access_token = held


    with report.check("a base URL that ends in a slash works: //oauth/token and //keys are answered"):
        slashed = ScalekitClient(environment_url + "/", client_id, client_secret)
        equal(slashed.validate_access_token(token), True, "validity")
        slashed.organization.list_organizations(page_size=1)


def isolation(report, environment_url, client_id, client_secret):
    """The other environment of the same server knows neither this client nor its tokens."""
    other = os.environ["NARTHEX_PRD_URL"]
    with report.check("[CTL-09] the production environment refuses the development client and its token"):
        error = refused(
            lambda: ScalekitClient(other, client_id, client_secret), ScalekitUnauthorizedException, "UNAUTHENTICATED", "Unauthorized"
        )
        holds("invalid_client" in error.err_details, error.err_details)
        token = ScalekitClient(environment_url, client_id, client_secret).get_client_access_token()
        answer = requests.get(other + "/api/v1/organizations", headers={"authorization": f"Bearer {token}"}, timeout=10)
        equal((answer.status_code, answer.json()["code"]), (401, 16), "production's answer")

    with report.check("[CTL-09] each environment lists its own organizations only"):
        development = ScalekitClient(environment_url, client_id, client_secret).organization
        production = ScalekitClient(
            other, os.environ["NARTHEX_PRD_CLIENT_ID"], os.environ["NARTHEX_PRD_CLIENT_SECRET"]
        ).organization
        here = production.create_organization(CreateOrganization(display_name="Production only"))[0].organization
        listed = [organization.id for organization in production.list_organizations(page_size=100)[0].organizations]
        holds(here.id in listed, "production does not list its own organization")
        holds(here.id not in [found.id for found in development.list_organizations(page_size=100)[0].organizations], "leaked")
        refused(lambda: development.get_organization(here.id), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
        refused(lambda: development.delete_organization(here.id), ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
        production.delete_organization(here.id)


def rotation(report, environment_url, client_id, client_secret):
    """A new signing key is published first and signs later: SDK clients fetch /keys once and live on with it."""

    def client():
        made = ScalekitClient(environment_url, client_id, client_secret)
        return made, made.get_client_access_token()

    def kid(token):
        return jwt.get_unverified_header(token)["kid"]

    def all_take(clients, tokens):
        for name, holder in clients.items():
            for token in tokens:
                equal(holder.validate_access_token(token), True, f"token of {kid(token)} in the client {name}")
        for token in tokens:
            headers = {"authorization": f"Bearer {token}"}
            status = requests.get(environment_url + "/api/v1/organizations", headers=headers, timeout=10).status_code
            equal(status, 200, f"server's answer to the token of {kid(token)}")

    before, old = client()
    equal(before.validate_access_token(old), True, "old token before the rotation")

    with report.check("[CTL-45 DISC-03] keys rotate publishes a key that does not sign yet: nothing changes for anyone"):
        subprocess.run(os.environ["NARTHEX_ROTATE"], shell=True, check=True, stdout=subprocess.DEVNULL)
        published = [key["kid"] for key in requests.get(environment_url + "/keys", timeout=10).json()["keys"]]
        holds(kid(old) in published and len(published) >= 2, f"published: {published}")
        during, token = client()
        equal(kid(token), kid(old), "signing key during the overlap")
        all_take({"made before": before, "made during the overlap": during}, [old, token])

    with report.check("[CTL-45 DISC-03] after the overlap the new key signs: clients made during it and later take old and new tokens"):
        subprocess.run(os.environ["NARTHEX_PASS_OVERLAP"], shell=True, check=True, stdout=subprocess.DEVNULL)
        after, new = client()
        holds(kid(new) != kid(old), f"both tokens are signed by {kid(old)}")
        all_take({"made during the overlap": during, "made afterwards": after}, [old, new])
        equal(before.validate_access_token(old), True, "old token in the client that knows the old key only")
