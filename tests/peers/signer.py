"""Keys held elsewhere, as a key management service holds them: whoever has the address gets signatures, and nobody gets a key."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Signer:
    """Answers a POST of what is to be signed with the raw signature."""

    def __init__(self, keys):
        handler = type("Handler", (Handler,), {"keys": keys})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        signed = self.keys[self.path[1:]].sign(self.rfile.read(int(self.headers["content-length"])))
        self.send_response_only(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("content-length", str(len(signed)))
        self.end_headers()
        self.wfile.write(signed)

    def log_message(self, *_):
        """Nothing."""
