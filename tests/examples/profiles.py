"""The profiles in examples/profiles, used without code against a server that behaves as oddly as they say."""

import base64
import json
import re
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import programs
from authority import CLIENT_ID, CLIENT_SECRET
from programs import EXAMPLES

ALL = ("rust", "node", "python", "kotlin", "swift")
TOKEN = "0dd-t0ken"
API_KEY = "0dd/k3y+=="
REDIRECT_URI = "http://127.0.0.1/callback"


def form_encoded(host, authority):
    """code-forge, by a server that never answers in JSON."""
    expires_in = forge(host, honours_accept=False)
    assert abs(expires_in - 31536000) < 60, f"a year is assumed, not {expires_in} s"


def form_encoded_unless_json_is_asked_for(host, authority):
    forge(host, honours_accept=True)


def error_with_status_200(host, authority):
    """code-forge's way to refuse a code."""
    with server(honours_accept=False, refuses=True) as odd:
        code, _, err = programs.ended(programs.command(host, "own-profile"), forge_variables(odd))
    assert code != 0 and "bad_verification_code" in err, err
    assert "start the authorization again" in err, f"the profile's hint is missing: {err}"


def nested_expiry(host, authority):
    with server() as odd:
        variables = {"CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET, "REGION": "us", "BASE_URL": odd.url}
        expires_in = used(host, "nested-expiry", variables)
    assert odd.seen == ["POST /auth/us/sessions", "GET /user"] and odd.problems == [], (odd.seen, odd.problems)
    assert abs(expires_in - 7200) < 60, f"two hours, not {expires_in} s"


def api_key_header(host, authority):
    with server() as odd:
        used(host, "api-key", {"API_TOKEN": API_KEY, "BASE_URL": odd.url})
    assert odd.seen == ["GET /user"] and odd.problems == [], (odd.seen, odd.problems)


def forge(host, **behaviour):
    with server(**behaviour) as odd:
        expires_in = used(host, "code-forge", forge_variables(odd))
    asked = ["GET /login/oauth/authorize", "POST /login/oauth/access_token", "GET /user"]
    assert odd.seen == asked and odd.problems == [], (odd.seen, odd.problems)
    return expires_in


def forge_variables(odd):
    return {
        "PROFILE": str(EXAMPLES / "profiles" / "code-forge.json"),
        "CLIENT_ID": CLIENT_ID,
        "CLIENT_SECRET": CLIENT_SECRET,
        "FORGE_URL": odd.url,
        "API_URL": odd.url,
        "REDIRECT_URI": REDIRECT_URI,
    }


def used(host, profile, variables):
    """Runs the example with this profile; the seconds that its token lives."""
    out, err = programs.run(host, "own-profile", {"PROFILE": str(EXAMPLES / "profiles" / f"{profile}.json"), **variables})
    assert out.splitlines()[-1] == "this is you", out
    assert TOKEN not in out + err and API_KEY not in out + err, "printing a token shows it"
    # Each language prints a token in its own way: Unix seconds, or a date.
    expires_at = re.search(r"expires[_ ]?at\W+(?:SystemTime \{ tv_sec: )?(?:(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)|(\d+))", out, re.IGNORECASE)
    day, hour, seconds = expires_at.groups()
    at = int(seconds) if seconds else datetime.fromisoformat(f"{day}T{hour}+00:00").timestamp()
    return at - time.time()


@contextmanager
def server(**behaviour):
    odd = Odd(**behaviour)
    thread = Thread(target=odd.serve_forever)
    thread.start()
    try:
        yield odd
    finally:
        odd.shutdown()
        thread.join()
        odd.server_close()


class Odd(ThreadingHTTPServer):
    def __init__(self, honours_accept=True, refuses=False):
        super().__init__(("127.0.0.1", 0), OddHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.honours_accept, self.refuses = honours_accept, refuses
        self.seen, self.problems, self.challenge = [], [], None

    def check(self, what, is_right):
        if not is_right:
            self.problems.append(what)


class OddHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = self.note()
        if url.path == "/user":
            self.user()
        else:
            query = parse_qs(url.query)
            (self.server.challenge,) = query["code_challenge"]
            self.answer(302, {"location": f"{REDIRECT_URI}?{urlencode({'code': 'c0de', 'state': query['state'][0]})}"})

    def do_POST(self):
        url = self.note()
        form = {name: values for name, values in parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()).items()}
        if url.path == "/login/oauth/access_token":
            self.forge_token(form)
        else:
            self.nested_token(form)

    def forge_token(self, form):
        check = self.server.check
        check("client_id", form.get("client_id") == [CLIENT_ID])
        check("client_secret", form.get("client_secret") == [CLIENT_SECRET])
        check("code", form.get("code") == ["c0de"])
        check("redirect_uri", form.get("redirect_uri") == [REDIRECT_URI])
        check("code_verifier", self.server.challenge is not None and len(form.get("code_verifier", [""])[0]) >= 43)
        check("no Authorization", "authorization" not in self.headers)
        if self.server.refuses:
            answer = {"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."}
        else:
            answer = {"access_token": TOKEN, "scope": "repo,gist", "token_type": "bearer"}
        if self.server.honours_accept and "application/json" in self.headers.get("accept", ""):
            self.answer(200, {"content-type": "application/json"}, json.dumps(answer))
        else:
            self.answer(200, {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, urlencode(answer))

    def nested_token(self, form):
        pair = f"{quote_plus(CLIENT_ID)}:{quote_plus(CLIENT_SECRET)}"
        self.server.check("Basic", self.headers["authorization"] == f"Basic {base64.b64encode(pair.encode()).decode()}")
        self.server.check("grant_type", form.get("grant_type") == ["client_credentials"])
        expires = (datetime.now(timezone.utc) + timedelta(hours=2)).isoformat(timespec="seconds").replace("+00:00", "Z")
        answer = {"ok": True, "data": {"session": {"token": TOKEN, "expires": expires}}}
        self.answer(200, {"content-type": "application/json"}, json.dumps(answer))

    def user(self):
        """The API: the token its profile's way, and no other way."""
        bearer, key = self.headers.get("authorization"), self.headers.get("x-api-key")
        self.server.check("one credential", (bearer, key) in ((f"Bearer {TOKEN}", None), (None, API_KEY)))
        if self.server.challenge is not None:
            self.server.check("X-GitHub-Api-Version", self.headers.get("x-github-api-version") == "2022-11-28")
        self.answer(200, {"content-type": "text/plain"}, "this is you")

    def note(self):
        url = urlsplit(self.path)
        self.server.seen.append(f"{self.command} {url.path}")
        return url

    def answer(self, status, headers, body=""):
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        """Nobody reads it."""


TESTS = [(ALL, test) for test in (form_encoded, form_encoded_unless_json_is_asked_for, error_with_status_200, nested_expiry, api_key_header)]
