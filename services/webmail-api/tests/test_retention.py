"""Messages that were deleted for good, over REST: listed, and put back."""

from postroom_testing.rest_client import Append, Connect, RestClient


async def gone(client: RestClient, append: Append, *subjects: str) -> list[str]:
    """Messages that were deleted, and then from the trash too; their last ids."""
    ids: list[str] = []
    for subject in subjects:
        before = await append(client, b"Subject: %s\r\n\r\nText.\r\n" % subject.encode())
        await client.ask("DELETE", f"/messages/{before}", 204)
        [trashed] = await client.messages("trash")
        await client.ask("DELETE", f"/messages/{trashed['id']}", 204)
        ids.append(trashed["id"])
    return ids


async def trash_of(client: RestClient) -> str:
    listed = await client.ask("GET", "/mailboxes")
    return next(each["id"] for each in listed["items"] if each["special_use"] == "trash")


async def test_a_message_that_was_deleted_for_good_comes_back(carol: RestClient, append: Append) -> None:
    ids = await gone(carol, append, "one", "two")
    trash = await trash_of(carol)
    listed = await carol.ask("GET", f"/mailboxes/{trash}/expunged")
    assert [(each["id"], each["subject"]) for each in listed["items"]] == [(ids[1], "two"), (ids[0], "one")]
    assert await carol.ask("GET", "/expunged") == listed
    first = listed["items"][0]
    assert (first["mailbox"], first["mailbox_deleted"]) == ("Trash", False)
    assert first["expunged_at"] < first["kept_until"]
    done = await carol.ask("POST", f"/mailboxes/{trash}/restore", json={"ids": [ids[0]]})
    [item] = done["items"]
    assert (item["was"], item["mailbox_id"], item["mailbox"]) == (ids[0], trash, "Trash")
    [back] = await carol.messages("trash")
    assert (back["id"], back["subject"]) == (item["id"], "one")
    again = await carol.ask("POST", f"/mailboxes/{trash}/restore", json={"ids": [ids[0]]})
    assert again["items"] == []


async def test_messages_of_a_deleted_mailbox_are_listed_in_pages(carol: RestClient, append: Append) -> None:
    ids = await gone(carol, append, "one", "two", "three")
    page = await carol.ask("GET", "/expunged?limit=2")
    rest = await carol.ask("GET", f"/expunged?limit=2&cursor={page['next_cursor']}")
    assert [each["id"] for each in page["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None


async def test_what_is_not_there_is_refused(carol: RestClient, append: Append, connect: Connect) -> None:
    [message] = await gone(carol, append, "one")
    dave = await connect("dave")
    trash, others = await trash_of(carol), await trash_of(dave)
    assert await dave.problem("GET", f"/mailboxes/{trash}/expunged", 404) == "mailbox-not-found"
    assert await carol.problem("GET", "/expunged?cursor=AAAA", 422) == "invalid-request"
    assert await carol.problem("GET", "/mailboxes/nonsense/expunged", 404) == "mailbox-not-found"
    for ids, status in ((list[str](), 422), (["nonsense"], 404)):
        await carol.problem("POST", f"/mailboxes/{trash}/restore", status, json={"ids": ids})
    await carol.problem("POST", f"/mailboxes/{others}/restore", 404, json={"ids": [message]})
    await dave.problem("POST", f"/mailboxes/{trash}/restore", 404, json={"ids": [message]})


async def test_an_administrator_restores_for_an_account(
    carol: RestClient, append: Append, connect: Connect, admin: RestClient
) -> None:
    ids = await gone(carol, append, "one", "two")
    path = f"/admin/accounts/{carol.address}"
    listed = await admin.ask("GET", f"{path}/expunged")
    assert [each["id"] for each in listed["items"]] == ids[::-1]
    done = await admin.ask("POST", f"{path}/restore", json={"ids": ids})
    assert [each["was"] for each in done["items"]] == ids
    assert len(await carol.messages("trash")) == 2
    dave = await connect("dave")
    others = f"/admin/accounts/{dave.address}/restore"
    assert await admin.problem("POST", others, 404, json={"ids": ids}) == "message-not-found"
    nobody = "/admin/accounts/nobody@postroom.test/expunged"
    assert await admin.problem("GET", nobody, 404) == "account-not-found"
