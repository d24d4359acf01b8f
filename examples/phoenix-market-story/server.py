"""Phoenix's whole story, in Python: one token for all users, handed to the front end, and never the secret."""

import json
import math
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import remint

IFRAME_URL = os.environ["IFRAME_URL"]
ALLOWED_ORIGINS = set(os.environ.get("ALLOWED_ORIGINS", "").split())

# One client for the whole process: however many users come, one token is asked for, and the next one in good time.
PHOENIX = remint.Client(
    "phoenix-market",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    token_endpoint=os.environ["TOKEN_ENDPOINT"],
    iframe_url=IFRAME_URL,
    allow_loopback_http=True,
)

# The token stays good for at least this long after the page has it. No cron job can promise that.
MIN_TTL = 300


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            if self.path == "/":
                page = Path(__file__).with_name("page.html").read_bytes()
                self.answer(200, {"content-type": "text/html; charset=utf-8"}, page)
            elif self.path == "/phoenix":
                self.hand_out()
            else:
                self.answer(404, {})
        except remint.RemintError as error:
            # The code is for whoever runs this; the page learns only when to come back.
            print(error.code, error, file=sys.stderr)
            self.answer(503, {"retry-after": str(math.ceil(error.retry_after or 1))})

    def hand_out(self) -> None:
        origin = self.headers.get("origin")
        if origin is not None and origin not in ALLOWED_ORIGINS:
            self.answer(403, {})
            return
        token = PHOENIX.token(min_ttl=MIN_TTL)
        url, headers = PHOENIX.insecure_url(IFRAME_URL)
        headers = {**headers, "vary": "origin", "content-type": "application/json"}
        if origin is not None:
            headers["access-control-allow-origin"] = origin
        body = {"iframe_url": url, "expires_in": math.floor(token.expires_in())}
        self.answer(200, headers, json.dumps(body).encode())

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Handler)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
