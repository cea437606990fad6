"""Changes of the tree whose outcome was unknown: asked for again they are made once, and answer the same."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from filestore.garbage import Sweeper
from filestore.limits import Limits
from postroom.filestore.v1 import file_pb2 as pb
from postroom_contracts.errors import InvalidRequestError, NodeNotFoundError, UnavailableError
from postroom_contracts.ids import new_id
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore
from postroom_storage.operations import REMEMBERED_SECONDS
from postroom_testing.lost_answers import LostAnswers
from postroom_testing.small_directory_service import Account, SmallDirectory

CHANGES: dict[str, Any] = {
    "CreateDirectory": pb.CreateDirectoryRequest(path="/new"),
    "DeleteNode": pb.DeleteNodeRequest(path="/gone", kind=pb.NODE_KIND_DIRECTORY),
    "MoveNode": pb.MoveNodeRequest(path="/old", new_path="/kept/moved"),
}
ROOT = pb.ListNodesRequest(path="/")
Connect = Callable[..., Awaitable[Any]]


@pytest.fixture
async def replicas(start: Any, connect: Connect, directory: SmallDirectory) -> list[Any]:
    """Ann at two replicas."""
    account = directory.add("ann@example.org")
    found = [await connect(await start(), account) for _ in range(2)]
    for path in ("/gone", "/old", "/old/below", "/kept"):
        await found[0].make(path)
    return found


def request_of(method: str, **changed: object) -> Any:
    """The change with an id of its own."""
    request = type(CHANGES[method])(operation_id=new_id().bytes)
    request.MergeFrom(CHANGES[method])
    for name, value in changed.items():
        setattr(request, name, value)
    return request


async def ask(client: Any, method: str, request: Message) -> Any:
    return await getattr(client.stub, method)(request, metadata=client.metadata)


async def everything(client: Any) -> Any:
    """Two levels of the tree."""
    root = await ask(client, "ListNodes", ROOT)
    below = [await ask(client, "ListNodes", pb.ListNodesRequest(path=node.path)) for node in root.nodes]
    return [list(listed.nodes) for listed in [root, *below]]


def test_every_change_is_tested() -> None:
    methods = pb.DESCRIPTOR.services_by_name["FileService"].methods
    found = {method.name for method in methods if "operation_id" in method.input_type.fields_by_name}
    assert found == {*CHANGES}


async def test_it_is_done_once_however_often_and_wherever_it_is_asked(replicas: list[Any]) -> None:
    for method in CHANGES:
        request = request_of(method)
        answers = await asyncio.gather(*(ask(client, method, request) for client in replicas * 2))
        after = await everything(replicas[0])
        answers += [await ask(client, method, request) for client in replicas]
        assert all(answer == answers[0] for answer in answers)
        assert await everything(replicas[1]) == after


async def test_an_answer_that_was_lost_behind_the_commit_is_given_again(
    replicas: list[Any], lost: LostAnswers
) -> None:
    ann = replicas[0]
    answers: dict[str, Any] = {}
    for method in CHANGES:
        request = request_of(method)
        lost(1_000, "tree.after_commit")
        with pytest.raises(UnavailableError):
            await ask(ann, method, request)
        lost(0, "tree.after_commit")
        after = await everything(ann)
        answers[method] = await ask(ann, method, request)
        assert await everything(ann) == after
    assert await ann.names("/") == ["kept", "new"]
    assert await ann.get("/new") == answers["CreateDirectory"].node
    assert await ann.get("/kept/moved") == answers["MoveNode"].node


async def test_what_came_to_an_old_name_since_is_left_alone(replicas: list[Any]) -> None:
    ann, requests = replicas[0], {method: request_of(method) for method in CHANGES}
    for method, request in requests.items():
        await ask(ann, method, request)
    await ann.make("/gone")
    await ann.make("/old")
    await ann.delete("/new")
    after = await everything(ann)
    for method, request in requests.items():
        await ask(ann, method, request)
    assert await everything(ann) == after


async def test_an_id_is_good_for_one_request_only(
    replicas: list[Any], connect: Connect, start: Any, directory: SmallDirectory
) -> None:
    ann, requests = replicas[0], {method: request_of(method) for method in CHANGES}
    for method, request in requests.items():
        await ask(ann, method, request)
    for request in requests.values():
        for method, changed in (*((name, {}) for name in CHANGES), ("CreateDirectory", {"path": "/x"})):
            other = request_of(method, **changed, operation_id=request.operation_id)
            if other != request:
                with pytest.raises(InvalidRequestError):
                    await ask(ann, method, other)
    with pytest.raises(InvalidRequestError):
        await ask(ann, "CreateDirectory", request_of("CreateDirectory", operation_id=b"not an id"))
    eve: Account = directory.add("eve@example.org")
    hers = await connect(await start(), eve)
    for method in ("DeleteNode", "MoveNode"):
        with pytest.raises(NodeNotFoundError):
            await ask(hers, method, requests[method])
    created = await ask(hers, "CreateDirectory", requests["CreateDirectory"])
    assert created.node.id != (await ann.get("/new")).id


async def test_operations_are_forgotten_after_a_day(
    replicas: list[Any], database: Database, objects: ObjectStore
) -> None:
    for method in CHANGES:
        await ask(replicas[0], method, request_of(method))
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE operation SET asked_at = asked_at - make_interval(secs => $1) WHERE id IN"
            " (SELECT id FROM operation LIMIT 2)",
            REMEMBERED_SECONDS,
        )
        sweeper = Sweeper(database, objects, Limits(), 1.0)
        await sweeper.sweep()
        assert await connection.fetchval("SELECT count(*) FROM operation") == 1
