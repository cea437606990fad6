"""Quotas and annotations of accounts (RFC 9208, RFC 5464)."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.mailboxes.annotations import MAX_ENTRIES, MAX_VALUE, parse_entry
from postroom.mailstore.v1 import account_pb2 as pb
from postroom.mailstore.v1 import delivery_pb2, mailbox_pb2
from postroom_contracts.capability import Quota
from postroom_contracts.errors import (
    InvalidNameError,
    InvalidRequestError,
    LimitError,
    MailboxNotFoundError,
    OverQuotaError,
)
from postroom_contracts.ids import new_id
from postroom_testing.mail_store import MailAccount, MailStore

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"
ONE = (mailbox_pb2.UidRange(first=1, last=1),)


async def _usage(store: MailStore, account: MailAccount) -> pb.GetUsageResponse:
    return await store.accounts.GetUsage(pb.GetUsageRequest(), metadata=account.metadata)


async def _append(store: MailStore, account: MailAccount, flags: int = 0) -> None:
    await store.append(account, await store.mailbox_id(account), MAIL, flags)


async def _copy(store: MailStore, account: MailAccount, name: str) -> mailbox_pb2.CopyMessagesResponse:
    request = mailbox_pb2.CopyMessagesRequest(
        mailbox_id=await store.mailbox_id(account),
        uids=ONE,
        target_mailbox_id=await store.mailbox_id(account, name),
        operation_id=new_id().bytes,
    )
    return await store.mailbox.CopyMessages(request, metadata=account.metadata)


async def test_an_account_without_limits_keeps_what_it_likes(store: MailStore) -> None:
    account = store.account()
    assert await _usage(store, account) == pb.GetUsageResponse()
    await _append(store, account)
    assert await _usage(store, account) == pb.GetUsageResponse(used_octets=len(MAIL), used_messages=1)


def _bound(account: MailAccount, octets: int | None, messages: int | None) -> delivery_pb2.AccountBound:
    return delivery_pb2.AccountBound(account_id=account.id.bytes, octets=octets, messages=messages)


async def test_senders_are_told_which_accounts_keep_as_much_as_they_may(store: MailStore) -> None:
    account, unknown = store.account(), store.account()
    await store.deliver(account, MAIL)
    used = await _usage(store, account)
    assert used.used_messages == 1
    for octets, messages, is_full in (
        (used.used_octets, None, True),
        (used.used_octets + 1, None, False),
        (None, 1, True),
        (None, 2, False),
        (used.used_octets + 1, 1, True),
        (None, None, False),
    ):
        bounds = [_bound(account, octets, messages), _bound(unknown, 1, 1)]
        found = await store.delivery.FindFull(delivery_pb2.FindFullRequest(accounts=bounds))
        assert list(found.account_ids) == [account.id.bytes] * is_full
    nothing = delivery_pb2.FindFullRequest(accounts=[_bound(unknown, 0, None)])
    assert list((await store.delivery.FindFull(nothing)).account_ids) == [unknown.id.bytes]
    with pytest.raises(LimitError):
        await store.delivery.FindFull(delivery_pb2.FindFullRequest(accounts=[_bound(unknown, 1, 1)] * 1_001))
    with pytest.raises(InvalidRequestError):
        await store.delivery.FindFull(delivery_pb2.FindFullRequest(accounts=[delivery_pb2.AccountBound()]))


@pytest.mark.parametrize("quota", [Quota(octets=2 * len(MAIL)), Quota(messages=2)])
async def test_a_full_account_takes_no_more_messages(store: MailStore, quota: Quota) -> None:
    account = store.account(quota=quota)
    await _append(store, account)
    await _copy(store, account, "Archive")
    with pytest.raises(OverQuotaError):
        await _append(store, account)
    with pytest.raises(OverQuotaError):
        await _copy(store, account, "Sent")
    used = await _usage(store, account)
    assert (used.used_messages, used.used_octets) == (2, 2 * len(MAIL))
    assert await store.counters_are_right(account)
    assert (await store.mailboxes(account))["Sent"].messages == 0


async def test_what_is_delivered_is_filed_over_the_quota(store: MailStore) -> None:
    account = store.account(quota=Quota(0, 0))
    await store.deliver(account, MAIL)
    assert (await _usage(store, account)).used_messages == 1


async def test_messages_move_and_go_in_an_account_that_is_over_its_quota(store: MailStore) -> None:
    account = store.account()
    await _append(store, account)
    full = store.account(account_id=account.id, quota=Quota(0, 0))
    request = mailbox_pb2.MoveMessagesRequest(
        mailbox_id=await store.mailbox_id(full),
        uids=ONE,
        target_mailbox_id=await store.mailbox_id(full, "Trash"),
    )
    await store.mailbox.MoveMessages(request, metadata=full.metadata)
    assert (await store.mailboxes(full))["Trash"].messages == 1
    nothing = mailbox_pb2.CopyMessagesRequest(
        mailbox_id=await store.mailbox_id(full),
        uids=ONE,
        target_mailbox_id=await store.mailbox_id(full, "Sent"),
    )
    assert not (await store.mailbox.CopyMessages(nothing, metadata=full.metadata)).source


async def test_of_appends_at_once_no_more_succeed_than_there_is_room_for(store: MailStore) -> None:
    account = store.account(quota=Quota(messages=3))
    tried = await asyncio.gather(*(_append(store, account) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, OverQuotaError) for each in tried) == 5
    assert (await _usage(store, account)).used_messages == 3


async def test_what_expunging_frees_is_told_by_mailbox(store: MailStore) -> None:
    account = store.account()
    await _append(store, account, flags=8)
    await _append(store, account)
    ids = [await store.mailbox_id(account, name) for name in ("Sent", "INBOX")]
    request = pb.GetDeletedSizesRequest(mailbox_ids=ids)
    answer = await store.accounts.GetDeletedSizes(request, metadata=account.metadata)
    assert list(answer.sizes) == [0, len(MAIL)]


async def _set(
    store: MailStore, account: MailAccount, mailbox_id: bytes, values: Mapping[str, bytes | None]
) -> int:
    request = pb.SetAnnotationsRequest(
        mailbox_id=mailbox_id,
        set=[pb.Annotation(entry=entry, value=value) for entry, value in values.items() if value is not None],
        removed=[entry for entry, value in values.items() if value is None],
    )
    return (await store.accounts.SetAnnotations(request, metadata=account.metadata)).modseq


async def _get(
    store: MailStore, account: MailAccount, mailbox_id: bytes, *entries: str, depth: int = 0
) -> dict[str, bytes]:
    ids = [mailbox_id] if mailbox_id else []
    request = pb.GetAnnotationsRequest(mailbox_ids=ids, entries=entries, depth=depth)
    (found,) = (await store.accounts.GetAnnotations(request, metadata=account.metadata)).annotations
    return {each.entry: each.value for each in found.annotations}


async def test_annotations_are_kept_by_mailbox_and_for_the_account(store: MailStore) -> None:
    account = store.account()
    inbox, sent = [await store.mailbox_id(account, name) for name in ("INBOX", "Sent")]
    values: dict[str, bytes | None] = {"/private/Comment": b"a\x00b", "/shared/comment": b""}
    modseq = await _set(store, account, inbox, values)
    assert store.hooks.changed[-1] == (account.id, modseq)
    await _set(store, account, b"", {"/private/comment": b"mine"})
    both = {"/private/comment": b"a\x00b", "/shared/comment": b""}
    assert await _get(store, account, inbox) == both
    assert await _get(store, account, inbox, "/PRIVATE/comment") == {"/private/comment": b"a\x00b"}
    assert await _get(store, account, sent, "/private/comment") == {}
    assert await _get(store, account, b"") == {"/private/comment": b"mine"}
    await _set(store, account, inbox, {"/private/comment": None, "/shared/comment": b"other"})
    assert await _get(store, account, inbox) == {"/shared/comment": b"other"}
    assert await _get(store, store.account("bob"), b"") == {}


@pytest.mark.parametrize(
    ("depth", "found"), [(0, ["/a"]), (1, ["/a", "/a/b", "/a/d"]), (-1, ["/a", "/a/b", "/a/b/c", "/a/d"])]
)
async def test_depth_says_how_far_below_is_looked(store: MailStore, depth: int, found: list[str]) -> None:
    account = store.account()
    entries = ("/a", "/a/b", "/a/b/c", "/a/d", "/ab", "/b/a")
    await _set(store, account, b"", {f"/private{each}": b"x" for each in entries})
    assert await _get(store, account, b"", "/private/a", depth=depth) == {
        f"/private{each}": b"x" for each in found
    }


async def test_annotations_follow_their_mailbox(store: MailStore) -> None:
    account = store.account()
    inbox, sent = [await store.mailbox_id(account, name) for name in ("INBOX", "Sent")]
    for mailbox_id in (inbox, sent):
        await _set(store, account, mailbox_id, {"/private/comment": b"kept"})
    for mailbox_id, name in ((sent, "Posted"), (inbox, "Old")):
        request = mailbox_pb2.RenameMailboxRequest(mailbox_id=mailbox_id, new_name=name)
        await store.mailbox.RenameMailbox(request, metadata=account.metadata)
    for name in ("INBOX", "Posted", "Old"):
        found = await _get(store, account, await store.mailbox_id(account, name), "/private/comment")
        assert found == {"/private/comment": b"kept"}
    await store.mailbox.DeleteMailbox(
        mailbox_pb2.DeleteMailboxRequest(mailbox_id=sent), metadata=account.metadata
    )
    with pytest.raises(MailboxNotFoundError):
        await _get(store, account, sent)
    assert not await store.fetchval(
        "SELECT count(*) FROM mailstore.annotation WHERE mailbox_id = encode($1, 'hex')::uuid", sent
    )


async def test_the_special_use_is_an_annotation(store: MailStore) -> None:
    account = store.account()
    sent, trash = [await store.mailbox_id(account, name) for name in ("Sent", "Trash")]
    assert await _get(store, account, sent) == {"/private/specialuse": b"\\Sent"}
    await _set(store, account, trash, {"/private/specialuse": b"\\sent", "/private/comment": b"x"})
    assert await _get(store, account, trash, "/private", depth=1) == {
        "/private/comment": b"x",
        "/private/specialuse": b"\\Sent",
    }
    assert await _get(store, account, sent) == {}
    await _set(store, account, trash, {"/private/specialuse": None})
    uses = {name: mailbox.special_use for name, mailbox in (await store.mailboxes(account)).items()}
    assert (uses["Sent"], uses["Trash"]) == (0, 0)


async def test_when_one_annotation_cannot_be_set_none_is(store: MailStore) -> None:
    account = store.account()
    inbox = await store.mailbox_id(account)
    many = {f"/private/{number}": b"x" for number in range(MAX_ENTRIES)}
    await _set(store, account, inbox, many)
    for error, values in [
        (LimitError, {"/private/one/more": b"x"}),
        (LimitError, {"/private/0": b"x" * (MAX_VALUE + 1)}),
        (InvalidNameError, {"/private/specialuse": b"\\Sent"}),
        (InvalidNameError, {"/private/specialuse": b"\\All"}),
        (InvalidRequestError, {"/private/*": b"x"}),
    ]:
        with pytest.raises(error):
            await _set(store, account, inbox, {"/private/1": b"changed", **values})
    assert await _get(store, account, inbox, "/private/1") == {"/private/1": b"x"}
    await _set(store, account, inbox, {"/private/0": None, "/private/one/more": b"x" * MAX_VALUE})


async def test_annotations_of_others_mailboxes_are_not_there(store: MailStore) -> None:
    ann, bob = store.account(), store.account("bob")
    inbox = await store.mailbox_id(ann)
    await _usage(store, bob)
    with pytest.raises(MailboxNotFoundError):
        await _get(store, bob, inbox)
    with pytest.raises(MailboxNotFoundError):
        await _set(store, bob, inbox, {"/private/comment": b"x"})


@pytest.mark.parametrize(
    "entry",
    [
        *("", "comment", "/", "/other/comment", "/private/", "/private//a", "/private/a/", "/private/%"),
        *("/private/*", "/privatecomment", "/private/\x07", "/private/ä", "/private/" + "a" * 1_024),
    ],
)
def test_what_is_no_entry_is_refused(entry: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_entry(entry)


@given(st.text())
def test_any_text_is_an_entry_or_refused(text: str) -> None:
    try:
        entry = parse_entry(text)
    except InvalidRequestError:
        return
    assert parse_entry(entry.upper()) == entry
