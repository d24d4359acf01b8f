"""The authority misbehaves: what a caller gets, in time, and never with a secret in it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import traceback
from typing import Any

import pytest
import remint
from conftest import SECRET, Lane, ShiftedClock

#: A fault, the error of a caller who holds no token, and how many token requests that takes.
FAULTS: list[tuple[str, dict[str, Any], str, int]] = [
    ("500", {"status": 500}, "server_unavailable", 3),
    ("503 with a page", {"status": 503, "body": "<html>", "content_type": "text/html"}, "server_unavailable", 3),
    ("429 beyond the deadline", {"status": 429, "retry_after": "60"}, "server_unavailable", 1),
    ("503 until a date", {"status": 503, "retry_after": "date+60"}, "server_unavailable", 1),
    ("a refused client", {"error": "invalid_client", "status": 401}, "invalid_client", 1),
    ("a refused scope", {"error": "invalid_scope"}, "invalid_scope", 1),
    ("an error code in a 503", {"error": "invalid_client", "status": 503}, "server_unavailable", 3),
    ("a bare 401", {"status": 401}, "invalid_client", 1),
    ("a bare 403", {"status": 403}, "unexpected_answer", 1),
    ("404 with a page", {"status": 404, "body": "<html>", "content_type": "text/html"}, "unexpected_answer", 1),
    ("a redirect", {"redirect": "https://evil.example/token"}, "unexpected_answer", 1),
    ("garbage", {"garbage": True}, "unexpected_answer", 1),
    ("an empty 200", {"status": 200}, "unexpected_answer", 1),
    ("an error in a 200", {"status": 200, "body": '{"error":"invalid_client"}'}, "invalid_client", 1),
    ("100 MB", {"body_bytes": 104857600}, "answer_too_large", 1),
    ("a cut before", {"cut": "before"}, "transport_failed", 3),
    ("a cut after the work", {"cut": "after_processing"}, "transport_failed", 3),
    ("a cut after the headers", {"cut": "after_headers"}, "transport_failed", 3),
    ("a cut in the body", {"cut": "mid_body"}, "transport_failed", 3),
    ("no answer", {"delay_ms": 5000}, "timeout", 3),
    ("a slow body", {"slow_body_ms_per_byte": 100}, "timeout", 3),
]


@pytest.mark.parametrize("kind", [remint.Client, remint.AsyncClient])
@pytest.mark.parametrize(("fault", "code", "requests"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_a_fault_without_a_token_in_hand(lane: Lane, kind: type, fault: dict[str, Any], code: str, requests: int) -> None:
    lane.faults(count=None, **fault)
    # A busy machine is slow, too: only where slowness is the fault is there little time.
    limit, patience = (0.4, 5) if code == "timeout" else (10, 20)
    client = lane.wallet(kind, request_timeout=limit)

    async def story() -> object:
        return await client.token(timeout=patience)

    before = time.monotonic()
    with pytest.raises(remint.RemintError) as failed:
        client.token(timeout=patience) if kind is remint.Client else asyncio.run(story())
    assert failed.value.code == code
    assert time.monotonic() - before < patience + 0.5
    assert lane.token_requests() <= requests
    shown = "".join(
        [repr(failed.value), str(vars(failed.value)), *traceback.TracebackException.from_exception(failed.value, capture_locals=True).format()]
    )
    assert SECRET not in shown and "s3cret" not in shown
    if requests == 3:
        assert failed.value.retryable and failed.value.retry_after is not None


@pytest.mark.parametrize("fault", [case[1] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_the_valid_token_is_served_through_every_fault(lane: Lane, clock: ShiftedClock, fault: dict[str, Any]) -> None:
    notices: list[str] = []
    client = lane.wallet(clock=clock, request_timeout=0.3, on_notice=lambda notice: notices.append(notice["notice"]))
    token = client.token()
    lane.faults(count=None, **fault)
    clock.advance(3400)
    for _ in range(8):
        assert client.token().access_token == token.access_token
        time.sleep(0.1)
    clock.advance(175)
    before = time.monotonic()
    assert client.token().access_token == token.access_token
    assert time.monotonic() - before < 5.5
    assert "served_while_failing" in notices or "backing_off" in notices or lane.token_requests() > 1


def test_a_lost_answer_after_a_rotation_is_survived_where_the_server_has_a_grace(lane: Lane) -> None:
    lane.settings(reuse_grace_s=30)
    minted = lane.control("POST", "mint", {"provider": "rapidomize", "subject": "bob"})
    lane.faults(cut="after_processing", grant="refresh_token")
    saved: list[str] = []
    bob = lane.rapidomize().with_subject("bob", refresh_token=minted["refresh_token"], on_rotated=saved.append)
    assert bob.token().access_token and len(saved) == 1


def test_a_lost_answer_without_a_grace_says_that_it_is_ambiguous(lane: Lane) -> None:
    minted = lane.control("POST", "mint", {"provider": "rapidomize", "subject": "bob"})
    lane.faults(cut="after_processing", grant="refresh_token")
    bob = lane.rapidomize().with_subject("bob", refresh_token=minted["refresh_token"])
    with pytest.raises(remint.ServerError) as lost:
        bob.token()
    assert (lost.value.code, lost.value.ambiguous) == ("reauthorization_required", True)


def test_an_authority_that_comes_back_is_found_again(lane: Lane) -> None:
    lane.faults(status=503, count=2)
    assert lane.wallet().token().generation == 1
    assert lane.token_requests() == 3


def test_a_server_that_is_not_there(lane: Lane) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{reserved.getsockname()[1]}/token"
        client = lane.wallet(token_endpoint=endpoint, policy={"attempts": 1})
        with pytest.raises(remint.TransportError) as refused:
            client.token()
    assert refused.value.code == "transport_failed" and isinstance(refused.value.__cause__, ConnectionRefusedError)


def test_https_needs_the_authoritys_certificate_and_says_so(lane: Lane) -> None:
    options = {"token_endpoint": lane.url("phoenix-wallet/oauth/token", "https"), "policy": {"attempts": 1}}
    with pytest.raises(remint.TransportError) as unknown:
        lane.wallet(**options).token()
    assert "`ca`" in (unknown.value.hint or "") and lane.token_requests() == 0
    assert lane.wallet(**options, ca=lane.about["ca"]).token()
    with open(lane.about["ca"], "rb") as file:
        pem = file.read()
    assert lane.wallet(**options, ca=pem).token()
    assert lane.wallet(**options, ca=pem.decode()).token()


def test_neither_netrc_nor_the_environment_is_heeded(lane: Lane, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert lane.wallet().token()
    assert "authorization" not in lane.control("GET", "log?kind=token")[0]["header_names"]


def test_a_proxy_is_used_when_it_is_named(lane: Lane) -> None:
    seen: list[bytes] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            sink.close()

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            head = client.recv(65536)
            seen.append(head)
            target = head.split()[1].decode()
            if head.startswith(b"CONNECT"):
                host, _, port = target.rpartition(":")
                server = socket.create_connection((host, int(port)))
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                server = socket.create_connection(("127.0.0.1", int(target.split("/")[2].split(":")[1])))
                server.sendall(head)
            threading.Thread(target=pump, args=(client, server), daemon=True).start()
            threading.Thread(target=pump, args=(server, client), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        proxy = f"http://me:p%40ss@127.0.0.1:{listener.getsockname()[1]}"
        endpoint = lane.url("phoenix-wallet/oauth/token", "https")
        assert lane.wallet(token_endpoint=endpoint, proxy=proxy, ca=lane.about["ca"]).token()
        assert lane.wallet(proxy=proxy).token()
    assert seen[0].startswith(b"CONNECT") and b"Basic bWU6cEBzcw==" in seen[0]
    assert seen[1].startswith(b"POST http://")
    assert SECRET.encode() not in seen[0]


def test_a_dripping_server_is_left_at_the_deadline_and_not_per_read(lane: Lane) -> None:
    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                for byte in b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + b"X: y\r\n" * 100:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.05)
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}/token"
        client = lane.wallet(token_endpoint=endpoint, request_timeout=0.5, policy={"attempts": 1})
        before = time.monotonic()
        with pytest.raises(remint.TransportError) as slow:
            client.token()
        assert slow.value.code == "timeout" and time.monotonic() - before < 4


def test_a_transport_of_the_users_that_hangs_holds_nobody(lane: Lane) -> None:
    def send(request: dict[str, Any], timeout: float, cap: int) -> Any:
        time.sleep(3)

    client = lane.wallet(http=send, request_timeout=0.3, policy={"attempts": 1})
    before = time.monotonic()
    with pytest.raises(remint.TransportError) as slow:
        client.token()
    assert slow.value.code == "timeout" and time.monotonic() - before < 2.5


@pytest.mark.parametrize(
    "answer", [None, (200,), ("x", [], b""), (200, [1], b""), (70000, [], b""), (200, [], "text")], ids=str
)
def test_a_transport_of_the_users_that_answers_nonsense(lane: Lane, answer: Any) -> None:
    client = lane.wallet(http=lambda request, timeout, cap: answer, policy={"attempts": 1})
    with pytest.raises(remint.RemintError) as failed:
        client.token(timeout=2)
    assert failed.value.code in ("transport_failed", "unexpected_answer", "host_error")


def test_tracebacks_with_locals_show_no_secret(lane: Lane) -> None:
    lane.faults(status=500, count=None)
    shown: list[str] = []

    def show(error: BaseException) -> None:
        shown.extend(traceback.TracebackException.from_exception(error, capture_locals=True).format())

    for make in (
        lambda: remint.Client("phoenix-wallet", client_id="a", client_secret="kanari-secret", scope="nope nope\n"),
        lambda: remint.Client("phoenix-wallet", client_id="a", client_secret="kanari-secret", parameters={"x": b""}),
        lambda: remint.Client("rapidomize", client_id="a", api_token="kanari-secret", grant="api_token", nothing=1),
        lambda: lane.wallet(client_secret="kanari-secret", policy={"attempts": 1}).token(timeout=1),
        lambda: lane.rapidomize().with_subject("x", refresh_token="kanari\nrefresh").token(),
        lambda: lane.rapidomize().exchange("code=kanari-code&state=1", "kanari-session"),
    ):
        try:
            make()
        except remint.RemintError as error:
            show(error)
    text = "".join(shown)
    leaks = [line.strip() for line in _only_ours(text) if "kanari" in line]
    assert leaks == [] and len(shown) > 6


def _only_ours(text: str) -> list[str]:
    """The frames of remint in formatted tracebacks: the test's own show what the test wrote."""
    frames, ours = [], False
    for line in text.splitlines():
        if line.startswith('  File "'):
            ours = "/remint/" in line
        elif line and not line.startswith(" "):
            ours = True
        if ours:
            frames.append(line)
    return frames
