"""Whether messages have their content, and whether the counters of mailboxes and accounts are right."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final
from uuid import UUID

from asyncpg import Record

from postroom_contracts.errors import InvalidRequestError, UnavailableError
from postroom_storage.database import Database
from postroom_storage.examination import (
    ExaminationLimits,
    Finding,
    Step,
    detail_of,
    id_of_position,
    tell_about,
)

_COUNTED_AT_ONCE: Final = 20_000
"""Rows that one statement counts, but for a mailbox that has more."""

_UID_DIGITS: Final = 10

_MESSAGES: Final = """
SELECT m.id, m.blob_id, NOT EXISTS (SELECT FROM mailstore.blob AS b WHERE b.id = m.blob_id) AS lost
FROM (SELECT id, blob_id FROM mailstore.message WHERE id > $1 ORDER BY id LIMIT $2) AS m ORDER BY m.id
"""
_COPIES: Final = """
SELECT message_id, count(*) AS copies FROM mailstore.mailbox_message
WHERE message_id = ANY($1::uuid[]) GROUP BY message_id
"""
_ROWS: Final = """
SELECT r.account_id, r.mailbox_id, r.uid,
       NOT EXISTS (SELECT FROM mailstore.message AS m WHERE m.id = r.message_id) AS lost,
       NOT EXISTS (SELECT FROM mailstore.mailbox AS b WHERE b.id = r.mailbox_id) AS astray
FROM (SELECT account_id, mailbox_id, uid, message_id FROM mailstore.{table}
      WHERE (account_id, mailbox_id, uid) > ($1, $2, $3)
      ORDER BY account_id, mailbox_id, uid LIMIT $4) AS r
ORDER BY r.account_id, r.mailbox_id, r.uid
"""
_MAILBOXES: Final = "SELECT id, messages FROM mailstore.mailbox WHERE id > $1 ORDER BY id LIMIT $2"
_COUNTED: Final = """
SELECT b.id, b.account_id, b.name,
       array_remove(ARRAY[
           CASE WHEN b.messages <> c.messages
                THEN format('messages %s instead of %s', b.messages, c.messages) END,
           CASE WHEN b.unseen <> c.unseen THEN format('unseen %s instead of %s', b.unseen, c.unseen) END,
           CASE WHEN b.deleted <> c.deleted THEN format('deleted %s instead of %s', b.deleted, c.deleted) END,
           CASE WHEN b.size <> c.size THEN format('octets %s instead of %s', b.size, c.size) END,
           CASE WHEN b.uid_next <= c.uid THEN format('next UID %s, but there is %s', b.uid_next, c.uid) END,
           CASE WHEN b.highest_modseq < c.modseq
                THEN format('MODSEQ %s, but there is %s', b.highest_modseq, c.modseq) END
       ], NULL) AS wrong
FROM mailstore.mailbox AS b CROSS JOIN LATERAL (
    SELECT count(*) AS messages, count(*) FILTER (WHERE m.flags & 1 = 0) AS unseen,
           count(*) FILTER (WHERE m.flags & 8 <> 0) AS deleted, coalesce(sum(m.size), 0) AS size,
           coalesce(max(m.uid), 0) AS uid, coalesce(max(m.modseq), 0) AS modseq
    FROM mailstore.mailbox_message AS m WHERE m.account_id = b.account_id AND m.mailbox_id = b.id
) AS c
WHERE b.id = ANY($1::uuid[]) ORDER BY b.id
"""
_ACCOUNTS: Final = """
WITH page AS MATERIALIZED (
    SELECT * FROM mailstore.account_state WHERE account_id > $1 ORDER BY account_id LIMIT $2
)
SELECT s.account_id,
       array_remove(ARRAY[
           CASE WHEN s.used_messages <> coalesce(c.messages, 0)
                THEN format('messages %s instead of %s', s.used_messages, coalesce(c.messages, 0)) END,
           CASE WHEN s.used_octets <> coalesce(c.size, 0)
                THEN format('octets %s instead of %s', s.used_octets, coalesce(c.size, 0)) END,
           CASE WHEN s.modseq < c.modseq THEN format('MODSEQ %s, but there is %s', s.modseq, c.modseq) END,
           CASE WHEN s.last_uid_validity < c.uid_validity
                THEN format('UIDVALIDITY %s, but there is %s', s.last_uid_validity, c.uid_validity) END
       ], NULL) AS wrong
