"""Documents of administration."""

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr

from postroom.directory.v1 import directory_pb2
from postroom.mailstore.v1 import queue_pb2
from postroom_contracts.ids import queue_id_text
from webmail_api.identifiers import uuid_text
from webmail_api.mail_models import Input

MAX_QUOTA: Final = 2**53 - 1
"""What every JSON reader can count to."""
Name = Annotated[str, Field(min_length=1, max_length=255, examples=["postroom.test"])]
AddressText = Annotated[str, Field(min_length=3, max_length=320, examples=["alice@postroom.test"])]
Password = Annotated[SecretStr, Field(min_length=1, max_length=1024, examples=["correct horse battery"])]


class Tenant(BaseModel):
    """Whose domains they are."""

    id: str
    name: str


class TenantList(BaseModel):
    """A page of tenants."""

    items: list[Tenant]
    next_cursor: str | None = None


class Domain(BaseModel):
    """A domain that gets mail here."""

    id: str
    name: str = Field(examples=["postroom.test"])
    created_at: datetime


class DomainList(BaseModel):
    """A page of domains."""

    items: list[Domain]
    next_cursor: str | None = None


class NewDomain(Input):
    """A domain to take mail for."""

    name: Name


class Quota(Input):
    """How much mail an account may keep; the default of the house for what is null."""

    octets: Annotated[int | None, Field(ge=0, le=MAX_QUOTA, examples=[1_073_741_824])] = None
    messages: Annotated[int | None, Field(ge=0, le=MAX_QUOTA, examples=[100_000])] = None


class Account(BaseModel):
    """Somebody with a mailbox."""

    id: str
    address: str = Field(examples=["alice@postroom.test"])
    display_name: str = Field(examples=["Alice"])
    created_at: datetime
    quota: Quota = Field(description="What the administrator allows.")
    effective_quota: Quota = Field(description="What holds; no limit for what is null.")


class AccountList(BaseModel):
    """A page of accounts."""

    items: list[Account]
    next_cursor: str | None = None


class NewAccount(Input):
    """Somebody to give a mailbox to."""

    address: AddressText
    password: Password
    display_name: Annotated[str, Field(max_length=200, examples=["Alice"])] = ""


class NewPassword(Input):
    """Another password; sessions that came of the old one end."""

    password: Password


class Alias(BaseModel):
    """An address that leads to others."""

    id: str
    address: str
    targets: list[str]
    created_at: datetime


class AliasList(BaseModel):
    """A page of aliases."""

    items: list[Alias]
    next_cursor: str | None = None


class NewAlias(Input):
    """An address that is to lead to others."""

    address: AddressText
    targets: Annotated[list[AddressText], Field(min_length=1, max_length=200)]


class QueuedDelivery(BaseModel):
    """A recipient who is waited for."""

    address: str
    site: str = Field(description='"local", or where the mail goes.')
    due_at: datetime
    attempts: int
    last_diagnostic: str
    claimed_by: str = Field(description="The relay that is at it now; empty when none.")
    parked: bool = Field(description="It is not tried any more, until it is retried or expires.")
    site_held_until: datetime | None = Field(
        default=None, description="Its site let nobody in, and is left alone until then."
    )


class QueuedMessage(BaseModel):
    """A message with unfinished recipients."""

    id: str = Field(description="The queue id.", examples=["agnhyqtnoj3uxb4thpxsphpunm"])
    reverse_path: str = Field(description="Empty for mail from nobody.")
    size: int
    received_at: datetime
    expires_at: datetime
    deliveries: list[QueuedDelivery]


class Queue(BaseModel):
    """A page of the queue, the oldest message first."""

    items: list[QueuedMessage]
    next_cursor: str | None = None


class QueueChange(BaseModel):
    """How many recipients it was about."""

    deliveries: int


def domain_of(domain: directory_pb2.Domain) -> Domain:
    """The document."""
    return Domain(id=uuid_text(domain.id), name=domain.name, created_at=domain.created_at.ToDatetime(UTC))


def account_of(account: directory_pb2.Account) -> Account:
    """The document."""
    return Account(
        id=uuid_text(account.id),
        address=account.address,
        display_name=account.display_name,
        created_at=account.created_at.ToDatetime(UTC),
        quota=_quota_of(account.quota),
        effective_quota=_quota_of(account.effective_quota),
    )


def _quota_of(quota: directory_pb2.Quota) -> Quota:
    return Quota(
        octets=quota.octets if quota.HasField("octets") else None,
        messages=quota.messages if quota.HasField("messages") else None,
    )


def alias_of(alias: directory_pb2.Alias) -> Alias:
    """The document."""
    return Alias(
        id=uuid_text(alias.id),
        address=alias.address,
        targets=list(alias.targets),
        created_at=alias.created_at.ToDatetime(UTC),
    )


def queued_of(entry: queue_pb2.QueueEntry) -> QueuedMessage:
    """The document."""
    return QueuedMessage(
        id=queue_id_text(UUID(bytes=entry.id)),
        reverse_path=entry.reverse_path,
        size=entry.size,
        received_at=entry.received_at.ToDatetime(UTC),
        expires_at=entry.expires_at.ToDatetime(UTC),
        deliveries=[
            QueuedDelivery(
                address=delivery.address,
                site=delivery.site,
                due_at=delivery.due_at.ToDatetime(UTC),
                attempts=delivery.attempts,
                last_diagnostic=delivery.last_diagnostic,
                claimed_by=delivery.claimed_by,
                parked=delivery.parked,
                site_held_until=(
                    delivery.site_held_until.ToDatetime(UTC) if delivery.HasField("site_held_until") else None
                ),
            )
            for delivery in entry.deliveries
        ],
    )
