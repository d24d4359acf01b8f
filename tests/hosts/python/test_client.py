"""What a user sees of `Client` and `AsyncClient`."""

from __future__ import annotations

import asyncio
import copy
import pickle
from urllib.parse import parse_qs, urlsplit

import pytest
import remint
from conftest import SECRET, Lane, ShiftedClock


def test_the_second_call_is_answered_from_the_cache(lane: Lane) -> None:
    wallet = lane.wallet()
    assert wallet.peek() is None
    first = wallet.token()
    assert (first.token_type, first.generation, first.scope) == ("Bearer", 1, "wallets:read")
    assert first.authorization == f"Bearer {first.access_token}"
    assert 3590 < first.expires_in() <= 3600
    assert wallet.token().access_token == first.access_token == wallet.peek().access_token
    assert wallet.token() is wallet.peek()
    assert lane.token_requests() == 1


def test_the_asynchronous_client_does_the_same(lane: Lane) -> None:
    async def story() -> None:
        async with lane.wallet(remint.AsyncClient) as wallet:
            first = await wallet.token()
            assert (await wallet.token()).access_token == first.access_token
            assert wallet.peek() is await wallet.token()
            assert await wallet.headers("GET", lane.api()) == {"Authorization": first.authorization}
            await wallet.invalidate()
            assert (await wallet.token()).access_token != first.access_token
        with pytest.raises(remint.UsageError) as closed:
            await wallet.token()
        assert closed.value.code == "closed"

    asyncio.run(story())
    assert lane.token_requests() == 2


def test_force_min_ttl_and_invalidate_each_get_another_token(lane: Lane) -> None:
    wallet = lane.wallet()
    tokens = [wallet.token(), wallet.token(force=True)]
    wallet.invalidate()
    assert wallet.peek() is None
    tokens.append(wallet.token())
    assert len({token.access_token for token in tokens}) == 3
    with pytest.raises(remint.ServerError) as short:
        wallet.token(min_ttl=7200)
    assert short.value.code == "min_ttl_unavailable" and 3590 < short.value.lifetime <= 3600


def test_scopes_and_subjects_have_tokens_of_their_own(lane: Lane) -> None:
    wallet = lane.wallet()
    other = wallet.with_scope("wallets:write ledger:read")
    assert wallet.token().access_token != other.token().access_token
    assert set((other.token().scope or "").split()) == {"wallets:write", "ledger:read"}
    assert wallet.with_scope(["ledger:read", "wallets:write"]).token().access_token
    assert lane.token_requests() == 2


def test_a_provided_secret_is_asked_at_each_token_request(lane: Lane) -> None:
    secrets = ["wrong", SECRET]
    wallet = lane.wallet(client_secret=lambda: secrets.pop(0))
    with pytest.raises(remint.ServerError) as refused:
        wallet.token()
    assert (refused.value.code, refused.value.status) == ("invalid_client", 401)
    assert refused.value.retry_after is None or refused.value.retry_after > 0

    async def story() -> str:
        async def secret() -> str:
            await asyncio.sleep(0)
            return SECRET

        return (await lane.wallet(remint.AsyncClient, client_secret=secret).token()).access_token

    assert asyncio.run(story())


def test_a_failing_secret_function_is_a_transport_error_with_its_cause(lane: Lane) -> None:
    def secret() -> str:
        raise KeyError("vault is sealed")

    wallet = lane.wallet(client_secret=secret, policy={"attempts": 1})
    with pytest.raises(remint.TransportError) as failed:
        wallet.token(timeout=1)
    assert failed.value.code == "host_error"
    assert isinstance(failed.value.__cause__, KeyError)


def test_an_async_secret_function_needs_the_async_client(lane: Lane) -> None:
    async def secret() -> str:
        return SECRET

    with pytest.raises(remint.TransportError) as failed:
        lane.wallet(client_secret=secret, policy={"attempts": 1}).token(timeout=1)
    assert "AsyncClient" in str(failed.value.__cause__)


def test_a_code_flow_ends_with_a_token_that_renews_itself(lane: Lane, clock: ShiftedClock) -> None:
    import http.client

    saved: list[str] = []
    app = lane.rapidomize(clock=clock)
    url, session = app.authorization_url("https://app.example/callback")
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("GET", f"{parts.path}?{parts.query}")
    callback = connection.getresponse().headers["location"]
    connection.close()
    token = app.exchange(callback, session, "alice", on_rotated=saved.append)
    alice = app.with_subject("alice")
    assert alice.token().access_token == token.access_token
    assert len(saved) == 1
    clock.advance(7195)
    renewed = alice.token()
    assert renewed.access_token != token.access_token and renewed.generation == 2
    assert len(saved) == 2 and saved[0] != saved[1]
    with pytest.raises(remint.ServerError):
        app.exchange(callback, session, "alice")


def test_a_callback_may_be_a_mapping(lane: Lane) -> None:
    app = lane.rapidomize()
    _, session = app.authorization_url("https://app.example/callback")
    for callback in ({"code": "x", "state": "wrong"}, {"code": ["x"], "state": ["wrong"]}, "code=x&state=wrong"):
        with pytest.raises(remint.ServerError) as mismatch:
            app.exchange(callback, session)
        assert mismatch.value.code == "state_mismatch"


