"""What names contents and conversations (RFC 8474 s5), when a message was saved, and previews."""

import datetime as dt

import pytest

from postroom.mailstore.v1 import mailbox_pb2
from postroom_testing.mail_store import MailAccount, MailStore

FIRST = b"Message-ID: <root@a>\r\nSubject: \x00 first\r\n\r\nGood \xc3\xa9vening,\r\n\r\n  all.\r\n"
EVERY_UID = 2**32 - 1


async def _facts(
    store: MailStore, account: MailAccount, mailbox_id: bytes | None = None
) -> list[mailbox_pb2.Facts]:
    request = mailbox_pb2.FetchFactsRequest(
        mailbox_id=mailbox_id or await store.mailbox_id(account),
        object_ids=True,
        preview=True,
        save_date=True,
    )
    facts = await _asked(store, account, request)
    request.lean = True
    for full, lean in zip(facts, await _asked(store, account, request), strict=True):
        names = ("uid", "size", "prefix", "email_id", "thread_id", "saved_at", "preview", "header_complete")
        assert [getattr(full, name) for name in names] == [getattr(lean, name) for name in names]
        assert {field.name for field, _ in lean.ListFields()} <= set(names)
    return facts


async def _asked(
    store: MailStore, account: MailAccount, request: mailbox_pb2.FetchFactsRequest
) -> list[mailbox_pb2.Facts]:
    del request.uids[:]
    request.uids.add(first=1, last=EVERY_UID)
    pages = [page async for page in store.mailbox.FetchFacts(request, metadata=account.metadata)]
    return [facts for page in pages for facts in page.facts]


def _mail(**fields: str) -> bytes:
    lines = (f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return "".join(lines).encode() + b"\r\nText.\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        _mail(Message_ID="<b@a>", In_Reply_To="<root@a>"),
        _mail(Message_ID="<c@a>", In_Reply_To="<b@a>", References="<root@a> <b@a>"),
        _mail(References="<root@a>"),
        _mail(Message_ID="<root@a>"),
    ],
)
async def test_answers_belong_to_the_conversation_of_their_root(store: MailStore, reply: bytes) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    await store.append(ann, inbox, FIRST)
    await store.deliver(ann, reply)
    first, second = await _facts(store, ann)
    assert first.thread_id == second.thread_id
    assert len({first.email_id, second.email_id, first.thread_id}) == 3


async def test_messages_that_name_nobody_are_alone(store: MailStore) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    for octets in (_mail(Subject="x"), _mail(Subject="x"), _mail(Message_ID='<"o\\dd"]@a>'), FIRST, b""):
        await store.append(ann, inbox, octets)
    facts = await _facts(store, ann)
    assert len({each.thread_id for each in facts}) == len(facts) == 5
    assert all(len(each.thread_id) == 16 for each in facts)


async def test_what_older_code_wrote_has_its_conversation_too(own_store: MailStore) -> None:
    ann = own_store.account()
    inbox = await own_store.mailbox_id(ann)
    await own_store.append(ann, inbox, FIRST)
    (before,) = await _facts(own_store, ann)
    await own_store.execute("UPDATE mailstore.message SET thread_id = NULL")
    (after,) = await _facts(own_store, ann)
    assert after.thread_id == before.thread_id


async def test_a_copy_is_the_same_content_saved_at_its_own_time(store: MailStore) -> None:
    ann = store.account()
    inbox, trash = await store.mailbox_id(ann), await store.mailbox_id(ann, "Trash")
    await store.deliver(ann, FIRST)
    past = "UPDATE mailstore.mailbox_message SET saved_at = '2020-01-01Z' WHERE account_id = $1"
    await store.execute(past, ann.id)
    request = mailbox_pb2.CopyMessagesRequest(mailbox_id=inbox, target_mailbox_id=trash)
    request.uids.add(first=1, last=1)
    await store.mailbox.CopyMessages(request, metadata=ann.metadata)
    (original,), (copy,) = await _facts(store, ann, inbox), await _facts(store, ann, trash)
    assert (original.email_id, original.thread_id) == (copy.email_id, copy.thread_id)
    assert original.saved_at.ToDatetime(tzinfo=dt.UTC) == dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    assert copy.saved_at.ToDatetime(tzinfo=dt.UTC) > dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


async def test_copies_that_differ_in_their_first_lines_are_different_contents(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, FIRST)
    (before,) = await _facts(store, ann)
    await store.execute("UPDATE mailstore.mailbox_message SET prefix = 'X: y' WHERE account_id = $1", ann.id)
    (after,) = await _facts(store, ann)
    assert before.email_id != after.email_id


async def test_a_preview_is_the_beginning_of_the_text(store: MailStore) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    await store.append(ann, inbox, FIRST)
    await store.append(ann, inbox, b"Content-Type: image/png\r\n\r\nPNG")
    await store.append(ann, inbox, b"\r\n" + b"word " * 100)
    previews = [each.preview for each in await _facts(store, ann)]
    assert previews[:2] == ["Good évening, all.", ""]
    assert previews[2] == ("word " * 100)[:200].rstrip()


async def test_lean_facts_are_what_was_asked_for(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, FIRST, FIRST)
    request = mailbox_pb2.FetchFactsRequest(mailbox_id=await store.mailbox_id(ann))
    columns = {
        "envelope": ("envelope",),
        "structure": ("body", "body_structure"),
        "parts": ("parts",),
        "header": ("header",),
        "summary": ("summary",),
    }
    for column, names in columns.items():
        request.Clear()
        request.mailbox_id = await store.mailbox_id(ann)
        setattr(request, column, True)
        request.structure = column in {"structure", "parts"}
        full = await _asked(store, ann, request)
        request.structure = column == "structure"
        request.lean = request.expunged = True
        lean = await _asked(store, ann, request)
        assert [each.uid for each in lean] == [1, 2]
        for whole, part in zip(full, lean, strict=True):
            assert [getattr(whole, name) for name in names] == [getattr(part, name) for name in names]
            told = {field.name for field, _ in part.ListFields()}
            assert told == {"uid", "size", "prefix", "header_complete", *names}
