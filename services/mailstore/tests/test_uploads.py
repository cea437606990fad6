"""Large messages: presigned uploads, completed once, checked for their size."""

import hashlib
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from mailstore.upkeep import Upkeep
from postroom.mailstore.v1 import content_pb2, delivery_pb2, mailbox_pb2
from postroom_contracts.errors import (
    ContentMismatchError,
    InvalidRequestError,
    NotPermittedError,
    UploadNotFoundError,
)
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_runtime.budget import ByteBudget
from postroom_runtime.transfer import Transfers
from postroom_storage.errors import ObjectNotFoundError
from postroom_testing.mail_store import MailAccount, MailStore

MIB = 1024 * 1024
LARGE = b"Subject: large\r\n\r\n" + bytes(range(256)) * (6 * 4096)


@pytest.fixture
async def transfers() -> AsyncIterator[Transfers]:
    """As an edge service sends octets to the object store."""
    async with Transfers(ByteBudget(64 * MIB)) as transfers:
        yield transfers


async def _upload(
    store: MailStore, transfers: Transfers, octets: bytes, hint: int, owner: MailAccount | None = None
) -> content_pb2.Content:
    """Upload for Accept, or for an APPEND of `owner`; the content to hand over."""
    upload_id = new_id().bytes
    if owner is None:
        request = delivery_pb2.BeginUploadRequest(
            upload_id=upload_id, tenant_id=DEFAULT_TENANT.bytes, size_hint=hint
        )
        begun = await store.delivery.BeginUpload(request)
    else:
        append = mailbox_pb2.BeginAppendUploadRequest(upload_id=upload_id, size_hint=hint)
        begun = await store.mailbox.BeginAppendUpload(append, metadata=owner.metadata)
    content = content_pb2.Content(digest=hashlib.sha256(octets).digest(), size=len(octets))
    content.upload.upload_id = upload_id
    urls = {part.number: part.url for part in begun.parts}
    if list(urls) == [0]:
        await transfers.put(urls[0], octets)
        return content
    for number, start in enumerate(range(0, len(octets), begun.part_size), 1):
        etag = await transfers.put(urls[number], octets[start : start + begun.part_size])
        content.upload.parts.add(number=number, etag=etag)
    return content


@pytest.mark.parametrize("hint", [len(LARGE), 0], ids=["size is known", "size is not known"])
async def test_a_large_message_is_accepted_filed_and_read(
    whole_store: MailStore, transfers: Transfers, hint: int
) -> None:
    store, ann = whole_store, whole_store.account()
    item = store.item([ann])
    item.content.CopyFrom(await _upload(store, transfers, LARGE, hint))
    for _ in range(2):  # the second time as after an unknown outcome
        (result,) = await store.accept(item)
        assert result.outcome == delivery_pb2.AcceptResult.OUTCOME_ACCEPTED
    await store.file()
    assert await store.inbox(ann) == [LARGE]


async def test_a_single_put_is_enough_up_to_5_mib(whole_store: MailStore, transfers: Transfers) -> None:
    store, ann = whole_store, whole_store.account()
    octets = LARGE[: 2 * MIB]
    request = mailbox_pb2.AppendMessageRequest(id=new_id().bytes, mailbox_id=await store.mailbox_id(ann))
    request.content.CopyFrom(await _upload(store, transfers, octets, len(octets), ann))
    assert not request.content.upload.parts
    request.internal_date.GetCurrentTime()
    answers = [await store.mailbox.AppendMessage(request, metadata=ann.metadata) for _ in range(2)]
    assert answers[0].uid == answers[1].uid == 1
    assert await store.read(ann, request.mailbox_id, 1, prefix=True) == octets


async def test_an_upload_of_another_size_or_digest_is_refused(
    whole_store: MailStore, transfers: Transfers
) -> None:
    store, ann = whole_store, whole_store.account()
    item = store.item([ann])
    item.content.CopyFrom(await _upload(store, transfers, LARGE[:MIB], MIB))
    item.content.size = MIB - 1
    (result,) = await store.accept(item)
    assert (result.outcome, result.error) == (
        delivery_pb2.AcceptResult.OUTCOME_REFUSED,
        ContentMismatchError.name,
    )
    request = mailbox_pb2.AppendMessageRequest(id=new_id().bytes, mailbox_id=await store.mailbox_id(ann))
    request.content.CopyFrom(await _upload(store, transfers, LARGE[:MIB], MIB, ann))
    request.content.digest = bytes(32)
    request.internal_date.GetCurrentTime()
    with pytest.raises(ContentMismatchError):
        await store.mailbox.AppendMessage(request, metadata=ann.metadata)
    assert await store.inbox(ann) == []


