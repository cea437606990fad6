"""Postgres away, frozen and back under way; NATS away."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from directory.main import MIGRATIONS
from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import new_id
from postroom_testing.postgres_faults import FaultyPostgres, faulty_postgres

LOGIN = pb.AuthenticateRequest(
    address="ann@example.com", password="correct horse battery", scope=pb.SCOPE_IMAP, peer_address="192.0.2.1"
)
RESOLVE = pb.ResolveRecipientsRequest(addresses=["ann@example.com"])
KEYS = pb.GetCapabilityKeysRequest()


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyPostgres]:
    """A migrated server of the test's own, running."""
    async with faulty_postgres() as server:
        await server.start()
        await MIGRATIONS.run(server.address.url("directory"), require_durable=False)
        yield server


async def _works(edge: DirectoryServiceStub, mx: DirectoryServiceStub, admin: Any) -> None:
    await asyncio.sleep(0.2)
    await edge.Authenticate(LOGIN)
    await mx.ResolveRecipients(RESOLVE)
    await admin.stub.ListAccounts(pb.ListAccountsRequest(), metadata=admin.metadata)


async def _unavailable_in_time(edge: DirectoryServiceStub, mx: DirectoryServiceStub, admin: Any) -> None:
    begun = time.monotonic()
    calls: list[Awaitable[object]] = [
        edge.Authenticate(LOGIN),
        mx.ResolveRecipients(RESOLVE),
        admin.account("bob@example.com"),
    ]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {UnavailableError}
    assert time.monotonic() - begun < 8  # 5 s, and what a busy machine adds


async def test_while_postgres_is_away_or_frozen_the_answer_is_try_again_and_then_it_works_by_itself(
    faulty: FaultyPostgres, start: Any
) -> None:
    replica = await start(faulty.address)
    edge, mx = await replica.client(), await replica.client("smtp-inbound")
    admin = await replica.admin()
    await admin.domain()
    await admin.account("ann@example.com")
    await _works(edge, mx, admin)

    async def freeze() -> None:
        faulty.freeze()

    async def thaw() -> None:
        faulty.thaw()

    faults: list[tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]] = [
        (faulty.stop, faulty.start),
        (freeze, thaw),
        (faulty.kill, faulty.start),
    ]
    for begin, end in faults:
        await begin()
        await _unavailable_in_time(edge, mx, admin)
        # What is known of keys goes on being told: stores verify capabilities without Postgres.
        assert (await edge.GetCapabilityKeys(KEYS)).keys
        await end()
        await _works(edge, mx, admin)


async def test_changes_whose_outcome_is_unknown_after_a_kill_are_made_once(
    faulty: FaultyPostgres, start: Any
) -> None:
    admin = await (await start(faulty.address)).admin()
    await admin.domain()
    requests = [
        pb.CreateAliasRequest(
            address=f"a{number}@example.com", targets=["x@elsewhere.example"], operation_id=new_id().bytes
        )
        for number in range(40)
    ]

    async def create(request: pb.CreateAliasRequest) -> pb.CreateAliasResponse | None:
        try:
            return await admin.stub.CreateAlias(request, metadata=admin.metadata)
        except UnavailableError:
            return None

    creating = [asyncio.ensure_future(create(request)) for request in requests]
    await creating[0]
    await faulty.kill()
    first = await asyncio.gather(*creating)
    assert any(first)
    await faulty.start()
    for request, before in zip(requests, first, strict=True):
        async with asyncio.timeout(10):
            while (answer := await create(request)) is None:
                await asyncio.sleep(0.1)
        assert before is None or before == answer
    listed = await admin.stub.ListAliases(pb.ListAliasesRequest(), metadata=admin.metadata)
    assert len(listed.aliases) == 40
