"""The Python SDK against a running server: ring.py core | rotation | limits. Reads SCALEKIT_… from the environment."""

import os
import sys
from importlib.metadata import version

from scalekit import ScalekitClient

import access
import connections
import domains
import errors
import machines
import organizations
import pagination
import passwordless
import people
import sessions
import signin
import tokens
from report import Report

SDK = version("scalekit-sdk-python")
# Calls that one failing request makes (sdk-clients §4): the old SDK resends twice on any error.
EXECUTIONS = 3 if SDK == "2.10.0" else 1


def main(part):
    url, client_id, secret = (os.environ[f"SCALEKIT_{name}"] for name in ("ENVIRONMENT_URL", "CLIENT_ID", "CLIENT_SECRET"))
    report = Report(f"python {SDK}")
    client = ScalekitClient(url, client_id, secret)
    if part == "limits":
        errors.limits(report, client)
    elif part == "rotation":
        tokens.rotation(report, url, client_id, secret)
    else:
        organizations.run(report, client, url)
        pagination.run(report, client)
        people.run(report, client)
        access.run(report, client)
        machines.run(report, client, url)
        domains.run(report, client)
        connections.run(report, client)
        sessions.run(report, client)
        signin.run(report, client, url, client_id)
        passwordless.run(report, client)
        errors.run(report, client, url, client_id, secret)
        errors.counted(report, client, EXECUTIONS)
        tokens.run(report, client, url, client_id, secret)
        tokens.isolation(report, url, client_id, secret)
    report.end()


if __name__ == "__main__":
    main(sys.argv[1])
