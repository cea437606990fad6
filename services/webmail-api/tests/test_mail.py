"""Mail over REST: sent, listed, read, flagged, moved, deleted."""

import base64
import hashlib
import secrets
from typing import Any

import pytest

from postroom_testing.rest_client import Connect, RestClient


async def test_sent_mail_arrives_and_leaves_a_copy(connect: Connect) -> None:
    ann, bob = await connect("ann"), await connect("bob")
    sent = await ann.send(bob.address, subject="Zwölf Boxkämpfer", text="jagen Viktor\n")
    [arrived] = await bob.messages()
    assert arrived["subject"] == "Zwölf Boxkämpfer"
    assert arrived["from"] == [{"name": "", "address": ann.address}]
    assert arrived["preview"] == "jagen Viktor"
    assert arrived["flags"] == []
    document = await bob.ask("GET", f"/messages/{arrived['id']}")
    assert document["message_id"] == sent["message_id"]
    assert document["text"].strip() == "jagen Viktor"
    [copy] = await ann.messages("sent")
    assert copy["id"] == sent["sent_copy"]
    assert copy["flags"] == ["$seen"]


async def test_the_raw_message_is_the_sent_one_octet_for_octet(connect: Connect) -> None:
    ann, bob = await connect("ann"), await connect("bob")
    sent = await ann.send(bob.address, text="exact\n")
    [arrived] = await bob.messages()
    original = (await ann.octets(f"/messages/{sent['sent_copy']}/raw")).content
    answer = await bob.octets(f"/messages/{arrived['id']}/raw")
    assert answer.headers["content-type"] == "message/rfc822"
    assert int(answer.headers["content-length"]) == len(answer.content) == arrived["size"]
    # The copy that was delivered begins with lines of its own.
    received = answer.content[-len(original) :]
    assert hashlib.sha256(received).digest() == hashlib.sha256(original).digest()
    prefix = answer.content[: -len(original)]
    assert {line.partition(b":")[0] for line in prefix.splitlines()} == {b"Return-Path", b"Delivered-To"}


async def test_a_large_message_with_attachments_goes_through_the_object_store(connect: Connect) -> None:
    ann, bob = await connect("ann"), await connect("bob")
    octets = secrets.token_bytes(700_000)
    attachment = {
        "name": "späte Bilder.bin",
        "media_type": "application/octet-stream",
        "content": base64.b64encode(octets).decode(),
    }
    sent = await ann.send(bob.address, attachments=[attachment])
    assert sent["sent_copy"] is not None
    [arrived] = await bob.messages()
    assert arrived["has_attachments"]
    [listed] = (await bob.ask("GET", f"/messages/{arrived['id']}"))["attachments"]
    assert listed["name"] == "späte Bilder.bin"
    answer = await bob.octets(listed["href"].removeprefix("/api/v1"))
    assert answer.content == octets
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert "filename*=UTF-8''sp%C3%A4te%20Bilder.bin" in answer.headers["content-disposition"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    raw = await bob.octets(f"/messages/{arrived['id']}/raw")
    assert len(raw.content) == arrived["size"] > 700_000


async def test_blind_copies_arrive_and_are_not_told(connect: Connect) -> None:
    ann, bob, eve = await connect("ann"), await connect("bob"), await connect("eve")
    await ann.send(bob.address, bcc=[{"address": eve.address}])
    [hidden] = await eve.messages()
    raw = (await eve.octets(f"/messages/{hidden['id']}/raw")).content
    _, _, headers = raw.partition(b"Date:")
    assert eve.address.encode() not in headers


async def test_nobody_sends_in_the_name_of_another(connect: Connect) -> None:
    ann = await connect("ann")
    message = {"from": {"address": "boss@postroom.test"}, "to": [{"address": ann.address}]}
    assert await ann.problem("POST", "/messages", 403, json=message) == "sender-not-permitted"


async def test_mail_to_nobody_is_refused_whole(connect: Connect) -> None:
    ann, bob = await connect("ann"), await connect("bob")
    message = {"to": [{"address": bob.address}, {"address": "no-such@postroom.test"}]}
    response = await ann.http.post("/api/v1/messages", json=message)
    assert response.status_code == 422
    assert response.json()["type"] == "urn:postroom:problem:unknown-recipient"
    assert response.json()["addresses"] == ["no-such@postroom.test"]
    inbox = await bob.mailbox("inbox")
    assert (await bob.ask("GET", f"/mailboxes/{inbox}/messages"))["items"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": []},
        {"to": [{"address": "a b@postroom.test"}]},
        {"to": [{"address": "a@b\r\nBcc: c@d"}]},
        {"in_reply_to": ["<a>\r\nX: y"]},
        {"attachments": [{"name": "a", "media_type": "no type", "content": "YQ=="}]},
        {"attachments": [{"name": "a", "media_type": "a/b", "content": "no base64!"}]},
        {"surprise": 1},
    ],
)
async def test_what_no_message_can_hold_is_refused(guest: RestClient, wrong: dict[str, Any]) -> None:
    message = {"to": [{"address": guest.address}], "text": "x"} | wrong
    response = await guest.http.post("/api/v1/messages", json=message)
    assert response.status_code == 422, response.text
    assert response.json()["type"].startswith("urn:postroom:problem:invalid-")


