"""What stands before a server that can't be asked how many requests it got: passes on what comes, and counts. Beside it is an API that asks the server who may come in."""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade", "proxy-connection"}


class Front:
    """Listens on a free loopback port. `token_paths` are what it counts, `is_active` says whether a token is good."""

    def __init__(self, token_paths, is_active, jwks):
        self.token_paths = token_paths
        self.is_active = is_active
        self.jwks = jwks
        self.counts = {"token": 0, "api": 0}
        self.forgotten = set()
        self.lock = threading.Lock()
        self.port = None
        # Told what a server sends to the device of a person whom it asks something.
        self.on_channel = None
        handler = type("Handler", (Handler,), {"front": self})
        self.server = Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def pass_on_to(self, port):
        """Where the server listens, once that is known."""
        self.port = port

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def count(self, name):
        with self.lock:
            self.counts[name] += 1

    def addresses(self):
        return {name: f"{self.url}/peers/{name}" for name in ("api", "forget", "counts")}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urlsplit(self.path).path
        own = {"/peers/api": self.api, "/peers/counts": self.counts, "/peers/forget": self.forget}.get(path)
        if own:
            own(body)
        elif path == "/peers/channel":
            authorization = self.headers["authorization"]
            self.send_json({}, 201)
            self.front.on_channel(authorization)
        elif path.startswith("/peers/jwks/"):
            self.send_json(self.front.jwks(path.removeprefix("/peers/jwks/")))
        else:
            if path in self.front.token_paths:
                self.front.count("token")
            self.pass_on(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def pass_on(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.front.port, timeout=30)
        try:
            # The server sees the address that the client asked for, and answers with it.
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
        finally:
            connection.close()
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def api(self, _):
        """Who may come in is the server's decision."""
        self.front.count("api")
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token not in self.front.forgotten and self.front.is_active(token):
            self.send_json({})
            return
        self.send_response_only(401)
        self.send_header("www-authenticate", 'Bearer realm="peers", error="invalid_token"' if token else 'Bearer realm="peers"')
        self.send_header("content-length", "0")
        self.end_headers()

    def counts(self, _):
        self.send_json(self.front.counts)

    def forget(self, body):
        self.front.forgotten.add(body.decode())
        self.send_json({})

    def send_json(self, value, status=200):
        content = json.dumps(value).encode()
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing: request lines hold codes."""
