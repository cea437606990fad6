"""Sites that let nobody in are held back: how often in a row they did not, and their last word."""

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"

# A row without max_claims has the limit of all sites: it is there for its failures only.
_STATEMENTS = (
    """
    ALTER TABLE mailstore.site
        ADD COLUMN failures integer NOT NULL DEFAULT 0,
        ADD COLUMN last_status text NOT NULL DEFAULT '',
        ADD COLUMN last_diagnostic text NOT NULL DEFAULT '',
        ADD COLUMN last_host text NOT NULL DEFAULT '',
        ALTER COLUMN max_claims DROP NOT NULL,
        ALTER COLUMN max_claims DROP DEFAULT
    """,
)


def upgrade() -> None:
    """Add the columns."""
    for statement in _STATEMENTS:
        op.execute(statement)
