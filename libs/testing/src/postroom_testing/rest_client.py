"""A client of the REST API for tests: it says what it expects, and shows what came instead."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import httpx

API: Final = "/api/v1"
_SETTLED_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02


@dataclass
class RestClient:
    """An account that is logged in; paths are below the API's base."""

    http: httpx.AsyncClient
    address: str = ""

    async def log_in(self, address: str, password: str) -> None:
        """Carry a session from now on."""
        credentials = {"address": address, "password": password}
        session = await self.ask("POST", "/session", 201, json=credentials)
        self.address = address
        self.http.headers["Authorization"] = f"Bearer {session['token']}"

    async def ask(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The document of an answer with this status."""
        response = await self.http.request(method, API + path, **options)
        _expect(response, status)
        return response.json() if response.content else None

    async def octets(self, path: str, status: int = 200, **options: Any) -> httpx.Response:
        """An answer that is no document."""
        response = await self.http.get(API + path, **options)
        _expect(response, status)
        return response

    async def problem(self, method: str, path: str, status: int, **options: Any) -> str:
        """The name of the problem that is answered with this status."""
        response = await self.http.request(method, API + path, **options)
        _expect(response, status)
        document = response.json()
        kind, title = response.headers["content-type"], document.get("title")
        if kind != "application/problem+json" or document.get("status") != status or not title:
            raise AssertionError(f"not a problem: {kind} {response.text}")
        return str(document["type"]).removeprefix("urn:postroom:problem:")

    async def mailbox(self, special_use: str) -> str:
        """The id of the mailbox for this use."""
        found = await self.ask("GET", "/mailboxes")
        return next(each["id"] for each in found["items"] if each["special_use"] == special_use)

    async def messages(self, special_use: str = "inbox", count: int = 1) -> list[Any]:
        """What is in a mailbox once there are so many."""
        mailbox_id = await self.mailbox(special_use)
        async with asyncio.timeout(_SETTLED_SECONDS):
            while True:
                found = (await self.ask("GET", f"/mailboxes/{mailbox_id}/messages"))["items"]
                if len(found) >= count:
                    return found
                await asyncio.sleep(_POLL_SECONDS)

    async def send(self, *recipients: str, **fields: Any) -> Any:
        """Send a message."""
        message = {"to": [{"address": each} for each in recipients], "subject": "Hello", "text": "Hi\n"}
        return await self.ask("POST", "/messages", 201, json=message | fields)


class Connect(Protocol):
    """Makes a client for a fresh account."""

    async def __call__(self, name: str = "carol") -> RestClient:
        """`name` is how its address begins."""
        ...


Append: TypeAlias = Callable[[RestClient, bytes], Awaitable[str]]
"""Files any octets in somebody's inbox; gives the message's id."""

Serve: TypeAlias = Callable[..., Awaitable[dict[str, int]]]
"""Starts another REST service with these settings changed; gives its ports by name."""


def _expect(response: httpx.Response, status: int) -> None:
    if response.status_code != status:
        raise AssertionError(f"{response.status_code} instead of {status}: {response.text}")
