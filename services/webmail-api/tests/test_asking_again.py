"""The core's answers are lost behind their COMMIT: clients see each change made, and made once."""

import secrets
from typing import Any

import pytest

from postroom_testing.lost_answers import LostAnswers
from postroom_testing.rest_client import Append, RestClient

MAIL = b"Subject: Tea\r\n\r\nAt five.\r\n"


# The channel asks three times by itself.
@pytest.fixture(params=[1, 4])
def count(request: pytest.FixtureRequest) -> int:
    """How many answers are lost."""
    return request.param


async def _names(client: RestClient, path: str, name: str) -> list[Any]:
    return [each[name] for each in (await client.ask("GET", path))["items"]]


async def test_mailboxes_are_made_renamed_and_deleted_once(
    carol: RestClient, lost: LostAnswers, count: int
) -> None:
    before = await _names(carol, "/mailboxes", "name")
    lost(count, "mailbox.after_commit")
    created = await carol.ask("POST", "/mailboxes", 201, json={"name": "a/b"})
    path = f"/mailboxes/{created['id']}"
    lost(count, "mailbox.after_commit")
    renamed = await carol.ask("PATCH", path, json={"name": "c"})
    assert (renamed["id"], renamed["name"]) == (created["id"], "c")
    lost(count, "mailbox.after_commit")
    await carol.ask("DELETE", path, 204)
    assert not lost.left
    assert sorted(await _names(carol, "/mailboxes", "name")) == sorted([*before, "a"])


async def test_messages_are_moved_and_deleted_once(
    carol: RestClient, append: Append, lost: LostAnswers, count: int
) -> None:
    message, archive = await append(carol, MAIL), await carol.mailbox("archive")
    lost(count, "mailbox.after_commit")
    moved = await carol.ask("POST", f"/messages/{message}/move", json={"mailbox_id": archive})
    assert [each["id"] for each in await carol.messages("archive")] == [moved["id"]]
    lost(count, "mailbox.after_commit")
    await carol.ask("DELETE", f"/messages/{moved['id']}", 204)
    [thrown_away] = await carol.messages("trash")
    lost(count, "mailbox.after_commit")
    await carol.ask("DELETE", f"/messages/{thrown_away['id']}", 204)
    assert not lost.left
    listed = await carol.ask("GET", "/mailboxes")
    assert {each["messages"] for each in listed["items"]} == {0}


async def test_the_inbox_is_protected(carol: RestClient) -> None:
    path = f"/mailboxes/{await carol.mailbox('inbox')}"
    assert await carol.problem("DELETE", path, 409) == "mailbox-protected"


async def test_directories_are_made_moved_and_deleted_once(
    carol: RestClient, lost: LostAnswers, count: int
) -> None:
    lost(count, "tree.after_commit")
    created = await carol.ask("POST", "/files", 201, json={"path": "/a"})
    lost(count, "tree.after_commit")
    moved = await carol.ask("PATCH", f"/files/{created['id']}", json={"path": "/b"})
    assert (moved["id"], moved["path"]) == (created["id"], "/b")
    assert await _names(carol, "/files", "path") == ["/b"]
    lost(count, "tree.after_commit")
    await carol.ask("DELETE", f"/files/{created['id']}", 204)
    assert not lost.left
    assert await _names(carol, "/files", "path") == []


async def test_queued_mail_is_tried_again_and_cancelled_once(
    carol: RestClient, admin: RestClient, lost: LostAnswers, count: int
) -> None:
    sent = await carol.send("friend@elsewhere.example", "colleague@elsewhere.example")
    path = f"/admin/queue/{sent['queue_id']}"
    lost(count, "queue.after_commit")
    assert await admin.ask("POST", f"{path}/retry") == {"deliveries": 2}
    lost(count, "queue.after_commit")
    assert await admin.ask("DELETE", path) == {"deliveries": 2}
    assert not lost.left
    assert await admin.problem("DELETE", path, 404) == "message-not-found"


async def test_domains_accounts_and_aliases_come_change_and_go_once(
    admin: RestClient, lost: LostAnswers, count: int
) -> None:
    domain = f"d{secrets.token_hex(4)}.example"
    account, alias = f"dora@{domain}", f"team@{domain}"
    wanted = {"address": account, "password": "first password"}
    changes: list[tuple[str, str, int, Any]] = [
        ("POST", "/admin/domains", 201, {"name": domain}),
        ("POST", "/admin/accounts", 201, wanted),
        ("PUT", f"/admin/accounts/{account}/password", 204, {"password": "second password"}),
        ("POST", "/admin/aliases", 201, {"address": alias, "targets": [account]}),
        ("DELETE", f"/admin/aliases/{alias}", 204, None),
        ("DELETE", f"/admin/accounts/{account}", 204, None),
        ("DELETE", f"/admin/domains/{domain}", 204, None),
    ]
    for method, path, status, document in changes:
        lost(count, "administration.after_commit")
        await admin.ask(method, path, status, json=document)
        assert not lost.left
    assert domain not in await _names(admin, "/admin/domains?limit=200", "name")
