"""What of OAuth 2.0 is shown with which server, feature by feature, and the matrix of it. Written once for all hosts, like the scenarios."""

import copy
import json
from urllib.parse import parse_qs, urlencode, urlsplit

from clients import USER, VOUCHER
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


@feature("device code", OP, DOT, KC, SAS)
def _(peer, host):
    # One of them wants `client_id` in the body, as a client without a secret sends it.
    client = host.client(peer, "remote", profile=for_public_clients(peer)) if peer.kind == DOT else host.client(peer, "television")
    asked = client.device_authorization()
    # The person is faster than the first question, which the server's interval puts off.
    peer.approve(asked)
    with peer.sees(token=1, api=1):
        ann, _ = client.poll(asked["session"])
        assert ann.call(peer.addresses["api"]) == 200


@feature("CIBA", OP, KC)
def _(peer, host):
    client = host.client(peer, "till")
    asked = client.backchannel(USER["name"], scope="openid read", binding_message="pay")
    with peer.sees(api=1):
        ann, _ = client.poll(asked["session"])
        assert ann.call(peer.addresses["api"]) == 200


@feature("token exchange", OP, KC, SAS)
def _(peer, host):
    _, token = signed_in(peer, host)
    client = host.client(peer, "exchanger", scope="read", subject_token_type="access_token", requested_token_type="access_token")
    with peer.sees(token=1, api=1):
        ann = client.with_subject("ann", subject_token=token["access_token"])
        assert ann.token()["access_token"] != token["access_token"]
        assert ann.call(peer.addresses["api"]) == 200
    turned_down(client.with_subject("eve", subject_token="made up").token)


@feature("JWT bearer", OP, KC)
def _(peer, host):
    def is_ann(token):
        # One server names people by themselves, the other by a number.
        return USER["name"] in [peer.claims(token["access_token"], "api").get(name) for name in ("sub", "username")]

    told = {"scope": "read", "assertion_issuer": VOUCHER["issuer"], "assertion_subject": VOUCHER["subject"]}
    client = host.client(peer, VOUCHER["client"], **told)
    with peer.sees(token=1, api=1):
        token = client.token()
        assert client.call(peer.addresses["api"]) == 200
    assert is_ann(token)
    # Each request has an assertion of its own: one that came back would be refused.
    client.token(force=True)
    # Signed with another key, and about somebody whom it doesn't know.
    turned_down(host.client(peer, VOUCHER["client"], signs_as="stranger-ES256", **told).token)
    turned_down(host.client(peer, VOUCHER["client"], **{**told, "assertion_subject": "employee 8"}).token)
    # The person is the view's, if nothing else is said.
    mine = host.client(peer, VOUCHER["client"], scope="read", assertion_issuer=VOUCHER["issuer"]).with_subject(VOUCHER["subject"])
    assert is_ann(mine.token())


@feature("PAR", OP, KC, SAS, GL)
def _(peer, host):
    client = host.client(peer, "pushed", pushed_authorization=True)
    session, callback = client.authorize(peer)
    sent = parse_qs(urlsplit(host.last_url).query)
    assert "request_uri" in sent and "code_challenge" not in sent, sorted(sent)
    client.exchange(callback, session)


@feature("JAR", OP, KC)
def _(peer, host):
    client = host.client(peer, "signed-request", request_object=True)
    session, callback = client.authorize(peer)
    sent = parse_qs(urlsplit(host.last_url).query)
    assert "request" in sent and "code_challenge" not in sent, sorted(sent)
    client.exchange(callback, session)


@feature("JARM", OP, KC, GL)
def _(peer, host):
    client = host.client(peer, "signed-answer", profile=discovered(peer, "openid-configuration"), response_mode="jwt")
    session, callback = client.authorize(peer)
    answer = parse_qs(urlsplit(callback).query)
    assert set(answer) == {"response"}, sorted(answer)
    head, claims, signature = answer["response"][0].split(".")
    with peer.sees(token=0):
        # Not signed by the server, and not what was asked for.
        forged = ".".join([head, claims, "A" * len(signature)])
        refused("unexpected_answer", lambda: client.exchange(altered(callback, response=forged), session))
        plain = {"code": "made up", "state": "made up"}
        refused("unexpected_answer", lambda: client.exchange(f"{peer.addresses['redirect_uri']}?{urlencode(plain)}", session))
    with peer.sees(token=1, api=1):
        ann, _ = client.exchange(callback, session)
        assert ann.call(peer.addresses["api"]) == 200


