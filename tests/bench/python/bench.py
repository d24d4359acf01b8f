"""Measures us and the peers in one run, and prints how they compare."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import subprocess
import sys
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from itertools import count
from pathlib import Path
from secrets import token_urlsafe
from statistics import median
from time import monotonic, perf_counter, time
from urllib.parse import urlencode

import jwt
from authlib.integrations.requests_client import OAuth2Session as Authlib
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from google.oauth2.credentials import Credentials as Google
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey
from jwt.algorithms import ECAlgorithm
from measure import AsyncWork, Work, compare, grouped, limits, per_second, report
from msal import ConfidentialClientApplication
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session as RequestsOauthlib
from sharing import sharing

import remint
import remint.core
from remint._signing import to_signer

ENDPOINT = "https://auth.phoenixwallet.io/oauth/token"
API = "https://api.phoenixwallet.io/v1/wallets"
ID, SECRET, SCOPE = "wallet-client", "s3cr3t-of-the-wallet", "wallets:read wallets:write"
TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.".ljust(800, "a")
ANSWER = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600, "scope": SCOPE}
JSON_HEADERS = [("content-type", "application/json")]
AUDIENCE = "https://auth.phoenixwallet.io"


def main() -> None:
    print(f"Python {platform.python_version()}")
    cached_token()
    awaited()
    exchange()
    proofs()
    assertions()
    cold_start()
    size()
    keys()
    sharing()


def cached_token() -> None:
    client = remint.Client("phoenix-wallet", client_id=ID, client_secret=SECRET, scope=SCOPE, http=http)
    client.token()
    manager = TokenManager(ID, SECRET)
    manager.get_token()

    expires = time() + 3600
    authlib = Authlib(ID, SECRET, token={**ANSWER, "expires_at": expires}, token_endpoint=ENDPOINT)
    requests_oauthlib = RequestsOauthlib(ID, token={**ANSWER, "expires_at": expires})
    google = Google(TOKEN, expiry=(datetime.now(timezone.utc) + timedelta(hours=1)).replace(tzinfo=None))
    msal = ConfidentialClientApplication(
        ID, client_credential=SECRET, authority=AUTHORITY, http_client=MsalHttp(), instance_discovery=False
    )
    scopes = ["https://api.phoenixwallet.io/.default"]
    assert msal.acquire_token_for_client(scopes)["access_token"] == TOKEN

    wall, boot = time() + 3600, monotonic() + 3600

    def two_clocks() -> str | None:
        return TOKEN if time() < wall and monotonic() < boot else None

    compare(
        "Cached token",
        Work("`client.token()`", client.token),
        # At most 0.6 × what people write themselves.
        Work("TokenManager by hand (phoenix-wallet's sample)", manager.get_token, 1.67),
        Work("two clock reads", two_clocks),
        Work("Authlib `ensure_active_token()`", lambda: authlib.ensure_active_token(authlib.token), 1),
        Work("requests-oauthlib, per request", lambda: requests_oauthlib._client.add_token(API, http_method="GET"), 1),
        Work("google-auth `before_request()`", lambda: google.before_request(None, "GET", API, {}), 1),
        Work("msal `acquire_token_for_client()`", lambda: msal.acquire_token_for_client(scopes), 1),
        Work("our `peek()`", client.peek),
    )


def awaited() -> None:
    loop = asyncio.new_event_loop()
    client = remint.AsyncClient("phoenix-wallet", client_id=ID, client_secret=SECRET, scope=SCOPE, http=http)

    async def first() -> None:
        await client.token()

    loop.run_until_complete(first())
    manager = TokenManager(ID, SECRET)

    async def by_hand() -> str:
        return manager.get_token()

    compare(
        "Cached token, awaited",
        AsyncWork("`await client.token()`", client.token, loop),
        AsyncWork("TokenManager by hand, `async`", by_hand, loop, 1),
    )
    loop.close()


def exchange() -> None:
    options = {"profile": "phoenix-wallet", "client_id": ID, "client_secret": SECRET, "scope": SCOPE.split()}
    core, now = remint.core.Core(options), remint.core.now()
    text = json.dumps(ANSWER)
    body = text.encode()

    def ours() -> object:
        built = core.build({"client_credentials": {}})
        sent = built.method, built.url, built.headers, built.body
        return sent, built.finish(200, JSON_HEADERS, body, now)

    def oauthlib() -> object:
        client = BackendApplicationClient(ID)
        sent = client.prepare_token_request(
            ENDPOINT, scope=SCOPE, include_client_id=True, client_secret=SECRET
        )
        return sent, client.parse_request_body_response(body.decode(), scope=SCOPE)

    compare("Build a request, read an 800-byte token", Work("`core.build()`, `finish()`", ours), Work("oauthlib", oauthlib, 8))


def proofs() -> None:
    """A DPoP proof (RFC 9449) for one API request, ES256. All sign with `cryptography`."""
    key = remint.generate_key("ES256")
    client = remint.Client("phoenix-wallet", client_id=ID, client_secret=SECRET, scope=SCOPE, dpop=key, http=bound)
    assert "DPoP" in client.headers("GET", API)
    public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": public}
    jose_key = ECKey.import_key(key)

    def claims() -> dict[str, object]:
        ath = urlsafe_b64encode(sha256(TOKEN.encode()).digest()).rstrip(b"=").decode()
        return {"jti": token_urlsafe(16), "htm": "GET", "htu": API, "iat": int(time()), "ath": ath}

    per_second(
        "A DPoP proof for one API request, ES256",
        Work("`client.headers()`", lambda: client.headers("GET", API)),
        Work("PyJWT `encode()`", lambda: jwt.encode(claims(), key, "ES256", header)),
        Work("joserfc `encode()`", lambda: joserfc_jwt.encode(header, claims(), jose_key)),
        Work("the signature alone", lambda: key.sign(b"x" * 400, ECDSA(SHA256()))),
    )


def assertions() -> None:
    """A token request with `private_key_jwt` (RFC 7523), from the question to the bytes on the wire."""
    profile = {
        "name": "signed",
        "title": "Signed",
        "grants": ["client_credentials"],
        "token": {"endpoint": ENDPOINT, "client_auth": ["private_key_jwt"]},
        "api_origins": ["https://api.phoenixwallet.io"],
    }
    key = remint.generate_key("ES256")
    signer = to_signer({"key": key, "kid": "1"})
    options = {"profile": profile, "client_id": ID, "assertion_audience": AUDIENCE, "signing_key": signer.told}
    core, tokens = remint.core.Core(options), count(1)
    before, _, after = json.dumps({**ANSWER, "access_token": "{}"}).partition("{}")
    jose_key = ECKey.import_key(key)

    def ours() -> object:
        now = remint.core.now()
        (sign,) = core.handle({"ask": {"force": True}}, now, os.urandom(32))["operations"]
        signature = urlsafe_b64encode(signer.sign(sign["input"].encode(), "ES256")).rstrip(b"=").decode()
        (send,) = core.handle({"signed": {"op": sign["sign"], "signature": signature}}, now, os.urandom(32))["operations"]
        # The same token again would be a reason to wait before the next request.
        body = f"{before}{next(tokens)}{after}".encode()
        core.received(send["send"], 200, JSON_HEADERS, body, now, os.urandom(32))
        return send["request"]["body"]

    def form(assertion: str) -> str:
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return urlencode({"grant_type": "client_credentials", "client_assertion_type": kind, "client_assertion": assertion})

    def claims() -> dict[str, object]:
        now = int(time())
        return {"iss": ID, "sub": ID, "aud": AUDIENCE, "jti": token_urlsafe(16), "iat": now, "exp": now + 60}

    header = {"typ": "client-authentication+jwt", "alg": "ES256", "kid": "1"}
    assert "client_assertion=" in str(ours())
    per_second(
        "A token request with a `private_key_jwt` assertion, ES256",
        Work("the core and its signer, the answer read", ours),
        Work("PyJWT `encode()`, `urlencode()`", lambda: form(jwt.encode(claims(), key, "ES256", header))),
        Work("joserfc `encode()`, `urlencode()`", lambda: form(joserfc_jwt.encode(header, claims(), jose_key))),
    )


def cold_start() -> None:
    """Fresh processes, each timing one import."""
    first = f"module.Client('phoenix-wallet', client_id='a', client_secret='b', http=lambda *_: (200, {JSON_HEADERS}, {json.dumps(ANSWER).encode()})).token()"
    imports = [
        ("remint", "remint", ""),
        ("remint, and a first token", "remint", first),
        ("oauthlib", "oauthlib.oauth2", ""),
        ("requests-oauthlib", "requests_oauthlib", ""),
        ("google-auth", "google.oauth2.credentials", ""),
        ("msal", "msal", ""),
        ("Authlib", "authlib.integrations.requests_client", ""),
    ]

    def run(name: str, then: str) -> float:
        program = (
            "import time\nstart = time.perf_counter()\n"
            f"from importlib import import_module\nmodule = import_module({name!r})\n{then}\nprint(time.perf_counter() - start)"
        )
        return float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout) * 1e3

    # The first round reads files that are not in memory yet.
    rounds = [[run(name, then) for _, name, then in imports] for _ in range(16)][1:]
    report("Cold start: `import` in a fresh process", "ms", rounds, *[Work(name, lambda: None) for name, _, _ in imports])
    limits("Cold start", [("`import`", median(times[0] for times in rounds), 12, "ms")])


def size() -> None:
    root = Path(__file__).parents[3]
    wheel = max((root / "target/packages").glob("remint-*.whl"), key=os.path.getmtime)
    installed = sum(path.stat().st_size for path in Path(remint.__file__).parent.rglob("*") if path.suffix != ".pyc")
    limits("Size", [("the wheel", wheel.stat().st_size / 1e3, 700, "KB"), ("installed", installed / 1e3, None, "KB")])


def keys() -> None:
    """The cache's cost for each key, and an acquire's as keys grow."""
    most, length = 100_000, 128
    options = {"profile": "phoenix-wallet", "client_id": ID, "client_secret": SECRET, "policy": {"max_keys": 10_000_000}}
    core = remint.core.Core(options)
    now, entropy = (1_700_000_000_000, 1_000_000), bytes(32)
    body = json.dumps({"access_token": TOKEN[:length], "token_type": "Bearer", "expires_in": 3600}).encode()
    asks = [f'{{"ask":{{"want":{{"subject":"user-{key}"}}}}}}' for key in range(most)]
    before, added, rows = resident(), 0, []
    for count in (10, 100, 1_000, 10_000, most):
        for ask in asks[added:count]:
            (send,) = core.handle(ask, now, entropy)["operations"]
            core.received(send["send"], 200, JSON_HEADERS, body, now, entropy)
        added, times = count, []
        for _ in range(15):
            chosen = random.choices(asks[:count], k=500)
            start = perf_counter()
            for ask in chosen:
                core.handle(ask, now, entropy)
            times.append((perf_counter() - start) / 500 * 1e9)
        rows.append((count, median(times)))
    print("\n| Keys | ns for an acquire through the core | of that with 10 keys |\n|---:|---:|---:|")
    for count, nanoseconds in rows:
        print(f"| {count:,} | {grouped(nanoseconds)} | {nanoseconds / rows[0][1]:.2f} × |")
    print(f"\nMemory for each of {most:,} keys, beside the token's own bytes: {(resident() - before) / most - length:.0f} bytes.")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def http(request: dict[str, object], timeout: float, cap: int) -> tuple[int, list[tuple[str, str]], bytes]:
    return 200, JSON_HEADERS, json.dumps(ANSWER).encode()


def bound(request: dict[str, object], timeout: float, cap: int) -> tuple[int, list[tuple[str, str]], bytes]:
    return 200, JSON_HEADERS, json.dumps({**ANSWER, "token_type": "DPoP"}).encode()


class TokenManager:
    """As phoenix-wallet's documentation has it, in Python and but for the network."""

    def __init__(self, client_id: str, client_secret: str) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self.token = None
        self.expires_at = None

    def get_token(self) -> str:
        # With a buffer of five minutes.
        if self.token and self.expires_at > time() + 300:
            return self.token
        data = dict(ANSWER)
        self.token = data["access_token"]
        self.expires_at = time() + data["expires_in"]
        return self.token


AUTHORITY = "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111"


class MsalHttp:
    """What msal asks at its start, and a token."""

    def get(self, url: str, **_: object) -> MsalReply:
        return MsalReply(
            {
                "issuer": f"{AUTHORITY}/v2.0",
                "authorization_endpoint": f"{AUTHORITY}/oauth2/v2.0/authorize",
                "token_endpoint": f"{AUTHORITY}/oauth2/v2.0/token",
            }
        )

    def post(self, url: str, **_: object) -> MsalReply:
        return MsalReply(ANSWER)

    def close(self) -> None:
        pass


class MsalReply:
    def __init__(self, body: dict[str, object]) -> None:
        self.status_code, self.headers, self.text = 200, {}, json.dumps(body)

    def raise_for_status(self) -> None:
        pass


if __name__ == "__main__":
    main()
