"""Phoenix Security: a token by GET with Basic authentication, of a server whose clock is off."""

import os
import sys

import remint
import requests
from remint.requests import Auth

BASE_URL = os.environ.get("BASE_URL", "https://api.securityphoenix.cloud")

security = remint.Client(
    "phoenix-security",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    base_url=BASE_URL,
    allow_loopback_http=True,
    # What happened, for your log. There is never a secret in it.
    on_notice=lambda notice: print(notice, file=sys.stderr),
)

with requests.Session() as session:
    session.auth = Auth(security)
    print(session.get(f"{BASE_URL}/v1/assets").text)
