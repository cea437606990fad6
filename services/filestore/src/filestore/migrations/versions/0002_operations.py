"""What operations answered, for whoever asks again."""

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"

_STATEMENTS = (
    """
    CREATE TABLE filestore.operation (
        account_id uuid NOT NULL,
        id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        request bytea NOT NULL,
        answer bytea,
        asked_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (account_id, id)
    )""",
    "CREATE INDEX ix_filestore_operation_asked_at ON filestore.operation (asked_at)",
)


def upgrade() -> None:
    """Make the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
