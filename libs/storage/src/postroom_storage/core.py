"""SQLAlchemy Core statements on the pool's own asyncpg connections: one pool, one way to fail.

For what is composed at run time and not hot; hot statements are written as SQL for asyncpg.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from asyncpg import Record
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.sql.expression import Delete, Insert, Select, Update

from postroom_storage.database import Connection

Statement: TypeAlias = Select[Any] | Insert | Update | Delete

_DIALECT: Final = PGDialect_asyncpg()


def render(statement: Statement) -> tuple[str, list[Any]]:
    """The statement as asyncpg takes it: `$1` and values in their order."""
    compiled = _DIALECT.statement_compiler(_DIALECT, statement, compile_kwargs={"render_postcompile": True})
    values = compiled.construct_params()
    return compiled.string, [values[name] for name in compiled.positiontup or ()]


async def fetch(connection: Connection, statement: Statement) -> Sequence[Record]:
    """All rows."""
    text, values = render(statement)
    return await connection.fetch(text, *values)


async def fetch_one(connection: Connection, statement: Statement) -> Record | None:
    """The first row."""
    text, values = render(statement)
    return await connection.fetchrow(text, *values)
