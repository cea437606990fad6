"""What was expunged stays for a while, and what the janitor knows of octets that nobody wants."""

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"

_STATEMENTS = (
    # A row of mailbox_message as it was when it went. kind: 1 expunged, 2 moved elsewhere, 3 purged with its
    # mailbox. While a row is here its message and octets stay.
    """
    CREATE TABLE mailstore.expunged (
        account_id uuid NOT NULL,
        mailbox_id uuid NOT NULL,
        uid bigint NOT NULL,
        message_id uuid NOT NULL,
        tenant_id uuid NOT NULL,
        kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 3),
        flags smallint NOT NULL,
        keywords bigint NOT NULL,
        modseq bigint NOT NULL,
        internal_date timestamptz NOT NULL,
        saved_at timestamptz NOT NULL,
        size bigint NOT NULL,
        prefix bytea NOT NULL,
        expunged_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (account_id, mailbox_id, uid)
    )""",
    "CREATE INDEX expunged_by_message ON mailstore.expunged (message_id)",
    "CREATE INDEX expunged_by_time ON mailstore.expunged (expunged_at) WHERE kind <> 2",
    "CREATE INDEX expunged_moved_by_time ON mailstore.expunged (expunged_at) WHERE kind = 2",
    # NULL: the janitor has not looked yet. Else nothing has referred to the blob since then.
    "ALTER TABLE mailstore.blob_candidate ADD COLUMN quarantined_at timestamptz",
    """
    CREATE INDEX blob_candidate_new ON mailstore.blob_candidate (noted_at, blob_id)
    WHERE quarantined_at IS NULL
    """,
    """
    CREATE INDEX blob_candidate_quarantined ON mailstore.blob_candidate (quarantined_at, blob_id)
    WHERE quarantined_at IS NOT NULL
    """,
    # Objects of the bucket that no row needs after a time: of what was deleted or rewritten, and those that
    # somebody is about to write, until a row names them.
    """
    CREATE TABLE mailstore.doomed_object (
        key text PRIMARY KEY,
        delete_after timestamptz NOT NULL
    )""",
    "CREATE INDEX doomed_object_due ON mailstore.doomed_object (delete_after)",
    # Octets of deleted blobs in the pack, since when the oldest of them, and when the janitor looks again.
    """
    ALTER TABLE mailstore.pack
        ADD COLUMN dead_octets bigint NOT NULL DEFAULT 0,
        ADD COLUMN oldest_dead_at timestamptz,
        ADD COLUMN look_after timestamptz NOT NULL DEFAULT '-infinity'
    """,
    "CREATE INDEX pack_with_dead_octets ON mailstore.pack (tenant_id, id) WHERE dead_octets > 0",
    "CREATE INDEX mailbox_deleted ON mailstore.mailbox (deleted_at) WHERE deleted_at IS NOT NULL",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
