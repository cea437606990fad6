"""How many messages one command works on (RFC 9738): the newest, where there are too many of them.

What one transaction of the store does, COPY and MOVE, ends at the limit that clients are told of. The others
go on to one that only a client which asks for a whole huge mailbox at once will ever meet (s4.2).
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from mail_access.imap.context import Context, Selected, chunks
from mail_access.imap.refusals import CommandRefusedError
from postroom_wire.imap import responses
from postroom_wire.imap.errors import Condition
from postroom_wire.imap.message_limit import message_limit, too_many
from postroom_wire.imap.sequence import NumberRanges

T = TypeVar("T")

_CUT_SHORT: Final = b"Done for the newest messages only"


class Newest(NamedTuple):
    """The message numbers to work on, and the code MESSAGELIMIT where they are not all."""

    numbers: NumberRanges
    code: bytes | None = None

    @property
    def is_part(self) -> bool:
        """Whether some were left out; then those of the highest UIDs are worked on first (s3.1)."""
        return self.code is not None


def hard_limit(context: Context) -> int:
    """Messages of a command that does not copy or move."""
    settings = context.resources.settings
    return max(settings.message_limit, settings.message_hard_limit)


def newest(selected: Selected, numbers: NumberRanges, limit: int) -> Newest:
    """At most `limit` of these messages."""
    if len(numbers) <= limit:
        return Newest(numbers)
    kept = numbers.part(slice(len(numbers) - limit, len(numbers)))
    return Newest(kept, message_limit(limit, selected.view.uid(kept.ranges[0][0])))


def require_all(selected: Selected, numbers: NumberRanges, limit: int) -> None:
    """Raises `CommandRefusedError` where these are too many messages for a command that takes all or none."""
    if (code := newest(selected, numbers, limit).code) is not None:
        raise CommandRefusedError(too_many(code))


def pieces(numbers: NumberRanges, size: int, *, backwards: bool) -> Iterable[NumberRanges]:
    """The numbers in sets of at most `size`, ascending or `backwards`."""
    some = chunks(numbers, size)
    return reversed(list(some)) if backwards else some


def ordered(some: Sequence[T], *, backwards: bool) -> Sequence[T]:
    """What ascends, so or `backwards`."""
    return some[::-1] if backwards else some


def tell_limited(context: Context, code: bytes | None) -> None:
    """The code for a command whose tagged response has another one (s3.1)."""
    if code is not None:
        context.output.write(responses.untagged(Condition.NO, _CUT_SHORT, code))
