"""The local authority as a child process, and a lane of it for each test."""

import itertools
import json
import os
import subprocess
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENT_ID = "demo-client"
CLIENT_SECRET = "s3cret+/%&: odd"
TENANT = "demo-tenant"


class Authority:
    def __enter__(self):
        program = os.environ.get("AUTHORITY")
        command = [program] if program else [*cargo("run", "authority"), "--"]
        self.process = subprocess.Popen(
            [*command, "--exit-with-stdin", "--quiet"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address = json.loads(self.process.stdout.readline())["http"]
        self.numbers = itertools.count(1)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def lane(self):
        return Lane(f"{self.address}/example-{next(self.numbers)}")


class Lane:
    """A corner of the authority that no other test sees."""

    def __init__(self, address):
        self.address = address

    def environment(self, provider):
        """What the example of this provider is told about where the provider is."""
        base = f"{self.address}/{provider}"
        credentials = {"CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET}
        places = {
            "phoenix-security": {"BASE_URL": base},
            "phoenix-wallet": {"TOKEN_ENDPOINT": f"{base}/oauth/token", "BASE_URL": base},
            "phoenix-market": {"TOKEN_ENDPOINT": f"{base}/oauth/token", "IFRAME_URL": f"{base}/embed"},
            "personify": {"TOKEN_ENDPOINT": f"{base}/connect/token", "BASE_URL": base, "TENANT_ID": TENANT},
            "rapidomize": {
                "TOKEN_ENDPOINT": f"{base}/oauth/token",
                "AUTHORIZATION_ENDPOINT": f"{base}/oauth/authorize",
                "ISSUER": base,
                "BASE_URL": base,
            },
        }
        return {**credentials, **places[provider]}

    def control(self, method, what, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/control/{what}", data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def token_requests(self):
        return self.control("GET", "counters")["token"]["total"]

    def api_requests(self):
        return self.control("GET", "counters")["api"]["total"]

    def log(self, kind):
        return self.control("GET", f"log?kind={kind}")

    def fault(self, **rule):
        self.control("POST", "faults", {"endpoint": "token", "count": None, **rule})

    def settings(self, **settings):
        self.control("PUT", "settings", settings)


def cargo(verb, package, *words):
    return [os.environ.get("CARGO", "cargo"), verb, "--quiet", "--package", package, *words]
