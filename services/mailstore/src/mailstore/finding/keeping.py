"""What was read of messages is kept: one statement for a batch, with which the messages are due no more."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.finding.keys import SortKeys
from mailstore.finding.texts import HeaderText
from postroom_storage.database import Database

# Each message is looked for by its key, whatever the planner believes of the table: one that is gone leaves
# nothing. The references are arrays of their own lengths, which only their text can be an element of.
_KEEP: Final = """
WITH texts AS (
    INSERT INTO mailstore.message_text (message_id, tenant_id, text, header, sent_on, complete, words)
    SELECT t.message_id, m.tenant_id, t.text, t.header, t.sent_on, t.complete,
           setweight(to_tsvector('simple', t.subject), 'A') || setweight(to_tsvector('simple', t.sender), 'B')
           || setweight(to_tsvector('simple', t.recipients), 'C')
           || setweight(to_tsvector('simple', t.body), 'D')
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::boolean[], $6::text[], $7::text[],
                $8::text[], $9::text[])
        AS t(message_id, text, header, sent_on, complete, subject, sender, recipients, body)
    CROSS JOIN LATERAL (SELECT tenant_id FROM mailstore.message WHERE id = t.message_id OFFSET 0) AS m
    ON CONFLICT (message_id) DO NOTHING
), keys AS (
    INSERT INTO mailstore.message_key (
        message_id, tenant_id, sent_at, subject, is_reply, from_mailbox, to_mailbox, cc_mailbox, from_name,
        to_name, own_id, reference_ids)
    SELECT t.message_id, m.tenant_id, t.sent_at, t.subject, t.is_reply, t.from_mailbox, t.to_mailbox,
           t.cc_mailbox, t.from_name, t.to_name, t.own_id, t.reference_ids::bigint[]
    FROM unnest($1::uuid[], $10::timestamptz[], $11::text[], $12::boolean[], $13::text[], $14::text[],
                $15::text[], $16::text[], $17::text[], $18::bigint[], $19::text[])
        AS t(message_id, sent_at, subject, is_reply, from_mailbox, to_mailbox, cc_mailbox, from_name,
             to_name, own_id, reference_ids)
    CROSS JOIN LATERAL (SELECT tenant_id FROM mailstore.message WHERE id = t.message_id OFFSET 0) AS m
    ON CONFLICT (message_id) DO NOTHING
)
DELETE FROM mailstore.finding_due WHERE message_id = ANY($1::uuid[])
"""


@dataclass(frozen=True, slots=True)
class ReadMessage:
    """What is kept of a message: its folded texts, whether they are whole, and its keys.

    `words` are those of subject, sender, recipients and body.
    """

    id: UUID
    header: HeaderText
    body: str
    complete: bool
    words: tuple[str, str, str, str]
    keys: SortKeys


def unreadable(message_id: UUID) -> ReadMessage:
    """Of what cannot be read nothing is kept: whoever searches looks at it again."""
    keys = SortKeys(None, "", False, "", "", "", "", "", None, [])
    return ReadMessage(
        message_id, HeaderText("", None), "", complete=False, words=("", "", "", ""), keys=keys
    )


async def keep(database: Database, read: Sequence[ReadMessage]) -> None:
    """Keep messages; those that are kept already stay as they are."""
    keys = [each.keys for each in read]
    await database.run_statement(
        _KEEP,
        [each.id for each in read],
        [each.body for each in read],
        [each.header.lines for each in read],
        [each.header.sent_on for each in read],
        [each.complete for each in read],
        *([each.words[place] for each in read] for place in range(4)),
        [key.sent_at for key in keys],
        [key.subject for key in keys],
        [key.is_reply for key in keys],
        [key.from_mailbox for key in keys],
        [key.to_mailbox for key in keys],
        [key.cc_mailbox for key in keys],
        [key.from_name for key in keys],
        [key.to_name for key in keys],
        [key.own_id for key in keys],
        ["{" + ",".join(map(str, key.reference_ids)) + "}" for key in keys],
    )
