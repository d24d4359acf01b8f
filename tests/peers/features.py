"""What of OAuth 2.0 is shown with which server, feature by feature, and the matrix of it. Written once for all hosts, like the scenarios."""

from urllib.parse import parse_qs, urlsplit

from hosts import HOSTS, Refused
from scenarios import altered, for_public_clients, refused, signed_in
from servers import HEAVY, LIGHT

OP, DOT, KC, SAS, GL = "oidc-provider", "django-oauth-toolkit", "keycloak", "spring-authorization-server", "glewlwyd"

FEATURES = []


class Feature:
    """One row of the matrix: for the servers of these kinds, in the hosts that are not in `missing`."""

    def __init__(self, title, kinds, run=None, missing=None):
        self.title = title
        self.kinds = kinds
        self.run = run
        # By the host, or for all of them by `*`: why it is not shown there yet. That is no failure, and is not passed over in silence either.
        self.missing = missing or {}
        FEATURES.append(self)

    def why_not(self, host):
        """Why it is not shown in a host, if it isn't."""
        return self.missing.get("*") or self.missing.get(host)

    def applies(self, peer):
        # Once for each code base: how long a server lets a replaced refresh token live is not a feature.
        return peer.kind in self.kinds and "grace" not in peer.traits


def feature(title, *kinds, **missing):
    """One row of the matrix, for the servers that have it."""
    return lambda run: Feature(title, kinds, run, missing)


def pending(title, why, *kinds):
    """One that servers have and no client shows yet."""
    Feature(title, kinds, missing={"*": why})


@feature("client_secret_basic", OP, DOT, KC, SAS, GL)
def _(peer, host):
    authenticated(peer, host, "plain-basic")


@feature("client_secret_post", OP, DOT, KC, SAS, GL)
def _(peer, host):
    authenticated(peer, host, "plain-post")


@feature("client_secret_jwt", OP, KC, SAS, GL)
def _(peer, host):
    authenticated(peer, host, "secret-jwt")


def with_key(alg):
    """A client that signs by one algorithm."""

    def run(peer, host):
        authenticated(peer, host, f"key-{alg}")
        # Another key is refused, so the server did look.
        turned_down(host.client(peer, f"key-{alg}", signs_as=f"stranger-{alg}").token)

    return run


for alg, kinds in {
    "ES256": (OP, KC, SAS, GL),
    "ES384": (OP, KC, SAS, GL),
    "RS256": (OP, KC, SAS, GL),
    "PS256": (OP, KC, SAS, GL),
    "EdDSA": (OP, KC, GL),
}.items():
    feature(f"private_key_jwt, {alg}", *kinds)(with_key(alg))

pending("tls_client_auth", "no client certificates yet", OP, KC, SAS, GL)
pending("self_signed_tls_client_auth", "no client certificates yet", OP, SAS)


@feature("public client", OP, DOT, KC, SAS, GL)
def _(peer, host):
    client = host.client(peer, "public", profile=for_public_clients(peer))
    session, callback = client.authorize(peer)
    with peer.sees(token=1, api=1):
        ann, _ = client.exchange(callback, session)
        assert ann.call(peer.addresses["api"]) == 200


@feature("code with PKCE S256", OP, DOT, KC, SAS, GL)
def _(peer, host):
    client = host.client(peer, "web")
    session, callback = client.authorize(peer)
    # With the verifier of another authorization, the code is worth nothing: the server checks it.
    other_session, other = client.authorize(peer)
    state = parse_qs(urlsplit(other).query)["state"][0]
    with peer.sees(token=1):
        turned_down(lambda: client.exchange(altered(callback, state=state), other_session))
    session, callback = client.authorize(peer)
    with peer.sees(token=1, api=1):
        ann, _ = client.exchange(callback, session)
        assert ann.call(peer.addresses["api"]) == 200


