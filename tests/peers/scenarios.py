"""What is shown with every server and every host, written once. Each scenario starts from nothing: clients of its own, a sign-in of its own."""

import copy
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from hosts import Refused

SCENARIOS = []


def scenario(title, *traits):
    """One row of the table, for the servers that have these traits."""

    def add(run):
        SCENARIOS.append((title, lambda peer: peer.traits.issuperset(traits), run))
        return run

    return add


@scenario("client credentials by Basic, odd characters", "form-encoded")
def _(peer, host):
    with_credentials(peer, host, "odd id:basic")


@scenario("client credentials by body, odd characters")
def _(peer, host):
    with_credentials(peer, host, "odd id+post")


@scenario("client credentials by Basic, the same in both encodings")
def _(peer, host):
    with_credentials(peer, host, "plain-basic")


@scenario("a refusal without a word: a status and no body", "empty answers")
def _(peer, host):
    client = host.client(peer, "plus", client_secret="another one")
    with peer.sees(token=1):
        error = refused("unexpected_answer", client.token)
    assert error["status"] == 403 and error.get("oauth_error") is None, error


@scenario("50 callers, one token request")
def _(peer, host):
    client = host.client(peer, "plain-basic", scope="read")
    with peer.sees(token=1):
        tokens = client.tokens(50)
    assert len({token["access_token"] for token in tokens}) == 1


@scenario("the wrong Basic encoding is refused, and the hint names the right one", "wrong secret is invalid_client")
def _(peer, host):
    client = host.client(peer, "plus", profile=with_raw_basic(peer), client_auth="client_secret_basic_raw")
    with peer.sees(token=1):
        error = refused("invalid_client", client.token)
        assert error["oauth_error"] == "invalid_client", error
        assert error["status"] == 401, error
        assert "`client_secret_basic`" in error["hint"], error
        # A caller's own retry loop doesn't hammer the server.
        refused("invalid_client", client.token)


@scenario("the wrong Basic encoding is refused, in this server's own words", "wrong secret is unauthorized_client")
def _(peer, host):
    client = host.client(peer, "plus", profile=with_raw_basic(peer), client_auth="client_secret_basic_raw")
    with peer.sees(token=1):
        # With 401 it is about the client, whatever the word (RFC 6749 section 5.2).
        error = refused("invalid_client", client.token)
        assert (error["status"], error["oauth_error"]) == (401, "unauthorized_client"), error
        refused("invalid_client", client.token)


@scenario("the same with a secret that can't even be decoded", "undecodable is invalid_request")
def _(peer, host):
    client = host.client(peer, "percent", profile=with_raw_basic(peer), client_auth="client_secret_basic_raw")
    with peer.sees(token=1):
        # It calls the request malformed, not the client unknown.
        error = refused("invalid_request", client.token)
    assert "`client_secret_basic`" in (error["hint"] or ""), error


@scenario("an unknown scope is refused", "refuses scope")
def _(peer, host):
    client = host.client(peer, "odd id:basic", scope="everything")
    with peer.sees(token=1):
        error = refused("invalid_scope", client.token)
    assert error["status"] in (400, 401), error


@scenario("a scope that the server leaves out is not taken for granted", "narrows scope")
def _(peer, host):
    client = host.client(peer, "odd id:basic", scope="read everything")
    assert client.token()["scope"] == "read"
    client.expect_notice("scope_narrowed")


@scenario("code with PKCE and iss", "iss")
def _(peer, host):
    client = host.client(peer, "web")
    session, callback = client.authorize(peer)
    assert "iss" in parse_qs(urlsplit(callback).query), "the server sent no `iss`, so this shows nothing"
    with peer.sees(token=1, api=1):
        ann, token = client.exchange(callback, session)
        assert ann.token()["access_token"] == token["access_token"]
        assert ann.call(peer.addresses["api"]) == 200
    assert peer.is_active(token["access_token"], "web")


@scenario("a public client: code with PKCE, refresh, no secret", "public refresh")
def _(peer, host):
    client = host.client(peer, "public", profile=for_public_clients(peer))
    session, callback = client.authorize(peer)
    with peer.sees(token=2, api=1):
        ann, _ = client.exchange(callback, session)
        ann.token(force=True)
        assert ann.call(peer.addresses["api"]) == 200


