"""Signing in with the Python SDK: from its authorization URL, through the login of a browser, to tokens, sessions and the way out."""

import pathlib
import sys
import urllib.parse
import uuid

import jwt
import requests
from scalekit import AuthorizationUrlOptions, CodeAuthenticationOptions
from scalekit.common.exceptions import ScalekitException
from scalekit.common.scalekit import LogoutUrlOptions, TokenValidationOptions
from scalekit.v1.commons.commons_pb2 import Role
from scalekit.v1.users.users_pb2 import UpdateMembership

from people import address
from report import equal, holds

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import login  # noqa: E402  (the browser that all rings share stands a folder above)

CALLBACK = "http://localhost:3999/callback"
SIGNED_OUT = "http://localhost:3999/signed-out"
EVERYTHING = ["openid", "profile", "email", "offline_access"]


def begin(client, email=None, browser=None, **options):
    """Goes from the SDK's authorization URL to the callback; its parameters and the browser."""
    asked = AuthorizationUrlOptions()
    for name, value in options.items():
        setattr(asked, name, value)
    browser = browser or login.Browser(CALLBACK)
    url = client.get_authorization_url(CALLBACK, asked)
    page = browser.sign_in(url, email) if email else browser.open(url)
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(page.url).query)), browser


def exchange(client, code):
    return client.authenticate_with_code(code, CALLBACK, CodeAuthenticationOptions())


def unverified(token):
    return jwt.decode(token, options={"verify_signature": False})


def refused(call, says):
    """The SDK must throw one of its own exceptions, which carries the server's OAuth error."""
    try:
        call()
    except ScalekitException as error:
        text = " ".join(str(getattr(error, name, "")) for name in ("message", "err_details", "details")) + str(error)
        holds(says in text, f"{type(error).__name__} does not say {says}: {text[:300]}")
        return
    raise AssertionError(f"not refused; expected {says}")


