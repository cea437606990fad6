"""The tree: directories, names, moves, listings."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from filestore.paths import TreePath
from postroom.filestore.v1 import file_pb2 as pb
from postroom_contracts.capability import Scope
from postroom_contracts.errors import (
    CapabilityExpiredError,
    DirectoryNotEmptyError,
    InvalidCredentialsError,
    InvalidNameError,
    InvalidRequestError,
    IsADirectoryError,  # noqa: A004
    LimitError,
    NodeExistsError,
    NodeNotFoundError,
    NotADirectoryError,  # noqa: A004
    NotPermittedError,
)
from postroom_storage.database import Database
from postroom_testing.small_directory_service import SmallDirectory

LONG, DEEP, WIDE = "/" + "x" * 256, "/" + "/".join("a" * 101), "/" + "/".join(["x" * 250] * 17)


@pytest.mark.parametrize(
    "text",
    ["", "a", "/a/", "//", "/a//b", "/.", "/a/..", "/a\0b", "/a\nb", "/a\x7fb", "/a\x85b", LONG, DEEP, WIDE],
)
def test_a_path_that_could_lead_elsewhere_or_break_a_listing_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        TreePath.parse(text)


@pytest.mark.parametrize("text", ["/", "/a", "/...", "/a b/ c", "/ä/\N{SNOWMAN}", "/" + "/".join("a" * 100)])
def test_a_path_reads_as_it_was_written(text: str) -> None:
    assert str(TreePath.parse(text)) == text


async def test_an_account_has_an_empty_root_from_the_first_look(ann: Any) -> None:
    root = await ann.get("/")
    assert (root.path, root.name, root.directory, root.parent_id) == ("/", "", True, b"")
    assert await ann.names("/") == []


async def test_first_looks_at_once_make_one_root(ann: Any) -> None:
    roots = await asyncio.gather(*(ann.get("/") for _ in range(8)))
    assert len({root.id for root in roots}) == 1


async def test_a_node_is_found_by_its_path_and_by_its_id(ann: Any) -> None:
    await ann.make("/a")
    made = await ann.make("/a/b")
    by_id = await ann.stub.GetNode(pb.GetNodeRequest(id=made.id), metadata=ann.metadata)
    assert by_id.node == made == await ann.get("/a/b")
    assert made.path == "/a/b"
    for path in ("/a/c", "/x/y"):
        with pytest.raises(NodeNotFoundError):
            await ann.get(path)


async def test_a_directory_is_made_once_and_only_below_one_that_exists(ann: Any) -> None:
    await ann.make("/a")
    for path in ("/a", "/"):
        with pytest.raises(NodeExistsError):
            await ann.make(path)
    with pytest.raises(NodeNotFoundError):
        await ann.make("/x/y")
    await ann.write("/f", b"1")
    with pytest.raises(NotADirectoryError):
        await ann.make("/f/x")


async def test_a_listing_comes_in_pages_in_the_order_of_octets(ann: Any) -> None:
    for name in ("b", "a", "B", "é", "c"):
        await ann.make(f"/{name}")
    seen: list[str] = []
    cursor = ""
    while True:
        request = pb.ListNodesRequest(path="/", limit=2, cursor=cursor)
        page = await ann.stub.ListNodes(request, metadata=ann.metadata)
        seen += [node.path for node in page.nodes]
        assert len(page.nodes) <= 2
        assert page.directory.path == "/"
        if not (cursor := page.next_cursor):
            break
    assert seen == ["/B", "/a", "/b", "/c", "/é"]
    for wrong in ("a\0", "x" * 300):
        with pytest.raises(InvalidRequestError):
            await ann.stub.ListNodes(pb.ListNodesRequest(path="/", cursor=wrong), metadata=ann.metadata)


async def test_only_an_empty_directory_and_what_the_caller_takes_it_for_is_deleted(ann: Any) -> None:
    await ann.make("/a")
    await ann.write("/a/f", b"1")
    with pytest.raises(DirectoryNotEmptyError):
        await ann.delete("/a", pb.NODE_KIND_DIRECTORY)
    with pytest.raises(NotADirectoryError):
        await ann.delete("/a/f", pb.NODE_KIND_DIRECTORY)
    with pytest.raises(IsADirectoryError):
        await ann.delete("/a", pb.NODE_KIND_FILE)
    with pytest.raises(NotPermittedError):
        await ann.delete("/")
    await ann.delete("/a/f", pb.NODE_KIND_FILE)
    await ann.delete("/a", pb.NODE_KIND_DIRECTORY)
    with pytest.raises(NodeNotFoundError):
        await ann.delete("/a")


async def test_a_move_takes_all_that_is_below_along(ann: Any) -> None:
    await ann.make("/a")
    await ann.make("/a/b")
    file = await ann.write("/a/b/f", b"octets")
    await ann.make("/z")
    moved = await ann.move("/a", "/z/new")
    assert moved.path == "/z/new"
    found = await ann.get("/z/new/b/f")
    assert (found.id, found.version) == (file.id, file.version)
    assert await ann.names("/") == ["z"]
    assert await ann.read("/z/new/b/f") == b"octets"


async def test_a_move_replaces_a_file_by_a_file_and_nothing_else(ann: Any) -> None:
    await ann.write("/one", b"1")
    await ann.write("/two", b"22")
    await ann.make("/dir")
    for source, target in (("/one", "/dir"), ("/dir", "/one"), ("/dir", "/")):
        with pytest.raises((NodeExistsError, InvalidRequestError)):
            await ann.move(source, target)
    await ann.move("/one", "/two")
    assert await ann.read("/two") == b"1"
    assert await ann.names("/") == ["dir", "two"]
    assert (await ann.move("/two", "/two")).path == "/two"


async def test_a_directory_cannot_be_moved_into_itself_nor_the_root_anywhere(ann: Any) -> None:
    await ann.make("/a")
    await ann.make("/a/b")
    for target in ("/a/x", "/a/b/x"):
        with pytest.raises(InvalidRequestError):
            await ann.move("/a", target)
    with pytest.raises(NotPermittedError):
        await ann.move("/", "/a/x")


async def test_two_moves_at_once_make_no_cycle(ann: Any) -> None:
    for turn in range(5):
        await ann.make(f"/a{turn}")
        await ann.make(f"/b{turn}")
        outcomes: list[object] = []

        async def move(source: str, target: str, outcomes: list[object] = outcomes) -> None:
            try:
                outcomes.append(await ann.move(source, target))
            except NodeNotFoundError as error:
                outcomes.append(error)

        await asyncio.gather(
            move(f"/a{turn}", f"/b{turn}/a"),
            move(f"/b{turn}", f"/a{turn}/b"),
        )
        assert sum(isinstance(outcome, NodeNotFoundError) for outcome in outcomes) == 1
    assert len(await ann.names("/")) == 5


async def test_a_move_does_not_make_paths_too_deep(ann: Any) -> None:
    await ann.make("/a")
    await ann.make("/a/b")
    path = ""
    for _ in range(98):
        path += "/d"
        await ann.make(path)
    with pytest.raises(InvalidNameError):
        await ann.move("/a", f"{path}/a")
    await ann.move("/a/b", f"{path}/b")


async def test_the_time_of_a_node_can_be_set(ann: Any) -> None:
    await ann.write("/f", b"1")
    request = pb.SetModifiedRequest(path="/f")
    request.modified_at.FromDatetime(datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC))
    await ann.stub.SetModified(request, metadata=ann.metadata)
    assert (await ann.get("/f")).modified_at == request.modified_at
    request.modified_at.seconds = -1
    with pytest.raises(InvalidRequestError):
        await ann.stub.SetModified(request, metadata=ann.metadata)


async def test_the_counters_of_a_tree_are_those_of_its_nodes(ann: Any, database: Database) -> None:
    await ann.make("/a")
    await ann.write("/a/one", b"1")
    await ann.write("/a/two", b"22")
    await ann.write("/a/two", b"333")
    await ann.move("/a/one", "/a/two")
    await ann.write("/three", b"4444")
    await ann.delete("/a/two")
    async with database.connection() as connection:
        kept = await connection.fetchrow("SELECT nodes, octets FROM filestore.tree")
        counted = await connection.fetchrow(
            "SELECT count(*) AS nodes, sum(size) AS octets FROM filestore.node WHERE parent_id IS NOT NULL"
        )
    assert kept is not None
    assert counted is not None
    assert (kept["nodes"], kept["octets"]) == (counted["nodes"], counted["octets"]) == (2, 4)


async def test_an_account_has_a_bounded_number_of_nodes(
    start: Any, connect: Any, directory: SmallDirectory
) -> None:
    ann = await connect(await start(account_nodes=2), directory.add("ann@example.org"))
    await ann.make("/a")
    await ann.write("/f", b"1")
    with pytest.raises(LimitError):
        await ann.make("/b")
    upload_id, begun = await ann.begin("/g", size_hint=0)
    assert begun.parts
    with pytest.raises(LimitError):
        await ann.publish(upload_id, 0)


async def test_nobody_sees_the_nodes_of_another_account(
    start: Any, connect: Any, directory: SmallDirectory
) -> None:
    address = await start()
    ann = await connect(address, directory.add("ann@example.org"))
    bob = await connect(address, directory.add("bob@example.org"))
    made = await ann.make("/a")
    assert await bob.names("/") == []
    for request in (pb.GetNodeRequest(id=made.id), pb.GetNodeRequest(path="/a")):
        with pytest.raises(NodeNotFoundError):
            await bob.stub.GetNode(request, metadata=bob.metadata)
    with pytest.raises(NodeNotFoundError):
        await bob.stub.DeleteNode(pb.DeleteNodeRequest(id=made.id), metadata=bob.metadata)


async def test_only_capabilities_for_files_are_taken(
    start: Any, connect: Any, directory: SmallDirectory
) -> None:
    address, account = await start(), directory.add("ann@example.org")
    assert await (await connect(address, account, Scope.API)).names("/") == []
    with pytest.raises(NotPermittedError):
        await (await connect(address, account, Scope.IMAP)).names("/")
    ann = await connect(address, account)
    ann.metadata = ()
    with pytest.raises(InvalidCredentialsError):
        await ann.names("/")
    ann.metadata = (("postroom-capability", directory.capability(account, Scope.FTP, -1.0)),)
    with pytest.raises(CapabilityExpiredError):
        await ann.names("/")


async def test_two_replicas_answer_for_one_tree(start: Any, connect: Any, directory: SmallDirectory) -> None:
    account = directory.add("ann@example.org")
    one, two = [await connect(await start(), account) for _ in range(2)]
    await asyncio.gather(
        *(client.make(f"/{name}{number}") for number in range(8) for name, client in (("a", one), ("b", two)))
    )
    assert await one.names("/") == await two.names("/") == sorted(f"{n}{i}" for n in "ab" for i in range(8))
