"""What was expunged stays for a while, and what the janitor knows of octets that nobody wants."""

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"

_STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    """Make the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