def run(report, client, environment_url, client_id):
    email = address()
    state, nonce = uuid.uuid4().hex, uuid.uuid4().hex
    with report.check("[AUTHZ-09] from the SDK's authorization URL through a login to the callback, which has the state"):
        answer, browser = begin(client, email, scopes=EVERYTHING, state=state, nonce=nonce)
        equal((answer["state"], sorted(answer)), (state, ["code", "state"]), "callback")

    with report.check("[OAUTH-04 OIDC-01 AUTHZ-09] the code becomes a user, an ID token, an access token and a refresh token"):
        tokens = exchange(client, answer["code"])
        user, claims = tokens["user"], unverified(tokens["id_token"])
        equal((user["id"], user["email"], user["emailVerified"]), (claims["sub"], email, True), "user")
        holds(user["id"].startswith("usr_") and tokens["organization_id"].startswith("org_"), str(user))
        holds(tokens["connection_id"].startswith("conn_"), "the connection that proved the address")
        equal((claims["iss"], claims["aud"], claims["azp"], claims["nonce"]), (environment_url, [client_id], client_id, nonce))
        equal((claims["oid"], claims["amr"]), (tokens["organization_id"], [tokens["connection_id"]]))
        holds(claims["sid"].startswith("ses_") and claims["at_hash"] and claims["c_hash"], str(claims))
        holds(all(isinstance(claims[name], int) for name in ("exp", "iat")) and claims["email_verified"] is True, str(claims))
        holds(isinstance(tokens["expires_in"], int) and tokens["refresh_token"], str(tokens["expires_in"]))
        known = client.users.get_user(user["id"])[0].user
        equal((known.email, known.memberships[0].organization_id), (email, tokens["organization_id"]), "the user as the API knows it")

    with report.check("[TOK-01] the SDK validates the access token with issuer, audience and scopes; it says who, where and what"):
        options = TokenValidationOptions(issuer=environment_url, audience=[client_id], required_scopes=EVERYTHING)
        access = client.validate_access_token_and_get_claims(tokens["access_token"], options)
        equal((access["sub"], access["oid"], access["sid"]), (user["id"], claims["oid"], claims["sid"]))
        equal((access["aud"], access["client_id"], access["roles"]), ([client_id], client_id, ["admin"]))
        holds(isinstance(access["permissions"], list), "permissions")
        equal((access["scopes"], access["scope"]), (EVERYTHING, " ".join(EVERYTHING)), "scopes")
        equal(access["exp"] - access["iat"], 300, "lifetime")
        for wrong in (
            TokenValidationOptions(issuer="https://elsewhere.example"),
            TokenValidationOptions(audience=["skc_1"]),
            TokenValidationOptions(required_scopes=["deploy"]),
        ):
            equal(client.validate_access_token(tokens["access_token"], wrong), False, "another token wanted")

    with report.check("[OAUTH-05] a code is good once, and another redirect URI spoils it"):
        refused(lambda: exchange(client, answer["code"]), "invalid_grant")
        again, _ = begin(client, browser=browser, scopes=EVERYTHING)
        holds("code" in again, f"the session answers: {again}")
        refused(lambda: client.authenticate_with_code(again["code"], CALLBACK + "/other", CodeAuthenticationOptions()), "invalid_grant")

    with report.check("[OAUTH-04] without offline_access there is no refresh token; an SDK that asks for no scopes gets an ID token"):
        plain, _ = begin(client, browser=browser)
        found = exchange(client, plain["code"])
        equal((found["refresh_token"], found["user"]["id"]), (None, user["id"]))

    with report.check("[OAUTH-08] a refresh gives another refresh token and a fresh access token of the same session, with roles read anew"):
        # The codes that were spoilt above took the tokens of the first one with them.
        renewed, _ = begin(client, browser=browser, scopes=EVERYTHING)
        first = exchange(client, renewed["code"])
        client.users.update_membership(claims["oid"], user["id"], UpdateMembership(roles=[Role(name="member")]))
        second = client.refresh_access_token(first["refresh_token"])
        holds(second["refresh_token"] != first["refresh_token"], "the refresh token is the same")
        fresh = client.validate_access_token_and_get_claims(second["access_token"])
        equal((fresh["sub"], fresh["sid"], fresh["roles"]), (user["id"], claims["sid"], ["member"]))
        holds(fresh["jti"] != unverified(first["access_token"])["jti"], "jti")
        third = client.refresh_access_token(second["refresh_token"])
        refused(lambda: client.refresh_access_token("rt_invented"), "invalid_grant")

    with report.check("[SES-01 SES-05] the session is listed as active, with its application and device"):
        session = client.sessions.get_session(claims["sid"])[0]
        equal((session.status, session.user_id, session.organization_id), ("active", user["id"], claims["oid"]))
        equal((session.device.browser, list(session.authenticated_organizations)), ("Firefox", [claims["oid"]]))
        listed = client.sessions.get_user_sessions(user["id"])[0].sessions
        equal([found.session_id for found in listed], [claims["sid"]])

    with report.check("[AUTHZ-09] an error comes back with the state as well: prompt=none and nobody signed in"):
        answer, _ = begin(client, state=state, prompt="none")
        equal((answer["error"], answer["state"]), ("login_required", state))

    with report.check("[OIDC-03] /userinfo says of the access token what the ID token says"):
        found = requests.get(environment_url + "/userinfo", headers={"authorization": f"Bearer {third['access_token']}"}, timeout=10)
        equal((found.status_code, found.json()["sub"], found.json()["email"]), (200, user["id"], email))

    with report.check("[OIDC-06 OAUTH-09] the SDK's logout URL ends the session, leads to the application with the state, and ends the refresh token"):
        url = client.get_logout_url(LogoutUrlOptions(id_token_hint=first["id_token"], post_logout_redirect_uri=SIGNED_OUT, state=state))
        browser.stop = SIGNED_OUT
        equal(browser.open(url).url, f"{SIGNED_OUT}?state={state}", "where the browser ends")
        equal(client.sessions.get_session(claims["sid"])[0].status, "logout")
        refused(lambda: client.refresh_access_token(third["refresh_token"]), "invalid_grant")
        browser.stop = CALLBACK
        answer, _ = begin(client, browser=browser, state=state, prompt="none")
        equal(answer["error"], "login_required")

    with report.check("[OAUTH-09 SES-06] a session that the SDK revokes refreshes no more"):
        answer, _ = begin(client, email, scopes=EVERYTHING)
        tokens = exchange(client, answer["code"])
        client.sessions.revoke_session(unverified(tokens["id_token"])["sid"])
        refused(lambda: client.refresh_access_token(tokens["refresh_token"]), "invalid_grant")

