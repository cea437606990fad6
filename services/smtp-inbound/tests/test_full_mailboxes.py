"""Recipients whose accounts keep as much as they may."""

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from postroom.directory.v1 import directory_pb2
from postroom.mailstore.v1 import delivery_pb2
from postroom_contracts.errors import MethodMissingError, PostroomError, UnavailableError
from postroom_testing.core import Core
from postroom_testing.smtp_client import SmtpClient
from postroom_testing.smtp_house import SmtpHouse
from smtp_inbound.rooms import FindFull, Limits, Rooms

OUTSIDER = "someone@example.org"
FULL = "452 4.2.2 Mailbox is full"
TAKEN = "250 2.1.5 Recipient OK"

_LIMIT = "UPDATE directory.account SET quota_messages = $2 WHERE id = $1"


@asynccontextmanager
async def limited(core: Core, address: str, *, messages: int) -> AsyncGenerator[None]:
    """This account may keep so many messages for a while."""
    await core.fetch(_LIMIT, core.accounts[address], messages)
    try:
        yield
    finally:
        await core.fetch(_LIMIT, core.accounts[address], None)


async def test_a_full_account_takes_no_more_mail_and_its_neighbour_does(house: SmtpHouse) -> None:
    core = house.core
    full, roomy = await core.add_accounts("full", "roomy")
    async with SmtpClient.connected(house.port) as client:
        assert (await client.mail(OUTSIDER, full)).startswith("250 2.0.0")
        assert (await client.mail(OUTSIDER, roomy)).startswith("250 2.0.0")
        for address in (full, roomy):
            await core.wait_inbox(address, 1)
        async with limited(core, full, messages=1), limited(core, roomy, messages=2):
            await client.say(f"MAIL FROM:<{OUTSIDER}>")
            assert await client.say(f"RCPT TO:<{full}>") == FULL
            assert await client.say(f"RCPT TO:<{roomy}>") == TAKEN
        assert await client.say(f"RCPT TO:<{full}>") == TAKEN


class Store:
    """Says who is full, or raises."""

    def __init__(self, *full: bytes, error: PostroomError | None = None) -> None:
        self.full, self.error = set(full), error
        self.asked: list[list[bytes]] = []

    async def find_full(self, accounts: Sequence[delivery_pb2.AccountBound]) -> Collection[bytes]:
        self.asked.append([each.account_id for each in accounts])
        if self.error is not None:
            raise self.error
        return self.full


class Clock:
    """Stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def target(name: bytes, messages: int | None = 1) -> directory_pb2.Target:
    found = directory_pb2.Target(account_id=name)
    if messages is not None:
        found.quota.messages = messages
    return found


_PORT: FindFull = Store().find_full


async def test_who_has_no_quota_is_not_asked_about() -> None:
    store = Store(b"ann")
    rooms = Rooms(store.find_full)
    assert not await rooms.is_full([target(b"ann", None)])
    assert not await rooms.is_full([directory_pb2.Target(remote_address="x@example.org")])
    assert not await rooms.is_full([])
    assert store.asked == []


async def test_an_address_is_full_when_all_that_it_leads_to_are() -> None:
    rooms = Rooms(Store(b"ann", b"bob").find_full)
    assert await rooms.is_full([target(b"ann"), target(b"bob")])
    assert not await rooms.is_full([target(b"ann"), target(b"carol")])
    assert not await rooms.is_full([target(b"ann"), target(b"bob", None)])


async def test_what_was_said_holds_for_a_moment() -> None:
    store, clock = Store(b"ann"), Clock()
    rooms = Rooms(store.find_full, clock=clock)
    for _ in range(3):
        assert await rooms.is_full([target(b"ann")])
    assert not await rooms.is_full([target(b"ann"), target(b"bob")])
    assert store.asked == [[b"ann"], [b"bob"]]
    clock.now = Limits().seconds
    store.full.clear()
    assert not await rooms.is_full([target(b"ann")])
    assert store.asked[2:] == [[b"ann"]]


@pytest.mark.parametrize("error", [UnavailableError("away"), MethodMissingError("an older store")])
async def test_where_nobody_can_say_there_is_room_and_nobody_asks_for_a_moment(error: PostroomError) -> None:
    store = Store(error=error)
    rooms = Rooms(store.find_full)
    for _ in range(3):
        assert not await rooms.is_full([target(b"ann")])
    assert len(store.asked) == 1


async def test_no_more_is_remembered_than_allowed() -> None:
    store = Store(b"ann", b"bob", b"carol")
    rooms = Rooms(store.find_full, Limits(accounts=2, asked=2))
    for name in (b"ann", b"bob", b"carol", b"ann"):
        assert await rooms.is_full([target(name)])
    assert len(store.asked) == 4
    assert not await rooms.is_full([target(name) for name in (b"ann", b"bob", b"carol")])
