"""The authorization servers: installed once into the user's cache folder, started on free loopback ports, ended with this program."""

import contextlib
import fcntl
import hashlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import browser

HERE = Path(__file__).parent
USER = {"name": "ann", "password": "a person's password"}

# Every character that the two encodings of Basic, forms and URLs treat differently.
ODD = "we:ird +%&~"

CLIENTS = {
    "odd id:basic": {"secret": ODD, "method": "client_secret_basic", "grant": "client_credentials"},
    "odd id+post": {"secret": ODD + "=?#", "method": "client_secret_post", "grant": "client_credentials"},
    # Basic without form-encoding can't be decoded.
    "percent": {"secret": "100%&more", "method": "client_secret_basic", "grant": "client_credentials"},
    # Read as form-encoded, these are other characters.
    "plus": {"secret": "one+two%20three", "method": "client_secret_basic", "grant": "client_credentials"},
    "web": {"secret": ODD + "/web", "method": "client_secret_basic", "grant": "authorization_code"},
    "public": {"secret": None, "method": "none", "grant": "authorization_code"},
}


class Peer:
    """One running server."""

    def __init__(self, name, kind, command, folder, options=None):
        self.name = name
        self.kind = kind
        self.profile = json.loads((HERE / kind / "profile.json").read_text())
        self.log = tempfile.TemporaryFile("w+")
        command = [*command, json.dumps({"clients": CLIENTS, "user": USER, **(options or {})})]
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.addresses = {}

    def wait_until_ready(self, seconds=60):
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(seconds) else ""
        if not line:
            self.log.seek(0)
            raise SystemExit(f"{self.name} did not start:\n{self.log.read()[-4000:]}")
        self.addresses = json.loads(line)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    @property
    def base_url(self):
        return self.addresses["api"].removesuffix("/peers/api")

    def authorize(self, url, **manners):
        return browser.authorize(url, self.addresses["redirect_uri"], USER, **manners)

    def revoke(self, token, client_id):
        """RFC 7009."""
        self.post("revocation_endpoint", client_id, token=token)

    def is_active(self, token, client_id):
        """RFC 7662."""
        return json.loads(self.post("introspection_endpoint", client_id, token=token))["active"]

    def forget(self, token):
        """Ends an access token before its time, and nothing else with it: no endpoint of theirs does that."""
        urllib.request.urlopen(urllib.request.Request(self.addresses["forget"], token.encode()), timeout=10).close()

    @contextlib.contextmanager
    def sees(self, **expected):
        """Checks how many requests arrive meanwhile: `token=1`, `api=2`."""
        before = self.counts()
        yield
        after = self.counts()
        seen = {name: after[name] - before[name] for name in expected}
        assert seen == expected, f"the server saw the requests {seen} where {expected} were expected"

    def counts(self):
        with urllib.request.urlopen(self.addresses["counts"], timeout=10) as answer:
            return json.load(answer)

    def post(self, endpoint, client_id, **form):
        secret = CLIENTS[client_id]["secret"]
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
        request = urllib.request.Request(self.addresses[endpoint], urlencode(form).encode())
        request.add_header("authorization", f"Basic {b64encode(pair.encode()).decode()}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()


@contextlib.contextmanager
def running():
    """All servers, started side by side."""
    packages, interpreter = install_oidc_provider(), install_django_oauth_toolkit()
    with contextlib.ExitStack() as stack:
        # Node looks for packages beside the program, so a copy of it is put beside the installed ones.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="remint-peer-")))
        shutil.copy(HERE / "oidc-provider" / "server.mjs", folder)
        (folder / "node_modules").symlink_to(packages)
        django = [interpreter, str(HERE / "django-oauth-toolkit" / "server.py")]
        peers = []
        for peer in (
            lambda: Peer("oidc-provider", "oidc-provider", ["node", "server.mjs"], folder),
            lambda: Peer("django-oauth-toolkit", "django-oauth-toolkit", django, folder, {"grace": 0}),
            lambda: Peer("django-oauth-toolkit, grace 60 s", "django-oauth-toolkit", django, folder, {"grace": 60}),
        ):
            peers.append(peer())
            stack.callback(peers[-1].stop)
        for peer in peers:
            peer.wait_until_ready()
        peers[-1].profile["token"]["rotation_grace"] = 60
        yield peers


def install_oidc_provider():
    def install(folder, source):
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(source / name, folder)
        run(["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"], folder)

    return cached("oidc-provider", "package-lock.json", install) / "node_modules"


def install_django_oauth_toolkit():
    def install(folder, source):
        run([sys.executable, "-m", "venv", str(folder)], folder)
        pip = ["bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        run([*pip, "--requirement", str(source / "requirements.txt")], folder)

    return str(cached("django-oauth-toolkit", "requirements.txt", install) / "bin" / "python")


def cached(kind, list_name, install):
    """A folder named after what is in it, filled unless it is there; two runs don't fill the same one at once."""
    source = HERE / kind
    inputs = (source / list_name).read_bytes() + sys.version.encode()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remint"
    folder = base / f"peer-{kind}-{hashlib.sha256(inputs).hexdigest()[:8]}"
    base.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            print(f"installing {kind} into {folder} (about 30 s)", flush=True)
            started = time.monotonic()
            install(folder, source)
            (folder / ".ready").touch()
            print(f"installed in {time.monotonic() - started:.0f} s", flush=True)
    return folder


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{done.stdout[-4000:]}")