@feature("JARM, signed with the client's secret", OP)
def _(peer, host):
    words = {"profile": discovered(peer, "openid-configuration"), "response_mode": "jwt"}
    client = host.client(peer, "answered-by-secret", authorization_signed_response_alg="HS256", **words)
    session, callback = client.authorize(peer)
    head, claims, signature = parse_qs(urlsplit(callback).query)["response"][0].split(".")
    with peer.sees(token=0):
        forged = ".".join([head, claims, "A" * len(signature)])
        refused("unexpected_answer", lambda: client.exchange(altered(callback, response=forged), session))
        # Whoever doesn't say so takes no secret for a key.
        other = host.client(peer, "answered-by-secret", **words)
        refused("unexpected_answer", lambda: other.exchange(callback, session))
    with peer.sees(token=1, api=1):
        ann, _ = client.exchange(callback, session)
        assert ann.call(peer.addresses["api"]) == 200


@feature("RAR", OP)
def _(peer, host):
    details = [{"type": "payment", "actions": ["initiate"]}]
    client = host.client(peer, "detailed", resource=["https://two.api.example/"])
    session, callback = client.authorize(peer, words={"authorization_details": details})
    _, token = client.exchange(callback, session)
    assert peer.claims(token["access_token"], "detailed")["authorization_details"] == details


@feature("DPoP", OP, KC, SAS, GL)
def _(peer, host):
    client = host.client(peer, "bound", scope="read")
    with peer.sees(token=1):
        token = client.token()
    assert token["token_type"].lower() == "dpop", token
    assert peer.confirmation(token["access_token"], "bound")["jkt"]
    # Each request has a proof of its own: one that came back would be refused.
    client.token(force=True)


@feature("DPoP with a nonce", OP, GL)
def _(peer, host):
    client = host.client(peer, "nonced", scope="read", base_url=peer.nonced_url)
    # Asked for a nonce once, and known from then on.
    with peer.sees(token=2):
        client.token()
    with peer.sees(token=1):
        client.token(force=True)


# Spring's userinfo takes Bearer alone, and sends whoever comes otherwise to its login page.
@feature("DPoP at an API", OP, KC)
def _(peer, host):
    client = host.client(peer, "bound-web")
    session, callback = client.authorize(peer, scope="openid read")
    ann, _ = client.exchange(callback, session)
    userinfo = peer.addresses["userinfo_endpoint"]
    # One server's API asks for a nonce, too.
    requests = [("GET", userinfo), ("POST", userinfo), *([("GET", userinfo + "?nonce")] if peer.kind == OP else [])]
    for method, url in requests:
        status = ann.call(url, method=method)
        assert status == 200, (method, url, status)


@feature("introspection", OP, DOT, KC, SAS, GL)
def _(peer, host):
    client = host.client(peer, "api", scope="read")
    token = client.token()["access_token"]
    found = client.introspect(token)
    assert found["active"] and found["claims"]["scope"] == "read", found
    peer.revoke(token, "api")
    assert not client.introspect(token)["active"]


@feature("revocation", OP, DOT, KC, SAS, GL)
def _(peer, host):
    client = host.client(peer, "api", scope="read")
    token = client.token()["access_token"]
    client.revoke()
    assert not peer.is_active(token, "api")
    # What is revoked is not handed out again.
    assert client.token()["access_token"] != token


def with_metadata(form):
    """Nothing but the issuer is known."""

    def run(peer, host):
        profile = discovered(peer, form)
        client = host.client(peer, "plain-basic", profile=profile, scope="read")
        with peer.sees(token=1, api=1):
            assert client.call(peer.addresses["api"]) == 200
        client = host.client(peer, "web", profile=profile)
        session, callback = client.authorize(peer)
        client.exchange(callback, session)

    return run


feature("discovery, OpenID's form", OP, DOT, KC, SAS, GL)(with_metadata("openid-configuration"))
feature("discovery, RFC 8414's form", OP, DOT, KC, SAS)(with_metadata("oauth-authorization-server"))


