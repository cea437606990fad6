"""The comparisons: what one round does to one side, and how the sides take turns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import uvloop

from bench.figures import Figure, Quantity, Round, figures, percentile
from bench.ftp_load import transfer
from bench.processes import cpu_seconds, machine_cpu_seconds, wait_until_quiet
from bench.sides import FtpSide, MailSide, Subject
from bench.smtp_load import SmtpLoad, send_all
from bench.visible_load import Seen, VisibleLoad, make_visible

MESSAGES_PER_SECOND: Final = Quantity("messages/s", more_is_better=True)
MEGABYTES_UP: Final = Quantity("up, MB/s", more_is_better=True)
MEGABYTES_DOWN: Final = Quantity("down, MB/s", more_is_better=True)
P50: Final = Quantity("p50, ms")
P99: Final = Quantity("p99, ms")
CPU: Final = Quantity("CPU of all server processes, ms a message")
FTP_CPU: Final = Quantity("CPU of all server processes, s up and down")

_SideT = TypeVar("_SideT", MailSide, FtpSide)


class RoundError(Exception):
    """One side did not do what was asked; the cause says what."""


@dataclass(frozen=True, slots=True)
class Volume:
    """How much is done. Sizes in octets, `paced` in messages, which come at 20 a second.

    Mailboxes in messages: the one that is worked on, those that are only selected and marked, and the one for
    a peer that is too slow for more.
    """

    rounds: int
    accepts: tuple[SmtpLoad, ...]
    paced: VisibleLoad
    saturated: VisibleLoad
    file_size: int
    idle_sessions: Sequence[int]
    mailbox: int
    large_mailboxes: Sequence[int]
    small_mailbox: int


FULL: Final = Volume(
    rounds=3,
    accepts=(SmtpLoad(1, 300), SmtpLoad(10, 1_500), SmtpLoad(50, 4_000)),
    paced=VisibleLoad(10, 200, rate=20.0),
    saturated=VisibleLoad(10, 1_000),
    file_size=256 << 20,
    idle_sessions=(1_000, 5_000),
    mailbox=10_000,
    large_mailboxes=(100_000,),
    small_mailbox=200,
)
QUICK: Final = Volume(
    rounds=1,
    accepts=(SmtpLoad(1, 50), SmtpLoad(10, 300), SmtpLoad(50, 1_000)),
    paced=VisibleLoad(10, 40, rate=20.0),
    saturated=VisibleLoad(10, 200),
    file_size=32 << 20,
    idle_sessions=(30,),
    mailbox=500,
    large_mailboxes=(),
    small_mailbox=100,
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The lines of one comparison; `others` is how many of the cores somebody else had meanwhile."""

    title: str
    peer: str
    figures: Sequence[Figure]
    others: float


def accepting(ours: Subject, peers: Subject, load: SmtpLoad, rounds: int) -> Comparison:
    """SMTP until the 250."""
    title = f"SMTP accept to 250, {load.size >> 10} KiB, {_sessions(load.sessions)}"
    return in_turn(title, ours.accepting, peers.accepting, partial(_accept, load), rounds)


def visible(ours: Subject, peers: Subject, load: VisibleLoad, rounds: int) -> Comparison:
    """SMTP until an IMAP client has the message."""
    pace = f"at {load.rate:.0f}/s" if load.rate else f"saturated by {_sessions(load.sessions)}"
    title = f"accept to visible in IMAP, {load.size >> 10} KiB, {pace}"
    return in_turn(title, ours.mail, peers.mail, partial(_make_visible, load), rounds)


def transferring(ours: Subject, peers: Subject, size: int, rounds: int) -> Comparison:
    """FTP up and down."""
    title = f"FTP, one file of {size >> 20} MiB"
    return in_turn(title, ours.files, peers.files, partial(_transfer, size), rounds)


def in_turn(
    title: str, ours: _SideT | None, theirs: _SideT | None, measure: Callable[[_SideT], Round], rounds: int
) -> Comparison:
    """A B A B, each when what the other left to do is done."""
    if ours is None:
        raise ValueError("Postroom has every side")
    sides = [side for side in (ours, theirs) if side is not None]
    found: dict[str, list[Round]] = {side.name: [] for side in sides}
    roots = [root for side in sides for root in side.roots]
    begun, before = time.perf_counter(), _cpu_of_others(roots)
    for _ in range(rounds):
        for side in sides:
            try:
                found[side.name].append(measure(side))
            except Exception as error:
                raise RoundError(f"{title}, {side.name}") from error
    others = (_cpu_of_others(roots) - before) / (time.perf_counter() - begun)
    peer = "" if theirs is None else theirs.name
    return Comparison(title, peer, figures(title, found[ours.name], found.get(peer, [])), others)


def _accept(load: SmtpLoad, side: MailSide) -> Round:
    before = cpu_seconds(side.roots)
    sent = uvloop.run(send_all(side.smtp_port, [box.address for box in side.boxes], load))
    wait_until_quiet(side.roots)  # what an accepted message still costs is part of its price
    return {
        MESSAGES_PER_SECOND: load.messages / sent.seconds,
        P50: 1e3 * percentile(sent.waits, 0.5),
        P99: 1e3 * percentile(sent.waits, 0.99),
        CPU: 1e3 * (cpu_seconds(side.roots) - before) / load.messages,
    }


def _make_visible(load: VisibleLoad, side: MailSide) -> Round:
    before = cpu_seconds(side.roots)
    seen: Seen = uvloop.run(make_visible(side.smtp_port, side.imap_port, side.boxes, load))
    wait_until_quiet(side.roots)
    rate: Round = {} if load.rate else {MESSAGES_PER_SECOND: load.messages / seen.seconds}
    return {
        **rate,
        P50: 1e3 * percentile(seen.waits, 0.5),
        P99: 1e3 * percentile(seen.waits, 0.99),
        CPU: 1e3 * (cpu_seconds(side.roots) - before) / load.messages,
    }


def _transfer(size: int, side: FtpSide) -> Round:
    found = transfer(side, size)
    wait_until_quiet(side.roots)
    return {MEGABYTES_UP: found.up / 1e6, MEGABYTES_DOWN: found.down / 1e6, FTP_CPU: found.cpu}


def _cpu_of_others(roots: Sequence[int]) -> float:
    """Of all but these servers and this process."""
    return machine_cpu_seconds() - cpu_seconds(roots) - time.process_time()


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count} sessions"
