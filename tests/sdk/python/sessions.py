"""Sessions as the Python SDK asks for them. Empty answers and refusals: sessions themselves are in signin.py."""

from scalekit.common.exceptions import ScalekitBadRequestException, ScalekitNotFoundException
from scalekit.v1.organizations.organizations_pb2 import CreateOrganization
from scalekit.v1.users.users_pb2 import CreateUser

from people import NOBODY, address
from report import equal, refused

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
