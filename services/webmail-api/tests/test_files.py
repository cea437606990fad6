"""Files over REST: up, down, in ranges, and around the tree."""

import hashlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from postroom_contracts.errors import ERRORS
from postroom_testing.rest_client import Connect, RestClient
from webmail_api.file_routes import parse_range
from webmail_api.problems import KINDS, ProblemError

MEBIBYTE = 1 << 20


async def put(client: RestClient, path: str, octets: bytes) -> Any:
    return await client.ask("PUT", "/files/content", 201, params={"path": path}, content=octets)


@pytest.mark.parametrize("size", [0, 1, 300_000, 5 * MEBIBYTE, 11 * MEBIBYTE + 7])
async def test_a_file_comes_back_as_it_went(guest: RestClient, size: int) -> None:
    octets = secrets.token_bytes(size)
    node = await put(guest, f"/it-{size}.bin", octets)
    assert (node["path"], node["size"], node["kind"]) == (f"/it-{size}.bin", size, "file")
    answer = await guest.octets(f"/files/{node['id']}/content")
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(octets).digest()
    assert answer.headers["content-disposition"] == f'attachment; filename="it-{size}.bin"'
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_file_of_unknown_length_comes_back_as_it_went(carol: RestClient) -> None:
    octets = secrets.token_bytes(6 * MEBIBYTE)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(octets), 100_000):
            yield octets[start : start + 100_000]

    node = await carol.ask("PUT", "/files/content", 201, params={"path": "/streamed"}, content=pieces())
    assert node["sha256"] in {hashlib.sha256(octets).hexdigest(), None}
    assert (await carol.octets(f"/files/{node['id']}/content")).content == octets


async def test_one_range_of_a_file_is_enough(carol: RestClient) -> None:
    node = await put(carol, "/digits", b"0123456789")
    path = f"/files/{node['id']}/content"
    answer = await carol.octets(path, 206, headers={"Range": "bytes=2-4"})
    assert (answer.content, answer.headers["content-range"]) == (b"234", "bytes 2-4/10")
    assert (await carol.octets(path, 206, headers={"Range": "bytes=-3"})).content == b"789"
    assert (await carol.octets(path, 206, headers={"Range": "bytes=7-"})).content == b"789"
    assert await carol.problem("GET", path, 416, headers={"Range": "bytes=10-"}) == "range-not-satisfiable"
    etag = answer.headers["etag"]
    await carol.octets(path, 304, headers={"If-None-Match": etag})
    changed = {"Range": "bytes=2-4", "If-Range": '"another"'}
    assert (await carol.octets(path, 200, headers=changed)).content == b"0123456789"


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("lines=1-2", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("bytes=0-", (0, 10)),
        ("bytes=3-99", (3, 7)),
        ("bytes=-99", (0, 10)),
    ],
)
def test_ranges_are_read_as_the_rfc_says(header: str | None, span: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0", "bytes=99-100"])
def test_ranges_without_octets_are_refused(header: str) -> None:
    with pytest.raises(ProblemError):
        parse_range(header, 10)


async def test_the_tree_is_walked_changed_and_pruned(carol: RestClient) -> None:
    directory = await carol.ask("POST", "/files", 201, json={"path": "/photos"})
    assert directory["kind"] == "directory"
    node = await put(carol, "/photos/cat.jpg", b"cat")
    listed = await carol.ask("GET", "/files", params={"path": "/photos"})
    assert [each["name"] for each in listed["items"]] == ["cat.jpg"]
    path = f"/files/{directory['id']}"
    assert await carol.problem("DELETE", path, 409) == "directory-not-empty"
    moved = await carol.ask("PATCH", f"/files/{node['id']}", json={"path": "/cat.jpg"})
    assert (moved["path"], moved["id"]) == ("/cat.jpg", node["id"])
    await carol.ask("DELETE", path, 204)
    assert await carol.problem("GET", path, 404) == "node-not-found"
    await carol.ask("DELETE", f"/files/{node['id']}", 204)
    assert (await carol.ask("GET", "/files"))["items"] == []


async def test_directories_are_listed_in_pages(carol: RestClient) -> None:
    for name in ("b", "a", "ç"):
        await carol.ask("POST", "/files", 201, json={"path": f"/{name}"})
    first = await carol.ask("GET", "/files?limit=2")
    assert [each["name"] for each in first["items"]] == ["a", "b"]
    second = await carol.ask("GET", f"/files?limit=2&cursor={first['next_cursor']}")
    assert [each["name"] for each in second["items"]] == ["ç"]
    assert second["next_cursor"] is None


async def test_a_file_is_replaced_whole_or_not_at_all(carol: RestClient) -> None:
    node = await put(carol, "/letter", b"first")
    await carol.ask("PUT", f"/files/{node['id']}/content", 201, content=b"second")
    listed = await carol.ask("GET", "/files")
    [replaced] = listed["items"]
    assert (await carol.octets(f"/files/{replaced['id']}/content")).content == b"second"
    only_new = {"params": {"path": "/letter"}, "content": b"x", "headers": {"If-None-Match": "*"}}
    assert await carol.problem("PUT", "/files/content", 409, **only_new) == "node-exists"

    async def broken() -> AsyncIterator[bytes]:
        yield b"third" * 1000
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await carol.http.put("/api/v1/files/content", params={"path": "/letter"}, content=broken())
    [kept] = (await carol.ask("GET", "/files"))["items"]
    assert (await carol.octets(f"/files/{kept['id']}/content")).content == b"second"


@pytest.mark.parametrize("path", ["/../x", "relative", "/a\0b", "/a//b", "/./a"])
async def test_paths_lead_nowhere_else(guest: RestClient, path: str) -> None:
    wrong = await guest.problem("PUT", "/files/content", 422, params={"path": path}, content=b"x")
    assert wrong == "invalid-name"


async def test_nobody_reads_the_files_of_another(connect: Connect) -> None:
    ann, eve = await connect("ann"), await connect("eve")
    node = await put(ann, "/diary", b"secret")
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert await eve.problem(method, f"/files/{node['id']}{path}", 404) == "node-not-found"


def test_every_error_of_the_core_has_an_answer() -> None:
    assert KINDS.keys() == ERRORS.keys()
    for name, error in ERRORS.items():
        assert error.transient == (KINDS[name].status in {429, 503})
