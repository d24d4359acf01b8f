"""What users write, for type checkers: nothing here runs."""

from __future__ import annotations

from typing import Optional, Union

import aiohttp
import httpx
import httpx2
import redis
import redis.asyncio
import remint
import remint.aiohttp
import remint.core
import remint.httpx
import remint.httpx2
import remint.redis
import remint.requests
import requests
from aiohttp import ClientMiddlewareType
from remint.file import FileStore
from remint.store import AsyncStore, Conflict, Held, Locked, Saved, Store, StoreDown
from requests.auth import AuthBase


def threads(secret: str) -> float:
    with remint.Client("phoenix-wallet", client_id="id", client_secret=lambda: secret, scope=["wallets:read"]) as wallet:
        token: remint.Token = wallet.token(min_ttl=60, timeout=5)
        cached: Optional[remint.Token] = wallet.peek()
        header: str = (cached or token).authorization
        headers: dict[str, str] = wallet.headers("GET", "https://api.example")
        if wallet.reject(token, "GET", "https://api.example", 401, headers) == "retry":
            token = wallet.token(force=True)
        ann: remint.Client = wallet.with_subject("ann", refresh_token="r", on_rotated=print).with_scope("a b")
        url, session = ann.authorization_url("https://app.example/callback", scope="a", parameters={"prompt": "none"})
        token = ann.exchange({"code": header, "state": url}, session, "ann")
        address, extra = ann.insecure_url("https://api.example")
        scope: Optional[str] = token.scope
        return token.expires_in() + token.expires_at + token.generation + len(address + str(extra) + str(scope))


def people(key: bytes) -> str:
    client = remint.Client("acme", grant="device_code", dpop=key, signing_key={"key": remint.generate_key("EdDSA"), "kid": "1"})
    device: remint.DeviceAuthorization = client.device_authorization(scope="a", parameters={"acr": "1"})
    token: remint.Token = client.poll(device.session, "ann", on_rotated=print, timeout=60)
    asked: remint.BackchannelAuthentication = client.backchannel_authentication(login_hint="ann", requested_expiry=60)
    url, session = client.authorization_url(authorization_details=[{"type": "payment"}], timeout=5)
    about = client.introspect(token, "access_token")
    client.revoke(token)
    client.revoke()
    client.renew(dpop="generate")
    view: remint.Client = client.with_resource("https://a.example").with_subject("ann", subject_token=url, actor_token=session)
    complete: Optional[str] = device.verification_uri_complete
    return device.user_code + str(complete) + asked.session + str(about["active"]) + str(view)


async def tasks() -> str:
    async def secret() -> str:
        return "secret"

    async with remint.AsyncClient("phoenix-wallet", client_id="id", client_secret=secret) as wallet:
        token: remint.Token = await wallet.token()
        view: remint.AsyncClient = wallet.with_scope(["a"])
        url, session = await view.authorization_url()
        await view.exchange(url, session)
        device: remint.DeviceAuthorization = await wallet.device_authorization()
        token = await wallet.poll(device.session)
        asked: remint.BackchannelAuthentication = await wallet.backchannel_authentication(login_hint="ann")
        await wallet.revoke((await wallet.introspect(asked.session))["sub"])
        await wallet.invalidate()
        async with aiohttp.ClientSession(middlewares=(remint.aiohttp.Auth(wallet),)) as http:
            await http.get(url)
        async with httpx.AsyncClient(auth=remint.httpx.Auth(wallet), transport=remint.httpx.AsyncTransport()) as one:
            await one.get(url)
        async with httpx2.AsyncClient(auth=remint.httpx2.Auth(wallet), transport=remint.httpx2.AsyncTransport()) as two:
            await two.get(url)
        middleware: ClientMiddlewareType = remint.aiohttp.Auth(wallet)
        return token.access_token + str(middleware)


