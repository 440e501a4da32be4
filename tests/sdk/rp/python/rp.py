"""Authlib's Starlette client (PyPI) as a relying party, in a Starlette application as Authlib's documentation shows one."""

import os
import pathlib
import sys
import urllib.parse
import uuid

from authlib.integrations.base_client import MismatchingStateError
from authlib.integrations.starlette_client import OAuth
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route
from starlette.testclient import TestClient

SDK = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(SDK), str(SDK / "python")]
import login  # noqa: E402
from report import Report, equal, holds  # noqa: E402

ORIGIN = "http://localhost:3999"
CALLBACK, SIGNED_OUT = f"{ORIGIN}/callback", f"{ORIGIN}/signed-out"
ISSUER = os.environ["SCALEKIT_ENVIRONMENT_URL"]

oauth = OAuth()
oauth.register(
    "narthex",
    client_id=os.environ["SCALEKIT_CLIENT_ID"],
    client_secret=os.environ["SCALEKIT_CLIENT_SECRET"],
    server_metadata_url=f"{ISSUER}/.well-known/openid-configuration",
    client_kwargs={"scope": "openid profile email offline_access", "code_challenge_method": "S256"},
)
narthex = oauth.narthex


async def begin(request):
    return await narthex.authorize_redirect(request, CALLBACK)


async def callback(request):
    """Checks state and nonce, sends the verifier, verifies the ID token: all of it Authlib's."""
    try:
        return JSONResponse(await narthex.authorize_access_token(request))
    except MismatchingStateError as error:
        return JSONResponse({"error": str(error)}, 400)


async def renew(request):
    metadata = await narthex.load_server_metadata()
    token = {"refresh_token": request.query_params["token"], "token_type": "bearer"}
    async with narthex._get_oauth_client(**metadata) as session:
        session.token = token
        renewed = dict(await session.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"]))
    # The nonce belongs to the first ID token: a refreshed one may repeat it.
    renewed["userinfo"] = dict(await narthex.userinfo(token=renewed))
    return JSONResponse(renewed)


async def leave(request):
    metadata = await narthex.load_server_metadata()
    query = {"id_token_hint": request.query_params["hint"], "post_logout_redirect_uri": SIGNED_OUT, "state": "bye"}
    return RedirectResponse(metadata["end_session_endpoint"] + "?" + urllib.parse.urlencode(query))


application = Starlette(
    routes=[Route("/login", begin), Route("/callback", callback), Route("/renew", renew), Route("/logout", leave)],
    middleware=[Middleware(SessionMiddleware, secret_key=uuid.uuid4().hex)],
)


def main():
    report = Report("authlib")
    email = f"authlib-{uuid.uuid4().hex[:12]}@example.com"
    visitor = TestClient(application, base_url=ORIGIN, follow_redirects=False)
    browser = login.Browser(CALLBACK)

    with report.check("[DISC-01 AUTHZ-09] the authorization URL comes from discovery, with PKCE, state and nonce; a login leads back"):
        url = visitor.get("/login").headers["location"]
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        holds(url.startswith(f"{ISSUER}/oauth/authorize?") and asked["code_challenge_method"] == "S256" and asked["nonce"], url)
        arrived = browser.sign_in(url, email).url

    with report.check("[OAUTH-04 OAUTH-07 OIDC-01 OIDC-02] the code becomes tokens; Authlib verifies signature, issuer, audience, nonce and at_hash"):
        answer = visitor.get(arrived)
        tokens = answer.json()
        equal(answer.status_code, 200, "callback")
        user = tokens["userinfo"]
        equal((user["email"], user["email_verified"], user["nonce"]), (email, True, asked["nonce"]))
        holds(tokens["refresh_token"] and user["at_hash"], "refresh token and at_hash")

    with report.check("[AUTHZ-09] a callback with a state of nobody's is refused by Authlib"):
        equal(visitor.get(f"{CALLBACK}?code=x&state=x").status_code, 400)

    with report.check("[OAUTH-08 OIDC-03] refresh gives other tokens, and userinfo says of them what the ID token says"):
        renewed = visitor.get("/renew", params={"token": tokens["refresh_token"]}).json()
        holds(renewed["refresh_token"] != tokens["refresh_token"], "the refresh token is the same")
        equal((renewed["userinfo"]["sub"], renewed["userinfo"]["email"]), (user["sub"], email))

    with report.check("[OIDC-06] RP-initiated logout leads to the application with the state; then the login asks again"):
        browser.stop = SIGNED_OUT
        out = visitor.get("/logout", params={"hint": tokens["id_token"]}).headers["location"]
        equal(browser.open(out).url, f"{SIGNED_OUT}?state=bye")
        browser.stop = CALLBACK
        equal(browser.open(visitor.get("/login").headers["location"]).path, "/a/auth/login", "what is shown")

    report.end()


if __name__ == "__main__":
    main()
