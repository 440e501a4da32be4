#!/usr/bin/env python3
"""Somebody whose browser has a session and an authenticator with a passkey.

    passkey.py EMAIL     signs in and registers a passkey; prints the user's id, the session's and the passkey's

Registration is what SDKs leave to browsers. Nothing but the standard library is used: an authenticator that attests to nothing
(WebAuthn §8.7) signs nothing when it registers, so that its public key may be any point of the curve.
"""

import base64
import hashlib
import json
import os
import ssl
import sys
import urllib.parse
import urllib.request

import login

CALLBACK = "http://localhost:3999/callback"
# The generator of P-256 (SEC 2 §2.4.2).
POINT = (
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
)
# User present, user verified, credential data included (WebAuthn §6.1).
FLAGS = 0x45


def cbor(value):
    """The part of CBOR (RFC 8949) that an attestation needs."""
    kinds = {int: 0 if not isinstance(value, int) or value >= 0 else 1, bytes: 2, str: 3, dict: 5}
    kind = kinds[type(value)]
    number = (value if value >= 0 else -1 - value) if isinstance(value, int) else len(value)
    if number < 24:
        head = bytes([kind << 5 | number])
    elif number < 256:
        head = bytes([kind << 5 | 24, number])
    else:
        head = bytes([kind << 5 | 25]) + number.to_bytes(2, "big")
    if isinstance(value, dict):
        return head + b"".join(cbor(key) + cbor(found) for key, found in value.items())
    return head + (b"" if isinstance(value, int) else value.encode() if isinstance(value, str) else value)


def registration(options, origin):
    """The answer of an authenticator to the options of a page."""
    identifier = os.urandom(32)
    x, y = (bytes.fromhex(half) for half in POINT)
    # An ES256 key as COSE has it (RFC 9053 §7.1.1).
    key = cbor({1: 2, 3: -7, -1: 1, -2: x, -3: y})
    data = hashlib.sha256(options["rp"]["id"].encode()).digest() + bytes([FLAGS]) + bytes(4)
    data += bytes(16) + len(identifier).to_bytes(2, "big") + identifier + key
    client = {"type": "webauthn.create", "challenge": options["challenge"], "origin": origin, "crossOrigin": False}
    text = lambda value: base64.b64encode(value).decode()  # noqa: E731
    return {
        "credential_id": text(identifier),
        "attestation_object": text(cbor({"fmt": "none", "attStmt": {}, "authData": data})),
        "client_data_json": text(json.dumps(client).encode()),
        "type": "public-key",
        "transports": ["internal"],
        "authenticator_attachment": "platform",
    }


class Api:
    """The REST API of the environment, for a client's token or a browser's cookies."""

    def __init__(self, origin, headers):
        self.origin, self.headers = origin, headers
        self.trust = ssl.create_default_context(cafile=os.environ["NARTHEX_CA_FILE"])

    def __call__(self, method, path, body=None):
        headers = {"content-type": "application/json", **self.headers}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.origin}/api/v1/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, context=self.trust, timeout=20) as answer:
            return json.load(answer)


def token(origin, client_id, secret):
    form = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret})
    trust = ssl.create_default_context(cafile=os.environ["NARTHEX_CA_FILE"])
    with urllib.request.urlopen(f"{origin}/oauth/token", form.encode(), context=trust, timeout=20) as answer:
        return json.load(answer)["access_token"]


def sign_in(email):
    """A browser in which this address is signed in, as the API knows it."""
    origin, client_id = os.environ["SCALEKIT_ENVIRONMENT_URL"], os.environ["SCALEKIT_CLIENT_ID"]
    browser = login.Browser(CALLBACK)
    asked = {"response_type": "code", "client_id": client_id, "redirect_uri": CALLBACK, "scope": "openid"}
    browser.sign_in(f"{origin}/oauth/authorize?{urllib.parse.urlencode(asked)}", email)
    cookies = browser.jar[urllib.parse.urlsplit(origin).hostname]
    return Api(origin, {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "sec-fetch-site": "same-origin"})


def register(email):
    """The ids of a user, of the session and of the passkey that was registered in it."""
    origin = os.environ["SCALEKIT_ENVIRONMENT_URL"]
    mine = sign_in(email)
    me = mine("GET", "users:this")
    bearer = token(origin, os.environ["SCALEKIT_CLIENT_ID"], os.environ["SCALEKIT_CLIENT_SECRET"])
    manage = Api(origin, {"authorization": f"Bearer {bearer}"})
    connections = manage("GET", "connections?include=all")["connections"]
    passkeys = next(found for found in connections if found["type"] == "WEBAUTHN")["id"]
    # Switched on for as long as it takes: the logins of other checks are such as have no passkeys.
    manage("PATCH", f"connections/{passkeys}:enable")
    try:
        options = mine("POST", "webauthn/registration:begin", {})["options"]
        made = registration(options, origin)
        mine("POST", "webauthn/registration:finish", made)
    finally:
        manage("PATCH", f"connections/{passkeys}:disable")
    kept = mine("GET", "webauthn/credentials")["credentials"]
    passkey = next(found["id"] for found in kept if found["credential_id"] == made["credential_id"])
    return me["user"]["id"], me["current_session_id"], passkey


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(*register(sys.argv[1]))
