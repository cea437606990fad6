"""APPEND: a message that a client brings is durable and placed in one transaction."""

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import zstandard

from mailstore.accounts import lock_accounts
from mailstore.blobs.segments import OpenSegment, table
from mailstore.intake.item import Inline, MessageContent
from mailstore.intake.statements import CODEC_PLAIN, CODEC_ZSTD
from mailstore.mailboxes.catalogue import Owner, find_mailbox
from mailstore.mailboxes.flags import ALL_FLAGS, keyword_bits
from mailstore.mailboxes.quota import check_quota
from mailstore.messages import NewMessage, insert_messages
from mailstore.placement import Placed, Placement, place
from mailstore.scanning import MessageFacts
from postroom_contracts.errors import (
    ContentMismatchError,
    InvalidRequestError,
    StagingFullError,
    UnavailableError,
)
from postroom_contracts.ids import new_id
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database

# Also where it is no more: it may have been moved or expunged since.
_PLACED_BEFORE: Final = """
SELECT m.uid, m.modseq, b.uid_validity FROM (
    SELECT mailbox_id, uid, modseq FROM mailstore.mailbox_message WHERE message_id = $1 AND account_id = $2
    UNION ALL
    SELECT mailbox_id, uid, modseq FROM mailstore.expunged WHERE message_id = $1 AND account_id = $2
) AS m JOIN mailstore.mailbox AS b ON b.id = m.mailbox_id
WHERE m.mailbox_id = $3 ORDER BY m.uid LIMIT 1
"""
_ID_USED: Final = "SELECT EXISTS (SELECT FROM mailstore.message WHERE id = $1)"
_BLOB: Final = """
INSERT INTO mailstore.blob (id, tenant_id, digest, size, codec, segment, object_id, stored_length)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""


@dataclass(frozen=True, slots=True)
class Appending:
    """What to append, and how it is to be marked; `object_id` when the octets were uploaded."""

    id: UUID
    mailbox_id: UUID
    flags: int
    keywords: Sequence[str]
    internal_date: dt.datetime
    content: MessageContent
    object_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """Where the message is (RFC 4315 s3 APPENDUID), and the MODSEQ that shows it."""

    placed: Placed
    modseq: int


def inline_octets(content: MessageContent) -> bytes:
    """The octets of an inline content. Raises ContentMismatchError."""
    if not isinstance(content.source, Inline):
        raise ContentMismatchError("not inline")
    try:
        octets = zstandard.ZstdDecompressor().decompress(content.source.zstd, max_output_size=content.size)
    except zstandard.ZstdError:
        raise ContentMismatchError("not a zstd frame of that size") from None
    if len(octets) != content.size:
        raise ContentMismatchError("another size than said")
    return octets


def check_digest(octets: bytes, content: MessageContent) -> None:
    """Raises ContentMismatchError when these are not the octets that were meant."""
    if hashlib.sha256(octets).digest() != content.digest:
        raise ContentMismatchError("another digest than said")


async def append_message(
    database: Database, segment: OpenSegment, owner: Owner, appending: Appending, facts: MessageFacts
) -> Appended:
    """Append once, however often it is asked.

    Raises MailboxNotFoundError, StagingFullError, OverQuotaError, InvalidRequestError (the id is another
    message's).
    """
    if segment.full and appending.object_id is None:
        raise StagingFullError("too much is staged")

    async def transact(connection: Connection) -> Appended:
        modseqs = await lock_accounts(connection, [owner.account_id])
        before = await connection.fetchrow(
            _PLACED_BEFORE, appending.id, owner.account_id, appending.mailbox_id
        )
        if before is not None:
            return Appended(Placed(before["uid_validity"], before["uid"]), before["modseq"])
        await find_mailbox(connection, owner.account_id, appending.mailbox_id)
        if await connection.fetchval(_ID_USED, appending.id):  # it would show a message of whoever has the id
            raise InvalidRequestError("an id that another message has")
        blob_id = await _keep_octets(connection, segment, owner, appending)
        await insert_messages(connection, [NewMessage(appending.id, owner.tenant_id, blob_id, facts)])
        word = await keyword_bits(connection, owner.account_id, appending.keywords)
        placement = Placement(
            account_id=owner.account_id,
            tenant_id=owner.tenant_id,
            mailbox_id=appending.mailbox_id,
            message_id=appending.id,
            flags=appending.flags & ALL_FLAGS,
            keywords=word,
            internal_date=appending.internal_date,
            size=facts.size,
        )
        (placed,) = await place(connection, [placement], modseqs)
        await check_quota(connection, owner)
        reached("append.before_commit")
        return Appended(placed, modseqs[owner.account_id])

    try:
        appended = await database.run(transact)
    except asyncpg.UndefinedTableError:  # the segment was packed and dropped since its number was looked up
        segment.forget()
        raise UnavailableError("the open segment has changed") from None
    reached("append.after_commit")
    return appended


async def _keep_octets(
    connection: Connection, segment: OpenSegment, owner: Owner, appending: Appending
) -> UUID:
    blob_id = new_id()
    content = appending.content
    if not isinstance(content.source, Inline):
        values = (CODEC_PLAIN, None, appending.object_id, content.size)
    else:
        number = await segment.number(connection)
        values = (CODEC_ZSTD, number, None, len(content.source.zstd))
        statement = f"INSERT INTO mailstore.{table(number)} (blob_id, octets) VALUES ($1, $2)"  # a number
        await connection.execute(statement, blob_id, content.source.zstd)
    await connection.execute(_BLOB, blob_id, owner.tenant_id, content.digest, content.size, *values)
    return blob_id
