"""Searching the texts that were read behind the delivery, and what columns answer: one statement for a term.

Where Postgres has pg_trgm, a rare substring is found by an index; else texts are compared one after another.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from mailstore.finding.terms import OF_ROWS, PREFIX_FIELDS, SearchField, SearchTerm
from mailstore.finding.words import query_of
from mailstore.mailboxes.uid_ranges import IN_RANGES, Ranges, bounds, compress
from postroom_storage.database import Connection, Database

_SECONDS: Final = 20.0

# The lines before this copy of the message, in ASCII but for addresses that are not.
_PREFIX: Final = "upper(convert_from(m.prefix, 'UTF8'))"
_TEXT: Final = "JOIN mailstore.message_text AS t ON t.message_id = m.message_id"
_MESSAGE: Final = "JOIN mailstore.message AS g ON g.id = m.message_id"

# What is not read yet, or not whole.
_UNREAD: Final = f"""
SELECT array_agg(m.uid ORDER BY m.uid) FROM {IN_RANGES}
LEFT JOIN mailstore.message_text AS t ON t.message_id = m.message_id
WHERE t.complete IS NOT TRUE
"""
_MATCHING: Final = """
SELECT array_agg(m.uid ORDER BY m.uid) FROM {ranges} {join} WHERE {condition}
"""
# Of all accounts, by the indexes of pg_trgm; one more than are worth to be looked for in the mailbox.
_RARE: Final = """
SELECT array_agg(message_id) FROM (
    SELECT t.message_id FROM mailstore.message_text AS t WHERE {condition} LIMIT {limit}) AS rare
"""
_AMONG: Final = """
SELECT array_agg(m.uid ORDER BY m.uid) FROM {ranges} WHERE m.message_id = ANY($5::uuid[])
"""
_AMONG_OR_PREFIX: Final = f"""
{_AMONG} OR {_PREFIX} LIKE $6
"""
_HAS_TRIGRAMS: Final = """
SELECT count(*) = 2 FROM pg_indexes
WHERE schemaname = 'mailstore' AND indexname IN ('message_text_body', 'message_text_header')
"""
_MOST_RARE: Final = 1_000
_LARGE_MAILBOX: Final = 2_000
"""UIDs from which on a look into the index comes first."""
_TRIGRAM: Final = 3
_RANKED: Final = """
SELECT m.uid, {condition} AS exact,
       CASE WHEN t.words @@ {query}::tsquery THEN ts_rank(t.words, {query}::tsquery) ELSE 0 END AS rank
FROM {ranges} {join} WHERE {condition} OR t.words @@ {query}::tsquery ORDER BY m.uid
"""


@dataclass(frozen=True, slots=True)
class Matches:
    """The UIDs that have a term, ascending; scores from 1 to 100 for those that are like it."""

    uids: Sequence[int] = ()
    scores: Mapping[int, int] = field(default_factory=dict[int, int])


@dataclass(frozen=True, slots=True)
class Indexed:
    """What is known without octets: matches of each term, and the messages that are still to be read."""

    matches: list[Matches]
    unread: Ranges


@dataclass(frozen=True, slots=True)
class _Condition:
    join: str
    sql: str
    arguments: tuple[object, ...]
    of_text: str = ""
    """What of it the index of texts can tell: all but what is in a copy's prefix."""


async def search_index(
    database: Database, account_id: UUID, mailbox_id: UUID, ranges: Ranges, terms: Sequence[SearchTerm]
) -> Indexed:
    """Which of these messages have each term, as far as the index goes."""
    place = (account_id, mailbox_id, *bounds(ranges))
    async with database.transaction(seconds=_SECONDS, readonly=True) as connection:
        await connection.execute(f"SET LOCAL statement_timeout = {int(_SECONDS * 1_000)}")
        unread: list[int] = []
        if any(term.field not in OF_ROWS for term in terms):
            # Before the matches: a message that is read meanwhile is looked at twice, not never.
            unread = await connection.fetchval(_UNREAD, *place) or []
        large = sum(last - first + 1 for first, last in ranges) > _LARGE_MAILBOX
        if large and any(_is_selective(term) for term in terms):
            large = bool(await connection.fetchval(_HAS_TRIGRAMS))
        matches = [
            await _matches(connection, place, term, rare_first=large and _is_selective(term))
            for term in terms
        ]
    return Indexed(matches, compress(unread))


