"""The command: `python -m bench`, from `make bench`."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final, cast

from bench.comparisons import FULL, QUICK, Comparison, Volume, accepting, transferring, visible
from bench.figures import HEADER
from bench.idle_memory import Memory, idle_memory
from bench.imap_comparisons import ImapVolume, selecting, working
from bench.peers import measured_peers
from bench.postroom import measured_postroom
from bench.sides import Subject

PARTS: Final = ("memory", "accept", "visible", "imap", "ftp")


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line says."""

    volume: Volume
    rounds: int
    parts: frozenset[str]
    peers: bool
    million: bool
    json: Path | None


def main() -> int:
    """Start both sides, compare them, print."""
    arguments = _parse(sys.argv[1:])
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.platform()}", flush=True)
    document: dict[str, object] = {"cores": os.cpu_count(), "load_before": os.getloadavg()}
    with _place() as place, ExitStack() as stack:
        peers = Subject(None, None, None)
        if arguments.peers:
            peers = stack.enter_context(measured_peers(place / "peers"))
        document["memory"] = [memory.document() for memory in _memories(arguments, place, peers)]
        ours = stack.enter_context(measured_postroom(place / "data"))
        document |= _measure(arguments, ours, peers)
    document["load_after"] = os.getloadavg()
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if document["failures"] else 0


def _memories(arguments: Arguments, place: Path, peers: Subject) -> Iterator[Memory]:
    """Each figure of Postroom is of one that has just started: what others have freed is not used again."""
    if "memory" not in arguments.parts:
        return
    for number, (sessions, tls) in enumerate(product(arguments.volume.idle_sessions, (False, True))):
        with measured_postroom(place / f"memory-{number}") as ours:
            if ours.mail is not None:
                yield _told(idle_memory(ours.mail, sessions, tls=tls))
        if peers.mail is not None and not tls:
            yield _told(idle_memory(peers.mail, sessions))


def _told(memory: Memory) -> Memory:
    print("\n" + "\n".join(memory.lines()), flush=True)
    return memory


def _measure(arguments: Arguments, ours: Subject, peers: Subject) -> dict[str, object]:
    print(f"\nmedian (minimum to maximum) of {arguments.rounds} rounds, both sides in turn; ", end="")
    print(f"a ratio above 1 is in favour of Postroom\n{HEADER}")
    comparisons: list[Comparison] = []
    failures: list[str] = []
    for compare in _comparisons(arguments, ours, peers):
        try:
            comparison = compare()
        except Exception as error:  # noqa: BLE001  # one that fails leaves the others their figures
            failures.append(_cause(error))
            print(f"a comparison failed: {failures[-1]}", flush=True)
            continue
        beside = f" beside {comparison.peer}" if comparison.peer else ""
        print(f"{comparison.title}{beside} (others used {comparison.others:.1f} cores)")
        print("\n".join(figure.line() for figure in comparison.figures), flush=True)
        comparisons.append(comparison)
    return {
        "failures": failures,
        "figures": [
            figure.document() | {"peer_name": comparison.peer, "others_cores": comparison.others}
            for comparison in comparisons
            for figure in comparison.figures
        ],
    }


def _comparisons(arguments: Arguments, ours: Subject, peers: Subject) -> Iterator[Callable[[], Comparison]]:
    volume, rounds = arguments.volume, arguments.rounds
    if "accept" in arguments.parts:
        for load in volume.accepts:
            yield partial(accepting, ours, peers, load, rounds)
    if "visible" in arguments.parts:
        yield partial(visible, ours, peers, volume.paced, rounds)
        yield partial(visible, ours, peers, volume.saturated, rounds)
    if "imap" in arguments.parts:
        yield partial(working, ours.mail, peers.mail, ImapVolume(volume.mailbox), rounds)
        if peers.small_mail is not None:
            small = ImapVolume(volume.small_mailbox, volume.small_mailbox)  # pymap's copies are empty
            yield partial(working, ours.mail, peers.small_mail, small, rounds)
        for messages in volume.large_mailboxes:
            yield partial(selecting, ours.mail, peers.mail, messages, rounds)
        if arguments.million:
            yield partial(selecting, ours.mail, None, 1_000_000, 1)
    if "ftp" in arguments.parts:
        yield partial(transferring, ours, peers, volume.file_size, rounds)


def _cause(error: Exception) -> str:
    """What went wrong, or all that went wrong at once."""
    if isinstance(error, ExceptionGroup):
        group = cast(ExceptionGroup[Exception], error)  # the type is lost in `isinstance`
        return "; ".join(_cause(each) for each in group.exceptions)
    if isinstance(error.__cause__, Exception):
        return f"{error}: {_cause(error.__cause__)}"
    return repr(error)


@contextmanager
def _place() -> Generator[Path]:
    """A directory for everything, which the users that servers become may enter."""
    place = Path(tempfile.mkdtemp(prefix="postroom-bench-"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _parse(words: list[str]) -> Arguments:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small version, in less than a minute")
    parser.add_argument("--rounds", type=int, help="of each side")
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the other parts")
    parser.add_argument("--without-peers", action="store_true", help="measure Postroom alone")
    parser.add_argument("--million", action="store_true", help="a mailbox of 1,000,000 messages, too (imap)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    found = parser.parse_args(words)
    volume = QUICK if found.quick else FULL
    return Arguments(
        volume,
        max(1, found.rounds or volume.rounds),
        frozenset(found.only or PARTS),
        not found.without_peers,
        found.million,
        found.json,
    )


if __name__ == "__main__":
    sys.exit(main())
