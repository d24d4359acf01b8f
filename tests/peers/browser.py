"""A person with a browser, as far as an authorization server can tell: follows redirects, keeps cookies, signs in and consents."""

import urllib.error
import urllib.request
from html.parser import HTMLParser
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlencode, urljoin

PAGES = 12


def authorize(url, redirect_uri, user, *, consents=True, cookies=None):
    """Opens the authorization URL and gives the URL that the server sends the browser back to. Nothing is sent there."""
    # As browsers do, it sends cookies for secure connections to a loopback address over HTTP, too.
    cookies = cookies or CookieJar(DefaultCookiePolicy(secure_protocols=("http", "https")))
    opener = urllib.request.build_opener(NoRedirects, urllib.request.HTTPCookieProcessor(cookies))
    form = None
    for _ in range(PAGES):
        try:
            with opener.open(url, form, timeout=10) as answer:
                page = answer.read().decode()
        except urllib.error.HTTPError as answer:
            if answer.code not in (302, 303):
                raise AssertionError(f"the browser got {answer.code} from {url.split('?')[0]}: {answer.read(500)!r}") from None
            url, form = urljoin(url, answer.headers["location"]), None
            if url.startswith(redirect_uri):
                return url
            continue
        url, form = fill(page, url, user, consents)
    raise AssertionError(f"after {PAGES} pages the browser is still at {url.split('?')[0]}")


def visit(url, user, user_code):
    """Opens the page for a device's code, and says yes until there is nothing left to say."""
    cookies = CookieJar(DefaultCookiePolicy(secure_protocols=("http", "https")))
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    form = None
    for _ in range(PAGES):
        try:
            with opener.open(url, form, timeout=10) as answer:
                page, url = answer.read().decode(), answer.url
        except urllib.error.HTTPError as answer:
            raise AssertionError(f"the browser got {answer.code} from {answer.url.split('?')[0]}") from None
        reader = FormReader()
        reader.feed(page)
        if reader.action is None:
            return
        url, form = fill(page, url, user, True, user_code)
    raise AssertionError(f"after {PAGES} pages the browser is still at {url.split('?')[0]}")


def fill(page, url, user, consents, user_code=None):
    """Where the page's form goes, and what a person would put into it."""
    reader = FormReader()
    reader.feed(page)
    if reader.action is None:
        raise AssertionError(f"there is no form at {url.split('?')[0]}")
    fields = {}
    for kind, name, value in reader.fields:
        if name in ("login", "username") and kind != "submit":
            fields[name] = user["name"]
        elif name == "user_code" and kind != "hidden":
            fields[name] = user_code
        elif kind == "password":
            fields[name] = user["password"]
        elif kind == "hidden" or name == "cancel" and not consents or (name in ("allow", "accept") or value == "accept" or kind == "checkbox") and consents:
            fields[name] = value
    # On a page that asks for nothing but consent, a person who refuses takes the link, or the button without a name.
    if reader.cancel and not consents and "login" not in fields:
        return urljoin(url, reader.cancel), None
    return urljoin(url, reader.action or url), urlencode(fields).encode()


class FormReader(HTMLParser):
    """The first form of a page, and the link that cancels."""

    def __init__(self):
        super().__init__()
        self.action = None
        self.cancel = None
        self.fields = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = attributes.get("action", "")
        if tag == "a" and attributes.get("href", "").endswith("/abort"):
            self.cancel = attributes["href"]
        if tag in ("input", "button") and attributes.get("name"):
            kind = attributes.get("type", "text" if tag == "input" else "submit")
            self.fields.append((kind, attributes["name"], attributes.get("value", "")))


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None