@feature("resource", OP)
def _(peer, host):
    client = host.client(peer, "plain-basic", scope="read")
    one, two = (client.with_resource(f"https://{name}.api.example/") for name in ("one", "two"))
    with peer.sees(token=2):
        assert len({each.token()["access_token"] for each in (one, two, one, two)}) == 2
    turned_down(client.with_resource("https://other.example/").token)


@feature("dynamic registration", OP, KC, SAS, GL)
def _(peer, host):
    metadata = {"client_name": "Nightly job", "grant_types": ["client_credentials", "authorization_code"], "response_types": ["code"]}
    metadata |= {"redirect_uris": [peer.addresses["redirect_uri"]], "token_endpoint_auth_method": "client_secret_basic"}
    # Whoever has no token for it is refused.
    turned_down(lambda: host.register(peer, {"register": {"metadata": json.dumps(metadata), "initial_access_token": "made-up"}}))
    for profile in (peer.profile, discovered(peer, "openid-configuration")):
        request = {"metadata": json.dumps(metadata), "initial_access_token": peer.initial_access_token()}
        registered = host.register(peer, {"register": request}, profile)
        assert registered["metadata"]["client_name"] == "Nightly job", registered["metadata"]
        with peer.sees(token=1, api=1):
            assert as_registered(peer, host, registered).call(peer.addresses["api"]) == 200
        read = host.register(peer, {"read": access(registered)}, profile)
        assert read["client_id"] == registered["client_id"]
        if peer.kind == SAS:
            # It offers no more, and sends who asks for it to its page for people.
            refused("unexpected_answer", lambda known=read: host.register(peer, {"delete": access(known)}))
            continue
        changed = {name: read[name] for name in ("client_id", "client_secret")}
        changed["metadata"] = json.dumps({**metadata, "client_name": "Another name"})
        updated = host.register(peer, {"update": {**access(read), **changed}}, profile)
        assert updated["metadata"]["client_name"] == "Another name", updated["metadata"]
        # Some give another secret for that; and, but for Glewlwyd, another token, and take the old one no more.
        as_registered(peer, host, updated).token()
        if peer.kind != GL:
            turned_down(lambda old=read: host.register(peer, {"read": access(old)}))
        assert host.register(peer, {"delete": access(updated)}, profile) is None
        turned_down(lambda gone=updated: host.register(peer, {"read": access(gone)}))
        turned_down(as_registered(peer, host, updated).token)


def as_registered(peer, host, registered):
    """A client with the credentials that it was given. Spring lets no client have scopes that has registered itself."""
    options = {name: registered[name] for name in ("client_id", "client_secret")} | ({} if peer.kind == SAS else {"scope": "read"})
    return host.make(peer, client_auth=peer.basic, grant="client_credentials", **options)


def access(registered):
    """What permits to look after a registration."""
    return {name: registered[name] for name in ("registration_client_uri", "registration_access_token")}


@feature("FAPI 2.0 from end to end", OP, KC)
def _(peer, host):
    client = host.client(peer, "fapi", pushed_authorization=True)
    session, callback = client.authorize(peer, scope="openid read")
    assert "iss" in parse_qs(urlsplit(callback).query)
    ann, token = client.exchange(callback, session)
    assert token["token_type"].lower() == "dpop", token
    assert ann.call(peer.addresses["userinfo_endpoint"]) == 200
    ann.token(force=True)
    assert ann.call(peer.addresses["userinfo_endpoint"]) == 200


def discovered(peer, form):
    """A profile of the peer's whose endpoints only its metadata tells."""
    profile = copy.deepcopy(peer.profile)
    profile["discovery"] = {"issuer": "{base_url}" + peer.issuer_path, "forms": [form]}
    del profile["token"]["endpoint"], profile["authorization"]["endpoint"], profile["endpoints"]
    return profile


def with_certificate(client_id):
    """A client that its certificate tells apart, over TLS, with tokens that are bound to it."""

    def run(peer, host):
        client = host.client(peer, client_id, scope="read", base_url=peer.tls_base_url, certificate_bound=True)
        token = client.token()
        bound = peer.confirmation(token["access_token"], client_id)
        assert bound["x5t#S256"] == peer.keys.certificates[client_id].thumbprint, bound
        client.token(force=True)

    return run


feature("tls_client_auth", OP, KC, SAS)(with_certificate("tls"))
feature("self_signed_tls_client_auth", OP, SAS)(with_certificate("self-signed"))


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
