"""An index for whoever has an object of the bucket and looks for its blob."""

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"


def upgrade() -> None:
    """Add the index; only large messages are in it."""
    op.execute("CREATE INDEX blob_by_object ON mailstore.blob (object_id) WHERE object_id IS NOT NULL")
