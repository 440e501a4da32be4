"""Codes and links by mail that the application itself sends and verifies, as the Python SDK does it."""

import sys
from pathlib import Path

from scalekit.common.exceptions import ScalekitBadRequestException, ScalekitNotFoundException

from people import address
from report import equal, holds, refused

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import login  # noqa: E402  (the mailbox is read where the browser of all rings reads it)

PAGE = "http://localhost:3999/magic"


def run(report, client):
    api = client.passwordless
    email = address()

    with report.check("[PWL-01 PWL-04 PWL-05] a mail is sent; its code verifies once and gives back address, state and template"):
        sent = api.send_passwordless_email(email, template="SIGNIN", magiclink_auth_uri=PAGE, state="s-1", expires_in=600)[0]
        equal(sent.expires_in, 600, "lifetime")
        holds(sent.auth_request_id and sent.expires_at > 0, str(sent))
        code = login.code(email)
        verified = api.verify_passwordless_email(code=code, auth_request_id=sent.auth_request_id)[0]
        equal((verified.email, verified.state, verified.template), (email, "s-1", 1))

    with report.check("a mail is sent again for the same request, with a code that verifies"):
        again = address()
        asked = api.send_passwordless_email(again, magiclink_auth_uri=PAGE, state="s-2")[0].auth_request_id
        resent = api.resend_passwordless_email(asked)[0]
        equal(resent.auth_request_id, asked, "request")
        verified = api.verify_passwordless_email(code=login.code(again), auth_request_id=asked)[0]
        equal((verified.email, verified.state), (again, "s-2"))

    with report.check("[PWL-13 PWL-06] a code that was used already, a wrong one, an unknown link and an unknown request are refused"):
        bad = lambda call: refused(call, ScalekitBadRequestException, "INVALID_ARGUMENT", "INVALID_ARGUMENT")  # noqa: E731
        bad(lambda: api.verify_passwordless_email(code=code, auth_request_id=sent.auth_request_id))
        other = api.send_passwordless_email(address(), magiclink_auth_uri=PAGE)[0]
        bad(lambda: api.verify_passwordless_email(code="00000x", auth_request_id=other.auth_request_id))
        bad(lambda: api.verify_passwordless_email(code=code))
        bad(lambda: api.verify_passwordless_email(link_token="invented_l"))
        bad(lambda: api.send_passwordless_email("nobody"))
        for call in (
            lambda: api.verify_passwordless_email(code=code, auth_request_id="invented"),
            lambda: api.resend_passwordless_email("invented"),
        ):
            refused(call, ScalekitNotFoundException, "NOT_FOUND", "NOT_FOUND")