async def test_mail_for_elsewhere_waits_in_the_queue(carol: RestClient, admin: RestClient) -> None:
    sent = await carol.send("friend@elsewhere.example")
    queued = await admin.ask("GET", f"/admin/queue/{sent['queue_id']}")
    assert queued["reverse_path"] == carol.address
    assert [each["address"] for each in queued["deliveries"]] == ["friend@elsewhere.example"]
    assert sent["queue_id"] in [each["id"] for each in (await admin.ask("GET", "/admin/queue"))["items"]]
    retried = await admin.ask("POST", f"/admin/queue/{sent['queue_id']}/retry")
    assert retried == {"deliveries": 1}
    assert await admin.ask("DELETE", f"/admin/queue/{sent['queue_id']}") == {"deliveries": 1}
    path = f"/admin/queue/{sent['queue_id']}"
    assert await admin.problem("GET", path, 404) == "message-not-found"


async def test_lists_come_newest_first_in_pages(connect: Connect) -> None:
    ann, bob = await connect("ann"), await connect("bob")
    for number in range(5):
        await ann.send(bob.address, subject=f"number {number}", save_to_sent=False)
        await bob.messages(count=number + 1)
    inbox = await bob.mailbox("inbox")
    first = await bob.ask("GET", f"/mailboxes/{inbox}/messages?limit=2")
    assert [each["subject"] for each in first["items"]] == ["number 4", "number 3"]
    second = await bob.ask("GET", f"/mailboxes/{inbox}/messages?limit=2&cursor={first['next_cursor']}")
    assert [each["subject"] for each in second["items"]] == ["number 2", "number 1"]
    third = await bob.ask("GET", f"/mailboxes/{inbox}/messages?limit=2&cursor={second['next_cursor']}")
    assert [each["subject"] for each in third["items"]] == ["number 0"]
    assert third["next_cursor"] is None


async def test_a_page_reaches_over_many_messages_that_are_gone(connect: Connect) -> None:
    ann, bob = await connect("ann"), await connect("bob")
    trash = await bob.mailbox("trash")
    for number in range(8):
        await ann.send(bob.address, subject=f"number {number}", save_to_sent=False)
    listed = await bob.messages(count=8)
    for message in listed[1:-1]:
        await bob.ask("POST", f"/messages/{message['id']}/move", json={"mailbox_id": trash})
    inbox = await bob.mailbox("inbox")
    page = await bob.ask("GET", f"/mailboxes/{inbox}/messages?limit=1")
    following = await bob.ask("GET", f"/mailboxes/{inbox}/messages?limit=1&cursor={page['next_cursor']}")
    assert [each["id"] for each in (*page["items"], *following["items"])] == [
        listed[0]["id"],
        listed[-1]["id"],
    ]
    assert following["next_cursor"] is None


