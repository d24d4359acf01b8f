"""Does to `remint.Client` (or, told `asyncio`, to `remint.AsyncClient`) what it reads, one JSON object per line. See ../README.md."""

import asyncio
import inspect
import json
import logging
import ssl
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import httpx
import redis
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.retry
import redis.sentinel
import remint
import remint.httpx as httpx_adapter
import remint.redis
import remint.requests as requests_adapter
import requests
from redis.backoff import NoBackoff
from remint.file import FileStore

ASYNC = sys.argv[1:] == ["asyncio"]


class Losses:
    """How many answers that arrived are still to be lost."""

    def __init__(self):
        self.count = 0

    def lose(self, error):
        if self.count:
            self.count -= 1
            raise error("the answer was lost on its way")


class LosingAdapter(requests.adapters.HTTPAdapter):
    def __init__(self, losses):
        super().__init__()
        self.losses = losses

    def send(self, *arguments, **options):
        response = super().send(*arguments, **options)
        self.losses.lose(requests.ConnectionError)
        return response


class LosingTransport(httpx.AsyncHTTPTransport):
    def __init__(self, losses):
        super().__init__()
        self.losses = losses

    async def handle_async_request(self, request):
        response = await super().handle_async_request(request)
        await response.aread()
        self.losses.lose(httpx.ReadError)
        return response


def lossy_http(losses):
    """The user's own HTTP client."""
    if ASYNC:
        return httpx_adapter.transport(lambda: httpx.AsyncClient(transport=LosingTransport(losses)))
    session = requests.Session()
    session.mount("http://", LosingAdapter(losses))
    return session


def shared(told):
    """The store that is told, over a client of the user's own."""
    if "file" in told:
        return FileStore(told["file"])
    library, retry = (redis.asyncio, redis.asyncio.retry.Retry) if ASYNC else (redis, redis.retry.Retry)
    options = {"socket_timeout": 10, "socket_connect_timeout": 10, "retry": retry(NoBackoff(), 1)}
    if "sentinel" in told:
        watchers = [place(address) for address in told["sentinel"]]
        client = library.sentinel.Sentinel(watchers, socket_timeout=10).master_for(told["master"], **options)
    elif "cluster" in told:
        nodes = [library.cluster.ClusterNode(*place(address)) for address in told["cluster"]]
        client = library.cluster.RedisCluster(startup_nodes=nodes, **options)
    else:
        client = library.Redis.from_url(told["redis"], **options)
    kind = remint.redis.AsyncRedisStore if ASYNC else remint.redis.RedisStore
    return kind(client, told.get("prefix", "remint:"))


