"""Flags and keywords: STORE is one statement, whatever the number of messages."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from mailstore.mailboxes.journal import write_change
from mailstore.mailboxes.rows import RowColumns
from mailstore.mailboxes.uid_ranges import IN_RANGES, Ranges, bounds, compress
from mailstore.placement import CHANGE_FLAGS, DELETED, SEEN
from postroom_contracts.errors import InvalidRequestError, TooManyKeywordsError
from postroom_storage.database import Connection

MAX_MODSEQ: Final = 2**63 - 1
MAX_KEYWORDS: Final = 63
ALL_FLAGS: Final = 31
MAX_KEYWORD: Final = 100
_ATOM: Final = re.compile(r'[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]+')

_KEYWORDS: Final = "SELECT bit, name FROM mailstore.keyword WHERE account_id = $1 ORDER BY bit"
_NEW_KEYWORD: Final = "INSERT INTO mailstore.keyword (account_id, bit, name) VALUES ($1, $2, $3)"
_NEW_FLAGS: Final = """
(m.flags & ~$13::smallint) | ($13::smallint &
    CASE $5::int WHEN 1 THEN $6::smallint WHEN 2 THEN m.flags | $6::smallint ELSE m.flags & ~$6::smallint END)
"""
_NEW_KEYWORDS: Final = """
CASE WHEN $14::boolean THEN m.keywords WHEN $5::int = 1 THEN $7::bigint
     WHEN $5::int = 2 THEN m.keywords | $7::bigint ELSE m.keywords & ~$7::bigint END
"""
# Whoever asks on a condition is told which messages failed it; `passes` is true without one.
_STORE: Final = f"""
WITH found AS MATERIALIZED (
    SELECT m.uid, m.flags AS old_flags, m.keywords AS old_keywords, {_NEW_FLAGS} AS flags,
           {_NEW_KEYWORDS} AS keywords,
           $11::bigint IS NULL OR m.modseq <= $11 OR ($12 AND m.keywords & $7 = 0) AS passes
    FROM {IN_RANGES}
), target AS MATERIALIZED (
    SELECT uid, old_flags, flags FROM found
    WHERE passes AND (old_flags <> flags OR old_keywords <> keywords)
), stored AS (
    UPDATE mailstore.mailbox_message AS m SET flags = {_NEW_FLAGS}, keywords = {_NEW_KEYWORDS}, modseq = $8
    WHERE m.account_id = $1 AND m.mailbox_id = $2 AND m.uid = ANY (ARRAY(SELECT uid FROM target))
    RETURNING m.uid, m.flags, m.keywords, m.size, m.internal_date
)
SELECT array_agg(uid ORDER BY uid) AS uids, array_agg(flags ORDER BY uid) AS flags,
       array_agg(keywords ORDER BY uid) AS keywords, array_agg(size ORDER BY uid) AS sizes,
       array_agg(extract(epoch FROM internal_date)::bigint ORDER BY uid) AS internal_dates,
       (SELECT coalesce(sum((old_flags & $9) - (flags & $9)), 0)::bigint / $9 FROM target) AS unseen,
       (SELECT coalesce(sum((flags & $10) - (old_flags & $10)), 0)::bigint / $10 FROM target) AS deleted,
       (SELECT array_agg(uid ORDER BY uid) FROM found WHERE NOT passes) AS modified
FROM stored
"""
_COUNT: Final = """
UPDATE mailstore.mailbox SET unseen = unseen + $2, deleted = deleted + $3, highest_modseq = $4 WHERE id = $1
"""


class StoreMode(Enum):
    """What STORE does with the flags given (RFC 3501 s6.4.6)."""

    REPLACE = 1
    ADD = 2
    REMOVE = 3


@dataclass(frozen=True, slots=True)
class FlagChange:
    """Flags as bits and keywords as names, to be stored in some way.

    With `unchanged_since` only where nothing changed after that MODSEQ (RFC 7162 s3.1.3). Flags outside the
    `mask`, and with `keeps_keywords` the keywords, stay as they are.
    """

    mode: StoreMode
    flags: int
    keywords: Sequence[str]
    unchanged_since: int | None = None
    mask: int = ALL_FLAGS
    keeps_keywords: bool = False

    @property
    def tests_for_keywords(self) -> bool:
        """Whether messages without the keywords pass: 0 fails for what is there; system flags always are."""
        only_keywords = bool(self.keywords) and not self.flags and self.mode is not StoreMode.REPLACE
        return self.unchanged_since == 0 and only_keywords


@dataclass(frozen=True, slots=True)
class Stored:
    """The rows that are different now, and the UIDs that failed the condition."""

    rows: RowColumns
    modified: Ranges = ()


async def keywords_of(connection: Connection, account_id: UUID) -> dict[str, int]:
    """The account's keywords and their bits."""
    return {row["name"]: row["bit"] for row in await connection.fetch(_KEYWORDS, account_id)}


def parse_keywords(names: Iterable[str]) -> list[str]:
    """The keywords of a request: atoms (RFC 3501 s9 flag-keyword). Raises InvalidRequestError."""
    found = list(names)
    if not all(len(name) <= MAX_KEYWORD and _ATOM.fullmatch(name) for name in found):
        raise InvalidRequestError("not a keyword")
    return found


async def keyword_bits(
    connection: Connection, account_id: UUID, names: Sequence[str], *, new: bool = True
) -> int:
    """The word of these keywords, which are named case-insensitively; new ones get a bit if they may.

    The account is locked. Raises TooManyKeywordsError.
    """
    if not names:
        return 0
    known = {name.lower(): bit for name, bit in (await keywords_of(connection, account_id)).items()}
    word = 0
    for name in names:
        if (bit := known.get(name.lower())) is None:
            if not new:
                continue
            bit = len(known)
            if bit >= MAX_KEYWORDS:
                raise TooManyKeywordsError(f"more than {MAX_KEYWORDS} keywords")
            await connection.execute(_NEW_KEYWORD, account_id, bit, name)
            known[name.lower()] = bit
        word |= 1 << bit
    return word


async def store_flags(
    connection: Connection,
    account_id: UUID,
    mailbox_id: UUID,
    modseq: int,
    ranges: Ranges,
    change: FlagChange,
) -> Stored:
    """Change flags in a locked account.

    Raises TooManyKeywordsError.
    """
    adds = change.mode is not StoreMode.REMOVE
    word = await keyword_bits(connection, account_id, change.keywords, new=adds)
    row = await connection.fetchrow(
        _STORE,
        account_id,
        mailbox_id,
        *bounds(ranges),
        change.mode.value,
        change.flags & ALL_FLAGS,
        word,
        modseq,
        SEEN,
        DELETED,
        change.unchanged_since,
        change.tests_for_keywords,
        change.mask,
        change.keeps_keywords,
    )
    modified = [] if row is None else compress(row["modified"] or ())
    if row is None or row["uids"] is None:
        return Stored(RowColumns(), modified)
    await connection.execute(_COUNT, mailbox_id, row["unseen"], row["deleted"], modseq)
    await write_change(connection, account_id, modseq, mailbox_id, CHANGE_FLAGS, compress(row["uids"]))
    rows = RowColumns(
        uids=row["uids"],
        flags=row["flags"],
        keywords=row["keywords"],
        modseqs=[modseq] * len(row["uids"]),
        sizes=row["sizes"],
        internal_dates=row["internal_dates"],
    )
    return Stored(rows, modified)
