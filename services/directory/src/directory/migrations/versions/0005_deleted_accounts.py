"""Which accounts were deleted, for the stores that let go of what they had."""

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"

_STATEMENTS = (
    """
    CREATE TABLE directory.deleted_account (
        account_id uuid PRIMARY KEY,
        tenant_id uuid NOT NULL,
        deleted_at timestamptz NOT NULL DEFAULT now()
    )
    """,
)


def upgrade() -> None:
    """Add the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