def place(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


class Driver:
    def __init__(self):
        self.clients = {}
        self.notices = {}
        self.rotated = {}
        self.losses = {}
        self.connections = {}

    def client(self, name, profile, options, lossy=False):
        if lossy:
            self.losses[name] = Losses()
            options["http"] = lossy_http(self.losses[name])
        for option, names in (("signing_key", ("alg", "kid")), ("dpop", ("alg", "required"))):
            if "pem" in (key := options.get(option) or {}):
                options[option] = {"key": key["pem"], **{name: key[name] for name in names if name in key}}
        if "store" in options:
            options["store"] = shared(options["store"])
        # The connections to APIs are the user's own, and so are their certificates.
        self.connections[name] = (options.get("ca"), options.get("client_certificate"))
        self.notices[name] = []
        kind = remint.AsyncClient if ASYNC else remint.Client
        self.clients[name] = kind(profile, on_notice=self.notices[name].append, **options)

    async def register(self, profile, options, request):
        registrar = (remint.AsyncRegistrar if ASYNC else remint.Registrar)(profile, **options)
        (verb, given), = request.items()
        if verb == "register":
            arguments = given
        else:
            metadata = {"metadata": given.pop("metadata")} if verb == "update" else {}
            # Who reads or deletes a registration need not know what it is called.
            arguments = {"client": remint.RegisteredClient(**{"client_id": "unknown", **given}), **metadata}
        client = await settled(getattr(registrar, verb)(**arguments))
        return client and {**{name: getattr(client, name) for name in REGISTERED}, "shown": f"{client} {client!r}"}

    async def token(self, client, **arguments):
        return shown(await settled(self.clients[client].token(**arguments)))

    async def tokens(self, client, callers):
        client = self.clients[client]
        if ASYNC:
            return [shown(token) for token in await asyncio.gather(*(client.token() for _ in range(callers)))]
        with ThreadPoolExecutor(callers) as pool:
            return [shown(token) for token in pool.map(lambda _: client.token(), range(callers))]

    async def call(self, client, url, method="GET"):
        ca, pair = self.connections[client]
        if ASYNC:
            context = ssl.create_default_context(cafile=ca)
            if pair:
                context.load_cert_chain(pair["certificate"], pair["key"])
            async with httpx.AsyncClient(auth=httpx_adapter.Auth(self.clients[client]), verify=context) as http:
                return (await http.request(method, url)).status_code
        cert = pair and (pair["certificate"], pair["key"])
        auth = requests_adapter.Auth(self.clients[client])
        return requests.request(method, url, auth=auth, verify=ca or True, cert=cert, timeout=10).status_code

    async def authorization_url(self, client, redirect_uri, scope=None, **more):
        url, session = await settled(self.clients[client].authorization_url(redirect_uri, scope=scope, **more))
        return {"url": url, "session": session}

    async def device_authorization(self, client, scope=None):
        return pending(await settled(self.clients[client].device_authorization(scope=scope)))

    async def backchannel(self, client, scope=None, login_hint=None, binding_message=None):
        client = self.clients[client]
        return pending(await settled(client.backchannel_authentication(scope=scope, login_hint=login_hint, binding_message=binding_message)))

    async def poll(self, client, session, subject, view):
        on_rotated = self.derive(client, view)
        token = await settled(self.clients[client].poll(session, subject, on_rotated=on_rotated))
        self.clients[view] = self.clients[client].with_subject(subject)
        return shown(token)

    async def invalidate(self, client):
        await settled(self.clients[client].invalidate())

    async def introspect(self, client, token, hint=None):
        claims = await settled(self.clients[client].introspect(token, hint))
        return {"active": claims["active"], "claims": claims}

    async def revoke(self, client, token=None, hint=None):
        await settled(self.clients[client].revoke(token, hint))

    def with_resource(self, client, resource, view):
        self.derive(client, view)
        resource = [resource] if isinstance(resource, str) else resource
        self.clients[view] = self.clients[client].with_resource(*resource)

    def with_subject(self, client, subject, view, **tokens):
        self.derive(client, view)
        self.clients[view] = self.clients[client].with_subject(subject, **tokens)

    async def exchange(self, client, view, callback, session, subject):
        on_rotated = self.derive(client, view)
        token = await settled(self.clients[client].exchange(callback, session, subject, on_rotated=on_rotated))
        self.clients[view] = self.clients[client].with_subject(subject)
        return shown(token)

    def adopt(self, client, view, subject, refresh_token):
        on_rotated = self.derive(client, view)
        self.clients[view] = self.clients[client].with_subject(subject, refresh_token=refresh_token, on_rotated=on_rotated)

    def derive(self, client, view):
        self.rotated[view] = []
        self.notices[view] = self.notices[client]
        self.losses[view] = self.losses.get(client)
        self.connections[view] = self.connections[client]
        return self.rotated[view].append

    def rotated_tokens(self, client):
        return self.rotated[client]

    def lose_answers(self, client, count):
        self.losses[client].count = count

    def notices_so_far(self, client):
        notices = [{**notice, "why": str(getattr(notice, "cause", None) or "")} for notice in self.notices[client]]
        self.notices[client].clear()
        return notices

    async def close(self):
        for client in self.clients.values():
            await settled(client.close())


REGISTERED = ("client_id", "client_secret", "registration_client_uri", "registration_access_token", "metadata")
VERBS = {"rotated": Driver.rotated_tokens, "notices": Driver.notices_so_far}


async def settled(result):
    return await result if inspect.isawaitable(result) else result


def pending(asked):
    return {**asked._asdict(), "shown": f"{asked} {asked!r}"}


def shown(token):
    return {
        "access_token": token.access_token,
        "token_type": token.token_type,
        "expires_in": token.expires_in(),
        "scope": token.scope,
        "shown": f"{token} {token!r}",
    }


async def obey(driver, verb, **arguments):
    try:
        run = VERBS.get(verb) or getattr(Driver, verb)
        return {"ok": await settled(run(driver, **arguments))}
    except remint.RemintError as error:
        names = ("code", "family", "status", "retryable", "oauth_error", "hint", "ambiguous", "acr_values", "max_age")
        facts = {name: getattr(error, name) for name in names}
        return {"error": {**facts, "message": str(error), "shown": "".join(traceback.format_exception(type(error), error, error.__traceback__)) + repr(error)}}
    except Exception:
        return {"broken": traceback.format_exc()}


async def main():
    logging.basicConfig(level=logging.DEBUG)
    driver = Driver()
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await obey(driver, **json.loads(line))), flush=True)
    await driver.close()


asyncio.run(main())
