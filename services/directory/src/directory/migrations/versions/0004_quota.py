"""How much mail an account may keep: what the administrator allows, and what it wants itself (RFC 9208)."""

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"

# NULL: the default of the house; of one's own: none.
_STATEMENTS = (
    """
    ALTER TABLE directory.account
        ADD COLUMN quota_octets bigint CHECK (quota_octets >= 0),
        ADD COLUMN quota_messages bigint CHECK (quota_messages >= 0),
        ADD COLUMN own_quota_octets bigint CHECK (own_quota_octets >= 0),
        ADD COLUMN own_quota_messages bigint CHECK (own_quota_messages >= 0)
    """,
)


def upgrade() -> None:
    """Add the columns."""
    for statement in _STATEMENTS:
        op.execute(statement)
