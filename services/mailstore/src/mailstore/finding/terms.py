"""What a search asks of the store."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import InvalidRequestError
from postroom_wire.imap.casemap import casemap

MAX_TERMS: Final = 64
MAX_TERM: Final = 4_096
"""Characters."""


class SearchField(Enum):
    """Where a term is looked for; the value is the contract's."""

    HEADER = 1
    BODY = 2
    TEXT = 3
    SENT_BEFORE = 4
    SENT_ON = 5
    SENT_SINCE = 6
    SAVED_BEFORE = 7
    SAVED_ON = 8
    SAVED_SINCE = 9
    EMAIL_ID = 10
    THREAD_ID = 11


DATES: Final = frozenset(
    {
        SearchField.SENT_BEFORE,
        SearchField.SENT_ON,
        SearchField.SENT_SINCE,
        SearchField.SAVED_BEFORE,
        SearchField.SAVED_ON,
        SearchField.SAVED_SINCE,
    }
)
OF_ROWS: Final = frozenset(
    {
        SearchField.SAVED_BEFORE,
        SearchField.SAVED_ON,
        SearchField.SAVED_SINCE,
        SearchField.EMAIL_ID,
        SearchField.THREAD_ID,
    }
)
"""Answered by columns; the others are by texts."""
PREFIX_FIELDS: Final = frozenset({"RETURN-PATH", "DELIVERED-TO"})
"""Fields that each copy of a message has before it."""
_WITH_BODY: Final = frozenset({SearchField.BODY, SearchField.TEXT})


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """A substring of a field, a date, or an id; names and values are folded (i;unicode-casemap).

    `fuzzy`: what is like it too, with a score (RFC 6203).
    """

    field: SearchField
    header_name: str = ""
    value: str = ""
    day: dt.date | None = None
    object_id: UUID | None = None
    fuzzy: bool = False

    @property
    def needs_body(self) -> bool:
        """Whether a message's octets are looked into."""
        return self.field in _WITH_BODY


def parse_terms(terms: Iterable[mailbox_pb2.TextTerm]) -> list[SearchTerm]:
    """A request's search terms. Raises `InvalidRequestError`."""
    return [_term(term) for term in terms]


def _term(term: mailbox_pb2.TextTerm) -> SearchTerm:
    if len(term.value) > MAX_TERM or len(term.header_name) > MAX_TERM:
        raise InvalidRequestError("a term is too long")
    try:
        field = SearchField(term.field)
        if field in DATES:
            return SearchTerm(field, day=dt.date.fromisoformat(term.value))
        if field in OF_ROWS:
            return SearchTerm(field, object_id=UUID(hex=term.value))
    except ValueError:
        raise InvalidRequestError("no such field, date or id") from None
    return SearchTerm(field, casemap(term.header_name), casemap(term.value), fuzzy=term.fuzzy)
