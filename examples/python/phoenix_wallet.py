"""Phoenix Wallet: the wallets of one client, with the scopes that are needed and no others."""

import os

import httpx
import remint
from remint.httpx import Auth

BASE_URL = os.environ.get("BASE_URL", "https://api.phoenixwallet.io")

wallet = remint.Client(
    "phoenix-wallet",
    client_id=os.environ["CLIENT_ID"],
    # A function is asked at each token request: a rotated secret needs no restart.
    client_secret=lambda: os.environ["CLIENT_SECRET"],
    scope=["wallets:read"],
    token_endpoint=os.environ.get("TOKEN_ENDPOINT"),
    base_url=BASE_URL,
    allow_loopback_http=True,
)

with httpx.Client(auth=Auth(wallet)) as http:
    print(http.get(f"{BASE_URL}/v1/wallets").text)
