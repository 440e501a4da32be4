#!/usr/bin/env python3
"""A browser without scripts that signs in: keeps cookies, fills the forms in, reads the code in the mailbox of `narthex dev`.

    login.py [--jar FILE] URL EMAIL     signs in from an authorization URL; prints the application's callback with its answer
    login.py --jar FILE URL             opens a URL with the cookies of an earlier login; prints where it ends

--jar keeps the cookies in a file, as a browser keeps them between two visits. Nothing but the standard library is used, and the
server is trusted by NARTHEX_CA_FILE alone.
"""

import argparse
import http.client
import json
import os
import pathlib
import ssl
import sys
import time
import urllib.parse
from html.parser import HTMLParser

MAIL_SECONDS = 10
STEPS = 30


class Form:
    def __init__(self, action):
        self.action = action
        self.hidden = {}
        self.fields = []
        # (name, value) of each button that submits
        self.buttons = []


class Forms(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.forms = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "form":
            self.forms.append(Form(found.get("action", "")))
        elif self.forms and tag == "input":
            if found.get("type") == "hidden":
                self.forms[-1].hidden[found["name"]] = found.get("value") or ""
            elif found.get("name"):
                self.forms[-1].fields.append(found["name"])
        elif self.forms and tag == "button" and found.get("type", "submit") == "submit":
            self.forms[-1].buttons.append((found.get("name"), found.get("value")))


class Page:
    def __init__(self, url, status, text):
        self.url, self.status, self.text = url, status, text
        self.path = urllib.parse.urlsplit(url).path

    def form(self, path):
        """The form that goes to this path."""
        for form in Forms(self.text).forms:
            if urllib.parse.urlsplit(form.action).path == path:
                return form
        raise AssertionError(f"no form for {path} at {self.url} ({self.status}): {self.text[:2000]}")

    def has(self, path):
        return any(urllib.parse.urlsplit(form.action).path == path for form in Forms(self.text).forms)


class Browser:
    """`stop` is the callback of an application that is not there: a redirect to it is not followed."""

    def __init__(self, stop=None, jar=None):
        self.stop = stop
        # host → {name: value}; as in browsers, ports do not matter, and http on localhost may have Secure cookies.
        self.jar = jar if jar is not None else {}
        self.trust = ssl.create_default_context(cafile=os.environ["NARTHEX_CA_FILE"])

    def send(self, method, url, form=None):
        """One request; its answer, and where it redirects to."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(parts.netloc, timeout=20, context=self.trust)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=20)
        cookies = self.jar.setdefault(parts.hostname, {})
        headers = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "accept": "text/html"}
        if cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers |= {"content-type": "application/x-www-form-urlencoded", "origin": f"{parts.scheme}://{parts.netloc}"}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        for line in answer.headers.get_all("set-cookie") or []:
            pair, *attributes = (part.strip() for part in line.split(";"))
            name, value = pair.split("=", 1)
            attributes = [attribute.lower() for attribute in attributes]
            if not value or "max-age=0" in attributes or any(text.startswith("expires=thu, 01 jan 1970") for text in attributes):
                cookies.pop(name, None)
            else:
                cookies[name] = value
        location = answer.headers.get("location")
        return Page(url, answer.status, text), location and urllib.parse.urljoin(url, location)

    def open(self, url, method="GET", form=None):
        """Follows redirects until a page is shown or the callback is reached: then the page is its URL alone."""
        for _ in range(STEPS):
            page, location = self.send(method, url, form)
            if location is None:
                return page
            if self.stop and location.split("?")[0].split("#")[0] == self.stop:
                return Page(location, 0, "")
            url, method, form = location, "GET", None
        raise AssertionError(f"redirected without end at {url}")

    def submit(self, page, path, fields):
        form = page.form(path)
        return self.open(urllib.parse.urljoin(page.url, form.action), "POST", form.hidden | fields)

    def sign_in(self, url, email):
        """From a URL that begins a login to the application that it ends in."""
        page = self.open(url)
        for _ in range(STEPS):
            if page.status == 0 or not page.path.startswith("/a/auth/"):
                return page
            step = page.path
            if page.has("/a/auth/verify"):
                page = self.submit(page, "/a/auth/verify", {"code": code(email)})
            elif page.has("/a/auth/organizations"):
                page = self.submit(page, "/a/auth/organizations", {"organization": page.form("/a/auth/organizations").buttons[0][1]})
            elif page.has("/a/auth/consent"):
                page = self.submit(page, "/a/auth/consent", {"decision": "allow"})
            elif page.has("/a/auth/signup"):
                page = self.submit(page, "/a/auth/signup", {"email": email})
            elif page.has("/a/auth/login"):
                page = self.submit(page, "/a/auth/login", {"email": email})
            elif page.path == "/a/auth/passkey":
                page = self.submit(page, Forms(page.text).forms[-1].action.split("?")[0], {})
            else:
                break
            if page.status >= 400:
                break
            if page.path == step and page.status != 0:
                raise AssertionError(f"{step} is shown again: {page.text[:3000]}")
        raise AssertionError(f"the login stands at {page.url} ({page.status}): {page.text[:3000]}")


def mail(email):
    """The newest mail to an address."""
    url = os.environ["NARTHEX_DEV_URL"] + "/dev/mail?to=" + urllib.parse.quote(email)
    ends = time.monotonic() + MAIL_SECONDS
    while time.monotonic() < ends:
        found = json.loads(Browser().send("GET", url)[0].text)
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no mail to {email} within {MAIL_SECONDS} s")


def code(email):
    return mail(email)["otp"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--jar", type=pathlib.Path)
    arguments.add_argument("url")
    arguments.add_argument("email", nargs="?")
    options = arguments.parse_args()
    parameters = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(options.url).query))
    kept = json.loads(options.jar.read_text()) if options.jar and options.jar.exists() else {}
    browser = Browser(parameters.get("redirect_uri") or parameters.get("post_logout_redirect_uri"), kept)
    try:
        page = browser.sign_in(options.url, options.email) if options.email else browser.open(options.url)
    except AssertionError as error:
        sys.exit(f"login.py: {error}")
    if options.jar:
        options.jar.write_text(json.dumps(browser.jar))
    print(page.url)


if __name__ == "__main__":
    main()
