"""The mail store's first schema: octets, messages, mailboxes, journal, queue."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table; the statements are plain SQL because most of them are beyond what Alembic renders."""
    op.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Not offered: going back would lose mail."""
    raise NotImplementedError("the first schema has nothing below it")
