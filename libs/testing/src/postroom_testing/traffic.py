"""Clients of a release's pods that go on whatever happens, and note all that they should never meet.

Each tries a thing once, under a name of its own, and believes what it is told: done, or come again. It keeps
its connection for as long as it can; a new one goes to a pod that a balancer would choose.
"""

import asyncio
import base64
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import httpx

from postroom_testing.imap_client import ImapClient
from postroom_testing.smtp_client import SmtpClient

_LARGE_OCTETS: Final = 400_000
_EVERY_LARGE: Final = 12
_BACK_SECONDS: Final = 0.3
_IDLE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody of ours."""

    address: str
    password: str


@dataclass
class Notes:
    """What the clients were told."""

    done: set[str] = field(default_factory=set[str])
    """The names of what was acknowledged; whatever else was tried must not have happened."""
    tried: Counter[str] = field(default_factory=Counter[str])
    """How often each kind of client tried something."""
    farewells: Counter[str] = field(default_factory=Counter[str])
    """How often each kind was told, between two commands, to come again."""
    wrong: list[str] = field(default_factory=list[str])
    """What a client should never be told."""


class FarewellError(Exception):
    """The server has said that it ends."""


@dataclass
class Traffic:
    """`endpoints` tells where the pods of a service are; `trust` knows their certificate."""

    account: Account
    endpoints: Callable[[str], list[str]]
    trust: ssl.SSLContext
    elsewhere: str
    notes: Notes = field(default_factory=Notes)
    _ending: bool = False

    async def run(self) -> None:
        """All clients, until `end`."""
        clients = {
            "in": self._send_in,
            "too": self._send_in,
            "out": self._send_out,
            "append": self._append,
            "read": self._read,
            "idle": self._idle,
            "rest": self._rest,
        }
        async with asyncio.TaskGroup() as group:
            for kind, connect in clients.items():
                group.create_task(self._go_on(kind, connect))

    def end(self) -> None:
        """Begin nothing more."""
        self._ending = True

    async def _go_on(self, kind: str, connect: Callable[[str], Awaitable[None]]) -> None:
        """One connection after the other."""
        while not self._ending:
            try:
                await connect(kind)
            except FarewellError:
                self.notes.farewells[kind] += 1
            except (OSError, EOFError, TimeoutError, AssertionError, httpx.HTTPError) as error:
                self.notes.wrong.append(f"{kind}-{self.notes.tried[kind]}: {error!r}")
                await asyncio.sleep(_BACK_SECONDS)

    async def _turns(self, kind: str, pause: float) -> AsyncIterator[str]:
        """The names of what to do over one connection, which nobody ends but the server."""
        while not self._ending:
            await asyncio.sleep(pause)
            self.notes.tried[kind] += 1
            yield f"{kind}-{self.notes.tried[kind]}"

    def _choose(self, service: str) -> str:
        return random.choice(self.endpoints(service))  # as kube-proxy does

    async def _send_in(self, kind: str) -> None:
        """Mail from elsewhere, now and then a large one."""
        async with SmtpClient.connected(2025, host=self._choose("smtp-inbound")) as client:
            _polite(client.greeting, "220")
            _polite(await client.say("EHLO client.example"), "250")
            async for name in self._turns(kind, 0.1):
                large = self.notes.tried[kind] % _EVERY_LARGE == 0
                text = b"a line of it\r\n" * (_LARGE_OCTETS // 14 if large else 20)
                await self._mail(client, name, self.account.address, text)
            client.send(b"QUIT\r\n")

    async def _send_out(self, kind: str) -> None:
        """Mail to elsewhere."""
        login = f"\0{self.account.address}\0{self.account.password}".encode()
        address = self._choose("smtp-inbound")
        async with SmtpClient.connected(2465, host=address, tls=self.trust) as client:
            _polite(client.greeting, "220")
            _polite(await client.say("EHLO client.example"), "250")
            _polite(await client.say("AUTH PLAIN " + base64.b64encode(login).decode()), "235")
            async for name in self._turns(kind, 0.3):
                await self._mail(client, name, f"bob@{self.elsewhere}", b"to the world\r\n")
            client.send(b"QUIT\r\n")

    async def _mail(self, client: SmtpClient, name: str, recipient: str, text: bytes) -> None:
        for command in (f"MAIL FROM:<{self.account.address}>", f"RCPT TO:<{recipient}>"):
            _polite(await client.say(command), "250")
        _polite(await client.say("DATA"), "354")
        _polite(await client.content(f"Subject: {name}\r\n\r\n".encode() + text), "250")
        self.notes.done.add(name)

    async def _imap(self) -> ImapClient:
        client = await ImapClient.connect(self._choose("mail-access"), 2993, self.trust)
        if client.greeting.startswith(b"* BYE"):
            raise FarewellError
        await _say(
            client,
            f"LOGIN {self.account.address} {{{len(self.account.password)}+}}\r\n{self.account.password}",
        )
        await _say(client, "SELECT INBOX")
        return client

    async def _append(self, kind: str) -> None:
        """Messages that a client files itself."""
        client = await self._imap()
        try:
            async for name in self._turns(kind, 0.3):
                octets = f"Subject: {name}\r\n\r\nfiled\r\n".encode()
                await _say(client, f"APPEND INBOX {{{len(octets)}+}}\r\n".encode() + octets)
                self.notes.done.add(name)
        finally:
            await client.close()

    async def _read(self, kind: str) -> None:
        """Whoever looks, and marks what has been seen."""
        client = await self._imap()
        try:
            async for _ in self._turns(kind, 0.1):
                await _say(client, "NOOP")
                await _say(client, "UID FETCH * (FLAGS BODY.PEEK[])")
                await _say(client, "UID STORE * +FLAGS.SILENT (\\Seen)")
        finally:
            await client.close()

    async def _idle(self, kind: str) -> None:
        """Whoever waits for mail; news comes all the time."""
        client = await self._imap()
        try:
            async for _ in self._turns(kind, 0.0):
                tag = client.send_command("IDLE")
                await _until(client, b"+ ")
                try:
                    async with asyncio.timeout(_IDLE_SECONDS):
                        await _until(client, b"* ")
                except TimeoutError:
                    raise AssertionError("no news") from None
                client.send(b"DONE\r\n")
                await _until(client, tag + b" OK")
        finally:
            await client.close()

    async def _rest(self, kind: str) -> None:
        """A program that reads and sends over REST."""
        base = f"https://{self._choose('webmail-api')}:2443/api/v1/"
        async with httpx.AsyncClient(base_url=base, verify=self.trust, trust_env=False, timeout=20.0) as api:
            credentials = {"address": self.account.address, "password": self.account.password}
            session = await _ask(api, "POST", "session", credentials)
            api.headers["Authorization"] = f"Bearer {session['token']}"
            async for name in self._turns(kind, 0.3):
                await _ask(api, "GET", "mailboxes")
                message = {"to": [{"address": self.account.address}], "subject": name, "text": "Hi\n"}
                await _ask(api, "POST", "messages", message)
                self.notes.done.add(name)


def _polite(reply: str, wanted: str) -> None:
    """Either what is wanted, or a farewell."""
    if reply.startswith("421"):
        raise FarewellError
    if not reply.startswith(wanted):
        raise AssertionError(f"{reply!r} in place of {wanted}")


async def _say(client: ImapClient, command: str | bytes) -> None:
    tag = client.send_command(command)
    await _until(client, tag + b" OK")


async def _until(client: ImapClient, wanted: bytes) -> None:
    """Up to a response that begins so; any tagged one ends it."""
    while True:
        response = await client.response()
        if response.startswith(b"* BYE"):
            raise FarewellError
        if response.startswith(wanted):
            return
        if not response.startswith(b"* "):
            raise AssertionError(f"{response!r} in place of {wanted!r}")


async def _ask(api: httpx.AsyncClient, method: str, path: str, document: object = None) -> dict[str, str]:
    try:
        answer = await api.request(method, path, json=document)
    except httpx.TransportError as error:
        if "Authorization" not in api.headers:
            raise
        # A connection that is kept may be closed between two requests (RFC 9112 s9.5), and then made anew.
        raise FarewellError from error
    if not answer.is_success:
        raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
    return answer.json()
