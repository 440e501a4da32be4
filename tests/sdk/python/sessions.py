"""Sessions as the Python SDK asks for them, beyond those of signin.py, and the passkeys that were registered in them."""

import pathlib
import sys

from scalekit.common.exceptions import ScalekitBadRequestException, ScalekitNotFoundException
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization
from scalekit.v1.users.users_pb2 import CreateUser

from people import NOBODY, address
from report import equal, holds, refused

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import passkey  # noqa: E402  (all rings have their passkeys from there)

UNKNOWN = "ses_100000000000000000"


def run(report, client):
    org = client.organization.create_organization(CreateOrganization(display_name="Sessions"))[0].organization.id
    user = client.users.create_user_and_membership(org, CreateUser(email=address()), False)[0].user
    sessions = client.sessions
    try:
        with report.check("a user who never signed in has no sessions, with and without a filter, and none to revoke"):
            everything = sessions.get_user_sessions(user.id)[0]
            equal((len(everything.sessions), everything.total_size, everything.next_page_token), (0, 0, ""))
            active = sessions.get_user_sessions(user.id, page_size=10, filter=sessions.create_session_filter(status=["ACTIVE"]))[0]
            equal((len(active.sessions), active.total_size), (0, 0))
            equal(sessions.revoke_all_user_sessions(user.id)[0].total_revoked, 0, "revoked")

        with report.check("an unknown session is not found; an id of another kind is a bad request"):
            for call in (lambda: sessions.get_session(UNKNOWN), lambda: sessions.revoke_session(UNKNOWN)):
                refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
            for call in (lambda: sessions.get_session(NOBODY), lambda: sessions.revoke_session("x")):
                refused(call, ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
    finally:
        client.users.delete_user(user.id)
        client.organization.delete_organization(org)
    passkeys(report, client)


def passkeys(report, client):
    api = client.webauthn
    user, session, registered = passkey.register(address())

    with report.check("[WAN-03 WAN-09] the user's passkeys are listed; one gets a name, then it is deleted and gone"):
        found = api.list_credentials(user)[0]
        equal([(one.id, one.user_id) for one in found.credentials], [(registered, user)], "passkeys")
        equal(found.all_accepted_credentials_options.rp_id, "localhost", "relying party")
        renamed = api.update_credential(registered, "Ada's laptop")[0].credential
        equal((renamed.id, renamed.display_name), (registered, "Ada's laptop"))
        for call in (lambda: api.update_credential(registered, "x" * 121), lambda: api.list_credentials("")):
            refused(call, ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        gone = api.delete_credential(registered)[0]
        holds(gone.success and gone.unknown_credential_options.credential_id, str(gone))
        equal(len(api.list_credentials(user)[0].credentials), 0, "passkeys left")
        for call in (
            lambda: api.update_credential(registered, "x"),
            lambda: api.delete_credential(registered),
            lambda: api.list_credentials(NOBODY),
        ):
            refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")

    with report.check("[SES-06] all of a user's sessions are revoked at once"):
        revoked = client.sessions.revoke_all_user_sessions(user)[0]
        equal([one.session_id for one in revoked.revoked_sessions], [session], "revoked")
        holds(client.sessions.get_session(session)[0].status != "active", "still active")
        equal(client.sessions.revoke_all_user_sessions(user)[0].total_revoked, 0, "left")
    client.users.delete_user(user)
