"""What an administrator does for the stores' health, over REST."""

from typing import Any

import httpx
import pytest

from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore, StoreAddress
from postroom_testing.core import ADMIN_TOKEN
from postroom_testing.rest_client import Append, Connect, RestClient, Serve

HELLO = b"Subject: hello\r\n\r\nHello.\r\n"


async def examine(admin: RestClient) -> tuple[list[dict[str, str]], dict[str, int]]:
    """All findings, and what was looked at."""
    findings: list[dict[str, str]] = []
    examined: dict[str, int] = {}
    query = ""
    while True:
        part = await admin.ask("GET", f"/admin/examination{query}")
        findings += part["items"]
        examined |= part["examined"]
        if part["next_cursor"] is None:
            return findings, examined
        query = f"?cursor={part['next_cursor']}"


@pytest.fixture
async def files_database(house: Any) -> Database:
    """The file store's rows; opened by whoever looks."""
    core: PostgresAddress = house.core.database
    return Database(core.url("filestore"), schema="filestore", require_durable=False)


async def test_a_file_without_its_octets_is_found_among_all_that_is_looked_at(
    admin: RestClient, connect: Connect, append: Append, object_store: S3Address, files_database: Database
) -> None:
    carol = await connect()
    await append(carol, HELLO)
    path = {"path": "/lost.txt"}
    node = await carol.ask("PUT", "/files/content", 201, params=path, content=b"lost")
    store = object_store
    address = StoreAddress(store.endpoint, store.region, "postroom-files", store.access_key, store.secret_key)
    objects = ObjectStore(address)
    async with files_database, files_database.connection() as connection:
        lost = await connection.fetchval("SELECT object_id FROM filestore.node WHERE name = 'lost.txt'")
    await objects.delete([f"file/{lost}"])
    findings, examined = await examine(admin)
    await carol.ask("DELETE", f"/files/{node['id']}", 204)
    (found,) = [each for each in findings if lost is not None and str(lost) in each["subject"]]
    assert found["kind"] == "object-missing"
    assert found["detail"].startswith("is not in the bucket, of file ")
    assert examined["messages"] >= 1
    assert {"mailboxes", "accounts", "objects", "trees", "known accounts"} <= examined.keys()
    assert str(lost) not in str((await examine(admin))[0])
    objects.close()


async def test_a_store_that_is_away_is_a_finding_of_its_own(serve: Serve) -> None:
    ports = await serve(filestore_address="unix:/tmp/nobody-is-here")
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{ports['http']}", headers=headers, trust_env=False, timeout=20
    ) as http:
        findings, examined = await examine(RestClient(http))
    (found,) = [each for each in findings if each["kind"] == "service-away"]
    assert found["subject"] == "filestore"
    assert examined["known accounts"] >= 1, "the others are looked at"


async def test_one_account_or_all_get_other_uidvalidities(
    admin: RestClient, connect: Connect, append: Append
) -> None:
    carol, dave = await connect(), await connect("dave")
    for client in (carol, dave):
        await append(client, HELLO)
    one = await admin.ask("POST", "/admin/uid-validity", json={"address": carol.address})
    assert one == {"accounts": 1, "mailboxes": 6, "next_cursor": None}
    everybody = await admin.ask("POST", "/admin/uid-validity", json={})
    assert everybody["accounts"] >= 2
    assert len(await carol.messages()) == 1
    path = "/admin/uid-validity"
    assert (
        await admin.problem("POST", path, 404, json={"address": "nobody@postroom.test"})
        == "account-not-found"
    )


async def test_cursors_of_others_are_refused(admin: RestClient) -> None:
    for cursor in ("AAAA", "bWFpbHN0b3JlOm5vbnNlbnNl", "!"):
        assert await admin.problem("GET", f"/admin/examination?cursor={cursor}", 422) == "invalid-request"
        refused = await admin.problem("POST", "/admin/uid-validity", 422, json={"cursor": cursor})
        assert refused == "invalid-request"
