"""App passwords, and SCRAM keys for accounts that want them."""

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"

_STATEMENTS = (
    """
    CREATE TABLE directory.app_password (
        id uuid PRIMARY KEY,
        tenant_id uuid NOT NULL REFERENCES directory.tenant,
        account_id uuid NOT NULL REFERENCES directory.account ON DELETE CASCADE,
        name text NOT NULL,
        scopes text[] NOT NULL,
        digest bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz,
        used_at timestamptz,
        CONSTRAINT app_password_account_id_digest_key UNIQUE (account_id, digest)
    )""",
    """
    CREATE TABLE directory.scram_key (
        account_id uuid PRIMARY KEY REFERENCES directory.account ON DELETE CASCADE,
        tenant_id uuid NOT NULL REFERENCES directory.tenant,
        version bigint NOT NULL,
        salt bytea NOT NULL,
        iterations integer NOT NULL,
        stored_key bytea NOT NULL,
        server_key bytea NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT now()
    )""",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