@feature("iss", OP, DOT, KC, GL)
def _(peer, host):
    client = host.client(peer, "web")
    session, callback = client.authorize(peer)
    assert "iss" in parse_qs(urlsplit(callback).query), "the server sent no `iss`, so this shows nothing"
    with peer.sees(token=0):
        refused("issuer_mismatch", lambda: client.exchange(altered(callback, iss="https://attacker.example"), session))


@feature("refresh with rotation", OP, DOT, KC, SAS, GL)
def _(peer, host):
    client, first = signed_in(peer, host)
    with peer.sees(token=1, api=1):
        assert client.token(force=True)["access_token"] != first["access_token"]
        assert client.call(peer.addresses["api"]) == 200
    assert len(set(client.refresh_tokens())) == 2, "a server that rotates gives another refresh token each time"


@feature("reuse ends the family", OP, DOT, KC)
def _(peer, host):
    client, _ = signed_in(peer, host)
    stolen = client.refresh_tokens()[0]
    client.token(force=True)
    refused("invalid_grant", host.client(peer, "web").adopt(stolen).token)
    refused("invalid_grant", host.client(peer, "web").adopt(client.refresh_tokens()[-1]).token)


for title, why, *kinds in (
    ("device code", "no device flow yet", OP, DOT, KC, SAS, GL),
    ("CIBA", "no backchannel flow yet", OP, KC, GL),
    ("token exchange", "no such grant yet", OP, KC, SAS),
    ("JWT bearer", "no such grant yet", KC),
    ("PAR", "no pushed requests yet", OP, KC, SAS, GL),
    ("JAR", "no signed requests yet", OP, KC, GL),
    ("JARM", "no signed answers yet", OP, KC, GL),
    ("RAR", "no authorization details yet", OP, GL),
    ("DPoP", "no proofs yet", OP, KC, SAS, GL),
    ("DPoP with a nonce", "no proofs yet", OP, GL),
    ("DPoP at an API", "no proofs yet", OP, KC, SAS, GL),
    ("introspection", "no such verb yet", OP, DOT, KC, SAS, GL),
    ("revocation", "no such verb yet", OP, DOT, KC, SAS, GL),
    ("discovery, OpenID's form", "no metadata yet", OP, DOT, KC, SAS, GL),
    ("discovery, RFC 8414's form", "no metadata yet", OP, DOT, KC, SAS),
    ("resource", "one resource per client yet", OP, KC, GL),
    ("dynamic registration", "no such verb yet", OP, KC, SAS, GL),
    ("FAPI 2.0 from end to end", "no proofs yet", OP, KC),
):
    pending(title, why, *kinds)


def authenticated(peer, host, client_id):
    """Tokens by the client's own credentials, which the server's own check takes."""
    client = host.client(peer, client_id, scope="read")
    with peer.sees(token=1, api=1):
        client.token()
        assert client.call(peer.addresses["api"]) == 200
    # Each request authenticates anew: an assertion that came back would be refused.
    client.token(force=True)


def turned_down(run):
    """The server refuses, in whatever words."""
    try:
        run()
    except Refused as refusal:
        assert refusal.error["status"] in (400, 401, 403), refusal
        return
    raise AssertionError("it went well")


def matrix(outcome):
    """Feature by server as Markdown, in each cell the hosts. `outcome` says of a feature, a server and a host what to show."""
    kinds = LIGHT + HEAVY
    lines = [f"| | {' | '.join(kinds)} |", f"|---{'|---' * len(kinds)}|"]
    for each in FEATURES:
        lines.append(f"| {each.title} | {' | '.join(cell(each, kind, outcome) for kind in kinds)} |")
    return lines


def cell(each, kind, outcome):
    if kind not in each.kinds:
        return "-"
    shown = {host: outcome(each, kind, host) for host in HOSTS}
    return "all" if all(shown[host] == host for host in HOSTS) else " ".join(filter(None, shown.values())) or "not yet"


def expected(each, kind, host):
    """What is written in the README: the hosts that show it."""
    return "" if each.why_not(host) else host
