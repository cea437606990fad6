"""The contract's messages, made from what the domain has."""

from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from directory.accounts import Account
from directory.addresses import Address
from directory.administration import Alias, Domain
from directory.resolving import Outcome, Resolution
from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.capability import Quota
from postroom_contracts.errors import InvalidRequestError

_OUTCOMES: Final = {
    Outcome.LOCAL: pb.Resolution.OUTCOME_LOCAL,
    Outcome.REMOTE: pb.Resolution.OUTCOME_REMOTE,
    Outcome.UNKNOWN: pb.Resolution.OUTCOME_UNKNOWN,
}


def timestamp(instant: datetime) -> Timestamp:
    """An instant."""
    found = Timestamp()
    found.FromDatetime(instant)
    return found


def account_message(account: Account, default: Quota) -> pb.Account:
    """An account; `default` is the quota of those that have none."""
    return pb.Account(
        id=account.id.bytes,
        tenant_id=account.tenant_id.bytes,
        address=account.address,
        display_name=account.display_name,
        created_at=timestamp(account.created_at),
        quota=quota_message(account.quota),
        effective_quota=quota_message(account.effective_quota(default)),
    )


def quota_message(quota: Quota) -> pb.Quota:
    """A quota."""
    return pb.Quota(octets=quota.octets, messages=quota.messages)


def _maybe_quota(quota: Quota | None) -> pb.Quota | None:
    return None if quota is None else quota_message(quota)


def quota_of(message: pb.Quota) -> Quota:
    """The quota in a request. Raises `InvalidRequestError`."""
    octets = message.octets if message.HasField("octets") else None
    messages = message.messages if message.HasField("messages") else None
    if min(octets or 0, messages or 0) < 0:
        raise InvalidRequestError("a negative quota")
    return Quota(octets, messages)


def maybe_account_message(account: Account | None, default: Quota) -> pb.Account | None:
    """An account, if there is one."""
    return None if account is None else account_message(account, default)


def domain_message(domain: Domain) -> pb.Domain:
    """A domain."""
    return pb.Domain(
        id=domain.id.bytes,
        tenant_id=domain.tenant_id.bytes,
        name=domain.name,
        created_at=timestamp(domain.created_at),
    )


def alias_message(alias: Alias) -> pb.Alias:
    """An alias."""
    return pb.Alias(
        id=alias.id.bytes,
        tenant_id=alias.tenant_id.bytes,
        address=alias.address,
        targets=alias.targets,
        created_at=timestamp(alias.created_at),
    )


def resolution_message(address: str, resolution: Resolution) -> pb.Resolution:
    """Where mail to an address goes."""
    targets = [
        pb.Target(remote_address=str(target))
        if isinstance(target, Address)
        else pb.Target(account_id=target.bytes, quota=_maybe_quota(resolution.quotas.get(target)))
        for target in resolution.targets
    ]
    return pb.Resolution(
        address=address,
        outcome=_OUTCOMES[resolution.outcome],
        tenant_id=b"" if resolution.tenant_id is None else resolution.tenant_id.bytes,
        targets=targets,
    )