async def test_flags_are_set_taken_away_and_replaced(carol: RestClient) -> None:
    await carol.send(carol.address)
    [message] = await carol.messages()
    path = f"/messages/{message['id']}/flags"
    changed = await carol.ask("PATCH", path, json={"add": ["$Seen", "$flagged", "Projekt"]})
    assert sorted(changed["flags"]) == ["$flagged", "$seen", "Projekt"]
    changed = await carol.ask("PATCH", path, json={"remove": ["$flagged"]})
    assert sorted(changed["flags"]) == ["$seen", "Projekt"]
    assert (await carol.ask("PUT", path, json={"flags": ["$answered"]}))["flags"] == ["$answered"]
    [listed] = await carol.messages()
    assert listed["flags"] == ["$answered"]
    assert await carol.problem("PATCH", path, 422, json={"add": ["no flag"]}) == "invalid-request"


async def test_a_message_is_moved_then_deleted_then_gone(carol: RestClient) -> None:
    await carol.send(carol.address, save_to_sent=False)
    [message] = await carol.messages()
    archive = await carol.mailbox("archive")
    moved = await carol.ask("POST", f"/messages/{message['id']}/move", json={"mailbox_id": archive})
    assert await carol.problem("GET", f"/messages/{message['id']}", 404) == "message-not-found"
    await carol.ask("GET", f"/messages/{moved['id']}")
    await carol.ask("DELETE", f"/messages/{moved['id']}", 204)
    [thrown_away] = await carol.messages("trash")
    await carol.ask("DELETE", f"/messages/{thrown_away['id']}", 204)
    path = f"/messages/{thrown_away['id']}"
    assert await carol.problem("DELETE", path, 404) == "message-not-found"
    assert await carol.problem("GET", f"{path}/raw", 404) == "message-not-found"


async def test_nobody_reads_the_mail_of_another(connect: Connect) -> None:
    ann, eve = await connect("ann"), await connect("eve")
    await ann.send(ann.address)
    [message] = await ann.messages()
    for path in ("", "/raw", "/parts/1"):
        path = f"/messages/{message['id']}{path}"
        assert (await eve.problem("GET", path, 404)).endswith("-not-found")
    assert await eve.problem("DELETE", f"/messages/{message['id']}", 404) in {
        "message-not-found",
        "mailbox-not-found",
    }
    inbox = await ann.mailbox("inbox")
    assert await eve.problem("GET", f"/mailboxes/{inbox}/messages", 404) == "mailbox-not-found"


@pytest.mark.parametrize("identifier", ["x", "AAAA", "A" * 27, "ä", "..", "A" * 3000])
async def test_identifiers_that_were_never_given_out_name_nothing(guest: RestClient, identifier: str) -> None:
    response = await guest.http.get(f"/api/v1/messages/{identifier}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_mailboxes_are_made_renamed_and_deleted(carol: RestClient) -> None:
    made = await carol.ask("POST", "/mailboxes", 201, json={"name": "Projekte/Übersicht"})
    assert made["subscribed"]
    names = [each["name"] for each in (await carol.ask("GET", "/mailboxes"))["items"]]
    assert {"INBOX", "Projekte", "Projekte/Übersicht"} <= set(names)
    path = f"/mailboxes/{made['id']}"
    changed = await carol.ask("PATCH", path, json={"name": "Neu", "subscribed": False})
    assert (changed["name"], changed["subscribed"]) == ("Neu", False)
    assert await carol.ask("GET", path) == changed
    assert await carol.problem("POST", "/mailboxes", 409, json={"name": "Neu"}) == "mailbox-exists"
    await carol.ask("DELETE", path, 204)
    assert await carol.problem("GET", path, 404) == "mailbox-not-found"
    assert await carol.problem("POST", "/mailboxes", 422, json={"name": "a//b"}) == "invalid-name"
    inbox = await carol.mailbox("inbox")
    assert (await carol.http.delete(f"/api/v1/mailboxes/{inbox}")).status_code in {409, 422}
