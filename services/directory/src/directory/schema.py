"""The tables of the schema `directory`, as the migrations leave them."""

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)

METADATA = MetaData(schema="directory")


def _created_at() -> "Column[datetime]":
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


TENANT = Table(
    "tenant",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _created_at(),
)

DOMAIN = Table(
    "domain",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid, ForeignKey("directory.tenant.id"), nullable=False),
    Column("name", Text, nullable=False, unique=True),  # A-labels, lower case
    _created_at(),
)

ACCOUNT = Table(
    "account",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid, ForeignKey("directory.tenant.id"), nullable=False),
    Column("address", Text, nullable=False),
    Column("display_name", Text, nullable=False, server_default=""),
    _created_at(),
    Column("quota_octets", BigInteger, CheckConstraint("quota_octets >= 0")),
    Column("quota_messages", BigInteger, CheckConstraint("quota_messages >= 0")),
    Column("own_quota_octets", BigInteger, CheckConstraint("own_quota_octets >= 0")),
    Column("own_quota_messages", BigInteger, CheckConstraint("own_quota_messages >= 0")),
)

ALIAS = Table(
    "alias",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid, ForeignKey("directory.tenant.id"), nullable=False),
    Column("address", Text, nullable=False),
    _created_at(),
)

# Who an address belongs to. One key for accounts and aliases, so that no address is ever both.
ADDRESS = Table(
    "address",
    METADATA,
    Column("domain_id", Uuid, ForeignKey("directory.domain.id"), nullable=False),
    Column("local_key", Text, nullable=False),
    Column("tenant_id", Uuid, ForeignKey("directory.tenant.id"), nullable=False),
    Column("account_id", Uuid, ForeignKey("directory.account.id", ondelete="CASCADE"), unique=True),
    Column("alias_id", Uuid, ForeignKey("directory.alias.id", ondelete="CASCADE"), unique=True),
    PrimaryKeyConstraint("domain_id", "local_key", name="address_pkey"),
    CheckConstraint("num_nonnulls(account_id, alias_id) = 1", name="address_owner"),
)

ALIAS_TARGET = Table(
    "alias_target",
    METADATA,
    Column("alias_id", Uuid, ForeignKey("directory.alias.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("tenant_id", Uuid, ForeignKey("directory.tenant.id"), nullable=False),
    Column("address", Text, nullable=False),
    PrimaryKeyConstraint("alias_id", "position", name="alias_target_pkey"),
)

CREDENTIAL = Table(
    "credential",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid, ForeignKey("directory.tenant.id"), nullable=False),
    Column("account_id", Uuid, ForeignKey("directory.account.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),  # "password"
    Column("version", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),  # argon2id in its PHC form
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("account_id", "kind", name="credential_account_id_kind_key"),
)

# Passwords that we made ourselves, for one program each: 100 bits, so a plain digest tells nothing.
APP_PASSWORD = Table(
    "app_password",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid, ForeignKey("directory.tenant.id"), nullable=False),
    Column("account_id", Uuid, ForeignKey("directory.account.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256
    _created_at(),
    Column("expires_at", DateTime(timezone=True)),
    Column("used_at", DateTime(timezone=True)),  # to the hour
    UniqueConstraint("account_id", "digest", name="app_password_account_id_digest_key"),
)

# Accounts that were there: a store purges only what is said to be deleted, not what nobody knows.
DELETED_ACCOUNT = Table(
    "deleted_account",
    METADATA,
    Column("account_id", Uuid, primary_key=True),
    Column("tenant_id", Uuid, nullable=False),
    Column("deleted_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# SCRAM-SHA-256 keys of the accounts that opted in; good while `version` is that of the password.
SCRAM_KEY = Table(
    "scram_key",
    METADATA,
    Column("account_id", Uuid, ForeignKey("directory.account.id", ondelete="CASCADE"), primary_key=True),
    Column("tenant_id", Uuid, ForeignKey("directory.tenant.id"), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("iterations", Integer, nullable=False),
    Column("stored_key", LargeBinary, nullable=False),
    Column("server_key", LargeBinary, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

SIGNING_KEY = Table(
    "signing_key",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Uuid, ForeignKey("directory.tenant.id"), nullable=False),
    Column("private_key", LargeBinary, nullable=False),  # Ed25519, 32 octets
    Column("public_key", LargeBinary, nullable=False),
    _created_at(),
    Column("sign_from", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("verify_until", DateTime(timezone=True)),
)

LOGIN_FAILURE = Table(
    "login_failure",
    METADATA,
    Column("network", Text, nullable=False),
    Column("address_digest", LargeBinary, nullable=False),  # empty: all addresses together
    Column("tenant_id", Uuid, ForeignKey("directory.tenant.id"), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
    PrimaryKeyConstraint("network", "address_digest", name="login_failure_pkey"),
)

# What administrators asked for, and were answered: `postroom_storage.operations`.
OPERATION = Table(
    "operation",
    METADATA,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("tenant_id", Uuid, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("answer", LargeBinary),
    Column("asked_at", DateTime(timezone=True), nullable=False, server_default=func.now(), index=True),
    PrimaryKeyConstraint("account_id", "id", name="operation_pkey"),
)
