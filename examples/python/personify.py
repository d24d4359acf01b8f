"""Personify, in asyncio: the tenant's id goes on every API request beside the token."""

import asyncio
import os

import aiohttp
import remint
from remint.aiohttp import Auth

BASE_URL = os.environ["BASE_URL"]

personify = remint.AsyncClient(
    "personify",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    tenant_id=os.environ["TENANT_ID"],
    token_endpoint=os.environ.get("TOKEN_ENDPOINT"),
    base_url=BASE_URL,
    allow_loopback_http=True,
)


async def main() -> None:
    async with aiohttp.ClientSession(middlewares=(Auth(personify),)) as session:

        async def customers(page: int) -> str:
            async with session.get(f"{BASE_URL}/v1/customers?page={page}") as answer:
                return await answer.text()

        # However many ask at once: there is one token request.
        for text in await asyncio.gather(*map(customers, range(50))):
            print(text)


asyncio.run(main())
