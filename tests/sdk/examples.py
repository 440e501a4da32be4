"""The applications under examples/: started as their READMEs say, signed in to and out of by a browser without scripts."""

import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "sdk"
sys.path[:0] = [str(HERE), str(HERE / "python")]
import login  # noqa: E402
from report import Report, equal, holds  # noqa: E402

APPLICATIONS = {
    "express": ["node", ROOT / "examples/express/server.js"],
    "fastapi": [BUILT / "example-fastapi/bin/python", ROOT / "examples/fastapi/main.py"],
}
START_SECONDS = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(home, process):
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            urllib.request.urlopen(home, timeout=2).read()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"{home} does not answer (exit status {process.poll()})")


def visit(report, name, home):
    email = f"{name}-{uuid.uuid4().hex[:12]}@example.com"
    browser = login.Browser()

    with report.check(f"[OPS-01 OAUTH-04] {name}: a visitor signs in and sees the address and the organization"):
        holds("Sign in" in browser.open(f"{home}/").text, "no link to sign in")
        page = browser.sign_in(f"{home}/login", email)
        equal((page.url, page.status), (f"{home}/", 200), "where the login ends")
        shown = re.search(r"Signed in as (\S+) in (.+?)</p>", page.text)
        holds(shown and shown[1] == email and shown[2], page.text)

    with report.check(f"[AUTHZ-09] {name}: a callback with a state of nobody's is refused"):
        equal(browser.open(f"{home}/callback?code=x&state=x").status, 400)

    with report.check(f"[AUTHZ-09] {name}: an error of the login is shown"):
        page, location = browser.send("GET", f"{home}/login")
        page = login.Browser(jar={"localhost": {k: v for k, v in browser.jar["localhost"].items() if not k.startswith("__Host-")}})
        page = page.open(f"{location}&prompt=none")
        equal(page.status, 403)

    with report.check(f"[OIDC-06] {name}: signing out ends the session at the server too: the next login asks again"):
        page = browser.open(f"{home}/logout")
        equal((page.url, "Sign in" in page.text), (f"{home}/", True), "where the logout ends")
        equal(browser.open(f"{home}/login").path, "/a/auth/login", "what the next login shows")


def main():
    report = Report("examples")
    for name, command in APPLICATIONS.items():
        port = free_port()
        home = f"http://localhost:{port}"
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=os.environ | {"PORT": str(port)})
        try:
            with report.check(f"{name} starts with dev.env and nothing else"):
                wait_for(home, process)
            visit(report, name, home)
        finally:
            process.terminate()
            process.wait(10)
    report.end()


if __name__ == "__main__":
    main()