FROM page AS s LEFT JOIN (
    SELECT b.account_id, sum(b.messages) AS messages, sum(b.size) AS size, max(b.highest_modseq) AS modseq,
           max(b.uid_validity) AS uid_validity
    FROM mailstore.mailbox AS b JOIN page USING (account_id) GROUP BY b.account_id
) AS c USING (account_id)
ORDER BY s.account_id
"""


class MailboxesExamination:
    """The stages that look at messages, mailboxes and accounts."""

    def __init__(self, database: Database, limits: ExaminationLimits) -> None:
        self._database, self._limits = database, limits

    async def messages(self, at: str) -> Step:
        """Whether each message has a blob."""
        rows = await self._fetch(_MESSAGES, id_of_position(at), self._limits.rows)
        if not rows:
            return Step()
        lost = {row["id"]: row["blob_id"] for row in rows if row["lost"]}
        copies = await tell_about(self._copies, list(lost))
        findings = [
            _missing(f"message {message}", detail_of(f"its blob {blob} is not there", copies.get(message)))
            for message, blob in lost.items()
        ]
        return Step(str(rows[-1]["id"]), findings, {"messages": len(rows)})

    async def rows(self, at: str) -> Step:
        """Whether what lies in mailboxes are messages, and in mailboxes."""
        return await self._look_at_rows("mailbox_message", "mailbox rows", at)

    async def expunged(self, at: str) -> Step:
        """Whether what was expunged and can be restored has its message."""
        return await self._look_at_rows("expunged", "expunged rows", at)

    async def _look_at_rows(self, table: str, what: str, at: str) -> Step:
        statement = _ROWS.format(table=table)
        rows = await self._fetch(statement, *_row_of_position(at), self._limits.rows)
        if not rows:
            return Step()
        findings = [
            _missing(
                f"mailbox {row['mailbox_id']} of account {row['account_id']}, UID {row['uid']}",
                "its message is not there" if row["lost"] else "its mailbox is not there",
            )
            for row in rows
            if row["lost"] or row["astray"]
        ]
        last = rows[-1]
        return Step(f"{last['account_id']} {last['mailbox_id']} {last['uid']}", findings, {what: len(rows)})

    async def mailboxes(self, at: str) -> Step:
        """Whether the counters of mailboxes equal what is in them."""
        page = await self._fetch(_MAILBOXES, id_of_position(at), self._limits.objects)
        if not page:
            return Step()
        sums = accumulate(row["messages"] for row in page)
        some = [row["id"] for row, total in zip(page, sums, strict=True) if total <= _COUNTED_AT_ONCE]
        some = some or [page[0]["id"]]
        try:
            found = await self._fetch(_COUNTED, some)
        except UnavailableError:
            if len(some) > 1:
                raise
            return Step(str(some[0]), [_too_large(f"mailbox {some[0]}")])
        findings = [
            _counter(f"mailbox {row['id']} of account {row['account_id']} ({row['name']})", row["wrong"])
            for row in found
            if row["wrong"]
        ]
        return Step(str(some[-1]), findings, {"mailboxes": len(some)})

    async def accounts(self, at: str) -> Step:
        """Whether what accounts use is what their mailboxes have."""
        rows = await self._fetch(_ACCOUNTS, id_of_position(at), self._limits.rows)
        if not rows:
            return Step()
        findings = [_counter(f"account {row['account_id']}", row["wrong"]) for row in rows if row["wrong"]]
        return Step(str(rows[-1]["account_id"]), findings, {"accounts": len(rows)})

    async def _copies(self, messages: Sequence[UUID]) -> dict[UUID, str]:
        async with self._database.connection(seconds=self._limits.about_seconds) as connection:
            rows = await connection.fetch(_COPIES, messages)
        return {row["message_id"]: f"with {row['copies']} copies in mailboxes" for row in rows}

    async def _fetch(self, statement: str, *arguments: object) -> list[Record]:
        async with self._database.connection(seconds=self._limits.step_seconds) as connection:
            return await connection.fetch(statement, *arguments)


def _row_of_position(at: str) -> tuple[UUID, UUID, int]:
    account, _, rest = at.partition(" ")
    mailbox, _, uid = rest.partition(" ")
    if at and not (uid.isascii() and uid.isdecimal() and len(uid) <= _UID_DIGITS):
        raise InvalidRequestError("not a cursor of ours")
    return id_of_position(account), id_of_position(mailbox), int(uid or "0")


def _missing(subject: str, detail: str) -> Finding:
    return Finding(kind=Finding.KIND_ROW_MISSING, subject=subject, detail=detail)


def _counter(subject: str, wrong: Sequence[str]) -> Finding:
    return Finding(kind=Finding.KIND_COUNTER, subject=subject, detail="; ".join(wrong))


def _too_large(subject: str) -> Finding:
    return Finding(kind=Finding.KIND_NOT_EXAMINED, subject=subject, detail="it could not be counted in time")
