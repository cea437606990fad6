"""Answers that are lost behind their COMMIT: what was asked for is done, and nobody hears of it."""

from types import TracebackType
from typing import Self

from postroom_contracts.errors import UnavailableError
from postroom_runtime import steps


class LostAnswers:
    """`lost(3, "mailbox.after_commit")` loses the next three answers of services in this process.

    In force within the block; tests have it as the fixture `lost`.
    """

    def __init__(self) -> None:
        self.left = 0
        """How many are still to be lost."""
        self._step = ""

    def __call__(self, count: int, step: str) -> None:
        """Lose so many answers, each when its service has reached this step."""
        self.left, self._step = count, step

    def __enter__(self) -> Self:
        steps.install(self._reached)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        steps.install(None)

    def _reached(self, step: str) -> None:
        if self.left and step == self._step:
            self.left -= 1
            raise UnavailableError("the connection is cut")