def registers(http: httpx.Client) -> Optional[int]:
    registrar = remint.Registrar("discovery", issuer="https://auth.example", http=http, request_timeout=5, policy={"answer_cap": 4096})
    client: remint.RegisteredClient = registrar.register({"client_name": "Nightly job"}, initial_access_token="t", software_statement="a.b.c")
    kept = remint.RegisteredClient(
        client_id=client.client_id,
        client_secret=client.client_secret,
        registration_access_token=client.registration_access_token,
        registration_client_uri=client.registration_client_uri,
    )
    name: str = registrar.update(registrar.read(kept), {**client.metadata, "client_name": "Another"}).metadata["client_name"]
    registrar.delete(kept)
    return client.client_secret_expires_at or client.client_id_issued_at or len(name)


async def registers_by_tasks() -> str:
    registrar = remint.AsyncRegistrar("acme", allow_loopback_http=True, http=remint.aiohttp.transport(aiohttp.ClientSession))
    client: remint.RegisteredClient = await registrar.register('{"client_name": "Nightly job"}')
    client = await registrar.update(await registrar.read(client), client.metadata)
    await registrar.delete(client)
    return client.client_id


def libraries(client: remint.Client) -> None:
    by_requests: AuthBase = remint.requests.Auth(client)
    by_httpx: httpx.Auth = remint.httpx.Auth(client)
    by_httpx2: httpx2.Auth = remint.httpx2.Auth(client)
    requests.get("https://api.example", auth=by_requests, timeout=5)
    httpx.Client(auth=by_httpx, transport=remint.httpx.Transport()).get("https://api.example")
    httpx2.Client(auth=by_httpx2, transport=remint.httpx2.Transport(httpx2.HTTPTransport(retries=1)))
    remint.Client("personify", http=remint.requests.transport(requests.Session()), tenant_id="t")


class Own:
    """A store of the user's own."""

    def load(self, key: str) -> Optional[str]:
        return key

    def lock(self, key: str, owner: str, ttl: float) -> Union[Locked, Held]:
        return Locked() if ttl else Held(retry_in=1, record=key + owner)

    def save(self, key: str, expect: Optional[str], record: str, ttl: float, unlock: Optional[str]) -> Union[Saved, Conflict]:
        if expect is None:
            raise StoreDown("out of order")
        return Conflict(key) if unlock else Saved()


class Awaited:
    async def load(self, key: str) -> Optional[str]:
        return key

    async def lock(self, key: str, owner: str, ttl: float) -> Union[Locked, Held]:
        return Own().lock(key, owner, ttl)

    async def save(self, key: str, expect: Optional[str], record: str, ttl: float, unlock: Optional[str]) -> Union[Saved, Conflict]:
        return Own().save(key, expect, record, ttl, unlock)


def stores(key: bytes) -> list[object]:
    of_threads: list[Store] = [
        FileStore("/var/lib/app/tokens"),
        remint.redis.RedisStore(redis.Redis(host="localhost", socket_timeout=1), prefix="app:"),
        remint.redis.RedisStore(redis.RedisCluster(host="localhost"), insecure_plaintext=True),
        Own(),
    ]
    of_tasks: list[AsyncStore] = [
        remint.redis.AsyncRedisStore(redis.asyncio.Redis(host="localhost")),
        remint.redis.AsyncRedisStore(lambda: redis.asyncio.RedisCluster(host="localhost"), prefix="app:"),
        Awaited(),
    ]
    clients: list[object] = []
    for store in of_threads:
        clients.append(remint.Client("acme", store=store, store_keys=[{"id": "2026-11", "key": key}, {"id": "2026-10", "key": "base64url"}]))
        clients.append(remint.AsyncClient("acme", store=store))
    return clients + [remint.AsyncClient("acme", store=awaited) for awaited in of_tasks]


def errors(client: remint.Client) -> Optional[float]:
    try:
        client.token()
    except remint.ServerError as error:
        code: str = error.code
        stronger: tuple[Optional[str], Optional[int]] = (error.acr_values, error.max_age)
        if stronger[1] is not None:
            return None
        return error.retry_after if error.retryable else float(error.status or len(code))
    except (remint.UsageError, remint.TransportError, remint.RemintError) as error:
        raise ValueError(error.hint) from error
    return None


def machine() -> remint.core.Exchange:
    core = remint.core.Core({"profile": "phoenix-wallet", "client_id": "id", "client_secret": "secret"})
    core.handle({"ask": {}}, remint.core.now(), bytes(32))
    return core.build({"client_credentials": {}})
