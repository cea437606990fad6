"""The first tables, and the default tenant."""

from alembic import op

revision: str = "0001"
down_revision: str | None = None

_STATEMENTS = (
    """
    CREATE TABLE directory.tenant (
        id uuid PRIMARY KEY,
        name text NOT NULL UNIQUE,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    """
    INSERT INTO directory.tenant (id, name)
    VALUES ('00000000-0000-7000-8000-000000000001', 'default')""",
    """
    CREATE TABLE directory.domain (
        id uuid PRIMARY KEY,
        tenant_id uuid NOT NULL REFERENCES directory.tenant,
        name text NOT NULL UNIQUE,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    """
    CREATE TABLE directory.account (
        id uuid PRIMARY KEY,
        tenant_id uuid NOT NULL REFERENCES directory.tenant,
        address text NOT NULL,
        display_name text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    """
    CREATE TABLE directory.alias (
        id uuid PRIMARY KEY,
        tenant_id uuid NOT NULL REFERENCES directory.tenant,
        address text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    """
    CREATE TABLE directory.address (
        domain_id uuid NOT NULL REFERENCES directory.domain,
        local_key text NOT NULL,
        tenant_id uuid NOT NULL REFERENCES directory.tenant,
        account_id uuid UNIQUE REFERENCES directory.account ON DELETE CASCADE,
        alias_id uuid UNIQUE REFERENCES directory.alias ON DELETE CASCADE,
        PRIMARY KEY (domain_id, local_key),
        CONSTRAINT address_owner CHECK (num_nonnulls(account_id, alias_id) = 1)
    )""",
    """
    CREATE TABLE directory.alias_target (
        alias_id uuid NOT NULL REFERENCES directory.alias ON DELETE CASCADE,
        position integer NOT NULL,
        tenant_id uuid NOT NULL REFERENCES directory.tenant,
        address text NOT NULL,
        PRIMARY KEY (alias_id, position)
    )""",
    """
    CREATE TABLE directory.credential (
        id uuid PRIMARY KEY,
        tenant_id uuid NOT NULL REFERENCES directory.tenant,
        account_id uuid NOT NULL REFERENCES directory.account ON DELETE CASCADE,
        kind text NOT NULL,
        version bigint NOT NULL,
        hash text NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (account_id, kind)
    )""",
    """
    CREATE TABLE directory.signing_key (
        id text PRIMARY KEY,
        tenant_id uuid NOT NULL REFERENCES directory.tenant,
        private_key bytea NOT NULL,
        public_key bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        sign_from timestamptz NOT NULL DEFAULT now(),
        verify_until timestamptz
    )""",
    """
    CREATE TABLE directory.login_failure (
        network text NOT NULL,
        address_digest bytea NOT NULL,
        tenant_id uuid NOT NULL REFERENCES directory.tenant,
        failures integer NOT NULL,
        expires_at timestamptz NOT NULL,
        PRIMARY KEY (network, address_digest)
    )""",
    "CREATE INDEX ix_directory_login_failure_expires_at ON directory.login_failure (expires_at)",
)


def upgrade() -> None:
    """Make them."""
    for statement in _STATEMENTS:
        op.execute(statement)
