"""Who asks, and what for: the user of the capability, at home or as a guest of another account (RFC 4314)."""

from collections.abc import Collection
from uuid import UUID

from mailstore.mailboxes.catalogue import Owner
from mailstore.mailboxes.sharing import Right, require
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_contracts.errors import InvalidRequestError, NotPermittedError
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_server import capability_token, host_account
from postroom_storage.database import Database


class Access:
    """Looks at the capability of each call, and at the rights of guests."""

    def __init__(self, database: Database, verifier: CapabilityVerifier, scopes: Collection[Scope]) -> None:
        self._database, self._verifier, self._scopes = database, verifier, scopes

    async def owner(self) -> Owner:
        """The user at home. Raises NotPermittedError for guests, and for other scopes."""
        if host_account():
            raise NotPermittedError("not with somebody else's mailboxes")
        return await self.user()

    async def user(self, token: str | None = None) -> Owner:
        """The user of the call's capability, or of another one, whatever the call is about."""
        text = capability_token() if token is None else token
        capability = await self._verifier.verify(text, scopes=self._scopes)
        return Owner(capability.account_id, capability.tenant_id, capability.quota)

    async def at(self, mailbox_id: bytes, right: Right) -> tuple[Owner, UUID]:
        """Whose mailbox it is, and its id; the user has this right there.

        Whether it exists is not looked at for its owner. Raises NotPermittedError, MailboxNotFoundError.
        """
        wanted = parse_id(mailbox_id)
        user = await self.user()
        host = _host()
        if host is None or host == user.account_id:
            return user, wanted
        async with self._database.connection() as connection:
            return await require(connection, guest_at(user, host), wanted, right), wanted


def guest_at(user: Owner, host: UUID) -> Owner:
    """The user in the mailboxes of another account; at home in its own."""
    if host == user.account_id:
        return user
    return Owner(host, user.tenant_id, guest_id=user.account_id)


def _host() -> UUID | None:
    try:
        return UUID(text) if (text := host_account()) else None
    except ValueError:
        raise InvalidRequestError("not the id of an account") from None
