"""The local authority, and a corner of it for each case: what it saw is what counts."""

import base64
import hashlib
import json
import os
import urllib.error
import urllib.request
from pathlib import Path

from authority import CLIENT_ID, CLIENT_SECRET, Authority, Lane

PROFILE = json.loads((Path(__file__).parent / "profile.json").read_text())
CREDENTIALS = "phoenix-wallet"
ROTATING = "rapidomize"

# How `cargo xtask` names the program that it has built.
if built := os.environ.get("REMINT_AUTHORITY"):
    os.environ["AUTHORITY"] = built


class Corner(Lane):
    """A lane: its clients, its counters, its faults."""

    def __init__(self, address, provider=CREDENTIALS):
        super().__init__(address)
        self.provider = provider
        self.base_url = f"{address}/{provider}"
        self.api = f"{self.base_url}/v1/things"

    @property
    def options(self):
        """What a client of it is told."""
        grant = "client_credentials" if self.provider == CREDENTIALS else "authorization_code"
        return {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "base_url": self.base_url, "grant": grant}

    def lives(self, seconds):
        """How long its tokens are good."""
        self.settings(lifetime_s=seconds)

    def seen(self):
        return self.control("GET", "counters")

    def running(self):
        """Token requests that it holds at this moment."""
        return self.seen()["token"]["running"]

    def order(self):
        """The number of each access token, by its hash: 1 for the first that was given."""
        given = [entry["issued_sha256"] for entry in self.log("token") if entry["issued_sha256"]]
        return {digest: number for number, digest in enumerate(given, 1)}

    def numbers(self, tokens):
        order = self.order()
        return [order.get(hashlib.sha256(token["access_token"].encode()).hexdigest()) for token in tokens]

    def hold(self, **rule):
        """The next token request waits until `release`."""
        self.fault(hold=True, **{"count": 1, **rule})

    def release(self):
        self.control("POST", "release")

    def mint(self, subject="ann"):
        return self.control("POST", "mint", {"provider": self.provider, "subject": subject})["refresh_token"]

    def accepts(self, token):
        """Whether its API takes the token."""
        request = urllib.request.Request(self.api, headers={"authorization": f"Bearer {token['access_token']}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            assert error.code == 401, error
            return False


class LocalAuthority(Authority):
    def corner(self, provider=CREDENTIALS):
        return Corner(f"{self.address}/fleet-{next(self.numbers)}", provider)


def key_text(seed):
    """A key of 32 bytes, as `store_keys` has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(seed.encode()).digest()).rstrip(b"=").decode()
