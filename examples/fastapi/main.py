import os
import secrets
from html import escape

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from scalekit import AuthorizationUrlOptions, CodeAuthenticationOptions, ScalekitClient
from scalekit.common.scalekit import LogoutUrlOptions
from starlette.middleware.sessions import SessionMiddleware

HOME = f"http://localhost:{os.environ.get('PORT', '8000')}"
CALLBACK = f"{HOME}/callback"
env = os.environ
scalekit = ScalekitClient(env["SCALEKIT_ENVIRONMENT_URL"], env["SCALEKIT_CLIENT_ID"], env["SCALEKIT_CLIENT_SECRET"])

app = FastAPI()
# The session is a signed cookie. A new key at each start signs everybody out of this application.
app.add_middleware(SessionMiddleware, secret_key=secrets.token_hex(32), session_cookie="example")


@app.get("/", response_class=HTMLResponse)
def home(request: Request):
    user = request.session.get("user")
    if not user:
        return '<h1>Example</h1><p><a href="/login">Sign in</a></p>'
    organization = scalekit.organization.get_organization(user["organization_id"])[0].organization
    who = f"Signed in as {escape(user['email'])} in {escape(organization.display_name)}"
    return f'<h1>Example</h1><p>{who}</p><p><a href="/logout">Sign out</a></p>'


@app.get("/login")
def login(request: Request):
    options = AuthorizationUrlOptions()
    options.state = request.session["state"] = secrets.token_hex(16)
    return RedirectResponse(scalekit.get_authorization_url(CALLBACK, options))


@app.get("/callback")
def callback(request: Request, state: str = "", code: str = "", error: str = "", error_description: str = ""):
    # The answer belongs to the browser that asked, and to its latest question.
    if not state or state != request.session.pop("state", None):
        raise HTTPException(400, "This sign-in was not begun here.")
    if error:
        raise HTTPException(403, f"Not signed in: {error_description or error}")
    # The SDK verifies the ID token's signature.
    found = scalekit.authenticate_with_code(code, CALLBACK, CodeAuthenticationOptions())
    request.session["user"] = {"email": found["user"]["email"], "organization_id": found["organization_id"]}
    request.session["id_token"] = found["id_token"]
    return RedirectResponse("/")


@app.get("/logout")
def logout(request: Request):
    hint = request.session.get("id_token")
    request.session.clear()
    return RedirectResponse(scalekit.get_logout_url(LogoutUrlOptions(id_token_hint=hint, post_logout_redirect_uri=f"{HOME}/")))


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
