"""The drivers: one small program per language that does to its `Client` what it is told, line by line."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, urlsplit

from clients import CLIENTS
from keys import public_jwk

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

# What `--hosts` takes, and the clients that it stands for.
HOSTS = {
    "rust": ["rust", "tokio"],
    "node": ["node"],
    "python": ["python", "asyncio"],
    "kotlin": ["kotlin", "java"],
    "swift": ["swift"],
}


def command(name):
    """How a driver is started."""
    if name in HOSTS["rust"]:
        return [os.environ.get("CARGO", "cargo"), "run", "--quiet", "--package", "peers-rust", "--", name]
    if name == "node":
        return ["node", str(HERE / "drivers" / "node.mjs")]
    if name in HOSTS["kotlin"]:
        target = HERE / "drivers" / "kotlin" / "target"
        return ["java", "-cp", f"{target / 'classes'}:{(target / 'classpath.txt').read_text().strip()}", "peers.DriverKt", name]
    if name == "swift":
        return [str(ROOT / "target/installed/swift/run"), str(ROOT / "target/swift/tests/debug/PeersSwift")]
    return [os.environ.get("REMINT_PYTHON") or sys.executable, str(HERE / "drivers" / "python.py"), name]


class Refused(Exception):
    """A typed error of the client under test."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.error = error