async def _matches(
    connection: Connection, place: tuple[object, ...], term: SearchTerm, *, rare_first: bool
) -> Matches:
    condition = _condition(term)
    if condition is None:
        return Matches()
    if term.fuzzy and (query := query_of(term)):
        return await _ranked(connection, place, condition, query)
    if rare_first and (rare := await _rare(connection, condition)) is not None:
        arguments = (*place, rare)
        statement = _AMONG
        if term.field is SearchField.TEXT:
            arguments, statement = (*arguments, *condition.arguments), _AMONG_OR_PREFIX
        return Matches(await connection.fetchval(statement.format(ranges=IN_RANGES), *arguments) or [])
    statement = _MATCHING.format(ranges=IN_RANGES, join=condition.join, condition=condition.sql)
    return Matches(await connection.fetchval(statement, *place, *condition.arguments) or [])


async def _rare(connection: Connection, condition: _Condition) -> list[UUID] | None:
    """All messages that meet a condition, when there are few; the planner cannot know how rare a text is."""
    sql = condition.of_text.replace("$5", "$1").replace("$6", "$2")
    statement = _RARE.format(condition=sql, limit=_MOST_RARE + 1)
    await connection.execute("SET LOCAL enable_seqscan = off")
    try:
        found: list[UUID] = await connection.fetchval(statement, *condition.arguments) or []
    finally:
        await connection.execute("SET LOCAL enable_seqscan = on")
    return found if len(found) <= _MOST_RARE else None


def _is_selective(term: SearchTerm) -> bool:
    """Whether an index of trigrams can tell the texts that have it."""
    by_text = term.field in {SearchField.BODY, SearchField.TEXT, SearchField.HEADER}
    in_text = term.field is not SearchField.HEADER or term.header_name not in PREFIX_FIELDS
    return by_text and in_text and not term.fuzzy and len(term.value) >= _TRIGRAM


async def _ranked(
    connection: Connection, place: tuple[object, ...], condition: _Condition, query: str
) -> Matches:
    parameter = f"${len(place) + len(condition.arguments) + 1}"
    statement = _RANKED.format(
        ranges=IN_RANGES, join=condition.join, condition=condition.sql, query=parameter
    )
    rows = await connection.fetch(statement, *place, *condition.arguments, query)
    best = max((row["rank"] for row in rows), default=0) or 1
    raw = {row["uid"]: row["exact"] + row["rank"] / best for row in rows}
    most = max(raw.values(), default=1) or 1
    return Matches(list(raw), {uid: max(round(100 * score / most), 1) for uid, score in raw.items()})


def _condition(term: SearchTerm) -> _Condition | None:
    """The SQL of a term, with arguments from $5 on; None for what nothing can have."""
    match term.field:
        case SearchField.BODY:
            return _Condition(_TEXT, "t.text LIKE $5", (_like(term.value),), "t.text LIKE $5")
        case SearchField.TEXT:
            sql = f"(t.text LIKE $5 OR t.header LIKE $5 OR {_PREFIX} LIKE $5)"
            return _Condition(_TEXT, sql, (_like(term.value),), "(t.text LIKE $5 OR t.header LIKE $5)")
        case SearchField.HEADER:
            return _header_condition(term)
        case SearchField.SENT_BEFORE | SearchField.SAVED_BEFORE:
            return _dated(term, "<")
        case SearchField.SENT_ON | SearchField.SAVED_ON:
            return _dated(term, "=")
        case SearchField.SENT_SINCE | SearchField.SAVED_SINCE:
            return _dated(term, ">=")
        case SearchField.EMAIL_ID:
            return _Condition("", "mailstore.email_of(m.message_id, m.prefix) = $5::uuid", (term.object_id,))
        case SearchField.THREAD_ID:
            sql = "coalesce(g.thread_id, mailstore.thread_of(g.id, g.summary)) = $5::uuid"
            return _Condition(_MESSAGE, sql, (term.object_id,))


def _header_condition(term: SearchTerm) -> _Condition | None:
    """The header has it somewhere, which an index can tell, and then in this field."""
    if "\n" in term.value or "\n" in term.header_name:
        return None
    line = f"(?n)^{_literal(term.header_name)}: .*{_literal(term.value)}"
    sql = "(t.header LIKE $5 AND t.header ~ $6)"
    if term.header_name in PREFIX_FIELDS:
        sql = f"({sql} OR {_PREFIX} ~ $6)"
    return _Condition(_TEXT, sql, (_like(term.value), line), sql)


def _dated(term: SearchTerm, operator: str) -> _Condition:
    if term.field in OF_ROWS:
        return _Condition("", f"(m.saved_at AT TIME ZONE 'UTC')::date {operator} $5::date", (term.day,))
    return _Condition(_TEXT, f"t.sent_on {operator} $5::date", (term.day,))


def _like(value: str) -> str:
    """A LIKE pattern of a substring."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", value) + "%"


def _literal(value: str) -> str:
    """A regular expression of Postgres that is this text."""
    return re.sub(r"([!-/:-@\[-^`{-~])", r"\\\1", value)
