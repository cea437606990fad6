"""The RetentionService: what was expunged, for its owner and for administrators."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import grpc

from mailstore.accounts import lock_accounts
from mailstore.mailbox_messages import keyword_messages
from mailstore.mailboxes.catalogue import Owner
from mailstore.mailboxes.flags import keywords_of
from mailstore.mailboxes.quota import check_quota
from mailstore.mailboxes.retention import (
    ExpungedMessage,
    Listed,
    RetentionLimits,
    list_expunged,
    restore_messages,
)
from mailstore.mailboxes.uid_ranges import MAX_UID, parse_ranges, range_messages
from postroom.mailstore.v1 import retention_pb2 as pb
from postroom.mailstore.v1.retention_pb2_grpc import RetentionServiceServicer
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_contracts.errors import InvalidRequestError, MailboxNotFoundError
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_server import capability_token
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_storage.operations import once, operation_of

_Context = grpc.aio.ServicerContext[Any, Any]

_USING: Final = frozenset({Scope.IMAP, Scope.API, Scope.ADMIN})
_MAX_PAGE: Final = 1_000
_DEFAULT_PAGE: Final = 100
_ALL_UIDS: Final = ((1, MAX_UID),)
_UID_DIGITS: Final = 10


class RetentionService(RetentionServiceServicer):
    """Answers for the account of the capability; for an administrator, of the request."""

    def __init__(
        self,
        database: Database,
        verifier: CapabilityVerifier,
        publish_changed: Callable[[UUID, int], Awaitable[None]],
        limits: RetentionLimits | None = None,
    ) -> None:
        self._database, self._verifier, self._publish_changed = database, verifier, publish_changed
        self._limits = limits or RetentionLimits()

    async def ListExpunged(
        self, request: pb.ListExpungedRequest, context: _Context
    ) -> pb.ListExpungedResponse:
        """A page of what can be restored."""
        account_id = (await self._owner(request.account_id)).account_id
        if request.limit < 0:
            raise InvalidRequestError("a negative limit")
        limit = min(request.limit or _DEFAULT_PAGE, _MAX_PAGE)
        mailbox_id = parse_id(request.mailbox_id) if request.mailbox_id else None
        listed = Listed(mailbox_id, _parse_cursor(request.cursor), limit + 1)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            found = await list_expunged(connection, account_id, listed, self._limits)
            keywords = await keywords_of(connection, account_id)
        page = found[:limit]
        return pb.ListExpungedResponse(
            messages=[_message(each) for each in page],
            keywords=keyword_messages(keywords),
            next_cursor=_cursor(page[-1]) if len(found) > limit else "",
        )

    async def RestoreMessages(
        self, request: pb.RestoreMessagesRequest, context: _Context
    ) -> pb.RestoreMessagesResponse:
        """Messages back in their mailbox, or in INBOX."""
        owner = await self._owner(request.account_id)
        account_id = owner.account_id
        wanted = parse_id(request.mailbox_id), parse_ranges(request.uids) or _ALL_UIDS
        changed = 0

        async def work(connection: Connection) -> pb.RestoreMessagesResponse:
            nonlocal changed
            modseq = (await lock_accounts(connection, [account_id])).get(account_id)
            if modseq is None:
                raise MailboxNotFoundError("no such mailbox")
            restored = await restore_messages(connection, account_id, modseq, wanted, self._limits)
            await check_quota(connection, owner)
            reached("restore.before_commit")
            changed, copied = modseq, restored.copied
            return pb.RestoreMessagesResponse(
                modseq=modseq,
                mailbox_id=restored.mailbox_id.bytes,
                mailbox=restored.mailbox,
                uid_validity=copied.uid_validity if copied else 0,
                source=range_messages(copied.source if copied else ()),
                target=range_messages(copied.target if copied else ()),
            )

        operation = operation_of(account_id, owner.tenant_id, request.operation_id, request)
        answered = await once(self._database, operation, pb.RestoreMessagesResponse, work)
        reached("mailbox.after_commit")
        if changed:
            await self._publish_changed(account_id, changed)
        return answered

    async def _owner(self, asked: bytes) -> Owner:
        """Whose messages, with the tenant of whoever asks; an administrator heeds no quota.

        Raises InvalidRequestError.
        """
        capability = await self._verifier.verify(capability_token(), scopes=_USING)
        administers = capability.scope is Scope.ADMIN
        if administers != bool(asked):
            raise InvalidRequestError("an administrator names an account, and nobody else does")
        if administers:
            return Owner(parse_id(asked), capability.tenant_id)
        return Owner(capability.account_id, capability.tenant_id, capability.quota)


def _message(expunged: ExpungedMessage) -> pb.ExpungedMessage:
    message = pb.ExpungedMessage(
        mailbox_id=expunged.mailbox_id.bytes,
        mailbox=expunged.mailbox,
        mailbox_gone=expunged.mailbox_gone,
        uid=expunged.uid,
        flags=expunged.flags,
        keywords=expunged.keywords,
        size=expunged.size,
        summary=expunged.summary,
    )
    message.internal_date.FromDatetime(expunged.internal_date)
    message.expunged_at.FromDatetime(expunged.expunged_at)
    message.kept_until.FromDatetime(expunged.kept_until)
    return message


def _cursor(last: ExpungedMessage) -> str:
    return f"{last.mailbox_id.hex}.{last.uid}"


def _parse_cursor(text: str) -> tuple[UUID, int]:
    """The place after which the page begins. Raises InvalidRequestError."""
    if not text:
        return Listed(None).before
    mailbox_id, _, uid = text.partition(".")
    if not (uid.isascii() and uid.isdecimal() and len(uid) <= _UID_DIGITS):
        raise InvalidRequestError("not a cursor of ours")
    try:
        return UUID(hex=mailbox_id), int(uid)
    except ValueError:
        raise InvalidRequestError("not a cursor of ours") from None