async def test_an_upload_without_its_parts_is_refused(whole_store: MailStore, transfers: Transfers) -> None:
    store = whole_store
    item = store.item([store.account()])
    item.content.CopyFrom(await _upload(store, transfers, LARGE, 0))
    del item.content.upload.parts[:]
    (result,) = await store.accept(item)
    assert result.error == "upload-incomplete"


async def test_an_upload_is_its_account_s_own(whole_store: MailStore, transfers: Transfers) -> None:
    store = whole_store
    ann, eve = store.account(), store.account("eve")
    content = await _upload(store, transfers, LARGE, 0, ann)
    upload_id = content.upload.upload_id
    begin = mailbox_pb2.BeginAppendUploadRequest(upload_id=upload_id, size_hint=MIB)
    with pytest.raises(NotPermittedError):
        await store.mailbox.BeginAppendUpload(begin, metadata=eve.metadata)
    presign = mailbox_pb2.PresignAppendPartsRequest(upload_id=upload_id, first_number=1, count=1)
    with pytest.raises(NotPermittedError):
        await store.mailbox.PresignAppendParts(presign, metadata=eve.metadata)
    item = store.item([eve])
    item.content.CopyFrom(content)
    assert (await store.accept(item))[0].error == "not-permitted"


async def test_a_complete_upload_takes_no_more_octets(whole_store: MailStore, transfers: Transfers) -> None:
    store, ann = whole_store, whole_store.account()
    item = store.item([ann])
    item.content.CopyFrom(await _upload(store, transfers, LARGE[:MIB], MIB))
    await store.accept(item)
    request = delivery_pb2.BeginUploadRequest(
        upload_id=item.content.upload.upload_id, tenant_id=DEFAULT_TENANT.bytes, size_hint=MIB
    )
    with pytest.raises(NotPermittedError):
        await store.delivery.BeginUpload(request)


@pytest.mark.parametrize(("first", "count"), [(0, 1), (1, 0), (1, 17), (10_001, 1)])
async def test_parts_that_cannot_be_are_not_presigned(own_store: MailStore, first: int, count: int) -> None:
    request = delivery_pb2.PresignUploadPartsRequest(
        upload_id=new_id().bytes, first_number=first, count=count
    )
    with pytest.raises(InvalidRequestError):
        await own_store.delivery.PresignUploadParts(request)
    request.first_number, request.count = 1, 1
    with pytest.raises(UploadNotFoundError):
        await own_store.delivery.PresignUploadParts(request)


async def test_more_than_a_message_may_have_is_refused_before_a_byte_is_sent(own_store: MailStore) -> None:
    request = delivery_pb2.BeginUploadRequest(
        upload_id=new_id().bytes, tenant_id=DEFAULT_TENANT.bytes, size_hint=100 * MIB + 1
    )
    with pytest.raises(InvalidRequestError):
        await own_store.delivery.BeginUpload(request)


async def test_uploads_that_nobody_used_are_swept_and_used_ones_keep_their_octets(
    whole_store: MailStore, transfers: Transfers
) -> None:
    store, ann = whole_store, whole_store.account()
    item = store.item([ann])
    item.content.CopyFrom(await _upload(store, transfers, LARGE[:MIB], MIB))
    await store.accept(item)
    unused = await _upload(store, transfers, LARGE[:MIB], MIB)
    open_parts = await _upload(store, transfers, LARGE, 0)
    await store.execute("UPDATE mailstore.upload SET expires_at = now() - interval '1 day'")
    late = store.item([ann])
    late.content.CopyFrom(open_parts)
    assert (await store.accept(late))[0].error == "upload-not-found"
    await Upkeep(store.database, store.objects).run_once()
    assert await store.fetchval("SELECT count(*) FROM mailstore.upload") == 0
    await store.file()
    assert await store.inbox(ann) == [LARGE[:MIB]]
    with pytest.raises(ObjectNotFoundError):
        await store.objects.head(f"message/{_uuid(unused.upload.upload_id)}")


def _uuid(octets: bytes) -> str:
    return str(UUID(bytes=octets))
