"""What a session has set by NOTIFY (RFC 5465 s3.1)."""

from dataclasses import dataclass, field

from mail_access.watching import Watch
from postroom_wire.imap.notify import Notify


@dataclass(slots=True)
class Notification:
    """What is wanted, and the mailboxes that are watched for it, if any."""

    wanted: Notify
    watch: Watch | None = None
    no_access: set[bytes] = field(default_factory=set[bytes])
    """The ids of the mailboxes that were told as \\NoAccess."""

    async def end(self) -> None:
        """Watch no more."""
        watch, self.watch = self.watch, None
        if watch is not None:
            await watch.leave()
