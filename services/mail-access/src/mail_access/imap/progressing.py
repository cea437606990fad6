"""INPROGRESS: while a command takes long, its client is told that it is still at work (RFC 9585)."""

import asyncio
from types import TracebackType
from typing import Final, Self

from mail_access.imap.context import Context
from postroom_wire.imap import responses
from postroom_wire.imap.commands import Close, Command, Copy, Examine, Expunge, Move, Select, Store
from postroom_wire.imap.errors import Condition
from postroom_wire.imap.esearch import Search
from postroom_wire.imap.in_progress import in_progress
from postroom_wire.imap.sorting import Sort
from postroom_wire.imap.threads import Thread

SECONDS: Final = 10.0
"""Until the first word, and from one to the next."""

# FETCH tells of its progress by what it sends, and nothing may stand inside of that.
_TELLING: Final = (Search, Sort, Thread, Store, Copy, Move, Expunge, Close, Select, Examine)


class Watch:
    """Around a command that writes whole responses only. `context.progress` is what is told of it."""

    def __init__(self, context: Context, command: Command) -> None:
        self._context, self._tells = context, isinstance(command, _TELLING)
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._context.progress = (None, None)
        if self._tells:
            self._arm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self._tell)

    def _tell(self) -> None:
        context = self._context
        code = in_progress(context.engine.pending_tag, *context.progress)
        context.output.write(responses.untagged(Condition.OK, b"Still at work", code))
        context.output.send()
        self._arm()