class Host:
    """A driver that runs. What it writes besides its answers is kept, and searched for secrets."""

    def __init__(self, name):
        self.name = name
        self.secrets = set()
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command(name), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.answers = queue.Queue()
        self.clients = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def tell(self, verb, seconds=60, **arguments):
        """Runs one verb, and gives what it answers. Raises `Refused` for a typed error."""
        # A pipe that is closed shows in the answer that doesn't come.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"verb": verb, **arguments}) + "\n")
            self.process.stdin.flush()
        try:
            line = self.answers.get(timeout=seconds)
        except queue.Empty:
            self.process.kill()
            raise AssertionError(f"`{verb}` took more than {seconds} s") from None
        if line is None:
            self.answers.put(None)
            raise AssertionError(f"the driver ended: {self.logged()[-2000:]}")
        answer = json.loads(line)
        if "broken" in answer:
            raise AssertionError(f"`{verb}` broke the driver: {answer['broken']}")
        if "error" in answer:
            self.check(answer["error"])
            del answer["error"]["shown"]
            raise Refused(answer["error"])
        return answer["ok"]

    def check(self, shown):
        """That nothing which people may see holds a secret."""
        shown = json.dumps(shown, ensure_ascii=False)
        for secret in self.secrets:
            assert secret not in shown, f"a secret is shown: {shown.replace(secret, '<SECRET>')}"

    def stop(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the driver did not end when its input did: {self.logged()[-500:]}") from None
        self.check(self.logged())

    def logged(self):
        self.log.seek(0)
        return self.log.read()

    def client(self, peer, client_id, *, lossy=False, profile=None, signs_as=None, **options):
        """A new client of the peer's. `signs_as` names another key than its own."""
        client = CLIENTS[client_id]
        secret = client["secret"]
        if secret is not None:
            pairs = [f"{client_id}:{secret}", f"{quote_plus(client_id)}:{quote_plus(secret)}"]
            self.secrets.update([secret, quote_plus(secret), *(b64encode(pair.encode()).decode() for pair in pairs)])
            options["client_secret"] = secret
        if own := peer.keys.signing.get(client_id):
            name = signs_as or client_id
            key = peer.keys.signing[name]
            self.secrets.update(key.pem.splitlines()[1:-1])
            # In PEM for a language that has something to read it with, and otherwise held elsewhere.
            options["signing_key"] = {"pem": key.pem, "alg": key.alg, "kid": own.kid, "url": f"{peer.keys.signer.url}/{name}"}
        if certificate := peer.keys.certificates.get(client_id):
            options["client_certificate"] = {"certificate": str(certificate.path), "key": str(certificate.key_path)}
            options["ca"] = str(peer.keys.authority.path)
        if client.get("dpop"):
            options.setdefault("dpop", {"generate": True})
            if self.name in HOSTS["rust"]:
                # Rust has nothing to make a key with, so there it is held elsewhere.
                key = peer.keys.signing["proofs"]
                options["dpop"] = {"alg": key.alg, "jwk": public_jwk(key.private.public_key()), "url": f"{peer.keys.signer.url}/proofs"}
        if client.get("alg"):
            options.setdefault("assertion_audience", peer.assertion_audience)
        options = {"client_auth": peer.basic if client["method"] == "client_secret_basic" else client["method"], "grant": client["grant"], **options}
        return self.make(peer, profile, lossy, client_id=client_id, **options)

    def make(self, peer, profile=None, lossy=False, **options):
        """A new client with these credentials."""
        self.clients += 1
        name = f"client {self.clients}"
        options = {"base_url": peer.base_url, "allow_loopback_http": True, **options}
        self.tell("client", name=name, profile=profile or peer.profile, options=options, lossy=lossy)
        return RemoteClient(self, name)

    def register(self, peer, request, profile=None):
        """What the server has registered now; nothing once that is deleted."""
        (members,) = request.values()
        self.hide(members)
        options = {"base_url": peer.base_url, "allow_loopback_http": True}
        registered = self.tell("register", profile=profile or peer.profile, options=options, request=request)
        if registered is not None:
            self.hide(registered)
            self.check(registered.pop("shown"))
        return registered

    def hide(self, members):
        """What of them is a secret."""
        names = "initial_access_token", "registration_access_token", "client_secret"
        self.secrets.update(members[name] for name in names if members.get(name))


class RemoteClient:
    """A client in the driver: the verbs of `Client`."""

    def __init__(self, host, name):
        self.host = host
        self.name = name

    def token(self, **arguments):
        return self.keep(self.host.tell("token", client=self.name, **arguments))

    def tokens(self, callers):
        """What so many callers get at once."""
        return [self.keep(token) for token in self.host.tell("tokens", client=self.name, callers=callers)]

    def call(self, url, **words):
        """The status of one API request."""
        return self.host.tell("call", client=self.name, url=url, **words)

    def authorize(self, peer, scope="read", words=None, **manners):
        """The session, and the URL that the browser comes back with."""
        answer = self.host.tell("authorization_url", client=self.name, redirect_uri=peer.addresses["redirect_uri"], scope=scope, **(words or {}))
        self.host.last_url = answer["url"]
        callback = peer.authorize(answer["url"], **manners)
        self.host.secrets.update([answer["session"], *parse_qs(urlsplit(callback).query).get("code", [])])
        return answer["session"], callback

    def device_authorization(self, scope="read"):
        """What a person is shown, and the session."""
        return self.begun(self.host.tell("device_authorization", client=self.name, scope=scope))

    def backchannel(self, login_hint, scope="read", binding_message=None):
        """A request that a person answers elsewhere: its session."""
        words = {"login_hint": login_hint, "scope": scope, "binding_message": binding_message}
        return self.begun(self.host.tell("backchannel", client=self.name, **{name: word for name, word in words.items() if word is not None}))

    def begun(self, answer):
        self.host.secrets.add(answer["session"])
        self.host.check({name: value for name, value in answer.items() if name == "shown"})
        return answer

    def poll(self, session, subject="ann"):
        """Waits for a person: the subject's client and its first token."""
        view = f"{self.name}, {subject}"
        token = self.keep(self.host.tell("poll", client=self.name, view=view, session=session, subject=subject))
        return RemoteClient(self.host, view), token

    def introspect(self, token):
        return self.host.tell("introspect", client=self.name, token=token)

    def revoke(self, **arguments):
        self.host.tell("revoke", client=self.name, **arguments)

    def with_resource(self, *resource):
        view = f"{self.name}, {' '.join(resource)}"
        self.host.tell("with_resource", client=self.name, resource=list(resource), view=view)
        return RemoteClient(self.host, view)

    def with_subject(self, subject, **tokens):
        """The client of a subject whose tokens the host holds."""
        view = f"{self.name}, {subject}"
        self.host.tell("with_subject", client=self.name, subject=subject, view=view, **tokens)
        return RemoteClient(self.host, view)

    def exchange(self, callback, session, subject="ann"):
        """Ends an authorization: the subject's client and its first token."""
        view = f"{self.name}, {subject}"
        arguments = {"client": self.name, "view": view, "callback": callback, "session": session, "subject": subject}
        token = self.keep(self.host.tell("exchange", **arguments))
        return RemoteClient(self.host, view), token

    def adopt(self, refresh_token, subject="ann"):
        """The client of a subject whose refresh token a database holds."""
        view = f"{self.name}, {subject}"
        self.host.tell("adopt", client=self.name, view=view, subject=subject, refresh_token=refresh_token)
        return RemoteClient(self.host, view)

    def refresh_tokens(self):
        """Every refresh token that `on_rotated` was given, the newest last."""
        refresh_tokens = self.host.tell("rotated", client=self.name)
        self.host.secrets.update(refresh_tokens)
        return refresh_tokens

    def lose_answers(self, count):
        """The next answers of the token endpoint arrive at the host and get lost there."""
        self.host.tell("lose_answers", client=self.name, count=count)

    def expect_notice(self, name):
        """Waits until `on_notice` was given one of that name: it is called after those who wait have their token."""
        seen = []
        for _ in range(50):
            notices = self.host.tell("notices", client=self.name)
            self.host.check(notices)
            seen += [notice["notice"] for notice in notices]
            if name in seen:
                return
            time.sleep(0.05)
        raise AssertionError(f"there was no notice `{name}`: {seen}")

    def keep(self, token):
        self.host.secrets.add(token["access_token"])
        self.host.check(token.pop("shown"))
        return token
