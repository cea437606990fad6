"""APPEND in one round trip, as far as nothing unusual happens; `appending` does the rest, and says why."""

from typing import Final

import asyncpg

from mailstore.accounts import ensure_accounts
from mailstore.blobs.segments import OpenSegment, table
from mailstore.intake.item import Inline
from mailstore.intake.statements import CODEC_PLAIN, CODEC_ZSTD
from mailstore.mailboxes.appending import Appended, Appending, append_message, check_room, segment_dropped
from mailstore.mailboxes.catalogue import Owner
from mailstore.mailboxes.flags import ALL_FLAGS
from mailstore.messages import NewMessage, message_columns
from mailstore.placement import Placed
from mailstore.scanning import MessageFacts
from postroom_contracts.ids import new_id
from postroom_runtime.steps import reached
from postroom_storage.database import Database

_UNUSUAL: Final = "MS003"
_PARAMETERS: Final = ", ".join(f"${number}" for number in range(1, 28))
_APPEND: Final = f"SELECT uid_validity, uid, modseq FROM mailstore.append_message({_PARAMETERS})"
_BLOB: Final = 11
"""The number of the parameter that is the blob's id."""
_STAGE_AND_APPEND: Final = f"""
WITH staged AS (INSERT INTO mailstore.{{segment}} (blob_id, octets) VALUES (${_BLOB}, $28)) {_APPEND}
"""


async def append_one(
    database: Database, segment: OpenSegment, owner: Owner, appending: Appending, facts: MessageFacts
) -> Appended:
    """Append once, however often it is asked. Raises as `append_message`."""
    if (appended := await _append_at_once(database, segment, owner, appending, facts)) is not None:
        return appended
    await ensure_accounts(database, {owner.account_id: owner.tenant_id})
    return await append_message(database, segment, owner, appending, facts)


async def _append_at_once(
    database: Database, segment: OpenSegment, owner: Owner, appending: Appending, facts: MessageFacts
) -> Appended | None:
    """The message is there, or nothing has changed and there is more to it than this way can do."""
    if owner.is_guest:  # what it marks is its own
        return None
    check_room(segment, [appending])
    source, number, staged = appending.content.source, None, ()
    statement = _APPEND
    if isinstance(source, Inline):
        if (number := segment.known_number) is None:
            async with database.connection() as connection:
                number = await segment.number(connection)
        statement, staged = _STAGE_AND_APPEND.format(segment=table(number)), (source.zstd,)
    reached("append.before_commit")
    with segment_dropped(segment):
        try:
            arguments = _arguments(owner, appending, facts, number)
            (row,) = await database.run_statement(statement, *arguments, *staged)
        except asyncpg.PostgresError as error:
            if error.sqlstate != _UNUSUAL:
                raise
            return None
    reached("append.after_commit")
    return Appended(Placed(row["uid_validity"], row["uid"]), row["modseq"])


def _arguments(owner: Owner, appending: Appending, facts: MessageFacts, segment: int | None) -> list[object]:
    """In the order of the function's parameters."""
    content, blob_id = appending.content, new_id()
    source = content.source
    stored = len(source.zstd) if isinstance(source, Inline) else content.size
    columns = message_columns([NewMessage(appending.id, owner.tenant_id, blob_id, facts)])
    return [
        owner.account_id,
        owner.tenant_id,
        owner.quota.octets,
        owner.quota.messages,
        appending.mailbox_id,
        appending.mailbox_name,
        appending.id,
        appending.flags & ALL_FLAGS,
        list({name.lower() for name in appending.keywords}),
        appending.internal_date,
        blob_id,
        content.digest,
        CODEC_PLAIN if segment is None else CODEC_ZSTD,
        segment,
        appending.object_id,
        stored,
        *(column[0] for column in columns[3:]),
    ]
