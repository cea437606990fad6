"""What a failure of the database means: try again at once, try again later, or a fault of the statement."""

from typing import Final

import asyncpg

from postroom_contracts.errors import PostroomError, UnavailableError

# SQLSTATE classes and codes (Postgres documentation, appendix A).
_AWAY_CLASSES: Final = frozenset(
    {"08", "53", "57", "58", "XX"}
)  # connection, resources, operator, system, internal
_AWAY: Final = frozenset(
    {
        "25006",  # read-only: a standby, or the disk is full
        "25P02",  # in a failed transaction: somebody's rollback did not get through
        "25P03",  # idle in transaction for too long
        "25P04",  # transaction timeout
        "55P03",  # lock not available
        "0A000",  # "cached plan must not change result type", after a migration
    }
)
_RETRYABLE: Final = frozenset({"40001", "40P01"})
_END_OF_CONNECTION: Final = frozenset(
    {"57P01", "57P02", "57P03", "57P05", "25006", "25P02", "25P03", "25P04"}
)


def is_retryable(error: BaseException) -> bool:
    """A deadlock or serialization failure: the same transaction succeeds if it is run again."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _RETRYABLE


def is_data_error(error: BaseException) -> bool:
    """A value or a constraint refused it: the same statement without this item may succeed."""
    match error:
        case asyncpg.PostgresError(sqlstate=state):
            return state[:2] in {"22", "23", "54"}  # data, integrity constraint, program limit
        case _:
            # asyncpg's own refusal of a value, and the codec's: nothing was sent.
            return isinstance(error, asyncpg.InterfaceError | UnicodeError) and isinstance(error, ValueError)


def is_fatal(error: BaseException) -> bool:
    """Whether the connection that raised it must not be used again."""
    match error:
        case asyncpg.PostgresError(sqlstate=state):
            return state[:2] in {"08", "58", "XX"} or state in _END_OF_CONNECTION
        case ValueError():  # asyncpg itself refused a value; nothing was sent
            return False
        case asyncpg.InterfaceError() | asyncpg.InternalClientError() | OSError() | TimeoutError():
            return True
        case _:
            return False


def unavailable(error: BaseException) -> UnavailableError | None:
    """The error as a caller should see it, when it says nothing about the caller's own statement."""
    match error:
        case PostroomError():
            return None
        case asyncpg.PostgresError(sqlstate=state):
            away = state[:2] in _AWAY_CLASSES or state in _AWAY
            return UnavailableError(f"Postgres: {state}: {error}") if away else None
        case TimeoutError():
            return UnavailableError("Postgres did not answer in time")
        case OSError() | asyncpg.InternalClientError():
            return UnavailableError(f"Postgres: {error}")
        case asyncpg.InterfaceError() if "closed" in str(error) or "released" in str(error):
            return UnavailableError(f"Postgres: {error}")
        case _:
            return None
