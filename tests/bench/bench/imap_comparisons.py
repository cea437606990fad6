"""IMAP: logins, large mailboxes, and how soon a waiting client hears of a message."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.comparisons import CPU, Comparison, in_turn
from bench.figures import Quantity, Round, percentile
from bench.imap_client import ImapClient, ImapRefusedError
from bench.processes import cpu_seconds, wait_until_quiet
from bench.sides import MailSide

LOGINS: Final = Quantity("logins/s, 10 at once", more_is_better=True)
APPENDS: Final = Quantity("APPEND of 4 KiB, messages/s", more_is_better=True)
SELECTED: Final = Quantity("SELECT, ms")
FLAGS: Final = Quantity("FETCH 1:* (UID FLAGS), messages/s", more_is_better=True)
ENVELOPES: Final = Quantity("FETCH 1:* ENVELOPE, messages/s", more_is_better=True)
BODIES: Final = Quantity("FETCH BODY.PEEK[], MB/s", more_is_better=True)
STORED: Final = Quantity("STORE 1:* +FLAGS, messages/s", more_is_better=True)
SUBJECTS: Final = Quantity("SEARCH SUBJECT, messages/s", more_is_better=True)
TEXTS: Final = Quantity("SEARCH TEXT, messages/s", more_is_better=True)
HEARD: Final = Quantity("IDLE, from APPEND's OK to EXISTS, p50, ms")

_WORDS: Final = b"the quick brown fox jumps over the lazy dog and runs on\r\n"
_NEEDLE: Final = b"haystack"
_LOGINS_AT_ONCE: Final = 10
_COPIED_AT_ONCE: Final = 50_000


@dataclass(frozen=True, slots=True)
class ImapVolume:
    """Messages of the mailbox that is worked on, how many are appended to it (the rest are copies), their
    size in octets; logins, and messages that a waiting client is told of.
    """

    messages: int
    appended: int = 100
    logins: int = 200
    heard: int = 50
    size: int = 4096


def working(ours: MailSide | None, theirs: MailSide | None, volume: ImapVolume, rounds: int) -> Comparison:
    """All that a client does with a mailbox of this many messages."""
    title = f"IMAP, a mailbox of {volume.messages:,} messages of {volume.size >> 10} KiB"
    return in_turn(title, ours, theirs, partial(_work, volume), rounds)


def selecting(ours: MailSide | None, theirs: MailSide | None, messages: int, rounds: int) -> Comparison:
    """SELECT, flags and STORE of a large mailbox."""
    title = f"IMAP, a mailbox of {messages:,} messages"
    return in_turn(title, ours, theirs, partial(_select, ImapVolume(messages)), rounds)


def _work(volume: ImapVolume, side: MailSide) -> Round:
    name = b"bench-%b" % secrets.token_hex(4).encode()
    before = cpu_seconds(side.roots)
    appends = _fill(side, name, volume)
    found: dict[Quantity, float] = {LOGINS: _logins(side, volume.logins), APPENDS: appends}
    wait_until_quiet(side.roots)
    with ImapClient.of(side) as client:
        found[SELECTED] = 1e3 * client.timed(b"SELECT " + name)
        found[FLAGS] = _fetched(client, volume, b"UID FLAGS")
        found[ENVELOPES] = _fetched(client, volume, b"ENVELOPE")
        found[BODIES] = _bodies(client, volume)
        found[STORED] = volume.messages / client.timed(b"STORE 1:* +FLAGS (\\Flagged)")
        found[SUBJECTS] = volume.messages / client.timed(b"SEARCH SUBJECT needle")
        found[TEXTS] = volume.messages / client.timed(b"SEARCH TEXT " + _NEEDLE)
    found[HEARD] = _heard(side, name, volume.heard)
    _drop(side, name)
    wait_until_quiet(side.roots)
    found[CPU] = 1e3 * (cpu_seconds(side.roots) - before) / volume.messages
    return found


def _select(volume: ImapVolume, side: MailSide) -> Round:
    name = b"bench-%b" % secrets.token_hex(4).encode()
    _fill(side, name, volume)
    wait_until_quiet(side.roots)
    with ImapClient.of(side) as client:
        found = {
            SELECTED: 1e3 * client.timed(b"SELECT " + name),
            FLAGS: _fetched(client, volume, b"UID FLAGS"),
            STORED: volume.messages / client.timed(b"STORE 1:* +FLAGS.SILENT (\\Flagged)"),
        }
    _drop(side, name)
    wait_until_quiet(side.roots)
    return found


def _fill(side: MailSide, name: bytes, volume: ImapVolume) -> float:
    """A mailbox of so many messages; gives how many a second were appended before the rest were copied."""
    with ImapClient.of(side) as client:
        client.command(b"CREATE " + name)
        begun = time.perf_counter()
        for number in range(volume.appended):
            client.append(name, _message(number, volume.size))
        rate = volume.appended / (time.perf_counter() - begun)
        client.command(b"SELECT " + name)
        there = volume.appended
        while there < volume.messages:
            more = min(there, volume.messages - there, _COPIED_AT_ONCE)
            client.command(b"COPY 1:%d %b" % (more, name))
            client.command(b"NOOP")
            there += more
        return rate


def _logins(side: MailSide, count: int) -> float:
    def log_in(number: int) -> None:
        with ImapClient.of(side, number % len(side.boxes)) as client:
            client.command(b"LOGOUT")

    begun = time.perf_counter()
    with ThreadPoolExecutor(_LOGINS_AT_ONCE) as pool:
        list(pool.map(log_in, range(count)))
    return count / (time.perf_counter() - begun)


def _fetched(client: ImapClient, volume: ImapVolume, items: bytes) -> float:
    begun = time.perf_counter()
    answer = client.command(b"FETCH 1:* (%b)" % items)
    seconds = time.perf_counter() - begun
    if answer.count(b" FETCH (") != volume.messages:
        raise ImapRefusedError(b"not all of the messages")
    return volume.messages / seconds


def _bodies(client: ImapClient, volume: ImapVolume) -> float:
    begun = time.perf_counter()
    octets = len(client.command(b"FETCH 1:* (BODY.PEEK[])"))
    seconds = time.perf_counter() - begun
    if octets < 0.95 * volume.messages * volume.size:  # pymap says LF where CRLF was
        raise ImapRefusedError(b"fewer octets than there are")
    return octets / 1e6 / seconds


def _heard(side: MailSide, name: bytes, count: int) -> float:
    """Another connection waits; both are of the same account."""
    with ImapClient.of(side) as waiting, ImapClient.of(side) as writing:
        waiting.command(b"SELECT " + name)
        waits: list[float] = []
        for number in range(count):
            waiting.idle()
            writing.append(name, _message(number, 1024))
            begun = time.perf_counter()
            waiting.wait_for_exists()
            waits.append(time.perf_counter() - begun)
            waiting.end_idle()
        return 1e3 * percentile(waits, 0.5)


def _drop(side: MailSide, name: bytes) -> None:
    with ImapClient.of(side) as client:
        client.command(b"DELETE " + name)


def _message(number: int, size: int) -> bytes:
    """One in a hundred has the words that are searched for."""
    found = number % 100 == 0
    head = (
        b"From: Bench <bench@postroom.test>\r\nTo: Somebody <somebody@postroom.test>\r\n"
        b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%d.%b@postroom.test>\r\n"
        b"Subject: %b number %d\r\n\r\n"
        % (number, secrets.token_hex(6).encode(), b"needle" if found else b"hay", number)
    )
    body = (_NEEDLE + b"\r\n" if found else b"") + _WORDS * (size // len(_WORDS) + 1)
    return head + body[: max(size - len(head), 0)] + b"\r\n"