@scenario("a person who refuses", "refuses")
def _(peer, host):
    client = host.client(peer, "unwanted")
    session, callback = client.authorize(peer, consents=False)
    with peer.sees(token=0):
        error = refused("access_denied", lambda: client.exchange(callback, session))
    assert error["oauth_error"] == "access_denied", error


@scenario("another server's iss: refused before any token request", "iss")
def _(peer, host):
    client = host.client(peer, "web")
    session, callback = client.authorize(peer)
    wrong = ["https://attacker.example", peer.base_url + "/"]
    if peer.profile["authorization"]["iss_required"]:
        wrong.append(None)
    with peer.sees(token=0):
        for iss in wrong:
            refused("issuer_mismatch", lambda: client.exchange(altered(callback, iss=iss), session))


@scenario("another state: refused before any token request")
def _(peer, host):
    client = host.client(peer, "web")
    session, callback = client.authorize(peer)
    with peer.sees(token=0):
        refused("state_mismatch", lambda: client.exchange(altered(callback, state="x" * 43), session))


@scenario("a code that was used already", "standard errors")
def _(peer, host):
    client = host.client(peer, "web")
    session, callback = client.authorize(peer)
    client.exchange(callback, session)
    with peer.sees(token=1):
        error = refused("invalid_grant", lambda: host.client(peer, "web").exchange(callback, session))
    assert error["oauth_error"] == "invalid_grant", error


@scenario("a code and a refresh token that were used already, refused in other words than the standard's", "empty answers")
def _(peer, host):
    client = host.client(peer, "web")
    session, callback = client.authorize(peer)
    ann, _ = client.exchange(callback, session)
    first = ann.refresh_tokens()[0]
    with peer.sees(token=1):
        error = refused("unexpected_answer", lambda: host.client(peer, "web").exchange(callback, session))
    assert error["status"] in (400, 403), error
    # The code's return has revoked nothing, or this would need a person.
    ann.token(force=True)
    with peer.sees(token=1):
        error = refused("unexpected_answer", host.client(peer, "web").adopt(first).token)
    assert error["status"] == 400 and error.get("oauth_error") is None, error


@scenario("refresh, each time with the newest refresh token")
def _(peer, host):
    client, first = signed_in(peer, host)
    with peer.sees(token=2, api=1):
        second = client.token(force=True)
        third = client.token(force=True)
        assert client.call(peer.addresses["api"]) == 200
    assert len({token["access_token"] for token in (first, second, third)}) == 3
    assert len(set(client.refresh_tokens())) == 3, "a server that rotates gives another refresh token each time"


@scenario("a refresh token from the user's database, 50 callers: it is spent once")
def _(peer, host):
    client, _ = signed_in(peer, host)
    refresh_token = client.refresh_tokens()[-1]
    with peer.sees(token=1, api=1):
        adopted = host.client(peer, "web").adopt(refresh_token)
        tokens = adopted.tokens(50)
        assert adopted.call(peer.addresses["api"]) == 200
    assert len({token["access_token"] for token in tokens}) == 1
    assert adopted.refresh_tokens()[-1] != refresh_token
    # The family lives: the new one is good.
    adopted.token(force=True)


@scenario("a refresh token that comes back ends the whole family", "family")
def _(peer, host):
    client, _ = signed_in(peer, host)
    stolen = client.refresh_tokens()[0]
    client.token(force=True)
    with peer.sees(token=1):
        error = refused("invalid_grant", host.client(peer, "web").adopt(stolen).token)
    assert error["oauth_error"] == "invalid_grant", error
    assert not error["ambiguous"], error
    # The newest one of the family is dead now, too.
    with peer.sees(token=1):
        error = refused("invalid_grant", host.client(peer, "web").adopt(client.refresh_tokens()[-1]).token)
    assert error["oauth_error"] == "invalid_grant", error


@scenario("a revoked token of client credentials: 401, one new token, 200")
def _(peer, host):
    client = host.client(peer, "plain-basic", scope="read")
    token = client.token()
    peer.revoke(token["access_token"], "plain-basic")
    with peer.sees(token=1, api=2):
        assert client.call(peer.addresses["api"]) == 200
    assert client.token()["access_token"] != token["access_token"]
    client.expect_notice("rejected")


