"""What processes cost, read from /proc: CPU time and memory of whole trees."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")
_LOOK_SECONDS: Final = 0.5
_QUIET_SHARE: Final = 0.15
_BUSY_FIELDS: Final = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal


@dataclass(frozen=True, slots=True)
class _Stat:
    parent: int
    ticks: int  # with those of ended children


def tree(roots: Iterable[int]) -> list[int]:
    """These processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for place in _PROC.iterdir():
        if place.name.isdigit() and (stat := _stat(int(place.name))) is not None:
            children.setdefault(stat.parent, []).append(int(place.name))
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += children.get(process, ())
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU time of whole trees so far."""
    stats = (_stat(process) for process in tree(roots))
    return sum(stat.ticks for stat in stats if stat is not None) / _TICKS


def machine_cpu_seconds() -> float:
    """CPU time that anybody has had on this machine so far."""
    fields = (_PROC / "stat").read_text("ascii").split("\n", 1)[0].split()[1:]
    return sum(int(fields[index]) for index in _BUSY_FIELDS) / _TICKS


def wait_until_quiet(roots: Iterable[int], most_seconds: float = 20.0) -> None:
    """Return when these trees have done what was left to do."""
    end, before = time.monotonic() + most_seconds, cpu_seconds(roots)
    while time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
        now = cpu_seconds(roots)
        if now - before < _QUIET_SHARE * _LOOK_SECONDS:
            return
        before = now


def memory_by_name(roots: Iterable[int]) -> dict[str, float]:
    """Proportional memory in MiB, summed over the processes of one name."""
    found: dict[str, float] = {}
    for process in tree(roots):
        try:
            name, size = _name(process), _proportional_kib(process)
        except OSError:
            continue  # it has just ended
        found[name] = found.get(name, 0.0) + size / 1024
    return found


def _stat(process: int) -> _Stat | None:
    try:
        text = (_PROC / str(process) / "stat").read_text("latin-1")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(int(fields[1]), sum(int(field) for field in fields[11:15]))


def _name(process: int) -> str:
    """A Python process is named after its module, any other after its program."""
    words = (_PROC / str(process) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    if "-m" in words:
        return words[words.index("-m") + 1].replace("_", "-")
    programs = [Path(word).name for word in words[:2] if word and not word.startswith("-")]
    return next((name.split()[0].rstrip(":") for name in programs if not name.startswith("python")), "python")


def _proportional_kib(process: int) -> int:
    for line in (_PROC / str(process) / "smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
