"""Annotations of mailboxes and of the account itself (RFC 5464)."""

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"

# The nil mailbox stands for the account ("server" entries), the nil reader for all readers ("shared" entries). An
# entry is in lower case, since names are compared so (RFC 5464 s3.2).
_STATEMENTS = (
    """
    CREATE TABLE mailstore.annotation (
        account_id uuid NOT NULL,
        mailbox_id uuid NOT NULL,
        reader_id uuid NOT NULL,
        entry text NOT NULL,
        value bytea NOT NULL,
        PRIMARY KEY (account_id, mailbox_id, reader_id, entry)
    )
    """,
)


def upgrade() -> None:
    """Add the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
