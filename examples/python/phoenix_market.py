"""phoenix.market: what a back end hands to its front end, and the iframe's URL. ../phoenix-market-story has the whole of it."""

import json
import math
import os

import remint

IFRAME_URL = os.environ["IFRAME_URL"]

market = remint.Client(
    "phoenix-market",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    token_endpoint=os.environ["TOKEN_ENDPOINT"],
    iframe_url=IFRAME_URL,
    allow_loopback_http=True,
)

# One token serves all users. The answer to the front end must say `Cache-Control: no-store`.
token = market.token()
print(json.dumps({"access_token": token.access_token, "expires_in": math.floor(token.expires_in())}))

# Histories and logs keep URLs, so this one is asked for by name.
url, headers = market.insecure_url(IFRAME_URL)
print(f'<iframe src="{url}"></iframe>')
