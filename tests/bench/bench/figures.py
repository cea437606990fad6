"""Figures of several rounds, ours and theirs, and the lines in which they are printed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_TITLE, _CELL = 46, 30
HEADER: Final = f"{'':{_TITLE}} {'Postroom':>{_CELL}} {'peer':>{_CELL}} {'ratio':>7}"


@dataclass(frozen=True, slots=True)
class Spread:
    """One quantity over all rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.lowest)} to {_short(self.highest)})"


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a round measures; `more_is_better` decides which way the ratio goes."""

    name: str
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: one quantity of Postroom, and of the peer where there is one."""

    title: str
    quantity: Quantity
    ours: Spread
    theirs: Spread | None

    @property
    def ratio(self) -> float | None:
        """How many times better Postroom does."""
        if self.theirs is None:
            return None
        pair = self.ours.median, self.theirs.median
        better, worse = pair if self.quantity.more_is_better else pair[::-1]
        return better / worse if worse else None

    def line(self) -> str:
        """The line as printed."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        theirs = "" if self.theirs is None else str(self.theirs)
        return f"{'  ' + self.quantity.name:{_TITLE}} {self.ours!s:>{_CELL}} {theirs:>{_CELL}} {ratio:>7}"

    def document(self) -> dict[str, object]:
        """For the JSON file."""
        return {
            "title": self.title,
            "quantity": self.quantity.name,
            "postroom": _fields(self.ours),
            "peer": None if self.theirs is None else _fields(self.theirs),
            "ratio": self.ratio,
        }


Round = Mapping[Quantity, float]
"""What one round of one side gave."""


def figures(title: str, ours: Sequence[Round], theirs: Sequence[Round]) -> list[Figure]:
    """The lines of one comparison; every round has the same quantities."""
    return [
        Figure(
            title,
            quantity,
            Spread.of([each[quantity] for each in ours]),
            Spread.of([each[quantity] for each in theirs]) if theirs else None,
        )
        for quantity in ours[0]
    ]


def percentile(values: Sequence[float], fraction: float) -> float:
    """The value below which this fraction of at least one value lies."""
    return sorted(values)[min(len(values) - 1, int(fraction * len(values)))]


def _fields(spread: Spread) -> dict[str, float]:
    return {"median": spread.median, "min": spread.lowest, "max": spread.highest}


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
