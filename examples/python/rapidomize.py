"""Rapidomize: a person authorizes the App in a browser; from then on the refresh token does."""

import os
import sys

import remint
import requests
from remint.requests import Auth

BASE_URL = os.environ["BASE_URL"]

app = remint.Client(
    "rapidomize",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    token_endpoint=os.environ["TOKEN_ENDPOINT"],
    authorization_endpoint=os.environ["AUTHORIZATION_ENDPOINT"],
    issuer=os.environ.get("ISSUER"),
    auth_header="x-rpz-auth",
    base_url=BASE_URL,
    allow_loopback_http=True,
)


def save(refresh_token: str) -> None:
    """A database would take it, before anybody gets the access token that came with it."""
    print("a new refresh token for ann", file=sys.stderr)


url, session = app.authorization_url("http://127.0.0.1/callback")
print(f"Open {url}")
callback = input("Paste the address that the browser ends up at:\n")
app.exchange(callback, session, subject="ann", on_rotated=save)

ann = app.with_subject("ann")
print(requests.get(f"{BASE_URL}/v1/devices", auth=Auth(ann)).text)
