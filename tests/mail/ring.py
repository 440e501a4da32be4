#!/usr/bin/env python3
"""Sends mails through real SMTP servers (aiosmtpd) and reads them back.

    tests/mail/ring.py BINARY

Runs with a Python that has aiosmtpd. Starts `narthex serve` and `narthex dev` on loopback with folders of their own, and mail servers with
certificates of a certificate authority of its own. Prints one line per check, and closes with `mail: N passed, N failed`.
"""
import contextlib
import email
import email.policy
import json
import logging
import os
import pathlib
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings

# It warns of servers without TLS, which some here are on purpose, and of names that it still uses itself.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

from aiosmtpd.controller import Controller  # noqa: E402
from aiosmtpd.smtp import AuthResult, LoginPassword  # noqa: E402

USER, PASSWORD = "narthex", "correct horse: battery"
CLIENT, SECRET = "skc_8573429015935040", "test_ring-of-mails-0123456789-0123456789-01234"
# The first wait of the outbox is 10 seconds.
RETRY_SECONDS = 40


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def certificates(folder):
    """ca.pem, and certificates of it: `good` for this machine, `other` for another name; `foreign` is of nobody's."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, "req", "-x509", *new, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Ring", "-addext", "basicConstraints=critical,CA:TRUE")
    for name, san in (("good", "DNS:localhost,IP:127.0.0.1"), ("other", "DNS:mail.other.example")):
        (folder / "extensions").write_text(f"subjectAltName={san}\nbasicConstraints=CA:FALSE\n")
        openssl(folder, "req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", f"{name}.pem")
    openssl(folder, "req", "-x509", *new, "-days", "2", "-keyout", "foreign.key", "-out", "foreign.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")


class Mail:
    def __init__(self, session, envelope):
        self.encrypted = session.ssl is not None
        self.signed_in = bool(session.authenticated)
        self.sender, self.recipients = envelope.mail_from, list(envelope.rcpt_tos)
        self.message = email.message_from_bytes(envelope.content, policy=email.policy.default)

    def part(self, kind):
        return self.message.get_body((kind,)).get_content()


class MailServer:
    """`answers`: what to say to a whole mail for an address, one after the other, before it is taken."""

    def __init__(self, folder, certificate="good", implicit=False, tls=True, sign_in=True):
        self.mails, self.tries, self.answers, self.passwords = [], [], {}, []
        self.port = free_port()
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
        options = {"auth_required": True, "authenticator": self.check} if sign_in else {}
        if implicit:
            options |= {"ssl_context": context, "auth_require_tls": False}
        elif tls:
            options |= {"tls_context": context, "require_starttls": True}
        else:
            options |= {"auth_require_tls": False}
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, ready_timeout=20, **options)
        self.controller.start()

    def check(self, server, session, envelope, mechanism, given):
        self.passwords.append(given)
        good = isinstance(given, LoginPassword) and (given.login.decode(), given.password.decode()) == (USER, PASSWORD)
        return AuthResult(success=good, handled=False)

    async def handle_DATA(self, server, session, envelope):
        mail = Mail(session, envelope)
        self.tries.append(mail)
        answers = self.answers.get(envelope.rcpt_tos[0])
        if answers:
            return answers.pop(0)
        self.mails.append(mail)
        return "250 OK"

    def tried(self, address):
        return [mail for mail in self.tries if address in mail.recipients]

    def mail(self, address, seconds=10):
        """The one mail for an address."""
        until = time.monotonic() + seconds
        while True:
            found = [mail for mail in self.mails if address in mail.recipients]
            if found:
                assert len(found) == 1, f"{len(found)} mails for {address}"
                return found[0]
            assert time.monotonic() < until, f"no mail for {address}"
            time.sleep(0.05)

    def stop(self):
        self.controller.stop()


class Narthex:
    """A running server; `base` is where the environment answers under the name `host`."""

    def __init__(self, command, log, authority, variables, ready):
        self.log = log
        # The machine's own variables, but nothing that would lead elsewhere.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        out = open(log, "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=kept | {"SSL_CERT_FILE": str(authority)} | variables)
        until = time.monotonic() + 60
        while True:
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"mail: the server did not get ready:\n{self.text()[-3000:]}")
            with contextlib.suppress(OSError, KeyError):
                self.base, self.host, client, secret = ready()
                form = f"grant_type=client_credentials&client_id={client}&client_secret={secret}".encode()
                status, answer = self.send("POST", "/oauth/token", form, "application/x-www-form-urlencoded")
                if status == 200:
                    self.token = answer["access_token"]
                    break
            time.sleep(0.05)

    token = None

    def text(self):
        return self.log.read_text(errors="replace")

    def trace(self, word):
        """The line of the log with this word; it may be written after the answer."""
        until = time.monotonic() + 5
        while True:
            for line in self.text().splitlines():
                if word in line:
                    return line
            assert time.monotonic() < until, f"no line with {word} in the log"
            time.sleep(0.05)

    def send(self, method, path, body=None, kind="application/json"):
        headers = {"Host": self.host, "Content-Type": kind}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def call(self, method, path, body=None):
        status, answer = self.send(method, path, body)
        assert status in (200, 201), f"{method} {path}: {status} {answer}"
        return answer

    def send_code(self, address):
        return self.send("POST", "/api/v1/passwordless/email/send", {"email": address})

    def invite(self, organization, address):
        return self.call("POST", f"/api/v1/organizations/{organization}/users?send_invitation_email=true", {"email": address})

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Ring:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.passed = self.failed = self.starts = 0
        certificates(folder)
        (folder / "password").write_text(PASSWORD + "\n")
        (folder / "seed.toml").write_text(
            '[[workspaces]]\n[[workspaces.environments]]\nkind = "dev"\n'
            f'[[workspaces.environments.clients]]\nid = "{CLIENT}"\nsecrets = ["{SECRET}"]\n'
        )

    def configuration(self, server, **mail):
        """The file of `narthex serve`, with a password by reference."""
        self.port = free_port()
        keys = {"host": "localhost", "port": server.port, "tls": "starttls", "from_email": "hi@auth.example", "username": USER, "password": f"file:{self.folder / 'password'}"} | mail
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if value is not None]
        path = self.folder / f"narthex-{self.port}.toml"
        path.write_text(
            f'[server]\ndata_dir = "{self.folder / "data"}"\nhttp_listen = "127.0.0.1:{self.port}"\nadmin_listen = "127.0.0.1:0"\ndrain_delay = "0s"\n'
            f'base_domain = "auth.example"\n[tls]\nmode = "external"\n[seed]\nfile = "{self.folder / "seed.toml"}"\n[mail]\n' + "\n".join(lines) + "\n"
        )
        return path

    @contextlib.contextmanager
    def serve(self, server, **mail):
        path = self.configuration(server, **mail)
        self.starts += 1
        ready = lambda: (f"http://127.0.0.1:{self.port}", "dev.auth.example", CLIENT, SECRET)
        narthex = Narthex([self.binary, "serve", "--config", path], self.folder / f"serve-{self.starts}.log", self.folder / "ca.pem", {}, ready)
        try:
            yield narthex
        finally:
            narthex.stop()
            assert PASSWORD not in narthex.text() and "battery" not in narthex.text(), "a password in the log"

    @contextlib.contextmanager
    def dev(self):
        folder = self.folder / "dev"

        def ready():
            lines = (folder / "dev.env").read_text().splitlines()
            found = {line.split("=", 1)[0]: "".join(shlex.split(line.split("=", 1)[1])) for line in lines if line and not line.startswith("#")}
            base = found["NARTHEX_HTTP_URL"]
            return base, base.removeprefix("http://"), found["SCALEKIT_CLIENT_ID"], found["SCALEKIT_CLIENT_SECRET"]

        command = [self.binary, "dev", "--dir", folder, "--listen", "127.0.0.1:0", "--prd-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
        narthex = Narthex(command, self.folder / "dev.log", self.folder / "ca.pem", {}, ready)
        try:
            yield narthex
        finally:
            narthex.stop()
            assert "battery" not in narthex.text(), "a password in the log"

    def doctor(self, path):
        variables = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(self.folder / "ca.pem")}
        out = subprocess.run([self.binary, "doctor", "--config", path, "--json"], env=variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=120).stdout
        return next(finding for finding in json.loads(out) if finding["check"] == "smtp")

    @contextlib.contextmanager
    def check(self, title):
        try:
            yield
        except Exception as error:  # every check is one line, whatever has gone wrong in it
            self.failed += 1
            print(f"FAILED {title}: {type(error).__name__}: {error}", flush=True)
        else:
            self.passed += 1
            print(f"ok {title}", flush=True)

    def through_starttls(self):
        server = MailServer(self.folder)
        with self.serve(server) as narthex:
            with self.check("[EML-07 EML-01] a code leaves through STARTTLS and a sign-in, as text and HTML, from the installation's address, and is good"):
                status, sent = narthex.send_code("ann@acme.example")
                assert status == 200, sent
                mail = server.mail("ann@acme.example")
                assert mail.encrypted and mail.signed_in
                assert mail.sender == "hi@auth.example", mail.sender
                assert mail.message["From"] == "Team Default <hi@auth.example>", mail.message["From"]
                assert mail.message["To"] == "ann@acme.example", mail.message["To"]
                assert mail.message.get_content_type() == "multipart/alternative"
                assert [part.get_content_type() for part in mail.message.iter_parts()] == ["text/plain", "text/html"]
                code = "".join(letter for letter in mail.message["Subject"] if letter.isdigit())
                assert len(code) == 6 and code in mail.part("plain") and code in mail.part("html"), mail.message["Subject"]
                verified = narthex.call("POST", "/api/v1/passwordless/email/verify", {"code": code, "auth_request_id": sent["auth_request_id"]})
                assert verified["email"] == "ann@acme.example", verified
                assert code not in narthex.text(), "a code in the log"
            with self.check("a name of quotes, umlauts and angle brackets is in the subject as it is, and in no header of its own"):
                name = 'Ünï "Co" <eve@evil.example>, ☃'
                organization = narthex.call("POST", "/api/v1/organizations", {"display_name": name})["organization"]["id"]
                narthex.invite(organization, "bob@acme.example")
                message = server.mail("bob@acme.example").message
                assert message["Subject"] == f"You are invited to {name} on Default", message["Subject"]
                assert message["To"] == "bob@acme.example" and not message["Bcc"] and not message["Cc"]
            with self.check("[EML-07] a mail that a server puts off is tried again and delivered once; one that it refuses for good is not tried again"):
                server.answers = {"late@acme.example": ["451 4.7.1 come back later"], "never@acme.example": ["550 5.7.1 not here"] * 9}
                narthex.invite(organization, "late@acme.example")
                narthex.invite(organization, "never@acme.example")
                late = server.mail("late@acme.example", RETRY_SECONDS)
                first, second = server.tried("late@acme.example")
                assert first.message["Message-ID"] == second.message["Message-ID"] == late.message["Message-ID"]
                time.sleep(2)
                assert len(server.tried("never@acme.example")) == 1, "tried again"
                assert '"dead":true' in narthex.trace("Refused")
            with self.check("a server that is not there: the request for a code fails, and says why"):
                server.stop()
                status, answer = narthex.send_code("cleo@acme.example")
                assert status == 503 and "does not answer" in answer["message"], answer

    def other_ways(self):
        server = MailServer(self.folder, implicit=True)
        with self.serve(server, tls="implicit") as narthex, self.check("a code leaves through TLS from the first byte"):
            assert narthex.send_code("dora@acme.example")[0] == 200
            mail = server.mail("dora@acme.example")
            assert mail.signed_in
        with self.check("[OPS-19] doctor finds a mail server that takes mails, over TLS and signed in"):
            found = self.doctor(self.configuration(server, tls="implicit"))
            assert found["level"].lower() == "ok", found
        server.stop()
        server = MailServer(self.folder, tls=False, sign_in=False)
        with self.serve(server, tls="none", username=None, password=None) as narthex, self.check("a relay without TLS is used where the configuration says so"):
            assert narthex.send_code("emil@acme.example")[0] == 200
            mail = server.mail("emil@acme.example")
            assert not mail.encrypted and not mail.signed_in
        server.stop()

    def refused(self):
        for certificate in ("foreign", "other"):
            server = MailServer(self.folder, certificate=certificate)
            with self.serve(server) as narthex, self.check(f"a server with a {certificate} certificate gets neither password nor mail, and the log says why"):
                status, answer = narthex.send_code("finn@acme.example")
                assert status == 503 and "certificate is not valid" in answer["message"], answer
                assert not server.passwords and not server.tries
                narthex.trace("Untrusted")
            server.stop()
        server = MailServer(self.folder, tls=False)
        with self.serve(server) as narthex, self.check("a server that offers no STARTTLS gets neither password nor mail"):
            status, answer = narthex.send_code("gina@acme.example")
            assert status == 503 and "offers no TLS" in answer["message"], answer
            assert not server.passwords and not server.tries
        server.stop()
        server = MailServer(self.folder)
        (self.folder / "wrong").write_text("wrong: battery")
        wrong = {"password": f"file:{self.folder / 'wrong'}"}
        with self.serve(server, **wrong) as narthex, self.check("[CTL-50] a wrong password: the request fails, and the log says why without it"):
            status, answer = narthex.send_code("hugo@acme.example")
            assert status == 503 and "does not take the user name and password" in answer["message"], answer
            assert server.passwords and not server.tries
            assert "535" in narthex.trace("Login")
        with self.check("[OPS-19] doctor finds a mail server that does not take the password"):
            found = self.doctor(self.configuration(server, **wrong))
            assert found["level"].lower() == "problem" and "535" in found["text"], found
            assert "battery" not in json.dumps(found)
        server.stop()
        with self.check("[OPS-19] doctor finds a mail server that does not answer"):
            found = self.doctor(self.configuration(server))
            assert found["level"].lower() == "problem" and "does not answer" in found["text"], found

    def own_server(self):
        server = MailServer(self.folder)
        settings = {"host": "localhost", "port": server.port, "username": USER, "password": PASSWORD, "from_email": "login@acme.example", "from_name": 'Acme "A" Ünï'}
        with self.dev() as narthex:
            with self.check("[EML-03 EML-07 CTL-50] an enabled server of the environment's own takes its mails, from its own name and address"):
                made = narthex.call("POST", "/api/v1/email/servers", {"provider": "OTHER", "settings": settings})["server"]["id"]
                assert narthex.send_code("ida@acme.example")[0] == 200
                assert not server.tries, "it is not enabled"
                narthex.call("PATCH", f"/api/v1/email/servers/{made}:enable")
                assert narthex.send_code("jan@acme.example")[0] == 200
                mail = server.mail("jan@acme.example")
                assert mail.encrypted and mail.signed_in and mail.sender == "login@acme.example"
                sender = mail.message["From"].addresses[0]
                assert (sender.display_name, sender.addr_spec) == ('Acme "A" Ünï', "login@acme.example"), mail.message["From"]
            with self.check("[EML-03 CTL-50] an update without a password keeps it; one with a wrong password is found out"):
                update = {key: value for key, value in settings.items() if key != "password"} | {"from_name": "Acme 2"}
                narthex.call("PUT", f"/api/v1/email/servers/{made}", update)
                assert narthex.send_code("kim@acme.example")[0] == 200
                assert server.mail("kim@acme.example").message["From"].addresses[0].display_name == "Acme 2"
                narthex.call("PUT", f"/api/v1/email/servers/{made}", update | {"password": "wrong: battery"})
                status, answer = narthex.send_code("leo@acme.example")
                assert status == 503 and "does not take the user name and password" in answer["message"], answer
                narthex.call("PUT", f"/api/v1/email/servers/{made}", update | {"password": PASSWORD})
            with self.check("[EML-03 CTL-50] a disabled server takes no mail, and one that is enabled again does"):
                narthex.call("PATCH", f"/api/v1/email/servers/{made}:disable")
                before = len(server.tries)
                assert narthex.send_code("mia@acme.example")[0] == 200
                assert len(server.tries) == before
                kept = narthex.call("GET", "/dev/mail?to=mia@acme.example")
                assert len(kept) == 1 and "hi@localhost" in kept[0]["from"], kept
                narthex.call("PATCH", f"/api/v1/email/servers/{made}:enable")
                shown = narthex.call("GET", "/api/v1/email/servers")["servers"]
                assert [server["enabled"] for server in shown] == [True] and "battery" not in json.dumps(shown), shown
                assert narthex.send_code("nils@acme.example")[0] == 200
                assert server.mail("nils@acme.example").signed_in
            with self.check("[EML-03] a server of the open network gets nothing from a developer's machine, whose mailbox keeps the mail; a deleted one is gone"):
                narthex.call("PUT", f"/api/v1/email/servers/{made}", update | {"host": "mail.invalid", "password": PASSWORD})
                assert narthex.send_code("olga@acme.example")[0] == 200
                assert len(narthex.call("GET", "/dev/mail?to=olga@acme.example")) == 1
                narthex.call("PATCH", f"/api/v1/email/servers/{made}:disable")
                narthex.call("DELETE", f"/api/v1/email/servers/{made}")
                assert not narthex.call("GET", "/api/v1/email/servers").get("servers")
        server.stop()

    def guarded(self):
        """What `narthex serve` makes of a customer's server on its own network."""
        server = MailServer(self.folder)
        settings = {"host": "localhost", "port": server.port, "username": USER, "password": PASSWORD, "from_email": "login@acme.example", "from_name": "Acme"}
        with self.serve(server) as narthex, self.check("[EML-03] a customer's server on the machine's own network is not called, though the installation's may be there"):
            made = narthex.call("POST", "/api/v1/email/servers", {"provider": "OTHER", "settings": settings})["server"]["id"]
            narthex.call("PATCH", f"/api/v1/email/servers/{made}:enable")
            status, answer = narthex.send_code("paul@acme.example")
            assert status == 503 and "not a public one" in answer["message"], answer
            assert not server.tries and not server.passwords
            narthex.call("PATCH", f"/api/v1/email/servers/{made}:disable")
            assert narthex.send_code("quinn@acme.example")[0] == 200
            server.mail("quinn@acme.example")
        server.stop()


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    # The machine's proxies have no business between a program and its own loopback.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    with tempfile.TemporaryDirectory(prefix="narthex-mail-") as folder:
        ring = Ring(binary, pathlib.Path(folder))
        for part in (ring.through_starttls, ring.other_ways, ring.refused, ring.own_server, ring.guarded):
            try:
                part()
            except (Exception, SystemExit) as error:
                ring.failed += 1
                print(f"FAILED {part.__name__}: {type(error).__name__}: {error}", flush=True)
        if ring.failed:
            for log in sorted(pathlib.Path(folder).glob("*.log")):
                print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-12:]))
        print(f"mail: {ring.passed} passed, {ring.failed} failed")
        sys.exit(bool(ring.failed))


main()
