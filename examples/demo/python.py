"""The demo's Python side: one client of one provider, told line by line what to do. `cargo xtask demo` runs it."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import remint
import requests
from remint.requests import Auth

provider, base = sys.argv[1:]
options = json.loads(os.environ["DEMO_OPTIONS"])
api = f"{base}/v1/wallets"


class Demo:
    def __init__(self):
        self.new()

    def new(self):
        """A client that holds nothing yet."""
        self.client = remint.Client(provider, **options)
        return {}

    def subject(self, name, refresh_token):
        """The client for one user, whose refresh token comes from a database."""
        self.client = self.client.with_subject(name, refresh_token=refresh_token)
        return {}

    def sign_in(self):
        url, session = self.client.authorization_url(options["redirect_uri"])
        consent = requests.get(url, allow_redirects=False)
        return about(self.client.exchange(consent.headers["Location"], session))

    def token(self):
        return about(self.client.token())

    def call(self):
        return {"status": requests.get(api, auth=Auth(self.client)).status_code}

    def crowd(self, size):
        gate = Barrier(int(size))

        def caller():
            gate.wait()
            return self.client.token().access_token

        with ThreadPoolExecutor(int(size)) as threads:
            callers = [threads.submit(caller) for _ in range(int(size))]
        return {"tokens": len({caller.result() for caller in callers})}


def about(token):
    return {"expires_in": token.expires_in()}


demo = Demo()
for line in sys.stdin:
    step, *words = line.split()
    try:
        result = {"ok": True, **getattr(demo, step)(*words)}
    except Exception as error:
        result = {"ok": False, "detail": f"{type(error).__name__}: {error}"}
    print(json.dumps({"provider": provider, "step": step, **result}), flush=True)
