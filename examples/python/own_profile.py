"""A provider of your own, without a line of code: PROFILE names a document, such as those in ../profiles."""

import os
from pathlib import Path
from urllib.request import Request, urlopen

import remint

client = remint.Client(
    Path(os.environ["PROFILE"]).read_text("utf-8"),
    client_id=os.environ.get("CLIENT_ID"),
    client_secret=os.environ.get("CLIENT_SECRET"),
    api_token=os.environ.get("API_TOKEN"),
    # What the documents declare as their variables.
    base_url=os.environ.get("BASE_URL"),
    region=os.environ.get("REGION"),
    forge_url=os.environ.get("FORGE_URL"),
    api_url=os.environ.get("API_URL"),
    allow_loopback_http=True,
)

# Only where a person has to authorize the program.
if "REDIRECT_URI" in os.environ:
    url, session = client.authorization_url(os.environ["REDIRECT_URI"])
    print(f"Open {url}")
    client.exchange(input("Paste the address that the browser ends up at:\n"), session)

print(client.token())
url = os.environ.get("API_URL") or os.environ["BASE_URL"]
with urlopen(Request(f"{url}/user", headers=client.headers("GET", f"{url}/user"))) as answer:
    print(answer.read().decode())
