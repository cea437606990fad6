"""How readers hear of what was committed: a wake-up with the account's id and MODSEQ."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

Publish: TypeAlias = Callable[[UUID, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class News:
    """`changed` after any change; `added` where messages are new, which are then read for searching, too."""

    changed: Publish
    added: Publish
