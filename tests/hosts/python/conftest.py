"""The local authority, and clients that speak to a lane of it. Every test has a lane of its own."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import urlsplit

import pytest
import remint
import remint.core

ROOT = Path(__file__).parents[3]
SECRET = "s3cret+/%&: odd"


class Lane:
    """One lane of the authority: its addresses and its control endpoint."""

    def __init__(self, about: dict[str, Any], name: str) -> None:
        self.about, self.name = about, name

    def url(self, path: str, origin: str = "http") -> str:
        return f"{self.about[origin]}/{self.name}/{path}"

    def control(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection(urlsplit(self.about["http"]).netloc, timeout=10)
        try:
            connection.request(method, f"/{self.name}/control/{path}", None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = response.read()
            assert response.status < 300, answer
            return json.loads(answer) if answer else None
        finally:
            connection.close()

    def faults(self, **rule: Any) -> None:
        self.control("POST", "faults", {"endpoint": "token", **rule})

    def settings(self, **settings: Any) -> None:
        self.control("PUT", "settings", settings)

    def counters(self) -> Any:
        return self.control("GET", "counters")

    def token_requests(self) -> int:
        return int(self.counters()["token"]["total"])

    def wallet(self, kind: Any = remint.Client, origin: str = "http", **options: Any) -> Any:
        """A client of phoenix-wallet."""
        return kind(
            "phoenix-wallet",
            **{
                "client_id": "demo-client",
                "client_secret": SECRET,
                "scope": ["wallets:read"],
                "token_endpoint": self.url("phoenix-wallet/oauth/token", origin),
                "base_url": self.url("phoenix-wallet", origin),
                "allow_loopback_http": True,
                **options,
            },
        )

    def rapidomize(self, kind: Any = remint.Client, **options: Any) -> Any:
        """A client of rapidomize: code flow, rotating refresh tokens, and a header of its own."""
        return kind(
            "rapidomize",
            **{
                "client_id": "demo-client",
                "client_secret": SECRET,
                "token_endpoint": self.url("rapidomize/oauth/token"),
                "authorization_endpoint": self.url("rapidomize/oauth/authorize"),
                "base_url": self.url("rapidomize"),
                "auth_header": "x-rpz-auth",
                "allow_loopback_http": True,
                **options,
            },
        )

    def api(self, path: str = "v1/wallets") -> str:
        return self.url(f"phoenix-wallet/{path}")


class ShiftedClock:
    """The host's clocks, moved on by hand."""

    def __init__(self) -> None:
        self.shift = 0

    def advance(self, seconds: float) -> None:
        self.shift += round(seconds * 1000)

    def wall(self) -> int:
        return remint.core.now()[0] + self.shift

    def boot(self) -> int:
        return remint.core.now()[1] + self.shift


@pytest.fixture(scope="session")
def authority() -> Iterator[dict[str, Any]]:
    program = os.environ.get("AUTHORITY")
    command = [program] if program else ["cargo", "run", "--quiet", "--package", "authority", "--"]
    process = subprocess.Popen(
        [*command, "--exit-with-stdin", "--quiet"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    about = json.loads(process.stdout.readline())
    yield about
    process.stdin.close()
    process.wait(10)


_lanes = itertools.count(1)


@pytest.fixture
def lane(authority: dict[str, Any]) -> Lane:
    return Lane(authority, f"python-{os.getpid()}-{next(_lanes)}")


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()
