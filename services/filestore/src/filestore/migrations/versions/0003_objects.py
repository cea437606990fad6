"""An index for whoever has an object of the bucket and looks for its file."""

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    """Add the index."""
    op.execute("CREATE INDEX node_by_object ON filestore.node (object_id) WHERE object_id IS NOT NULL")
