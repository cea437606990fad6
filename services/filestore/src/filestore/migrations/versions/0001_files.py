"""The file store's first schema: trees, uploads, and objects to be deleted."""

from functools import partial
from pathlib import Path

from alembic import op
from asyncpg import Connection, Record
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table, by plain SQL: it says exactly what there is."""
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    # Many statements at once are beyond prepared statements, which is all that SQLAlchemy sends.
    adapted = op.get_bind().connection.dbapi_connection
    if not isinstance(adapted, AsyncAdapt_asyncpg_connection):
        raise TypeError("the migrations run on asyncpg")
    adapted.run_async(partial(_execute, statements))


async def _execute(statements: str, connection: "Connection[Record]") -> None:
    await connection.execute(statements)


def downgrade() -> None:
    """Not offered: going back would lose files."""
    raise NotImplementedError("the first schema has nothing below it")