def test_a_refresh_token_from_a_database_is_adopted_and_its_successor_saved_first(lane: Lane) -> None:
    minted = lane.control("POST", "mint", {"provider": "rapidomize", "subject": "bob"})
    saved: list[str] = []
    bob = lane.rapidomize().with_subject("bob", refresh_token=minted["refresh_token"], on_rotated=saved.append)
    assert bob.token().access_token
    assert len(saved) == 1

    async def story() -> None:
        async def save(refresh_token: str) -> None:
            await asyncio.sleep(0)
            saved.append(refresh_token)

        app = lane.rapidomize(remint.AsyncClient)
        await app.with_subject("bob", refresh_token=saved[-1], on_rotated=save).token()

    asyncio.run(story())
    assert len(set(saved)) == 2


def test_without_a_refresh_token_a_person_has_to_authorize(lane: Lane) -> None:
    with pytest.raises(remint.ServerError) as needed:
        lane.rapidomize().with_subject("nobody").token()
    assert needed.value.code == "reauthorization_required"


def test_an_insecure_url_is_asked_for_by_name(lane: Lane) -> None:
    app = lane.rapidomize(grant="api_token", api_token="t0ken+/%&: odd", client_secret=None)
    url, headers = app.insecure_url(lane.url("rapidomize/v1/things"))
    assert parse_qs(urlsplit(url).query) == {"token": ["t0ken+/%&: odd"]}
    assert headers["cache-control"] == "no-store"
    with pytest.raises(remint.UsageError):
        lane.wallet().insecure_url(lane.api())


def test_a_rejected_token_is_replaced(lane: Lane) -> None:
    wallet = lane.wallet()
    wallet.token()
    token = wallet.token()
    assert wallet.reject(token, "GET", lane.api(), 401, {"www-authenticate": 'Bearer error="invalid_token"'}) == "retry"
    assert wallet.token().access_token != token.access_token
    assert wallet.reject(token, "GET", lane.api(), 200) == "pass"


def test_a_token_goes_only_where_it_may(lane: Lane) -> None:
    wallet = lane.wallet()
    with pytest.raises(remint.UsageError) as refused:
        wallet.headers("GET", "https://evil.example/")
    assert refused.value.code == "origin_not_allowed" and "evil.example" in str(refused.value)


def test_a_static_client_sends_no_request() -> None:
    client = remint.Client.static("fixed", api_origins=["https://api.example"])
    assert client.token().access_token == "fixed"
    assert client.headers("GET", "https://api.example/x") == {"Authorization": "Bearer fixed"}
    assert asyncio.run(remint.AsyncClient.static("fixed").token()).access_token == "fixed"


def test_clients_and_tokens_refuse_to_be_pickled_with_a_hint(lane: Lane) -> None:
    wallet = lane.wallet()
    for thing in (wallet, wallet.token(), lane.wallet(remint.AsyncClient)):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="in the worker"):
                attempt(thing)


def test_errors_are_pickled_whole() -> None:
    with pytest.raises(remint.UsageError) as wrong:
        remint.Client("phoenix-walet", client_id="a", client_secret="b")
    error = pickle.loads(pickle.dumps(wrong.value))
    assert type(error) is remint.UsageError and isinstance(error, ValueError)
    assert (str(error), vars(error)) == (str(wrong.value), vars(wrong.value))
    assert "did you mean `phoenix-wallet`" in str(error)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"policy": {"soft_margn": 3}}, "soft_margn"),
        ({"request_timeout": -1}, "request_timeout"),
        ({"request_timeout": float("nan")}, "request_timeout"),
        ({"client_id": b"bytes"}, "client_id"),
        ({"scope": "two\nlines"}, "scope"),
        ({"client_secret": "\ud800"}, "client_secret"),
        ({"tenant": "x"}, "tenant"),
        ({"http": 3}, "http"),
        ({"proxy": "socks5://127.0.0.1:1"}, "proxy"),
        ({"ca": "/does/not/exist"}, "ca"),
    ],
)
def test_a_wrong_option_is_named(lane: Lane, options: dict[str, object], named: str) -> None:
    with pytest.raises(remint.UsageError, match=named):
        lane.wallet(**options)


@pytest.mark.parametrize("arguments", [{"min_ttl": -1}, {"min_ttl": "soon"}, {"timeout": float("inf")}, {"timeout": -1}])
def test_a_wrong_argument_is_named(lane: Lane, arguments: dict[str, object]) -> None:
    with pytest.raises(remint.UsageError, match=next(iter(arguments))):
        lane.wallet().token(**arguments)


def test_notices_tell_what_happened_and_their_failure_harms_nobody(lane: Lane, capsys: pytest.CaptureFixture[str]) -> None:
    notices: list[str] = []
    lane.wallet(on_notice=lambda notice: notices.append(notice["notice"])).token()
    assert notices == ["fetched"]

    def broken(_: object) -> None:
        raise RuntimeError("a logger of theirs")

    import sys

    hook, sys.unraisablehook = sys.unraisablehook, lambda info: notices.append(str(info.exc_value))
    try:
        assert lane.wallet(on_notice=broken).token()
    finally:
        sys.unraisablehook = hook
    assert notices[-1] == "a logger of theirs"
