"""GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208): one quota root, "", for all that an account has."""

from typing import Final

from mail_access.imap.context import Context, Done
from mail_access.imap.refusals import NO_QUOTA_ROOT, NO_SUCH_RESOURCE, CommandRefusedError
from mail_access.imap.sharing import is_elsewhere, locate
from postroom.mailstore.v1 import account_pb2
from postroom_wire.imap.acl import Rights
from postroom_wire.imap.quota import (
    MAX_LIMIT,
    STORAGE_UNIT,
    GetQuota,
    GetQuotaRoot,
    Resource,
    ResourceUsage,
    SetQuota,
    quota,
    quota_root,
)

_ROOT: Final = b""
_RESOURCES: Final = {resource.value: resource for resource in Resource}


async def get_quota(context: Context, command: GetQuota) -> Done:
    """GETQUOTA."""
    _check_root(command.root)
    await _tell(context)
    return Done(b"GETQUOTA completed")


async def get_quota_root(context: Context, command: GetQuotaRoot) -> Done:
    """GETQUOTAROOT: the same for every mailbox, be it there or not; nothing of others' limits."""
    if is_elsewhere(command.mailbox):
        located, _ = await locate(context, command.mailbox)
        located.require(Rights.READ)
        context.output.write(quota_root(command.mailbox, []))
        return Done(b"GETQUOTAROOT completed")
    context.output.write(quota_root(command.mailbox, [_ROOT]))
    await _tell(context)
    return Done(b"GETQUOTAROOT completed")


async def set_quota(context: Context, command: SetQuota) -> Done:
    """SETQUOTA: what the user wants. The administrator's limits hold besides, as the QUOTA response tells."""
    _check_root(command.root)
    limits: dict[Resource, int] = {}
    for name, limit in command.limits:
        if (resource := _RESOURCES.get(name)) is None:
            raise CommandRefusedError(NO_SUCH_RESOURCE)
        limits[resource] = limit
    storage = limits.get(Resource.STORAGE)
    octets = None if storage is None else min(storage * STORAGE_UNIT, MAX_LIMIT)
    await context.resources.accounts.set_quota(context.login, octets, limits.get(Resource.MESSAGE))
    await _tell(context)
    return Done(b"SETQUOTA completed")


def _check_root(root: bytes) -> None:
    if root != _ROOT:
        raise CommandRefusedError(NO_QUOTA_ROOT)


async def _tell(context: Context) -> None:
    used = await context.resources.accounts.usage(context.login)
    context.output.write(quota(_ROOT, _usages(used)))


def _usages(used: account_pb2.GetUsageResponse) -> list[ResourceUsage]:
    """What is limited. The usage is rounded up and the limit down, so that nothing fits that seems not to."""
    usages: list[ResourceUsage] = []
    if used.HasField("limit_octets"):
        storage = -(-used.used_octets // STORAGE_UNIT)
        usages.append(ResourceUsage(Resource.STORAGE, storage, used.limit_octets // STORAGE_UNIT))
    if used.HasField("limit_messages"):
        usages.append(ResourceUsage(Resource.MESSAGE, used.used_messages, used.limit_messages))
    return usages
