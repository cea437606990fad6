"""Asked once or many times, at once or later, at one replica or two: it is done once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import pytest
from google.protobuf.message import Message

from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.errors import DomainExistsError, InvalidRequestError
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_storage.database import Connection, Database, Limits
from postroom_storage.operations import REMEMBERED_SECONDS, Operation, forget_old, once, operation_of

ANN, EVE = new_id(), new_id()
_TABLES = """
CREATE TABLE operation (
    account_id uuid NOT NULL, id uuid NOT NULL, tenant_id uuid NOT NULL, request bytea NOT NULL, answer bytea,
    asked_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (account_id, id));
CREATE TABLE done (account_id uuid, name text)
"""
_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
async def replicas(database: PostgresAddress) -> AsyncIterator[list[Database]]:
    """Two ways to one schema with the tables."""
    url, limits = database.url("directory"), Limits(connections=5)
    async with (
        Database(url, schema="directory", require_durable=False, limits=limits) as first,
        Database(url, schema="directory", require_durable=False, limits=limits) as second,
    ):
        async with first.connection() as connection:
            await connection.execute(_TABLES)
        yield [first, second]


def asked(request: Message, operation_id: UUID, account_id: UUID = ANN) -> Operation:
    operation = operation_of(account_id, DEFAULT_TENANT, operation_id.bytes, request)
    assert operation is not None
    return operation


def creating(name: str, account_id: UUID = ANN) -> Callable[[Connection], Awaitable[pb.CreateDomainResponse]]:
    """Does it, with an answer that no other time gives."""

    async def create(connection: Connection) -> pb.CreateDomainResponse:
        await connection.execute("INSERT INTO done VALUES ($1, $2)", account_id, name)
        return pb.CreateDomainResponse(domain=pb.Domain(id=new_id().bytes, name=name))

    return create


async def done(database: Database) -> list[str]:
    async with database.connection() as connection:
        return [row["name"] for row in await connection.fetch("SELECT name FROM done ORDER BY name")]


DOMAIN = pb.CreateDomainRequest(name="a.example")


async def test_who_asks_again_gets_the_answer_of_then(replicas: list[Database]) -> None:
    operation = asked(DOMAIN, new_id())
    answers = [
        await once(database, operation, pb.CreateDomainResponse, creating("a.example"))
        for database in (*replicas, *replicas)
    ]
    assert all(answer == answers[0] for answer in answers)
    assert await done(replicas[0]) == ["a.example"]


async def test_who_asks_at_the_same_time_waits_for_the_answer(replicas: list[Database]) -> None:
    operation = asked(DOMAIN, new_id())
    answers = await asyncio.gather(
        *(
            once(database, operation, pb.CreateDomainResponse, creating("a.example"))
            for database in replicas * 3
        )
    )
    assert all(answer == answers[0] for answer in answers)
    assert await done(replicas[0]) == ["a.example"]


async def test_what_failed_was_not_done_and_is_tried_again(replicas: list[Database]) -> None:
    operation = asked(DOMAIN, new_id())

    async def fail(connection: Connection) -> pb.CreateDomainResponse:
        await creating("half")(connection)
        raise DomainExistsError

    failing = asyncio.ensure_future(once(replicas[0], operation, pb.CreateDomainResponse, fail))
    for database in replicas:
        with pytest.raises(DomainExistsError):
            await once(database, operation, pb.CreateDomainResponse, fail)
    with pytest.raises(DomainExistsError):
        await failing
    assert await done(replicas[0]) == []
    await once(replicas[1], operation, pb.CreateDomainResponse, creating("a.example"))
    assert await done(replicas[0]) == ["a.example"]


async def test_a_try_that_was_cut_is_done_by_the_next(replicas: list[Database]) -> None:
    operation, begun = asked(DOMAIN, new_id()), asyncio.Event()

    async def hang(connection: Connection) -> pb.CreateDomainResponse:
        await creating("stuck")(connection)
        begun.set()
        await asyncio.Event().wait()
        return pb.CreateDomainResponse()

    async def somebody_waits() -> bool:
        async with replicas[1].connection() as connection:
            return bool(await connection.fetchval(_WAITING))

    stuck = asyncio.ensure_future(once(replicas[0], operation, pb.CreateDomainResponse, hang))
    await begun.wait()
    waiting = asyncio.ensure_future(
        once(replicas[1], operation, pb.CreateDomainResponse, creating("a.example"))
    )
    async with asyncio.timeout(10):
        while not await somebody_waits():
            assert not waiting.done()
    stuck.cancel()
    await asyncio.wait([stuck])
    assert (await waiting).domain.name == "a.example"
    assert await done(replicas[0]) == ["a.example"]


@pytest.mark.parametrize(
    "other", [pb.CreateDomainRequest(name="b.example"), pb.DeleteDomainRequest(name="a.example")]
)
async def test_an_id_is_good_for_one_request_only(replicas: list[Database], other: Message) -> None:
    operation_id = new_id()
    await once(replicas[0], asked(DOMAIN, operation_id), pb.CreateDomainResponse, creating("a.example"))
    with pytest.raises(InvalidRequestError):
        await once(replicas[1], asked(other, operation_id), pb.CreateDomainResponse, creating("b.example"))
    assert await done(replicas[0]) == ["a.example"]


async def test_the_id_of_another_account_is_like_any_other(replicas: list[Database]) -> None:
    operation_id = new_id()
    answers = [
        await once(
            replicas[0],
            asked(DOMAIN, operation_id, account_id),
            pb.CreateDomainResponse,
            creating("a.example", account_id),
        )
        for account_id in (ANN, EVE)
    ]
    assert answers[0] != answers[1]
    assert await done(replicas[0]) == ["a.example"] * 2


async def test_without_an_id_each_time_is_another(replicas: list[Database]) -> None:
    assert operation_of(ANN, DEFAULT_TENANT, b"", DOMAIN) is None
    for _ in range(2):
        await once(replicas[0], None, pb.CreateDomainResponse, creating("a.example"))
    assert await done(replicas[0]) == ["a.example"] * 2
    with pytest.raises(InvalidRequestError):
        operation_of(ANN, DEFAULT_TENANT, b"short", DOMAIN)


async def test_answers_are_forgotten_in_slices_after_a_day(replicas: list[Database]) -> None:
    operations = [asked(DOMAIN, new_id()) for _ in range(5)]
    for operation in operations:
        await once(replicas[0], operation, pb.CreateDomainResponse, creating("a.example"))
    async with replicas[0].connection() as connection:
        await connection.execute(
            "UPDATE operation SET asked_at = now() - make_interval(secs => $1) WHERE id = ANY($2::uuid[])",
            REMEMBERED_SECONDS + 1,
            [operation.id for operation in operations[:3]],
        )
        assert [await forget_old(connection, 2) for _ in range(3)] == [2, 1, 0]
        assert await connection.fetchval("SELECT count(*) FROM operation") == 2
