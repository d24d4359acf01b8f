"""The authorization servers: started on free loopback ports, asked what happened, ended with this program."""

import collections
import contextlib
import json
import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode, urlsafe_b64decode
from pathlib import Path
from urllib.parse import quote_plus, urlencode, urlsplit

import browser
import install
from clients import CLIENTS, REDIRECT_URI, USER, VOUCHER
from front import Front
from glewlwyd import configuration
from keycloak.realm import realm
from keys import Keys

HERE = Path(__file__).parent


class Peer:
    """One running server. `traits` are what scenarios ask for: what it has, and how it takes things."""

    kind = ""
    traits = frozenset()
    # Who asks what a token is worth.
    introspector = None
    # Where its issuer is, as its metadata says, beside its base URL.
    issuer_path = ""
    # How it reads Basic: form-encoded (RFC 6749 section 2.3.1), or as it is.
    basic = "client_secret_basic"

    def __init__(self, keys, name=None):
        self.name = name or self.kind
        self.keys = keys
        self.profile = json.loads((HERE / self.kind / "profile.json").read_text())
        self.addresses = {"redirect_uri": REDIRECT_URI}
        self.log = tempfile.TemporaryFile("w+")
        self.process = None

    def start(self, command, folder, stdout=subprocess.PIPE, **options):
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=stdout, stderr=self.log, text=True, **options
        )

    def first_line(self, seconds):
        """What it says when it is ready: where everything is."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(seconds) else ""
        if not line:
            raise SystemExit(f"{self.name} did not start:\n{self.logged()}")
        # Whatever else it says is taken away: a server that nobody listens to stands still once the pipe is full.
        threading.Thread(target=lambda pipe: collections.deque(pipe, 0), args=[self.process.stdout], daemon=True).start()
        return json.loads(line)

    def wait_until_ready(self):
        self.addresses |= self.first_line(60)

    def stop(self):
        self.process.stdin.close()
        self.end()

    def end(self):
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def logged(self):
        self.log.seek(0)
        return self.log.read()[-4000:]

    @property
    def base_url(self):
        return self.addresses["base_url"]

    @property
    def tls_base_url(self):
        return self.addresses["tls_url"]

    @property
    def nonced_url(self):
        """Where proofs of possession need a nonce."""
        return self.base_url

    @property
    def assertion_audience(self):
        """Whom client assertions are for: the issuer (RFC 7523 as revised for its audience)."""
        return self.base_url

    def told(self):
        """The clients as a server is told of them that reads keys and certificates as JSON."""
        return {
            client_id: {
                **client,
                **({"jwks": self.keys.jwks(client_id)} if client["method"] == "private_key_jwt" or client_id in self.keys.certificates else {}),
                **({"subject": self.keys.certificates[client_id].subject} if client["method"] == "tls_client_auth" else {}),
            }
            for client_id, client in CLIENTS.items()
        }

    def tls(self):
        """How it shows and checks certificates."""
        return {"certificate": str(self.keys.server.path), "key": str(self.keys.server.key_path), "trusted": str(self.keys.trusted)}

    def authorize(self, url, **manners):
        return browser.authorize(url, self.addresses["redirect_uri"], USER, **manners)

    def revoke(self, token, client_id):
        """RFC 7009."""
        self.post("revocation_endpoint", client_id, token=token)

    def is_active(self, token, client_id=None):
        return self.claims(token, client_id)["active"]

    def claims(self, token, client_id=None):
        """RFC 7662."""
        return json.loads(self.post("introspection_endpoint", self.introspector or client_id, token=token))

    def confirmation(self, token, client_id):
        """What a token is bound to (RFC 7800)."""
        return self.claims(token, client_id)["cnf"]

    def approve(self, asked):
        """A person with a device's code."""
        browser.visit(asked.get("verification_uri_complete") or asked["verification_uri"], USER, asked["user_code"])

    def forget(self, token):
        """Ends an access token before its time, and nothing else with it: no endpoint of theirs does that."""
        urllib.request.urlopen(urllib.request.Request(self.addresses["forget"], token.encode()), timeout=10).close()

    @contextlib.contextmanager
    def sees(self, **expected):
        """Checks how many requests arrive meanwhile: `token=1`, `api=2`."""
        before = self.counts()
        yield
        after = self.counts()
        seen = {name: after[name] - before[name] for name in expected}
        assert seen == expected, f"the server saw the requests {seen} where {expected} were expected"

    def counts(self):
        with urllib.request.urlopen(self.addresses["counts"], timeout=10) as answer:
            return json.load(answer)

    def post(self, endpoint, client_id, **form):
        secret = CLIENTS[client_id]["secret"]
        encode = str if self.basic.endswith("raw") else quote_plus
        pair = f"{encode(client_id)}:{encode(secret)}"
        request = urllib.request.Request(self.addresses[endpoint], urlencode(form).encode())
        request.add_header("authorization", f"Basic {b64encode(pair.encode()).decode()}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()


class OidcProvider(Peer):
    kind = "oidc-provider"
    introspector = "api"
    traits = frozenset({"form-encoded", "wrong secret is invalid_client", "iss", "refuses", "public refresh", "family", "revocation ends the grant", "narrows scope", "undecodable is invalid_request", "standard errors", "no grace", "600 s"})

    def __init__(self, keys, stack):
        super().__init__(keys)
        # Node looks for packages beside the program, so a copy of it is put beside the installed ones.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="remint-peer-")))
        shutil.copy(HERE / "oidc-provider" / "server.mjs", folder)
        (folder / "node_modules").symlink_to(install.oidc_provider())
        options = {"clients": self.told(), "user": USER, "redirect_uri": REDIRECT_URI, "tls": self.tls(), "initial_access_token": self.initial_access_token()}
        options["voucher"] = {**VOUCHER, "jwks": keys.jwks(VOUCHER["client"])}
        self.start(["node", "server.mjs", json.dumps(options)], folder)

    def initial_access_token(self):
        """What permits to register a client."""
        return "may-register"


class DjangoOAuthToolkit(Peer):
    kind = "django-oauth-toolkit"
    issuer_path = "/o"
    traits = frozenset({"form-encoded", "wrong secret is invalid_client", "iss", "refuses", "public refresh", "revocation ends the grant", "refuses scope", "standard errors"})

    def __init__(self, keys, grace):
        super().__init__(keys, f"{self.kind}, grace {grace} s" if grace else self.kind)
        self.traits |= {"grace"} if grace else {"family", "no grace"}
        if grace:
            self.profile["token"]["rotation_grace"] = grace
        options = {"clients": CLIENTS, "user": USER, "grace": grace, "redirect_uri": REDIRECT_URI, "key": keys.signing["key-RS256"].pem}
        self.start([install.django_oauth_toolkit(), str(HERE / "django-oauth-toolkit" / "server.py"), json.dumps(options)], HERE)


class Fronted(Peer):
    """A server that can't be asked what it saw: it stands behind a front of ours."""

    token_path = ""
    token_paths = property(lambda self: {self.token_path})
    introspector = "api"

    def __init__(self, keys, stack):
        super().__init__(keys)
        self.front = Front(self.token_paths, self.is_active, keys.jwks)
        stack.callback(self.front.stop)
        self.addresses |= self.front.addresses()

    def locate(self, base, **paths):
        """Its endpoints, as clients see them."""
        self.addresses |= {"base_url": base, **{f"{name}_endpoint": base + path for name, path in paths.items()}}


class Spring(Fronted):
    kind = "spring-authorization-server"
    traits = frozenset({"form-encoded", "wrong secret is invalid_client", "refuses", "refuses scope", "standard errors", "no grace"})
    token_path = "/oauth2/token"

    def __init__(self, keys, stack):
        super().__init__(keys, stack)
        # It knows no EdDSA, and reads keys from an address only.
        clients = {name: client for name, client in self.told().items() if client.get("alg") != "EdDSA"}
        for name, client in clients.items():
            if client.pop("jwks", None):
                client["jwks_uri"] = f"{self.front.url}/peers/jwks/{name}"
        options = {"clients": clients, "user": USER, "redirect_uri": REDIRECT_URI, "tls": self.tls()}
        built = install.spring_authorization_server()
        command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{built / 'classes'}:{built / 'dependency'}/*", "peers.Server"]
        self.start([*command, json.dumps(options)], HERE)

    def initial_access_token(self):
        return json.loads(self.post("token_endpoint", "api", grant_type="client_credentials", scope="client.create"))["access_token"]

    def wait_until_ready(self):
        ports = self.first_line(60)
        self.front.pass_on_to(ports["port"])
        self.locate(
            self.front.url, token=self.token_path, authorization="/oauth2/authorize", revocation="/oauth2/revoke", introspection="/oauth2/introspect", userinfo="/userinfo"
        )
        self.addresses["tls_url"] = f"https://127.0.0.1:{ports['tls_port']}"


class Keycloak(Fronted):
    kind = "keycloak"
    traits = frozenset({"form-encoded", "wrong secret is unauthorized_client", "iss", "refuses", "public refresh", "family", "refuses scope", "standard errors", "no grace"})
    token_path = "/realms/remint/protocol/openid-connect/token"
    ADMIN = {"username": "admin", "password": "only for the tests"}

    def __init__(self, keys, stack):
        super().__init__(keys, stack)
        home = self.own_home(install.keycloak(self.initialise), Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="remint-peer-"))))
        tls = self.tls()
        self.port, tls_port = free_ports(2)
        self.front.on_channel = self.answer_for_ann
        self.addresses["tls_url"] = f"https://127.0.0.1:{tls_port}"
        self.run(
            home,
            self.port,
            f"--https-port={tls_port}",
            f"--https-certificate-file={tls['certificate']}",
            f"--https-certificate-key-file={tls['key']}",
            f"--truststore-paths={tls['trusted']}",
            f"--spi-ciba-auth-channel--ciba-http-auth-channel--http-authentication-channel-uri={self.front.url}/peers/channel",
        )

    def own_home(self, installed, home):
        """A home for this run alone, where it keeps whom it trusts beside its database."""
        for name in ("lib", "conf", "providers", "themes"):
            (home / name).symlink_to(installed / name)
        # It finds its home by where its script is.
        (home / "bin").mkdir()
        shutil.copy(installed / "bin" / "kc.sh", home / "bin")
        shutil.copytree(installed / "data" / "h2", home / "data" / "h2")
        return home

    def run(self, home, port, *options):
        environment = {
            **os.environ,
            "JAVA_OPTS_KC_HEAP": "-Xms128m -Xmx512m",
            "KC_BOOTSTRAP_ADMIN_USERNAME": self.ADMIN["username"],
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self.ADMIN["password"],
        }
        command = [str(home / "bin" / "kc.sh"), "start", "--optimized", "--http-enabled=true", "--http-host=127.0.0.1", f"--http-port={port}"]
        self.start([*command, "--hostname-strict=false", "--cache=local", "--log-level=warn", *options], home, stdout=self.log, env=environment)

    def initialise(self, home):
        """Lets it make its tables and its own realm, once."""
        (port,) = free_ports(1)
        self.run(home, port)
        wait_for(self, f"http://127.0.0.1:{port}/realms/master", 120)
        self.stop()

    def wait_until_ready(self):
        wait_for(self, f"http://127.0.0.1:{self.port}/realms/master", 120)
        self.administer("realms", realm("remint", self.keys))
        self.front.pass_on_to(self.port)
        paths = {"token": "/token", "authorization": "/auth", "revocation": "/revoke", "introspection": "/token/introspect", "userinfo": "/userinfo"}
        self.locate(f"{self.front.url}/realms/remint", **{name: f"/protocol/openid-connect{path}" for name, path in paths.items()})

    def administer(self, path, told):
        """Its admin API. The token for that lives for a minute."""
        # Its issuer is the address that was asked, and so is that of the tokens which it gives here for its clients.
        root, host = f"http://127.0.0.1:{self.port}", urlsplit(self.front.url).netloc
        form = {"grant_type": "password", "client_id": "admin-cli", **self.ADMIN}
        token = json.loads(request(f"{root}/realms/master/protocol/openid-connect/token", urlencode(form).encode(), host=host))["access_token"]
        return request(f"{root}/admin/{path}", told, authorization=f"Bearer {token}", host=host)

    def initial_access_token(self):
        return json.loads(self.administer("realms/remint/clients-initial-access", {"count": 1, "expiration": 600}))["token"]

    def confirmation(self, token, client_id):
        # Its issuer is the address that was asked; asked at another, it takes the token for a stranger's. So the token itself is read.
        payload = token.split(".")[1]
        return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["cnf"]

    def answer_for_ann(self, authorization):
        """The person whom a backchannel request asks says yes, from another channel."""
        url = f"http://127.0.0.1:{self.port}/realms/remint/protocol/openid-connect/ext/ciba/auth/callback"
        # It may be asked before it has written down what it asked, and refuses that.
        for last in range(40, -1, -1):
            try:
                return request(url, {"status": "SUCCEED"}, authorization=authorization, host=urlsplit(self.front.url).netloc)
            except OSError:
                if not last:
                    raise
                time.sleep(0.25)

    @property
    def tls_base_url(self):
        return f"{self.addresses['tls_url']}/realms/remint"

    def stop(self):
        self.process.terminate()
        self.end()


class Glewlwyd(Fronted):
    kind = "glewlwyd"
    traits = frozenset({"iss", "public refresh", "empty answers"})
    basic = "client_secret_basic_raw"
    token_path = "/api/oidc/token"

    def __init__(self, keys, stack):
        super().__init__(keys, stack)
        root = install.debian("glewlwyd")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="remint-peer-")))
        (self.port,) = free_ports(1)
        configuration.write(folder, root, self.port, self.front.url, {})
        environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(str(found) for found in root.glob("usr/lib/*-linux-*"))}
        self.start([str(root / "usr" / "bin" / "glewlwyd"), f"--config-file={folder / 'glewlwyd.conf'}"], folder, stdout=self.log, env=environment)

    def initial_access_token(self):
        return json.loads(self.post("token_endpoint", "api", grant_type="client_credentials", scope="write"))["access_token"]

    def wait_until_ready(self):
        wait_for(self, f"http://127.0.0.1:{self.port}/config", 60)
        self.person = configuration.configure(f"http://127.0.0.1:{self.port}", self.front.url, self.keys)
        self.front.pass_on_to(self.port)
        paths = {"token": "/token", "authorization": "/auth", "revocation": "/revoke", "introspection": "/introspect"}
        self.locate(f"{self.front.url}/api/oidc", **paths)

    token_paths = {"/api/oidc/token", "/api/nonced/token"}

    @property
    def nonced_url(self):
        return f"{self.front.url}/api/nonced"

    @property
    def assertion_audience(self):
        """It takes none but the endpoint's address."""
        return self.addresses["token_endpoint"]

    def authorize(self, url, **manners):
        """A person who has signed in and consented before: its pages are a program, which a browser of ours can't run."""
        return browser.authorize(f"{url}&g_continue", self.addresses["redirect_uri"], USER, cookies=self.person.cookies, **manners)

    def stop(self):
        self.process.terminate()
        self.end()


def free_ports(count):
    """Ports that nobody listens on. Somebody else could take one before the server does; then it says so and does not start."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


def wait_for(peer, url, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and peer.process.poll() is None:
        with contextlib.suppress(OSError):
            request(url)
            return
        time.sleep(0.2)
    raise SystemExit(f"{peer.name} did not start:\n{peer.logged()}")


def request(url, body=None, **headers):
    """GET, or POST of bytes that are a form, or of JSON."""
    if body is not None and not isinstance(body, bytes):
        body, headers = json.dumps(body).encode(), {**headers, "content-type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=120) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise OSError(f"{url}: {error.code} {error.read()[:1000]!r}") from None


LIGHT = "oidc-provider", "django-oauth-toolkit"
HEAVY = "keycloak", "spring-authorization-server", "glewlwyd"


@contextlib.contextmanager
def running(kinds):
    """The servers of these kinds, started side by side."""
    with contextlib.ExitStack() as stack:
        keys = Keys(stack.enter_context(tempfile.TemporaryDirectory(prefix="remint-keys-")))
        stack.callback(keys.stop)
        makers = {
            "oidc-provider": [lambda: OidcProvider(keys, stack)],
            "django-oauth-toolkit": [lambda: DjangoOAuthToolkit(keys, 0), lambda: DjangoOAuthToolkit(keys, 60)],
            "keycloak": [lambda: Keycloak(keys, stack)],
            "spring-authorization-server": [lambda: Spring(keys, stack)],
            "glewlwyd": [lambda: Glewlwyd(keys, stack)],
        }
        peers = []
        for make in [make for kind in kinds for make in makers[kind]]:
            peers.append(make())
            stack.callback(peers[-1].stop)
        for peer in peers:
            peer.wait_until_ready()
        yield peers