@scenario("a user's token that the server forgot: 401, one refresh, 200")
def _(peer, host):
    client, token = signed_in(peer, host)
    peer.forget(token["access_token"])
    with peer.sees(token=1, api=2):
        assert client.call(peer.addresses["api"]) == 200
    assert client.token()["access_token"] != token["access_token"]


@scenario("a revoked token of a user, its refresh token with it: a person has to sign in again", "revocation ends the grant")
def _(peer, host):
    client, token = signed_in(peer, host)
    # Both servers end the refresh token too (RFC 7009 section 2.1 leaves that to them).
    peer.revoke(token["access_token"], "web")
    with peer.sees(token=1, api=1):
        error = refused("invalid_grant", lambda: client.call(peer.addresses["api"]))
    assert error["oauth_error"] == "invalid_grant", error


@scenario("a lost answer in the grace period: sent again", "grace")
def _(peer, host):
    client, _ = signed_in(peer, host)
    other = host.client(peer, "web", lossy=True).adopt(client.refresh_tokens()[-1])
    other.lose_answers(1)
    with peer.sees(token=2, api=1):
        other.token()
        assert other.call(peer.addresses["api"]) == 200
    # What came with the second answer is the newest.
    with peer.sees(token=1):
        other.token(force=True)


@scenario("a lost answer in the grace period, with a token in hand: the API call notices nothing", "grace")
def _(peer, host):
    client, _ = signed_in(peer, host, lossy=True)
    client.lose_answers(1)
    with peer.sees(token=2):
        client.token(force=True)
        assert client.call(peer.addresses["api"]) == 200


@scenario("a lost answer without a grace period: a person has to sign in again, and that is ambiguous", "no grace")
def _(peer, host):
    client, _ = signed_in(peer, host)
    # Another process, which has the refresh token and no access token that could still serve.
    other = host.client(peer, "web", lossy=True).adopt(client.refresh_tokens()[-1])
    other.lose_answers(1)
    with peer.sees(token=2):
        error = refused("reauthorization_required", other.token)
    assert error["oauth_error"] == "invalid_grant", error
    assert error["ambiguous"], error


@scenario("a lost answer with a valid token in hand: nobody fails", "no grace")
def _(peer, host):
    client, token = signed_in(peer, host, lossy=True)
    client.lose_answers(1)
    with peer.sees(token=1):
        assert client.token(force=True)["access_token"] == token["access_token"]
        assert client.token()["access_token"] == token["access_token"]


def with_credentials(peer, host, client_id):
    client = host.client(peer, client_id, scope="read")
    with peer.sees(token=1, api=1):
        token = client.token()
        assert client.token()["access_token"] == token["access_token"]
        assert client.call(peer.addresses["api"]) == 200
    assert token["token_type"].lower() == "bearer", token
    assert token["scope"] == "read", token
    lifetime = 600 if "600 s" in peer.traits else 3600
    assert lifetime - 10 < token["expires_in"] <= lifetime, token
    assert peer.is_active(token["access_token"], client_id)


def signed_in(peer, host, **options):
    """A user's client and first token, by code."""
    client = host.client(peer, "web", **options)
    session, callback = client.authorize(peer)
    return client.exchange(callback, session)


def with_raw_basic(peer):
    """The mistake of a person who takes RFC 7617 for the whole story."""
    profile = copy.deepcopy(peer.profile)
    profile["token"]["client_auth"] = ["client_secret_basic_raw"]
    return profile


def for_public_clients(peer):
    """The profile of those who have no secret."""
    profile = copy.deepcopy(peer.profile)
    profile["grants"] = ["authorization_code", "device_code"]
    profile["token"]["client_auth"] = ["none"]
    return profile


def altered(url, **parameters):
    """The URL with other parameters in its query, or without those that are None."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    query.update(parameters)
    return urlunsplit(parts._replace(query=urlencode({name: value for name, value in query.items() if value is not None})))


def refused(code, run):
    """The typed error that `run` raises."""
    try:
        answer = run()
    except Refused as refusal:
        assert refusal.error["code"] == code, f"{refusal} where {code} was expected"
        return refusal.error
    raise AssertionError(f"it went well where {code} was expected: {type(answer).__name__}")
