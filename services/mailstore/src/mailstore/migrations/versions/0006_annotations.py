"""Annotations of mailboxes and of the account itself (RFC 5464), and mailboxes that are shared (RFC 4314)."""

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"

# The nil mailbox stands for the account ("server" entries), the nil reader for all ("shared" entries).
# An entry is in lower case, since names are compared so (RFC 5464 s3.2).
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
    # The nil grantee is everybody of the tenant.
    """
    CREATE TABLE mailstore.mailbox_right (
        mailbox_id uuid NOT NULL,
        grantee_id uuid NOT NULL,
        account_id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        rights integer NOT NULL,
        PRIMARY KEY (mailbox_id, grantee_id)
    )
    """,
    "CREATE INDEX mailbox_right_by_grantee ON mailstore.mailbox_right (tenant_id, grantee_id)",
    # \Seen of everybody but the owner, which lies over the message's flag; no row means unseen.
    """
    CREATE TABLE mailstore.seen_by_guest (
        mailbox_id uuid NOT NULL,
        guest_id uuid NOT NULL,
        uid bigint NOT NULL,
        seen boolean NOT NULL,
        modseq bigint NOT NULL,
        PRIMARY KEY (mailbox_id, guest_id, uid)
    )
    """,
    # What the owner's capability said last, for what guests add.
    "ALTER TABLE mailstore.account_state ADD COLUMN quota_octets bigint, ADD COLUMN quota_messages bigint",
)


def upgrade() -> None:
    """Add the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
