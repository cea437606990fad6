"""What is away or broken: said within seconds, never doubled, and good again by itself."""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from postroom.directory.v1 import directory_pb2
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom.mailstore.v1 import delivery_pb2
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom_contracts.errors import (
    CapabilityExpiredError,
    InvalidCredentialsError,
    LimitError,
    PostroomError,
    UnavailableError,
)
from postroom_contracts.ids import new_id
from postroom_runtime.transfer import Transfers
from postroom_testing.rest_client import RestClient, Serve
from webmail_api.delivering import Delivery
from webmail_api.limits import Limits
from webmail_api.mail_store import MailStore
from webmail_api.sessions import Sessions

SECONDS = 5.0


@pytest.fixture
async def frozen() -> AsyncIterator[str]:
    """The address of a service that takes connections and says nothing."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.close()

    with tempfile.TemporaryDirectory(prefix="pw-") as place:
        server = await asyncio.start_unix_server(hang, str(Path(place) / "s"))
        async with server:
            yield f"unix:{place}/s"


async def _is_said_in_time(port: int, token: str, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=20
    ) as http:
        began = time.monotonic()
        wrong = await RestClient(http).problem(method, path, 503, content=b"{}")
        assert wrong == "unavailable"
        assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize(
    ("setting", "method", "path"),
    [
        ("directory_address", "GET", "/mailboxes"),
        ("mailstore_address", "GET", "/mailboxes"),
        ("filestore_address", "GET", "/files"),
        ("filestore_address", "PUT", "/files/content?path=/x"),
    ],
)
async def test_a_service_that_is_away_is_said_in_time(
    serve: Serve, guest_token: str, setting: str, method: str, path: str
) -> None:
    ports = await serve(**{setting: "unix:/nowhere/at/all"})
    await _is_said_in_time(ports["http"], guest_token, method, path)


@pytest.mark.parametrize("setting", ["directory_address", "mailstore_address"])
async def test_a_service_that_hangs_is_said_in_time(
    serve: Serve, guest_token: str, frozen: str, setting: str
) -> None:
    ports = await serve(**{setting: frozen})
    await _is_said_in_time(ports["http"], guest_token, "GET", "/mailboxes")


@dataclass
class FakeDirectory:
    """Renews and authenticates as it is told."""

    error: PostroomError | None = None
    capability_seconds: float = 600.0
    asked: int = 0
    account: bool = True

    async def RenewCapability(  # noqa: N802
        self, request: directory_pb2.RenewCapabilityRequest, timeout: float
    ) -> directory_pb2.RenewCapabilityResponse:
        self._ask()
        answer = directory_pb2.RenewCapabilityResponse(capability=f"{request.token} {self.asked}")
        answer.capability_expires_at.FromSeconds(int(time.time() + self.capability_seconds))
        if self.account:
            answer.account.address = "ann@postroom.test"
        return answer

    async def AuthenticateAdmin(  # noqa: N802
        self, request: directory_pb2.AuthenticateAdminRequest, timeout: float
    ) -> directory_pb2.AuthenticateAdminResponse:
        self._ask()
        answer = directory_pb2.AuthenticateAdminResponse(capability=request.token)
        answer.capability_expires_at.FromSeconds(int(time.time() + self.capability_seconds))
        return answer

    def _ask(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    def sessions(self, limits: Limits | None = None) -> Sessions:
        return Sessions(cast(DirectoryServiceStub, self), limits or Limits())


async def test_a_token_is_asked_about_once_in_a_while() -> None:
    directory = FakeDirectory()
    sessions = directory.sessions()
    assert await sessions.user("t") == await sessions.user("t")
    assert directory.asked == 1
    assert await sessions.administrator("t") == await sessions.administrator("t")
    assert directory.asked == 2


async def test_a_capability_near_its_end_is_renewed() -> None:
    directory = FakeDirectory(capability_seconds=30.0)
    sessions = directory.sessions()
    first, second = await sessions.user("t"), await sessions.user("t")
    assert first.capability != second.capability


async def test_a_live_capability_is_used_while_directory_is_away() -> None:
    directory = FakeDirectory()
    sessions = directory.sessions(Limits(cached_seconds=0.0))
    user = await sessions.user("t")
    directory.error = UnavailableError()
    assert await sessions.user("t") == user
    with pytest.raises(UnavailableError):
        await sessions.user("another")


@pytest.mark.parametrize("error", [CapabilityExpiredError, InvalidCredentialsError])
async def test_a_session_that_directory_ended_is_over(error: type[PostroomError]) -> None:
    directory = FakeDirectory()
    sessions = directory.sessions(Limits(cached_seconds=0.0))
    await sessions.user("t")
    directory.error = error()
    with pytest.raises(error):
        await sessions.user("t")
    directory.error = UnavailableError()
    with pytest.raises(UnavailableError):
        await sessions.user("t")


async def test_what_is_remembered_of_sessions_is_bounded() -> None:
    directory = FakeDirectory()
    sessions = directory.sessions(Limits(cached_sessions=2, ended_sessions=2))
    for token in ("a", "b", "c", "a"):
        await sessions.user(token)
    assert directory.asked == 4
    for token in ("a", "b", "c"):
        sessions.end(token)
    await sessions.user("a")
    with pytest.raises(CapabilityExpiredError):
        await sessions.user("c")


async def test_a_token_without_an_account_is_nobodys() -> None:
    with pytest.raises(InvalidCredentialsError):
        await FakeDirectory(account=False).sessions().user("t")


@dataclass
class FakeDelivery:
    """Answers Accept as it is told, once for each entry; None breaks the stream."""

    answers: list[delivery_pb2.AcceptResult | None]
    accepted_before: bool | None = False
    accepted: list[bytes] = field(default_factory=list[bytes])
    aborted: list[bytes] = field(default_factory=list[bytes])

    async def Accept(  # noqa: N802
        self, requests: AsyncIterator[delivery_pb2.AcceptRequest]
    ) -> AsyncGenerator[delivery_pb2.AcceptResponse]:
        async for request in requests:
            self.accepted.append(request.items[0].id)
            if (answer := self.answers.pop(0)) is None:
                raise UnavailableError
            yield delivery_pb2.AcceptResponse(results=[answer])

    async def Abort(  # noqa: N802
        self, request: delivery_pb2.AbortRequest, timeout: float
    ) -> delivery_pb2.AbortResponse:
        self.aborted.append(request.id)
        if self.accepted_before is None:
            raise UnavailableError
        return delivery_pb2.AbortResponse(accepted_before=self.accepted_before)

    async def accept(self) -> None:
        """Give a message to it."""
        unused = cast("MailStore", SimpleNamespace())
        delivery = Delivery(
            cast(DeliveryServiceStub, self), unused, cast(Transfers, unused), Limits(call_seconds=1.0)
        )
        await delivery.accept(delivery_pb2.AcceptItem(id=new_id().bytes), b"Subject: x\r\n\r\n")


TAKEN = delivery_pb2.AcceptResult(outcome=delivery_pb2.AcceptResult.OUTCOME_ACCEPTED)
FULL = delivery_pb2.AcceptResult(outcome=delivery_pb2.AcceptResult.OUTCOME_REFUSED, error="limit")


async def test_a_broken_stream_is_tried_again_with_the_same_id() -> None:
    delivery = FakeDelivery([None, TAKEN])
    await delivery.accept()
    assert len(delivery.accepted) == 2
    assert len(set(delivery.accepted)) == 1
    assert delivery.aborted == []


async def test_a_message_whose_fate_is_unknown_is_aborted() -> None:
    delivery = FakeDelivery([None, None])
    with pytest.raises(UnavailableError):
        await delivery.accept()
    assert delivery.aborted == delivery.accepted[:1]


async def test_a_message_that_was_accepted_after_all_is_sent() -> None:
    await FakeDelivery([None, None], accepted_before=True).accept()


async def test_a_store_that_cannot_even_abort_leaves_the_client_to_try_again() -> None:
    with pytest.raises(UnavailableError):
        await FakeDelivery([None, None], accepted_before=None).accept()


async def test_a_refusal_of_the_store_is_the_answer() -> None:
    delivery = FakeDelivery([FULL])
    with pytest.raises(LimitError):
        await delivery.accept()
    assert delivery.aborted == []
